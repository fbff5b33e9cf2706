"""`as_torch`, and what scripts use around tensors under PyTorch's names."""

import os
import subprocess
import sys
import textwrap

import pytest

import numgrad as ng
import numgrad.nn as nn


def run(source):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_unmodified_script():
    printed = run("""
        import numgrad
        numgrad.as_torch()

        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        import torch.optim as optim
        from torch import Tensor
        from torch.nn.utils import clip_grad_norm_
        from torch.optim.lr_scheduler import StepLR
        from torch.utils.data import DataLoader, TensorDataset

        assert torch.__name__ == "torch" and torch.add is numgrad.add and torch.nn is nn is numgrad.nn and F is numgrad.nn.functional and Tensor is numgrad.Tensor
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), batch_size=4, shuffle=True)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        scheduler = StepLR(optimizer, 1)
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        assert numgrad.__spec__.name == "numgrad" and nn.__name__ == "numgrad.nn"
        print("well")
    """)
    assert printed == "well\n"


def test_as_a_context():
    printed = run("""
        import sys
        import numgrad as ng

        with ng.as_torch() as torch:
            with ng.as_torch():
                import torch.nn
            import torch.utils.data as data
            try:
                import torch.no_such_module
            except ModuleNotFoundError as error:
                print(error)
        assert data.DataLoader is ng.utils.data.DataLoader
        print([name for name in sys.modules if name.split(".")[0] == "torch"], len(sys.meta_path))
        count = len(sys.meta_path)
        ng.as_torch()
        ng.as_torch()
        assert len(sys.meta_path) == count + 1
    """)
    assert "has no module torch.no_such_module" in printed and "\n[] " in printed


def test_pytorch_is_not_shadowed():
    pytest.importorskip("torch")
    with pytest.raises(ImportError, match=r"PyTorch is imported already, from .*; call numgrad.as_torch\(\) before"):
        ng.as_torch()


# Imports as scripts have them, and what each must be.
PATHS = """
    from torch.nn.modules.module import Module; Module is torch.nn.Module
    from torch.nn.modules.batchnorm import _BatchNorm; isinstance(torch.nn.BatchNorm2d(1), _BatchNorm)
    from torch.nn.modules.conv import _ConvNd; isinstance(torch.nn.Conv2d(1, 1, 1), _ConvNd)
    from torch.nn.modules.loss import _Loss, _WeightedLoss; issubclass(_WeightedLoss, _Loss)
    from torch.nn.modules.utils import _pair, _triple, _ntuple; _pair(3) == (3, 3) and _triple([1, 2, 3]) == (1, 2, 3)
    from torch.nn.modules.transformer import _get_clones; len(_get_clones(torch.nn.ReLU(), 2)) == 2
    from torch.nn.common_types import _size_2_t; _size_2_t is not None
    import torch.nn.modules.activation as activation; activation.MultiheadAttention is torch.nn.MultiheadAttention
    import torch; torch.nn.modules.conv.Conv2d is torch.nn.Conv2d and torch.nn.modules.Linear is torch.nn.Linear
    from torch.distributions.normal import Normal; Normal is torch.distributions.Normal
    from torch.distributions.utils import broadcast_all, lazy_property; len(broadcast_all(1.0, 2.0)) == 2
    from torch.cuda.amp import autocast, GradScaler, custom_fwd; GradScaler is torch.cuda.amp.GradScaler
    from torch.utils.hooks import RemovableHandle; isinstance(torch.nn.ReLU().register_forward_hook(print), RemovableHandle)
    from torch.utils._pytree import tree_map, tree_flatten; tree_map(abs, {"a": (-1,)}) == {"a": (1,)}
    from torch.utils.data._utils.collate import default_collate; default_collate([1, 2]).tolist() == [1, 2]
    from torch._tensor import Tensor; Tensor is torch.Tensor
    from torch.jit import script, trace; script(Tensor) is Tensor is torch.jit.trace(Tensor)
    import torch.jit as jit; jit.ignore(print) is jit.unused(print) is jit.export(print) is jit.ignore(drop=True)(print)
    import torch.jit as jit; jit.annotate(int, 2) == 2 and not jit.is_scripting() and not jit.is_tracing()
    import torch.distributed as dist; not dist.is_available() and not dist.is_initialized()
    from torch.nn.modules.conv import *; Conv2d is torch.nn.Conv2d and "nn" not in dir() and "Parameter" not in dir()
    import torch.nn.modules; {"Linear", "Module"} <= set(torch.nn.modules.__all__) and "init" not in torch.nn.modules.__all__
    from torch._C._nn import _parse_to; repr(_parse_to(memory_format=torch.channels_last)[3]) == "torch.channels_last"
    import torch.version; torch.version.__version__ == torch.__version__ and torch.version.cuda is None
"""


