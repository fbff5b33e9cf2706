"""Files of torch.save: read without PyTorch and without executing anything, and written so that torch.load reads them."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn as nn
from numgrad import serialization
from numgrad.errors import FileError


def saved(obj, **options):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    buffer.seek(0)
    return buffer


def agree(ours, theirs):
    import torch

    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, ng.Tensor) and isinstance(ours, nn.Parameter) == isinstance(theirs, torch.nn.Parameter)
        assert tuple(ours.shape) == tuple(theirs.shape) and ours.stride() == theirs.stride()
        assert ours.requires_grad == theirs.requires_grad
        values = theirs.detach()
        values = values.float() if str(values.dtype) in ("torch.float16", "torch.bfloat16") else values
        assert str(ours.dtype) == str(theirs.dtype)
        ours = ours.detach().float() if values is not theirs.detach() and ours.dtype.itemsize == 2 else ours.detach()
        assert np.array_equal(ours.numpy().astype(values.numpy().dtype), values.numpy())
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs) and type(ours) is type(theirs)
        assert getattr(ours, "_metadata", None) == getattr(theirs, "_metadata", None)
        for key in theirs:
            agree(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)) and not isinstance(theirs, torch.Size):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            agree(a, b)
    elif isinstance(theirs, (torch.dtype, torch.device)):
        assert str(ours) == str(theirs)
    else:
        assert np.array_equal(ours, theirs)


def checkpoint(torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    base = torch.arange(20.0)
    return {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "text": "\u00e4",
        "parameter": model[0].weight, "leaf": torch.ones(2, requires_grad=True), "steps": base[::3], "part": base[4:9],
        "t": base.reshape(4, 5).t(), "scalar": torch.tensor(2.5), "none": torch.zeros(0, 3), "expanded": torch.ones(2, 1).expand(2, 3),
        "half": torch.tensor([0.5, -2.0]).half(), "brain": torch.tensor([1.5, -3.0]).bfloat16(),
        "kinds": [torch.ones(3).to(d) for d in (torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
                                                torch.uint8, torch.bool)],
        "size": torch.Size([2, 3]), "device": torch.device("cpu"), "dtype": torch.float64, "set": {1, 2},
        "counts": Counter("aab"), "groups": OrderedDict(a=1), "big": [2**40, -(2**80), None, True], "bytes": b"a\xff",
        "numpy": np.float32(1.5), "array": np.arange(6).reshape(2, 3), "fortran": np.asfortranarray(np.ones((2, 3), ">f4")),
        "words": np.array(["a", "bcd"]), "complex": 1 + 2j,
    }  # fmt: skip


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_checkpoints_of_pytorch(archive):
    torch = pytest.importorskip("torch")
    theirs = checkpoint(torch)
    found = ng.load(saved(theirs, _use_new_zipfile_serialization=archive), weights_only=False)
    agree(found, theirs)
    found["part"][0] = -7
    assert found["t"][4, 0].item() == -7 and found["steps"].untyped_storage() == found["t"].untyped_storage()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(protocol):
    torch = pytest.importorskip("torch")
    theirs = checkpoint(torch)
    for archive in (True, False):
        agree(ng.load(saved(theirs, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)), theirs)


def repacked(data, change=lambda name, body: body, drop=(), add=(), compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(out, "w", compression) as new:
        for name in old.namelist():
            if not name.endswith(drop or "\0"):
                new.writestr(name, change(name, old.read(name)))
        for name, body in add:
            new.writestr(name, body)
    out.seek(0)
    return out


def test_archives_without_byte_order_and_of_the_other():
    torch = pytest.importorskip("torch")
    theirs = {"x": torch.arange(5), "y": torch.tensor([1.5, 2.5])}
    agree(ng.load(repacked(saved(theirs), drop=("byteorder",))), theirs)

    def swap(name, body):
        if "/data/" in name:
            return np.frombuffer(body, "<i8" if len(body) == 40 else "<f4").byteswap().tobytes()
        return b"big" if name.endswith("byteorder") else body

    agree(ng.load(repacked(saved(theirs), swap)), theirs)


def test_ties_and_identity(tmp_path):
    x = ng.arange(12.0).reshape(3, 4)
    path = tmp_path / "ties.pt"
    ng.save({"x": x, "same": x, "row": x[1], "alias": x.detach(), "list": (shared := [1]), "again": shared}, path)
    found = ng.load(path)
    assert found["same"] is found["x"] and found["again"] is found["list"]
    found["row"][0] = 40
    assert found["x"][1, 0].item() == found["alias"][1, 0].item() == 40
    assert [i.file_size for i in zipfile.ZipFile(path).infolist() if "/data/" in i.filename] == [48]


def test_only_the_used_part_of_a_storage_is_saved(tmp_path):
    big = ng.arange(100_000)
    ng.save([big[10:20], big[15:30]], tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 2000
    a, b = ng.load(tmp_path / "x.pt")
    a[5] = -1
    assert b[0].item() == -1 and b[-1].item() == 29


def test_pytorch_reads_what_is_saved(tmp_path):
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = ng.optim.Adam(model.parameters())
    model(ng.randn(5, 3)).sum().backward()
    optimizer.step()
    obj = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "p": model[0].weight, "t": ng.ones(2, 3).t(),
        "leaf": ng.ones(2, requires_grad=True), "none": ng.zeros(0, 3), "scalar": ng.tensor(1.5), "flag": ng.tensor([True]),
        "text": "\u00e4", "numbers": [1, -1, 2**40, -(2**80), 0.1, float("inf"), None, False], "nested": ((1, (2,)), []),
        "size": ng.Size((1, 2)), "dtype": ng.float64, "device": ng.device("cpu"), "set": {1, 2}, "bytes": b"a\xff",
        "counts": Counter("aab"), "array": bytearray(b"xy"), "complex": 1 + 2j,
    }  # fmt: skip
    path = tmp_path / "model.pt"
    ng.save(obj, path)
    for mapped in (False, True):
        theirs = torch.load(path, weights_only=True, mmap=mapped)
        agree(ng.load(path, mmap=mapped), theirs)
        assert theirs["model"]["0.weight"].data_ptr() % 64 == 0 or not mapped
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(theirs["model"])
    with open(path, "rb") as file:
        agree(ng.load(file), theirs)


def test_arrays(tmp_path):
    arrays = [np.arange(6.0).reshape(2, 3), np.array(["ab", "c"]), np.array([b"ab", b"c"]), np.array(2), np.ones((2, 3), ">i4").T]
    ng.save(arrays, tmp_path / "x.pt")
    theirs = pytest.importorskip("torch").load(tmp_path / "x.pt", weights_only=False)
    for array, a, b in zip(arrays, ng.load(tmp_path / "x.pt"), theirs):
        assert a.dtype == b.dtype == array.dtype.newbyteorder("=") and np.array_equal(a, array) and np.array_equal(b, array)


def test_mapped_files(tmp_path):
    path = tmp_path / "x.pt"
    ng.save({"x": ng.arange(1000)}, path)
    found = ng.load(path, mmap=True)["x"]
    found[0] = 5
    assert found[0].item() == 5 and ng.load(path)["x"][0].item() == 0
    with pytest.raises(ValueError, match="mmap=True needs a path"):
        ng.load(io.BytesIO(path.read_bytes()), mmap=True)


def test_map_location():
    torch = pytest.importorskip("torch")
    data = saved({"x": torch.arange(3)})

    def from_gpu(name, body):  # as if saved from a GPU
        return body.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0") if name.endswith("data.pkl") else body

    gpu = repacked(data, from_gpu).getvalue()
    for location in ("cpu", ng.device("cpu"), {"cuda:0": "cpu"}, lambda storage, where: storage):
        assert ng.load(io.BytesIO(gpu), map_location=location)["x"].tolist() == [0, 1, 2]
    if not ng.cuda.is_available():
        with pytest.raises(RuntimeError, match="Use map_location='cpu' to load it onto the CPU"):
            ng.load(io.BytesIO(gpu))
    apple = gpu.replace(b"cuda:0", b"mps:00")
    apple = repacked(data, lambda n, b: b.replace(b"X\x03\x00\x00\x00cpu", b"X\x05\x00\x00\x00mps:0")).getvalue()
    assert ng.load(io.BytesIO(apple), map_location="cpu")["x"].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="cannot put a tensor of the file on mps:0"):
        ng.load(io.BytesIO(apple))


# --- what is refused ---------------------------------------------------------------------------------------------


class Harmless:
    def __init__(self):
        self.a = 1


class Harmful:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_nothing_is_executed(archive, capsys):
    data = saved({"a": Harmful(), "b": [Harmless(), defaultdict(len)]}, _use_new_zipfile_serialization=archive)
    for only in (True, None):
        data.seek(0)
        with pytest.raises(pickle.UnpicklingError, match=r"needs builtins.print, .*Harmless, builtins\.len, which") as caught:
            ng.load(data, weights_only=only)
        assert isinstance(caught.value, FileError) and "nothing in them is executed" in str(caught.value)
    assert "executed" not in capsys.readouterr().out
    data.seek(0)
    assert ng.load(data, weights_only=False)["b"][0].a == 1 and "executed" in capsys.readouterr().out


def test_names_can_be_allowed():
    obj = {"x": Harmless()}
    with serialization.safe_globals([Harmless]):
        assert ng.load(saved(obj))["x"].a == 1 and serialization.get_safe_globals() == [Harmless]
    with pytest.raises(FileError, match="Harmless"):
        ng.load(saved(obj))


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64"])
def test_unsigned_integers_go_both_ways(name):
    torch = pytest.importorskip("torch")
    largest = np.iinfo(name).max
    found = ng.load(saved(torch.tensor([1, largest], dtype=getattr(torch, name))))
    assert found.dtype is getattr(ng, name) and found.tolist() == [1, largest]
    file = io.BytesIO()
    ng.save(found, file)
    file.seek(0)
    again = torch.load(file)
    assert again.dtype is getattr(torch, name) and again.tolist() == [1, largest]


def stream_of(pickled, data=()):
    """A zip archive around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a/data.pkl", pickled)
        for key, body in dict(data).items():
            file.writestr(f"a/data/{key}", body)
    out.seek(0)
    return out


