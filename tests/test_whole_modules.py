"""Whole objects: saved as PyTorch saves them, read by it, and read from it, with their classes and without executing more."""

import argparse
import collections
import copy
import dataclasses
import importlib
import io
import linecache
import pickle
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn as nn
from numgrad.errors import FileError
from numgrad.serialization.globals import LAYERS, written_as
from numgrad.tensor import attributes

ARGUMENTS = {
    "AdaptiveLogSoftmaxWithLoss": (8, 20, [5]), "Bilinear": (2, 3, 4), "ChannelShuffle": (2,), "Unflatten": (1, (2, 2)),
    "Threshold": (1.0, 2.0), "MultiheadAttention": (4, 2), "Fold": ((4, 4), 2), "Unfold": (2,), "LocalResponseNorm": (2,),
    "PixelShuffle": (2,), "PixelUnshuffle": (2,), "Upsample": (None, 2), "Transformer": (8, 2, 1, 1, 16),
    "TransformerDecoderLayer": (8, 2, 16), "TransformerEncoderLayer": (8, 2, 16), "RNNBase": ("LSTM", 2, 3),
    "RNNCellBase": (2, 3, True, 4), "GroupNorm": (2, 4), "LayerNorm": (4,), "RMSNorm": (4,), "Embedding": (5, 3),
    "EmbeddingBag": (5, 3), "UpsamplingBilinear2d": ((4, 4),), "UpsamplingNearest2d": ((4, 4),), "Linear": (2, 3),
    "NonDynamicallyQuantizableLinear": (2, 3), "LazyLinear": (3,), "SyncBatchNorm": (3,), "LSTM": (2, 3, 2), "GRU": (2, 3),
    "RNN": (2, 3), "LSTMCell": (2, 3), "GRUCell": (2, 3), "RNNCell": (2, 3),
}  # fmt: skip
# What needs arguments by kind; and what is made of others.
KINDS = (
    ("LazyConv", (3, 2)), ("Conv", (2, 3, 2)), ("Lazy", ()), ("Norm", (4,)), ("LPPool", (2, 2)), ("Fractional", (2, 3)), ("Pool", (2,)),
    ("MaxUnpool", (2,)), ("ConstantPad", (1, 0.0)), ("Pad", (1,)),
)  # fmt: skip


def made(library, name):
    """A layer of that name."""
    layers = library.nn
    if name in ("TransformerEncoder", "TransformerDecoder"):
        return getattr(layers, name)(getattr(layers, f"{name}Layer")(8, 2, 16), 1)
    if name == "Sequential":
        return layers.Sequential(collections.OrderedDict(a=layers.Linear(2, 3), b=layers.ReLU()))
    arguments = ARGUMENTS.get(name)
    if arguments is None:
        arguments = next((given for part, given in KINDS if part in name), ())
    if "Fractional" in name:
        return getattr(layers, name)(2, output_size=3)
    if name == "NonDynamicallyQuantizableLinear":
        return getattr(library.nn.modules.linear, name)(*arguments)
    return getattr(layers, name)(*arguments)


def through(save, load, obj, **options):
    stream = io.BytesIO()
    save(obj, stream, **options)
    stream.seek(0)
    return load(stream, weights_only=False)


