#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Differences of PyTorch runs that begin in steps without recorded operations: diff says so and how
to see them, blames nothing that merely shows them, and misses none that lasts to the end.

usage: test_recorded_depth.py FIRSTBIT [unittest arguments]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import torch

import firstbit.torch

FIRSTBIT = ""
STEPS = 20


def train(wrong=0, where="gradient", rate=0):
    """wrong: a step in which `where` is another. rate: one that halves the learning rate. The
    second head is read from step 17 on. Gradients are clipped."""
    torch.manual_seed(1)
    body = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Dropout(0.1))
    heads = torch.nn.ModuleList([torch.nn.Linear(16, 1), torch.nn.Linear(16, 1)])
    optimizer = torch.optim.SGD([*body.parameters(), *heads.parameters()], lr=0.01, momentum=0.9)
    for step in range(1, STEPS + 1):
        x = torch.randn(4, 8)
        if step == wrong and where == "draws":
            torch.rand(3)
        hidden = body(x)
        if step == wrong and where == "called":
            hidden = hidden + 0.1 * heads[1](hidden)
        loss = ((heads[0](hidden) - x.sum(1, keepdim=True)) ** 2).mean()
        if step >= 17:
            loss = loss + (heads[1](hidden) ** 2).mean()
        if not (step == wrong and where == "kept"):
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        if step == wrong and where == "gradient":
            body[0].weight.grad.mul_(1.5)
        if step == wrong and where == "unread":
            with torch.no_grad():
                heads[1].weight.add_(0.25)
        if step == rate:
            optimizer.param_groups[0]["lr"] *= 0.5
        optimizer.step()


