"""Tensors on the meta device: shapes, dtypes, strides and errors as on the CPU, without memory."""

import copy
import io
import pickle

import pytest

import numgrad as ng
from numgrad import nn
from numgrad.kernels import cpu, cuda, meta
from numgrad.op import OPS
from numgrad.testing import cases_for

TABLED = [op for op in OPS.values() if op.form in ("pointwise", "reduction", "rowwise")]


def without_memory(tensor):
    """A meta tensor that is described as ``tensor`` is."""
    return ng.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta", requires_grad=tensor.requires_grad)


def described(found):
    """What is known of results without their values."""
    found = found if isinstance(found, (tuple, list)) else (found,)
    return [None if x is None else (x.dtype, x.shape, x.stride(), x.requires_grad) for x in found]


def agree(fn, *tensors):
    """``fn`` gives what it gives on the CPU but for the values, and so do the gradients."""
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in tensors]
    bare = [without_memory(x) for x in leaves]
    expected, found = fn(*leaves), fn(*bare)
    assert described(found) == described(expected)
    expected, found = ([x for x in (r if isinstance(r, (tuple, list)) else (r,)) if x.requires_grad] for r in (expected, found))
    assert all(x.is_meta for x in found)
    if expected:
        for results in (expected, found):
            sum(x.abs().sum() for x in results).backward()
        assert described([x.grad for x in bare]) == described([x.grad for x in leaves])


@pytest.mark.parametrize("op", TABLED, ids=lambda op: op.name)
def test_an_op_of_the_table_is_planned(op):
    for case in cases_for(op, ng.float32):
        inputs = [without_memory(x) for x in case.leaves()]
        found = case.run(*inputs)
        assert [entry[:3] for entry in described(found)] == [entry[:3] for entry in described(case.run(*case.inputs))], case
        assert all(x.is_meta for x in (found if isinstance(found, tuple) else (found,)))


x, y = ng.randn(4, 6), ng.randn(4, 6)
image = ng.randn(2, 4, 8, 8)
square = ng.eye(4) * 3 + 0.1
places = ng.tensor([[0, 2, 1, 3, 2, 0]])


