#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch runs that only end earlier than another: fewer epochs, an evaluation behind them, a pass
that was broken off. They are equal until one ends, which diff says; and it still finds what differs.

usage: test_shorter_runs.py FIRSTBIT [unittest arguments]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import torch
from torch.utils.data import DataLoader, TensorDataset

import firstbit.torch

FIRSTBIT = ""


def train(epochs, end="", wrong=0):
    """Trains 4 steps an epoch. end: what follows. wrong: a step in which the loss is another one."""
    torch.manual_seed(1)
    x, y = torch.randn(32, 8), torch.randn(32, 1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.1), torch.nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batches = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
    step = 0
    for _ in range(epochs):
        for a, b in batches:
            step += 1
            loss = ((model(a) - b) ** 2).mean()
            if step == wrong:
                loss = loss * 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if end == "evaluate":
        model.eval()
        with torch.no_grad():
            for a, b in DataLoader(TensorDataset(x[:8], y[:8]), batch_size=4):
                ((model(a) - b) ** 2).mean().item()
    elif end:
        a, b = next(iter(batches))
        if end == "broken off":
            optimizer.zero_grad()
            ((model(a) - b) ** 2).mean().backward()


class ShorterRuns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name, *how in (("whole", 4), ("ends", 2), ("evaluates", 2, "evaluate"),
                           ("fetches", 2, "fetch"), ("breaks", 2, "broken off"),
                           ("wrong", 2, "", 7)):
            with firstbit.torch.record(cls.path(name)):
                train(*how)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name + ".fbt")

    def diff(self, a, b, *flags):
        done = subprocess.run([FIRSTBIT, "diff", "--json", *flags, self.path(a), self.path(b)],
                              capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    def test_a_run_of_fewer_epochs_is_equal_to_its_end(self):
        for name in ("ends", "evaluates", "fetches", "breaks"):
            with self.subTest(name):
                status, report = self.diff(name, "whole")
                self.assertEqual((status, report["verdict"]), (3, "undecidable"), report)
                self.assertEqual(report["why"], "a ends first; equal through step 8")
                self.assertEqual(report["equal_through"], 8)
                status, report = self.diff("whole", name, "--prefix")
                self.assertEqual((status, report["verdict"]), (0, "same"), report)

    def test_what_differs_before_the_end_is_found(self):
        status, report = self.diff("whole", "wrong", "--prefix")
        self.assertEqual((status, report["first"]["step"]), (1, 7), report)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