def same_state(a, b):
    def values(state):
        return {k: np.asarray(v.detach()) for k, v in state.items() if hasattr(v, "detach") and "Uninit" not in type(v).__name__}

    ours, theirs = values(a.state_dict()), values(b.state_dict())
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_to_pytorch_and_back(name):
    torch = pytest.importorskip("torch")
    ours = made(ng, name)
    assert written_as(type(ours)) == (getattr(torch.nn.modules, LAYERS[name].rpartition(".")[2]).__name__, name)
    same_state(through(ng.save, ng.load, ours), ours)
    if name.startswith("Lazy"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = through(ng.save, torch.load, ours)
        assert type(theirs) is type(made(torch, name)) and set(made(torch, name).__dict__) <= set(theirs.__dict__) | {"bias_k", "bias_v", "_flat_weight_refs"}
        back = through(torch.save, ng.load, made(torch, name))
    same_state(theirs, ours)
    assert type(back) is type(ours) and repr(back) == repr(ours) and back.training


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_models_to_pytorch_and_back(archive):
    torch = pytest.importorskip("torch")

    def model(nn):
        return nn.ModuleDict({
            "a": nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 6)),
            "b": nn.LSTM(6, 5, 2, bidirectional=True), "c": nn.TransformerEncoderLayer(10, 2, 8, 0.0, nn.functional.gelu),
        })  # fmt: skip

    def run(model, x):
        return model["c"](model["b"](model["a"](x)[:, None])[0])

    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)
    options = {"_use_new_zipfile_serialization": archive}
    ours = model(nn).eval()
    theirs = through(ng.save, torch.load, ours, **options)
    again = through(torch.save, ng.load, theirs, **options)
    own = through(ng.save, ng.load, ours, **options)
    want = run(ours, ng.from_numpy(x)).detach().numpy()
    assert np.allclose(run(theirs, torch.from_numpy(x)).detach().numpy(), want, atol=1e-5)
    for found in (again, own):
        assert not found.training and np.allclose(run(found, ng.from_numpy(x)).detach().numpy(), want, atol=1e-5)
        run(found.train(), ng.from_numpy(x)).sum().backward()
        assert all(p.grad is not None for p in found.parameters())


def test_hooks_of_a_loaded_module_are_called():
    torch = pytest.importorskip("torch")
    found, seen = through(torch.save, ng.load, torch.nn.Linear(2, 2)), []
    found.register_forward_hook(lambda module, args, out: seen.append("forward"))
    found(ng.ones(1, 2))
    assert seen == ["forward"]
    with_hook = nn.Linear(2, 2)
    with_hook.register_forward_pre_hook(note)
    NOTED.clear()
    through(ng.save, ng.load, with_hook)(ng.ones(1, 2))
    assert NOTED == ["pre"]


NOTED: list = []


def note(module, args):
    NOTED.append("pre")


# --- other objects -----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Settings:
    rate: float
    weights: object = None


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    y: object


Point = collections.namedtuple("Point", "x y")


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.act = nn.functional.relu
        self.register_buffer("seen", ng.zeros(1), persistent=False)

    def forward(self, x):
        return self.act(self.inner(x))


class Tagged(ng.Tensor):
    pass


def test_ordinary_objects():
    weights = ng.ones(2)
    obj = {
        "args": argparse.Namespace(lr=0.1, name="x"), "settings": Settings(0.5, weights), "slots": Slotted(1, [weights]),
        "point": Point(1, weights), "scalar": np.float64(0.5), "function": note, "relu": nn.functional.relu, "size": ng.Size((1, 2)),
        "format": ng.channels_last, "counts": collections.Counter("aab"), "groups": collections.defaultdict(list, a=[1]),
        "queue": collections.deque([1, 2]), "optimizer": ng.optim.SGD([nn.Parameter(weights)], 0.1),
    }  # fmt: skip
    for protocol in (2, 4, 5):
        found = through(ng.save, ng.load, obj, pickle_protocol=protocol)
        assert vars(found["args"]) == {"lr": 0.1, "name": "x"} and found["settings"].rate == 0.5 and found["slots"].x == 1
        assert found["settings"].weights is found["slots"].y[0] is found["point"].y and type(found["point"]) is Point
        assert type(found["scalar"]) is np.float64 and found["function"] is note and found["relu"] is nn.functional.relu
        assert found["format"] is ng.channels_last and found["groups"] == obj["groups"] and found["queue"] == obj["queue"]
        assert found["counts"] == obj["counts"] and found["size"] == (1, 2) and found["optimizer"].param_groups[0]["lr"] == 0.1
    stream = io.BytesIO()
    ng.save(obj, stream)
    stream.seek(0)
    with pytest.raises(FileError, match="argparse.Namespace, .*Settings.*add_safe_globals"):
        ng.load(stream)


def test_a_class_of_ones_own_and_a_missing_one(monkeypatch):
    model = Own()
    found = through(ng.save, ng.load, model)
    x = ng.randn(3, 2)
    assert type(found) is Own and ng.equal(found(x), model(x)) and list(found.state_dict()) == list(model.state_dict())
    assert found.seen.tolist() == [0]
    stream = io.BytesIO()
    ng.save(Settings(1.0), stream)
    stream.seek(0)
    monkeypatch.delattr(f"{__name__}.Settings")
    with pytest.raises(FileError, match=r"needs .*\.Settings, which cannot be imported") as caught:
        ng.load(stream, weights_only=False)
    assert isinstance(caught.value, ImportError)


