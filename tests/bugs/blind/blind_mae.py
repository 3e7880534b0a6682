# SPDX-License-Identifier: Apache-2.0
"""A masked autoencoder."""
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(21)
IMG, P, D, DD, N = 16, 4, 32, 24, 16

def patchify(x):
    b = x.shape[0]
    x = x.reshape(b, 3, IMG // P, P, IMG // P, P)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, N, P * P * 3)

def sincos(n, d):
    pos = torch.arange(n).float()[:, None]
    omega = 1.0 / 10000 ** (torch.arange(d // 2).float() / (d / 2))
    return torch.cat([torch.sin(pos * omega), torch.cos(pos * omega)], 1)[None]

class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.att = nn.MultiheadAttention(d, heads, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
    def forward(self, x):
        h = self.n1(x)
        x = x + self.att(h, h, h, need_weights=False)[0]
        return x + self.fc2(F.gelu(self.fc1(self.n2(x))))

class MAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, D, P, stride=P)
        self.cls = nn.Parameter(torch.zeros(1, 1, D))
        self.register_buffer("pos", sincos(N, D))
        self.enc = nn.Sequential(Block(D, 4), Block(D, 4))
        self.norm = nn.LayerNorm(D)
        self.down = nn.Linear(D, DD)
        self.token = nn.Parameter(torch.zeros(1, 1, DD))
        self.register_buffer("dpos", sincos(N, DD))
        self.dec = Block(DD, 3)
        self.pred = nn.Linear(DD, P * P * 3)
        nn.init.normal_(self.cls, std=0.02)
        nn.init.normal_(self.token, std=0.02)
        w = self.embed.weight.data
        nn.init.xavier_uniform_(w.view(w.shape[0], -1))
    def forward(self, x, ratio=0.75):
        t = self.embed(x).flatten(2).transpose(1, 2) + self.pos
        b, n, d = t.shape
        noise = torch.rand(b, n)
        order = noise.argsort(1)
        back = order.argsort(1)
        keep = order[:, :int(n * (1 - ratio))]
        t = torch.gather(t, 1, keep[..., None].expand(-1, -1, d))
        mask = torch.ones(b, n)
        mask[:, :keep.shape[1]] = 0
        mask = torch.gather(mask, 1, back)
        t = torch.cat([self.cls.expand(b, -1, -1), t], 1)
        z = self.down(self.norm(self.enc(t)))
        fill = self.token.expand(b, n - keep.shape[1], -1)
        y = torch.cat([z[:, 1:], fill], 1)
        y = torch.gather(y, 1, back[..., None].expand(-1, -1, DD))
        y = y + self.dpos
        y = self.pred(self.dec(y))
        target = patchify(x)
        mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
        per = (y - target).pow(2).mean(-1)
        return (per * mask).sum() / mask.sum()

images = torch.rand(40, 3, IMG, IMG, generator=torch.Generator().manual_seed(4))
mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
images = (images - mean) / std
model = MAE()
groups = [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.05},
    {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0}]
opt = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
last = 0.0
for step in range(12):
    start = step * 8 % len(images)
    x = images[start:start + 8]
    loss = model(x)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 3.0)
    opt.step()
    last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in model.parameters()).hex(), last.hex())
