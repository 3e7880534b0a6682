#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random small runs, each held against everything that is promised of a run.

usage: random_runs.py FIRSTBIT [--seed N] [--runs K] [--faults F] [--no-torch] [--keep DIR]

Run i has the number N + i and depends on nothing else, so `--seed NUMBER --runs 1` repeats one.
random_config.py makes a configuration and its data; then, for each run:

- every step (losses, gradients, parameters, evaluation) is that of PyTorch in float64 as far as
  legal roundings go (tests/torch/step_comparison.py), and the random numbers (batches, first
  values, dropout masks) are those of tests/torch/random_twin.py; both where Debian's PyTorch is;
- all parameters have one final hash with every instruction set on 1, 2 and 3 threads;
- the trace verifies, and its replay agrees, from a checkpoint too;
- a run that is resumed from a checkpoint ends with the same hash, and diff says "same";
- two clean recordings are the same;
- random planted faults are found by diff at exactly their event.

A failing run's folder is kept in DIR. Exit status: 0 all is well, 1 something is wrong.
"""
import argparse
import collections
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))

from program import Failure, read_events, run  # noqa: E402
from random_config import Case  # noqa: E402
from random_faults import random_fault, wrong_about  # noqa: E402

THREADS = (1, 2, 3)


class Campaign:
    def __init__(self, firstbit, faults, with_torch):
        self.firstbit, self.faults, self.with_torch = firstbit, faults, with_torch
        self.isas = ["ref"]
        self.counts = collections.Counter()

    def find_isas(self, folder):
        """The instruction sets of this machine: those that a run does not refuse."""
        for isa in ("avx2", "avx512", "neon"):
            try:
                self.train(folder, "probe", "--no-trace", "--isa", isa)
                self.isas.append(isa)
            except Failure as failure:
                if "--isa" not in str(failure):
                    raise

    # --- One run ------------------------------------------------------------------------------

    def command(self, folder, *arguments, expected=0):
        """A command with --json: the object that it prints."""
        text = run(folder, self.firstbit, *arguments, "--json", expected=expected)
        return json.loads(text)

    def train(self, folder, name, *arguments):
        return self.command(folder, "train", "config.json", "-o", name + ".fbt", *arguments)

    def any_way(self, rng):
        """Any instruction set, any number of threads."""
        return ("--isa", rng.choice(self.isas), "--threads", str(rng.choice(THREADS)))

    def check(self, number, folder):
        """One run; raises Failure. Returns what it was, for the log."""
        case = Case(number)
        rng = random.Random("firstbit checks %d" % number)
        case.write(folder)
        if rng.random() < 0.4:
            self.give_weights(case, folder, rng)
        trained = self.train(folder, "a", *self.any_way(rng))
        events = read_events(self.firstbit, folder, "a.fbt")
        if len(events) != trained["events"]:
            raise Failure("train counts %d events, show %d" % (trained["events"], len(events)))
        self.counts["events"] += len(events)
        self.check_identity(folder, trained["final_hash"])
        self.check_replay(case, folder, rng, trained["final_hash"])
        self.check_clean_pair(folder, rng, events)
        self.check_resumed(case, folder, rng, trained["final_hash"])
        for _ in range(self.faults):
            self.check_fault(case, folder, rng, events)
        worst = 0.0
        if self.with_torch:
            import against_torch
            against_torch.check_samples(case, events)
            against_torch.check_first_values(case, folder, events, self.firstbit)
            if not trained["first_nonfinite"]:
                worst, where = against_torch.check_steps(case, folder, self.firstbit)
                self.counts["compared with PyTorch"] += 1
                if not worst <= 1:
                    raise Failure("%.2f of the allowed distance from PyTorch: %s" % (worst, where))
        (kind, *_), layers = case.config["data"], len(json.dumps(case.config["model"]))
        return "%-6s %5d events, model of %4d bytes, %s, PyTorch %.2f" % (
            kind, len(events), layers, "non-finite" if trained["first_nonfinite"] else "finite",
            worst)

    def give_weights(self, case, folder, rng):
        """First values from a safetensors file, where biases and gains are not 0 and 1."""
        self.train(folder, "shapes", "--steps", "1")
        header, data = {}, b""
        for e in read_events(self.firstbit, folder, "shapes.fbt"):
            if e["kind"] != "param" or e["step"] != 0:
                continue
            count = 1
            for size in e["shape"]:
                count *= size
            mean = 1 if len(e["shape"]) == 1 and e["path"].endswith("weight") else 0
            std = 0.1 if len(e["shape"]) == 1 else (count / e["shape"][0]) ** -0.5
            blob = struct.pack("<%df" % count, *(rng.gauss(mean, std) for _ in range(count)))
            header[e["path"]] = {"dtype": "F32", "shape": e["shape"],
                                 "data_offsets": [len(data), len(data) + len(blob)]}
            data += blob
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        case.files["weights.safetensors"] = struct.pack("<Q", len(text)) + text + data
        case.config["weights"] = "weights.safetensors"
        case.write(folder)

    def check_identity(self, folder, expected):
        for isa in self.isas:
            for threads in THREADS:
                got = self.train(folder, "same", "--no-trace", "--isa", isa, "--threads",
                                 str(threads))["final_hash"]
                if got != expected:
                    raise Failure("final hash %s with %s on %d threads, else %s"
                                  % (got, isa, threads, expected))

    def check_replay(self, case, folder, rng, final_hash):
        run(folder, self.firstbit, "verify", "a.fbt")
        start = rng.randint(1, case.steps)
        for more in ((), ("--from", str(start))):
            got = self.command(folder, "replay", "a.fbt", *self.any_way(rng), *more)
            if got["verdict"] != "verified" or got["final_hash"] != final_hash:
                raise Failure("replay %s: %s" % (" ".join(more), got))

    def check_same(self, folder, a, b):
        report = self.command(folder, "diff", a, b)
        if report["verdict"] != "same" or report["notes"]:
            raise Failure("diff %s %s: %s, %d notes" % (a, b, report["verdict"],
                                                       len(report["notes"])))
        return report["compared"]

    def check_clean_pair(self, folder, rng, events):
        self.train(folder, "b", *self.any_way(rng))
        compared = self.check_same(folder, "a.fbt", "b.fbt")
        if compared["events_a"] != len(events) or compared["events_b"] != len(events):
            raise Failure("diff compared %s of %d events" % (compared, len(events)))

    def check_resumed(self, case, folder, rng, final_hash):
        every = case.config["checkpoint"]["every"]
        step = rng.randrange(every, case.steps, every)
        checkpoint = os.path.join("a.ckpt", "step-%08d.safetensors" % step)
        resumed = self.train(folder, "resumed", "--resume", checkpoint, *self.any_way(rng))
        if resumed["final_hash"] != final_hash:
            raise Failure("resumed after step %d: %s, else %s" % (step, resumed["final_hash"],
                                                                 final_hash))
        run(folder, self.firstbit, "verify", "resumed.fbt")
        got = self.command(folder, "replay", "resumed.fbt", *self.any_way(rng))
        if got["verdict"] != "verified" or got["final_hash"] != final_hash:
            raise Failure("replay of the run resumed after step %d: %s" % (step, got))
        self.check_same(folder, *rng.sample(["a.fbt", "resumed.fbt"], 2))

    def check_fault(self, case, folder, rng, events):
        fault = random_fault(rng, case, events)
        self.train(folder, "bad", "--inject", fault.text, *self.any_way(rng))
        bad_is_a = rng.random() < 0.5
        report = self.command(folder, "diff", *(("bad.fbt", "a.fbt") if bad_is_a
                                                else ("a.fbt", "bad.fbt")),
                              expected=0 if fault.step is None else 1)
        wrong = wrong_about(fault, report, bad_is_a)
        if wrong:
            raise Failure("%s%s: %s" % (fault.text, " (first)" if bad_is_a else "", wrong))
        self.counts["faults"] += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--faults", type=int, default=3)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--keep", help="folder for what failed")
    options = parser.parse_args()
    with_torch = not options.no_torch
    if with_torch:
        try:
            import against_torch  # noqa: F401
        except ImportError as missing:
            print("not compared with PyTorch: %s" % missing)
            with_torch = False
    campaign = Campaign(os.path.abspath(options.firstbit), options.faults, with_torch)
    with tempfile.TemporaryDirectory(prefix="firstbit-campaign-") as folder:
        Case(0).write(folder)
        campaign.find_isas(folder)
    failed, began = [], time.monotonic()
    for number in range(options.seed, options.seed + options.runs):
        with tempfile.TemporaryDirectory(prefix="firstbit-campaign-") as folder:
            try:
                print("%6d  %s" % (number, campaign.check(number, folder)), flush=True)
            except Failure as failure:
                print("%6d  FAILED: %s" % (number, failure), flush=True)
                failed.append(number)
                if options.keep:
                    shutil.copytree(folder, os.path.join(options.keep, str(number)),
                                    dirs_exist_ok=True)
    print("%d runs on %s in %.0f s: %s; %d failed%s" % (
        options.runs, ", ".join(campaign.isas), time.monotonic() - began,
        ", ".join("%d %s" % (n, what) for what, n in sorted(campaign.counts.items())),
        len(failed), "".join(" %d" % n for n in failed)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
