"""Train an LSTM to continue the recording of a nerve cell that fires, which comes with Matplotlib.

The recording is the membrane potential of the cell, 12,000 values at 2 kHz. An ordinary PyTorch script: with ``torch``
in place of ``numgrad`` in its imports it prints the same losses.

    python examples/lstm_forecast.py
    python examples/lstm_forecast.py --device cuda --steps 800 --save lstm_forecast.pt
"""

import argparse
import time
from itertools import islice

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cbook import get_sample_data
from tqdm import tqdm

import numgrad as torch
import numgrad.nn as nn
import numgrad.nn.functional as F
from numgrad.utils.data import DataLoader, Dataset

MILLISECONDS = 2  # between values, of which every fourth is kept
MILLIVOLTS = 100  # of the file's unit


class Windows(Dataset):
    """Pieces (length, 1) of a series (T, 1) that start `stride` apart, each with the piece one step later."""

    def __init__(self, series, length, stride):
        self.pieces = series[:, 0].unfold(0, length + 1, stride).unsqueeze(-1)  # (N, length + 1, 1)

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, index):
        return self.pieces[index, :-1], self.pieces[index, 1:]


class Forecaster(nn.Module):
    """The next value, at every step of a series (N, T, 1), and the state after the last step."""

    def __init__(self, hidden=48, layers=2):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, num_layers=layers, dropout=0.1, batch_first=True)
        self.change = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        features, state = self.lstm(x, state)  # (N, T, hidden)
        return x + self.change(features), state

    @torch.no_grad()
    def forecast(self, x, steps):
        """`steps` values after those of a series (1, T, 1): each prediction is the next input."""
        predicted, state = self(x)
        values = [predicted[:, -1:]]
        for _ in range(steps - 1):
            value, state = self(values[-1], state)
            values.append(value)
        return torch.cat(values, dim=1)  # (1, steps, 1)


def draw(path, losses, known, following, forecast):
    """A picture of the losses and of the forecast beside what the cell did."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=[1, 2.5], layout="constrained")
    left.plot(losses, linewidth=0.8)
    left.set(xlabel="step", ylabel="squared error of the next value", yscale="log")
    past = np.arange(-len(known), 0) * MILLISECONDS
    future = np.arange(len(following)) * MILLISECONDS
    right.plot(past, known * MILLIVOLTS, color="gray", label="known")
    right.plot(future, following * MILLIVOLTS, color="tab:blue", label="recorded")
    right.plot(future, forecast * MILLIVOLTS, color="tab:orange", linestyle="--", label="forecast")
    right.set(xlabel="ms", ylabel="membrane potential in mV")
    right.legend(loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(steps=560, device="cpu", seed=0, save=None, picture="lstm_forecast.png", print_losses=0):
    """Train for ``steps`` batches of 32 windows; the losses. The first ``print_losses`` of them are printed."""
    with get_sample_data("membrane.dat") as file:
        recording = np.frombuffer(file.read(), dtype=np.float32)
    recording = torch.tensor(recording[2000:7000:4]).unsqueeze(1)  # (1250, 1): one stretch of even firing
    mean, scale = recording[:950].mean(), recording[:950].std()
    series = ((recording - mean) / scale).to(device)
    learned, test = series[:950], series[950:]

    torch.manual_seed(seed)
    loader = DataLoader(Windows(learned, length=100, stride=2), batch_size=32, shuffle=True)
    model = Forecaster().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

    started = time.perf_counter()
    losses = []
    with tqdm(total=steps, unit="step") as bar:
        while len(losses) < steps:
            for x, y in islice(loader, steps - len(losses)):
                predicted, _ = model(x)
                loss = F.mse_loss(predicted, y)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
                bar.update()
            bar.set_postfix(loss=f"{losses[-1]:.5f}")
    seconds = time.perf_counter() - started
    for step, loss in enumerate(losses[: print_losses], start=1):
        print(f"step {step}: loss {loss:.6f}")

    model.eval()
    with torch.no_grad():
        predicted, _ = model(test[None, :-1])  # (1, 299, 1)
        next_value = F.mse_loss(predicted[0], test[1:]).item()
        no_change = F.mse_loss(test[:-1], test[1:]).item()
    known, following = test[:150], test[150:]
    forecast = model.forecast(known[None], len(following))[0]
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.5f}")
    print(f"error of the next value {next_value:.5f} (of the last one, taken for the next: {no_change:.5f})")
    if save:
        torch.save(model.state_dict(), save)
    parts = ((part.cpu() * scale + mean).squeeze(1).numpy() for part in (known, following, forecast))
    draw(picture, losses, *parts)
    print(f"picture: {picture}")
    return losses


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description="Train an LSTM to continue the recording of a nerve cell.")
    parser.add_argument("--steps", type=int, default=560)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="PATH", help="write the trained weights there")
    parser.add_argument("--picture", metavar="PATH", default="lstm_forecast.png")
    parser.add_argument("--print-losses", metavar="N", type=int, default=0, help="print the first N losses")
    main(**vars(parser.parse_args()))
