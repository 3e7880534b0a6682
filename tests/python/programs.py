#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Small training programs of different kinds, each with one change that may be planted.

usage: programs.py FOLDER [--level LEVEL] [--plain] [NAME...]

Runs each and prints its name and a hash of its final parameters; records it into FOLDER/NAME.fbt,
unless --plain. With PLANTED in the environment the change that its description names is in: arguments
that differ would be its cause.
"""

import argparse
import hashlib
import os
import sys
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

warnings.filterwarnings("ignore")


class Context:
    """What a program gets: where to record, and whether its change is in."""

    def __init__(self, path, changed, level):
        self.path, self.changed, self.level, self.run = path, changed, level, None

    def record(self, model, optimizer, **more):
        if self.path is None:
            return _Nothing()
        import firstbit.torch
        return firstbit.torch.record(self.path, model=model, optimizer=optimizer, level=self.level,
                                     ops_steps=None, **more)


class _Nothing:
    """The same calls, without a recording."""

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        return None

    def step(self):
        return None

    def micro(self, micro):
        return None

    def dataset(self, loader, role):
        return None


def mlp(c):
    """changed: the learning rate of the third step and later ones"""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5 if c.changed else 0.1)
    with c.record(model, optimizer):
        for _ in range(4):
            x, y = torch.randn(8, 6), torch.randint(0, 3, (8,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
    return model


def conv(c):
    """changed: train() is forgotten after the evaluation behind step 1"""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(36, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(12, 1, 8, 8), torch.randint(0, 3, (12,))
    with c.record(model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                model(x)
            if not c.changed:
                model.train()
    return model


class Block(nn.Module):
    def __init__(self, dim, p):
        super().__init__()
        self.ln, self.qkv, self.proj = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.drop, self.mlp = nn.Dropout(p), nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(),
                                                           nn.Linear(2 * dim, dim))

    def forward(self, x):
        q, k, v = self.qkv(self.ln(x)).chunk(3, -1)
        scores = (q @ k.transpose(-2, -1)) / q.shape[-1] ** 0.5
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        x = x + self.drop(self.proj(scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v))
        return x + self.mlp(x)


class Gpt(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.wte, self.h = nn.Embedding(20, 8), nn.ModuleList([Block(8, 0.1), Block(8, p)])
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens)
        for block in self.h:
            x = block(x)
        return self.head(x)


def gpt(c):
    """changed: the dropout of the second block"""
    model = Gpt(0.2 if c.changed else 0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with c.record(model, optimizer):
        for _ in range(3):
            tokens = torch.randint(0, 20, (4, 9))
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(5, 7, 2, batch_first=True, dropout=0.2), nn.Linear(7, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


def lstm(c):
    """changed: the seed of the second step"""
    model = Reader()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2)
    with c.record(model, optimizer):
        for i in range(3):
            torch.manual_seed(99 if c.changed and i == 1 else i)
            x = torch.randn(4, 6, 5)
            optimizer.zero_grad()
            F.mse_loss(model(x), x.sum((1, 2)).unsqueeze(1)).backward()
            optimizer.step()
    return model


def gan(c):
    """changed: the generator's gradients are not set to zero in the second step"""
    judge, maker = nn.Linear(4, 1), nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 4))
    a, b = (torch.optim.Adam(m.parameters(), lr=1e-2) for m in (judge, maker))
    with c.record({"judge": judge, "maker": maker}, [a, b]):
        for i in range(3):
            real, noise = torch.randn(8, 4), torch.randn(8, 2)
            a.zero_grad()
            (F.softplus(-judge(real)) + F.softplus(judge(maker(noise).detach()))).mean().backward()
            a.step()
            if not (c.changed and i == 1):
                b.zero_grad()
            F.softplus(-judge(maker(noise))).mean().backward()
            b.step()
    return nn.ModuleList([judge, maker])


def accumulation(c):
    """changed: the second micro-batch of step 2 is not divided by their number"""
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with c.record(model, optimizer) as run:
        for i in range(3):
            optimizer.zero_grad()
            for micro in range(2):
                run.micro(micro)
                x = torch.randn(4, 5)
                part = 1 if c.changed and i == 1 and micro == 1 else 2
                (model(x).pow(2).mean() / part).backward()
            run.micro(None)
            optimizer.step()
    return model


