#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rounding or real, from contents: operations of PyTorch, each on the same inputs in two legal ways
(threads, with and without oneDNN), and with a fault in one of the results. No legal pair may be
called real or suspect, no fault rounding.

usage: proof_pairs.py FIRSTBIT [--seeds N] [--folder FOLDER] [--verbose]

Runs in one process under the Python that it is started with, with torch and the recorder there
(PYTHONPATH=recorders/python). Exit status: 0 where no pair is misjudged, else 1.
"""

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import firstbit.torch


# --- Operations -----------------------------------------------------------------------------------

def convolution(dims, **options):
    """Forward and all three gradients."""
    def run(kind, size):
        x = torch.randn(size, 8, *([13] * dims), dtype=torch.float64).to(kind).requires_grad_()
        kernel = options.get("kernel", 3)
        shape = (8, 8 // options.get("groups", 1)) + (kernel,) * dims
        w = torch.randn(shape, dtype=torch.float64).to(kind).requires_grad_()
        bias = torch.randn(8, dtype=torch.float64).to(kind).requires_grad_()
        name = f"conv{'_transpose' if options.get('transposed') else ''}{dims}d"
        call = getattr(functional, name)
        rest = {k: v for k, v in options.items() if k not in ("kernel", "transposed")}
        return lambda: call(x, w, bias, **rest), (x, w, bias)
    return run


def attention(how, **options):
    """Forward and gradients, of q, k and v in one tensor or each in its own."""
    def run(kind, size):
        heads, width, tokens = 4, 16, 24
        if how == "fused":
            base = torch.randn(size, tokens, 3, heads, width, dtype=torch.float64).to(kind)
            base.requires_grad_()
            leaves = (base,)
            views = lambda: base.permute(2, 0, 3, 1, 4)
        else:
            order = (size, heads, tokens, width) if how == "heads" else (size, tokens, heads, width)
            leaves = tuple(torch.randn(order, dtype=torch.float64).to(kind).requires_grad_()
                           for _ in range(3))
            views = lambda: (leaves if how == "heads" else [x.transpose(1, 2) for x in leaves])
        rest = dict(options)
        if rest.pop("masked", False):
            rest["attn_mask"] = torch.randn(tokens, tokens, dtype=torch.float64).to(kind)
        return lambda: functional.scaled_dot_product_attention(*views(), **rest), leaves
    return run


def product(kind, size):
    x = torch.randn(8 * size, 96, dtype=torch.float64).to(kind).requires_grad_()
    w = torch.randn(40, 96, dtype=torch.float64).to(kind).requires_grad_()
    bias = torch.randn(40, dtype=torch.float64).to(kind).requires_grad_()
    return lambda: functional.linear(x, w, bias), (x, w, bias)


def of_one(function, *shape):
    def run(kind, size):
        x = torch.randn(size, *shape, dtype=torch.float64).to(kind).requires_grad_()
        return lambda: function(x), (x,)
    return run


OPERATIONS = {
    "conv2d": convolution(2, padding=1),
    "conv2d 5x5": convolution(2, kernel=5, padding=2),
    "conv2d strided": convolution(2, stride=2, padding=1),
    "conv2d dilated, groups": convolution(2, dilation=2, groups=4),
    "conv2d 1x1": convolution(2, kernel=1),
    "conv1d": convolution(1, kernel=4),
    "conv3d": convolution(3, padding=1),
    "conv_transpose2d": convolution(2, transposed=True, stride=2, padding=1, output_padding=1),
    "linear": product,
    "layer_norm": of_one(lambda x: functional.layer_norm(x, (64,)), 16, 64),
    "softmax": of_one(lambda x: x.softmax(-1), 16, 64),
    "log_softmax": of_one(lambda x: x.log_softmax(-1), 16, 64),
    "gelu": of_one(functional.gelu, 16, 64),
    "mean": of_one(lambda x: x.mean(0), 16, 64),
    "sum": of_one(torch.sum, 64, 64),
}
if hasattr(functional, "scaled_dot_product_attention"):
    OPERATIONS.update({
        "attention": attention("heads"),
        "attention causal, fused qkv": attention("fused", is_causal=True),
        "attention tokens first": attention("tokens"),
        "attention masked": attention("tokens", masked=True),
    })
TYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}


# --- Legal ways, and faults -----------------------------------------------------------------------

@contextlib.contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@contextlib.contextmanager
def without_onednn():
    with torch.backends.mkldnn.flags(enabled=False):
        yield


WAYS = {"as it is": contextlib.nullcontext, "two threads": lambda: threads(2),
        "without oneDNN": without_onednn}

JUDGED = ("convolution", "attention", "addmm", "mm", "layer_norm", "softmax", "gelu", "mean", "sum")


class Fault(TorchDispatchMode):
    """Alters a result of an operation: what the recorder sees is what the program gets."""

    def __init__(self, number, fault):
        super().__init__()
        self.left, self.fault, self.struck = number, fault, None

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        name = function.__name__.split(".")[0]
        if not any(word in name for word in JUDGED):
            return made
        for x in made if isinstance(made, (tuple, list)) else (made,):
            if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.numel() < 2:
                continue
            if self.left == 0:
                self.struck = name
                self.fault(x)
            self.left -= 1
        return made


def scale(x):
    x.mul_(1 + 256 * torch.finfo(x.dtype).eps)


def zero_row(x):
    x[-1] = 0


def one_element(x):
    x[tuple(n // 2 for n in x.shape)] += x.abs().max() / 4


FAULTS = {"scaled": scale, "row of zeros": zero_row, "one element": one_element}


# --- Pairs ----------------------------------------------------------------------------------------

def record(path, run, kind, size, seed, around):
    torch.manual_seed(seed)
    with around:
        with firstbit.torch.record(path, level="values"):
            forward, leaves = run(kind, size)
            y = forward()
            y.backward(torch.ones_like(y) + y.detach())
            for x in leaves:
                x.grad = None


def diff(program, a, b):
    done = subprocess.run([program, "diff", "--bitwise", "--json", a, b], capture_output=True,
                          text=True, check=False)
    return json.loads(done.stdout)


def proof_of(report):
    """The verdict, and the operation that it is on."""
    first = report.get("first") or {}
    if report["verdict"] == "same":
        return "same", ""
    proof = report.get("proof")
    return proof["verdict"] if proof else "none", first.get("op", "")


class Campaign:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.clean, self.faults = collections.Counter(), collections.Counter()
        self.ops, self.wrong = collections.Counter(), []

    def path(self, name):
        return os.path.join(self.folder, name)

    def judge(self, name, kind, seed):
        run, size = OPERATIONS[name], 2 + seed % 3 * 7
        try:
            record(self.path("a.fbt"), run, TYPES[kind], size, seed, threads(1))
        except (RuntimeError, NotImplementedError):
            return  # not made for this type
        for way, around in WAYS.items():
            with contextlib.suppress(RuntimeError):  # not made for this type that way
                record(self.path("b.fbt"), run, TYPES[kind], size, seed, around())
                self.count(self.clean, name, kind, way, ("real", "suspect"))
        for fault, strike in FAULTS.items():
            for number in range(3):
                mode = Fault(number, strike)
                with threads(1):
                    record(self.path("b.fbt"), run, TYPES[kind], size, seed, mode)
                if mode.struck is not None:
                    self.count(self.faults, name, kind, f"{fault} {number}", ("rounding",))

    def count(self, counter, name, kind, what, misjudged):
        report = diff(self.options.firstbit, self.path("a.fbt"), self.path("b.fbt"))
        verdict, op = proof_of(report)
        counter[kind, verdict] += 1
        self.ops[op, verdict] += 1
        line = f"{name}, {kind}, {what}: {verdict} at {op}: {(report.get('proof') or {}).get('text')}"
        if verdict in misjudged:
            self.wrong.append(line)
        if self.options.verbose:
            print(line, flush=True)


def table(title, counter):
    verdicts = ("same", "rounding", "open", "suspect", "real", "none")
    print(f"{title:<34}" + "".join(f"{v:>10}" for v in verdicts))
    for row in sorted({key[0] for key in counter}):
        print(f"{row:<34}" + "".join(f"{counter[row, v]:>10}" for v in verdicts))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("firstbit")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder")
    parser.add_argument("--only", action="append", help="this operation; repeatable")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(options, options.folder or temporary)
        for seed in range(options.seeds):
            for name in options.only or OPERATIONS:
                for kind in TYPES:
                    campaign.judge(name, kind, seed)
    table("legal pairs", campaign.clean)
    table("faults", campaign.faults)
    table("operations", campaign.ops)
    print(f"{len(campaign.wrong)} misjudged")
    print("\n".join(campaign.wrong))
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
