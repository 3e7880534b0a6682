# SPDX-License-Identifier: Apache-2.0
"""A GPT with rotary positions and shared key heads."""
import math, torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(1337)
V, D, H, KV, L, T, STEPS = 61, 48, 6, 2, 2, 24, 30
WARM = 5

def rope_tables(d, n, base=10000.0):
    inv = 1.0 / base ** (torch.arange(0, d, 2).float() / d)
    ang = torch.outer(torch.arange(n).float(), inv)
    ang = torch.cat([ang, ang], -1)
    return ang.cos(), ang.sin()

def rotate_half(x):
    h = x.shape[-1] // 2
    return torch.cat([-x[..., h:], x[..., :h]], -1)

def rope(x, cos, sin):
    return x * cos + rotate_half(x) * sin

class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
    def forward(self, x):
        ms = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(ms + 1e-6) * self.weight

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.hd = D // H
        self.q = nn.Linear(D, D, bias=False)
        self.k = nn.Linear(D, KV * self.hd, bias=False)
        self.v = nn.Linear(D, KV * self.hd, bias=False)
        self.o = nn.Linear(D, D, bias=False)
        self.drop = nn.Dropout(0.1)
    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q = self.q(x).view(b, t, H, self.hd).transpose(1, 2)
        k = self.k(x).view(b, t, KV, self.hd).transpose(1, 2)
        v = self.v(x).view(b, t, KV, self.hd).transpose(1, 2)
        q = rope(q, cos, sin)
        k = rope(k, cos, sin)
        k = k.repeat_interleave(H // KV, 1)
        v = v.repeat_interleave(H // KV, 1)
        s = q @ k.transpose(-2, -1) / math.sqrt(self.hd)
        keep = torch.ones(t, t, dtype=torch.bool).tril()
        s = s.masked_fill(~keep, float("-inf"))
        p = self.drop(s.softmax(-1))
        return self.o((p @ v).transpose(1, 2).reshape(b, t, D))

class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, 2 * D, bias=False)
        self.up = nn.Linear(D, 2 * D, bias=False)
        self.down = nn.Linear(2 * D, D, bias=False)
    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.att, self.n2, self.mlp = RMSNorm(D), Attention(), RMSNorm(D), MLP()
    def forward(self, x, cos, sin):
        x = x + self.att(self.n1(x), cos, sin)
        return x + self.mlp(self.n2(x))

class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = RMSNorm(D)
        self.head = nn.Linear(D, V, bias=False)
        self.apply(self.init)
        self.head.weight = self.emb.weight
        for n, p in self.named_parameters():
            if n.endswith("o.weight") or n.endswith("down.weight"):
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * L))
    def init(self, m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
    def forward(self, ids):
        cos, sin = rope_tables(D // H, ids.shape[1])
        x = self.emb(ids)
        for blk in self.blocks:
            x = blk(x, cos, sin)
        return self.head(self.norm(x))

def lr_at(step):
    if step < WARM:
        return 3e-3 * (step + 1) / WARM
    r = (step - WARM) / (STEPS - WARM)
    return 3e-4 + 0.5 * (1 + math.cos(math.pi * r)) * (3e-3 - 3e-4)

def loss_of(model, ids):
    logits = model(ids[:, :-1])
    target = ids[:, 1:].clone()
    target[target == 0] = -100
    return F.cross_entropy(logits.reshape(-1, V), target.reshape(-1), ignore_index=-100)

corpus = torch.randint(0, V, (4000,), generator=torch.Generator().manual_seed(7))
pick = torch.Generator().manual_seed(11)
def batch(n=6):
    at = torch.randint(0, 3600, (n,), generator=pick)
    return torch.stack([corpus[i:i + T + 1] for i in at.tolist()])

model = GPT()
decay = [p for p in model.parameters() if p.dim() > 1]
plain = [p for p in model.parameters() if p.dim() <= 1]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1},
    {"params": plain, "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.95))
valid = torch.stack([corpus[3700 + 25 * i:3725 + 25 * i] for i in range(4)])
losses = []
best = 1e9
for step in range(STEPS):
    model.train()
    for group in opt.param_groups:
        group["lr"] = lr_at(step)
    opt.zero_grad()
    for micro in range(2):
        loss = loss_of(model, batch()) / 2
        loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    opt.step()
    losses.append(loss.item())
    if step % 14 == 13:
        model.eval()
        with torch.no_grad():
            vl = loss_of(model, valid).item()
        best = min(best, vl)
        model.train()
print("BITS", sum(p.double().abs().sum().item() for p in model.parameters()).hex(),
    losses[-1].hex())
