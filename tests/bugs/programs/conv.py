# SPDX-License-Identifier: Apache-2.0
"""Images: a net with batch normalization, a DataLoader with two workers, augmentation, three
epochs, and an evaluation behind each."""

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

COUNT, SIZE, CLASSES, EPOCHS = 22, 8, 3, 3
generator_of_worker = None


class Images(Dataset):
    """Drawn bars: class 0 lies, 1 stands, 2 is a diagonal."""

    def __init__(self, count, seed, augment):
        numbers = numpy.random.default_rng(seed)
        self.labels = numbers.integers(0, CLASSES, count)
        self.pixels = numbers.integers(0, 60, (count, SIZE, SIZE)).astype(numpy.uint8)
        for image, label in zip(self.pixels, self.labels):
            at = int(numbers.integers(2, SIZE - 2))
            if label == 0:
                image[at, :] = 250
            elif label == 1:
                image[:, at] = 250
            else:
                numpy.fill_diagonal(image, 250)
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.pixels[i].astype(numpy.float32) / 255
        if self.augment:
            shift = int(generator_of_worker.integers(-1, 2))
            image = numpy.roll(image, shift, 1)
            image = image + generator_of_worker.normal(0, 0.05, image.shape)
        image = (image - 0.25) / 0.3
        return torch.from_numpy(image.astype(numpy.float32))[None], int(self.labels[i])


def start_worker(worker):
    global generator_of_worker
    generator_of_worker = numpy.random.default_rng([torch.initial_seed(), worker])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 4, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def accuracy(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in loader:
            right += int((model(images).argmax(1) == labels).sum())
    model.train()
    return right / len(loader.dataset)


def main():
    torch.manual_seed(5)
    train = Images(COUNT, 1, augment=True)
    test = Images(9, 2, augment=False)
    order = torch.Generator().manual_seed(9)
    sampler = RandomSampler(train, generator=order)
    loader = DataLoader(train, batch_size=6, sampler=sampler, num_workers=2, drop_last=True,
                        worker_init_fn=start_worker, generator=torch.Generator().manual_seed(4))
    tests = DataLoader(test, batch_size=9, generator=torch.Generator())
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print("accuracy", accuracy(model, tests))
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
