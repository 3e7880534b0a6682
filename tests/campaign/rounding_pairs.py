#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pairs of random runs that differ by rounding only: diff must not call one of them different.

usage: rounding_pairs.py FIRSTBIT [--seed N] [--runs K] [--no-torch] [--keep FOLDER]

Each of K random configurations, from the number N on, is trained by the engine with ordered kernels,
and then
    blas     with the OpenBLAS kernels
    micro    with the batch cut into another number of micro-batches
    torch    by PyTorch, from the same weights, with the same batches and dropout masks; its
             parameters are called w0, w1, ..., so that nothing can be paired by name
Prints for each pair the verdict and the largest difference beside its envelope (a bug is beyond 10),
and the share of parameters and tensors that found a partner. Exit status 1 where a pair is told
apart. Undecidable ones (a run into chaos) are counted. Models with a layernorm of rows of one or two
numbers are not taken to PyTorch: there is nothing but rounding in them.
"""
import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "torch"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "recorders", "python"))

from program import Failure, read_events, run  # noqa: E402
from random_config import Case  # noqa: E402


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


class TorchSide:
    """Trains a case in PyTorch, recorded."""

    def __init__(self):
        import torch
        import firstbit.torch  # noqa: F401
        torch.set_num_threads(1)
        self.torch = torch

    def train(self, case, firstbit, folder):
        import firstbit as package
        from against_torch import Dataset
        from step_comparison import engine_results
        from torch_twin import Twin, make_optimizer, train_step
        torch = self.torch

        seen, batches, _ = engine_results(firstbit, folder, "a.fbt")
        weights = {name[len("param "):]: values for name, values in seen[0].items()}
        data = Dataset(case)
        twin = Twin(case.config, data.sizes, torch.float32, weights)
        forward = twin.forward

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                for i, name in enumerate(twin.parameters):
                    parameter = torch.nn.Parameter(twin.parameters[name].detach().clone())
                    self.register_parameter("w%d" % i, parameter)
                    twin.parameters[name] = parameter

            def forward(self, x):
                return forward(x)

        model = Model()
        twin.forward = model
        optimizer = make_optimizer(case.config, list(twin.parameters.values()))
        with package.torch.record(os.path.join(folder, "torch.fbt"), model=model,
                                  optimizer=optimizer, level="sketch", ops_steps=None):
            for step in range(1, len(batches)):
                inputs, targets = data.batch(batches[step], "train")
                if inputs.is_floating_point():
                    inputs = inputs.float()
                train_step(twin, optimizer, step, inputs, targets, case.micro)
        return "torch.fbt"


class Campaign:
    def __init__(self, firstbit, torch_side):
        self.firstbit, self.torch_side = firstbit, torch_side
        self.counts = collections.Counter()
        self.worst = {}

    def train(self, folder, name, *arguments):
        run(folder, self.firstbit, "train", "config.json", "-o", name, "--level", "sketch",
            *arguments)
        return name

    def is_well_posed(self, folder):
        """A layernorm of rows of one or two numbers gives 0 or +-1 whatever they are; the rest is
        rounding, which Adam blows up to steps of full size."""
        return all(e["op"] != "layernorm" or e["phase"] != "forward" or e["shape"][-1] > 2
                   for e in read_events(self.firstbit, folder, "a.fbt"))

    def pairs(self, case, folder, rng):
        """(kind, function that makes the other trace) of a case."""
        made = [("blas", lambda: self.train(folder, "blas.fbt", "--kernels", "openblas"))]
        cuts = [d for d in divisors(case.size) if d != case.micro]
        if cuts:
            micro = str(rng.choice(cuts))
            made.append(("micro", lambda: self.train(folder, "micro.fbt", "--set",
                                                     "batch.micro=" + micro)))
        if self.torch_side is not None and self.is_well_posed(folder):
            made.append(("torch", lambda: self.torch_side.train(case, self.firstbit, folder)))
        return made

    def check(self, number, folder):
        """Lines of a case, and whether any of its pairs was told apart."""
        case = Case(number)
        case.config.pop("eval", None)
        case.write(folder)
        rng = random.Random("firstbit rounding %d" % number)
        trained = json.loads(run(folder, self.firstbit, "train", "config.json", "-o", "a.fbt",
                                 "--level", "sketch", "--json"))
        if trained["first_nonfinite"] or case.wild:
            self.counts["into NaN or chaos on purpose"] += 1
            return "left out", False
        words, wrong = [], False
        for kind, make in self.pairs(case, folder, rng):
            word, bad = self.judge(folder, kind, make())
            words.append(word)
            wrong |= bad
        return "  ".join(words), wrong

    def judge(self, folder, kind, other):
        text = self.run_diff(folder, other)
        report = json.loads(text)
        found, verdict = report["rounding"], report["verdict"]
        self.counts["%s: %s" % (kind, verdict)] += 1
        if found is None:
            return "%s %s" % (kind, verdict), verdict == "differ"
        self.counts[kind + " parameters paired"] += found["parameters"][0]
        self.counts[kind + " parameters"] += found["parameters"][1]
        self.counts[kind + " tensors paired"] += found["boundaries"][0]
        self.counts[kind + " tensors"] += found["boundaries"][1]
        self.counts["tensors compared"] += found["compared"]
        largest = float(found["largest"])
        if largest > self.worst.get(kind, (0, ""))[0]:
            self.worst[kind] = (largest, found["largest_at"])
        word = "%s %s %.2f" % (kind, verdict, largest)
        if verdict in ("differ", "undecidable"):
            first = report["first"]
            word += " (%s)" % (report["why"] or " ".join(
                str(first[k]) for k in ("step", "phase", "path", "op", "slot")))
        return word, verdict == "differ"

    def run_diff(self, folder, other):
        for status in (0, 1, 3):
            try:
                return run(folder, self.firstbit, "diff", "a.fbt", other, "--json",
                           expected=status)
            except Failure as failure:
                last = failure
        raise last

    def tell(self):
        for kind, (largest, where) in sorted(self.worst.items()):
            print("largest of %s: %.2f times the envelope, %s" % (kind, largest, where))
        print(", ".join("%d %s" % (n, what) for what, n in sorted(self.counts.items())))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--keep", help="folder for what was told apart")
    options = parser.parse_args()
    torch_side = None
    if not options.no_torch:
        try:
            torch_side = TorchSide()
        except ImportError as missing:
            print("not compared with PyTorch: %s" % missing)
    campaign, failed = Campaign(os.path.abspath(options.firstbit), torch_side), []
    for number in range(options.seed, options.seed + options.runs):
        with tempfile.TemporaryDirectory(prefix="firstbit-rounding-") as folder:
            text, wrong = campaign.check(number, folder)
            print("%6d  %s" % (number, text), flush=True)
            if wrong:
                failed.append(number)
                if options.keep:
                    shutil.copytree(folder, os.path.join(options.keep, str(number)),
                                    dirs_exist_ok=True)
    campaign.tell()
    print("%d configurations, %d told apart%s" % (options.runs, len(failed),
                                                  "".join(" %d" % n for n in failed)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