def test_names_of_ours_can_be_allowed():
    stream = io.BytesIO()
    ng.save(nn.Linear(2, 2), stream)
    with ng.serialization.safe_globals([nn.Linear]):
        stream.seek(0)
        assert type(ng.load(stream)) is nn.Linear
    stream.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL torch.nn.modules.linear.Linear was not an allowed global by default"):
        ng.load(stream)


def test_the_pickler_of_another_module():
    cloudpickle = pytest.importorskip("cloudpickle")
    base = ng.arange(6.0)
    stream = io.BytesIO()
    ng.save({"f": lambda x: x + 1, "t": base, "row": base[2:4], "m": nn.Linear(2, 2)}, stream, pickle_module=cloudpickle)
    stream.seek(0)
    found = ng.load(stream, weights_only=False)
    assert found["f"](1) == 2 and found["row"].tolist() == [2, 3] and type(found["m"]) is nn.Linear
    found["row"][0] = -1
    assert found["t"][2].item() == -1

    class Throwing:
        class Unpickler(pickle.Unpickler):
            def load(self):
                raise RuntimeError("of the module")

    for archive in (True, False):
        stream = io.BytesIO()
        ng.save(base, stream, _use_new_zipfile_serialization=archive)
        stream.seek(0)
        with pytest.raises(RuntimeError, match="of the module"):
            ng.load(stream, pickle_module=Throwing, weights_only=False)
        stream.seek(0)
        with pytest.raises(RuntimeError, match="explicit pickle_module"):
            ng.load(stream, pickle_module=Throwing, weights_only=True)


