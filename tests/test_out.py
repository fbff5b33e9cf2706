"""``out=`` writes where the tensor given is, with its strides, and nowhere else: for every function that takes it."""

import functools
import inspect

import pytest

import numgrad as ng
import numgrad.fft
import numgrad.linalg
import numgrad.nn.functional
import numgrad.special

ng.manual_seed(0)
X = ng.rand(2, 4)
Y = ng.rand(2, 4) + 1.5
B = X > 0.5
ROWS, J = ng.tensor([0, 1]), ng.tensor([[0, 1, 1, 0]])
N = ng.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
S = ng.eye(3) * 2 + ng.rand(3, 3) * 0.1  # a matrix that is well-conditioned
P = S @ S.T
Z = ng.complex(X, Y)
V = ng.rand(6).sort().values

# What each function is called with if not with ``X``; None: it needs arguments by name, or what it gives is not defined.
CALLS = {
    "acosh": (Y,), "arccosh": (Y,), "mean": (X, 0), "sum": (X, 1), "prod": (X, 0), "nanmean": (X, 0), "nansum": (X, 0),
    "amax": (X, 0), "amin": (X, 0), "std": (X, 0), "var": (X, 0), "norm": (X, 2, 0), "all": (B, 0), "any": (B, 0),
    "add": (X, Y), "addbmm": (S, S[None], S[None]), "addcdiv": (X, X, Y), "addcmul": (X, X, Y), "addmm": (S, S, S),
    "addmv": (S[0], S, S[0]), "addr": (S, S[0], S[1]), "aminmax": (X,), "arange": (5,), "arctan2": (X, Y), "atan2": (X, Y),
    "baddbmm": (S[None], S[None], S[None]), "bernoulli": (X,), "bitwise_and": (N, N), "bitwise_left_shift": (N, 1),
    "bitwise_not": (N,), "bitwise_or": (N, 1), "bitwise_right_shift": (N, 1), "bitwise_xor": (N, 3), "bmm": (S[None], S[None]),
    "bucketize": (X, V), "cat": ((X, Y),), "ceil": (X,), "chain_matmul": (S, S, S), "cholesky": (P,),
    "cholesky_inverse": (P,), "cholesky_solve": (S, P), "clamp": (X, 0.2, 0.8), "clamp_max": (X, 0.5), "clamp_min": (X, 0.5),
    "clip": (X, 0.2), "column_stack": ((X, Y),), "complex": (X, Y), "concat": ((X, Y),), "concatenate": ((X, Y),),
    "conj_physical": (Z,), "copysign": (X, -Y), "cross": (S, P), "cummax": (X, 0), "cummin": (X, 0), "cumprod": (X, 0),
    "cumsum": (X, 0), "diag": (S,), "diff": (X,), "div": (X, Y), "divide": (X, Y), "dot": (S[0], S[1]), "dstack": ((X, Y),),
    "empty": None, "eq": (X, Y), "eye": (3,), "float_power": (X, 2), "floor_divide": (Y, X), "fmax": (X, Y), "fmin": (X, Y),
    "fmod": (Y, X), "frexp": (X,), "full": ((2, 3), 4.0), "gather": (X, 0, J), "gcd": (N, N + 1), "ge": (X, Y), "geqrf": (S,),
    "ger": (S[0], S[1]), "greater": (X, Y), "greater_equal": (X, Y), "gt": (X, Y), "heaviside": (X, Y), "histc": (X, 4),
    "histogram": (X, 4), "hstack": ((X, Y),), "hypot": (X, Y), "igamma": (X, Y), "igammac": (X, Y), "index_add": (X, 0, ROWS, Y),
    "index_copy": (X, 0, ROWS, Y), "index_reduce": (X, 0, ROWS, Y, "prod"), "index_select": (X, 1, ROWS), "inner": (X, Y),
    "inverse": (S,), "isin": (X, Y), "kron": (X, S), "kthvalue": (X, 2), "lcm": (N, N + 1), "ldexp": (X, N), "le": (X, Y),
    "lerp": (X, Y, 0.3), "less": (X, Y), "less_equal": (X, Y), "linspace": (0, 1, 5), "logaddexp": (X, Y),
    "logaddexp2": (X, Y), "logcumsumexp": (X, 0), "logical_and": (B, B), "logical_or": (B, B), "logical_xor": (B, B),
    "logspace": (0, 1, 4), "logsumexp": (X, 0), "lt": (X, Y), "lu_solve": (S, *ng.linalg.lu_factor(S)),
    "lu_unpack": (*ng.linalg.lu_factor(S),), "masked_select": (X, B), "matmul": (X, S[:, :1].expand(3, 4).T),
    "matrix_power": (S, 3), "max": (X, 0), "maximum": (X, Y), "median": (X, 0), "min": (X, 0), "minimum": (X, Y), "mm": (S, P),
    "mode": (N, 0), "mul": (X, Y), "multinomial": (X, 2), "multiply": (X, Y), "mv": (S, S[0]), "mvlgamma": (X + 3, 2),
    "nanmedian": (X, 0), "nanquantile": (X, 0.5, 0), "narrow_copy": (X, 1, 1, 2), "ne": (X, Y), "nextafter": (X, Y),
    "normal": (X, Y), "not_equal": (X, Y), "ones": (2, 3), "orgqr": (S, S[0]), "outer": (S[0], S[1]),
    "polar": (X, Y), "polygamma": (2, Y), "pow": (X, 3), "qr": (S,), "quantile": (X, 0.5, 0), "rand": (2, 3), "randint": (9, (2, 3)),
    "randn": (2, 3), "randperm": (6,), "range": None, "remainder": (Y, X), "renorm": (X, 2, 0, 0.5), "round": (X,),
    "row_stack": ((X, Y),), "scatter": (X, 0, J, 2.0), "scatter_add": (X, 0, J, Y[:1]), "scatter_reduce": (X, 0, J, Y[:1], "sum"),
    "searchsorted": (V, X), "slice_scatter": (X, Y[:, :2], 1, 1, 3), "slogdet": (S,), "softmax": (X, 1), "log_softmax": (X, 1),
    "sort": (X, 0), "stack": ((X, Y),), "sub": (X, Y), "subtract": (X, Y), "svd": (S,), "take": (X, N - 1),
    "take_along_dim": (X, J, 0), "tensordot": (X, Y.T, 1), "threshold": (X, 0.5, 0.0), "topk": (X, 2), "triangular_solve": (S, S),
    "true_divide": (X, Y), "view_as_real_copy": None, "vstack": ((X, Y),), "where": (B, X, Y), "xlogy": (X, Y), "zeros": (2, 3),
    "det": (S,), "rsub": (X, Y), "vdot": (S[0], S[1]), "view_as_complex_copy": (ng.rand(3, 2),),
    "nn.functional.threshold": (X, 0.5, 0.0), "nn.functional.avg_pool2d": (X[None], 2), "nn.functional.avg_pool3d": (X[None, None], (1, 2, 2)),
    "nn.functional.hardshrink": (X,), "nn.functional.linear": (X, Y), "nn.functional.logsigmoid": (X,),
    "nn.functional.softplus": (X,), "nn.functional.softshrink": (X,), "nn.functional.gelu": (X,), "hardshrink": (X,),
    "fft.fftfreq": (5,), "fft.rfftfreq": (5,), "fft.irfft": (Z,), "fft.irfft2": (Z,), "fft.irfftn": (Z,), "fft.hfft": (Z,),
    "fft.hfft2": (Z,), "fft.hfftn": (Z,),
    "linalg.cholesky": (P,), "linalg.cholesky_ex": (P,), "linalg.cross": (S, P), "linalg.det": (S,), "linalg.eigh": (P,),
    "linalg.eigvalsh": (P,), "linalg.householder_product": (S, S[0]), "linalg.inv": (S,), "linalg.inv_ex": (S,),
    "linalg.lstsq": (S, S), "linalg.lu": (S,), "linalg.lu_factor": (S,), "linalg.lu_factor_ex": (S,), "linalg.ldl_solve": (*ng.linalg.ldl_factor(S), S), "ormqr": (*ng.geqrf(S), S),
    "linalg.lu_solve": (*ng.linalg.lu_factor(S), S), "linalg.matmul": (S, S), "linalg.matrix_norm": (S,),
    "linalg.matrix_power": (S, 2), "linalg.matrix_rank": (S,), "linalg.multi_dot": ((S, S, S),), "linalg.norm": (X,),
    "linalg.pinv": (S,), "linalg.qr": (S,), "linalg.slogdet": (S,), "linalg.solve": (S, S), "linalg.solve_ex": (S, S),
    "linalg.solve_triangular": None, "linalg.svd": (S,), "linalg.svdvals": (S,), "linalg.tensorinv": (S.reshape(3, 3, 1) * 1, 1),
    "linalg.tensorsolve": (S, S[0]), "linalg.vecdot": (X, Y), "linalg.vector_norm": (X,),
    "special.gammainc": (X, Y), "special.gammaincc": (X, Y), "special.log_softmax": (X, 1), "special.logsumexp": (X, 0),
    "special.multigammaln": (X + 3, 2), "special.polygamma": (1, Y), "special.softmax": (X, 1), "special.xlog1py": (X, Y),
    "special.xlogy": (X, Y), "special.zeta": (Y, Y),
    **{f"special.{name}": (X.double(),) for name in ("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1")},
    **{f"special.{name}": (X, N) for name in vars(ng.special) if "_polynomial_" in name},
}  # fmt: skip


