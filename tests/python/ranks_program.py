#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two ranks train one model on gloo, and are recorded.

usage: ranks_program.py RUN.fbt FACTOR      of the second rank's data in the second step
"""

import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def work(rank, path, factor, port):
    import firstbit.torch

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with firstbit.torch.record(path, model=model, optimizer=optimizer):
        for step in range(3):
            torch.manual_seed(10 * step + rank)
            x = torch.randn(3, 4) * (factor if rank == 1 and step == 1 else 1)
            optimizer.zero_grad()
            loss = model(x).pow(2).mean()
            loss.backward()
            optimizer.step()
            dist.all_reduce(loss.detach().clone())
    dist.barrier()
    dist.destroy_process_group()


def main():
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            number = free.getsockname()[1]
        try:
            mp.start_processes(work, args=(sys.argv[1], float(sys.argv[2]), number), nprocs=2,
                               start_method="fork")
        except mp.ProcessRaisedException as failure:
            if "in use" in str(failure):  # somebody took the port meanwhile
                continue
            raise
        break


if __name__ == "__main__":
    main()
