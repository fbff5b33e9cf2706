"""The kernel cache: used by the next process, shared by concurrent ones, and never a reason to fail."""

import dis
import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numba
import numpy as np
import pytest

import numgrad
from numgrad import config
from numgrad.kernels import cache, fingerprint as fingerprint_module, jit
from numgrad.kernels.fingerprint import fingerprint

SOURCE = textwrap.dedent("""
    import json, sys, warnings
    import numba.core.compiler as compiler

    compiled = 0
    original = compiler.CompilerBase.compile_extra

    def counted(self, func):
        global compiled
        compiled += 1
        return original(self, func)

    compiler.CompilerBase.compile_extra = counted
    import numgrad as ng

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x = ng.tensor([1.0, 2.0, 3.0], requires_grad=True)
        (x * x).sum().backward()
    print(json.dumps({"grad": x.grad.tolist(), "compiled": compiled, "warnings": [str(w.message) for w in caught]}))
""")

pytestmark = pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled in this mode")


def start(source=SOURCE, *arguments, first_path=None, **variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMGRAD_", "NUMBA_", "XDG_"))}
    path = os.pathsep.join([*([str(first_path)] if first_path else []), *sys.path])
    kept.update(PYTHONPATH=path, **{k: str(v) for k, v in variables.items()})
    command = [sys.executable, "-c", source, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=kept, cwd=first_path, **pipes)


def finish(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    found = json.loads(out)
    assert found["grad"] == [2, 4, 6]
    return found


def test_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "cache"
    first = finish(start(NUMGRAD_CACHE_DIR=folder))
    assert first["compiled"] > 0 and first["warnings"] == []
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.rglob("*"))
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] == 0
    assert sorted(folder.rglob("*")) == files


# --- damage ----------------------------------------------------------------------------------------------------------


def _flip(path, folder):
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(len(data))
    for at in rng.choice(len(data), 3, replace=False):
        data[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))


def _swap(path, folder):
    """What another kernel wrote, whole and under a valid checksum."""
    others = sorted(p for p in folder.glob(f"*{path.suffix}") if p.read_bytes() != path.read_bytes())
    path.write_bytes(others[0].read_bytes())


DAMAGES = {
    "empty": lambda path, folder: path.write_bytes(b""),
    "half": lambda path, folder: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "short": lambda path, folder: path.write_bytes(path.read_bytes()[:-1]),
    "long": lambda path, folder: path.write_bytes(path.read_bytes() + b"\n"),
    "zeros": lambda path, folder: path.write_bytes(bytes(path.stat().st_size)),
    "bits": _flip,
    "other kernel": _swap,
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder that one process has filled."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    finish(start(NUMGRAD_CACHE_DIR=folder))
    return folder


def copied(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_damaged_files_are_made_again(filled, tmp_path):
    """Each file is damaged in another way; none of them is believed, and the next process finds all of them whole."""
    folder = copied(filled, tmp_path)
    sources, compiled = sorted(folder.glob("*.py")), sorted(folder.glob("*.nbc"))
    texts = {path: path.read_bytes() for path in sources}
    assert len(sources) > 3 and len(compiled) > 3
    for paths in (sources, compiled):
        for path, damage in zip(paths, itertools.cycle(DAMAGES.values())):
            damage(path, folder)
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] > 0
    assert {path: path.read_bytes() for path in sources} == texts
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] == 0


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_noticed(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "_cache_folder", tmp_path)
    cache.write("numgrad_a", "key of a", b"machine code")
    cache.write("numgrad_b", "key of b", b"other machine code")
    assert cache.read("numgrad_a", "key of a") == b"machine code"
    damage(tmp_path / "numgrad_a", tmp_path)
    assert cache.read("numgrad_a", "key of a") is None
    assert cache.read("numgrad_none", "key") is None


def test_times_of_files_play_no_part(filled, tmp_path):
    folder = copied(filled, tmp_path)
    for path, moment in zip(sorted(folder.iterdir()), itertools.cycle([0, 2**31, 2**33])):
        os.utime(path, (moment, moment))
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] == 0


# --- many processes, killed processes --------------------------------------------------------------------------------

SMALL = """
import sys, numgrad as ng
x = ng.tensor([1.0]).abs()
assert x.item() == 1.0
"""


