# SPDX-License-Identifier: Apache-2.0
"""Translation with attention."""
import random
import torch
from torch import nn
import torch.nn.functional as F

random.seed(2)
torch.manual_seed(2)
V, E, H, PAD, BOS, EOS, ACC = 30, 16, 20, 0, 1, 2, 2

def make(n):
    r = random.Random(40)
    pairs = []
    for _ in range(n):
        k = r.randint(3, 7)
        s = [r.randint(3, V - 1) for _ in range(k)]
        pairs.append((s, list(reversed(s)) + s[:1]))
    return pairs

def pad(rows):
    n = max(map(len, rows))
    return torch.tensor([r + [PAD] * (n - len(r)) for r in rows])

def batches(pairs, size, rng):
    pairs = list(pairs)
    rng.shuffle(pairs)
    for k in range(0, len(pairs), size):
        part = pairs[k:k + size]
        src = pad([s + [EOS] for s, _ in part])
        tgt = pad([[BOS] + t + [EOS] for _, t in part])
        yield src, tgt

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, E, padding_idx=PAD)
        self.rnn = nn.GRU(E, H, bidirectional=True, batch_first=True)
        self.bridge = nn.Linear(2 * H, H)
    def forward(self, src):
        lens = (src != PAD).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(src), lens, batch_first=True, enforce_sorted=False)
        y, h = self.rnn(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        h = torch.tanh(self.bridge(torch.cat([h[0], h[1]], -1)))
        return y, h

class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, E, padding_idx=PAD)
        self.w_h, self.w_y = nn.Linear(H, H, bias=False), nn.Linear(2 * H, H)
        self.v = nn.Linear(H, 1, bias=False)
        self.cell = nn.GRUCell(E + 2 * H, H)
        self.out = nn.Linear(H + 2 * H + E, V)
        self.drop = nn.Dropout(0.1)
    def forward(self, tok, h, mem, mask):
        e = self.drop(self.emb(tok))
        s = self.v(torch.tanh(self.w_h(h)[:, None] + self.w_y(mem))).squeeze(-1)
        a = s.masked_fill(~mask, -1e9).softmax(-1)
        c = (a[..., None] * mem).sum(1)
        h = self.cell(torch.cat([e, c], -1), h)
        return self.out(torch.cat([h, c, e], -1)), h

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = Encoder(), Decoder()
    def forward(self, src, tgt, force=0.5):
        mem, h = self.enc(src)
        mask = src != PAD
        tok, outs = tgt[:, 0], []
        for i in range(1, tgt.shape[1]):
            o, h = self.dec(tok, h, mem, mask)
            outs.append(o)
            tok = tgt[:, i] if random.random() < force else o.argmax(-1)
        return torch.stack(outs, 1)

pairs = make(40)
train, valid = pairs[:32], pairs[32:]
model = Model()
opt = torch.optim.Adam(model.parameters(), lr=4e-3)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=0)
rng = random.Random(3)
last = 0.0
for epoch in range(3):
    model.train()
    chunk = []
    for src, tgt in batches(train, 4, rng):
        chunk.append((src, tgt))
        if len(chunk) < ACC:
            continue
        total = sum((t[:, 1:] != PAD).sum() for _, t in chunk)
        opt.zero_grad()
        for s, t in chunk:
            logits = model(s, t)
            loss = F.cross_entropy(logits.flatten(0, 1), t[:, 1:].flatten(), ignore_index=PAD, reduction="sum") / total
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        last = loss.item()
        chunk = []
    model.eval()
    with torch.no_grad():
        nll, words = 0.0, 0
        for s, t in batches(valid, 4, random.Random(0)):
            o = model(s, t, force=1.0)
            nll += F.cross_entropy(o.flatten(0, 1), t[:, 1:].flatten(), ignore_index=PAD, reduction="sum").item()
            words += (t[:, 1:] != PAD).sum().item()
    plateau.step(nll / words)
print("BITS", sum(p.double().abs().sum().item() for p in model.parameters()).hex(), last.hex(),
    (nll / words).hex())
