"""Train a decoder-only transformer on the characters of Python's own language reference, and let it write.

The text is what ``help()`` shows on the language's topics: it comes with Python. An ordinary PyTorch script: with
``torch`` in place of ``numgrad`` in its imports it prints the same losses.

    python examples/char_transformer.py
    python examples/char_transformer.py --device cuda --steps 5000 --width 256 --prompt "The yield statement"
"""

import argparse
import math
import pydoc_data.topics
import time

from tqdm import tqdm

import numgrad as torch
import numgrad.nn as nn
import numgrad.nn.functional as F
from numgrad.utils.data import DataLoader, Dataset, RandomSampler


class Windows(Dataset):
    """All pieces of `length` characters, each with the same piece one character later: what is to be said next."""

    def __init__(self, codes, length):
        self.codes = codes  # (characters,)
        self.length = length

    def __len__(self):
        return len(self.codes) - self.length

    def __getitem__(self, start):
        piece = self.codes[start : start + self.length + 1]
        return piece[:-1], piece[1:]


class Attention(nn.Module):
    """Causal self-attention with several heads: (N, T, width) to (N, T, width)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x):
        heads = self.project(x).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, heads, width / heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width / heads)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Attention, then a small network for each character; both add to what passes by."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(dropout))
        self.network = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
            nn.Linear(4 * width, width), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.network(x)


class Transformer(nn.Module):
    """Scores (N, T, characters) of the next character, at every place of codes (N, T)."""

    def __init__(self, characters, length, width, heads, blocks, dropout=0.1):
        super().__init__()
        self.length = length
        self.characters = nn.Embedding(characters, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.apply(self.initialize)

    @staticmethod
    def initialize(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, codes):
        places = torch.arange(codes.shape[1], device=codes.device)
        x = self.norm(self.blocks(self.characters(codes) + self.places(places)))
        return F.linear(x, self.characters.weight)  # one table, for reading and for writing


@torch.no_grad()
def continued(model, codes, count, temperature=0.7):
    """`codes` (T,) and `count` further ones, each drawn from the model's scores of it."""
    model.eval()
    for _ in range(count):
        scores = model(codes[None, -model.length :])[0, -1]
        drawn = torch.multinomial(F.softmax(scores / temperature, dim=-1), 1)
        codes = torch.cat([codes, drawn])
    return codes


@torch.no_grad()
def evaluate(model, codes, batch_size=64):
    """The mean loss of a character, over a text that was not learned."""
    model.eval()
    pieces = codes[: len(codes) // model.length * model.length].view(-1, model.length)
    losses = [F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()) for x in pieces.split(batch_size)]
    model.train()
    return torch.stack(losses).mean().item()


def train(model, loader, steps, device):
    """The losses of `steps` steps; the learning rate rises for 50 of them and then falls as a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    losses = []
    bar = tqdm(loader, unit="step")
    for x, y in bar:
        scores = model(x.to(device))  # (N, T, characters)
        loss = F.cross_entropy(scores.flatten(0, 1), y.to(device).flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return losses


def main(
    steps=1000, batch=32, length=64, width=64, heads=4, blocks=3, prompt="The ", write=400,
    device="cpu", seed=0, save=None, print_losses=0,
):  # fmt: skip
    """Train for ``steps`` batches of ``batch`` windows of ``length`` characters, then write ``write`` characters after
    ``prompt``; the losses. The first ``print_losses`` of them are printed."""
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics)) + prompt
    alphabet = sorted(set(text))
    code_of = {character: code for code, character in enumerate(alphabet)}
    codes = torch.tensor([code_of[character] for character in text])
    learned, held_out = codes.split([len(codes) * 9 // 10, len(codes) - len(codes) * 9 // 10])

    torch.manual_seed(seed)
    model = Transformer(len(alphabet), length, width, heads, blocks).to(device)
    windows = Windows(learned, length)
    sampler = RandomSampler(windows, replacement=True, num_samples=steps * batch)
    loader = DataLoader(windows, batch_size=batch, sampler=sampler)
    print(f"{len(text)} characters, {len(alphabet)} kinds; {sum(p.numel() for p in model.parameters())} parameters")

    started = time.perf_counter()
    losses = train(model, loader, steps, device)
    seconds = time.perf_counter() - started
    for step, loss in enumerate(losses[: print_losses], start=1):
        print(f"step {step}: loss {loss:.6f}")
    held_out_loss = evaluate(model, held_out.to(device))
    print(f"{len(losses)} steps in {seconds:.1f} s, loss {losses[-1]:.4f}, held-out loss {held_out_loss:.4f}")
    if save:
        torch.save(model.state_dict(), save)
    start = torch.tensor([code_of[character] for character in prompt], device=device)
    written = continued(model, start, write).tolist()
    print("-" * 80, "".join(alphabet[code] for code in written), "-" * 80, sep="\n")
    return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a transformer on the characters of Python's reference.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64, help="characters that the model sees at once")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--prompt", default="The ")
    parser.add_argument("--write", type=int, default=400, help="characters to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="PATH", help="write the trained weights there")
    parser.add_argument("--print-losses", metavar="N", type=int, default=0, help="print the first N losses")
    main(**vars(parser.parse_args()))
