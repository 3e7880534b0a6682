# SPDX-License-Identifier: Apache-2.0
"""A mixture of experts."""
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(404)
V, D, EXP, TOP, CAP, T = 37, 20, 4, 2, 1.5, 12

class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(D, EXP, bias=False)
        self.w1 = nn.Parameter(torch.empty(EXP, D, 2 * D))
        self.w2 = nn.Parameter(torch.empty(EXP, 2 * D, D))
        for e in range(EXP):
            nn.init.xavier_uniform_(self.w1[e])
            nn.init.xavier_uniform_(self.w2[e])
    def forward(self, x):
        b, t, d = x.shape
        flat = x.reshape(-1, d)
        logits = self.router(flat)
        if self.training:
            logits = logits + 0.1 * torch.randn_like(logits)
        prob = logits.softmax(-1)
        w, which = prob.topk(TOP, -1)
        w = w / w.sum(-1, keepdim=True)
        hot = F.one_hot(which, EXP).float()
        cap = int(CAP * TOP * flat.shape[0] / EXP)
        order = hot.transpose(0, 1).reshape(-1, EXP)
        place = (order.cumsum(0) - 1) * order
        place = place.sum(-1).view(TOP, -1).t()
        fits = (place < cap).float()
        w = w * fits
        y = torch.zeros_like(flat)
        for e in range(EXP):
            rows, slot = ((which == e) & (fits > 0)).nonzero(as_tuple=True)
            h = F.gelu(flat[rows] @ self.w1[e]) @ self.w2[e]
            y = y.index_add(0, rows, h * w[rows, slot, None])
        load = hot[:, 0].mean(0)
        importance = prob.mean(0)
        aux = EXP * (load * importance).sum()
        z = logits.logsumexp(-1).pow(2).mean()
        return y.view(b, t, d), aux, z

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.o = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.moe = Experts()
    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1)) * (d // 2) ** -0.5
        a = a + torch.full((t, t), float("-inf")).triu(1)
        x = x + self.o((a.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))
        y, aux, z = self.moe(self.n2(x))
        return x + y, aux, z

class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, V)
    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        aux = zl = 0.0
        for blk in self.blocks:
            x, a, z = blk(x)
            aux, zl = aux + a, zl + z
        return self.head(self.norm(x)), aux, zl

text = torch.randint(0, V, (64, T + 1), generator=torch.Generator().manual_seed(1))
lm = LM()
opt = torch.optim.Adam(lm.parameters(), lr=3e-3, betas=(0.9, 0.99))
warm = torch.optim.lr_scheduler.LinearLR(opt, 0.2, total_iters=4)
last = 0.0
for step in range(12):
    ids = text[step * 4 % 64:step * 4 % 64 + 4]
    out, aux, zl = lm(ids[:, :-1])
    ce = F.cross_entropy(out.transpose(1, 2), ids[:, 1:])
    loss = ce + 0.02 * aux / 2 + 1e-3 * zl / 2
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(lm.parameters(), 1.0, norm_type=2.0)
    opt.step()
    warm.step()
    last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in lm.parameters()).hex(), last.hex())
