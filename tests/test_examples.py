"""The examples do what the README says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numgrad.io

ROOT = Path(__file__).parent.parent


def run(script, *arguments, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_digits(tmp_path):
    printed = run("digits_mlp.py", "--save", "digits.safetensors", "--epochs", "12", folder=tmp_path)
    assert float(re.search(r"test accuracy ([\d.]+)", printed)[1]) >= 0.97
    assert (tmp_path / "digits_mlp.png").read_bytes().startswith(b"\x89PNG")
    assert numgrad.io.load(tmp_path / "digits.safetensors")["layers.0.weight"].shape == (128, 64)


def test_digits_prints_losses(tmp_path):
    printed = run("digits_mlp.py", "--epochs", "1", "--print-losses", "3", folder=tmp_path)
    assert re.findall(r"^step (\d): loss \d\.\d{6}$", printed, re.M) == ["1", "2", "3"]


def test_custom_op(tmp_path):
    printed = run("custom_op.py", folder=tmp_path)
    assert printed.count("first and second derivatives agree") == 2
