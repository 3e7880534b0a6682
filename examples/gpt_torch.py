#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The GPT of an engine's configuration in PyTorch: same weights, same batches, same dropout.

    python3 examples/gpt_torch.py init examples/gpt_port.json init.safetensors
    firstbit train examples/gpt_port.json --level sketch -o engine.fbt
    python3 examples/gpt_torch.py train engine.fbt init.safetensors --level sketch -o torch.fbt
    firstbit diff engine.fbt torch.fbt

What the engine chose (samples of each micro-batch, dropout masks, configuration) is read from its
trace; all arithmetic is PyTorch's. Names are those of GPT-2, not the engine's. examples/gpt.json,
with dropout, works as well: train it with --set weights=init.safetensors. --bug plants one of
the mistakes that a port makes. Guide: docs/across-frameworks.md.
"""

import argparse
import contextlib
import json
import math
import os
import struct

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F

import firstbit

BUGS = ("scale", "eval", "zero_grad")

# --- The model ------------------------------------------------------------------------------------


class Dropout(nn.Module):
    """Drops what the mask of this micro-batch says."""

    def __init__(self, p):
        super().__init__()
        self.p, self.keep = p, None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        return x * self.keep.view(x.shape) * float(numpy.float32(1 / (1 - self.p)))


class Attention(nn.Module):
    def __init__(self, dim, heads, bug):
        super().__init__()
        self.heads, self.bug = heads, bug
        self.c_attn, self.c_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2)
                   for part in self.c_attn(x).split(C, dim=2))
        scores = q @ k.transpose(2, 3)
        if self.bug == "scale":
            scores = scores / math.sqrt(C)  # planted: the width of the model
        else:
            scores = scores / math.sqrt(C // self.heads)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, dim, hidden, heads, p, bug):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.attn_drop = Attention(dim, heads, bug), Dropout(p)
        self.c_fc, self.gelu, self.c_proj = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)
        self.mlp_drop = Dropout(p)

    def forward(self, x):
        x = x + self.attn_drop(self.attn(self.ln_1(x)))
        return x + self.mlp_drop(self.c_proj(self.gelu(self.c_fc(self.ln_2(x)))))


class GPT(nn.Module):
    """tokens [B,T] -> logits [B,T,V]"""

    def __init__(self, config, vocabulary, bug=None):
        super().__init__()
        dim = config["model"][0]["embedding"]["dim"]
        blocks = config["model"][1]
        attn, mlp = (layer["residual"] for layer in blocks["layers"])
        heads = attn[1]["attention"]["heads"]
        p = attn[2]["dropout"]["p"] if len(attn) > 2 else 0
        self.wte = nn.Embedding(vocabulary, dim)
        self.wpe = nn.Embedding(config["data"]["context"], dim)
        self.h = nn.ModuleList(Block(dim, mlp[1]["linear"]["out"], heads, p, bug)
                               for _ in range(blocks["repeat"]))
        self.ln_f = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


# --- Weights --------------------------------------------------------------------------------------


def engine_name(name):
    """The engine's path of a parameter of this model."""
    if name == "wpe.weight":
        return "embedding.positions"
    for mine, its in (("wte", "embedding"), ("ln_f", "ln"), ("attn.c_attn", "attn.attention.qkv"),
                      ("attn.c_proj", "attn.attention.proj"), ("ln_1", "attn.ln"),
                      ("ln_2", "mlp.ln"), ("c_fc", "mlp.fc"), ("c_proj", "mlp.proj")):
        if mine + "." in name:
            return name.replace(mine, its)
    raise KeyError(name)


def write_safetensors(path, arrays):
    """name -> float32 array"""
    header, offset = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(numpy.ascontiguousarray(array, "<f4").tobytes())


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(data[slice(*entry["data_offsets"])], "<f4")
            .reshape(entry["shape"]) for name, entry in header.items()}


def make_weights(arguments):
    """First weights as GPT-2 has them, under the engine's names."""
    with open(arguments.config, encoding="utf-8") as file:
        config = json.load(file)
    torch.manual_seed(config["seed"])
    model = GPT(config, len(read_text(config)[1]))
    for name, p in model.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
    write_safetensors(arguments.weights, {engine_name(name): p.detach().numpy()
                                          for name, p in model.named_parameters()})


# --- What the engine chose ------------------------------------------------------------------------


def read_text(config):
    """The text as tokens, and its vocabulary: the distinct bytes."""
    raw = numpy.fromfile(config["data"]["text"], dtype=numpy.uint8)
    vocabulary = numpy.unique(raw)
    return torch.from_numpy(numpy.searchsorted(vocabulary, raw)), vocabulary


