"""Files of every format, changed at random: each either loads or is refused by a FileError that names it.

``python tests/mutations.py zip 100000`` tries that many changes of a format under a limit of 4 GB, and prints what came of
them; the suite tries a sample.
"""

import collections
import io
import json
import random
import struct
import sys
import time
import zipfile

import numpy as np

import numgrad as ng
from numgrad.errors import FileError

FORMATS = ("zip", "pickle", "legacy", "safetensors", "json")


def subject():
    base = ng.arange(24.0)
    state = collections.OrderedDict(w=ng.ones(3, 2), b=base[3:9])
    state._metadata = {"": {"version": 1}}
    tagged = ng.nn.Parameter(ng.ones(2))
    tagged.tag = "x"
    return {
        "model": state, "t": base.reshape(4, 6).t(), "p": tagged, "step": [1, 2.5, None, True, 2**70, -3], "names": ("a", ("b",)),
        "ints": ng.arange(5), "flags": ng.tensor([True, False]), "half": ng.ones(2).half(), "size": ng.Size((2, 3)), 3: "three",
        "device": ng.device("cpu"), "dtype": ng.float64, "none": ng.zeros(0, 3),
    }  # fmt: skip


def written(kind: str) -> bytes:
    """The file that is changed."""
    stream = io.BytesIO()
    stream.name = "x.safetensors" if kind in ("safetensors", "json") else "x"
    obj = subject()
    if kind in ("zip", "pickle", "legacy"):
        obj |= {"set": {1, 2}, "array": np.arange(4.0), "bytes": b"ab", "z": 1 + 2j}
    ng.save(obj, stream, _use_new_zipfile_serialization=kind != "legacy")
    return stream.getvalue()


_TELLING = [b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80", b"(", b"t", b"R", b"b", b"\x85", b"]", b"}", b"a",
            b"s", b"u", b"e", b"h\x00", b"j\x01\x00\x00\x00", b"Q", b".", b"c__builtin__\nset\n", b"N", b"K\xff", b"0", b"2", b"\x81",
            b"\x91", b"ccollections\nCounter\n", b"-1", b"1e999", b"[", b"{", b"null", b'"']  # fmt: skip


def changed(data: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, replaced, cut off, left out, inserted, doubled or moved."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, way = rng.randrange(len(found) or 1), rng.randrange(8)
        other, size = rng.randrange(len(found) or 1), rng.randrange(1, 40)
        if not found:
            break
        if way == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            found[at] = rng.randrange(256)
        elif way == 2:
            del found[at:]
        elif way == 3:
            del found[at : at + size]
        elif way == 4:
            found[at:at] = rng.choice(_TELLING)
        elif way == 5:
            found[at:at] = found[other : other + size]
        elif way == 6:
            telling = rng.choice(_TELLING)
            found[at : at + len(telling)] = telling
        else:
            found[at : at + size] = found[other : other + size]
    return bytes(found)


def _with_pickle(data: bytes, change) -> bytes:
    """The archive with its pickle changed and its checksums right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, change(body) if name.endswith("data.pkl") else body)
    return out.getvalue()


def _with_header(data: bytes, change) -> bytes:
    """The safetensors file with its header changed and the length of that right."""
    size = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


_VALUES = (None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1.5, "", "x", "w", [], {}, [1], [-1], [2**62], {"a": 1}, "model.w", [[]])


def _replaced(node, rng: random.Random):
    """JSON with one value in it replaced, left out or doubled."""
    here = node
    while True:
        inner = list(here.items()) if isinstance(here, dict) else list(enumerate(here))
        key, value = rng.choice(inner)
        if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
            here = value
            continue
        way = rng.randrange(4)
        if way == 0:
            del here[key]
        elif way == 1 and isinstance(here, list):
            here.append(value)
        elif way == 2 and isinstance(here, dict):
            here[rng.choice(("tensor", "dict", "tuple", "same", "shape", "offset", "number", "x"))] = here.pop(key)
        else:
            here[key] = rng.choice(_VALUES)
        return node


def _with_index(data: bytes, rng: random.Random) -> bytes:
    """The safetensors file with a change in the JSON that says what the object is made of, or where its entries are."""

    def change(text):
        header = json.loads(text)
        if rng.random() < 0.7:
            index = _replaced(json.loads(header["__metadata__"]["numgrad"]), rng)
            header["__metadata__"]["numgrad"] = json.dumps(index)
        else:
            header = _replaced(header, rng)
        return json.dumps(header).encode()

    return _with_header(data, change)


def mutant(kind: str, data: bytes, rng: random.Random) -> bytes:
    """A changed file."""
    if kind == "pickle":
        return _with_pickle(data, lambda body: changed(body, rng))
    if kind == "json":
        return _with_index(data, rng)
    if kind == "safetensors" and rng.random() < 0.7:
        return _with_header(data, lambda body: changed(body, rng))
    return changed(data, rng)


def touch(value, seen=None) -> None:
    """Read the corners of every tensor in an object."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, ng.Tensor):
        if value.numel():
            corner = value.detach()
            for _ in range(value.ndim):
                corner = corner[-1]
            corner.item()
            value.detach()[(0,) * value.ndim].item()
    elif isinstance(value, dict):
        for key, item in value.items():
            touch(key, seen)
            touch(item, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            touch(item, seen)


def outcome(data: bytes) -> str:
    """``loaded`` or ``refused``; AssertionError for anything else."""
    stream = io.BytesIO(data)
    stream.name = "mutant"
    try:
        found = ng.load(stream)
    except FileError as error:
        assert "mutant" in str(error), f"the message does not name the file: {error}"
        return "refused"
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    touch(found)
    return "loaded"


def attempt(kind: str, count: int, seed: int = 0) -> collections.Counter:
    """What became of ``count`` changed files of a format."""
    data, counts = written(kind), collections.Counter()
    for k in range(count):
        body = mutant(kind, data, random.Random(f"{kind} {seed} {k}"))
        try:
            counts[outcome(body)] += 1
        except AssertionError as error:
            raise AssertionError(f"change {k} of {kind}, seed {seed}: {error}") from error
    return counts


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    began = time.perf_counter()
    print(sys.argv[1], dict(attempt(sys.argv[1], int(sys.argv[2]))), f"{time.perf_counter() - began:.0f} s")
