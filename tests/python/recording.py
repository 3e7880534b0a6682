# SPDX-License-Identifier: Apache-2.0
"""What tests of recorded PyTorch programs share: a folder, recordings by name, their difference."""

import inspect
import json
import os
import random
import subprocess
import tempfile
import unittest

import numpy as np
import torch

import firstbit
import firstbit.torch


class Case(unittest.TestCase):
    """firstbit: the program that compares; the test's main sets it."""

    firstbit = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = folder.name

    def path(self, name):
        return os.path.join(self.at, name + ".fbt")

    def record(self, name, program, **options):
        """Runs it recorded; its events."""
        options.setdefault("ops_steps", "0:1")
        torch.manual_seed(1)
        np.random.seed(2)
        random.seed(3)
        with firstbit.torch.record(self.path(name), **options):
            program()
        with firstbit.open(self.path(name)) as trace:
            return list(trace)

    def diff(self, a, b):
        done = subprocess.run([self.firstbit, "diff", "--json", self.path(a), self.path(b)],
                              capture_output=True, text=True, timeout=300)
        return json.loads(done.stdout)

    def assert_same(self, a, b):
        found = self.diff(a, b)
        self.assertEqual(found["verdict"], "same", found)


def line_of(program, text):
    """Where in its file a function's line with this text is."""
    lines, first = inspect.getsourcelines(program)
    return first + next(i for i, line in enumerate(lines) if text in line)
