"""Names of arguments: every public function and method takes those that PyTorch documents, and NumPy's where PyTorch does."""

import ast
import inspect
import re
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import numgrad as ng
from numgrad import printing
from numgrad.names import NUMPY

# What is not taken, and why.
REFUSED = {
    "out_dtype": "16-bit products that give float32, which PyTorch has on CUDA alone",
    "names": "named tensors",
    ("torch.compile", "name"): "for compiling backends",
    ("torch.compile", "recompile_limit"): "for compiling backends",
    ("torch.compile", "isolate_recompiles"): "for compiling backends",
    ("torch.compile", "shapes_spec"): "for compiling backends",
    ("torch.set_num_threads", "num"): "PyTorch takes no keyword",
    ("torch.set_num_interop_threads", "num"): "PyTorch takes no keyword",
    ("torch.save", "_disable_byteorder_record"): "private",
    ("Tensor.requires_grad_", "mode"): "in the stubs only; PyTorch refuses it",
    ("Tensor.size", "axis"): "models ask for sizes all the time; a second name would cost each call",
    ("Tensor.stride", "axis"): "as Tensor.size",
    ("Tensor.new", "cls"): "the class itself",
    ("Tensor.new", "args"): "in place only",
    ("Tensor.new", "size"): "deprecated in favour of new_empty, which has it",
    ("Tensor.new", "other"): "deprecated in favour of new_tensor",
    ("Tensor.new", "x2"): "deprecated in favour of new_tensor",
    ("Tensor.new", "storage"): "storages without a dtype",
    ("Tensor.to", "other"): "in place only",
    ("Tensor.to", "x2"): "in place only",
    ("torch.rrelu", "generator"): "slopes are drawn from the default stream",
    ("torch.rrelu_", "generator"): "slopes are drawn from the default stream",
}


def _split(text):
    """The parameters of a signature as it is written."""
    found, depth, part = [], 0, ""
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            found.append(part)
            part = ""
        else:
            part += character
    return [item.strip() for item in (*found, part) if item.strip()]


def documented(fn, name):
    """The names of a function's parameters by the signatures in its docstring, or by inspection."""
    if isinstance(fn, types.FunctionType):
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [p.name for p in inspect.signature(fn).parameters.values() if p.kind in kinds]
    names = []
    for line in re.findall(rf"^\s*(?:\.\. (?:function|method):: )?(?:torch\.)?(?:Tensor\.)?{re.escape(name)}(\(.*)$", fn.__doc__ or "", re.M):
        depths = np.cumsum([(character in "([{") - (character in ")]}") for character in line])
        end = int(np.argmin(depths != 0)) if 0 in depths else len(line)
        for parameter in _split(line[1:end]):
            parameter = re.sub(r"^(?:[A-Z]\w*(?:\[[^]]*\])?|float|bool|int|str)\s+(?=\w)", "", parameter)
            found = re.match(r"[A-Za-z_]\w*", parameter)
            if found and found[0] not in names:
                names.append(found[0])
    return names


def stubbed(file, cls=None):
    """Function -> the names of its parameters in all overloads, by PyTorch's stubs, which its parser is made from too."""
    torch = pytest.importorskip("torch")
    body = ast.parse((Path(torch.__file__).parent / "_C" / file).read_text()).body
    if cls is not None:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == cls).body
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs, *[node.args.vararg] * (node.args.vararg is not None)]
            found.setdefault(node.name, []).extend(a.arg for a in arguments if a.arg not in ("self", *found.get(node.name, ())))
    return found


def takes(fn, name, method):
    """Whether a function has a parameter of that name: Python says which it does not expect before anything else."""
    value = object()
    try:
        fn(*[ng.ones(2, 2)] * method, **{name: value})
    except TypeError as error:
        return f"unexpected keyword argument '{name}'" not in str(error) and f"unexpected keyword argument {name!r}" not in str(error)
    except Exception:
        return True
    return True


