# SPDX-License-Identifier: Apache-2.0
"""A GPT as people write it in PyTorch, started from the engine's weights and fed with its batches.

usage: torch_gpt.py TRACE SPEC.json

Nothing here has a name, a shape or an order of the engine that a PyTorch program would not have by
itself. SPEC is made by cross_case.py: the configuration, weights by the engine's names, batches, the
style of the model (`torch`: nn.Linear, fused qkv; `conv1d`: weights [in, out] as GPT-2 has them;
`split`: three projections) and, to test the comparison, one planted bug.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

import firstbit.torch


class Conv1D(nn.Module):
    """A linear layer whose weight is [in, out]."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_out))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(
            *x.shape[:-1], -1)


def dense(style, n_in, n_out):
    return Conv1D(n_in, n_out) if style == "conv1d" else nn.Linear(n_in, n_out)


class CausalSelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n_head, self.style, self.bug = c["heads"], c["style"], c["bug"]
        n = c["dim"]
        if self.style == "split":
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(n, n) for _ in range(3))
        else:
            self.c_attn = dense(self.style, n, 3 * n)
        self.c_proj = dense(self.style, n, n)

    def forward(self, x):
        b, t, n = x.shape
        if self.style == "split":
            q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        else:
            q, k, v = self.c_attn(x).split(n, dim=2)
        q, k, v = (y.view(b, t, self.n_head, n // self.n_head).transpose(1, 2) for y in (q, k, v))
        scale = n if self.bug == "attention-scale" else n // self.n_head
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(scale))
        above = 1 if self.bug == "mask-diagonal" else 0
        mask = torch.ones(t, t, dtype=torch.bool).tril(above)
        att = F.softmax(att.masked_fill(~mask, float("-inf")), dim=-1)
        y = (att @ v).transpose(1, 2).contiguous().view(b, t, n)
        return self.c_proj(y)


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = dense(c["style"], c["dim"], c["hidden"])
        self.c_proj = dense(c["style"], c["hidden"], c["dim"])
        form = c["gelu"]
        if c["bug"] == "gelu-form":
            form = "tanh" if form == "none" else "none"
        self.act = nn.GELU(approximate=form)

    def forward(self, x):
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        eps = 1e-6 if c["bug"] == "layernorm-eps" else 1e-5
        self.ln_1 = nn.LayerNorm(c["dim"], eps=eps)
        self.attn = CausalSelfAttention(c)
        self.ln_2 = nn.LayerNorm(c["dim"], eps=eps)
        self.mlp = MLP(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.bug = c["bug"]
        self.wte = nn.Embedding(c["vocab"], c["dim"])
        self.wpe = nn.Embedding(c["context"], c["dim"])
        self.h = nn.ModuleList([Block(c) for _ in range(c["layers"])])
        self.ln_f = nn.LayerNorm(c["dim"])
        self.lm_head = nn.Linear(c["dim"], c["vocab"], bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx):
        at = torch.arange(idx.shape[1])
        if self.bug == "position-shift":
            at = (at + 1) % idx.shape[1]
        x = self.wte(idx) + self.wpe(at)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def load(model, weights, c):
    """Weights by the engine's names."""
    def put(parameter, name, transpose=False):
        value = torch.tensor(weights[name])
        with torch.no_grad():
            parameter.copy_(value.t() if transpose else value)

    put(model.wte.weight, "embedding.weight")
    put(model.wpe.weight, "embedding.positions")
    put(model.ln_f.weight, "ln.weight")
    put(model.ln_f.bias, "ln.bias")
    conv = c["style"] == "conv1d"
    for i, block in enumerate(model.h):
        for ours, theirs in ((block.ln_1, "attn.ln"), (block.ln_2, "mlp.ln")):
            put(ours.weight, f"h.{i}.{theirs}.weight")
            put(ours.bias, f"h.{i}.{theirs}.bias")
        pairs = [(block.attn.c_proj, "attn.attention.proj"), (block.mlp.c_fc, "mlp.fc"),
                 (block.mlp.c_proj, "mlp.proj")]
        if c["style"] != "split":
            pairs.append((block.attn.c_attn, "attn.attention.qkv"))
        for ours, theirs in pairs:
            put(ours.weight, f"h.{i}.{theirs}.weight", conv)
            put(ours.bias, f"h.{i}.{theirs}.bias")
        if c["style"] == "split":
            whole = torch.tensor(weights[f"h.{i}.attn.attention.qkv.weight"])
            bias = torch.tensor(weights[f"h.{i}.attn.attention.qkv.bias"])
            parts = (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj)
            with torch.no_grad():
                for part, w, b in zip(parts, whole.chunk(3), bias.chunk(3)):
                    part.weight.copy_(w)
                    part.bias.copy_(b)
        if c["bug"] == "forgotten-bias":
            with torch.no_grad():
                block.mlp.c_fc.bias.zero_()


def loss_of(c, logits, targets):
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.mean()


def factor(c, step):
    s = c["schedule"]
    if not s:
        return 1.0
    if c["bug"] == "schedule-off-by-one":
        step -= 1
    if step < s["warmup"]:
        return step / s["warmup"]
    progress = min(1.0, (step - s["warmup"]) / (c["steps"] - s["warmup"]))
    return s["min_factor"] + (1 - s["min_factor"]) * 0.5 * (1 + math.cos(math.pi * progress))


def train(c, model, optimizer, batches):
    for step, (x, y) in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = c["lr"] * factor(c, step)
        optimizer.zero_grad(set_to_none=True)
        parts = c["micro"]
        for a, b in zip(x.chunk(parts), y.chunk(parts)):
            loss = loss_of(c, model(a), b)
            if c["bug"] != "sum-of-means":
                loss = loss / parts
            loss.backward()
        if c["clip"]:
            nn.utils.clip_grad_norm_(model.parameters(), c["clip"])
        optimizer.step()


def main():
    trace, spec = sys.argv[1:3]
    with open(spec) as file:
        spec = json.load(file)
    c = spec["case"]
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = GPT(c)
    load(model, spec["weights"], c)
    decay = 0.0 if c["bug"] == "no-weight-decay" else c["weight_decay"]
    make = torch.optim.Adam if c["bug"] == "adam-for-adamw" else torch.optim.AdamW
    optimizer = make(model.parameters(), lr=c["lr"], betas=c["betas"], eps=c["eps"],
                     weight_decay=decay)
    batches = [(torch.tensor(x), torch.tensor(y)) for x, y in spec["batches"]]
    with firstbit.torch.record(trace, model=model, optimizer=optimizer, level="sketch",
                               ops_steps=None):
        train(c, model, optimizer, batches)


main()
