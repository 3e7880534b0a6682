#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A JAX training recorded at its step boundaries: what goes into a compiled step, and what comes out.

    python3 examples/jax_steps.py a.fbt
    python3 examples/jax_steps.py b.fbt --key-reuse 6     step 6 uses the key of step 5 again
    firstbit diff a.fbt b.fbt

A compiled step is one operation to firstbit; its inputs (parameters, batch, key) and its outputs
(loss, gradients, new parameters) are hashed where they meet Python.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import firstbit

STEPS, BATCH, D, H = 10, 32, 16, 64


def loss_of(params, x, y, key):
    """x [BATCH,D] -> mean squared error; dropout with this key."""
    hidden = jax.nn.relu(x @ params["w"] + params["b"])
    keep = jax.random.bernoulli(key, 0.9, hidden.shape)
    return jnp.mean((jnp.where(keep, hidden / 0.9, 0) @ params["v"] - y) ** 2)


@jax.jit
def train_step(params, x, y, key):
    loss, grads = jax.value_and_grad(loss_of)(params, x, y, key)
    return {name: p - 0.05 * grads[name] for name, p in params.items()}, loss, grads


def train(run, reuse=None):
    root = jax.random.PRNGKey(3)
    run.seed("jax", 3, algorithm="threefry2x32")
    keys = jax.random.split(root, 3 + STEPS)
    params = {"w": jax.random.normal(keys[0], (D, H)) / D ** 0.5, "b": jnp.zeros(H),
              "v": jax.random.normal(keys[1], (H,)) / H ** 0.5}
    state = {name: run.tensor(name, p, op="init", slot="param", phase="init", param=True)
             for name, p in params.items()}

    for step in range(1, STEPS + 1):
        run.step(step)
        key = keys[2 + step - (1 if step == reuse else 0)]
        high, low = (int(word) for word in np.asarray(key))
        drawn = run.draw("dropout", BATCH * H, key=high << 32 | low, algorithm="threefry2x32",
                         distribution="bernoulli", consumer="dropout", phase="forward")
        x = jnp.asarray(np.random.default_rng(step).standard_normal((BATCH, D), dtype=np.float32))
        batch = run.tensor("batch", x, op="input", phase="data")
        params, loss, grads = train_step(params, x, jnp.sin(x.sum(axis=1)), key)
        made = run.scalar("loss", float(loss), dtype="f32",
                          inputs=[batch, drawn, *state.values()])
        for name in sorted(params):
            grad = run.tensor(name, grads[name], op="train_step", slot="grad", phase="backward",
                              inputs=[made])
            state[name] = run.tensor(name, params[name], op="train_step", slot="param",
                                     phase="optimizer", param=True, inputs=[state[name], grad])
    return float(loss)


if __name__ == "__main__":
    at = sys.argv.index("--key-reuse") + 1 if "--key-reuse" in sys.argv else None
    with firstbit.Recorder(sys.argv[1]) as recorder:
        print(f"loss {train(recorder, int(sys.argv[at]) if at else None):.6f}")
