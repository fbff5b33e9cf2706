"""Masked reductions and normalisations beside PyTorch's."""

import math

import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

from agreement import assert_agree, grid  # noqa: E402

MASKS = {
    "none": lambda T, shape: None,
    "some": lambda T, shape: T.arange(math.prod(shape)).reshape(shape) % 3 != 1,
    "nothing": lambda T, shape: T.zeros(shape, dtype=T.bool),
}
REDUCTIONS = ["sum", "prod", "amax", "amin", "mean", "logsumexp", "norm", "var", "std"]
SCANS = ["cumsum", "cumprod", "softmax", "log_softmax", "softmin", "argmax", "argmin", "median"]


def call(T, name, x, *args, **options):
    return getattr(T.masked, name)(x, *args, **options)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors", "ignore:Degrees of freedom", "ignore:std")
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dim", [None, 1, (0, 2), ()], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dim, mask):
    def reduced(T):
        x = grid(T, 2, 3, 4)
        kept = {"mask": mask(T, (2, 3, 4))}
        args = (2.0, dim) if name == "norm" else (dim,)
        return call(T, name, x, *args, **kept), call(T, name, x, *args, **kept, keepdim=True)

    assert_agree(reduced)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", SCANS)
def test_along_a_dimension(name, dim, mask):
    assert_agree(lambda T: call(T, name, grid(T, 3, 4), dim, mask=mask(T, (3, 4))))


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "mean", "var", "argmax"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "int32"])
def test_integers(name, kind):
    def reduced(T):
        x = T.tensor([[1, 2, 3], [4, 5, 6]]).to(getattr(T, kind))
        return call(T, name, x, 1, mask=MASKS["some"](T, (2, 3)))

    if (name, kind) in [("amax", "bool"), ("amin", "bool"), ("argmax", "bool"), ("var", "bool")] or name == "mean":
        with pytest.raises((ValueError, RuntimeError, NotImplementedError)):
            reduced(ng)
    else:
        assert_agree(reduced)


def test_others():
    assert_agree(lambda T: T.masked.normalize(grid(T, 3, 4), 2.0, 1, mask=MASKS["some"](T, (3, 4))))
    assert_agree(lambda T: T.masked.logaddexp(grid(T, 3), grid(T, 3) + 1, input_mask=T.tensor([True, False, False]),
                                              other_mask=T.tensor([True, True, False])))  # fmt: skip
    assert_agree(lambda T: T.masked.sum(grid(T, 2, 3), 1, mask=T.tensor([True, False, True]), dtype=T.float64))


def test_gradients_reach_only_what_takes_part():
    x = ng.arange(4.0).requires_grad_()
    mask = ng.tensor([True, False, True, True])
    ng.masked.mean(x, mask=mask).backward()
    assert ng.allclose(x.grad, ng.tensor([1 / 3, 0, 1 / 3, 1 / 3]))


def test_refused():
    x = ng.ones(2, 3)
    with pytest.raises(IndexError, match="dimensionality higher"):
        ng.masked.sum(x, mask=ng.ones(1, 2, 3))
    with pytest.raises(RuntimeError, match="twice"):
        ng.masked.sum(x, (0, -2))
    with pytest.raises(ValueError, match="unbiased or correction"):
        ng.masked.var(x, 0, True, correction=1)


def test_masks_of_numbers_and_results_of_complex_numbers():
    def found(T):
        x, mask = T.tensor([[1 + 2j, 3.0, 0.5j], [2.0, 1j, -1.0]]), T.tensor([[2, 0, 1], [0, 0, 1]])
        ops = T.masked
        return [ops.sum(x, 1, mask=mask), ops.var(x, 1, mask=mask[:1]), ops.normalize(x[0, 0], 2.0, 0), ops.std(x.real.half(), 0)]

    assert_agree(found)


@pytest.mark.parametrize("name", [*REDUCTIONS, *SCANS])
def test_where_results_are_of_elements_that_take_part(name):
    def found(T):
        mask = T.tensor([[True, False, True], [False] * 3])
        args = (2.0, 1) if name == "norm" else (1,)
        return T.masked._output_mask(getattr(T.masked, name), T.ones(2, 3), *args, mask=mask)

    assert_agree(found)
