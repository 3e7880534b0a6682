# SPDX-License-Identifier: Apache-2.0
"""Trains one configuration in the engine and in PyTorch and prints both validation curves.

usage: validation_curve.py FIRSTBIT CONFIG.json [--dtype f32|f64]

Same initial weights (PyTorch makes them, the engine reads the safetensors file), same batches in the
same order, same schedule, clipping and optimizer, same validation batches; text data only. Dropout
must be 0. The twin is tests/torch/torch_twin.py.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy
import torch

from torch_twin import Twin, factor_at, make_optimizer, write_safetensors


def read_text(data):
    """Tokens of the training and of the validation part, vocabulary size."""
    text = numpy.fromfile(data["text"], dtype=numpy.uint8)
    vocabulary = numpy.unique(text)
    tokens = torch.from_numpy(numpy.searchsorted(vocabulary, text))
    cut = int(data["split"][0] * len(tokens))
    return {"train": tokens[:cut], "val": tokens[cut:]}, len(vocabulary)


def windows(tokens, indices, context):
    rows = [tokens[i * context:i * context + context + 1] for i in indices]
    return torch.stack([r[:-1] for r in rows]), torch.stack([r[1:] for r in rows])


def engine_curve(firstbit, config_path, weights, trace):
    """Validation loss by step, the training batches by step, the validation batches."""
    subprocess.run([firstbit, "train", config_path, "--set", "weights=" + weights, "-o", trace,
                    "--level", "draws"], check=True, stdout=subprocess.DEVNULL)
    curve, batches, validation = {}, {}, {}
    shown = subprocess.run([firstbit, "show", trace, "--json"], check=True, capture_output=True,
                           text=True).stdout
    for line in shown.splitlines():
        event = json.loads(line)
        step = event["step"]
        if event["kind"] == "sample":
            into = batches if event["phase"] == "data" else validation
            into.setdefault(step, []).extend(int(i) for i in event["indices"])
        elif event["kind"] == "scalar" and event["phase"] == "eval" and event["micro"] is None:
            if event["slot"] == "loss":
                curve[step] = float(event["value"])
    return curve, batches, validation


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("config")
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    options = parser.parse_args()
    with open(options.config) as file:
        config = json.load(file)
    dtype = torch.float32 if options.dtype == "f32" else torch.float64
    torch.set_num_threads(1)
    parts, vocab = read_text(config["data"])
    context = config["data"]["context"]
    twin = Twin(config, {"vocab": vocab}, dtype, generator=torch.Generator().manual_seed(1))
    twin.forward(windows(parts["train"], [0], context)[0])
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "weights.safetensors")
        write_safetensors(weights, {n: p.detach().float().numpy()
                                    for n, p in twin.parameters.items()})
        curve, batches, validation = engine_curve(os.path.abspath(options.firstbit),
                                                  options.config, weights,
                                                  os.path.join(folder, "run.fbt"))
    optimizer = make_optimizer(config, list(twin.parameters.values()))
    (_, o), = config["optimizer"].items()
    print("  step    engine   PyTorch   difference")
    for step in range(1, config["steps"] + 1):
        for group in optimizer.param_groups:
            group["lr"] = o["lr"] * factor_at(config, step)
        optimizer.zero_grad()
        x, y = windows(parts["train"], batches[step], context)
        twin.loss(twin.forward(x), y).backward()
        if config.get("clip"):
            torch.nn.utils.clip_grad_norm_(twin.parameters.values(), config["clip"])
        optimizer.step()
        if step in curve:
            with torch.no_grad():
                x, y = windows(parts["val"], validation[step], context)
                loss = sum(twin.loss(twin.forward(a), b, reduction="sum").item()
                           for a, b in zip(x.split(16), y.split(16))) / y.numel()
            print("%6d  %8.5f  %8.5f   %+.1e" % (step, curve[step], loss, curve[step] - loss),
                  flush=True)


if __name__ == "__main__":
    main()
