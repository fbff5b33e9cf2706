"""What the tests that compare whole families with PyTorch share: calls are written once, as functions of the library
``T``, and run with both; results, errors, first and second derivatives have to agree."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")
from test_torch_parity import ACCURACY, assert_same, assert_same_derivatives, both, derivatives  # noqa: E402

ERRORS = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, BufferError,
          AssertionError)  # fmt: skip


def table(calls):
    """Parametrizes a test over the values of a dict, named by its keys."""
    return pytest.mark.parametrize("call", list(calls.values()), ids=list(calls))


def outcome(call, T):
    """What the call gives, or the type of the error that it raises."""
    try:
        return call(T)
    except ERRORS as error:
        return type(error)


def assert_agree(call):
    """Both libraries give the same result, or raise the same kind of error."""
    ours, theirs = both(lambda T: outcome(call, T))
    if isinstance(ours, type) or isinstance(theirs, type):
        assert isinstance(ours, type) and isinstance(theirs, type) and _fits(ours, theirs), f"{ours} against {theirs}"
    else:
        assert_same(ours, theirs)


def _fits(ours, theirs):
    return issubclass(ours, theirs) or ours is RuntimeError and theirs is NotImplementedError


def grid(T, *shape, dtype=None, requires_grad=False):
    """0, 1, 2, ... in ``shape``."""
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    found = T.from_numpy(values)
    found = found if dtype is None else found.to(dtype)
    return found.requires_grad_() if requires_grad else found


def strided(T, shape, seed, kind="float32"):
    """(tensor of that shape in some order of strides with gaps, the tensor that it is a view of), the same values in
    both libraries, no two equal."""
    rng = np.random.default_rng([seed, *shape])
    order = rng.permutation(len(shape))
    grown = [2 * shape[k] + 1 for k in order]
    count = int(np.prod(grown))
    values = rng.permutation(count) - count // 2
    values = values * (8.0 / count) + 0.01 if kind.startswith("float") else np.abs(values) % 7
    base = x = T.from_numpy(values.reshape(grown).astype(kind))
    for axis, k in enumerate(order):
        start, step = [(0, 1), (1, 1), (0, 2), (1, 2)][int(rng.integers(4))]
        x = x[(slice(None),) * axis + (slice(start, start + step * shape[k], step),)]
    return (x.permute([int(k) for k in np.argsort(order)]) if len(shape) else x), base


def assert_agree_on_values(call, shapes, kind):
    """``call(T, tensors...)`` agrees for contiguous and strided tensors of one dtype, where PyTorch has such a kernel."""
    for seed in range(2):

        def run(T):
            given = [strided(T, shape, seed + k, kind)[0] for k, shape in enumerate(shapes)]
            return call(T, *[x.contiguous() if seed == 0 else x for x in given])

        try:
            theirs = run(torch)
        except (RuntimeError, TypeError) as error:
            assert kind not in ("float32", "float64"), error
            continue
        assert_same(run(ng), theirs)


def assert_agree_on_derivatives(call, shapes, seed, kind="float64"):
    """Values, who requires grad, first and second derivatives agree; odd seeds: with respect to strided views."""

    def run(T):
        leaves, given = [], []
        for k, shape in enumerate(shapes):
            x, base = strided(T, shape, seed + k, kind)
            leaf = (base if seed % 2 else x.contiguous()).detach().requires_grad_()
            leaves.append(leaf)
            given.append(leaf.as_strided(tuple(x.shape), x.stride(), x.storage_offset()) if seed % 2 else leaf)
        results = call(T, *given)
        flat = tuple(results) if isinstance(results, (tuple, list)) else (results,)
        total = [(r * (r.detach().cos() + 0.5)).sum() + (r * r).sum() for r in flat if r.requires_grad]
        found = derivatives(T.autograd.grad, lambda *leaves: sum(total), leaves, None) if total else None
        return flat, [r.requires_grad for r in flat], found

    (ours, recorded, found), (theirs, theirs_recorded, expected) = both(run)
    assert_same(ours, theirs, 10 * ACCURACY[kind])
    assert recorded == theirs_recorded
    if expected is not None:
        assert_same_derivatives(found, expected, 50 * ACCURACY[kind])
