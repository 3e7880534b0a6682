#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of causes, walked: every name that the code can print has a planted example that is
found and named, a clean neighbour on which it stays silent, and a row in docs/diff.md.

The names are read from the code, so a cause that is added without them fails here. What the examples
claim is tested where they stand: cases of tests/bugs by its suite, functions by their test program.
"""

import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "bugs"))

import catalogue  # noqa: E402  (needs the path above; imports no torch)

# The names that a diff may print are fixed: scripts match on them.
NAMES = """config code environment data-order data-content sample-duplicated-or-missing rng-seed
rng-offset rng-key-reuse init mode-flag forward-op mask-or-position loss-target loss-normalization
backward-op grad-accumulation collective clipping optimizer-formula schedule precision-cast
aliasing-or-tying checkpoint-resume evaluation-leak nondeterminism bit-flip rounding unknown""".split()

# cause: (planted, neighbour). A name alone is a case of tests/bugs: a bug with this cause, and a
# clean pair that looks like it. FILE:FUNCTION is a test under tests/.
CATALOGUE = {
    "config": ("engine-eps", "argument-spelled-otherwise"),
    "code": ("diff/test_diff_synthetic.c:"
             "another_version_of_the_engine_is_code_unless_its_kernels_are_the_same",
             "comment-and-dead-code"),
    "environment": ("diff/test_diff_synthetic.c:"
                    "only_what_changes_sums_is_blamed_on_the_environment",
                    "threads-that-nothing-uses"),
    "data-order": ("not-shuffled", "generator-seeded-later"),
    "data-content": ("pixels-scaled-twice", "pixels-scaled-ahead"),
    "sample-duplicated-or-missing": ("last-batch-kept", "nothing-to-drop"),
    "rng-seed": ("seed-not-set", "unused-seed"),
    "rng-offset": ("extra-draw-for-logging", "logging-with-a-private-generator"),
    "rng-key-reuse": ("reseeded-in-every-step", "draw-with-state-put-back"),
    "init": ("initialized-ten-times-wider", "zeros-by-another-call"),
    "mode-flag": ("eval-missing", "more-evaluation"),
    "forward-op": ("attention-scale-of-model-width", "scale-named"),
    "mask-or-position": ("causal-mask-off-by-one", "mask-by-comparison"),
    "loss-target": ("labels-not-shifted", "ignored-targets-marked-otherwise"),
    "loss-normalization": ("mean-of-means", "mean-as-sum"),
    "backward-op": ("lookup-gradient-overwrites", "constant-detached"),
    "grad-accumulation": ("zero-grad-missing", "zero-grad-earlier"),
    "collective": ("diff/test_recorded_rules.c:each_rule_names_its_mechanism",
                   "metric-reduced"),
    "clipping": ("clipping-missing", "clipping-that-never-acts"),
    "optimizer-formula": ("norms-decayed", "group-in-two"),
    "schedule": ("warmup-and-total-swapped", "schedule-by-hand"),
    "precision-cast": ("rotary-angles-in-bf16", "wider-and-back"),
    "aliasing-or-tying": ("tied-weights-untied", "tied-by-hand"),
    "checkpoint-resume": ("moments-not-restored", "interrupted-elsewhere"),
    "evaluation-leak": ("no-split-at-all", "validation-scaled-apart"),
    "nondeterminism": ("diff/test_recorded_rules.c:each_rule_names_its_mechanism",
                       "threads-in-order"),
    "bit-flip": ("engine-flipped-bit", "engine-threads"),
    "rounding": ("diff/test_proof.c:"
                 "the_cause_of_another_order_is_rounding_between_programs_alone",
                 "diff/test_proof.c:a_proof_is_not_called_another_order"),
    "unknown": ("diff/test_learned.c:what_shows_a_difference_is_not_blamed_for_it",
                "diff/test_learned.c:operations_are_not_blamed_for_what_they_begin_with"),
}


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def sources(*folder):
    for where, _, names in os.walk(os.path.join(ROOT, *folder)):
        for name in names:
            if name.endswith(".c"):
                yield text_of(where, name)


def names_in_the_code():
    """The table of rules, what the code behind it says itself, and the bank."""
    found = set(re.findall(r'\{"([a-z-]+)", (?:fb__)?rule_', text_of("diff", "cause", "causes.c")))
    for text in sources("diff"):
        found.update(re.findall(r'\bname = "([a-z-]+)";', text))
    found.update(re.findall(r'\] = \{"([a-z-]+)", "', text_of("diff", "cause", "cause_resumed.c")))
    for line in text_of("docs", "overrides.md").split("\n"):  # equal to the bank: test_overrides
        if line.startswith("| `"):
            found.add(line.split("|")[2].strip())
    return found


class Causes(unittest.TestCase):
    BUGS = {bug.id: bug for bug in catalogue.BUGS}
    CLEANS = {clean.id: clean for clean in catalogue.CLEANS}

    def test_are_those_with_fixed_names(self):
        self.assertEqual(names_in_the_code() - set(NAMES), set())
        self.assertEqual(set(NAMES) - names_in_the_code(), set())

    def test_have_a_row_in_the_catalogue(self):
        self.assertEqual(names_in_the_code() ^ set(CATALOGUE), set())

    def test_are_found_in_a_planted_example_that_every_run_of_the_tests_tries(self):
        for cause, (planted, _) in CATALOGUE.items():
            with self.subTest(cause):
                if ":" in planted:
                    self.check_function(planted, cause)
                    continue
                self.assertEqual(self.BUGS[planted].cause, cause)
                self.assertTrue(self.BUGS[planted].quick, "left to slow runs")

    def test_are_silent_on_a_clean_neighbour(self):
        for cause, (_, neighbour) in CATALOGUE.items():
            with self.subTest(cause):
                if ":" in neighbour:
                    self.check_function(neighbour, cause)
                    continue
                of = self.CLEANS[neighbour].neighbour
                self.assertIn(cause, (of, getattr(self.BUGS.get(of), "cause", None)))

    def test_are_told_in_the_document_with_their_fix(self):
        document = text_of("docs", "diff.md")
        rows = [[cell.strip() for cell in line.split("|")[1:-1]]
                for line in document[document.index("## Causes"):].split("\n")
                if line.startswith("| ")]
        told = {row[0]: row[-1] for row in rows if len(row) in (3, 4)}
        for cause in CATALOGUE:
            self.assertTrue(told.get(cause), f"{cause}: no row in docs/diff.md, or no fix")

    def check_function(self, where, cause):
        """It is there, its program runs it, and what it expects has this name."""
        file, function = where.split(":")
        text = text_of("tests", *file.split("/"))
        self.assertIn(f"cmocka_unit_test({function})", text)
        self.assertIn(f'"{cause}"', text)


if __name__ == "__main__":
    unittest.main()
