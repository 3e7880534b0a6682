# SPDX-License-Identifier: Apache-2.0
"""Bugs planted in a PyTorch port of an engine run: each is found where it is, although everything
differs by rounding. Styles of writing the same model are the clean neighbours.

usage: test_cross_bugs.py FIRSTBIT
"""
import sys
import tempfile
import unittest

from cross_case import CrossCase, truth_of

FIRSTBIT = sys.argv.pop(1)

# bug: step, path and slot of the first difference, its cause
BUGS = {
    "attention-scale": (1, "h.0.attn.attention", "out", "forward-op"),
    "layernorm-eps": (1, "h.0.attn.ln", "out", "forward-op"),
    "no-weight-decay": (1, "embedding.weight", "param", "optimizer-formula"),
    "forgotten-bias": (0, "h.0.mlp.fc.bias", "param", "init"),
    "gelu-form": (1, "h.0.mlp.gelu", "out", "forward-op"),
    "sum-of-means": (1, "head", "grad", "loss-normalization"),
    "mask-diagonal": (1, "h.0.attn.attention", "out", "forward-op"),
    "position-shift": (1, "embedding", "out", "forward-op"),
    "schedule-off-by-one": (1, "lr", "lr", "schedule"),
    "adam-for-adamw": (1, "embedding.weight", "exp_avg", "optimizer-formula"),
}


class CrossBugs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.case = CrossCase(FIRSTBIT, cls.folder.name, micro=2)
        cls.case.engine("a.fbt")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_each_planted_bug_is_found_where_it_is_and_named(self):
        for bug, expected in BUGS.items():
            with self.subTest(bug):
                report = self.case.diff("a.fbt", self.case.torch("b.fbt", bug=bug))
                self.assertEqual(report["verdict"], "differ", report["why"])
                first = report["first"]
                self.assertEqual((first["step"], first["path"], first["slot"],
                                  report["cause"]["name"]), expected, report["cause"])

    def test_other_styles_of_the_same_model_are_rounding_and_paired(self):
        for style in ("torch", "conv1d", "split"):
            with self.subTest(style):
                report = self.case.diff("a.fbt", self.case.torch("b.fbt", style=style))
                self.assertEqual(report["verdict"], "rounding", (report["why"], report["first"]))
                found = report["rounding"]
                self.assertEqual(found["parameters"][0], found["parameters"][1])
                self.assertGreaterEqual(found["boundaries"][0], 0.95 * found["boundaries"][1],
                                        found["not_paired_a"])
                self.assertEqual([p for p in found["pairs"] if not truth_of(p)], [])

    def test_a_fresh_model_whose_biases_are_all_alike_is_paired_by_use(self):
        with tempfile.TemporaryDirectory() as folder:
            case = CrossCase(FIRSTBIT, folder, weights_like_trained=False)
            report = case.diff(case.engine("a.fbt"), case.torch("b.fbt"))
            self.assertEqual(report["verdict"], "rounding", (report["why"], report["first"]))
            found = report["rounding"]
            self.assertEqual(found["parameters"][0], found["parameters"][1],
                             found["not_paired_a"])
            self.assertEqual([p for p in found["pairs"] if not truth_of(p)], [])


if __name__ == "__main__":
    unittest.main()