def cases():
    torch = pytest.importorskip("torch")
    functions, methods = stubbed("_VariableFunctions.pyi"), stubbed("__init__.pyi", "TensorBase")
    spaces = {
        "torch": (torch, ng, functions), "Tensor": (torch.Tensor, ng.Tensor, methods), "linalg": (torch.linalg, ng.linalg, {}),
        "special": (torch.special, ng.special, {}), "fft": (torch.fft, ng.fft, {}),
        "nn.functional": (torch.nn.functional, ng.nn.functional, {}),
    }  # fmt: skip
    for space, (theirs, ours, stubs) in spaces.items():
        for name in sorted(dir(theirs)):
            fn, own = getattr(theirs, name), getattr(ours, name, None)
            if name.startswith("_") or isinstance(fn, type) or not callable(fn) or own is None or inspect.ismodule(own):
                continue
            names = documented(fn, name)
            builtin = not isinstance(fn, types.FunctionType)
            if builtin and name in stubs:  # docstrings of methods have names that PyTorch itself refuses
                names = [n for n in names if n in stubs[name]] + [n for n in stubs[name] if n not in names]
            if builtin and space != "nn.functional":
                names += [other for n in names for other in NUMPY.get(n, ()) if space != "Tensor" or n != "input"]
            yield space, name, own, names


@pytest.fixture
def settings():
    """The settings as they were, after functions were called with nonsense."""
    kept = dict(printing._options), ng.get_default_dtype(), ng.get_num_threads()
    yield
    printing._options.update(kept[0])
    ng.set_default_dtype(kept[1])
    ng.set_num_threads(kept[2])


def test_functions_take_the_names_that_pytorch_documents(settings):
    missing, tried = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for space, name, fn, names in cases():
            for parameter in dict.fromkeys(names):
                tried += 1
                if parameter == "self" or parameter in REFUSED or (f"{space}.{name}", parameter) in REFUSED:
                    continue
                if not takes(fn, parameter, space == "Tensor"):
                    missing.append(f"{space}.{name}({parameter}=)")
    assert tried > 2500 and missing == []


def alike(found, right):
    found, right = (value if isinstance(value, tuple) else (value,) for value in (found, right))
    return len(found) == len(right) and all(ng.equal(a, b) and a.dtype is b.dtype for a, b in zip(found, right))


CALLS = {  # a call with other names: the same with the parameters' own
    "ng.cat([x, x], axis=1)": "ng.cat([x, x], 1)",
    "ng.stack(tensors=[x, x], axis=1)": "ng.stack([x, x], 1)",
    "x.sum(axis=0)": "x.sum(0)",
    "ng.sum(a=x, axis=(0, 1), keepdims=True)": "x.sum((0, 1), True)",
    "x.mean(axis=1, keepdims=True, dtype=ng.float64)": "x.mean(1, True, dtype=ng.float64)",
    "x.max(axis=1, keepdims=True)": "x.max(1, True)",
    "ng.max(x1=x, x2=y)": "ng.max(x, y)",
    "ng.argmax(x=x, axis=1)": "x.argmax(1)",
    "x.std(axis=0, correction=0)": "x.std(0, correction=0)",
    "x.softmax(axis=0)": "x.softmax(0)",
    "ng.exp(x=x)": "x.exp()",
    "ng.add(x1=x, x2=y, alpha=2)": "x.add(y, alpha=2)",
    "x.clone().mul_(x2=y)": "x * y",
    "ng.abs_(a=x.clone())": "x.abs()",
    "ng.where(x > 2, x=x, x2=y)": "ng.where(x > 2, x, y)",
    "x.unsqueeze(axis=1)": "x.unsqueeze(1)",
    "x.clone().unsqueeze_(axis=1)": "x.unsqueeze(1)",
    "ng.linalg.norm(x, axis=0, keepdims=True)": "ng.linalg.norm(x, dim=0, keepdim=True)",
    "ng.fft.fft(x, axis=0)": "ng.fft.fft(x, dim=0)",
    "x.permute(dims=(1, 0))": "x.t()",
    "ng.permute(x=x, dims=(1, 0))": "x.t()",
    "x.reshape(shape=(3, 2))": "x.reshape(3, 2)",
    "x.view(size=(6,))": "x.view(6)",
    "x[:1].expand(size=(4, 3))": "x[:1].expand(4, 3)",
    "x.split(split_size=1)": "x.split(1)",
    "ng.mv(x, vec=x[0])": "x @ x[0]",
    "ng.dot(x[0], tensor=x[1])": "x[0] @ x[1]",
    "x.hsplit(sections=3)": "x.hsplit(3)",
    "ng.zeros(size=(2, 3))": "ng.zeros(2, 3)",
    "x.new_ones(size=[2])": "ng.ones(2)",
    "ng.result_type(tensor=x, scalar=1) is ng.float32 and x": "x",
}