def test_eight_first_starts_at_once(tmp_path):
    folder = tmp_path / "cache"
    processes = [start(SMALL, NUMGRAD_CACHE_DIR=folder) for _ in range(8)]
    for process in processes:
        out, error = process.communicate(timeout=240)
        assert process.returncode == 0 and error == "", error
    assert not list(folder.glob("*.tmp"))


def test_a_killed_process_leaves_nothing(tmp_path):
    folder = tmp_path / "cache"
    for seconds in (0.2, 0.7):  # after the first file: while it compiles
        process = start(SMALL, NUMGRAD_CACHE_DIR=folder)
        while process.poll() is None and not list(folder.glob("*.py")):
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    left = folder / f"numgrad_x.py.{cache._HOST}-{process.pid}-0.tmp"  # had it been killed while it wrote
    left.write_bytes(b"half")
    process = start(SMALL, NUMGRAD_CACHE_DIR=folder)
    assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert not list(folder.glob("*.tmp"))


# --- folders that cannot be written ----------------------------------------------------------------------------------

UNWRITABLE = """
import ctypes, os, resource, sys, warnings
import numgrad as ng

if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
elif os.getuid() == 0:  # the superuser may write everywhere: give up the right to (CAP_DAC_OVERRIDE)
    libc, version, rights = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(version, rights) == 0
    rights[0] &= ~(1 << 1)
    assert libc.capset(version, rights) == 0
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert ng.tensor([-1.0, 2.0]).abs().tolist() == [1, 2]
    assert (ng.tensor([-1.0, 2.0]) * 2).tolist() == [-2, 4]
for warning in caught:
    print(warning.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the superuser's rights and limits are set as on Linux")
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_folder_that_cannot_be_written_is_one_warning(state, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    if state == "read-only":
        folder.chmod(0o555)
    process = start(UNWRITABLE, state, NUMGRAD_CACHE_DIR=folder)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert out == "the kernel cache cannot be written; kernels are compiled again in each process\n"
    assert not list(folder.glob("*.tmp")) and not list(folder.glob("*.nbc"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_a_folder_that_can_only_be_read_serves(filled, tmp_path):
    folder = copied(filled, tmp_path)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    found = finish(start(NUMGRAD_CACHE_DIR=folder))
    assert found["compiled"] == 0 and found["warnings"] == []


# --- what code depends on --------------------------------------------------------------------------------------------


def _changed(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


def test_a_change_compiles_only_what_depends_on_it(filled, tmp_path):
    """A change in the kernels of sorting leaves the others alone, as does a comment; one in what they call does not."""
    folder = copied(filled, tmp_path)
    package = Path(shutil.copytree(Path(numgrad.__file__).parent, tmp_path / "changed" / "numgrad"))
    sort, callee = package / "kernels" / "sort.py", package / "kernels" / "jit.py"
    sort.write_text(sort.read_text().replace(" + 1", " + 2"))
    callee.write_text(_changed(callee.read_text(), "    @inlined\n    def integer", "    @inlined  # changed\n\n    def integer"))
    assert finish(start(NUMGRAD_CACHE_DIR=folder, first_path=package.parent))["compiled"] == 0
    callee.write_text(_changed(callee.read_text(), "return operands[k]", "return operands[k] + 0"))
    assert finish(start(NUMGRAD_CACHE_DIR=folder, first_path=package.parent))["compiled"] > 0


def made(text, **names):
    exec(textwrap.dedent(text), names)
    return names["f"]


def _called(text):
    return made(text, __name__="program")


BODY = "def f(x): return g(x) + LIMIT"
CHANGES = {
    "a constant": lambda: made("def f(x): return g(x) + LIMIT + 1", g=_called("def f(x): return x"), LIMIT=2),
    "a global": lambda: made(BODY, g=_called("def f(x): return x"), LIMIT=3),
    "the type of a global": lambda: made(BODY, g=_called("def f(x): return x"), LIMIT=2.0),
    "what is called": lambda: made(BODY, g=_called("def f(x): return -x"), LIMIT=2),
    "a default": lambda: made("def f(x, y=1): return g(x) + LIMIT", g=_called("def f(x): return x"), LIMIT=2),
    "another kind": lambda: made(BODY, g=np.float32, LIMIT=2),
    "flags": lambda: made(BODY, g=numba.njit(fastmath=True)(_called("def f(x): return x")), LIMIT=2),
    "other flags": lambda: made(BODY, g=numba.njit(fastmath={"nsz"})(_called("def f(x): return x")), LIMIT=2),
}


def test_fingerprints_differ():
    prints = {name: fingerprint(make()) for name, make in CHANGES.items()}
    assert len(set(prints.values())) == len(CHANGES)
    assert prints == {name: fingerprint(make()) for name, make in CHANGES.items()}  # and are those of equals


def test_fingerprints_pass_over_what_plays_no_part():
    same = """
        # A comment.
        def f(x):
            \"\"\"A docstring.\"\"\"

            return g(x) + LIMIT
    """
    plain = made(BODY, g=_called("def f(x): return x"), LIMIT=2, other=1)
    assert fingerprint(made(same, g=_called("def f(x): return x"), LIMIT=2, other=2)) == fingerprint(plain)


def test_fingerprints_end():
    names = {"__name__": "program"}
    exec("def f(x): return g(x)\ndef g(x): return f(x) if x else LIMIT", names)
    first = fingerprint(names["f"])
    assert first == fingerprint(names["f"])
    names["LIMIT"] = 1
    assert fingerprint(names["f"]) != first


@pytest.mark.parametrize("fn", [jit.load_module, made, cache._write, fingerprint_module._Walk.add], ids=lambda fn: fn.__name__)
def test_globals_are_read_as_dis_reads_them(fn):
    steps = [s for s in dis.get_instructions(fn) if s.opname != "EXTENDED_ARG"]
    loaded = [s.argval for s in steps if s.opname == "LOAD_GLOBAL"]
    assert [name for name, _ in fingerprint_module._read_globals(fn.__code__)] == loaded
    taken = [(a.argval, b.argval) for a, b in itertools.pairwise(steps)
             if a.opname == "LOAD_GLOBAL" and b.opname in ("LOAD_ATTR", "LOAD_METHOD")]  # fmt: skip
    assert [pair for pair in fingerprint_module._read_globals(fn.__code__) if pair[1]] == taken


# --- folders ---------------------------------------------------------------------------------------------------------


def test_nothing_is_written_into_the_package(tmp_path):
    finish(start(NUMGRAD_CACHE_DIR=tmp_path / "cache"))
    assert list(Path(numgrad.__file__).parent.rglob("*.nb[ic]")) == []


@pytest.mark.parametrize("place", ["NUMGRAD_CACHE_DIR", "HOME"])
def test_an_unusable_place_is_a_warning(place, tmp_path):
    (tmp_path / "file").write_text("")  # no folder can be made in a file, not even by root
    found = finish(start(**{place: tmp_path / "file", "TMPDIR": tmp_path}))
    assert len(found["warnings"]) == 1
    assert "numgrad cannot use the cache folder" in found["warnings"][0]
    assert "Set NUMGRAD_CACHE_DIR to a writable folder of your own" in found["warnings"][0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # the temporary folder is gone


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
def test_a_folder_that_others_may_write_is_refused(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    found = finish(start(NUMGRAD_CACHE_DIR=folder, TMPDIR=tmp_path))
    assert len(found["warnings"]) == 1 and "others may write to it" in found["warnings"][0]
    assert list(folder.iterdir()) == []


def step(batch, features, channels, size):
    """A training step of some layers whose kernels could depend on sizes, if any did."""
    ng, nn = numgrad, numgrad.nn
    image = ng.rand(batch, channels, size, size)
    layers = nn.Sequential(
        nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.LazyLinear(features), nn.LayerNorm(features), nn.GELU(), nn.Dropout(),
    )  # fmt: skip
    steps = layers(image).unsqueeze(0).expand(size, -1, -1)
    out, _ = nn.LSTM(features, features)(steps)
    loss = nn.functional.cross_entropy(out[-1].softmax(1), ng.arange(batch) % features) + out.transpose(0, 1).cumsum(1).amax(2).sum()
    loss.backward()
    ng.optim.Adam(layers.parameters()).step()


def test_kernels_do_not_depend_on_shapes():
    step(4, 5, 3, 8)
    step(2, 33, 4, 20)
    before = list(jit.compiled_kernels)
    for sizes in ((3, 7, 5, 9), (5, 16, 3, 13), (2, 40, 6, 21)):
        step(*sizes)
    assert jit.compiled_kernels[len(before) :] == []
