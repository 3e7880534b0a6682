# SPDX-License-Identifier: Apache-2.0
"""Whole training steps of the engine against PyTorch: loss, every gradient, every parameter.

usage: compare_step.py FIRSTBIT (gpt | conv)

step_comparison.py says what is compared and how far apart the two may be. A check that cannot fail
is none: the same comparison is made with a twin that has a known bug, and must reject it.
"""
import json
import os
import sys
import tempfile
from collections import namedtuple

import numpy
import torch

from program import Failure, run
from step_comparison import (allowed_distances, engine_results, legal_results, twin_results,
                             worst_ratio)
from torch_twin import Twin, write_safetensors

STEPS = 3
Dataset = namedtuple("Dataset", "sizes batch")  # batch(indices, part): inputs, targets

GPT = {
    "seed": 7, "data": {"text": "text.txt", "context": 24, "split": [1, 0]},
    "model": [
        {"embedding": {"dim": 32, "positions": True}, "name": "embedding"},
        {"repeat": 2, "name": "h", "layers": [
            {"residual": [{"layernorm": {}, "name": "ln"},
                          {"attention": {"heads": 4, "causal": True}, "name": "core"}],
             "name": "attn"},
            {"residual": [{"layernorm": {}, "name": "ln"}, {"linear": {"out": 128}, "name": "fc"},
                          {"gelu": {"approximate": "tanh"}}, {"dropout": {"p": 0}},
                          {"linear": {"out": 32}, "name": "proj"}], "name": "mlp"}]},
        {"layernorm": {}, "name": "ln"},
        {"linear": {"out": "vocab", "bias": False, "tied": "embedding"}, "name": "head"}],
    "loss": "cross_entropy", "weights": "weights.safetensors",
    "optimizer": {"adamw": {"lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}},
    "schedule": {"cosine": {"warmup": 2, "total": 10}}, "clip": 0.5,
    "batch": {"size": 8, "micro": 4}, "steps": STEPS}

CONV = {
    "seed": 3, "data": {"idx": {"images": "images", "labels": "labels"}, "split": [1, 0]},
    "model": [
        {"conv2d": {"out": 6, "kernel": 3, "padding": 1}, "name": "conv0"}, {"relu": {}},
        {"maxpool": {"kernel": 2}},
        {"conv2d": {"out": 8, "kernel": 3, "stride": 2}, "name": "conv1"}, {"silu": {}},
        {"avgpool": {"kernel": 2}}, {"flatten": {}},
        {"linear": {"out": 24}, "name": "fc0"}, {"gelu": {}},
        {"linear": {"out": 24}, "name": "fc1"}, {"tanh": {}},
        {"linear": {"out": 24}, "name": "fc2"}, {"sigmoid": {}},
        {"linear": {"out": 24}, "name": "fc3"}, {"softplus": {}},
        {"linear": {"out": "classes"}, "name": "fc4"}],
    "loss": "cross_entropy", "weights": "weights.safetensors",
    "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}},
    "schedule": {"step": {"every": 2, "gamma": 0.5}}, "clip": 0.1,
    "batch": {"size": 16, "micro": 2}, "steps": STEPS}


def make_text(folder):
    rng = numpy.random.default_rng(1)
    letters = numpy.frombuffer(b"abcdefghijklmnopqrstuvwxyz ,.\n", dtype=numpy.uint8)
    text = rng.choice(letters, size=24 * 40 + 1)
    with open(os.path.join(folder, "text.txt"), "wb") as file:
        file.write(text.tobytes())
    vocabulary = numpy.unique(text)
    tokens = torch.from_numpy(numpy.searchsorted(vocabulary, text))

    def batch(indices, _part):
        rows = [tokens[i * 24:i * 24 + 25] for i in indices]
        return torch.stack([r[:-1] for r in rows]), torch.stack([r[1:] for r in rows])

    return Dataset({"vocab": len(vocabulary)}, batch)


def make_images(folder):
    rng = numpy.random.default_rng(2)
    images = rng.integers(0, 256, size=(64, 14, 14), dtype=numpy.uint8)
    labels = numpy.concatenate([numpy.arange(10), rng.integers(0, 10, size=54)]).astype(numpy.uint8)
    with open(os.path.join(folder, "images"), "wb") as file:
        file.write(numpy.array([0x803, 64, 14, 14], dtype=">u4").tobytes() + images.tobytes())
    with open(os.path.join(folder, "labels"), "wb") as file:
        file.write(numpy.array([0x801, 64], dtype=">u4").tobytes() + labels.tobytes())
    x = torch.from_numpy(images.astype(numpy.float32) / numpy.float32(255))[:, None]
    y = torch.from_numpy(labels.astype(numpy.int64))
    return Dataset({"classes": 10}, lambda indices, _part: (x[indices], y[indices]))


def main():
    firstbit, which = os.path.abspath(sys.argv[1]), sys.argv[2]
    config, make = {"gpt": (GPT, make_text), "conv": (CONV, make_images)}[which]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make(folder)
        first = Twin(config, dataset.sizes, torch.float64,
                     generator=torch.Generator().manual_seed(5))
        inputs, _ = dataset.batch([0], "train")
        first.forward(inputs.double() if inputs.is_floating_point() else inputs)
        weights = {n: p.detach().float().numpy() for n, p in first.parameters.items()}
        write_safetensors(os.path.join(folder, "weights.safetensors"), weights)
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        run(folder, firstbit, "train", "config.json", "-o", "run.fbt")
        seen, batches, held_out = engine_results(firstbit, folder)

    both = (dataset, weights, batches, held_out)
    truth = twin_results(config, *both, torch.float64)
    allowed = allowed_distances(truth, legal_results(config, *both))
    (ratio, where), compared = worst_ratio(seen, truth, allowed)
    print("%s: %d tensors and scalars of %d steps; worst is %.2f of what is allowed (%s)"
          % (which, compared, STEPS, ratio, where))
    if which == "gpt":
        wrong = twin_results(config, *both, torch.float64, sabotage={"eps": 1.5e-5})
    else:
        wrong = twin_results(dict(config, clip=0.1001), *both, torch.float64)
    (planted, place), _ = worst_ratio(seen, wrong, allowed)
    print("%s: a twin with a planted bug is at %.2f (%s)" % (which, planted, place))
    sys.exit(0 if ratio <= 1 < planted else 1)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(str(failure))
