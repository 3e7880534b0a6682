# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in the engine's configuration, and faults planted in its runs. These runs can be
replayed, so causes can be confirmed."""

from case import Bug, Event

MLP = "--steps 6 --threads 1 --set schedule=\"constant\""

BUGS = [
    Bug("engine-flipped-bit", "", "one bit of an output is flipped while training", "engine mlp.json",
        "--inject flip:step=3,path=fc1,slot=out,element=17,bit=5",
        (Event(3, "forward", "fc1", slot="out"),), "bit-flip", both=MLP, quick=True),
    Bug("engine-flipped-bit-of-a-gradient", "", "one bit of a gradient is flipped",
        "engine gpt.json", "--inject flip:step=2,path=h.1.mlp.fc.weight,slot=grad,element=5,bit=20",
        (Event(2, "backward", "h.1.mlp.fc.weight", slot="grad"),), "bit-flip",
        both="--steps 3 --threads 1"),
    Bug("engine-extra-draw", "", "one draw too many from a dropout's stream", "engine mlp.json",
        "--inject draw:step=3,stream=dropout", (Event(3, kind="draw"),), "rng-offset", both=MLP),
    Bug("engine-samples-swapped", "", "two samples of a batch exchanged", "engine mlp.json",
        "--inject swap:step=4,i=0,j=1", (Event(4, kind="sample"),), "data-order", both=MLP),
    Bug("engine-other-seed", "", "another seed", "engine mlp.json", "--set seed=8",
        (Event(0),), "rng-seed", both=MLP),
    Bug("engine-eps", "", "the optimizer's eps", "engine mlp.json", "--set optimizer.adam.eps=1e-6",
        (Event(1, "optimizer"),), "config", both=MLP, quick=True),
    Bug("engine-dropout", "", "another probability of dropout", "engine mlp.json",
        "--set model[3].dropout.p=0.25", (Event(1, "forward", "dropout*"),), "config", both=MLP),
    Bug("engine-warmup", "transformers#18436 (the class)", "a warm-up of other length",
        "engine mlp.json", "--set schedule.warmup.steps=5", (Event(1, slot="lr"),), "config",
        both="--steps 6 --threads 1"),
    Bug("engine-kernels", "", "kernels that promise no order of sums", "engine mlp.json",
        "--kernels openblas", (Event(1, "forward", "fc1"),), "environment", both=MLP,
        options=("--bitwise",)),
    Bug("engine-gelu", "", "the tanh form of GELU", "engine gpt.json",
        "--set model[1].layers[1].residual[2].gelu.approximate=tanh",
        (Event(1, "forward", "h.0.mlp.gelu", slot="out"),), "config", both="--steps 3 --threads 1"),
    Bug("engine-weight-decay", "Paddle#5836 (the class)", "weight decay is ignored",
        "engine gpt.json", "--set optimizer.adamw.weight_decay=0", (Event(1, "optimizer"),),
        "config", both="--steps 3 --threads 1"),
]
