#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The suite's own tools: how a change is applied, when an event fits, what is recorded once."""

import unittest

import catalogue
from case import Bug, Clean, Event, NoPlace, changed
from judge_pair import candidates
from record_programs import Recordings, twins_of


class Changes(unittest.TestCase):
    def test_replaces_lines_in_one_place(self):
        self.assertEqual(changed("a\nb\nc\n", "\n-b\n+x\n+y\n"), "a\nx\ny\nc\n")

    def test_takes_lines_away(self):
        self.assertEqual(changed("a\nb\nc\n", "\n-b\n"), "a\nc\n")

    def test_context_stays(self):
        self.assertEqual(changed("a\nb\na\nc\n", "\n a\n+x\n c\n"), "a\nb\na\nx\nc\n")

    def test_changes_the_first_line(self):
        self.assertEqual(changed("a\nb\n", "\n-a\n+x\n"), "x\nb\n")

    def test_applies_several_places_in_turn(self):
        self.assertEqual(changed("a\nb\n", "\n-a\n+x\n@@\n-b\n+y\n"), "x\ny\n")

    def test_refuses_what_fits_nowhere_or_twice(self):
        for source in ("b\n", "a\na\n"):
            with self.assertRaises(NoPlace):
                changed(source, "\n-a\n+x\n")

    def test_whole_lines_only(self):
        with self.assertRaises(NoPlace):
            changed("  a\n", "\n-a\n+x\n")


class Events(unittest.TestCase):
    FIRST = {"step": 3, "phase": "forward", "path": "Net.h.0", "op": "div", "slot": "out",
             "kind": "tensor"}

    def test_fits_by_pattern(self):
        self.assertTrue(Event(3, "forward", "Net.h.*", "mul|div", "out").fits(self.FIRST))
        self.assertTrue(Event(None).fits(self.FIRST))

    def test_one_other_member_is_another_event(self):
        for other in (Event(4), Event(3, "backward"), Event(3, path="Net.h"), Event(3, op="mul"),
                      Event(3, slot="grad"), Event(3, kind="param")):
            self.assertFalse(other.fits(self.FIRST))

    def test_nothing_is_the_empty_text(self):
        self.assertTrue(Event(3, path="").fits(dict(self.FIRST, path=None)))
        self.assertFalse(Event(3, path="").fits(self.FIRST))


class Catalogue(unittest.TestCase):
    def test_every_change_fits_its_program(self):
        for case in catalogue.BUGS + catalogue.CLEANS:
            with self.subTest(case.id):
                twins_of(case)

    def test_every_bug_changes_something(self):
        for case in catalogue.BUGS:
            first, second = twins_of(case)
            settings = case.environment[0] != case.environment[1] or (
                case.arguments[0] != case.arguments[1])
            self.assertTrue(first != second or settings or case.cause == "nondeterminism", case.id)

    def test_every_neighbour_has_a_bug_or_a_cause(self):
        known = {bug.id for bug in catalogue.BUGS} | {bug.cause for bug in catalogue.BUGS} | {
            "code", "rounding"}
        for case in catalogue.CLEANS:
            self.assertIn(case.neighbour, known, case.id)

    def test_every_cause_has_a_bug_and_a_clean_neighbour(self):
        """`code` has none: it is what differs between two versions of the engine."""
        causes = {bug.cause for bug in catalogue.BUGS}
        of_bug = {bug.id: bug.cause for bug in catalogue.BUGS}
        neighbours = {of_bug.get(case.neighbour, case.neighbour) for case in catalogue.CLEANS}
        self.assertEqual(causes - neighbours, set())

    def test_one_text_is_recorded_once(self):
        recordings = Recordings("firstbit", "folder", 1, True)
        bug = Bug("one", "", "", "rope", "\n-import torch\n+import torch as t\n", (), "")
        twin = Bug("two", "", "", "rope", "\n-import torch\n+import torch as u\n", (), "")
        self.assertIs(recordings.pair(bug)[0], recordings.pair(twin)[0])
        same = Clean("same", "", "", "rope", "")
        self.assertIsNot(recordings.pair(same)[0], recordings.pair(same)[1])


class Candidates(unittest.TestCase):
    def test_are_the_cause_and_those_behind_it(self):
        cause = {"name": "a", "candidates": [{"name": "b"}, {"name": "a"}, {"name": "c"}]}
        self.assertEqual(candidates(cause), ["a", "b", "c"])

    def test_none_where_there_is_no_cause(self):
        self.assertEqual(candidates({}), [])


if __name__ == "__main__":
    unittest.main()