def philox(seed, key, first, count):
    """`count` words of a random stream of the engine, docs/numerics.md, "Random numbers"."""
    low = numpy.uint64(0xFFFFFFFF)
    block = numpy.arange(first // 4, (first + count + 3) // 4, dtype=numpy.uint64)
    x = [block & low, block >> numpy.uint64(32), numpy.full_like(block, key >> 32),
         numpy.full_like(block, key & 0xFFFFFFFF)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = x[0] * numpy.uint64(0xD2511F53), x[2] * numpy.uint64(0xCD9E8D57)
        x = [(p1 >> numpy.uint64(32)) ^ x[1] ^ numpy.uint64(k0), p1 & low,
             (p0 >> numpy.uint64(32)) ^ x[3] ^ numpy.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return numpy.stack(x, axis=1).reshape(-1)[first % 4:][:count]


def read_choices(path):
    """The configuration, and for each step its micro-batches: indices of samples, draws of masks."""
    steps = {}
    with firstbit.open(path, stacks=False) as trace:
        config = trace.header["configuration"]
        for event in trace:
            if event["step"] == 0 or event["micro"] is None or event["phase"] == "eval":
                continue
            micros = steps.setdefault(event["step"], {})
            indices, draws = micros.setdefault(event["micro"], ([], []))
            if event["kind"] == "sample":
                indices.extend(int(i) for i in event["indices"])
            elif event["kind"] == "draw":
                draws.append((event["stream"], int(event["key"]), int(event["counter"]),
                              int(event["count"])))
    return config, [[steps[t][m] for m in sorted(steps[t])] for t in sorted(steps)]


# --- Training -------------------------------------------------------------------------------------


def factor_at(config, step):
    """The schedule's factor of the learning rate: a warm-up, then half a cosine."""
    o = config["schedule"]["cosine"]
    if step < o["warmup"]:
        return step / o["warmup"]
    if step >= o["total"]:
        return o["min_factor"]
    progress = (step - o["warmup"]) / (o["total"] - o["warmup"])
    return o["min_factor"] + (1 - o["min_factor"]) * 0.5 * (1 + math.cos(math.pi * progress))


def set_masks(model, config, draws, run):
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    for layer, (stream, key, first, count) in zip(layers, draws):
        if run is not None:
            run.recorder.draw(stream, count, algorithm="philox4x32-10", key=key, counter=first,
                              distribution="bernoulli", consumer=stream, phase="forward")
        words = philox(config["seed"], key, first, count)
        layer.keep = torch.from_numpy(words >= numpy.uint64(math.floor(layer.p * 2.0 ** 32)))


def evaluate(model, rows, bug):
    model.eval()
    with torch.no_grad():
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    if bug != "eval":  # planted: dropout stays off
        model.train()
    return loss.item()


def train(arguments, config, steps, model, optimizer, run):
    tokens = read_text(config)[0]
    context, bug = config["data"]["context"], arguments.bug
    rate = config["optimizer"]["adamw"]["lr"]

    def rows_of(indices):
        return torch.stack([tokens[i * context:(i + 1) * context + 1] for i in indices])

    held_out = tokens[-8 * context - 1:].unfold(0, context + 1, context)
    for step, micros in enumerate(steps, start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor_at(config, step)
        if not (bug == "zero_grad" and step == 4):  # planted: left out in step 4
            optimizer.zero_grad()
        whole, count = 0.0, sum(len(indices) for indices, _ in micros) * context
        for m, (indices, draws) in enumerate(micros):
            rows = rows_of(indices)
            if run is not None:
                run.micro(m)
                run.recorder.sample("data", indices, role="train")
            set_masks(model, config, draws, run)
            logits = model(rows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
            (loss / count).backward()
            whole += loss.item() / count
        if run is not None:
            run.micro(None)
        if config["clip"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        optimizer.step()
        if arguments.evaluate and step % arguments.evaluate == 0:
            print(f"step {step}: held out {evaluate(model, held_out, bug):.6f}")
    print(f"step {step}: loss {whole:.7f}")


def recording(arguments, model, optimizer):
    """The one line that records; nothing where the program is run as it is."""
    if arguments.output is None:
        return contextlib.nullcontext()
    import firstbit.torch
    return firstbit.torch.record(arguments.output, model=model, optimizer=optimizer,
                                 level=arguments.level, ops_steps=None)


def train_as_the_engine(arguments):
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config, steps = read_choices(arguments.engine)
    torch.manual_seed(config["seed"])  # for what is drawn and then overwritten
    model = GPT(config, len(read_text(config)[1]), arguments.bug)
    given = read_safetensors(arguments.weights)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.tensor(given[engine_name(name)]))
    o = config["optimizer"]["adamw"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=o["lr"], betas=tuple(o["betas"]),
                                  eps=o["eps"], weight_decay=o["weight_decay"])
    with recording(arguments, model, optimizer) as run:
        train(arguments, config, steps, model, optimizer, run)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init", help="write first weights for both")
    init.add_argument("config")
    init.add_argument("weights")
    init.set_defaults(run=make_weights)
    again = commands.add_parser("train", help="train as the engine did")
    again.add_argument("engine", help="the engine's trace")
    again.add_argument("weights", help="the first weights of both")
    again.add_argument("-o", dest="output", help="record into this trace")
    again.add_argument("--level", default="ops", help="ops (default), sketch, ...")
    again.add_argument("--threads", type=int, default=0, help="of PyTorch")
    again.add_argument("--evaluate", type=int, default=0, help="after every so many steps")
    again.add_argument("--bug", choices=BUGS, default=os.environ.get("BUG"),
                       help="plant a mistake; by default what the variable BUG says")
    again.set_defaults(run=train_as_the_engine)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
