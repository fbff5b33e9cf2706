"""Train a convolutional network on scikit-learn's handwritten digits, with data loaders and random shifts.

An ordinary PyTorch script: with ``torch`` in place of ``numgrad`` in its imports it prints the same losses.

    python examples/digits_cnn.py
    python examples/digits_cnn.py --device cuda --steps 660 --save digits_cnn.pt
"""

import argparse
import time
from itertools import islice

import matplotlib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import numgrad as torch
import numgrad.nn as nn
import numgrad.nn.functional as F
from numgrad.utils.data import DataLoader, Dataset


class Digits(Dataset):
    """Images (1, 8, 8) with values in [0, 1] and their digits, moved by up to a pixel if `shift`."""

    def __init__(self, images, digits, shift):
        self.images = F.pad(torch.tensor(images / 16, dtype=torch.float32), (1, 1, 1, 1))  # (N, 10, 10)
        self.digits = torch.tensor(digits)
        self.shift = shift

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        top, left = torch.randint(0, 3, (2,)).tolist() if self.shift else (1, 1)
        return self.images[index, None, top : top + 8, left : left + 8], self.digits[index]


class Block(nn.Module):
    """A 3 x 3 convolution, batch norm and SiLU: (N, inputs, H, W) to (N, outputs, H, W)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)  # the norm has a bias
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.silu(self.norm(self.convolution(x)))


class Network(nn.Module):
    """Three blocks, at full, half and quarter resolution, and a linear classifier."""

    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            Block(1, 16), nn.AvgPool2d(2),   # (N, 16, 4, 4)
            Block(16, 32), nn.AvgPool2d(2),  # (N, 32, 2, 2)
            Block(32, 64), nn.Flatten(),     # (N, 256)
        )  # fmt: skip
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(256, classes)

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x)))


def train(model, batches, optimizer, scheduler, device, bar):
    """A step for each batch; their losses."""
    model.train()
    losses = []
    for images, digits in batches:
        loss = F.cross_entropy(model(images.to(device)), digits.to(device), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        bar.update()
    return losses


@torch.no_grad()
def classify(model, loader, device):
    """The digits that the model sees and the right ones, each (N,)."""
    model.eval()
    pairs = [(model(images.to(device)).argmax(dim=1).cpu(), digits) for images, digits in loader]
    seen, right = zip(*pairs)
    return torch.cat(seen), torch.cat(right)


def draw(path, model, losses, seen, right):
    """A picture of the losses, of the filters of the first layer and of which digits are taken for which."""
    figure = plt.figure(figsize=(12, 4), layout="constrained")
    left, middle, corner = figure.subfigures(1, 3)
    left.subplots().plot(losses, linewidth=0.8)
    left.suptitle("loss")
    filters = model.features[0].convolution.weight.detach().cpu()  # (16, 1, 3, 3)
    for cell, kernel in zip(middle.subplots(4, 4).flat, filters):
        cell.imshow(kernel[0].numpy(), cmap="RdBu", vmin=-0.6, vmax=0.6)
        cell.axis("off")
    middle.suptitle("filters of the first layer")
    counts = torch.zeros(10, 10, dtype=torch.int64)
    counts.index_put_((right, seen), torch.ones_like(seen), accumulate=True)
    axis = corner.subplots()
    axis.imshow(counts.numpy(), cmap="Blues")
    for row, column in counts.nonzero().tolist():
        color = "white" if row == column else "tab:red"
        axis.text(column, row, counts[row, column].item(), ha="center", va="center", color=color)
    axis.set(xlabel="seen", ylabel="right", xticks=range(10), yticks=range(10))
    corner.suptitle("test images")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(steps=330, device="cpu", seed=0, save=None, picture="digits_cnn.png", print_losses=0):
    """Train for ``steps`` batches of 64; the losses. The first ``print_losses`` of them are printed."""
    data = load_digits()
    images, test_images, digits, test_digits = train_test_split(
        data.images, data.target, test_size=0.2, random_state=0, stratify=data.target
    )
    torch.manual_seed(seed)
    loader = DataLoader(Digits(images, digits, shift=True), batch_size=64, shuffle=True, drop_last=True)
    test_loader = DataLoader(Digits(test_images, test_digits, shift=False), batch_size=256)

    model = Network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)

    started = time.perf_counter()
    losses = []
    with tqdm(total=steps, unit="step") as bar:
        while len(losses) < steps:
            batches = islice(loader, steps - len(losses))
            losses += train(model, batches, optimizer, scheduler, device, bar)
            seen, right = classify(model, test_loader, device)
            accuracy = (seen == right).float().mean().item()
            bar.set_postfix(loss=f"{losses[-1]:.4f}", test=f"{accuracy:.4f}")
    seconds = time.perf_counter() - started
    for step, loss in enumerate(losses[: print_losses], start=1):
        print(f"step {step}: loss {loss:.6f}")
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}, test accuracy {accuracy:.4f}")
    if save:
        torch.save(model.state_dict(), save)
    draw(picture, model, losses, seen, right)
    print(f"picture: {picture}")
    return losses


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description="Train a convolutional network on handwritten digits.")
    parser.add_argument("--steps", type=int, default=330)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="PATH", help="write the trained weights there")
    parser.add_argument("--picture", metavar="PATH", default="digits_cnn.png")
    parser.add_argument("--print-losses", metavar="N", type=int, default=0, help="print the first N losses")
    main(**vars(parser.parse_args()))
