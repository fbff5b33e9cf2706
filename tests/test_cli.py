"""``python -m numgrad``."""

import json
import os
import subprocess
import sys

import pytest

import numgrad
from numgrad import config
from numgrad.__main__ import main


def command(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **{k: str(v) for k, v in variables.items()}}
    return subprocess.run(
        [sys.executable, "-m", "numgrad", *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["numgrad"] == numgrad.__version__
    assert found["versions"]["numba"] and "mkl" in found["versions"]
    assert found["threads"]["count"] == config.get_num_threads()
    assert found["threads"]["layer"] in ("tbb", "omp", "workqueue")
    assert found["blas"]["library"] and found["blas"]["integer_bits"] in (32, 64)
    assert found["cpu"]["cores"] >= 1
    assert found["cuda"]["available"] in (True, False)
    assert set(found["cache"]) == {"folder", "exists", "files", "bytes"}


def test_info_as_text(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert names[:2] == ["numgrad", "python"]
    assert {"cpu", "threads", "blas", "cuda", "cache"} <= set(names)


def test_info_creates_no_folder(tmp_path):
    done = command("info", "--json", NUMGRAD_CACHE_DIR=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cache"] == {
        "folder": str(tmp_path / "cache"), "exists": False, "files": 0, "bytes": 0
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_cache_clear_removes_only_its_own_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NUMGRAD_CACHE_DIR", str(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    own = [tmp_path / "numgrad_exp_0123.py", tmp_path / "__pycache__" / "numgrad_exp_0123.nbi"]
    for path in (*own, tmp_path / "letter.txt"):
        path.write_text("x" * 1024)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 2 files, 2.0 KiB\n"
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: removed 2 files, 2.0 KiB\n"
    assert not any(path.exists() for path in own) and (tmp_path / "letter.txt").exists()


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled in this mode")
def test_warmup_fills_the_cache(tmp_path):
    done = command("warmup", "--jobs", "2", "--only", "sigmoid", NUMGRAD_CACHE_DIR=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "warmup: " in done.stdout and str(tmp_path / "cache") in done.stdout
    assert list((tmp_path / "cache").glob("numgrad_sigmoid_*.py"))


def test_the_usual_ops_exist():
    from numgrad.op import OPS
    from numgrad.warmup import USUAL

    assert [name for name in USUAL if name not in OPS] == []


def test_warmup_of_nothing():
    done = command("warmup", "--only", "no such op")
    assert done.returncode == 2 and "no op's name contains 'no such op'" in done.stderr


def test_no_command():
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
