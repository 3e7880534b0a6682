# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: a bfloat16 model, float32 master weights, a scaled loss, clipping of what is
unscaled."""

import torch
import torch.nn as nn
import torch.nn.functional as F

FEATURES, CLASSES, STEPS, SCALE = 8, 5, 5, 1024.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(FEATURES, 24)
        self.second = nn.Linear(24, CLASSES)

    def forward(self, x):
        x = F.silu(self.first(x))
        return self.second(x)


def main():
    torch.manual_seed(51)
    master = Net()
    model = Net().bfloat16()
    for low, high in zip(model.parameters(), master.parameters()):
        low.data.copy_(high.data)
    optimizer = torch.optim.AdamW(master.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(52)
    losses = []
    for _ in range(STEPS):
        x = torch.randn(16, FEATURES, generator=generator)
        y = (x[:, :CLASSES] * 2).argmax(1)
        logits = model(x.bfloat16())
        loss = F.cross_entropy(logits.float(), y)
        for p in model.parameters():
            p.grad = None
        (loss * SCALE).backward()
        for low, high in zip(model.parameters(), master.parameters()):
            high.grad = low.grad.float()
            high.grad /= SCALE
        nn.utils.clip_grad_norm_(master.parameters(), 1.0)
        optimizer.step()
        for low, high in zip(model.parameters(), master.parameters()):
            low.data.copy_(high.data)
        losses.append(loss.item())
    torch.save({"losses": losses, "model": master.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
