"""Fake quantization, observers and quantization-aware training, compared with PyTorch."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest

import numgrad as ng

INF, NAN = float("inf"), float("nan")
FORMS = ["per_tensor_affine", "per_tensor_symmetric"]
CHANNEL_FORMS = ["per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams"]
SPREAD = np.concatenate([[NAN, 0.25, 0.35, -0.05, -0.0, 12.74, 12.76, 1e20, -1e20], np.linspace(-15, 15, 21)]).astype("float32")

pytestmark = pytest.mark.filterwarnings("ignore:Please use quant_min")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def same(ours, theirs, exact=True):
    """Two tensors, numbers, or tuples of them, of equal dtype and values."""
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, exact)
        return
    assert str(ours.dtype) == str(theirs.dtype)
    a, b = ours.detach().double().numpy(), theirs.detach().double().numpy()
    np.testing.assert_array_equal(a, b) if exact else np.testing.assert_allclose(a, b, rtol=1e-6)


def quantized(T, kind, zero_point, dtype="float32"):
    """Results and gradients of the three calls there are, for the same values."""
    x = T.from_numpy(SPREAD.copy()).to(getattr(T, dtype)).requires_grad_()
    if kind == "numbers":
        y = T.fake_quantize_per_tensor_affine(x, 0.1, zero_point, -128, 127)
    elif kind == "tensors":
        y = T.fake_quantize_per_tensor_affine(x, T.tensor([0.1]), T.tensor([zero_point], dtype=T.int32), -128, 127)
    else:
        rows = x.nan_to_num(0.0).clamp(-1e6, 1e6).reshape(3, -1)  # what lies beyond 64 bits is undefined in PyTorch here
        points = T.tensor([zero_point, 0, -zero_point], dtype=getattr(T, kind))
        y = T.fake_quantize_per_channel_affine(rows, T.tensor([0.1, 0.3, 0.02]), points, 0, -128, 127)
    (y * (T.arange(y.numel()) + 1).reshape(y.shape).to(y.dtype)).sum().backward()
    return (y, x.grad), y.grad_fn.name()


@pytest.mark.parametrize("zero_point", [0, 3])
@pytest.mark.parametrize("kind", ["numbers", "tensors", "int32", "float32"])
def test_fake_quantize(torch, kind, zero_point):
    ours, theirs = quantized(ng, kind, zero_point), quantized(torch, kind, zero_point)
    same(ours[0], theirs[0])
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_are_quantized_with_scales_of_single_precision(torch, dtype):
    same(quantized(ng, "numbers", 1, dtype)[0], quantized(torch, "numbers", 1, dtype)[0])


def test_infinite_values_are_beyond_the_range():
    x = ng.tensor([[INF, -INF]], requires_grad=True)
    y = ng.fake_quantize_per_channel_affine(x, ng.tensor([0.5]), ng.tensor([0], dtype=ng.int32), 0, 0, 255)
    y.sum().backward()
    assert y.tolist() == [[127.5, 0.0]] and x.grad.tolist() == [[0.0, 0.0]]


def test_fake_quantize_has_second_derivatives_and_vmap():
    x = ng.tensor([0.3, -0.7, 40.0], requires_grad=True)
    y = ng.fake_quantize_per_tensor_affine(x * x, 0.1, 0, -128, 127)
    (first,) = ng.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = ng.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), [2.0, 2.0, 0.0])
    mapped = ng.vmap(lambda row: ng.fake_quantize_per_tensor_affine(row, 0.1, 0, -128, 127))(x.detach()[:, None])
    assert mapped.squeeze(1).tolist() == ng.fake_quantize_per_tensor_affine(x.detach(), 0.1, 0, -128, 127).tolist()


def per_tensor(T, scale=0.1, zero_point=0, quant_min=-128, quant_max=127, dtype="float32"):
    return T.fake_quantize_per_tensor_affine(T.ones(3).to(getattr(T, dtype)), scale, zero_point, quant_min, quant_max)


def per_channel(T, scale=(0.1, 0.2), zero_point=(0, 0), axis=0, dtype="float32", points="int32"):
    scale, zero_point = T.tensor(scale, dtype=getattr(T, dtype)), T.tensor(zero_point, dtype=getattr(T, points))
    return T.fake_quantize_per_channel_affine(T.ones(2, 3), scale, zero_point, axis, -128, 127)


REFUSED = {
    "a zero point outside": lambda T: per_tensor(T, zero_point=300),
    "an empty range": lambda T: per_tensor(T, quant_min=1, quant_max=0),
    "whole numbers": lambda T: per_tensor(T, dtype="int32"),
    "a broken zero point": lambda T: per_tensor(T, zero_point=0.5),
    "two scales": lambda T: per_tensor(T, T.ones(2), T.zeros(1)),
    "a scale with a gradient": lambda T: per_tensor(T, T.ones(1, requires_grad=True), T.zeros(1)),
    "no such axis": lambda T: per_channel(T, axis=2),
    "an axis from behind": lambda T: per_channel(T, axis=-2),
    "another number of channels": lambda T: per_channel(T, axis=1),
    "another number of zero points": lambda T: per_channel(T, zero_point=(0,)),
    "scales in a square": lambda T: per_channel(T, scale=((0.1, 0.2),)),
    "double scales": lambda T: per_channel(T, dtype="float64"),
    "long zero points": lambda T: per_channel(T, points="int64"),
    "zero points outside": lambda T: per_channel(T, zero_point=(0, 128)),
    "a scale that is a number": lambda T: T.fake_quantize_per_channel_affine(T.ones(2), 0.1, T.zeros(2), 0, 0, 255),
    "a quantized dtype in promotion": lambda T: T.promote_types(T.quint8, T.float32),
    "a scheme for channels": lambda T: T.ao.quantization.MinMaxObserver(qscheme=T.per_channel_affine),
    "a scheme for tensors": lambda T: T.ao.quantization.PerChannelMinMaxObserver(qscheme=T.per_tensor_affine),
    "a float dtype": lambda T: T.ao.quantization.MinMaxObserver(dtype=T.float32),
    "a range without 0": lambda T: T.ao.quantization.MinMaxObserver(quant_min=1, quant_max=9),
    "a range of one": lambda T: T.ao.quantization.MinMaxObserver(quant_min=0, quant_max=0),
    "more numbers than there are": lambda T: T.ao.quantization.MinMaxObserver(dtype=T.qint8, quant_min=-128, quant_max=128),
    "numbers out of bound": lambda T: T.ao.quantization.FakeQuantize(quant_min=-1, quant_max=255),
    "an average for each input": lambda T: T.ao.quantization.MovingAverageMinMaxObserver(is_dynamic=True),
    "half a symmetric range": lambda T: T.ao.quantization.MinMaxObserver(qscheme=T.per_tensor_symmetric, reduce_range=True),
    "another observer": lambda T: T.ao.quantization.FixedQParamsFakeQuantize(T.ao.quantization.MinMaxObserver),
    "no average": lambda T: T.ao.quantization.FusedMovingAvgObsFakeQuantize(T.ao.quantization.MinMaxObserver),
    "an instance": lambda T: T.ao.quantization.QConfig(T.ao.quantization.MinMaxObserver(), T.nn.Identity),
    "another backend": lambda T: T.ao.quantization.get_default_qconfig("abacus"),
    "a layer without a qconfig": lambda T: T.ao.nn.qat.Linear(2, 2),
    "a float layer without one": lambda T: T.ao.nn.qat.Linear.from_float(T.nn.Linear(2, 2)),
    "another float layer": lambda T: T.ao.nn.qat.Linear.from_float(T.nn.Conv2d(2, 2, 1)),
    "unknown arguments": lambda T: T.nn.factory_kwargs({"size": 3}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(torch, name):
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    with pytest.raises(theirs.type):
        REFUSED[name](ng)


def test_no_tensor_has_a_quantized_dtype():
    for dtype, limits in ((ng.quint8, (0, 255)), (ng.qint8, (-128, 127)), (ng.qint32, (-(2**31), 2**31 - 1))):
        assert pickle.loads(pickle.dumps(dtype)) is dtype and copy.deepcopy(dtype) is dtype and isinstance(dtype, ng.dtype)
        assert (ng.iinfo(dtype).min, ng.iinfo(dtype).max) == limits
        for make in (
            lambda d: ng.empty(2, dtype=d), lambda d: ng.tensor([1], dtype=d), lambda d: ng.ones(2).to(d), lambda d: ng.arange(3, dtype=d),
            lambda d: ng.ones(2).sum(dtype=d), lambda d: ng.empty_like(ng.ones(2), dtype=d), lambda d: ng.nn.Linear(2, 2, dtype=d),
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match="observers carry"):
                make(dtype)


def test_schemes_are_themselves():
    for name in FORMS + CHANNEL_FORMS:
        scheme = getattr(ng, name)
        assert isinstance(scheme, ng.qscheme) and repr(scheme) == f"torch.{name}"
        assert pickle.loads(pickle.dumps(scheme)) is scheme and scheme.per_channel == ("channel" in name)


# --- observers -----------------------------------------------------------------------------------------------------


def inputs(T, count=3):
    rng = np.random.default_rng(7)
    return [T.from_numpy((rng.standard_normal((4, 3, 5)) * (k + 1) + 0.3 * k).astype("float32")) for k in range(count)]


def observer(T, name, qscheme, dtype="quint8", **options):
    return getattr(T.ao.quantization, name)(dtype=getattr(T, dtype), qscheme=getattr(T, qscheme), **options)


def watched(T, name, qscheme, dtype, **options):
    made = observer(T, name, qscheme, dtype, **options)
    with pytest.warns(UserWarning, match="must run observer"):
        before = made.calculate_qparams()
    for x in inputs(T):
        assert made(x) is x
    made(T.zeros(0))
    return before, made.calculate_qparams(), made.min_val, made.max_val


@pytest.mark.parametrize("options", [{}, {"quant_min": 0, "quant_max": 100}, {"eps": 1.0}], ids=["", "custom", "eps"])
@pytest.mark.parametrize("dtype", ["quint8", "qint8", "qint32"])
@pytest.mark.parametrize(
    "name, qscheme",
    [(n, q) for n in ("MinMaxObserver", "MovingAverageMinMaxObserver") for q in FORMS]
    + [(n, q) for n in ("PerChannelMinMaxObserver", "MovingAveragePerChannelMinMaxObserver") for q in CHANNEL_FORMS],
)
def test_observer(torch, name, qscheme, dtype, options):
    if "PerChannel" in name:
        options = {**options, "ch_axis": 1}
    same(watched(ng, name, qscheme, dtype, **options), watched(torch, name, qscheme, dtype, **options))


@pytest.mark.parametrize("qscheme", FORMS)
@pytest.mark.parametrize("kind", ["wider", "within", "constant", "infinite"])
def test_histogram(torch, kind, qscheme):
    def run(T):
        made = observer(T, "HistogramObserver", qscheme, bins=32)
        first, second, third = inputs(T)
        for x in {"wider": (first, second, third), "within": (third, first), "constant": (T.ones(4), first),
                  "infinite": (first,)}[kind]:  # fmt: skip
            made(x)
        if kind == "infinite":
            with pytest.warns(UserWarning, match="inf detected"):
                made(T.tensor([1.0, INF, -9.0]))
        return made.calculate_qparams(), made.histogram, made.min_val, made.max_val

    same(run(ng), run(torch))


def test_observers_without_a_range():
    Q = ng.ao.quantization
    x = ng.ones(2)
    recording, fixed = Q.RecordingObserver(), Q.default_fixed_qparams_range_0to1_observer()
    for made in (recording, fixed, Q.PlaceholderObserver(), Q.NoopObserver()):
        assert made(x) is x
        if made is not fixed:
            with pytest.raises(RuntimeError, match="should not be called"):
                made.calculate_qparams()
    assert recording.get_tensor_value()[0].tolist() == [1.0, 1.0] and recording.get_tensor_value()[0] is not x
    assert [value.tolist() for value in fixed.calculate_qparams()] == [[1 / 256], [0]]


def test_makers_take_arguments_and_calls():
    made = ng.ao.quantization.MinMaxObserver.with_args(dtype=ng.qint8).with_args(quant_max=63, quant_min=-64)
    counted = iter(range(9))
    made = made.with_callable_args(eps=functools.partial(next, counted))
    assert (made().dtype, made().quant_max, made().eps.item(), made(eps=0.5).eps.item()) == (ng.qint8, 63, 2.0, 0.5)


def test_state_has_pytorchs_names_and_is_restored(torch):
    def model(T):
        Q = T.ao.quantization
        return T.nn.ModuleList([
            Q.FakeQuantize(), Q.default_per_channel_weight_fake_quant(), Q.default_fused_per_channel_wt_fake_quant(),
            Q.HistogramObserver(bins=8), Q.PerChannelMinMaxObserver(), Q.default_fixed_qparams_range_0to1_fake_quant(),
        ])  # fmt: skip

    def trained(T):
        found = model(T)
        for module in found:
            module(inputs(T)[0])
        return found

    ours, theirs = trained(ng), trained(torch)
    assert repr(model(ng)) == repr(model(torch))
    state = ours.state_dict()
    assert dict(state._metadata) == dict(theirs.state_dict()._metadata)
    for (name, value), (their_name, their_value) in zip(state.items(), theirs.state_dict().items(), strict=True):
        assert name == their_name
        same(value, their_value)
    restored = model(ng)
    restored.load_state_dict(state)
    for name, value in restored.state_dict().items():
        assert value.tolist() == state[name].tolist(), name
    observers = ng.ao.quantization.get_observer_state_dict(ours)
    assert observers and all("activation_post_process" in name for name in observers)
    fresh = model(ng)
    ng.ao.quantization.load_observer_state_dict(fresh, observers)
    assert fresh[1].activation_post_process.min_val.tolist() == ours[1].activation_post_process.min_val.tolist()
    assert fresh[1].scale.tolist() == [1.0]


# --- fake quantization and training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["default_fake_quant", "default_weight_fake_quant", "default_dynamic_fake_quant", "default_per_channel_weight_fake_quant",
     "default_embedding_fake_quant", "default_histogram_fake_quant", "default_fused_act_fake_quant", "default_fused_wt_fake_quant",
     "default_fused_per_channel_wt_fake_quant", "fused_wt_fake_quant_range_neg_127_to_127",
     "fused_per_channel_wt_fake_quant_range_neg_127_to_127", "default_fixed_qparams_range_neg1to1_fake_quant"],
)  # fmt: skip
def test_fake_quant_module(torch, name):
    def run(T):
        made, found = getattr(T.ao.quantization, name)(), []
        for k, x in enumerate(inputs(T, 4)):
            if k == 2:
                made.apply(T.ao.quantization.disable_observer)
            if k == 3:
                made.apply(T.ao.quantization.disable_fake_quant).apply(T.ao.quantization.enable_observer)
            x = x.flatten(1).requires_grad_()
            y = made(x)
            y.square().sum().backward()
            found += [y, x.grad, made.scale.clone(), made.zero_point.clone()]
        return tuple(found)

    same(run(ng), run(torch))


@pytest.mark.parametrize("low, high", [(0, 0), (1e-4, -2e-4), (1e-4, 2e-4), (-3, -1), (1, 3), (-7, 2), (NAN, 1)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_fused_scales(torch, low, high, symmetric):
    def run(T, quant_min, quant_max):
        state = [T.tensor(INF), T.tensor(-INF), T.ones(1), T.zeros(1, dtype=T.int32)]
        on = T.ones(1, dtype=T.int64)
        x = T.tensor([low, high, 0.5 * low], dtype=T.float32)
        y = T.fused_moving_avg_obs_fake_quant(x, on, on, *state, 0.01, quant_min, quant_max, 0, False, symmetric)
        return (y, *state) if low == low else (y, *state[:3])  # the zero point of no range is undefined

    for limits in ((0, 255), (-128, 127), (-127, 127), (0, 127)):
        same(run(ng, *limits), run(torch, *limits))


@pytest.mark.parametrize("backend, version", [("x86", 1), ("qnnpack", 1), ("fbgemm", 0), ("onednn", 0)])
def test_training(torch, backend, version):
    def run(T):
        T.manual_seed(0)
        qconfig = T.ao.quantization.get_default_qat_qconfig(backend, version)
        qat = T.ao.nn.qat
        conv = T.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        conv.qconfig = qconfig
        model = T.nn.Sequential(
            qconfig.activation(), qat.Conv2d.from_float(conv), T.nn.ReLU(), qconfig.activation(), T.nn.Flatten(),
            qat.Linear(4 * 16, 3, qconfig=qconfig), qconfig.activation(),
        )  # fmt: skip
        losses = []
        for _ in range(5):
            loss = T.nn.functional.cross_entropy(model(T.randn(6, 1, 4, 4)), T.tensor([0, 1, 2, 0, 1, 2]))
            model.zero_grad()
            loss.backward()
            with T.no_grad():
                for weight in model.parameters():
                    weight -= 0.05 * weight.grad
            losses.append(loss.item())
        plain = model[5].to_float()
        assert type(plain) is T.nn.Linear and plain.weight.tolist() == model[5].weight.tolist()
        assert type(model[1].to_float()) is T.nn.Conv2d
        return losses, [scale.item() for scale in (model[0].scale, model[3].scale, model[6].scale)]

    ours, theirs = run(ng), run(torch)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)


def test_configurations(torch):
    def text(T):
        Q = T.ao.quantization
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, about a processor without certain instructions
            found = [Q.get_default_qconfig(b) for b in ("x86", "fbgemm", "qnnpack", "onednn")]
        found += [Q.get_default_qat_qconfig(b, v) for b in ("x86", "fbgemm", "qnnpack", "onednn") for v in (0, 1)]
        found += [getattr(Q, name) for name in dir(ng.ao.quantization) if name.startswith(("default_", "fused_", "float16"))]
        return [repr(item).replace("numgrad", "torch") for item in found]

    ours, theirs = text(ng), text(torch)
    for a, b in zip(ours, theirs, strict=True):
        assert a.replace(".histogram.", ".observer.").replace(".linear.", ".modules.linear.") == b.replace(".modules.linear.", ".modules.linear.")


def test_reached_without_an_import():
    assert ng.ao.nn.qat.Linear is ng.nn.qat.Linear
    assert ng.quantization.QConfig is ng.ao.quantization.QConfig
    assert ng.ao.nn.qat.modules.conv.Conv2d is ng.ao.nn.qat.Conv2d
    assert ng.ao.quantization.observer.MinMaxObserver is ng.quantization.observer.MinMaxObserver
