#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pairs of random small runs, clean and damaged: does diff say what was done, and nothing else?

usage: random_pairs.py FIRSTBIT [--other FIRSTBIT]... [--seed N] [--runs K] [--pairs P]
                       [--faults F] [--overrides O] [--minutes M]

Run i has the number N + i and depends on nothing else. For each run:

- P clean pairs over instruction sets, threads and builds (--other: by another compiler): same, no
  notes;
- F random faults (random_faults.py): exactly their event, the cause, confirmed;
- O overrides of the bank (docs/overrides.md): the first event that `show` tells apart, the cause,
  confirmed, and the override's name in its text. One that changes no bit of the run is drawn again.

Exit status: 0 all is well, 1 something is wrong.
"""
import argparse
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "torch"))

from program import Failure, read_events, run  # noqa: E402
from random_config import Case  # noqa: E402
from random_faults import random_fault, wrong_about  # noqa: E402

IDENTITY = ("step", "micro", "phase", "path", "op", "slot")
ROW = re.compile(r"^\| `([^`=\[]+)(=N)?(\[@LAYER\])?` \| ([a-z-]+) \|", re.M)


def read_bank():
    """[(spec, name, cause)]"""
    with open(os.path.join(HERE, "..", "..", "docs", "overrides.md"), encoding="utf-8") as file:
        rows = ROW.findall(file.read())
    return [(name + ("=" + ("1234" if "seed" in name else "2") if number else ""), name, cause)
            for name, number, _, cause in rows if not name.startswith("resume-")]


def contents(event):
    """All that counts: references say where it came from, a NaN's sign is promised by nobody."""
    left_out = ("inputs", "bits") if event.get("value") == "nan" else ("inputs",)
    return {key: value for key, value in event.items() if key not in left_out}


def first_difference(a, b):
    """The first event of a, or of b, that the other trace does not have with equal contents."""
    for x, y in zip(a, b):
        if any(x[key] != y[key] for key in IDENTITY):
            return x, y
        if contents(x) != contents(y):
            return x, y
    return None


class Campaign:
    def __init__(self, programs, isas):
        self.programs, self.isas, self.bank = programs, isas, read_bank()
        self.counts = collections.Counter()

    def train(self, rng, folder, name, *arguments):
        program = rng.choice(self.programs)
        run(folder, program, "train", "config.json", "-o", name + ".fbt", "--isa",
            rng.choice(self.isas), "--threads", str(rng.randint(1, 4)), *arguments)

    def diff(self, folder, a, b, expected):
        return json.loads(run(folder, self.programs[0], "diff", a, b, "--json",
                              expected=expected))

    def check(self, number, folder, options):
        case, rng = Case(number), random.Random("firstbit pairs %d" % number)
        case.write(folder)
        self.train(rng, folder, "a")
        events = read_events(self.programs[0], folder, "a.fbt")
        for _ in range(options.pairs):
            self.train(rng, folder, "b")
            report = self.diff(folder, "a.fbt", "b.fbt", 0)
            if report["verdict"] != "same" or report["notes"]:
                raise Failure("a clean pair: %s" % report)
            self.counts["clean pairs"] += 1
        for _ in range(options.faults):
            self.check_fault(rng, case, folder, events)
        for _ in range(options.overrides):
            self.check_override(rng, folder, events)

    def check_fault(self, rng, case, folder, events):
        fault = random_fault(rng, case, events)
        self.train(rng, folder, "bad", "--inject", fault.text)
        pair = rng.choice([("a.fbt", "bad.fbt"), ("bad.fbt", "a.fbt")])
        report = self.diff(folder, *pair, 0 if fault.step is None else 1)
        wrong = wrong_about(fault, report, pair[0] == "bad.fbt")
        if wrong:
            raise Failure("%s: %s" % (fault.text, wrong))
        self.counts["faults"] += 1

    def plant(self, rng, folder):
        """An override that the configuration has a use for."""
        for _ in range(50):
            spec, name, cause = rng.choice(self.bank)
            try:
                self.train(rng, folder, "bad", "--override", spec)
                return spec, name, cause
            except Failure as refused:
                if "nothing that it changes" not in str(refused):
                    raise
        raise Failure("no override fits")

    def check_override(self, rng, folder, events):
        for _ in range(20):
            spec, name, cause = self.plant(rng, folder)
            first = first_difference(events, read_events(self.programs[0], folder, "bad.fbt"))
            if first:
                break
        else:
            return
        bad_is_a = rng.random() < 0.5
        try:
            report = self.diff(folder, *(("bad.fbt", "a.fbt") if bad_is_a
                                         else ("a.fbt", "bad.fbt")), 1)
        except Failure:
            if all(e["phase"] in ("eval", "checkpoint") for e in first):
                self.counts["overrides that reach no training state"] += 1
                return
            raise
        got, told = report["first"], report["cause"]
        if not any(all(got.get(k) == e[k] for k in IDENTITY) for e in first):
            raise Failure("%s: at %s, expected %s" % (spec, [got.get(k) for k in IDENTITY],
                                                      [[e[k] for k in IDENTITY] for e in first]))
        self.counts["overrides at their event"] += 1
        if told["confidence"] == "confirmed" and name not in told["text"] and (
                told["name"] == cause or told["name"] == "bit-flip" and got["differing"] == 1):
            self.counts["overrides confirmed as a fault that has their bits"] += 1
            return
        if told["confidence"] != "confirmed" or name not in told["text"]:
            raise Failure("%s: %s (%s): %s" % (spec, told["name"], told["confidence"],
                                               told["text"]))
        self.counts["overrides named and confirmed"] += 1
        self.counts["overrides with another cause first"] += told["name"] != cause


def isas_of(program):
    """Those of this machine."""
    found = []
    with tempfile.TemporaryDirectory(prefix="firstbit-campaign-") as folder:
        Case(0).write(folder)
        for isa in ("ref", "avx2", "avx512", "neon"):
            if subprocess.run([program, "train", "config.json", "--no-trace", "--isa", isa],
                              cwd=folder, capture_output=True, check=False).returncode == 0:
                found.append(isa)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("--other", action="append", default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--faults", type=int, default=4)
    parser.add_argument("--overrides", type=int, default=4)
    parser.add_argument("--minutes", type=float, help="begin no further run after so many")
    options = parser.parse_args()
    programs = [os.path.abspath(p) for p in [options.firstbit] + options.other]
    campaign, began, failed = Campaign(programs, isas_of(programs[0])), time.monotonic(), []
    until = began + 60 * options.minutes if options.minutes else float("inf")
    numbers = range(options.seed, options.seed + options.runs)
    done = 0
    for number in numbers:
        if time.monotonic() > until:
            break
        done += 1
        with tempfile.TemporaryDirectory(prefix="firstbit-campaign-") as folder:
            try:
                campaign.check(number, folder, options)
            except Failure as failure:
                print("%6d  FAILED: %s" % (number, failure), flush=True)
                failed.append(number)
    print("%d runs, %d builds, %s, in %.0f s: %s; %d failed%s" % (
        done, len(programs), ", ".join(campaign.isas), time.monotonic() - began,
        ", ".join("%d %s" % (n, what) for what, n in sorted(campaign.counts.items())),
        len(failed), "".join(" %d" % n for n in failed)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