@pytest.mark.parametrize("call", CALLS)
def test_other_names_mean_the_parameters(call):
    space = {"ng": ng, "x": ng.arange(6.0).reshape(2, 3), "y": ng.full((2, 3), 2.5)}
    assert alike(eval(call, space), eval(CALLS[call], space))


@pytest.mark.parametrize("call, message", {
    "x.sum(0, axis=1)": "sum() got multiple values for argument 'dim'",
    "x.add(y, x2=y)": "add() got multiple values for argument 'other'",
    "ng.exp(x, x=y)": "exp() got multiple values for argument 'input'",
    "ng.exp(x, y)": "exp() takes 1 positional arguments but more were given",
    "ng.exp()": "exp() missing 1 required positional argument: 'input'",
    "ng.exp(x, axis=0)": "exp() got an unexpected keyword argument 'axis'",
    "x.clone().add_(y, 1, y)": "add_() takes 3 positional arguments but more were given",
    "x.clone().add_()": "add_() missing 1 required positional argument: 'other'",
    "x.unsqueeze(0, axis=0)": "unsqueeze() got multiple values for argument 'dim'",
    "x.unsqueeze(0, 1)": "unsqueeze() takes 2 positional arguments but more were given",
    "x.unsqueeze()": "unsqueeze() missing 1 required positional argument: 'dim'",
    "x.var(0, axis=0, correction=1)": "var() got multiple values for argument 'dim'",
    "ng.cat(axis=0)": "cat() missing 1 required positional argument: 'tensors'",
}.items())  # fmt: skip
def test_names_that_do_not_fit_are_said(call, message):
    space = {"ng": ng, "x": ng.arange(6.0).reshape(2, 3), "y": ng.full((2, 3), 2.5)}
    with pytest.raises(TypeError) as caught:
        eval(call, space)
    assert str(caught.value) == message


def test_functions_behind_doors_are_pickled_by_their_public_names():
    import pickle

    for fn in (ng.cat, ng.linalg.norm, ng.fft.fft, ng.Tensor.cumsum, ng.abs_):
        assert pickle.loads(pickle.dumps(fn)) is fn
    assert "dim" in inspect.signature(ng.cat).parameters and ng.cat.__doc__


@pytest.mark.parametrize("call, right", {
    "x.clone().add_(2, y)": "x + 2 * y", "ng.sub(x, 2, y)": "x - 2 * y", "ng.addcmul(x, 2, y, y)": "x + 2 * y * y",
    "x.clone().addcdiv_(2, x, y)": "x + 2 * x / y", "ng.addmm(2, x, 3, x, x)": "2 * x + 3 * (x @ x)",
    "x.addmm(2, x, x)": "2 * x + x @ x", "x.clone().addmm_(2, 3, x, x)": "2 * x + 3 * (x @ x)",
    "x[0].addmv(2, 3, x, x[0])": "2 * x[0] + 3 * (x @ x[0])", "ng.addr(2, x, x[0], x[1])": "2 * x + ng.outer(x[0], x[1])",
}.items())  # fmt: skip
def test_numbers_before_tensors(call, right, monkeypatch):
    monkeypatch.setattr("numgrad.config._warned", set())
    space = {"ng": ng, "x": ng.tensor([[1.0, 2.0], [3.0, 5.0]]), "y": ng.full((2, 2), 2.5)}
    with pytest.warns(UserWarning, match="deprecated"):
        found = eval(call, space)
    assert ng.allclose(found, eval(right, space))


