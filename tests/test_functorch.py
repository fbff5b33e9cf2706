"""The package ``functorch`` that PyTorch brings: its functions warn and are those of `func`; modules as functions."""

import subprocess
import sys

import pytest

import numgrad as ng
from numgrad import functorch
from numgrad.functorch.experimental import chunk_vmap

ARGUMENTS = {"vmap": (ng.ones(3),), "grad": (ng.tensor(2.0),), "grad_and_value": (ng.tensor(2.0),), "jacrev": (ng.ones(3),),
             "jacfwd": (ng.ones(3),), "hessian": (ng.tensor(2.0),)}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_old_names_warn(name):
    new = "torch.vmap" if name == "vmap" else f"torch.func.{name}"
    with pytest.warns(FutureWarning, match=f"functorch.{name}.*Please use `{new}`"):
        old = getattr(functorch, name)(ng.sin)
    found, expected = old(*ARGUMENTS[name]), getattr(ng.func, name)(ng.sin)(*ARGUMENTS[name])
    assert ng.utils._pytree.tree_all(bool, ng.utils._pytree.tree_map(ng.equal, found, expected))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_modules_as_functions():
    class Net(ng.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.again = ng.nn.Linear(3, 3)
            self.register_buffer("shift", ng.ones(3))

        def forward(self, x, scale=1.0):
            return self.again(self.first(x)) * scale + self.shift

    net, x = Net(), ng.ones(2, 3)
    call, params, buffers = functorch.make_functional_with_buffers(net)
    assert len(params) == 2 and len(buffers) == 1 and params[0] is not net.first.weight
    assert ng.equal(call(params, buffers, x, scale=2.0), net(x, scale=2.0))
    zeros = [ng.zeros_like(param) for param in params]
    assert call(zeros, (ng.full((3,), 5.0),), x).tolist() == [[5.0] * 3] * 2 and ng.equal(call(params, buffers, x), net(x))
    with pytest.raises(RuntimeError, match="expected 2 tensors, for first.weight, first.bias; got 1"):
        call(params[:1], buffers, x)
    with pytest.raises(RuntimeError, match="has buffers"):
        functorch.make_functional(net)
    linear = ng.nn.Linear(3, 1)
    call, params = functorch.make_functional(linear, disable_autograd_tracking=True)
    assert not any(param.requires_grad for param in params)
    slopes = ng.func.grad(lambda params, x: call(params, x).sum())(params, x)
    assert slopes[0].tolist() == [[2.0] * 3] and slopes[1].tolist() == [2.0] and linear.weight.grad is None
    nets = [Net(), Net()]
    call, params, buffers = functorch.combine_state_for_ensemble(nets)
    found = ng.vmap(call, in_dims=(0, 0, None))(params, buffers, x)
    ng.testing.assert_close(found, ng.stack([net(x) for net in nets]))


def test_pieces_of_a_batch():
    x, seen = ng.arange(5.0), []

    def doubled(row):
        seen.append(1)
        return row * 2

    for chunks, calls in ((1, 1), (2, 2), (3, 3), (9, 5)):
        seen.clear()
        assert chunk_vmap(doubled, chunks=chunks)(x).tolist() == [0, 2, 4, 6, 8] and len(seen) == calls
    with pytest.raises(ValueError, match="greater than 0"):
        chunk_vmap(doubled, chunks=0)


def test_without_slices():
    switch = ng._C._functorch
    assert switch._is_vmap_fallback_enabled()
    switch._set_vmap_fallback_enabled(False)
    try:
        assert ng.vmap(ng.sin)(ng.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
        with pytest.raises(RuntimeError, match="Batching rule not implemented for bucketize"):
            ng.vmap(lambda x: ng.bucketize(x, ng.tensor([0.5])))(ng.ones(2, 3))
    finally:
        switch._set_vmap_fallback_enabled(True)


def test_as_torch_brings_it():
    program = (
        "import numgrad; numgrad.as_torch(); import functorch, torch; from functorch.experimental import chunk_vmap; "
        "from torch._functorch.make_functional import make_functional; from torch._functorch.eager_transforms import jvp; "
        "assert functorch.__name__ == 'numgrad.functorch' and make_functional and jvp and chunk_vmap"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_vmap_says_what_is_computed_slice_by_slice():
    before = ng._C._debug_only_are_vmap_fallback_warnings_enabled()
    ng._C._debug_only_display_vmap_fallback_warnings(True)
    try:
        with pytest.warns(UserWarning, match="no batching rule for .*slice by slice"):
            ng.vmap(lambda x: ng.bucketize(x, ng.tensor([0.5])))(ng.ones(2, 3))
    finally:
        ng._C._debug_only_display_vmap_fallback_warnings(before)
