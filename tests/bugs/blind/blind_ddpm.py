# SPDX-License-Identifier: Apache-2.0
"""Denoising diffusion."""
import copy, math
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
T, C, S, STEPS = 50, 1, 8, 30

def cosine_betas(n, s=0.008):
    x = torch.linspace(0, n, n + 1, dtype=torch.float64)
    bar = torch.cos((x / n + s) / (1 + s) * math.pi / 2) ** 2
    bar = bar / bar[0]
    return (1 - bar[1:] / bar[:-1]).clamp(0, 0.999).float()

betas = cosine_betas(T)
alphas = 1 - betas
bar = alphas.cumprod(0)
sqrt_bar, sqrt_one = bar.sqrt(), (1 - bar).sqrt()

def time_embedding(t, d=16):
    half = d // 2
    f = torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
    a = t[:, None].float() * f
    return torch.cat([a.sin(), a.cos()], 1)

class Res(nn.Module):
    def __init__(self, c, d):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(2, c), nn.GroupNorm(2, c)
        self.c1, self.c2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        self.t = nn.Linear(d, c)
        self.drop = nn.Dropout(0.1)
        nn.init.zeros_(self.c2.weight)
        nn.init.zeros_(self.c2.bias)
    def forward(self, x, e):
        h = self.c1(F.silu(self.n1(x)))
        h = h + self.t(F.silu(e))[:, :, None, None]
        h = self.c2(self.drop(F.silu(self.n2(h))))
        return x + h

class Eps(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        self.te = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 16))
        self.label = nn.Embedding(5, 16)
        self.inp = nn.Conv2d(C, w, 3, padding=1)
        self.r1, self.r2 = Res(w, 16), Res(w, 16)
        self.out = nn.Conv2d(w, C, 3, padding=1)
    def forward(self, x, t, y):
        e = self.te(time_embedding(t)) + self.label(y)
        h = self.inp(x)
        h = self.r2(self.r1(h, e), e)
        return self.out(F.silu(h))

data = torch.rand(64, C, S, S, generator=torch.Generator().manual_seed(6)) * 2 - 1
labels = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(16))
net = Eps()
ema = copy.deepcopy(net).requires_grad_(False).eval()
opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.0)
sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 4))
last = 0.0
gen = torch.Generator().manual_seed(61)
for step in range(STEPS):
    if step % 8 == 0:
        order = torch.randperm(64, generator=gen)
    idx = order[(step % 8) * 8:(step % 8) * 8 + 8]
    x0, y = data[idx], labels[idx]
    t = torch.randint(0, T, (8,))
    noise = torch.randn_like(x0)
    xt = sqrt_bar[t][:, None, None, None] * x0 + sqrt_one[t][:, None, None, None] * noise
    drop = torch.rand(8) < 0.2
    y = torch.where(drop, torch.tensor(4), y)
    loss = F.mse_loss(net(xt, t, y), noise)
    opt.zero_grad()
    loss.backward()
    gn = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    opt.step()
    sched.step()
    with torch.no_grad():
        d = min(0.99, (1 + step) / (10 + step))
        for p, q in zip(ema.parameters(), net.parameters()):
            p.lerp_(q, 1 - d)
    last = loss.item()
x = torch.randn(4, C, S, S)
with torch.no_grad():
    for i in reversed(range(0, T, 10)):
        t = torch.full((4,), i)
        e = ema(x, t, torch.arange(4))
        x0 = ((x - sqrt_one[i] * e) / sqrt_bar[i]).clamp(-1, 1)
        prev = bar[i - 10] if i >= 10 else torch.tensor(1.0)
        x = prev.sqrt() * x0 + (1 - prev).sqrt() * e
print("BITS", sum(p.double().abs().sum().item() for p in net.parameters()).hex(), last.hex(),
    x.double().sum().item().hex())
