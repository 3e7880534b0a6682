#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The examples that record without PyTorch: each run repeats, and its planted change is found.

usage: test_examples.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

import firstbit

FIRSTBIT = ""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "examples"))


class Examples(unittest.TestCase):
    def record(self, folder, name, train, *arguments):
        path = os.path.join(folder, name)
        with firstbit.Recorder(path) as run:
            loss = train(run, *arguments)
        self.assertTrue(0 < loss < 10)
        return path

    def verdicts(self, module, change):
        """What diff says of the run with itself, and of the run with the change."""
        train = importlib.import_module(module).train
        with tempfile.TemporaryDirectory() as folder:
            paths = [self.record(folder, "a.fbt", train), self.record(folder, "b.fbt", train),
                     self.record(folder, "c.fbt", train, change)]
            found = []
            for other in paths[1:]:
                done = subprocess.run([FIRSTBIT, "diff", "--json", paths[0], other],
                                      capture_output=True, text=True)
                self.assertIn(done.returncode, (0, 1), done.stderr)
                found.append(json.loads(done.stdout))
        return found

    def test_numpy_repeats_and_an_extra_draw_is_named(self):
        same, differ = self.verdicts("numpy_net", True)
        self.assertEqual(same["verdict"], "same")
        first = differ["first"]
        self.assertEqual((first["step"], first["kind"], first["what"]), (4, "draw", "only_b"))
        self.assertEqual(differ["cause"]["name"], "rng-offset")

    def test_jax_repeats_and_a_key_that_is_used_again_is_found(self):
        try:
            import jax  # noqa: F401
        except ImportError:
            self.skipTest("JAX is not installed")
        same, differ = self.verdicts("jax_steps", 6)
        self.assertEqual(same["verdict"], "same")
        first = differ["first"]
        self.assertEqual((first["step"], first["kind"], first["path"]), (6, "draw", "dropout"))


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
