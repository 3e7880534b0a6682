#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The kernels of a training step beside PyTorch's, in turns: milliseconds and ratios.

usage: bench_kernels.py FIRSTBIT [--threads N] [--rounds N] [--json] [FILTER]

FIRSTBIT is the program of a build with -DFIRSTBIT_BENCH=ON; kernels_turns lies beside it. Each
side is a process that waits while the other one runs; a round runs each case some 50 ms
(processor time with one thread, else by the clock). Medians over the rounds; a ratio above 1:
firstbit is faster. What PyTorch computes on the way of a backward pass (its graph) is built
before the clock starts.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

ROWS, CHANNELS, HIDDEN, LOGIT_ROWS, VOCABULARY, PARAMETERS, TENSORS = (
    768, 384, 1536, 256, 50257, 1 << 20, 4)


def activation(function):
    def make(torch):
        x = torch.randn(ROWS, HIDDEN)
        return lambda: function(torch.nn.functional, x)
    return make


def backward(graph):
    """Times the backward pass of graph(torch), which gives inputs and output."""
    def make(torch):
        torch.set_grad_enabled(True)
        inputs, y = graph(torch)
        gradient = torch.randn_like(y)
        torch.set_grad_enabled(False)
        return lambda: torch.autograd.grad(y, inputs, gradient, retain_graph=True)
    return make


def activation_backward(function):
    def graph(torch):
        x = torch.randn(ROWS, HIDDEN, requires_grad=True)
        return [x], function(torch.nn.functional, x)
    return backward(graph)


def norm_graph(torch):
    x = torch.randn(ROWS, CHANNELS, requires_grad=True)
    g, b = (torch.randn(CHANNELS, requires_grad=True) for _ in range(2))
    return [x, g, b], torch.nn.functional.layer_norm(x, (CHANNELS,), g, b)


def loss_graph(torch):
    x = torch.randn(LOGIT_ROWS, VOCABULARY, requires_grad=True)
    return [x], torch.nn.functional.cross_entropy(x, torch.randint(VOCABULARY, (LOGIT_ROWS,)))


def attention_graph(torch):
    b, t, h, d = 4, 256, 12, 64
    qkv = torch.randn(b, t, 3 * h * d, requires_grad=True)
    hidden = torch.ones(t, t, dtype=torch.bool).triu(1)

    def run():
        q, k, v = (part.view(b, t, h, d).transpose(1, 2) for part in qkv.split(h * d, 2))
        if hasattr(torch.nn.functional, "scaled_dot_product_attention"):
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(2, 3) * (1 / math.sqrt(d))).masked_fill(hidden, -math.inf)
            y = scores.softmax(3) @ v
        return y.transpose(1, 2).reshape(b, t, h * d)
    return [qkv], run


def attention_backward_graph(torch):
    inputs, run = attention_graph(torch)
    return inputs, run()


def conv_parts(torch):
    x = torch.randn(16, 32, 32, 32)
    w, b = torch.randn(64, 32, 3, 3), torch.randn(64)
    return x, w, b


def conv_graph(wanted):
    def graph(torch):
        x, w, b = conv_parts(torch)
        inputs = [x] if wanted == "input" else [w, b]
        for tensor in inputs:
            tensor.requires_grad_(True)
        return inputs, torch.nn.functional.conv2d(x, w, b, padding=1)
    return graph


def embedding_graph(torch):
    w = torch.randn(VOCABULARY // 2, CHANNELS, requires_grad=True)
    return [w], torch.nn.functional.embedding(torch.randint(VOCABULARY // 2, (12, 64)), w)


def dropout(torch):
    x = torch.randn(ROWS, HIDDEN)
    return lambda: torch.nn.functional.dropout(x, 0.1, training=True)


def adamw(torch):
    tensors = [torch.nn.Parameter(torch.randn(PARAMETERS)) for _ in range(TENSORS)]
    for tensor in tensors:
        tensor.grad = torch.randn(PARAMETERS)
    optimizer = torch.optim.AdamW(tensors, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)

    def run():
        torch.nn.utils.clip_grad_norm_(tensors, 1.0)
        optimizer.step()
    return run


def forward(graph):
    def make(torch):
        _, run = graph(torch)
        return run
    return make


def of_parts(parts, run):
    def make(torch):
        tensors = parts(torch)
        return lambda: run(torch.nn.functional, *tensors)
    return make


FUNCTIONS = {
    "gelu": lambda f, x: f.gelu(x), "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "silu": lambda f, x: f.silu(x), "softplus": lambda f, x: f.softplus(x),
    "sigmoid": lambda f, x: x.sigmoid(), "tanh": lambda f, x: x.tanh()}

CASES = {
    "layernorm": of_parts(lambda torch: (torch.randn(ROWS, CHANNELS), torch.randn(CHANNELS)),
                          lambda f, x, g: f.layer_norm(x, (CHANNELS,), g, g)),
    "layernorm backward": backward(norm_graph),
    "cross-entropy": of_parts(lambda torch: (torch.randn(LOGIT_ROWS, VOCABULARY),
                                             torch.randint(VOCABULARY, (LOGIT_ROWS,))),
                              lambda f, x, t: f.cross_entropy(x, t)),
    "cross-entropy backward": backward(loss_graph),
    "attention": forward(attention_graph),
    "attention backward": backward(attention_backward_graph),
    **{name + suffix: kind(function) for name, function in FUNCTIONS.items()
       for suffix, kind in (("", activation), (" backward", activation_backward))},
    "embedding backward": backward(embedding_graph),
    "dropout": dropout,
    "clipping and AdamW": adamw,
    "convolution": of_parts(conv_parts, lambda f, x, w, b: f.conv2d(x, w, b, padding=1)),
    "convolution backward, input": backward(conv_graph("input")),
    "convolution backward, weight": backward(conv_graph("weight")),
}


def serve(threads):
    """The side of PyTorch: reads names, prints milliseconds."""
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    made = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made = {name: CASES[name](torch)}
        run, runs, now = made[name], 0, time.process_time if threads == 1 else time.perf_counter
        run()
        start = now()
        while runs < 3 or now() - start < 0.05:
            run()
            runs += 1
        print("%.6f" % ((now() - start) * 1e3 / runs), flush=True)


def ask(process, name):
    process.stdin.write(name + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main():
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_intermixed_args()
    program = os.path.join(os.path.dirname(a.firstbit), "..", "bench", "kernels_turns")
    threads = str(a.threads)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    # Memory that was freed is kept: else a large result costs page faults each time.
    environment.update(OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads,
                       MALLOC_MMAP_THRESHOLD_="1000000000", MALLOC_TRIM_THRESHOLD_="4000000000")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([program, threads], **pipes) as ours, subprocess.Popen(
            [sys.executable, __file__, "--serve", threads], env=environment, **pipes) as theirs:
        for name in CASES:
            if a.filter not in name:
                continue
            pairs = [(ask(ours, name), ask(theirs, name)) for _ in range(a.rounds)]
            this, peer = (statistics.median(side) for side in zip(*pairs))
            ratios = sorted(b / a for a, b in pairs)
            if a.json:
                print(json.dumps({"bench": "kernels", "case": name, "this": this, "peer": peer,
                                  "peer_name": "PyTorch", "unit": "ms",
                                  "ratio": statistics.median(ratios)}))
            else:
                print("%-30s %9.3f ms  PyTorch %9.3f ms  ratio %5.2f (%.2f-%.2f)" % (
                    name, this, peer, statistics.median(ratios), ratios[0], ratios[-1]), flush=True)
        ours.stdin.close()
        theirs.stdin.close()


if __name__ == "__main__":
    main()
