#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small net in NumPy that records itself: draws, samples, tensors, scalars.

    python3 examples/numpy_net.py a.fbt
    python3 examples/numpy_net.py b.fbt --extra-draw     somebody draws one more number in step 4
    firstbit diff a.fbt b.fbt
"""

import sys

import numpy as np

import firstbit

N, D, H, BATCH, STEPS = 256, 16, 32, 32, 10


def train(run, extra_draw=False):
    """inputs [N,D], hidden [BATCH,H], one output."""
    generator = np.random.Generator(np.random.PCG64(7))
    inputs = generator.standard_normal((N, D), dtype=np.float32)
    targets = np.sin(inputs.sum(axis=1))
    w = generator.standard_normal((D, H), dtype=np.float32) / np.float32(D ** 0.5)
    v = generator.standard_normal(H, dtype=np.float32) / np.float32(H ** 0.5)
    run.seed("pcg64", 7, algorithm="PCG64")
    state = {"w": run.tensor("w", w, op="init", slot="param", phase="init", param=True),
             "v": run.tensor("v", v, op="init", slot="param", phase="init", param=True)}

    for step in range(1, STEPS + 1):
        run.step(step)
        if extra_draw and step == 4:
            run.draw("pcg64", 1, values=generator.random(1), distribution="uniform")
        chosen = generator.integers(0, N, BATCH)
        drawn = run.draw("pcg64", BATCH, values=chosen, distribution="integers", consumer="batch")
        x, y = inputs[chosen], targets[chosen]
        batch = run.sample("sine", chosen, role="train", contents=x)

        hidden = np.maximum(x @ w, 0)
        at_hidden = run.tensor("hidden", hidden, op="matmul", inputs=[batch, drawn, state["w"]])
        error = hidden @ v - y
        at_error = run.tensor("error", error, op="matmul", inputs=[at_hidden, state["v"]])
        run.scalar("loss", float(np.mean(error ** 2)), inputs=[at_error])

        back = (2 / BATCH * error[:, None] * v) * (hidden > 0)
        for name, p, grad in (("v", v, 2 / BATCH * hidden.T @ error), ("w", w, x.T @ back)):
            made = run.tensor(name, grad, op="matmul", slot="grad", phase="backward",
                              inputs=[at_error, at_hidden])
            p -= np.float32(0.1) * grad.astype(np.float32)
            state[name] = run.tensor(name, p, op="sgd", slot="param", phase="optimizer", param=True,
                                     inputs=[state[name], made])
    return float(np.mean(error ** 2))


if __name__ == "__main__":
    with firstbit.Recorder(sys.argv[1]) as recorder:
        print(f"loss {train(recorder, '--extra-draw' in sys.argv):.6f}")