SCALARS = [np.complex64(2 + 1j), np.complex128(2 + 1j), np.float32(1.5), np.float64(1.5), np.float16(1.5), np.int8(3), np.int64(3), np.bool_(True)]  # fmt: skip
USES = """x * s; s * x; x + s; s - x; x / s; x == s; ng.add(x, s); x.masked_fill(x == x, s); ng.where(x == x, s, x)
x.clone().mul_(s); x.index_fill(0, i, s); x.clone().fill_(s); put(x.clone(), s); ng.nn.functional.pad(x, (1, 1), value=s)"""


def put(x, s):
    x[0] = s
    return x


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_scalars_of_numpy_are_the_numbers_that_they_are(scalar):
    for x in (ng.tensor([1 + 1j, 2 - 1j]), ng.tensor([1.0, 2.0])):
        for use in USES.replace("\n", "; ").split("; "):
            found = []
            for s in (scalar, scalar.item()):
                try:
                    found.append(eval(use, {"ng": ng, "put": put, "i": ng.tensor([0]), "x": x, "s": s}))
                except (RuntimeError, TypeError) as error:
                    found.append(str(error))
            assert found[0] == found[1] if isinstance(found[1], str) else alike(*found), use


def test_everyday_forms():
    x = ng.ones(3, requires_grad=True)
    with ng.no_grad():
        assert x.numpy().tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="requires grad"):
        x.numpy()
    assert not any((x.is_xpu, x.is_mps, x.is_meta, x.is_sparse, x.is_sparse_csr, x.is_quantized, x.is_mkldnn, x.is_vulkan, x.is_xla))
    assert ng.randint_like(x, high=2).max() < 2 and ng.randint_like(x, low=3, high=5).min() >= 3
    assert ng.zeros(2).scatter_(0, ng.tensor([0]), 2.0, reduce="add").tolist() == [2, 0]
    module = ng.nn.Linear(1, 1)
    module.note = 1
    with pytest.raises(KeyError, match="attribute 'note' already exists"):
        module.register_buffer("note", ng.zeros(1))
    shared = np.arange(3.0)
    assert ng.from_dlpack(shared, copy=True).data_ptr() != shared.ctypes.data == ng.from_dlpack(shared, copy=False).data_ptr()


# --- what is no tensor, and what is no bool ------------------------------------------------------------------------------


# Functions that are Python in PyTorch, where any truth will do; those that are gone; one that takes any object.
_IN_PYTHON = ("lu", "pca_lowrank", "svd_lowrank", "eig", "lstsq", "matrix_rank", "solve", "symeig", "is_tensor", "is_storage", "is_complex", "flip")


def takers_of_one_tensor():
    """Public functions whose one argument without a default is the tensor ``input``, with the defaults of the others."""
    for space in (ng, ng.linalg, ng.fft, ng.special):
        for name, fn in vars(space).items():
            if not isinstance(fn, types.FunctionType) or name.startswith("_"):
                continue
            parameters = list(inspect.signature(fn).parameters.values())
            needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            if [p.name for p in needed] in (["input"], ["A"]) and name not in _IN_PYTHON:
                yield f"{space.__name__}.{name}", fn, {p.name: p.default for p in parameters if p.default is not p.empty}


ONE_TENSOR = list(takers_of_one_tensor())


def test_most_functions_are_looked_at():
    assert len(ONE_TENSOR) > 150


@pytest.mark.parametrize(("name", "fn", "defaults"), ONE_TENSOR, ids=[name for name, _, _ in ONE_TENSOR])
def test_what_is_no_tensor_is_said_to_be_none(name, fn, defaults):
    with pytest.raises(TypeError, match=r"must be Tensor|expected .*[Tt]ensor|must be a [Tt]ensor"):
        fn("x")


@pytest.mark.parametrize(("name", "fn", "defaults"), ONE_TENSOR, ids=[name for name, _, _ in ONE_TENSOR])
def test_a_choice_is_true_or_false(name, fn, defaults):
    for parameter, default in defaults.items():
        if type(default) is bool and not name.endswith("_like"):
            for value in (1, None, "no"):
                with pytest.raises(TypeError, match=f"argument '{parameter}' must be bool, not {type(value).__name__}"):
                    fn(ng.eye(3), **{parameter: value})