class Depth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        train()  # PyTorch 2 computes when it is first used

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name + ".fbt")

    def record(self, name, how=None, **settings):
        """A trace of that name; one that is there already is taken."""
        if not os.path.exists(self.path(name)):
            with firstbit.torch.record(self.path(name), **settings):
                train(**(how or {}))
        return self.path(name)

    def diff(self, a, b, *flags):
        done = subprocess.run([FIRSTBIT, "diff", *flags, a, b], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout) if "--json" in flags else done.stdout

    def test_what_merely_shows_a_difference_is_not_blamed(self):
        a = self.record("right")
        b = self.record("late", {"wrong": 14})
        report = self.diff(a, b, "--json")
        first = report["first"]
        self.assertEqual((report["verdict"], first["step"], first["kind"], first["slot"]),
                         ("differ", 15, "scalar", "loss"), report)
        self.assertEqual(report["cause"]["name"], "unknown")
        self.assertIn("firstbit record --ops-steps 14:15 -- ", report["next"])
        self.assertEqual(report["equal_through"], 14)
        text = self.diff(a, b)
        self.assertIn("step 15 was recorded without its operations", text)
        self.assertNotIn("all that it is computed from is equal", text)

    def test_the_loss_comes_before_what_is_made_of_it(self):
        for where in ("draws", "called"):
            report = self.diff(self.record("right"), self.record(where, {"wrong": 14,
                                                                         "where": where}), "--json")
            self.assertEqual(report["verdict"], "differ", report)
            self.assertNotEqual(report["first"]["slot"], "grad_norm", report)

    def test_numbers_drawn_out_of_sight_are_told_by_their_generator(self):
        report = self.diff(self.record("right"),
                           self.record("draws", {"wrong": 14, "where": "draws"}), "--json")
        self.assertEqual((report["first"]["step"], report["first"]["slot"]), (14, "loss"), report)
        self.assertEqual(report["cause"]["name"], "rng-offset")
        self.assertIn("torch stands elsewhere at the end of step 14", report["cause"]["text"])
        report = self.diff(self.record("right"), self.record("late", {"wrong": 14}), "--json")
        self.assertEqual(report["cause"]["name"], "unknown")

    def test_a_call_that_one_run_leaves_out_is_found_where_it_is_missing(self):
        report = self.diff(self.record("right"),
                           self.record("kept", {"wrong": 14, "where": "kept"}), "--json")
        first = report["first"]
        self.assertEqual((first["step"], first["slot"], first["what"]), (14, "zero_grad", "only_a"),
                         report)
        self.assertEqual(report["cause"]["name"], "grad-accumulation")
        self.assertNotIn("gradients behind", report["cause"]["text"])
        self.assertEqual(report["notes"], [])

    def test_a_module_that_one_run_calls_is_no_mode(self):
        report = self.diff(self.record("right"),
                           self.record("called", {"wrong": 14, "where": "called"}), "--json")
        self.assertEqual((report["first"]["step"], report["first"]["kind"]), (14, "mode"), report)
        self.assertEqual(report["cause"]["name"], "forward-op")
        self.assertIn("is called 1 time more in b than in a", report["cause"]["text"])

    def test_the_steps_that_it_asks_for_show_the_operation(self):
        window = {"level": "ops", "ops_steps": "14:15"}
        report = self.diff(self.record("right-window", **window),
                           self.record("late-window", {"wrong": 14}, **window), "--json")
        first = report["first"]
        self.assertEqual((first["step"], first["op"], first["what"]), (14, "mul_", "only_b"),
                         report)

    def test_what_a_program_sets_is_blamed_in_any_step(self):
        report = self.diff(self.record("right"), self.record("rate", {"rate": 14}), "--json")
        self.assertEqual((report["first"]["step"], report["cause"]["name"]), (14, "schedule"),
                         report)

    def test_no_last_update_is_missed_at_any_level(self):
        last = {"wrong": STEPS}
        every = {"level": "ops", "ops_steps": None}
        right = [self.record("right"), self.record("right-steps", level="steps"),
                 self.record("right-draws", level="draws"), self.record("right-ops", **every)]
        wrong = [self.record("last", last), self.record("last-steps", last, level="steps"),
                 self.record("last-draws", last, level="draws")]
        for a in right:
            for b in wrong:
                with self.subTest(a=a, b=b):
                    report = self.diff(a, b, "--json")
                    first = report["first"]
                    self.assertEqual((report["verdict"], first["step"], first["phase"],
                                      first["path"]),
                                     ("differ", STEPS + 1, "checkpoint", "Sequential.0.weight"))
                    self.assertEqual(report["cause"]["name"], "unknown")
                    self.assertIn(f"--ops-steps {STEPS}:{STEPS + 1} ", report["next"])
        report = self.diff(right[3], self.record("last-ops", last, **every), "--json")
        self.assertEqual((report["first"]["step"], report["first"]["op"]), (STEPS, "mul_"))

    def test_what_is_written_into_a_model_behind_the_last_update_is_seen(self):
        def program(written):
            torch.manual_seed(1)
            net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for _ in range(STEPS):
                optimizer.zero_grad()
                net(torch.randn(4, 8)).pow(2).mean().backward()
                optimizer.step()
            if written:
                with torch.no_grad():
                    net.state_dict()[written].mul_(0.5)
            return net

        traces = []
        for written in ("", "1.running_mean", "0.bias"):
            traces.append(self.path("written-" + written))
            with firstbit.torch.record(traces[-1]):
                net = program(written)
            del net
        for b, name in zip(traces[1:], ("running_mean", "bias")):
            report = self.diff(traces[0], b, "--json")
            self.assertEqual((report["verdict"], report["first"]["op"]), ("differ", "end"), report)
            self.assertTrue(report["first"]["path"].endswith(name), report)

    def test_what_operations_begin_with_is_not_their_fault(self):
        window = {"level": "ops", "ops_steps": "17:18"}
        early = {"wrong": 13, "where": "unread"}
        a = self.record("right-17", **window)
        report = self.diff(a, self.record("early-17", early, **window), "--json")
        first = report["first"]
        self.assertEqual((first["step"], first["phase"], first["path"], first["op"]),
                         (17, "checkpoint", "optimizer0.group0.param4", "begin"), report)
        self.assertIn("made before", report["cause"]["text"])
        self.assertIn("--ops-steps 7:17 ", report["next"])
        window["ops_steps"] = "12:18"
        report = self.diff(self.record("right-12", **window),
                           self.record("early-12", early, **window), "--json")
        self.assertEqual((report["first"]["step"], report["first"]["op"]), (13, "add_"), report)

    def test_recordings_of_one_run_at_any_depth_are_the_same(self):
        traces = [self.record("right"), self.record("again"),
                  self.record("right-steps", level="steps"),
                  self.record("right-draws", level="draws"),
                  self.record("right-ops", level="ops", ops_steps=None),
                  self.record("right-17", level="ops", ops_steps="17:18"),
                  self.record("right-12", level="ops", ops_steps="12:18")]
        for i, a in enumerate(traces):
            for b in traces[i + 1:]:
                with self.subTest(a=a, b=b):
                    report = self.diff(a, b, "--json")
                    self.assertEqual((report["verdict"], report["notes"]), ("same", []), report)


if __name__ == "__main__":
    FIRSTBIT = sys.argv.pop(1)
    unittest.main()
