"""Train a classifier on scikit-learn's 1,797 images of handwritten digits.

An ordinary PyTorch script: with ``import torch`` in place of the first two numgrad lines it prints the same losses.

    python examples/digits_mlp.py
    python examples/digits_mlp.py --device cuda --epochs 20 --seed 1 --save digits.safetensors
"""

import argparse
import time

import matplotlib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import numgrad as torch
import numgrad.nn as nn
import numgrad.nn.functional as F


class Classifier(nn.Module):
    """Two hidden layers with layer norm, GELU and dropout."""

    def __init__(self, pixels=64, hidden=128, classes=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(pixels, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def accuracy(model, x, y):
    """The share of images that the model classifies rightly."""
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(dim=1) == y).float().mean().item()
    model.train()
    return right


def train(model, data, epochs, batch_size=64, print_losses=0):
    """Losses of all steps and the test accuracy after each epoch."""
    x, y, test_x, test_y = data
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses, accuracies = [], []
    bar = tqdm(range(epochs), unit="epoch", disable=print_losses > 0)
    for _ in bar:
        order = torch.randperm(len(x)).to(x.device)
        for batch in order.split(batch_size):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) <= print_losses:
                print(f"step {len(losses)}: loss {losses[-1]:.6f}")
        scheduler.step()
        accuracies.append(accuracy(model, test_x, test_y))
        bar.set_postfix(loss=f"{losses[-1]:.4f}", test=f"{accuracies[-1]:.4f}")
    return losses, accuracies


def draw(path, model, losses, accuracies, x, y):
    """A picture of loss, accuracy and 40 test images with the digit the model sees: red where it is another."""
    model.eval()
    with torch.no_grad():
        seen = model(x).argmax(dim=1).cpu()
    figure = plt.figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.3])
    axis = left.subplots()
    axis.plot(losses, linewidth=0.8, color="tab:blue")
    axis.set(xlabel="step", ylabel="loss", yscale="log", title=f"test accuracy {accuracies[-1]:.4f}")
    steps = [(k + 1) * len(losses) / len(accuracies) for k in range(len(accuracies))]
    other = axis.twinx()
    other.plot(steps, accuracies, color="tab:orange")
    other.set_ylabel("test accuracy", color="tab:orange")
    wrong = (seen != y.cpu()).nonzero().flatten().tolist()
    shown = (wrong + [k for k in range(len(seen)) if k not in wrong])[:40]
    for cell, k in zip(right.subplots(4, 10).flat, shown, strict=True):
        cell.imshow(x[k].reshape(8, 8).cpu().numpy(), cmap="gray_r")
        title = f"{seen[k].item()} ({y[k].item()})" if k in wrong else f"{seen[k].item()}"
        cell.set_title(title, color="tab:red" if k in wrong else "black", fontsize=9)
        cell.axis("off")
    right.suptitle(f"{len(wrong)} of {len(seen)} wrong: seen (right)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(epochs=15, device="cpu", seed=0, save=None, picture="digits_mlp.png", print_losses=0):
    """Train for ``epochs`` passes over the training images; the losses. The first ``print_losses`` are printed."""
    digits = load_digits()
    parts = train_test_split(digits.data, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    x, test_x = (torch.tensor(part / 16, dtype=torch.float32, device=device) for part in parts[:2])
    y, test_y = (torch.tensor(part, device=device) for part in parts[2:])

    torch.manual_seed(seed)
    model = Classifier().to(device)
    started = time.perf_counter()
    losses, accuracies = train(model, (x, y, test_x, test_y), epochs, print_losses=print_losses)
    seconds = time.perf_counter() - started
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}, test accuracy {accuracies[-1]:.4f}")
    if save:
        torch.save(model.state_dict(), save)
    draw(picture, model, losses, accuracies, test_x, test_y)
    print(f"picture: {picture}")
    return losses


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description="Train a classifier on handwritten digits.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="PATH", help="write the trained weights there, as safetensors")
    parser.add_argument("--picture", metavar="PATH", default="digits_mlp.png")
    parser.add_argument("--print-losses", metavar="N", type=int, default=0, help="print the first N losses")
    main(**vars(parser.parse_args()))