def test_paths_of_pytorch():
    lines = [line.strip().split("; ") for line in PATHS.strip().splitlines()]
    printed = run(
        "import numgrad; numgrad.as_torch(); import torch\n"
        + "".join(f"{statement}\nprint({expected})\n" for statement, expected in lines)
    )
    assert printed.split() == ["True"] * len(lines)
    from numgrad.nn.modules import pooling  # and under numgrad's own name

    assert isinstance(nn.AvgPool2d(2), pooling._AvgPoolNd) and "numgrad.nn.modules.pooling" in repr(pooling)
    with pytest.raises(AttributeError, match=r"module 'numgrad.nn.modules.pooling' has no attribute 'Nothing'"):
        pooling.Nothing  # noqa: B018
    with pytest.raises(ImportError, match="No module named 'numgrad.nn.modules.nothing'"):
        import numgrad.nn.modules.nothing  # noqa: F401


def test_prefixes_of_state_dicts():
    state = ng.nn.Sequential(ng.nn.Linear(1, 1)).state_dict(prefix="module.")
    ng.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["0.weight", "0.bias"] and list(state._metadata) == ["", "0"]


# --- random state ------------------------------------------------------------------------------------------------


def test_random_state():
    ng.random.manual_seed(3)
    assert ng.random.initial_seed() == ng.initial_seed() == 3
    state = ng.random.get_rng_state()
    expected = ng.rand(3)
    with ng.random.fork_rng():
        ng.manual_seed(9)
        ng.rand(100)
    ng.random.set_rng_state(state)
    assert ng.equal(ng.rand(3), expected)
    with ng.random.fork_rng(enabled=False):
        ng.manual_seed(9)
    assert ng.initial_seed() == 9 and isinstance(ng.random.seed(), int)
    with pytest.raises(RuntimeError, match="expected device_type 'cuda', got 'xpu'"), ng.random.fork_rng(device_type="xpu"):
        pass


# --- types -------------------------------------------------------------------------------------------------------


def test_tensor_types():
    assert ng.FloatTensor([1, 2]).dtype is ng.float32 and ng.LongTensor([[1], [2]]).tolist() == [[1], [2]]
    assert ng.DoubleTensor(2, 3).shape == (2, 3) and ng.IntTensor().shape == (0,) and ng.ByteTensor(ng.Size((4,))).shape == (4,)
    assert ng.FloatTensor((1, 2)).tolist() == [1, 2] and ng.BoolTensor([True]).dtype is ng.bool
    x = ng.zeros(2)
    assert isinstance(x, ng.FloatTensor) and not isinstance(x, ng.LongTensor) and not isinstance(1, ng.CharTensor)
    assert ng.FloatTensor(x).data_ptr() == x.data_ptr() and repr(ng.ShortTensor) == "<class 'torch.ShortTensor'>"
    assert x.type(ng.LongTensor).dtype is ng.int64 and x.type() == "torch.FloatTensor"
    with pytest.raises(TypeError, match=r"expected torch.FloatTensor \(got torch.LongTensor\)"):
        ng.FloatTensor(ng.arange(3))
    with pytest.raises(TypeError, match="LongTensor.*expected sizes or one sequence"):
        ng.LongTensor(2, -1)


# --- settings ----------------------------------------------------------------------------------------------------


def test_default_device():
    ng.set_default_device("cpu")
    assert ng.get_default_device() == ng.device("cpu")
    with ng.device("cuda:1"):
        assert ng.get_default_device() == ng.device("cuda:1")
    ng.set_default_device(None)
    assert ng.get_default_device() == ng.device("cpu")


def test_default_dtype():
    ng.set_default_dtype(ng.float64)
    try:
        assert ng.tensor([1.0]).dtype is ng.ones(1).dtype is ng.rand(1).dtype is nn.Linear(1, 1).weight.dtype is ng.float64
        assert ng.FloatTensor([1]).dtype is ng.float32 and ng.tensor([1]).dtype is ng.int64
    finally:
        ng.set_default_dtype(ng.float32)
    with pytest.raises(TypeError, match="expected a floating-point dtype"):
        ng.set_default_dtype(ng.int64)


