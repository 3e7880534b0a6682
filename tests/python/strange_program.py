#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A program of its own modes, subclasses, lazy modules, threads, failures and scripted modules.

usage: strange_program.py [TRACE]      prints what it computed; records into TRACE
"""

import contextlib
import copy
import hashlib
import io
import sys
import threading
import warnings

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode

warnings.filterwarnings("ignore")


class Count(TorchDispatchMode):
    """The program's own look at every op: must see what it sees without a recording."""

    seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        Count.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Named(torch.Tensor):
    pass


class Wrapped(torch.Tensor):
    """A tensor without memory of its own."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        out = func(*[a.inner if isinstance(a, Wrapped) else a for a in args], **(kwargs or {}))
        return Wrapped(out) if isinstance(out, torch.Tensor) else out


def step(model, optimizer, results):
    with Count():
        model(torch.randn(4, 5)).sum().backward()
        optimizer.step()
    optimizer.zero_grad()
    nn.LazyLinear(2)(torch.ones(1, 3))
    nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))(torch.ones(1, 3))
    twin, file = copy.deepcopy(model), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file))
    results.append(type(torch.ones(3).as_subclass(Named) + 1).__name__)
    results.append(float((Wrapped(torch.ones(2)) * 2).inner.sum()))
    with contextlib.suppress(RuntimeError):
        model(torch.ones(2, 99))
    for context in (torch.inference_mode(), torch.no_grad()):
        with context:
            results.append(float(model(torch.ones(1, 5)).sum()))
    thread = threading.Thread(target=lambda: model(torch.ones(1, 5)))
    thread.start()
    thread.join()
    x = torch.randn(4, 5, requires_grad=True)
    gradient, = torch.autograd.grad(model(x).pow(2).sum(), x, create_graph=True)
    gradient.sum().backward()
    torch.jit.script(nn.Linear(2, 2))(torch.ones(1, 2))
    torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8).dequantize()
    made = torch.Tensor([1.0, 2.0]) + torch.Tensor(torch.full((2,), 7.0).numpy()) + torch.Tensor(torch.ones(2))
    sized = torch.Tensor(2, 2)
    sized[0], sized[1] = made, Named([3.0, 4.0])
    torch.Tensor(torch.Size([2])).zero_(), torch.Tensor(size=(2,)), torch.Tensor()
    results.append(sized.tolist())
    z = torch.zeros(3)
    z.numpy()[0] = 5
    z[torch.tensor([0, 0])] += 1
    results.append(z.tolist())
    torch.empty(2, 2).copy_(torch.ones(2, 2)).resize_(3, 3).zero_()
    with torch.random.fork_rng():
        torch.randn(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.ones(1, 5)).float().sum().backward()
    optimizer.step()


def main():
    torch.manual_seed(0)
    results = []
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(),
                          nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)))
    model(torch.ones(1, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recording = contextlib.nullcontext()
    if len(sys.argv) > 1:
        import firstbit.torch
        recording = firstbit.torch.record(sys.argv[1], model=model, optimizer=optimizer,
                                          ops_steps=None)
    with recording:
        for _ in range(3):
            step(model, optimizer, results)
    final = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print(hashlib.sha256(final).hexdigest(), torch.randn(1).item())
    print(results)
    print(len(Count.seen), hashlib.sha256(" ".join(Count.seen).encode()).hexdigest())


if __name__ == "__main__":
    main()
