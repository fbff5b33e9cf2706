"""Train a variational autoencoder on scikit-learn's handwritten digits and draw new ones (arXiv:1312.6114).

An ordinary PyTorch script: with ``torch`` in place of ``numgrad`` in its imports it prints the same losses.

    python examples/vae_digits.py
    python examples/vae_digits.py --device cuda --latent 2 --save vae_digits.pt
"""

import argparse
import time
from itertools import islice

import matplotlib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from tqdm import tqdm

import numgrad as torch
import numgrad.nn as nn
import numgrad.nn.functional as F
from numgrad.utils.data import DataLoader, TensorDataset, random_split


class Encoder(nn.Module):
    """Mean and log variance, each (N, latent), of the code of images (N, 1, 8, 8)."""

    def __init__(self, latent):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.SiLU(),   # (N, 32, 4, 4)
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.SiLU(),  # (N, 64, 2, 2)
            nn.Flatten(), nn.Linear(256, 2 * latent),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x).chunk(2, dim=1)


class Decoder(nn.Module):
    """Images (N, 1, 8, 8), before the sigmoid, from codes (N, latent)."""

    def __init__(self, latent):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent, 256), nn.SiLU(), nn.Unflatten(1, (64, 2, 2)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.SiLU(),  # (N, 32, 4, 4)
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),              # (N, 1, 8, 8)
        )  # fmt: skip

    def forward(self, code):
        return self.layers(code)


class Autoencoder(nn.Module):
    """Encodes to a normal distribution, draws a code from it and decodes that."""

    def __init__(self, latent):
        super().__init__()
        self.encoder = Encoder(latent)
        self.decoder = Decoder(latent)

    def forward(self, x):
        mean, log_variance = self.encoder(x)
        # The noise comes from outside, so that the code is differentiable in mean and variance.
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance


def evidence_bound(model, x):
    """The negative evidence lower bound of images (N, 1, 8, 8), averaged over them.

    Cross entropy of the pixels, plus the divergence of the code's distribution from N(0, 1):
    ``-1/2 sum(1 + log variance - mean^2 - variance)``.
    """
    logits, mean, log_variance = model(x)
    pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (pixels + divergence) / len(x)


@torch.no_grad()
def evaluate(model, loader, device):
    """The bound, averaged over all images of the loader."""
    return sum(evidence_bound(model, x.to(device)).item() * len(x) for (x,) in loader) / len(loader.dataset)


def tiles(images, columns):
    """Images (rows * columns, 1, 8, 8) side by side: (rows * 9, columns * 9), a white line between them."""
    framed = F.pad(images, (0, 1, 0, 1))  # (N, 1, 9, 9)
    rows = len(images) // columns
    return framed.reshape(rows, columns, 9, 9).permute(0, 2, 1, 3).reshape(rows * 9, columns * 9)


@torch.no_grad()
def draw(path, model, latent, x, device):
    """A picture of 60 test images, of what the model makes of them, and of 60 images from random codes."""
    mean, _ = model.encoder(x.to(device))
    again = torch.sigmoid(model.decoder(mean)).cpu()
    new = torch.sigmoid(model.decoder(torch.randn(len(x), latent, device=device))).cpu()
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
    for axis, title, images in zip(axes, ("test images", "reconstructed", "from random codes"), (x, again, new)):
        axis.imshow(tiles(images, 6).numpy(), cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(title)
        axis.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(steps=1000, device="cpu", latent=8, seed=0, save=None, picture="vae_digits.png", print_losses=0):
    """Train for ``steps`` batches of 64, with codes of ``latent`` numbers; the losses. The first ``print_losses`` of them
    are printed."""
    torch.manual_seed(seed)
    images = TensorDataset(torch.tensor(load_digits().images / 16, dtype=torch.float32).unsqueeze(1))  # (1797, 1, 8, 8)
    images, test_images = random_split(images, (0.9, 0.1))
    loader = DataLoader(images, batch_size=64, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_images, batch_size=60)

    model = Autoencoder(latent).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)

    started = time.perf_counter()
    losses = []
    with tqdm(total=steps, unit="step") as bar:
        while len(losses) < steps:
            for (x,) in islice(loader, steps - len(losses)):
                loss = evidence_bound(model, x.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                bar.update()
            bound = evaluate(model, test_loader, device)
            scheduler.step(bound)
            bar.set_postfix(loss=f"{losses[-1]:.3f}", test=f"{bound:.3f}", lr=f"{scheduler.get_last_lr()[0]:.0e}")
    seconds = time.perf_counter() - started
    for step, loss in enumerate(losses[: print_losses], start=1):
        print(f"step {step}: loss {loss:.6f}")
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.3f}, test loss {bound:.3f}")
    if save:
        torch.save(model.state_dict(), save)
    draw(picture, model, latent, next(iter(test_loader))[0], device)
    print(f"picture: {picture}")
    return losses


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description="Train a variational autoencoder on handwritten digits.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--latent", type=int, default=8, help="numbers in a code")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="PATH", help="write the trained weights there")
    parser.add_argument("--picture", metavar="PATH", default="vae_digits.png")
    parser.add_argument("--print-losses", metavar="N", type=int, default=0, help="print the first N losses")
    main(**vars(parser.parse_args()))
