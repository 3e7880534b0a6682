# SPDX-License-Identifier: Apache-2.0
"""An optimizer, a softmax, a layer normalization and an embedding written by hand."""

import torch
import torch.nn as nn

WORDS, DIM, CLASSES, STEPS = 11, 8, 4, 5


class HandAdamW(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.99), eps=1e-6, decay=0.1):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "decay": decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["t"] = 0
                    state["m"] = torch.zeros_like(p)
                    state["v"] = torch.zeros_like(p)
                state["t"] += 1
                grad = p.grad
                p.mul_(1 - group["lr"] * group["decay"])
                state["m"].mul_(beta1).add_(grad, alpha=1 - beta1)
                state["v"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                m = state["m"] / (1 - beta1 ** state["t"])
                v = state["v"] / (1 - beta2 ** state["t"])
                p.addcdiv_(m, v.sqrt() + group["eps"], value=-group["lr"])


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        e = (x - x.max(-1, keepdim=True).values).exp()
        y = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True))


class Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        y = centred / deviation
        ctx.save_for_backward(y, deviation)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, deviation = ctx.saved_tensors
        along = (grad * y).mean(-1, keepdim=True)
        return (grad - grad.mean(-1, keepdim=True) - y * along) / deviation


class Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, words):
        ctx.save_for_backward(words)
        ctx.rows = weight.shape[0]
        return weight[words]

    @staticmethod
    def backward(ctx, grad):
        words, = ctx.saved_tensors
        out = torch.zeros(ctx.rows, grad.shape[-1])
        out.index_put_((words.flatten(),), grad.flatten(0, 1), accumulate=True)
        return out, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Parameter(torch.randn(WORDS, DIM) * 0.5)
        self.query = nn.Parameter(torch.randn(DIM))
        self.hidden = nn.Linear(DIM, DIM)
        self.out = nn.Linear(DIM, CLASSES)

    def forward(self, words):
        x = Lookup.apply(self.words, words)
        attention = Softmax.apply(x @ self.query)
        pooled = (x * attention[..., None]).sum(1)
        return self.out(Normalize.apply(torch.tanh(self.hidden(pooled))))


def main():
    torch.manual_seed(4)
    model = Net()
    optimizer = HandAdamW(model.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(12)
    losses = []
    for _ in range(STEPS):
        words = torch.randint(WORDS, (10, 6), generator=generator)
        labels = words.sum(1) % CLASSES
        optimizer.zero_grad()
        chances = Softmax.apply(model(words))
        loss = -chances[torch.arange(10), labels].log().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
