"""save and load: what comes back, what other tools see, and what a crash leaves."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy

import numgrad as ng
import numgrad.nn as nn
from numgrad.io import load, save
from numgrad.serialization.files import write
from numgrad.serialization.safetensors_file import safetensors_parts


def through_file(obj, tmp_path, **options):
    save(obj, tmp_path / "x.safetensors")
    return load(tmp_path / "x.safetensors", **options)


def equal(a, b):
    return type(a) is type(b) and a.dtype is b.dtype and a.shape == b.shape and np.array_equal(a.numpy(), b.numpy())


# --- round trips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [ng.bool, ng.uint8, ng.int8, ng.int16, ng.int32, ng.int64, ng.float32, ng.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_dtypes_and_shapes(dtype, shape, tmp_path):
    array = np.asarray(np.random.default_rng(0).random(shape) * 5).astype(dtype.np)
    tensor = ng.from_numpy(array)
    assert equal(through_file({"x": tensor}, tmp_path)["x"], tensor)


def test_layouts_that_are_not_contiguous(tmp_path):
    base = ng.from_numpy(np.arange(24.0).reshape(2, 3, 4))
    views = {
        "transposed": base.transpose(0, 2),
        "column": base.select(2, 1),
        "expanded": ng.from_numpy(np.array([[1.0], [2.0]])).expand(2, 3),
        "fortran": ng.from_numpy(np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    }
    for name, view in views.items():
        found = through_file({name: view}, tmp_path)[name]
        assert np.array_equal(found.numpy(), view.numpy())
        assert np.array_equal(safetensors.numpy.load_file(tmp_path / "x.safetensors")[name], view.numpy())


def test_loaded_tensors_can_be_written(tmp_path):
    found = through_file({"x": ng.from_numpy(np.zeros(3))}, tmp_path)["x"]
    found.numpy()[:] = 1
    assert found.tolist() == [1, 1, 1]


def test_structure(tmp_path):
    step = ng.from_numpy(np.array([7, 8]))
    obj = {
        "epoch": 3,
        "best": 0.1,
        "limits": [float("inf"), float("-inf"), None, True],
        "name": "a \u00e4 \n",
        "state": {0: {"step": 1, "exp_avg": step}, 10: {}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 10]}],
        "dtype": ng.float64,
        "device": ng.device("cpu"),
        "size": ng.Size((2, 3)),
        "numpy": np.int64(5),
        (1, "key"): "tuple key",
    }
    found = through_file(obj, tmp_path)
    assert equal(found["state"][0].pop("exp_avg"), obj["state"][0].pop("exp_avg"))
    assert found == obj
    assert list(found) == list(obj)
    assert type(found["size"]) is ng.Size and type(found["param_groups"][0]["betas"]) is tuple
    assert found["dtype"] is ng.float64
    assert np.isnan(through_file([float("nan")], tmp_path)[0])


def test_arrays_stay_arrays(tmp_path):
    found = through_file({"x": np.arange(6).reshape(2, 3)[:, ::-1]}, tmp_path)["x"]
    assert type(found) is np.ndarray and found.tolist() == [[2, 1, 0], [5, 4, 3]]


def test_a_single_tensor(tmp_path):
    assert equal(through_file(ng.from_numpy(np.arange(3)), tmp_path), ng.from_numpy(np.arange(3)))


def test_names_that_collide(tmp_path):
    obj = {"a.b": ng.from_numpy(np.array(1)), "a": {"b": ng.from_numpy(np.array(2))}}
    found = through_file(obj, tmp_path)
    assert found["a.b"].item() == 1 and found["a"]["b"].item() == 2


def test_requires_grad_and_parameter(tmp_path):
    x = ng.from_numpy(np.ones(2)).requires_grad_()
    obj = {"x": x, "p": nn.Parameter(ng.from_numpy(np.ones(2))), "frozen": nn.Parameter(x.detach(), False)}
    found = through_file(obj, tmp_path)
    assert found["x"].requires_grad and found["x"].is_leaf and type(found["x"]) is ng.Tensor
    assert type(found["p"]) is nn.Parameter and found["p"].requires_grad
    assert type(found["frozen"]) is nn.Parameter and not found["frozen"].requires_grad


def test_module_state(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    state = model.state_dict()
    found = through_file(state, tmp_path)
    assert list(found) == list(state) and type(found) is OrderedDict
    assert found._metadata == state._metadata
    other = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    assert str(other.load_state_dict(found)) == "<All keys matched successfully>"
    assert all(equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    plain = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert set(plain) == set(state)


# --- ties --------------------------------------------------------------------------------------------------------


def test_ties_are_kept_and_stored_once(tmp_path):
    weight = ng.from_numpy(np.arange(6.0).reshape(2, 3))
    found = through_file(
        {"row": weight.select(0, 1), "weight": weight, "same": weight, "tied": weight.detach(), "t": weight.t()},
        tmp_path,
    )
    assert found["same"] is found["weight"] and found["tied"] is not found["weight"]
    found["weight"].numpy()[1, 2] = 50
    assert found["tied"].tolist() == [[0, 1, 2], [3, 4, 50]]
    assert found["row"].tolist() == [3, 4, 50]
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 50]]
    assert list(safetensors.numpy.load_file(tmp_path / "x.safetensors")) == ["weight"]


def test_parts_that_do_not_overlap_are_stored_apart(tmp_path):
    base = ng.from_numpy(np.arange(6.0))
    through_file({"a": base.narrow(0, 0, 2), "b": base.narrow(0, 2, 4)}, tmp_path)
    plain = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert plain["a"].tolist() == [0, 1] and plain["b"].tolist() == [2, 3, 4, 5]


# --- files, formats, places --------------------------------------------------------------------------------------


def test_file_objects(tmp_path):
    buffer = io.BytesIO()
    save({"x": ng.from_numpy(np.arange(3))}, buffer)
    assert buffer.getvalue().startswith(b"PK")
    buffer.seek(0)
    assert load(buffer)["x"].tolist() == [0, 1, 2]
    with open(tmp_path / "y.safetensors", "wb") as file:
        save({"x": 1}, file)
    with open(tmp_path / "y.safetensors", "rb") as file:
        assert load(file) == {"x": 1}
    assert safetensors.numpy.load_file(tmp_path / "y.safetensors") == {}
    with pytest.raises(TypeError, match="open it with 'rb'"):
        load(io.StringIO("x"))
    with pytest.raises(TypeError, match="expected a path or a binary file"):
        load(3)
    with pytest.raises(AttributeError, match="expected a path or a binary file"):
        save({}, 3)


def test_files_of_other_tools(tmp_path):
    path = tmp_path / "plain.safetensors"
    safetensors.numpy.save_file(
        {"w": np.ones((2, 3), np.float32), "half": np.array([0.5, -2], np.float16)}, path, {"format": "np"}
    )
    found = load(path, map_location="cpu")
    assert type(found) is dict and found["w"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert found["half"].dtype is ng.float16 and found["half"].tolist() == [0.5, -2]


def test_bfloat16():
    head = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    body = (np.array([1.5, -3.0], np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    assert load(io.BytesIO(len(head).to_bytes(8, "little") + head + body))["x"].tolist() == [1.5, -3.0]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"PK\x03\x04" + bytes(60), "is no whole zip archive"),
        (b"\x80\x02}q\x00.", "it is a pickle that torch.save did not write"),
        (b"\x80\x05\x95" + bytes(10), "it is a pickle that torch.save did not write"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive, as PyTorch before version 0.1.10"),
        (b"\x93NUMPY" + bytes(20), "a NumPy .npy file"),
        (b"GGUF" + bytes(20), "a GGUF file"),
        (b"", "is no whole safetensors file"),
        (b"hello", "is no whole safetensors file"),
    ],
)
def test_other_formats_are_named(data, message, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_truncated_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save({"x": ng.from_numpy(np.arange(100))}, path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        load(path)


def test_unknown_dtype():
    data = safetensors.numpy.save({"n": np.ones(2, np.uint8)}).replace(b'"U8"', b'"X8"')
    with pytest.raises(TypeError, match="entry 'n' of the file has the dtype X8; numgrad reads BOOL, U8"):
        load(io.BytesIO(data))


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match="the value at 'a.1' is of type object; safetensors files hold tensors"):
        save({"a": [1, object()]}, tmp_path / "x.safetensors")
    with pytest.raises(TypeError, match=r"the object is of type Linear; save its state_dict\(\) instead"):
        save(nn.Linear(1, 1), tmp_path / "x.safetensors")
    with pytest.raises(pickle.PicklingError, match="lambda"):
        save({"a": lambda: 1}, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_newer_layout():
    data = safetensors.numpy.save({}, {"numgrad": json.dumps({"version": 99, "root": None})})
    with pytest.raises(ValueError, match="a newer numgrad wrote the file"):
        load(io.BytesIO(data))


def test_map_location(tmp_path):
    seen = []

    def place(tensor, location):
        seen.append(location)
        return tensor

    obj = {"x": ng.from_numpy(np.arange(2))}
    for location in ("cpu", ng.device("cpu"), {"cuda:0": "cpu"}, place):
        assert through_file(obj, tmp_path, map_location=location)["x"].tolist() == [0, 1]
    assert seen == ["cpu"]


def test_saved_from_cuda_loads_on_the_cpu(tmp_path):
    buffer = io.BytesIO()
    write(buffer, safetensors_parts({"x": ng.from_numpy(np.arange(2))}))
    arrays = safetensors.numpy.load(buffer.getvalue())
    root = {"dict": [["x", {"tensor": "x", "number": 0, "device": "cuda:0"}]]}
    data = safetensors.numpy.save(arrays, {"numgrad": json.dumps({"version": 1, "root": root})})
    assert load(io.BytesIO(data), map_location="cpu")["x"].is_cpu
    assert load(io.BytesIO(data), {"cuda:0": "cpu"})["x"].is_cpu


# --- crashes -----------------------------------------------------------------------------------------------------


def run_python(source, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)], **options)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
@pytest.mark.parametrize("moment", ["files.write", "files.flush", "os.replace"])
def test_killed_before_the_step(moment, name, tmp_path):
    path = tmp_path / name
    save({"x": ng.from_numpy(np.zeros(1000))}, path)
    source = """
        import os, signal, sys
        import numpy as np
        import numgrad as ng
        from numgrad import io
        from numgrad.serialization import files
        io.write = lambda *arguments: files.write(*arguments)
        holder, name = {"os": os, "files": files}[sys.argv[2].split(".")[0]], sys.argv[2].split(".")[1]
        assert hasattr(holder, name)
        setattr(holder, name, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
        io.save({"x": ng.from_numpy(np.ones(1000))}, sys.argv[1])
    """
    assert run_python(source, path, moment).wait(60) == -signal.SIGKILL
    assert load(path)["x"].numpy().sum() == 0


def test_killed_in_the_middle(tmp_path):
    path = tmp_path / "model.safetensors"
    source = """
        import itertools, sys
        import numpy as np
        import numgrad as ng
        from numgrad.io import save
        for k in itertools.count():
            save({"k": k, "x": ng.from_numpy(np.full(1 << 20, k, np.float32))}, sys.argv[1])
            print(k, flush=True)
    """
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = run_python(source, path, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.05)))
        process.kill()
        process.communicate()
        found = load(path)
        assert found["x"].shape == (1 << 20,) and (found["x"].numpy() == found["k"]).all()


def test_a_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "x"
    save({"x": 1}, path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save({"x": 2}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and load(path) == {"x": 1}


def test_links_and_permissions_survive(tmp_path):
    path, link = tmp_path / "real", tmp_path / "link"
    save({"x": 1}, path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    path.chmod(0o640)
    link.symlink_to(path)
    save({"x": 2}, link)
    assert link.is_symlink() and load(path) == {"x": 2} and path.stat().st_mode & 0o777 == 0o640


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
