# SPDX-License-Identifier: Apache-2.0
"""A recurrent net on files of a folder, with a cache of what was read, and a frozen embedding."""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

FILES, LENGTH, CLASSES, EPOCHS = 12, 7, 2, 2


def write_files(folder):
    """Texts of the letters a and b; the class is which letter is more frequent."""
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(91)
    for i in torch.randperm(FILES, generator=generator).tolist():
        letters = torch.randint(2, (LENGTH,), generator=generator).tolist()
        with open(os.path.join(folder, f"{i:02}.txt"), "w", encoding="utf-8") as file:
            file.write("".join("ab"[letter] for letter in letters))


class Texts(Dataset):
    def __init__(self, folder):
        self.folder = folder
        self.names = sorted(os.listdir(folder))
        self.cache = {}

    def __len__(self):
        return len(self.names)

    def read(self, name):
        if name not in self.cache:
            with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                self.cache[name] = torch.tensor(["ab".index(letter) for letter in file.read()])
        return self.cache[name]

    def __getitem__(self, i):
        letters = self.read(self.names[i])
        label = int(letters.sum() * 2 > LENGTH)
        noisy = letters.clone()
        noisy[torch.randint(LENGTH, (1,))] = 0
        return noisy, label


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, 4)
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, letters):
        states, _ = self.rnn(self.embed(letters))
        return self.out(states[:, -1])


def main():
    write_files("texts")
    torch.manual_seed(92)
    data = Texts("texts")
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = DataLoader(data, batch_size=4, shuffle=True,
                        generator=torch.Generator().manual_seed(93))
    losses = []
    for _ in range(EPOCHS):
        for letters, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(letters), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
