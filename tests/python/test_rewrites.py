#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A layer written otherwise, recorded at the default level: without sizes nobody knows whether that
is rounding, and diff --rounding says so, with the command that decides it. A mistake of 5e-6 in the
same place is told from it.

usage: test_rewrites.py FIRSTBIT [unittest arguments]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = ""

PROGRAM = """
import sys
import torch
from torch.nn.functional import cross_entropy

torch.manual_seed(1)
how = sys.argv[1]


class Norm(torch.nn.LayerNorm):
    def forward(self, x):
        if how == "native":
            return super().forward(x)
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        root = variance.sqrt() + self.eps if how == "eps" else torch.sqrt(variance + self.eps)
        return (x - mean) / root * self.weight + self.bias


net = torch.nn.Sequential(torch.nn.Linear(16, 32), Norm(32), torch.nn.GELU(), torch.nn.Linear(32, 4))
optimizer = torch.optim.AdamW(net.parameters(), 0.01)
x, y = torch.randn(64, 16), torch.randint(0, 4, (64,))
for step in range(4):
    loss = cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


class Rewrites(unittest.TestCase):
    def run_in(self, folder, command):
        path = os.pathsep.join([os.path.dirname(FIRSTBIT), os.path.dirname(sys.executable),
                                os.environ["PATH"]])
        return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True,
                              check=False, env={**os.environ, "PATH": path})

    def decide(self, how):
        """What is said at the default level, and what the command that it offers says then."""
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "train.py"), "w", encoding="utf-8") as file:
                file.write(PROGRAM)
            for name in ("native", how):
                done = self.run_in(folder, f"firstbit record -o {name}.fbt -- python3 train.py {name}")
                self.assertEqual(done.returncode, 0, done.stderr)
            done = self.run_in(folder, f"firstbit diff --rounding --json native.fbt {how}.fbt")
            self.assertEqual(done.returncode, 3, done.stdout)
            report = json.loads(done.stdout)
            self.assertEqual(report["verdict"], "undecidable")
            self.assertTrue(report["next"].endswith("sketch-a.fbt sketch-b.fbt"), report["next"])
            return self.run_in(folder, report["next"])

    def test_the_same_in_other_operations_is_rounding(self):
        done = self.decide("operations")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("WITHIN ROUNDING"), done.stdout)

    def test_an_eps_at_another_place_is_none(self):
        done = self.decide("eps")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("DIVERGED at step 1, forward, Sequential.1"),
                        done.stdout)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
