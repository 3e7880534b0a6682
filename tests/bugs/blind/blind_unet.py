# SPDX-License-Identifier: Apache-2.0
"""A U-Net on a DataLoader."""
import random
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SEED = 5
random.seed(SEED)
np.random.seed(SEED)
torch.manual_seed(SEED)

class Scans(Dataset):
    def __init__(self, n, train):
        rng = np.random.RandomState(100 if train else 200)
        self.images = rng.rand(n, 1, 16, 16).astype("float32")
        self.masks = (self.images[:, 0] > 0.6).astype("int64")
        self.masks[:, 0, :] = 255
        self.train = train
    def __len__(self):
        return len(self.images)
    def __getitem__(self, i):
        x = torch.from_numpy(self.images[i])
        y = torch.from_numpy(self.masks[i])
        if self.train and random.random() < 0.5:
            x = x.flip(-1)
            y = y.flip(-1)
        x = (x - 0.5) / 0.25
        return x, y

def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o,
        momentum=0.1), nn.ReLU(inplace=True))

class UNet(nn.Module):
    def __init__(self, w=6, classes=2):
        super().__init__()
        self.d1 = conv(1, w)
        self.d2 = conv(w, 2 * w)
        self.mid = conv(2 * w, 4 * w)
        self.up2 = nn.ConvTranspose2d(4 * w, 2 * w, 2, stride=2)
        self.u2 = conv(4 * w, 2 * w)
        self.up1 = nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.u1 = conv(2 * w, w)
        self.out = nn.Conv2d(w, classes, 1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        y = self.up2(c)
        y = self.u2(torch.cat([b, y], 1))
        y = self.up1(y)
        y = self.u1(torch.cat([a, y], 1))
        return self.out(y)

def dice(logits, target):
    valid = target != 255
    p = logits.softmax(1)[:, 1] * valid
    t = (target == 1).float()
    inter = (p * t).sum((1, 2))
    total = p.sum((1, 2)) + t.sum((1, 2))
    return 1 - ((2 * inter + 1.0) / (total + 1.0)).mean()

def criterion(logits, target):
    weight = torch.tensor([0.4, 0.6])
    ce = F.cross_entropy(logits, target, weight=weight, ignore_index=255)
    return ce + 0.5 * dice(logits, target)

train = DataLoader(Scans(24, True), batch_size=4, shuffle=True, drop_last=True)
test = DataLoader(Scans(8, False), batch_size=4)
model = UNet()
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=14, power=0.9)
history = []
for epoch in range(2):
    model.train()
    for x, y in train:
        opt.zero_grad()
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
        opt.step()
        sched.step()
        history.append(loss.item())
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, y in test:
            hits += (model(x).argmax(1) == y).sum().item()
print("BITS", sum(p.double().abs().sum().item() for p in model.state_dict().values()).hex(),
    history[-1].hex(), hits)
