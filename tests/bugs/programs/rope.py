# SPDX-License-Identifier: Apache-2.0
"""A decoder as they are now: rotary positions, root-mean-square normalization, grouped queries, a
sliding window, capped logits."""

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, CONTEXT, DIM, HEADS, GROUPS, WINDOW, STEPS = 19, 20, 16, 4, 2, 6, 4
WIDTH = DIM // HEADS


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
        return x * scale * self.weight


def rotation(time):
    """Cosines and sines, [time, WIDTH]."""
    frequencies = 1.0 / (10000 ** (torch.arange(0, WIDTH, 2).float() / WIDTH))
    positions = torch.arange(time).float()
    angles = torch.outer(positions, frequencies)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    left, right = x.chunk(2, -1)
    turned = torch.cat([-right, left], -1)
    return x * cos + turned * sin


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(DIM, DIM, bias=False)
        self.k = nn.Linear(DIM, GROUPS * WIDTH, bias=False)
        self.v = nn.Linear(DIM, GROUPS * WIDTH, bias=False)
        self.o = nn.Linear(DIM, DIM, bias=False)

    def forward(self, x, cos, sin):
        batch, time, _ = x.shape
        q = rotate(self.q(x).view(batch, time, HEADS, WIDTH).transpose(1, 2), cos, sin)
        k = rotate(self.k(x).view(batch, time, GROUPS, WIDTH).transpose(1, 2), cos, sin)
        v = self.v(x).view(batch, time, GROUPS, WIDTH).transpose(1, 2)
        k = k.repeat_interleave(HEADS // GROUPS, 1)
        v = v.repeat_interleave(HEADS // GROUPS, 1)
        scores = q @ k.transpose(-2, -1) * WIDTH ** -0.5
        distance = torch.arange(time)[:, None] - torch.arange(time)
        seen = (distance >= 0) & (distance < WINDOW)
        scores = scores.masked_fill(~seen, float("-inf"))
        weights = scores.softmax(-1)
        return self.o((weights @ v).transpose(1, 2).reshape(batch, time, DIM))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attn, self.norm2 = RMSNorm(), Attention(), RMSNorm()
        self.gate = nn.Linear(DIM, 32, bias=False)
        self.up = nn.Linear(DIM, 32, bias=False)
        self.down = nn.Linear(32, DIM, bias=False)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.norm1(x), cos, sin)
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.layers = nn.ModuleList([Block(), Block()])
        self.norm = RMSNorm()
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        cos, sin = rotation(tokens.shape[1])
        for layer in self.layers:
            x = layer(x, cos, sin)
        logits = self.head(self.norm(x))
        return 8.0 * torch.tanh(logits / 8.0)


def main():
    torch.manual_seed(31)
    model = Decoder()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(32)
    losses = []
    for _ in range(STEPS):
        tokens = torch.randint(VOCABULARY, (5, CONTEXT + 1), generator=generator)
        tokens[:, 2::2] = tokens[:, 1:-1:2]
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
