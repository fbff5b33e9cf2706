"""Parametrizations for everyday use: orthogonal matrices, spectral and weight normalisation."""

from ...autograd import no_grad
from ...dtypes import finfo
from ...ops.compare import where_function as where
from ...ops.create import eye
from ...ops.distance import norm_except_dim, normalize
from ...ops.householder import geqrf, householder_product
from ...ops.join import cat
from ...ops.matrix import matrix_exp
from ...ops.random import randn
from ...ops.solve import solve
from ...tensor import Tensor
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from . import parametrize

# --- orthogonal ----------------------------------------------------------------------------------------------------


def _is_orthogonal(Q):
    size = Q.size(-1)
    error = Q.mH @ Q - eye(size, dtype=Q.dtype, device=Q.device)
    return bool((error.norm(dim=(-2, -1)) < 10.0 * size * finfo(Q.dtype).eps).all())


def _made_orthogonal(A):
    """The orthogonal factor of ``A``, with the signs that make R's diagonal positive."""
    packed, tau = geqrf(A)
    return householder_product(packed, tau) * packed.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    base: Tensor | None

    def __init__(self, weight, orthogonal_map, use_trivialization=True):
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X):
        n, k = X.size(-2), X.size(-1)
        wide = n < k
        if wide:
            X, n, k = X.mH, k, n
        if self.orthogonal_map == "householder":
            A = X.tril(-1)  # (..., n, k): the vectors of k reflections below the diagonal
            Q = householder_product(A, 2.0 / (1.0 + (A * A).sum(-2)))
            Q = Q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:
                X = cat([X, X.new_zeros(n, n - k).expand(*X.shape[:-2], -1, -1)], -1)
            A = X - X.mH  # (..., n, n), skew-Hermitian
            if self.orthogonal_map == "matrix_exp":
                Q = matrix_exp(A)
            else:
                one = eye(n, dtype=A.dtype, device=A.device)
                Q = solve(one - 0.5 * A, one + 0.5 * A)
            if n != k:
                Q = Q[..., :k]
        base = self._buffers.get("base")
        if base is not None:
            Q = base @ Q
        return Q.mH if wide else Q

    def right_inverse(self, Q):
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        given = Q
        n, k = Q.size(-2), Q.size(-1)
        wide = n < k
        if wide:
            Q, n, k = Q.mH, k, n
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            A, tau = geqrf(Q)
            # The signs of R's diagonal; where LAPACK needed no reflection, forward makes one, of that direction alone.
            signs = A.diagonal(dim1=-2, dim2=-1)
            signs.copy_(where(tau == 0, -signs.sign(), signs.sign()))
            return A.mH if wide else A
        if n == k:
            self.base = Q.clone() if _is_orthogonal(Q) else _made_orthogonal(Q)
        else:  # completed to a square matrix
            more = randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype, device=Q.device)
            self.base = _made_orthogonal(cat([Q, more], -1))
        # The forward of all three maps at -I is I, for the Householder map by its diagonal of signs.
        start = given.new_zeros(given.shape)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Have ``module.name`` (..., n, k) be an orthogonal matrix, or have orthonormal columns (rows where n < k).

    ``orthogonal_map``: "matrix_exp", "cayley" or "householder"; the first for square matrices and the last for others
    unless told otherwise. ``use_trivialization``: the map is taken around the present value (arXiv:1909.09501).
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    if orthogonal_map == "householder" and weight.is_complex():
        raise ValueError("The householder parametrization does not support complex tensors.")
    map_ = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return parametrize.register_parametrization(module, name, map_, unsafe=True)


# --- spectral norm -------------------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight).detach()
            u = matrix.new_empty(matrix.size(0)).normal_(0, 1)
            v = matrix.new_empty(matrix.size(1)).normal_(0, 1)
            self.register_buffer("_u", normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _matrix(self, weight):
        """``weight`` with dimension ``dim`` as rows: (size of dim, all others)."""
        if self.dim:
            weight = weight.movedim(self.dim, 0)
        return weight.flatten(1)

    def _power_method(self, matrix, count):
        with no_grad():
            for _ in range(count):
                self._u.copy_(normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Copies, because the next forward writes to the buffers before this one's backward may have read them.
        sigma = self._u.clone().vdot(matrix.mv(self._v.clone()))
        return weight / sigma

    def right_inverse(self, value):
        return value  # the norm of what is assigned is not kept


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide ``module.name`` by its largest singular value, estimated by power iterations, ``n_power_iterations`` in
    each forward pass in training (arXiv:1802.05957). ``dim``: the one that counts the outputs, 0, or 1 in transposed
    convolutions."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    map_ = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return parametrize.register_parametrization(module, name, map_)


# --- weight norm ---------------------------------------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return weight_v * (weight_g / norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Have ``module.name`` be ``g * v / |v|`` with ``g`` (``original0``) a length for each index of ``dim``, one for all
    where it is None, and ``v`` (``original1``) a direction (arXiv:1602.07868). Reads checkpoints of the older
    ``nn.utils.weight_norm`` too."""
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict, prefix, *_):
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state_dict for key in old):
            for k, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{k}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module
