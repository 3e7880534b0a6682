#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""examples/gpt_torch.py: it follows the engine, and its planted bugs are found where they are.

usage: test_across_frameworks.py FIRSTBIT [unittest arguments]
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = ""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(ROOT, "examples", "gpt_torch.py")
STEPS = 5


def line_of(text):
    """Where in the example a line with this text is."""
    with open(EXAMPLE, encoding="utf-8") as file:
        return 1 + next(i for i, line in enumerate(file) if text in line)


class AcrossFrameworks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.at, cls.before = folder.name, os.getcwd()
        os.symlink(os.path.join(ROOT, "examples"), os.path.join(cls.at, "examples"))
        os.chdir(cls.at)
        cls.addClassCleanup(os.chdir, cls.before)
        sys.path.insert(0, os.path.dirname(EXAMPLE))
        cls.example("init", "examples/gpt.json", "init.safetensors")
        done = subprocess.run([FIRSTBIT, "train", "examples/gpt.json", "--set",
                               "weights=init.safetensors", "--steps", str(STEPS), "-o",
                               "engine.fbt", "--json"], capture_output=True, text=True, check=True)
        cls.engine = json.loads(done.stdout)
        cls.printed = cls.train("torch.fbt", "--evaluate", "4")

    @classmethod
    def example(cls, *arguments):
        """Runs the example in this process, so that torch is loaded once."""
        import gpt_torch
        printed, before = io.StringIO(), sys.argv
        sys.argv = ["examples/gpt_torch.py", *arguments]
        try:
            with contextlib.redirect_stdout(printed):
                gpt_torch.main()
        finally:
            sys.argv = before
        return printed.getvalue()

    @classmethod
    def train(cls, trace, *options):
        return cls.example("train", "engine.fbt", "init.safetensors", "-o", trace, "--threads", "1",
                           *options)

    def diff(self, a, b):
        done = subprocess.run([FIRSTBIT, "diff", "--json", a, b], capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)

    def bug(self, name):
        self.train(f"{name}.fbt", "--evaluate", "4", "--bug", name)
        return self.diff("torch.fbt", f"{name}.fbt")

    def test_pytorch_follows_the_engine_to_rounding(self):
        loss = float(self.printed.split("loss ")[-1])
        # Five steps of float32: a few units of 2^-24 in the loss, far below any wrong formula.
        self.assertLess(abs(loss - self.engine["loss"]), 1e-5 * abs(loss), self.printed)

    def port(self, trace, *options):
        """The port without dropout beside the engine, with sketches."""
        if not os.path.exists("port.fbt"):
            subprocess.run([FIRSTBIT, "train", "examples/gpt_port.json", "--steps", "3", "--level",
                            "sketch", "-o", "port.fbt"], capture_output=True, check=True)
        self.example("train", "port.fbt", "init.safetensors", "-o", trace, "--level", "sketch",
                     *options)
        return trace

    def test_the_engine_and_pytorch_agree_within_rounding_and_bits_do_not(self):
        found = self.diff("port.fbt", self.port("one.fbt", "--threads", "1"))
        self.assertEqual(found["verdict"], "rounding")

    def test_a_bug_of_the_port_is_no_rounding(self):
        found = self.diff("port.fbt", self.port("wrong.fbt", "--threads", "1", "--bug", "scale"))
        self.assertEqual(found["verdict"], "differ")
        first = found["first"]
        self.assertEqual((first["step"], first["path"]), (1, "h.0.attn.attention"))

    def test_two_threads_are_named_at_the_first_op_whose_bits_change(self):
        one, two = self.port("t1.fbt", "--threads", "1"), self.port("t2.fbt", "--threads", "2")
        found = self.diff(one, two)
        self.assertEqual(found["verdict"], "differ")
        self.assertEqual(found["first"]["step"], 1)
        self.assertEqual(found["cause"]["name"], "environment")
        self.assertIn("threads 1 | 2", found["cause"]["text"])

    def test_the_same_run_again_is_the_same(self):
        self.train("again.fbt", "--evaluate", "4")
        self.assertEqual(self.diff("torch.fbt", "again.fbt")["verdict"], "same")

    def test_a_wrong_scale_is_found_at_its_line(self):
        first = self.bug("scale")["first"]
        self.assertEqual((first["step"], first["path"], first["op"]), (1, "h.0.attn", "div"))
        self.assertIn(f"gpt_torch.py:{line_of('planted: the width')}", first["stack_b"])

    def test_a_model_left_in_eval_mode_is_found_at_its_next_call(self):
        found = self.bug("eval")
        self.assertEqual((found["first"]["step"], found["first"]["kind"]), (5, "mode"))
        self.assertEqual(found["cause"]["name"], "mode-flag")

    def test_a_missing_zero_grad_is_found_in_its_step(self):
        found = self.bug("zero_grad")
        self.assertEqual((found["first"]["step"], found["first"]["op"]), (4, "zero_grad"))
        self.assertIn(f"gpt_torch.py:{line_of('planted: left out') + 1}", found["first"]["stack_a"])


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
