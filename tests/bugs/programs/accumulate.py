# SPDX-License-Identifier: Apache-2.0
"""Gradient accumulation: a tagger of sequences of unequal length, three micro-batches a step, the
loss a mean over all tokens of the step."""

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, TAGS, DIM, LENGTH, MICRO, STEPS = 23, 5, 12, 10, 3, 5
IGNORE = -100


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.mix = nn.Conv1d(DIM, DIM, 3, padding=1)
        self.norm = nn.LayerNorm(DIM)
        self.out = nn.Linear(DIM, TAGS)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + F.relu(self.mix(x.transpose(1, 2))).transpose(1, 2)
        return self.out(self.norm(x))


def make_batch(generator):
    """Tokens and tags of one micro-batch; behind a sequence's end the tag is IGNORE."""
    tokens = torch.randint(VOCABULARY, (4, LENGTH), generator=generator)
    tags = (tokens + tokens.roll(1, 1)) % TAGS
    lengths = torch.randint(2, LENGTH + 1, (4,), generator=generator)
    tags[torch.arange(LENGTH) >= lengths[:, None]] = IGNORE
    return tokens, tags


def main():
    torch.manual_seed(11)
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    generator = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(STEPS):
        batches = [make_batch(generator) for _ in range(MICRO)]
        total = sum(int((tags != IGNORE).sum()) for _, tags in batches)
        optimizer.zero_grad()
        mean = 0.0
        for tokens, tags in batches:
            scores = model(tokens)
            loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="sum")
            loss = loss / total
            loss.backward()
            mean += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(mean)
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
