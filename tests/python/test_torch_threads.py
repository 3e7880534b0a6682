#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tensors that several threads hash while their op waits: changes in place, workers, the program's
own threads.

usage: test_torch_threads.py FIRSTBIT [unittest options]
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import unittest

import torch

import firstbit
import firstbit.torch
from firstbit.torch import program

FIRSTBIT = ""
COUNT = 1 << 20  # of float32: 4 MiB, 64 blocks


def change_in_place(rounds=30):
    """Each op overwrites what the op before has just shown to the recording."""
    x = torch.arange(COUNT, dtype=torch.float32)
    for i in range(rounds):
        x.mul_(0.5).add_(i)
        x[::2].neg_()
        x.numpy()[-4096:] = i  # PyTorch does not count this change
    return x


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return torch.full((COUNT // 4,), float(i))


def load():
    """Workers are forked while the recording has its threads."""
    total = torch.zeros(COUNT)
    for batch in torch.utils.data.DataLoader(Rows(), batch_size=4, num_workers=2):
        total.add_(batch.flatten())
    return total


def child(queue):
    torch.set_num_threads(1)  # PyTorch's own would wait for threads that only the parent has
    queue.put(float(change_in_place(3).sum()))


class Threads(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def recorded(self, name, threads, function, level="ops"):
        path = os.path.join(self.folder.name, name)
        before, program.threads = program.threads, lambda: threads
        try:
            with firstbit.torch.record(path, level=level, ops_steps=None):
                return path, function()
        finally:
            program.threads = before

    def same(self, a, b):
        done = subprocess.run([FIRSTBIT, "diff", a, b], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_one_thread_and_two_record_the_same_of_changes_in_place(self):
        plain = change_in_place()
        for level in ("ops", "sketch"):
            one, a = self.recorded(f"one-{level}.fbt", 1, change_in_place, level)
            two, b = self.recorded(f"two-{level}.fbt", 2, change_in_place, level)
            self.assertTrue(torch.equal(plain, a) and torch.equal(plain, b))
            self.same(one, two)
            with firstbit.open(one) as first, firstbit.open(two) as second:
                hashes = [[e.get("hash") for e in trace] for trace in (first, second)]
            self.assertGreater(len(hashes[0]), 60)
            self.assertEqual(*hashes)

    def test_workers_and_children_that_are_forked_meanwhile_end(self):
        def both():
            change_in_place(10)
            queue = multiprocessing.get_context("fork").SimpleQueue()
            process = multiprocessing.get_context("fork").Process(target=child, args=(queue,))
            process.start()
            got = queue.get()
            process.join(60)
            self.assertEqual(process.exitcode, 0)
            return got, load()

        _, (got, total) = self.recorded("forks.fbt", 2, both)
        self.assertEqual(got, float(change_in_place(3).sum()))
        self.assertTrue(torch.equal(total, load()))

    def test_pytorchs_own_threads_and_rounding_stay(self):
        before = torch.get_num_threads()
        torch.set_flush_denormal(True)
        try:
            small = torch.full((COUNT,), 1e-40)
            _, out = self.recorded("flush.fbt", 2, lambda: (change_in_place(10), small * 0.5)[1])
            self.assertEqual(float((small * 0.5).abs().sum()), float(out.abs().sum()))
            self.assertEqual(float(out.abs().sum()), 0.0)
        finally:
            torch.set_flush_denormal(False)
        self.assertEqual(torch.get_num_threads(), before)

    def test_threads_are_as_many_as_the_process_may_use(self):
        told = os.environ.pop("OMP_NUM_THREADS", None)
        affinity = os.sched_getaffinity(0)
        try:
            self.assertEqual(program.threads(), min(4, len(affinity)))
            os.environ["OMP_NUM_THREADS"] = "1"
            self.assertEqual(program.threads(), 1)
            os.environ["OMP_NUM_THREADS"] = "1000"
            os.sched_setaffinity(0, {min(affinity)})
            self.assertEqual(program.threads(), 1)
        finally:
            os.sched_setaffinity(0, affinity)
            os.environ.pop("OMP_NUM_THREADS")
            if told is not None:
                os.environ["OMP_NUM_THREADS"] = told


if __name__ == "__main__":
    FIRSTBIT = sys.argv.pop(1)
    unittest.main()