def public():
    """Name -> function of all public ones that take ``out``."""
    found = {}
    for prefix, module in (("", ng), ("nn.functional.", ng.nn.functional), ("linalg.", ng.linalg), ("special.", ng.special),
                           ("fft.", ng.fft)):  # fmt: skip
        for name, fn in vars(module).items():
            if name.startswith("_") or isinstance(fn, type) or not callable(fn):
                continue
            try:
                parameters = inspect.signature(fn.build() if hasattr(fn, "build") else fn).parameters
            except ValueError:
                continue
            takes = "out" in parameters or "options" in parameters and hasattr(fn, "op")  # reductions have it there
            if takes and fn.__module__ != "numgrad.inplace":
                found[prefix + name] = fn
    return found


PUBLIC = public()
PUBLIC["nonzero_static"] = functools.partial(ng.nonzero_static, size=5)


def arguments(name):
    """What the function is called with: by the table, or with one tensor."""
    return CALLS[name] if name in CALLS else (S if name.startswith("linalg.") else X,)


def strided(result):
    """(a tensor filled with a mark, a view of every other element of it, in the shape and dtype of ``result``)."""
    mark = True if result.dtype is ng.bool else 77
    base = ng.full([2 * n + 1 for n in result.shape] or [3], mark, dtype=result.dtype)
    return base, base[tuple(slice(1, 2 * n, 2) for n in result.shape)] if result.dim() else base[1]