@pytest.mark.parametrize(("name", "call"), {
    "matmul": lambda: agree(lambda a, b: a @ b.T, x, y),
    "cat": lambda: agree(lambda a, b: ng.cat((a, b), 1), x, y),
    "views": lambda: agree(lambda a: a[1:, ::2].T.unsqueeze(0).expand(3, -1, -1), x),
    "as_strided": lambda: agree(lambda a: a.as_strided((2, 3), (1, 2), 1), x),
    "sort": lambda: agree(lambda a: ng.sort(a, dim=0, descending=True), x),
    "topk": lambda: agree(lambda a: a.topk(2), x),
    "gather": lambda: agree(lambda a: a.gather(0, without_memory(places) if a.is_meta else places), x),
    "take rows": lambda: agree(lambda a: a[without_memory(places[0]) if a.is_meta else places[0]], x),
    "cumprod": lambda: agree(lambda a: a.cumprod(1), x),
    "masked_scatter": lambda: agree(lambda a, b: a.masked_scatter(a > 0, b), x, y),
    "conv2d": lambda: agree(nn.functional.conv2d, image, ng.randn(3, 4, 3, 3), ng.randn(3)),
    "conv2d channels_last": lambda: agree(nn.functional.conv2d, image.contiguous(memory_format=ng.channels_last), ng.randn(3, 4, 3, 3)),
    "conv_transpose2d": lambda: agree(nn.functional.conv_transpose2d, image, ng.randn(4, 3, 3, 3)),
    "max_pool2d": lambda: agree(lambda a: nn.functional.max_pool2d(a, 2), image),
    "interpolate": lambda: agree(lambda a: nn.functional.interpolate(a, scale_factor=2, mode="bilinear"), image),
    "softmax of columns": lambda: agree(lambda a: a.softmax(1), image),
    "cross_entropy": lambda: agree(lambda a: nn.functional.cross_entropy(a, ng.zeros(4, dtype=ng.int64, device=a.device)), x),
    "batch_norm": lambda: agree(lambda a: nn.BatchNorm2d(4, device=a.device)(a), image),
    "attention": lambda: agree(lambda q: nn.functional.scaled_dot_product_attention(q, q, q), image),
    "einsum": lambda: agree(lambda a, b: ng.einsum("ij,kj->ik", a, b), x, y),
    "dropout": lambda: agree(nn.functional.dropout, x),
    "half": lambda: agree(lambda a: ng.exp(a.bfloat16()) * a.half(), x),
    "complex": lambda: agree(lambda a: ng.view_as_real(ng.complex(a, a) * 2j), x),
    "inv": lambda: agree(ng.linalg.inv, square),
    "svd": lambda: agree(lambda a: ng.linalg.svd(a, full_matrices=False), x),
    "cholesky": lambda: agree(ng.linalg.cholesky, square),
    "lu_factor": lambda: agree(ng.linalg.lu_factor, square),
    "fft": lambda: agree(lambda a: ng.fft.irfft(ng.fft.rfft(a)), x),
    "stft": lambda: agree(lambda a: ng.view_as_real(ng.stft(a, 4, window=ng.ones(4, device=a.device), return_complex=True)), x),
    "double backward": lambda: agree(lambda a: ng.autograd.grad((a**3).sum(), a, create_graph=True)[0], x),
    "vmap": lambda: agree(lambda a: ng.func.vmap(lambda row: row.sin() * row.sum())(a), x),
}.items(), ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_shapes_are_those_of_the_cpu(name, call):
    call()


def test_backends_have_the_same_names():
    assert {*cpu.__all__} <= {*meta.__all__} & {*cuda.__all__}


def test_no_memory_is_taken_and_nothing_is_drawn():
    ng.manual_seed(3)
    expected = ng.get_rng_state()
    huge = ng.randn(1 << 20, 1 << 20, device="meta")  # 4 TiB
    assert (huge @ huge + 1).softmax(0).shape == huge.shape
    assert huge.nbytes == 1 << 42 and huge.data_ptr() == 0 and huge[3:].storage_offset() == 3 << 20
    layer = nn.Linear(1 << 20, 1 << 19, device="meta")
    assert layer.weight.is_meta and (ng.get_rng_state() == expected).all()


def test_what_depends_on_values_is_an_error():
    bare = ng.ones(3, 4, device="meta")
    for fn in (ng.nonzero, ng.unique, lambda t: t[t > 0], lambda t: t.cpu(), ng.Tensor.tolist):
        with pytest.raises(NotImplementedError, match="no data|depends on the values"):
            fn(bare)
    for fn in (lambda t: t.sum().item(), lambda t: bool(t.sum()), lambda t: float(t[0, 0]), lambda t: ng.allclose(t, t)):
        with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
            fn(bare)
    with pytest.raises(NotImplementedError, match="no data"):
        ng.ones(3, 4).copy_(bare)
    with pytest.raises(RuntimeError, match="same device"):
        bare + ng.ones(3, 4)
    with pytest.raises(TypeError, match="numpy"):
        bare.numpy()
    with pytest.raises(RuntimeError, match="shape"):  # what is found from shapes is found as ever
        bare @ bare


def test_text():
    assert repr(ng.ones(2, 3, device="meta")) == "tensor(..., device='meta', size=(2, 3))"
    assert repr(ng.ones(2, dtype=ng.int64, device="meta")) == "tensor(..., device='meta', size=(2,), dtype=torch.int64)"


def test_modules_are_built_without_memory_and_filled_later():
    with ng.device("meta"):
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.LSTM(3, 2))
    assert all(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert model(ng.empty(5, 4, device="meta"))[0].shape == (5, 2)
    with pytest.raises(NotImplementedError, match="to_empty"):
        model.to("cpu")
    trained = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.LSTM(3, 2))
    with pytest.warns(UserWarning, match="copying from a non-meta parameter in the checkpoint to a meta parameter"):
        model.load_state_dict(trained.state_dict())
    assert model[0].weight.is_meta
    model.load_state_dict(trained.state_dict(), assign=True)
    assert model[0].weight.data_ptr() == trained[0].weight.data_ptr() and isinstance(model[0].weight, nn.Parameter)
    data = ng.randn(5, 4)
    assert ng.equal(model.eval()(data)[0], trained.eval()(data)[0])
    emptied = copy.deepcopy(trained).to("meta").to_empty(device="cpu")
    assert emptied[0].weight.shape == (3, 4) and not emptied[0].weight.is_meta
    emptied.load_state_dict(trained.state_dict())
    assert ng.equal(emptied.eval()(data)[0], trained(data)[0])


def test_optimizers_step_over_nothing():
    layer = nn.Linear(4, 3, device="meta")
    for kind in (ng.optim.SGD, ng.optim.Adam, ng.optim.RMSprop):
        optimizer = kind(layer.parameters(), lr=0.1)
        layer(ng.ones(2, 4, device="meta")).sum().backward()
        optimizer.step()
        assert layer.weight.grad.is_meta and layer.weight.is_meta


@pytest.mark.parametrize("weights_only", (True, False))
def test_files_keep_what_a_meta_tensor_is(weights_only):
    given = {"t": ng.empty(20000, 300000, dtype=ng.bfloat16, device="meta").T, "p": nn.Parameter(ng.empty(3, device="meta"))}
    file = io.BytesIO()
    ng.save(given, file)
    assert len(file.getvalue()) < 4096
    file.seek(0)
    for found in (ng.load(file, weights_only=weights_only), pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
        assert described(list(found.values())) == described(list(given.values()))
        assert type(found["p"]) is nn.Parameter and found["t"].is_meta
    file = io.BytesIO()
    ng.save({"x": ng.ones(3)}, file)
    file.seek(0)
    assert ng.load(file, map_location="meta")["x"].is_meta
