# SPDX-License-Identifier: Apache-2.0
"""A small GPT: causal attention, tied weights, dropout, padded sequences, AdamW in two groups,
warm-up and cosine, clipping, and an evaluation every third step."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, CONTEXT, DIM, HEADS, LAYERS = 29, 12, 16, 4, 2
PAD, EOS = 0, 1
STEPS, WARMUP = 7, 3


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        batch, time, dim = x.shape
        q, k, v = (part.view(batch, time, HEADS, dim // HEADS).transpose(1, 2)
                   for part in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1)
        scores = scores / math.sqrt(dim // HEADS)
        past = torch.ones(time, time, dtype=torch.bool).tril()
        scores = scores.masked_fill(~past, float("-inf"))
        weights = self.drop(scores.softmax(-1))
        y = weights @ v
        return self.proj(y.transpose(1, 2).reshape(batch, time, dim))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1 = nn.LayerNorm(DIM)
        self.attn = Attention()
        self.ln2 = nn.LayerNorm(DIM)
        self.fc = nn.Linear(DIM, 4 * DIM)
        self.act = nn.GELU()
        self.out = nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.out(self.act(self.fc(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, DIM)
        self.wpe = nn.Embedding(CONTEXT + 1, DIM)
        self.drop = nn.Dropout(0.1)
        self.h = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.ln_f = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)
        self.apply(self.initialize)
        for block in self.h:
            nn.init.normal_(block.attn.proj.weight, std=0.02 / math.sqrt(2 * LAYERS))
        self.head.weight = self.wte.weight

    @staticmethod
    def initialize(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1])
        x = self.drop(self.wte(tokens) + self.wpe(positions))
        for block in self.h:
            x = block(x)
        return self.head(self.ln_f(x))


def sequences(count, generator):
    """Sequences of a made-up language, each with its end, padded to CONTEXT + 1 tokens."""
    rows = torch.full((count, CONTEXT + 1), PAD)
    for row in rows:
        length = int(torch.randint(6, CONTEXT, (1,), generator=generator))
        token = int(torch.randint(2, VOCABULARY, (1,), generator=generator))
        for i in range(length):
            row[i] = token
            token = (3 * token + 5) % (VOCABULARY - 2) + 2
        row[length] = EOS
    return rows


def loss_of(model, batch):
    logits = model(batch[:, :-1])
    targets = batch[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)


def make_optimizer(model):
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)


def factor(step, warmup, total):
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def evaluate(model, rows):
    model.eval()
    with torch.no_grad():
        loss = loss_of(model, rows).item()
    model.train()
    return loss


def main():
    torch.manual_seed(1337)
    model = GPT()
    optimizer = make_optimizer(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: factor(step, WARMUP, STEPS))
    generator = torch.Generator().manual_seed(7)
    rows = sequences(48, generator)
    held_out = sequences(8, generator)
    losses = []
    for step in range(STEPS):
        batch = rows[torch.randint(len(rows), (6,), generator=generator)]
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 3 == 2:
            print("held out", evaluate(model, held_out))
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