def tensor_pickle(offset=0, size=(2,), stride=(1,), count=2, key="0"):
    """The pickle of one tensor with that geometry."""

    class Storage:
        def __init__(self, *parts):
            self.parts = parts

    out = io.BytesIO()
    out.write(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n")
    for value in (key, "cpu", count):
        out.write(pickle.dumps(value, 2)[2:-1].split(b"q\x00")[0])
    out.write(b"tQ")
    for value in (offset, size, stride, False, OrderedDict()):
        out.write(pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b""))
    return out.getvalue() + b"tR."


def test_the_pickle_of_one_tensor():
    assert ng.load(stream_of(tensor_pickle(), {"0": np.float32([1, 2]).tobytes()})).tolist() == [1, 2]


@pytest.mark.parametrize(
    "geometry",
    [{"offset": 1}, {"offset": -1}, {"size": (3,)}, {"size": (-2,)}, {"stride": (2,)}, {"stride": (-1,)}, {"count": 3},
     {"count": -1}, {"key": "1"}, {"size": (2, 2)}, {"size": (2**61,)}, {"key": "../0"}],
)  # fmt: skip
def test_geometry_is_checked(geometry):
    with pytest.raises(FileError, match="is damaged: its pickle has"):
        ng.load(stream_of(tensor_pickle(**geometry), {"0": bytes(8)}))