class Cube(torch.autograd.Function):
    factor = 3.0

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(context, gradient):
        return gradient * Cube.factor * context.saved_tensors[0] ** 2


def custom(c):
    """changed: a factor in a backward pass written by hand"""
    model = nn.Linear(3, 3)
    Cube.factor = 2.0 if c.changed else 3.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(4, 3)
    with c.record(model, optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            Cube.apply(model(x)).sum().backward()
            optimizer.step()
    return model


class Numbers(Dataset):
    swap = False

    def __len__(self):
        return 12

    def __getitem__(self, i):
        if Numbers.swap and i in (3, 4):
            i = 7 - i
        return torch.full((4,), float(i)) + torch.rand(4), float(i % 2)


def loader(c):
    """changed: two samples change places"""
    Numbers.swap = c.changed
    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    batches = DataLoader(Numbers(), batch_size=3, shuffle=True, num_workers=2)
    with c.record(model, optimizer) as run:
        run.dataset(batches, role="train")
        for _ in range(2):
            for x, y in batches:
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x)[:, 0], y.float()).backward()
                optimizer.step()
    return model


def awkward(c):
    """changed: one element written in place, in the second step"""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with c.record(model, optimizer):
        for i in range(2):
            buffer = torch.empty(4, 4)
            buffer[::2] = torch.randn(2, 4)
            buffer[1::2] = 1
            if c.changed and i == 1:
                buffer[3, 3] += 1
            torch.empty(0, 3).sum()
            half = buffer.t().half().float() + buffer.bfloat16().float()
            wave = torch.fft.fft(buffer).conj() * torch.tensor(2j)
            sparse = torch.eye(4).to_sparse()
            resized = torch.zeros(2).resize_(3)
            resized.fill_(1)
            x = half + wave.real + torch.sparse.mm(sparse, buffer) + resized.sum() + wave.imag
            optimizer.zero_grad()
            model(x.transpose(0, 1)).sum().backward()
            optimizer.step()
    return model


class Saved(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), nn.Linear(4, 1)

    def forward(self, x):
        return self.second(checkpoint(self.first, x))


def checkpointed(c):
    """changed: the limit of clipping"""
    model = Saved()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with c.record(model, optimizer):
        for _ in range(2):
            x = torch.randn(6, 4, requires_grad=True)
            optimizer.zero_grad()
            model(x).pow(2).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5 if c.changed else 0.25)
            optimizer.step()
    return model


def closure(c):
    """changed: weight decay"""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3, lr=0.25 if c.changed else 0.5)
    x = torch.randn(8, 3)

    def loss():
        optimizer.zero_grad()
        value = (model(x) - 1).pow(2).mean()
        value.backward()
        return value

    with c.record(model, optimizer):
        for _ in range(2):
            optimizer.step(loss)
    return model


def threads(c):
    """changed: two threads instead of one"""
    torch.set_num_threads(2 if c.changed else 1)
    try:
        model = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(2048, 64)
        with c.record(model, optimizer):
            for _ in range(2):
                optimizer.zero_grad()
                model(x).pow(2).sum().backward()
                optimizer.step()
    finally:
        torch.set_num_threads(1)
    return model


PROGRAMS = [mlp, conv, gpt, lstm, gan, accumulation, custom, loader, awkward, checkpointed, closure,
            threads]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--level", default="ops")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    for program in PROGRAMS:
        name = program.__name__
        if given.names and name not in given.names:
            continue
        torch.manual_seed(1)
        path = None if given.plain else os.path.join(given.folder, name + ".fbt")
        model = program(Context(path, "PLANTED" in os.environ, given.level))
        final = hashlib.sha256()
        for value in model.state_dict().values():
            final.update(value.detach().numpy().tobytes())
        final.update(torch.randn(1).numpy().tobytes())  # and the generator stands where it stood
        print(name, final.hexdigest()[:16])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
