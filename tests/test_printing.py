"""The text of tensors is PyTorch's."""

import numpy as np
import pytest

from numgrad import dtypes
from numgrad.printing import get_printoptions, set_printoptions, tensor_text

DTYPES = [d.name for d in dtypes.ALL if not d.encoded]


@pytest.fixture(autouse=True)
def restored_options():
    yield
    set_printoptions(profile="default")


def text(array, *suffixes):
    array = np.asarray(array)
    return tensor_text(array, array.dtype.name, list(suffixes))


LITERAL = [
    (np.float32(3), "tensor(3.)"),
    (np.array([1.5, -2.25], np.float32), "tensor([ 1.5000, -2.2500])"),
    (np.array([0.0, -0.0, 1.0], np.float32), "tensor([0., -0., 1.])"),
    (np.array([np.nan, np.inf, -np.inf], np.float32), "tensor([nan, inf, -inf])"),
    (np.array([1e-8, 1.0], np.float32), "tensor([1.0000e-08, 1.0000e+00])"),
    (np.array([[1, 2], [30, 4]]), "tensor([[ 1,  2],\n        [30,  4]])"),
    (np.array([[1, 2]], np.uint8), "tensor([[1, 2]], dtype=torch.uint8)"),
    (np.array([True, False]), "tensor([ True, False])"),
    (np.array([1.0]), "tensor([1.], dtype=torch.float64)"),
    (np.empty(0, np.float32), "tensor([])"),
    (np.empty((0, 3), np.int64), "tensor([], size=(0, 3), dtype=torch.int64)"),
    (np.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
]


@pytest.mark.parametrize("array, expected", LITERAL, ids=[expected[:24] for _, expected in LITERAL])
def test_literal(array, expected):
    assert text(array) == expected


def test_suffixes_stand_after_the_dtype_and_the_device_before_it():
    array = np.ones(2)
    assert text(array, "device='cuda:0'", "requires_grad=True") == (
        "tensor([1., 1.], device='cuda:0', dtype=torch.float64, requires_grad=True)"
    )
    row = np.arange(10, dtype=np.float32) + 0.5
    assert text(row, "grad_fn=<MulBackward0>") == (
        "tensor([0.5000, 1.5000, 2.5000, 3.5000, 4.5000, 5.5000, 6.5000, 7.5000, 8.5000,\n"
        "        9.5000], grad_fn=<MulBackward0>)"
    )


def test_indent_moves_the_following_lines():
    assert tensor_text(np.eye(2, dtype=np.float32), "float32", [], indent=2) == (
        "tensor([[1., 0.],\n          [0., 1.]])"
    )


def test_default_dtype_is_not_named():
    dtypes.set_default_dtype(dtypes.float64)
    try:
        assert text(np.ones(1)) == "tensor([1.])"
        assert text(np.ones(1, np.float32)) == "tensor([1.], dtype=torch.float32)"
    finally:
        dtypes.set_default_dtype(dtypes.float32)


def test_options():
    set_printoptions(precision=2, linewidth=20)
    assert text(np.array([1.125, 2.5, 3.5], np.float32)) == "tensor([1.12, 2.50,\n        3.50])"
    assert get_printoptions()["precision"] == 2
    set_printoptions(profile="short", sci_mode=True)
    assert text(np.array([1.5], np.float32)) == "tensor([1.50e+00])"
    assert get_printoptions() == {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": True}
    with pytest.raises(ValueError, match="profile must be one of default, short, full"):
        set_printoptions(profile="long")


def random_array(rng, dtype):
    """Values of every kind of magnitude that changes the notation, in shapes of 0 to 4 dimensions."""
    if dtype.startswith("complex"):
        real = random_array(rng, "float32" if dtype == "complex64" else "float64")
        array = np.empty(real.shape, dtype)
        array.real, array.imag = real, rng.permutation(real.reshape(-1)).reshape(real.shape)
        return array
    shape = tuple(int(rng.choice([0, 1, 2, 3, 5, 7, 12, 40], p=[0.03, 0.2, 0.2, 0.2, 0.1, 0.12, 0.1, 0.05]))
                  for _ in range(rng.integers(0, 5)))  # fmt: skip
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if not dtype.startswith("float"):
        info = np.iinfo(dtype)
        bound = int(rng.choice([3, 100, info.max]))
        return rng.integers(max(info.min, -bound), min(info.max, bound), size=shape, dtype=dtype, endpoint=True)
    array = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 10)
    kind = rng.integers(0, 6)
    if kind == 0:
        array = np.trunc(array)
    elif kind == 1:
        array = array * 10.0 ** rng.integers(-4, 4, size=shape)
    elif kind == 2:
        array = rng.integers(-9, 9, size=shape).astype(np.float64)
    with np.errstate(over="ignore"):
        array = np.asarray(array, dtype)
    if rng.random() < 0.3:
        special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf], dtype)
        array = np.where(rng.random(shape) < 0.3, rng.choice(special, size=shape), array)
    return array


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_to_torch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(20)
    for _ in range(60):
        array = random_array(rng, dtype)
        options = {}
        if rng.random() < 0.3:
            options = {"precision": int(rng.integers(0, 7)), "edgeitems": int(rng.integers(1, 5)),
                       "threshold": int(rng.choice([5, 100, 1000])), "linewidth": int(rng.choice([30, 80, 120])),
                       "sci_mode": [None, True, False][rng.integers(3)]}  # fmt: skip
        set_printoptions(profile="default")
        torch.set_printoptions(profile="default")
        set_printoptions(**options)
        torch.set_printoptions(**options)
        tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        try:
            assert text(array) == repr(tensor), (array.shape, options)
            if dtype.startswith("float"):
                leaf = tensor.clone().requires_grad_()
                assert text(array, "requires_grad=True") == repr(leaf)
                assert text(array, "grad_fn=<MulBackward0>") == repr(leaf * 1)
        finally:
            torch.set_printoptions(profile="default")
