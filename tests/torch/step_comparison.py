# SPDX-License-Identifier: Apache-2.0
"""Training steps of the engine beside those of the PyTorch twin: how far apart they may be.

Both start from the same weights and take the same batches (the sample events of the trace name
them). The truth is PyTorch in float64. How far a correct float32 program may be from it is measured,
not guessed: PyTorch itself in float32, with the batch cut into parts and with the samples reversed,
gives for every tensor the largest relative L2 distance that legal orders of the same sums produce.
The engine must stay within 3 times that (a side that is 2 to 3 times worse than its peers is
suspect), plus 2 roundings of the result.

Tiny and degenerate models need more: where PyTorch's order happens to cancel exactly, no reordering
of it shows what another legal program may do. There, runs are added in which every activation and
gradient moves by at most one unit in the last place.
"""
import os

import numpy
import torch

from program import Failure, read_events, run
from torch_twin import Twin, evaluate, make_optimizer, train_step

UNIT = 2.0 ** -24
WORSE = 3.0
SCALARS = {("loss", "loss"): "loss", ("optimizer", "grad_norm"): "grad_norm",
           ("schedule", "lr"): "lr", ("eval", "loss"): "eval loss",
           ("eval", "accuracy"): "eval accuracy"}


def engine_results(firstbit, folder, trace="run.fbt"):
    """What the engine computed in a recorded run: by step, name -> array; the sample indices of each
    step's batch and of its evaluation. Name "param P" of step 0 is the first value."""
    run(folder, firstbit, "replay", trace, "--make", "*", "-o", "made")
    events = read_events(firstbit, folder, trace)
    steps = max(event["step"] for event in events)
    seen = [{} for _ in range(steps + 1)]
    batches = [[] for _ in range(steps + 1)]
    held_out = [[] for _ in range(steps + 1)]
    for event in events:
        step, phase, slot, path = event["step"], event["phase"], event["slot"], event["path"]
        if event["kind"] == "sample":
            into = batches if phase == "data" else held_out
            into[step] += [int(i) for i in event["indices"]]
        elif event["micro"] is None and (phase, slot) in SCALARS:
            seen[step][SCALARS[phase, slot]] = numpy.array(float(event["value"]))
        elif event["micro"] is None and slot in ("grad.sum", "grad.clip", "param"):
            name = "step-%06d.%s.%s.%s.npy" % (step, phase, path, slot)
            tensor = numpy.load(os.path.join(folder, "made", name))
            seen[step][slot + " " + path] = tensor.astype(numpy.float64)
    return seen, batches, held_out


def twin_results(config, dataset, weights, batches, held_out, dtype, split=1, flip=False,
                 nudge=None, sabotage=None):
    """The same from PyTorch. dataset: sizes and batch(indices, part) of the data; nudge: the seed of
    last-bit noise."""
    generator = None if nudge is None else torch.Generator().manual_seed(nudge)
    twin = Twin(config, dataset.sizes, dtype, weights, sabotage=sabotage, nudge=generator)
    optimizer = make_optimizer(config, list(twin.parameters.values()))
    known = set(twin.parameters)
    seen = [{}]

    def batch(indices, part):
        inputs, targets = dataset.batch(indices, part)
        return (inputs.to(dtype) if inputs.is_floating_point() else inputs), targets

    for step in range(1, len(batches)):
        order = -1 if flip else 1
        places = list(range(len(batches[step])))[::order]
        seen.append(train_step(twin, optimizer, step, *batch(batches[step][::order], "train"),
                               split, places))
        if held_out[step]:
            seen[step].update(evaluate(twin, *batch(held_out[step], "val")))
    if set(twin.parameters) != known:
        raise Failure("the engine lacks the parameters %s" % (set(twin.parameters) - known))
    return seen


def legal_results(*arguments, nudges=0):
    """Runs of the twin in float32 that are all correct; the arguments are those of twin_results up
    to held_out."""
    legal = [twin_results(*arguments, torch.float32, split=s, flip=f)
             for s in (1, 2, 4, 8) for f in (False, True)]
    return legal + [twin_results(*arguments, torch.float32, nudge=n) for n in range(nudges)]


def distance(value, truth):
    """Relative L2."""
    norm = numpy.linalg.norm(truth)
    return numpy.linalg.norm(value - truth) / (norm if norm > 0 else 1.0)


def allowed_distances(truth, legal):
    """By (step, name): how far a correct float32 program may be from the truth."""
    return {(step, name): WORSE * max(distance(other[step][name], value) for other in legal)
            + 2 * UNIT for step in range(1, len(truth)) for name, value in truth[step].items()}


def worst_ratio(seen, truth, allowed):
    """The largest (distance of the engine) / (distance allowed), and where."""
    worst = (0.0, "nothing")
    compared = 0
    for step in range(1, len(truth)):
        missing = set(seen[step]) ^ set(truth[step])
        if missing:
            raise Failure("step %d: only one side has %s" % (step, ", ".join(sorted(missing))))
        for name, value in truth[step].items():
            if seen[step][name].shape != value.shape:
                raise Failure("step %d: %s has shape %s, expected %s"
                              % (step, name, seen[step][name].shape, value.shape))
            ratio = distance(seen[step][name], value) / allowed[step, name]
            if not ratio <= worst[0]:  # NaN counts as worst
                worst = (ratio, "step %d, %s" % (step, name))
            compared += 1
    return worst, compared
