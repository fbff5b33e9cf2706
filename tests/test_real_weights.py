"""Weights that others trained and packaged are read without PyTorch, and the models give what PyTorch gives."""

import numpy as np
from test_examples import ROOT, run_script, with_torch


def test_convolutional_and_recurrent_models(weights, tmp_path):
    script = ROOT / "tests" / "real_weights.py"
    assert run_script(script, weights, tmp_path / "ours.npz", folder=tmp_path) == "without PyTorch\n"
    ours = np.load(tmp_path / "ours.npz")
    for size in ("tiny", "full"):
        cents = 1997.3794 + 20 * ours[f"pitch_{size}"].argmax(1)
        hertz = 10 * 2 ** (cents / 1200)
        assert np.abs(1200 * np.log2(hertz / [110, 440, 880])).max() <= 20

    printed = run_script(with_torch(script, tmp_path), weights, tmp_path / "theirs.npz", folder=tmp_path)
    assert printed == "with PyTorch\n"
    theirs = np.load(tmp_path / "theirs.npz")
    assert set(ours) == set(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)
