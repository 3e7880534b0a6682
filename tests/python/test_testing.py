#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""firstbit.testing: passes what repeats, fails with the report what does not.

usage: test_testing.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import os
import random
import sys
import tempfile
import time
import unittest

try:
    import torch
except ImportError:
    torch = None

from firstbit.testing import assert_reproducible

LEFT = {"model": None}


def train(own_seed=True, forget=None, steps=3):
    if own_seed:
        torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        x = torch.randn(16, 4)
        if step == forget:
            x = x + time.time_ns() % 1000003
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()


def go_on_training():
    """Keeps its model from call to call."""
    if LEFT["model"] is None:
        torch.manual_seed(0)
        LEFT["model"] = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(LEFT["model"].parameters(), lr=0.1)
    optimizer.zero_grad()
    LEFT["model"](torch.ones(2, 4)).sum().backward()
    optimizer.step()


def fail():
    raise KeyError("own")


@unittest.skipIf(torch is None, "PyTorch is not installed")
class PyTorch(unittest.TestCase):
    def test_what_repeats_passes_and_says_what_was_compared(self):
        text = assert_reproducible(train)
        self.assertIn("SAME through step", text)
        self.assertIn("all classes", text)
        self.assertIn("SAME", assert_reproducible(train, False, seed=5, runs=3))

    def test_what_does_not_fails_with_the_report(self):
        with self.assertRaisesRegex(AssertionError, r"(?s)DIVERGED at step 2.*test_testing\.py:\d+"):
            assert_reproducible(train, forget=1)

    def test_nothing_but_seeds_that_are_given_is_reset(self):
        with self.assertRaisesRegex(AssertionError, "DIVERGED"):
            assert_reproducible(train, False)  # its own seed: none
        LEFT["model"] = None
        with self.assertRaisesRegex(AssertionError, "DIVERGED"):
            assert_reproducible(go_on_training, seed=1)

    def test_processes_begin_without_what_was_left(self):
        LEFT["model"] = None
        self.assertIn("SAME", assert_reproducible(go_on_training, processes=True))

    def test_failures_of_the_function_pass_through(self):
        with self.assertRaisesRegex(KeyError, "own"):
            assert_reproducible(fail)
        self.assertIn("SAME", assert_reproducible(train))  # and leave nothing behind

    def test_the_example_passes(self):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        sys.path.insert(0, os.path.join(root, "examples"))
        self.addCleanup(sys.path.pop, 0)
        import reproducible_test
        reproducible_test.test_training_is_reproducible()

    def test_traces_are_kept_where_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            assert_reproducible(train, steps=1, keep=folder)
            self.assertEqual(sorted(os.listdir(folder)), ["run0.fbt", "run1.fbt"])
        with self.assertRaises(ValueError):
            assert_reproducible(train, runs=1)


class Plain(unittest.TestCase):
    """Functions that record by themselves; torch is out of sight."""

    def setUp(self):
        self.hidden = sys.modules.pop("torch", None)

    def tearDown(self):
        if self.hidden is not None:
            sys.modules["torch"] = self.hidden

    @staticmethod
    def walk(run):
        for step in range(1, 4):
            run.step(step)
            run.scalar("x", random.random())

    def test_a_function_with_a_recorder(self):
        self.assertIn("SAME", assert_reproducible(self.walk, seed=1))
        with self.assertRaisesRegex(AssertionError, "DIVERGED at step 1"):
            assert_reproducible(self.walk)

    def test_a_function_that_nothing_records_is_refused(self):
        with self.assertRaisesRegex(TypeError, "parameter `run`"):
            assert_reproducible(random.random)


if __name__ == "__main__":
    os.environ["FIRSTBIT_PROGRAM"] = os.path.abspath(sys.argv.pop(1))
    unittest.main()
