# SPDX-License-Identifier: Apache-2.0
"""A random run beside PyTorch and beside the random numbers of the contract."""
import os

import numpy
import torch

from program import Failure, run
from random_twin import batch_indices, normal
from step_comparison import (allowed_distances, engine_results, legal_results, twin_results,
                             worst_ratio)

NUDGES = 6

torch.set_num_threads(1)


class Dataset:
    """The data of a case as tensors."""

    def __init__(self, case):
        self.sizes, self.case = case.sizes, case

    def batch(self, indices, part):
        case, samples = self.case, self.case.parts[part]
        inputs = torch.tensor([samples.inputs[i] for i in indices])
        targets = torch.tensor([samples.targets[i] for i in indices])
        return (inputs.reshape(len(indices), *case.input_shape),
                targets.reshape(len(indices), *case.target_shape))


def check_steps(case, folder, firstbit):
    """How far the run is from the truth, as a share of what is allowed, and where."""
    seen, batches, held_out = engine_results(firstbit, folder, "a.fbt")
    weights = {name[len("param "):]: values for name, values in seen[0].items()}
    both = (Dataset(case), weights, batches, held_out)
    truth = twin_results(case.config, *both, torch.float64)
    allowed = allowed_distances(truth, legal_results(case.config, *both, nudges=NUDGES))
    worst, _ = worst_ratio(seen, truth, allowed)
    return worst


def check_samples(case, events):
    """The samples of every step and of every evaluation."""
    read = {}
    for e in events:
        if e["kind"] == "sample":
            read.setdefault((e["step"], e["phase"]), []).extend(int(i) for i in e["indices"])
    for (step, phase), indices in read.items():
        if phase == "data":
            expected = batch_indices(case.config["seed"], step, case.size,
                                     len(case.parts["train"].inputs))
        else:
            most = case.config["eval"]["batches"] * case.size
            whole = len(case.parts["val"].inputs) // case.micro_size() * case.micro_size()
            expected = list(range(min(most, whole)))
        if indices != expected:
            raise Failure("step %d, %s: samples %s, expected %s" % (step, phase, indices, expected))


def check_first_values(case, folder, events, firstbit):
    """The normal numbers of step 0, where nothing else gave the parameters their values."""
    run(folder, firstbit, "replay", "a.fbt", "--to", "1", "--make", "*.param", "-o", "first")
    embedding = next((e["path"] for e in events if e["op"] == "embedding"), None)
    for e in events:
        if e["step"] != 0 or e["kind"] != "draw":
            continue
        values = numpy.load(os.path.join(folder, "first",
                                         "step-000000.init.%s.param.npy" % e["path"]))
        std = values[0].size ** -0.5
        if embedding is not None and e["path"] in (embedding + ".weight", embedding + ".positions"):
            std = 0.02
        expected = normal(case.config["seed"], e["path"], values.size, std).reshape(values.shape)
        wrong = values != expected
        far = numpy.abs(values - expected) > 4e-7 * numpy.abs(expected)
        if far.any() or wrong.sum() > 2 + values.size // 50:
            raise Failure("first value of %s: %d of %d elements differ, %d by more than rounding"
                          % (e["path"], wrong.sum(), values.size, far.sum()))
