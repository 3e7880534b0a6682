# SPDX-License-Identifier: Apache-2.0
"""Whole training steps of the engine against PyTorch: loss, every gradient, every parameter.

usage: compare_step.py FIRSTBIT (gpt | conv)

Both start from the same safetensors weights and take the same batches (the sample events of the
trace name them). The truth is PyTorch in float64. How far a correct float32 program may be from it
is measured, not guessed: PyTorch itself in float32, with the batch cut into 1, 2, 4 and 8 parts and
with the samples reversed, gives for every tensor the largest relative L2 distance that legal orders
of the same sums produce. The engine must stay within 3 times that (a side that is 2 to 3 times worse
than its peers is suspect), plus 2 roundings of the result.

A check that cannot fail is none: the same comparison is made with a twin that has a known bug, and
must reject it.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy
import torch

from torch_twin import Twin, make_optimizer, train_step, write_safetensors

UNIT = 2.0 ** -24
WORSE = 3.0
STEPS = 3

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
        {"linear": {"out": "classes"}, "name": "fc3"}],
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

    def batch(indices):
        rows = [tokens[i * 24:i * 24 + 25] for i in indices]
        return torch.stack([r[:-1] for r in rows]), torch.stack([r[1:] for r in rows])

    return {"vocab": len(vocabulary)}, batch


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
    return {"classes": 10}, lambda indices: (x[indices], y[indices])


def run(folder, *arguments):
    result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit("%s: exit %d\n%s" % (" ".join(arguments), result.returncode, result.stderr))
    return result.stdout


def engine_results(firstbit, folder):
    """What the engine computed, and the sample indices of each step's batch."""
    run(folder, firstbit, "train", "config.json", "-o", "run.fbt")
    run(folder, firstbit, "replay", "run.fbt", "--make", "*", "-o", "made")
    seen = [{} for _ in range(STEPS + 1)]
    batches = [[] for _ in range(STEPS + 1)]
    for line in run(folder, firstbit, "show", "run.fbt", "--json").splitlines():
        event = json.loads(line)
        step, slot, path = event["step"], event["slot"], event["path"]
        if event["kind"] == "sample" and event["phase"] == "data":
            batches[step] += [int(i) for i in event["indices"]]
        elif event["kind"] == "scalar" and event["micro"] is None and slot in ("loss", "grad_norm"):
            seen[step][slot] = numpy.array(float(event["value"]))
        elif slot in ("grad.sum", "grad.clip", "param") and event["micro"] is None:
            name = "step-%06d.%s.%s.%s.npy" % (step, event["phase"], path, slot)
            tensor = numpy.load(os.path.join(folder, "made", name))
            seen[step][slot + " " + path] = tensor.astype(numpy.float64)
    return seen, batches


def twin_results(config, sizes, weights, batches, batch, dtype, split=1, flip=False, sabotage=None):
    twin = Twin(config, sizes, dtype, weights, sabotage=sabotage)
    optimizer = make_optimizer(config, list(twin.parameters.values()))
    seen = [None]
    for step in range(1, STEPS + 1):
        indices = batches[step][::-1] if flip else batches[step]
        inputs, targets = batch(indices)
        if inputs.is_floating_point():
            inputs = inputs.to(dtype)
        seen.append(train_step(twin, optimizer, step, inputs, targets, split))
    return seen


def distance(value, truth):
    """Relative L2."""
    norm = numpy.linalg.norm(truth)
    return numpy.linalg.norm(value - truth) / (norm if norm > 0 else 1.0)


def allowed_distances(truth, legal):
    """By (step, name): how far a correct float32 program may be from the truth."""
    return {(step, name): WORSE * max(distance(other[step][name], value) for other in legal)
            + 2 * UNIT for step in range(1, STEPS + 1) for name, value in truth[step].items()}


def worst_ratio(seen, truth, allowed):
    """The largest (distance of the engine) / (distance allowed), and where."""
    worst = (0.0, "nothing")
    compared = 0
    for step in range(1, STEPS + 1):
        for name, value in truth[step].items():
            if name not in seen[step]:
                sys.exit("step %d: the engine has no %s" % (step, name))
            if seen[step][name].shape != value.shape:
                sys.exit("step %d: %s has shape %s, expected %s"
                         % (step, name, seen[step][name].shape, value.shape))
            ratio = distance(seen[step][name], value) / allowed[step, name]
            worst = max(worst, (ratio, "step %d, %s" % (step, name)))
            compared += 1
    return worst, compared


def main():
    firstbit, which = os.path.abspath(sys.argv[1]), sys.argv[2]
    config, make = {"gpt": (GPT, make_text), "conv": (CONV, make_images)}[which]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sizes, batch = make(folder)
        generator = torch.Generator().manual_seed(5)
        first = Twin(config, sizes, torch.float64, generator=generator)
        first.forward(batch([0])[0].double() if which == "conv" else batch([0])[0])
        weights = {n: p.detach().float().numpy() for n, p in first.parameters.items()}
        write_safetensors(os.path.join(folder, "weights.safetensors"), weights)
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        seen, batches = engine_results(firstbit, folder)

    def twin(dtype, **options):
        return twin_results(config, sizes, weights, batches, batch, dtype, **options)

    truth = twin(torch.float64)
    legal = [twin(torch.float32, split=s, flip=f) for s in (1, 2, 4, 8) for f in (False, True)]
    allowed = allowed_distances(truth, legal)
    (ratio, where), compared = worst_ratio(seen, truth, allowed)
    print("%s: %d tensors and scalars of %d steps; worst is %.2f of what is allowed (%s)"
          % (which, compared, STEPS, ratio, where))
    if which == "gpt":
        wrong = twin(torch.float64, sabotage={"eps": 1.5e-5})
    else:
        wrong = twin_results(dict(config, clip=0.1001), sizes, weights, batches, batch,
                             torch.float64)
    (planted, place), _ = worst_ratio(seen, wrong, allowed)
    print("%s: a twin with a planted bug is at %.2f (%s)" % (which, planted, place))
    sys.exit(0 if ratio <= 1 < planted else 1)


if __name__ == "__main__":
    main()
