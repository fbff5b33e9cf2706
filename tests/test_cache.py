"""The kernel cache: used by the next process, shared by concurrent ones, and never a reason to fail."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import numgrad
from numgrad.kernels import jit

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


def start(**variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMGRAD_", "NUMBA_", "XDG_"))}
    kept.update(PYTHONPATH=os.pathsep.join(sys.path), **{k: str(v) for k, v in variables.items()})
    command = [sys.executable, "-c", SOURCE]
    return subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
    assert [p for p in sorted(folder.rglob("*")) if p.suffix != ".pyc"] == [p for p in files if p.suffix != ".pyc"]


def test_two_first_starts_at_once(tmp_path):
    for found in [finish(process) for process in [start(NUMGRAD_CACHE_DIR=tmp_path / "cache") for _ in range(2)]]:
        assert found["warnings"] == []
    assert finish(start(NUMGRAD_CACHE_DIR=tmp_path / "cache"))["compiled"] == 0
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_truncated_files_are_compiled_again(tmp_path):
    folder = tmp_path / "cache"
    finish(start(NUMGRAD_CACHE_DIR=folder))
    damaged = [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] > 0
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] == 0


def test_empty_files_are_compiled_again(tmp_path):
    folder = tmp_path / "cache"
    finish(start(NUMGRAD_CACHE_DIR=folder))
    for path in folder.rglob("*"):
        if path.suffix == ".nbc":
            path.write_bytes(b"")
    assert finish(start(NUMGRAD_CACHE_DIR=folder))["compiled"] > 0


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
