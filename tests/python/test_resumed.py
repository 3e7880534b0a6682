#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A PyTorch program that goes on from its checkpoint in another process, beside the run that was not
interrupted: with everything restored the same, else diff says what was not.

usage: test_resumed.py FIRSTBIT [unittest arguments]
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

begin, end, lose = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.1), torch.nn.Linear(16, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)
x, y = torch.randn(64, 8), torch.randint(0, 4, (64,))
if begin:
    saved = torch.load("checkpoint.pt")
    if lose == "head":
        saved["net"] = {k: v for k, v in saved["net"].items() if not k.startswith("2.bias")}
    net.load_state_dict(saved["net"], strict=False)
    if lose != "optimizer":
        optimizer.load_state_dict(saved["optimizer"])
    if lose != "schedule":
        schedule.load_state_dict(saved["schedule"])
    if lose != "generator":
        torch.set_rng_state(saved["generator"])
for step in range(begin, end):
    at = 8 * (step - begin if lose == "data" else step) % 64
    loss = cross_entropy(net(x[at:at + 8]), y[at:at + 8])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step == 2 and not begin:
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(), "generator": torch.get_rng_state()},
                   "checkpoint.pt")
"""


class Resumed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(cls.folder.name, "train.py"), "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        cls.record("whole.fbt", 0, 7, "nothing")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def record(cls, name, *arguments):
        subprocess.run([FIRSTBIT, "record", "-o", name, "--", sys.executable, "train.py",
                        *map(str, arguments)], cwd=cls.folder.name, check=True,
                       capture_output=True)

    def diff(self, a, b, *flags):
        done = subprocess.run([FIRSTBIT, "diff", "--json", *flags, a, b], cwd=self.folder.name,
                              capture_output=True, text=True, check=False)
        return json.loads(done.stdout)

    def test_a_run_that_brings_everything_along_is_the_same_as_the_whole(self):
        self.record("part.fbt", 3, 7, "nothing")
        for pair in (("whole.fbt", "part.fbt"), ("part.fbt", "whole.fbt")):
            report = self.diff(*pair)
            self.assertEqual(report["verdict"], "same", report)
            self.assertGreater(report["compared"]["aligned"], 100)

    def test_steps_laid_beside_each_other_by_hand_are_compared(self):
        self.record("part.fbt", 3, 7, "nothing")
        for steps in ("4:1", "6:3"):
            report = self.diff("whole.fbt", "part.fbt", "--align", steps)
            self.assertEqual(report["verdict"], "same", report)
        report = self.diff("part.fbt", "whole.fbt", "--align", "1:5")
        self.assertEqual((report["verdict"], report["cause"]["name"]),
                         ("differ", "checkpoint-resume"), report)
        self.assertEqual(report["first"]["slot"], "param")

    def test_what_a_run_has_not_brought_along_is_named(self):
        for lose, step, said in (("optimizer", 4, "the optimizer's state"),
                                 ("schedule", 5, "the learning rate"),
                                 ("generator", 4, "the random generator"),
                                 ("data", 4, "the place in the data"),
                                 ("head", 3, "a parameter")):
            with self.subTest(lose):
                self.record(lose + ".fbt", 3, 7, lose)
                for pair, who in ((("whole.fbt", lose + ".fbt"), "b goes on"),
                                  ((lose + ".fbt", "whole.fbt"), "a goes on")):
                    report = self.diff(*pair)
                    self.assertEqual(report["verdict"], "differ", report)
                    self.assertEqual(report["cause"]["name"], "checkpoint-resume")
                    self.assertIn(said + " is another one", report["cause"]["text"])
                    self.assertIn(who, report["cause"]["text"])
                    self.assertEqual(report["first"]["step"], step)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
