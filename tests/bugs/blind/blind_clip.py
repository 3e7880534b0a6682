# SPDX-License-Identifier: Apache-2.0
"""Contrastive pairs, with an average of the weights."""
import math
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(77)
E, WORDS, LEN, PAD = 24, 40, 7, 0

class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.c2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.fc = nn.Linear(16, E, bias=False)
    def forward(self, x):
        x = F.gelu(self.c1(x))
        x = F.gelu(self.norm(self.c2(x)))
        return self.fc(x.mean((2, 3)))

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(WORDS, 20, padding_idx=PAD)
        self.pos = nn.Parameter(torch.randn(LEN, 20) * 0.01)
        layer = nn.TransformerEncoderLayer(20, 4, 40, dropout=0.1, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 1)
        self.norm = nn.LayerNorm(20)
        self.fc = nn.Linear(20, E, bias=False)
    def forward(self, ids):
        pad = ids == PAD
        x = self.tok(ids) + self.pos
        x = self.norm(self.enc(x, src_key_padding_mask=pad))
        end = (~pad).sum(1) - 1
        x = x[torch.arange(len(ids)), end]
        return self.fc(x)

class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = Image(), Text()
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    def forward(self, x, ids):
        i = F.normalize(self.image(x), dim=-1)
        t = F.normalize(self.text(ids), dim=-1)
        logits = self.scale.exp() * i @ t.t()
        labels = torch.arange(len(x))
        li = F.cross_entropy(logits, labels)
        lt = F.cross_entropy(logits.t(), labels)
        return (li + lt) / 2

g = torch.Generator().manual_seed(9)
pictures = torch.rand(48, 3, 12, 12, generator=g)
captions = torch.randint(1, WORDS, (48, LEN), generator=g)
lengths = torch.randint(3, LEN + 1, (48,), generator=g)
captions[torch.arange(LEN)[None] >= lengths[:, None]] = PAD
loader = DataLoader(TensorDataset(pictures, captions), batch_size=8, shuffle=True, drop_last=True)
model = CLIP()
opt = torch.optim.AdamW([
    {"params": list(model.image.parameters()) + list(model.text.parameters())},
    {"params": [model.scale], "weight_decay": 0.0, "lr": 1e-2},
], lr=1e-3, weight_decay=0.2, betas=(0.9, 0.98), eps=1e-6)
ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
last = 0.0
for epoch in range(2):
    model.train()
    for x, ids in loader:
        if torch.rand(()) < 0.5:
            x = x.flip(-1)
        loss = model(x, ids)
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            model.scale.clamp_(0, math.log(100))
            for k, v in model.state_dict().items():
                ema[k].mul_(0.9).add_(v, alpha=0.1)
        last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in model.parameters()).hex(), last.hex(),
    sum(v.double().abs().sum().item() for v in ema.values()).hex())
