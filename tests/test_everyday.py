"""Small everyday names: in-place activations, Python functions over elements, `testing.make_tensor`."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F
from numgrad.testing import make_tensor

torch = pytest.importorskip("torch")

ACTIVATIONS = [
    ("relu_", ()), ("leaky_relu_", (0.2,)), ("hardtanh_", (-0.5, 0.5)), ("elu_", (0.7,)), ("selu_", ()), ("celu_", (1.3,)),
    ("threshold_", (0.1, -2.0)), ("rrelu_", (0.1, 0.3, False)),
]  # fmt: skip


@pytest.mark.parametrize("name, arguments", ACTIVATIONS)
def test_activations_overwrite_their_input(name, arguments):
    values = np.linspace(-2, 2, 9, dtype=np.float32)
    found = []
    for library, functions in ((ng, F), (torch, torch.nn.functional)):
        leaf = library.tensor(values, requires_grad=True)
        x = leaf * 1.5
        out = getattr(functions, name)(x, *arguments)
        assert out is x and hasattr(library, name) == hasattr(torch, name)
        out.sum().backward()
        found.append((out.detach().numpy(), leaf.grad.numpy()))
        with pytest.raises(RuntimeError, match="leaf"):
            getattr(functions, name)(leaf, *arguments)
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_python_functions_over_elements():
    x = ng.arange(6).reshape(2, 3)
    turned = x.t()
    assert turned.apply_(lambda v: v * 10 + 1) is turned
    assert x.tolist() == [[1, 11, 21], [31, 41, 51]]
    x.map_(ng.tensor([1, 2, 3]), lambda a, b: a - b)
    assert x.tolist() == [[0, 9, 18], [30, 39, 48]]
    x.map2_(x, ng.tensor(1), lambda a, b, c: a + b + c)
    assert x.tolist() == [[1, 19, 37], [61, 79, 97]]
    half = ng.tensor([0.5, 1.5])
    assert half.apply_(lambda v: v / 2).tolist() == [0.25, 0.75] and half.dtype is ng.float32
    assert ng.zeros(0).apply_(lambda v: 1 / 0).shape == (0,)
    with pytest.raises(RuntimeError, match="requires grad. Use var.detach"):
        ng.zeros(2, requires_grad=True).apply_(abs)
    with pytest.raises(TypeError, match="map_: expected tensors of"):
        half.map_(ng.tensor([1, 2]), max)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "complex64"])
def test_make_tensor_draws_pytorchs_numbers(dtype):
    for options in ({}, {"low": 0.5, "high": 2}, {"noncontiguous": True}, {"low": 0, "high": 2, "exclude_zero": True}):
        ng.manual_seed(2), torch.manual_seed(2)
        ours = make_tensor(3, 4, dtype=getattr(ng, dtype), device="cpu", **options)
        theirs = torch.testing.make_tensor(3, 4, dtype=getattr(torch, dtype), device="cpu", **options)
        assert ours.stride() == theirs.stride() and ours.numpy().dtype == theirs.numpy().dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_make_tensor_speaks_up():
    wide = make_tensor((40,), dtype=ng.float32, device="cpu", low=-1e39, high=1e39, requires_grad=True)
    assert wide.requires_grad and wide.isfinite().all() and wide.detach().abs().max() > 1e38
    for options, text in (
        ({"low": 3, "high": 3}, "must be less than"), ({"low": float("nan")}, "cannot be NaN"),
        ({"requires_grad": True}, "not supported for boolean and integral"), ({"low": 300}, "only supports"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            make_tensor(2, dtype=ng.uint8, device="cpu", **({"high": 400} | options))


def test_former_names_of_initialisers():
    for name in ("uniform", "normal", "constant", "xavier_uniform", "kaiming_normal", "orthogonal", "eye", "dirac", "sparse"):
        values = []
        for library in (ng, torch):
            library.manual_seed(0)
            extra = {"constant": (0.5,), "sparse": (0.3,)}.get(name, ())
            with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
                size = (3, 4, 3) if name == "dirac" else (3, 4)
                values.append(getattr(library.nn.init, name)(library.empty(size), *extra).numpy())
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def test_new():
    x = ng.zeros(2, dtype=ng.float64)
    for found in (x.new(3, 4), x.new((3, 4)[0], 4), x.new(ng.Size([3, 4]))):
        assert found.shape == (3, 4) and found.dtype is ng.float64
    assert x.new([1, 2]).tolist() == [1.0, 2.0] and x.new().shape == (0,) and x.new((7,)).tolist() == [7.0]
    assert x.new(x).data_ptr() == x.data_ptr()
    with pytest.raises(TypeError, match="new: expected a tensor of"):
        x.new(ng.zeros(1))


def test_default_tensor_type():
    try:
        for kind in (ng.DoubleTensor, "torch.DoubleTensor"):
            ng.set_default_tensor_type(kind)
            assert ng.zeros(1).dtype is ng.float64
            ng.set_default_tensor_type("torch.FloatTensor")
            assert ng.zeros(1).dtype is ng.float32 and ng.zeros(1).device == ng.device("cpu")
        for wrong, text in ((ng.LongTensor, "only floating-point"), ("torch.NoTensor", "invalid type"), (3, "invalid type")):
            with pytest.raises(TypeError, match=text):
                ng.set_default_tensor_type(wrong)
    finally:
        ng.set_default_tensor_type(ng.FloatTensor)


def test_weights_by_a_former_name(tmp_path):
    from numgrad.utils import model_zoo

    ng.save({"w": ng.ones(2)}, tmp_path / "weights.pth")
    found = model_zoo.load_url((tmp_path / "weights.pth").as_uri(), model_dir=str(tmp_path / "cache"))
    assert found["w"].tolist() == [1.0, 1.0]


# --- what scripts print and are warned of ----------------------------------------------------------------------------


def test_parts_are_named_after_their_last_step():
    x = ng.ones(2, 3, 4, requires_grad=True)
    names = {
        "Select": [x[0], x[0, 1], x[:, 0], x[0, :], x[..., 0], x[None, 0], x[0:1, 0], x[:, None, 0]],
        "Slice": [x[1:], x[:], x[0, :, 1:], x[0, 0:1], x[:2, :3, 1:]],
        "Unsqueeze": [x[None], x[0, None], x[..., None], x[0, 1:, None]],
        "Alias": [x[...], x[:, :]],
    }
    for name, parts in names.items():
        assert [part.grad_fn.name() for part in parts] == [f"{name}Backward0"] * len(parts)
    x[0, 1:, None].sum().backward()
    assert x.grad.sum() == 8


def test_layout_is_printed_like_pytorchs():
    assert repr(ng.ones(1).layout) == "torch.strided" and ng.ones(1).layout is ng.strided and isinstance(ng.strided, ng.layout)
    assert copy.deepcopy(ng.strided) is pickle.loads(pickle.dumps(ng.strided)) is ng.strided


def test_warnings_of_likely_mistakes(monkeypatch):
    monkeypatch.setattr(ng.config, "_warned", set())
    attention, q = ng.nn.MultiheadAttention(2, 1), ng.ones(2, 1, 2)
    hidden = ng.zeros(1, 2, dtype=ng.bool)
    with pytest.warns(UserWarning, match="requires_grad=True to a scalar"):
        float(ng.ones(1, requires_grad=True))
    with pytest.warns(UserWarning, match="required to pass the indexing argument"):
        assert ng.meshgrid(ng.arange(2), ng.arange(3))[0].shape == (2, 3)
    with pytest.warns(UserWarning, match="`x.T` on tensors of dimension other than 2"):
        ng.ones(1, 2, 3).T  # noqa: B018
    with pytest.warns(UserWarning, match="Support for mismatched key_padding_mask and attn_mask"):
        attention(q, q, q, key_padding_mask=hidden, attn_mask=ng.zeros(2, 2))
    with pytest.warns(UserWarning, match="changed to align_corners=False"):
        F.affine_grid(ng.zeros(1, 2, 3), (1, 1, 2, 2))
    with pytest.warns(UserWarning, match="does not match num_features"):
        ng.nn.InstanceNorm1d(3)(ng.ones(2, 4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        int(ng.ones(1, requires_grad=True)), ng.ones(1, requires_grad=True).item(), ng.ones(2, 2).T, float(ng.ones(1))


def test_absent_members_are_not_expected():
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "bias"'):
        ng.nn.Linear(2, 2, bias=False).load_state_dict(ng.nn.Linear(2, 2).state_dict())
    found = ng.nn.InstanceNorm1d(2).load_state_dict({"running_mean": ng.zeros(2)}, strict=False)
    assert found.unexpected_keys == ["running_mean"]


NODES = (
    "F.mse_loss(x, y)", "F.mse_loss(x, y, reduction='sum')", "F.smooth_l1_loss(x, y)", "F.huber_loss(x, y)", "F.l1_loss(x, y)",
    "F.cross_entropy(x, t)", "F.cross_entropy(x, t, weight=y[0])", "F.nll_loss(x, t)", "F.binary_cross_entropy(x, y)",
    "F.binary_cross_entropy_with_logits(x, y)", "x[None].bmm(x[None])", "x @ x", "x @ x[0]", "x[0] @ x[0]", "x.mv(x[0])",
    "T.addmm(x, x, x)", "x.max()", "x.min()", "x.max(0).values", "2 / x", "F.dropout(x)", "x.tril()", "x.triu()",
    "x.repeat(2, 1)", "x.split(1)[0]", "x.split([1, 1])[0]", "x.chunk(2)[0]", "F.max_pool2d(x[None, None], 2)",
    "F.avg_pool2d(x[None, None], 2)", "F.interpolate(x[None, None], scale_factor=2)", "F.pixel_shuffle(x.view(1, 4, 1, 1), 2)",
    "F.grid_sample(x[None, None], T.zeros(1, 1, 1, 2), align_corners=False)", "F.conv_transpose2d(x[None, None], x[None, None])",
)  # fmt: skip


def test_nodes_have_the_names_of_pytorch():
    torch = pytest.importorskip("torch")
    names = []
    for T in (ng, torch):
        known = {"T": T, "F": T.nn.functional, "x": T.ones(2, 2, requires_grad=True), "y": T.ones(2, 2), "t": T.tensor([0, 1])}
        names.append({text: eval(text, known).grad_fn.name() for text in NODES})
    assert names[0] == names[1]
