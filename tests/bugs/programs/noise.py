# SPDX-License-Identifier: Apache-2.0
"""A denoising autoencoder with sampled latents: noise from several generators, a target network
that follows, and best weights kept."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

ROWS, FEATURES, LATENT, STEPS = 30, 6, 3, 6


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(FEATURES, 2 * LATENT)
        self.layers = nn.ModuleList([nn.Linear(LATENT, LATENT) for _ in range(2)])
        self.decode = nn.Linear(LATENT, FEATURES)

    def forward(self, x):
        mean, spread = self.encode(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
        for layer in self.layers:
            z = torch.tanh(layer(z))
        return self.decode(z), mean, spread


def divergence(mean, spread):
    return -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()


def main():
    torch.manual_seed(81)
    model = Autoencoder()
    target = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    table = torch.Generator().manual_seed(82)
    data = torch.randn(ROWS, FEATURES, generator=table)
    order = torch.Generator().manual_seed(83)
    jitter = torch.Generator().manual_seed(84)
    losses, best, kept = [], None, None
    for _ in range(STEPS):
        rows = torch.randperm(ROWS, generator=order)[:10]
        clean = data[rows]
        noisy = clean + 0.1 * torch.randn(clean.shape, generator=jitter)
        out, mean, spread = model(noisy)
        with torch.no_grad():
            wanted = target(clean)[0]
        loss = F.mse_loss(out, clean) + 0.3 * F.mse_loss(out, wanted)
        loss = loss + 0.01 * divergence(mean, spread)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), model.parameters()):
                slow.mul_(0.95).add_(fast, alpha=0.05)
        losses.append(loss.item())
        if best is None or losses[-1] < best:
            best, kept = losses[-1], copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
