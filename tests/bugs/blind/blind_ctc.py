# SPDX-License-Identifier: Apache-2.0
"""Speech with CTC."""
import torch
from torch import nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.data import Dataset, DataLoader

torch.manual_seed(8)
MEL, CHARS, BLANK = 12, 9, 0

class Speech(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for i in range(n):
            k = int(torch.randint(3, 7, (1,), generator=g))
            text = torch.randint(1, CHARS, (k,), generator=g)
            wave = torch.randn(MEL, 6 * k + i % 5, generator=g).exp()
            self.items.append((wave, text))
    def __len__(self):
        return len(self.items)
    def __getitem__(self, i):
        return self.items[i]

def collate(items):
    items = sorted(items, key=lambda it: -it[0].shape[1])
    feats = [torch.log(w + 1e-6).t() for w, _ in items]
    feats = [(f - f.mean(0)) / (f.std(0) + 1e-5) for f in feats]
    lens = torch.tensor([f.shape[0] for f in feats])
    tlens = torch.tensor([len(t) for _, t in items])
    return pad_sequence(feats, batch_first=True), lens, torch.cat([t for _, t in items]), tlens

def spec_augment(x, g):
    x = x.clone()
    at = int(torch.randint(0, MEL - 2, (1,), generator=g))
    x[:, :, at:at + 2] = 0.0
    t0 = int(torch.randint(0, x.shape[1] - 4, (1,), generator=g))
    x[:, t0:t0 + 3, :] = 0.0
    return x

class Net(nn.Module):
    def __init__(self, h=20):
        super().__init__()
        self.sub = nn.Conv1d(MEL, h, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm1d(h)
        self.rnn = nn.GRU(h, h, bidirectional=True, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * h, CHARS)
    def forward(self, x, lens):
        y = F.relu(self.bn(self.sub(x.transpose(1, 2)))).transpose(1, 2)
        lens = (lens + 1) // 2
        y = y * (torch.arange(y.shape[1])[None, :, None] < lens[:, None, None])
        y, _ = self.rnn(pack_padded_sequence(y, lens, batch_first=True))
        y, _ = pad_packed_sequence(y, batch_first=True)
        return self.out(self.drop(y)).log_softmax(-1), lens

data = Speech(24, 1)
loader = DataLoader(data, batch_size=4, shuffle=True, collate_fn=collate, generator=torch.Generator().manual_seed(2))
model = Net()
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=5e-3, total_steps=14)
aug = torch.Generator().manual_seed(99)
last = 0.0
for epoch in range(2):
    model.train()
    for x, lens, text, tlens in loader:
        x = spec_augment(x, aug)
        logp, olens = model(x, lens)
        loss = F.ctc_loss(logp.transpose(0, 1), text, olens, tlens, blank=BLANK, reduction="sum", zero_infinity=True)
        loss = loss / tlens.sum()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        sched.step()
        last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in model.state_dict().values()).hex(),
    last.hex())