# --- tensors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_attributes_of_tensors_survive(name, tmp_path):
    plain, parameter = ng.ones(2), nn.Parameter(ng.ones(3))
    for tensor in (plain, parameter):
        tensor.tag, tensor._private = "a", [1, 2]
    ng.save({"plain": plain, "parameter": parameter, "again": plain}, tmp_path / name)
    found = ng.load(tmp_path / name)
    assert found["again"] is found["plain"] and type(found["parameter"]) is nn.Parameter
    for tensor in (found["plain"], found["parameter"], copy.copy(parameter), copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        assert (tensor.tag, tensor._private) == ("a", [1, 2])
    if name == "x.pt":
        torch = pytest.importorskip("torch")
        assert torch.load(tmp_path / name)["parameter"].tag == "a"


def test_what_the_library_keeps_in_a_tensor_is_no_attribute():
    x = ng.ones(3, requires_grad=True)
    y = (x * 2)[1:]
    y.retain_grad()
    y.sum().backward()
    y.data.add_(1)
    layer = nn.Linear(2, 2)
    held = [x, y, x.detach(), x[:2], layer.weight, layer.weight.requires_grad_(False), x.data, x.clone()]
    assert [attributes(tensor) for tensor in held] == [{}] * len(held)


def test_tensors_of_a_class_of_ones_own():
    tensor = ng.ones(2).as_subclass(Tagged)
    tensor.tag = "x"
    found = through(ng.save, ng.load, tensor)
    assert type(found) is Tagged and found.tag == "x" and found.tolist() == [1, 1]
    stream = io.BytesIO()
    ng.save(tensor, stream)
    stream.seek(0)
    with pytest.raises(FileError, match="Tagged"):
        ng.load(stream)


def test_storages():
    base = ng.arange(6.0)
    stream = io.BytesIO()
    ng.save([base, base[2:4], base.storage(), base[2:].storage()], stream)
    stream.seek(0)
    whole, part, typed, again = ng.load(stream)
    assert typed.tolist() == base.tolist() and isinstance(typed, ng.FloatStorage) and typed.nbytes() == 24
    assert typed.untyped() is again.untyped() is whole.untyped_storage() is part.untyped_storage()
    assert part.storage_offset() == 2
    typed[2] = 7
    assert part[0].item() == whole[2].item() == 7
    found = through(ng.save, ng.load, [base.untyped_storage(), ng.ones(2)])[0]
    assert type(found) is ng.UntypedStorage and found.nbytes() == 24 and found.tolist() == base.untyped_storage().tolist()


def test_one_memory_as_two_dtypes_is_refused():
    x = ng.ones(4)
    with pytest.raises(RuntimeError, match="Cannot save multiple tensors or storages that view the same data as different types"):
        ng.save([x, x.view(ng.int32)], io.BytesIO())


def test_several_objects_in_one_stream():
    stream = io.BytesIO()
    for k in range(3):
        pickle.dump(k, stream)
        ng.save({"x": ng.full((3,), float(k))}, stream, _use_new_zipfile_serialization=False)
    stream.seek(0)
    for k in range(3):
        assert pickle.load(stream) == k and ng.load(stream)["x"].tolist() == [k] * 3


def test_a_stream_in_memory_is_not_copied():
    stream, x = io.BytesIO(), ng.ones(1 << 20)
    ng.save(x, stream, _use_new_zipfile_serialization=False)
    before = stream.getvalue()
    stream.seek(0)
    tracemalloc.start()
    try:
        found = ng.load(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * x.untyped_storage().nbytes()
    found.zero_()
    assert stream.getvalue() == before


def test_a_changed_source_is_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "a_net_of_ones_own.py"
    text = "import numgrad.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    path.write_text(text + "        self.layer = nn.Linear(1, 2)\n")
    module = importlib.import_module(path.stem)
    monkeypatch.setitem(sys.modules, path.stem, module)
    stream = io.BytesIO()
    ng.save([module.Net(), module.Net()], stream, _use_new_zipfile_serialization=False)

    def loaded():
        stream.seek(0)
        return ng.load(stream, weights_only=False)

    assert type(loaded()[0]) is module.Net  # without a warning, which would be an error
    path.write_text(text + "        self.layer = nn.Linear(1, 3)\n")
    linecache.clearcache()
    with pytest.warns(ng.serialization.SourceChangeWarning, match="source code of class 'a_net_of_ones_own.Net' has changed"):
        assert loaded()[1].layer.out_features == 2
    monkeypatch.delattr(module, "__file__")
    path.unlink()
    linecache.clearcache()
    with pytest.warns(UserWarning, match="Couldn't retrieve source code for container of type Net"):
        loaded()
    with pytest.warns(UserWarning, match="Couldn't retrieve source code for container of type Net"):
        ng.save(module.Net(), io.BytesIO(), _use_new_zipfile_serialization=False)


def test_options(tmp_path):
    import mmap

    s, path, x = ng.serialization, tmp_path / "x.pt", ng.ones(4)
    with s.skip_data():
        ng.save([x, x[1:]], path)
        with pytest.raises(RuntimeError, match="outside the skip_data"):
            ng.load(path)
    whole, part = ng.load(path)
    whole[1] = 1
    assert whole.tolist() == [0, 1, 0, 0] and part[0].item() == 1
    s.set_crc32_options(False)
    try:
        ng.save(x, path)
    finally:
        s.set_crc32_options(True)
    assert ng.load(path).tolist() == [1] * 4 and s.get_crc32_options()
    with s.set_default_mmap_options(mmap.MAP_SHARED):
        ng.load(path, mmap=True)[0] = 5
    assert ng.load(path)[0].item() == 5 and s.get_default_mmap_options() == mmap.MAP_PRIVATE
    ng.load(path, mmap=True)[0] = 6
    assert ng.load(path)[0].item() == 5
    assert s.get_default_load_endianness() is None
    with pytest.raises(TypeError, match="Invalid argument type"):
        s.set_default_load_endianness("big")
    ng.save(Settings(1.0), path)
    assert s.get_unsafe_globals_in_checkpoint(path)[0].endswith("Settings")


def test_environment_variables(monkeypatch):
    stream = io.BytesIO()
    ng.save(Settings(1.0), stream)
    stream.seek(0)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        assert ng.load(stream).rate == 1.0
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="only one of the environment variables"):
        ng.load(stream)
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(FileError):
        ng.load(stream, weights_only=False)