@pytest.mark.parametrize(
    "pickled",
    [
        b"", b".", b"\x80\x02", b"\x80\x02N", b"\x80\x02(.", b"\x80\x02h\x00.", b"\x80\x02]a.", b"\x80\x02X\xff\xff\xff\x7fab.",
        b"\x80\x02\x8d" + struct.pack("<Q", 2**62) + b".", b"\x80\x02Nr\xff\xff\xff\xffN0\xff.", b"\xff\xff",
        b"\x80\x02c__builtin__\nlist\n(K\x01tR.", b"\x80\x02ctorch\nTensor\n)\x81.", b"\x80\x02ctorch\nSize\n(X\x01\x00\x00\x00atR.",
        b"\x80\x02ctorch\nSize\n}X\x0c\x00\x00\x00__defaults__K\x01sb.", b"\x80\x02K\x01Q.", b"\x80\x02)Q.",
        b"\x80\x02c__builtin__\nbytearray\n(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x0ftR.", b"\x80\x02NN.", b"\x80\x02(K\x01d.", b"\x80\x02cposix\nexecv\n.", b"\x80\x02Pabc\n.",
        b"\x80\x02cnumpy\ndtype\n(X\x02\x00\x00\x00O8tR.",
    ],
)  # fmt: skip
def test_damaged_pickles(pickled):
    with pytest.raises(FileError, match="is damaged: its pickle has"):
        ng.load(stream_of(pickled))


def test_archives_that_are_none_of_pytorchs(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    with pytest.raises(FileError, match="a zip archive, but none that torch.save wrote.*a.npy"):
        ng.load(tmp_path / "x.npz")
    ng.save(ng.ones(2), tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    with pytest.raises(FileError, match="TorchScript"):
        ng.load(repacked(io.BytesIO(data), add=[("x/constants.pkl", b"")]))
    with pytest.raises(FileError, match="is compressed or encrypted"):
        ng.load(repacked(io.BytesIO(data), compression=zipfile.ZIP_DEFLATED))


def test_damage_anywhere_is_an_error_or_harmless(tmp_path):
    """Cut off or changed at any place, a file gives a FileError or the same values."""
    torch = pytest.importorskip("torch")
    obj = OrderedDict(x=torch.arange(50.0), y=[torch.ones(3, 2).t(), 5])
    rng = np.random.default_rng(0)
    for archive in (True, False):
        data = saved(obj, _use_new_zipfile_serialization=archive).getvalue()
        for cut in rng.integers(0, len(data) - 1, 60):
            with pytest.raises(FileError):
                ng.load(io.BytesIO(data[:cut]))
        for at in rng.integers(0, len(data), 300):
            changed = bytearray(data)
            changed[at] ^= 1 << int(rng.integers(8))
            try:
                ng.load(io.BytesIO(bytes(changed)))
            except (FileError, RuntimeError):
                pass
