# SPDX-License-Identifier: Apache-2.0
"""A table with embeddings and a split."""
import csv, io, math, os
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader

np.random.seed(17)
torch.manual_seed(17)

rng = np.random.default_rng(12)
rows = 120
num = rng.normal(size=(rows, 5)) * np.array([1.0, 10.0, 0.1, 5.0, 2.0]) + 3.0
num[rng.random(num.shape) < 0.05] = np.nan
cat = np.stack([rng.integers(0, k, rows) for k in (6, 4, 9)], 1)
label = (np.nan_to_num(num[:, 0]) + cat[:, 0] * 0.5 > 4.0).astype("float32")

index = np.random.permutation(rows)
cut = 96
tr, va = index[:cut], index[cut:]
median = np.nanmedian(num[tr], 0)
num = np.where(np.isnan(num), median, num)
mean, std = num[tr].mean(0), num[tr].std(0)
num = (num - mean) / std
prior = np.zeros((6, 1))
for k in range(6):
    hit = label[tr][cat[tr][:, 0] == k]
    prior[k] = (hit.sum() + 1.0) / (len(hit) + 2.0)
num = np.concatenate([num, prior[cat[:, 0]]], 1)

def tensors(i):
    return torch.tensor(num[i], dtype=torch.float32), torch.tensor(cat[i]), torch.tensor(label[i])

class Net(nn.Module):
    def __init__(self, sizes=(6, 4, 9)):
        super().__init__()
        self.emb = nn.ModuleList(nn.Embedding(k, min(50, (k + 1) // 2)) for k in sizes)
        width = sum(e.embedding_dim for e in self.emb)
        self.bn0 = nn.BatchNorm1d(6)
        self.l1, self.b1 = nn.Linear(width + 6, 32), nn.BatchNorm1d(32)
        self.l2, self.b2 = nn.Linear(32, 16), nn.BatchNorm1d(16)
        self.out = nn.Linear(16, 1)
        self.d0, self.d1 = nn.Dropout(0.04), nn.Dropout(0.2)
        nn.init.constant_(self.out.bias, math.log(0.3 / 0.7))
    def forward(self, x, c):
        e = torch.cat([m(c[:, i]) for i, m in enumerate(self.emb)], 1)
        z = torch.cat([self.d0(e), self.bn0(x)], 1)
        z = self.d1(self.b1(F.relu(self.l1(z))))
        z = self.d1(self.b2(F.relu(self.l2(z))))
        return self.out(z).squeeze(1)

net = Net()
opt = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
loader = DataLoader(TensorDataset(*tensors(tr)), batch_size=16, shuffle=True)
valid = TensorDataset(*tensors(va))
pos = torch.tensor((label[tr] == 0).sum() / (label[tr] == 1).sum())
sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=12)
best, bad, last = 1e9, 0, 0.0
for epoch in range(5):
    net.train()
    for x, c, t in loader:
        out = net(x, c)
        loss = F.binary_cross_entropy_with_logits(out, t, pos_weight=pos)
        for p in net.parameters():
            p.grad = None
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.2)
        opt.step()
        sched.step()
        last = loss.item()
    net.eval()
    with torch.no_grad():
        x, c, t = valid.tensors
        vl = F.binary_cross_entropy_with_logits(net(x, c), t).item()
    bad = 0 if vl < best else bad + 1
    best = min(best, vl)
    if bad >= 2:
        for group in opt.param_groups:
            group["weight_decay"] *= 0.1
print("BITS", sum(p.double().abs().sum().item() for p in net.state_dict().values()).hex(),
    last.hex(), vl.hex())