def listed(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC if arguments(name) is not None))
def test_out_is_written_where_it_is(name):
    fn, given = PUBLIC[name], arguments(name)
    ng.manual_seed(1)
    right = fn(*given)
    pairs = [strided(part) for part in listed(right)]
    views = [view for _, view in pairs]
    ng.manual_seed(1)
    returned = fn(*given, out=tuple(views) if isinstance(right, (tuple, list)) else views[0])
    for part, back, (base, view) in zip(listed(right), listed(returned), pairs):
        assert back is view or back.data_ptr() == view.data_ptr()
        assert ng.equal(view, part) or (view.isnan() == part.isnan()).all() and ng.equal(view.nan_to_num(), part.nan_to_num())
        held = base.clone()
        (held[tuple(slice(1, 2 * n, 2) for n in part.shape)] if part.dim() else held[1]).fill_(True if part.dtype is ng.bool else 77)
        assert (held == (True if part.dtype is ng.bool else 77)).all(), "written outside the view"


def test_out_keeps_what_it_is():
    """An ``out`` of the right shape is not laid out anew; one of another shape warns and takes it."""
    base = ng.zeros(4, 4)
    for make in (lambda out: ng.arange(4.0, out=out), lambda out: ng.linspace(0, 3, 4, out=out)):
        view = base[1:3, 1:3]
        make(view)  # as many elements: the shape stays
        assert view.shape == (2, 2) and view.tolist() == [[0, 1], [2, 3]] and base.sum() == 6
    with pytest.warns(UserWarning, match="was resized since it had shape"):
        out = ng.zeros(3)
        ng.zeros(2, 2, out=out)
    assert out.shape == (2, 2)
    with pytest.raises(RuntimeError, match="does not match dtype of out"):
        ng.zeros(2, out=ng.zeros(2), dtype=ng.float64)
    with pytest.raises(TypeError, match="'out' must be Tensor"):
        ng.zeros(2, out=[0.0, 0.0])


def test_functions_of_pytorch_with_out_have_it_here():
    torch = pytest.importorskip("torch")
    places = {"": torch, "nn.functional.": torch.nn.functional, "linalg.": torch.linalg, "special.": torch.special, "fft.": torch.fft}
    lacking = []
    for name, given in CALLS.items():
        prefix = name[: name.rfind(".") + 1]
        fn = getattr(places[prefix], name[len(prefix) :], None)
        if given is None or fn is None:
            continue
        if name not in PUBLIC and "out" in (fn.__doc__ or "").split("\n\n")[0]:
            lacking.append(name)
    assert lacking == []