def test_determinism():
    assert not ng.are_deterministic_algorithms_enabled()
    ng.use_deterministic_algorithms(True, warn_only=True)
    assert ng.are_deterministic_algorithms_enabled() and ng.is_deterministic_algorithms_warn_only_enabled()
    ng.set_deterministic_debug_mode("error")
    assert ng.get_deterministic_debug_mode() == 2 and not ng.is_deterministic_algorithms_warn_only_enabled()
    ng.use_deterministic_algorithms(False)
    assert ng.get_deterministic_debug_mode() == 0
    with pytest.raises(RuntimeError, match="expected 0, 1, 2 or one of"):
        ng.set_deterministic_debug_mode("always")


def test_precision_and_backends():
    assert ng.get_float32_matmul_precision() == "highest" and not ng.backends.cuda.matmul.allow_tf32
    ng.backends.cuda.matmul.allow_tf32 = True
    assert ng.get_float32_matmul_precision() == "high"
    ng.set_float32_matmul_precision("highest")
    assert not ng.backends.cuda.matmul.allow_tf32 and ng.backends.cuda.is_built()
    ng.backends.cudnn.benchmark = True
    with ng.backends.cudnn.flags(enabled=False, deterministic=True):
        assert ng.backends.cudnn.deterministic and not ng.backends.cudnn.benchmark and not ng.backends.cudnn.enabled
    assert ng.backends.cudnn.benchmark and not ng.backends.cudnn.deterministic and not ng.backends.cudnn.is_available()
    ng.backends.cudnn.benchmark = False
    assert ng.backends.cudnn.version() is None and not ng.backends.mps.is_available() and not ng.backends.mps.is_built()
    assert not ng.backends.mkldnn.is_available() and isinstance(ng.backends.mkl.is_available(), bool)
    assert isinstance(ng.backends.openmp.is_available(), bool)
    assert ng.get_num_interop_threads() == 1
    ng.set_num_interop_threads(2)
    with pytest.raises(RuntimeError, match="a positive integer"):
        ng.set_num_interop_threads(0)


def test_accelerator():
    assert ng.accelerator.is_available() == ng.cuda.is_available()
    assert ng.accelerator.device_count() == ng.cuda.device_count()
    found = ng.accelerator.current_accelerator()
    assert found == (ng.device("cuda") if ng.cuda.is_available() else None)
    ng.accelerator.synchronize()
    ng.accelerator.empty_cache()


def test_compile_is_eager_and_says_so():
    model = nn.Linear(1, 1)
    assert ng.compile(model, mode="max-autotune", fullgraph=True) is model

    @ng.compile
    def f(x):
        return x + 1

    @ng.compile(dynamic=True)
    def g(x):
        return x + 2

    assert f(1) == 2 and g(1) == 3 and ng.compiler.list_backends() == ["eager"] and not ng.compiler.is_compiling()
    assert ng.compiler.disable(f) is f and ng.compiler.disable()(f) is f
    with pytest.raises(RuntimeError, match="expected backend 'eager', got 'inductor'"):
        ng.compile(model, backend="inductor")


# --- checkpointing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("input_grad", [True, False])
def test_checkpoint(reentrant, input_grad):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2))
    found = []
    for wrapped in (False, True):
        x = ng.arange(6.0).reshape(2, 3).requires_grad_(input_grad)
        model.zero_grad()
        ng.manual_seed(1)
        checkpoint = ng.utils.checkpoint.checkpoint
        out = checkpoint(model, x, use_reentrant=reentrant) if wrapped else model(x)
        after = ng.rand(1)
        out.pow(2).sum().backward()
        found.append([out, after, *(p.grad for p in model.parameters()), *([x.grad] if input_grad else [])])
    assert all(ng.equal(a, b) for a, b in zip(*found))


def test_checkpoint_of_tuples_and_parts():
    x = ng.ones(3, requires_grad=True)
    a, b = ng.utils.checkpoint.checkpoint(lambda x, k, *, shift: (x * k, x + shift), x, 3, shift=1.0, use_reentrant=False)
    (a.sum() + 2 * b.sum()).backward()
    assert x.grad.tolist() == [5, 5, 5]
    with ng.no_grad():
        assert not ng.utils.checkpoint.checkpoint(lambda x: x * 2, x, use_reentrant=False).requires_grad
    parts = [lambda v: v * 2, lambda v: v + 1, lambda v: v * v]
    x.grad = None
    ng.utils.checkpoint.checkpoint_sequential(parts, 2, x, use_reentrant=False).sum().backward()
    assert x.grad.tolist() == [12, 12, 12]
    with pytest.raises(ValueError, match="expected 1 to 3 segments, got 4"):
        ng.utils.checkpoint.checkpoint_sequential(parts, 4, x, use_reentrant=False)


