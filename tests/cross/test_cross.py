# SPDX-License-Identifier: Apache-2.0
"""An engine run against the same training in PyTorch, and against itself with other kernels.

usage: test_cross.py FIRSTBIT
"""
import os
import sys
import tempfile
import unittest
import unittest.mock

from cross_case import CrossCase, truth_of

FIRSTBIT = sys.argv.pop(1)


class Cross(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.case = CrossCase(FIRSTBIT, cls.folder.name, micro=2)
        cls.case.engine("a.fbt")
        cls.case.torch("torch.fbt")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def assert_rounding(self, report):
        first = report["first"]
        self.assertEqual(report["verdict"], "rounding", (report["why"], first, report["cause"]))
        self.assertLess(report["rounding"]["largest"], 5)

    def test_a_clean_pair_is_rounding_and_95_percent_are_paired_and_none_wrong(self):
        report = self.case.diff("a.fbt", "torch.fbt")
        self.assert_rounding(report)
        found = report["rounding"]
        self.assertEqual(found["parameters"][0], found["parameters"][1])
        self.assertGreaterEqual(found["boundaries"][0], 0.95 * found["boundaries"][1])
        wrong = [pair for pair in found["pairs"] if not truth_of(pair)]
        self.assertEqual(wrong, [])
        self.assertGreater(len(found["pairs"]), 250)

    def test_a_forgotten_bias_is_found_in_the_parameter(self):
        self.case.torch("bug.fbt", bug="forgotten-bias")
        report = self.case.diff("a.fbt", "bug.fbt")
        self.assertEqual(report["verdict"], "differ")
        self.assertEqual((report["first"]["step"], report["first"]["path"]), (0, "h.0.mlp.fc.bias"))
        self.assertEqual(report["cause"]["name"], "init")

    def test_openblas_against_ordered_is_rounding_and_bitwise_it_differs(self):
        # Its kernels for AVX-512 happen to add in this order at these sizes; those for SSE do not.
        with unittest.mock.patch.dict(os.environ, OPENBLAS_CORETYPE="Prescott"):
            self.case.engine("b.fbt", "--kernels", "openblas", level="ops")
        self.assert_rounding(self.case.diff("a.fbt", "b.fbt"))
        self.assertEqual(self.case.diff("a.fbt", "b.fbt", "--bitwise")["verdict"], "differ")

    def test_another_split_of_the_batch_is_rounding(self):
        self.case.engine("c.fbt", batch__micro=4)
        report = self.case.diff("a.fbt", "c.fbt")
        self.assert_rounding(report)
        self.assertIn("by construction", " ".join(report["scope"]["left_out"]))

    def test_a_flipped_bit_among_other_kernels_is_found_where_it_is(self):
        self.case.engine("d.fbt", "--kernels", "openblas", "--inject",
                         "flip:step=2,path=h.1.mlp.fc,slot=out,element=17,bit=30")
        report = self.case.diff("a.fbt", "d.fbt")
        self.assertEqual(report["verdict"], "differ")
        self.assertEqual([report["first"][k] for k in ("step", "path", "slot")],
                         [2, "h.1.mlp.fc", "out"])


if __name__ == "__main__":
    unittest.main()
