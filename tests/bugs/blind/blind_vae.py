# SPDX-License-Identifier: Apache-2.0
"""A variational autoencoder of sentences."""
import random
import torch
from torch import nn
import torch.nn.functional as F

random.seed(4)
torch.manual_seed(4)
rng = random.Random(9)
texts = ["".join(rng.choice("abcdef") for _ in range(rng.randint(4, 9))) for _ in range(48)]
vocab = {c: i + 1 for i, c in enumerate("abcdef")}
VOC, E, H, Z, BOS = 8, 12, 18, 6, 7

def encode(rows):
    width = max(map(len, rows))
    out = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, :len(row)] = torch.tensor([vocab[c] for c in row])
    return out, torch.tensor([len(r) for r in rows])

class SentenceVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOC, E, padding_idx=0)
        self.enc = nn.GRU(E, H, batch_first=True)
        self.mu, self.logvar = nn.Linear(H, Z), nn.Linear(H, Z)
        self.start = nn.Linear(Z, H)
        self.dec = nn.GRU(E + Z, H, batch_first=True)
        self.out = nn.Linear(H, VOC)
    def forward(self, ids, lens):
        x = self.emb(ids)
        y, _ = self.enc(x)
        last = y[torch.arange(len(ids)), lens - 1]
        mu, logvar = self.mu(last), self.logvar(last)
        z = mu
        if self.training:
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        inp = torch.cat([torch.full((len(ids), 1), BOS), ids[:, :-1]], 1)
        keep = torch.rand(inp.shape) > 0.2
        inp = torch.where(keep, inp, torch.zeros_like(inp))
        e = torch.cat([self.emb(inp), z[:, None].expand(-1, inp.shape[1], -1)], -1)
        h, _ = self.dec(e, torch.tanh(self.start(z))[None])
        return self.out(h), mu, logvar

def elbo(logits, ids, mu, logvar, beta):
    nll = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view_as(ids)
    mask = (ids != 0).float()
    nll = (nll * mask).sum() / mask.sum()
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
    kl = kl.clamp(min=0.1).mean()
    return nll + beta * kl, kl

model = SentenceVAE()
opt = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.95, momentum=0.5)
shadow = [p.detach().clone() for p in model.parameters()]
step, last = 0, 0.0
for epoch in range(2):
    order = list(range(len(texts)))
    random.shuffle(order)
    for k in range(0, len(order), 8):
        rows = [texts[i] for i in order[k:k + 8]]
        ids, lens = encode(rows)
        logits, mu, logvar = model(ids, lens)
        beta = min(1.0, (step + 1) / 6)
        loss, kl = elbo(logits, ids, mu, logvar, beta)
        opt.zero_grad()
        loss.backward()
        total = torch.sqrt(sum(p.grad.pow(2).sum() for p in model.parameters()))
        if total > 0.5:
            for p in model.parameters():
                p.grad.mul_(0.5 / total)
        opt.step()
        with torch.no_grad():
            for s, p in zip(shadow, model.parameters()):
                s.copy_(0.9 * s + 0.1 * p)
        step += 1
        last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in model.parameters()).hex(), last.hex(),
    sum(s.double().abs().sum().item() for s in shadow).hex())