# --- weights from the net ----------------------------------------------------------------------------------------


def test_hub(tmp_path):
    source = tmp_path / "net-00000000.pt"
    ng.save({"x": ng.arange(3)}, source)
    before = ng.hub.get_dir()
    ng.hub.set_dir(tmp_path / "hub")
    try:
        for _ in range(2):
            found = ng.hub.load_state_dict_from_url(source.as_uri())
            assert found["x"].tolist() == [0, 1, 2]
        assert (tmp_path / "hub" / "checkpoints" / source.name).exists()
        with pytest.raises(ValueError, match="expected one that begins with 00000000; download it again"):
            ng.hub.load_state_dict_from_url(source.as_uri(), str(tmp_path / "other"), check_hash=True)
        assert list((tmp_path / "other").iterdir()) == []
    finally:
        ng.hub.set_dir(before)
    for refused in (lambda: ng.hub.load("a/b", "net"), lambda: ng.hub.list("a/b"), lambda: ng.hub.help("a/b", "net")):
        with pytest.raises(RuntimeError, match=r"hub\.\w+: 'a/b' is a program written for PyTorch"):
            refused()


def test_the_version_is_pytorchs():
    printed = run("""
        import numgrad
        with numgrad.as_torch() as torch:
            import importlib.metadata, torch.version
            assert torch.__version__ == torch.version.__version__ == importlib.metadata.version("torch")
            assert torch.__version__ >= "2.6" and torch.__version__ >= (2, 6) and not torch.__version__ < "2.9"
            assert isinstance(torch.__version__, str) and torch.__version__.split(".")[0] == "2"
        assert numgrad.__version__ == numgrad.version.__version__ != numgrad.torch_version.__version__
        print("well")
    """)
    assert printed == "well\n"


def test_versions_are_ordered_as_versions():
    from numgrad.torch_version import TorchVersion

    ordered = ["1.9", "2.0.0.dev20", "2.0.0a0", "2.0.0b2", "2.0.0rc1", "2.0.0rc2", "2.0", "2.0.post1", "2.0.1", "2.9.9", "2.10"]
    for k, one in enumerate(ordered):
        for j, two in enumerate(ordered):
            a = TorchVersion(one)
            assert (a < two, a <= two, a == two, a != two, a >= two, a > two) == (k < j, k <= j, k == j, k != j, k >= j, k > j)
    assert TorchVersion("2.1.0+cpu") == "2.1" == TorchVersion("2.1.0") and TorchVersion("2.1") > (2, 0, 9)
    assert TorchVersion("2.1") != "parrot" and hash(TorchVersion("2.1")) == hash("2.1")


def test_modules_are_attributes():
    """What PyTorch has after ``import torch``, numgrad has without an import of its own, where it has the module at all."""
    pytest.importorskip("torch")
    names = run("""
        import sys, torch
        def there(path):
            at = torch
            for name in path.split("."):
                at = getattr(at, name, None)
            return at is not None
        paths = sorted(name[6:] for name in list(sys.modules) if name.startswith("torch."))
        print(*[path for path in paths if there(path)])
    """).split()
    assert "utils.hooks" in names and "distributions.normal" in names and len(names) > 100
    printed = run(f"""
        import importlib.util, numgrad
        def there(path):
            at = numgrad
            for name in path.split("."):
                at = getattr(at, name, None)
            return at is not None
        missing = [path for path in {names!r} if not there(path)]
        def found(path):
            try:
                return importlib.util.find_spec(f"numgrad.{{path}}") is not None
            except ModuleNotFoundError:
                return False
        print(*[path for path in missing if found(path)])
    """)
    assert printed.split() == []


def test_types_of_tensors_in_annotations():
    def f(x: ng.LongTensor | None, y: None | ng.FloatTensor = None) -> ng.BoolTensor | ng.ByteTensor: ...

    assert isinstance(ng.ones(1), f.__annotations__["y"]) and not isinstance(ng.ones(1), f.__annotations__["x"])
    assert isinstance(None, f.__annotations__["x"]) and repr(ng.cuda.FloatTensor) == "<class 'torch.cuda.FloatTensor'>"
