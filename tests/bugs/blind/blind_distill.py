# SPDX-License-Identifier: Apache-2.0
"""Distillation, with an averaged model."""
import torch
from torch import nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, SWALR, update_bn
from torch.utils.data import TensorDataset, DataLoader, Subset

torch.manual_seed(900)
TEMP, ALPHA, CLASSES = 4.0, 0.7, 5

def net(w):
    return nn.Sequential(nn.Conv2d(1, w, 3, padding=1), nn.BatchNorm2d(w), nn.ReLU(),
        nn.AvgPool2d(2), nn.Conv2d(w, 2 * w, 3, padding=1), nn.BatchNorm2d(2 * w), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(2 * w, CLASSES))

def mixup(x, y):
    lam = float(torch.distributions.Beta(0.4, 0.4).sample())
    other = torch.randperm(len(x))
    return lam * x + (1 - lam) * x[other], y, y[other], lam

g = torch.Generator().manual_seed(44)
x = torch.randn(80, 1, 10, 10, generator=g)
y = torch.randint(0, CLASSES, (80,), generator=g)
data = TensorDataset(x, y)
fit, hold = Subset(data, range(64)), Subset(data, range(64, 80))
loader = DataLoader(fit, batch_size=16, shuffle=True)

teacher = net(8)
topt = torch.optim.SGD(teacher.parameters(), lr=0.1)
for a, b in loader:
    topt.zero_grad()
    F.cross_entropy(teacher(a), b).backward()
    topt.step()
teacher.eval()
for p in teacher.parameters():
    p.requires_grad_(False)

student = net(4)
opt = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
sched = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[2, 4], gamma=0.3)
swa = AveragedModel(student)
swa_lr = SWALR(opt, swa_lr=0.02, anneal_epochs=2)
scaler_max, last = 0.0, 0.0
for epoch in range(6):
    student.train()
    for a, b in loader:
        m, b1, b2, lam = mixup(a, b)
        with torch.no_grad():
            soft = teacher(m)
        out = student(m)
        kd = F.kl_div(F.log_softmax(out / TEMP, 1), F.softmax(soft / TEMP, 1), reduction="batchmean") * TEMP ** 2
        ce = lam * F.cross_entropy(out, b1) + (1 - lam) * F.cross_entropy(out, b2)
        loss = ALPHA * kd + (1 - ALPHA) * ce
        opt.zero_grad()
        loss.backward()
        opt.step()
        last = loss.item()
    if epoch >= 4:
        swa.update_parameters(student)
        swa_lr.step()
    else:
        sched.step()
update_bn(DataLoader(fit, batch_size=16), swa)
swa.eval()
with torch.no_grad():
    a, b = hold.dataset.tensors[0][64:], hold.dataset.tensors[1][64:]
    final = F.cross_entropy(swa(a), b).item()
print("BITS", sum(p.double().abs().sum().item() for p in student.state_dict().values()).hex(),
    last.hex(), final.hex())
