"""First and second derivatives of the functions made of several ops, against PyTorch's.

Every public function that PyTorch has too is called here, in test_torch_parity.py or in test_double_backward.py, or is
named as one without a gradient; the last test fails for one that is not.
"""

import types

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F

torch = pytest.importorskip("torch")
import test_double_backward  # noqa: E402
import test_torch_parity  # noqa: E402
from agreement import table  # noqa: E402
from test_torch_parity import assert_same, assert_same_derivatives, both, derivatives  # noqa: E402

CALLS = {
    # products
    "matmul": (lambda T, a, b: (T.matmul(a, b), T.mm(a, b), a.mv(b[:, 0]), T.dot(a[0], b[:, 1])), (3, 4), (4, 3)),
    "mv": (lambda T, a, b: T.mv(a, b), (3, 4), (4,)),
    "einsum": (lambda T, a, b: (T.einsum("bij,bjk->bik", a, b), T.einsum("bij,bjk->ik", a, b)), (2, 3, 4), (2, 4, 2)),
    "tensordot": (lambda T, a, b: T.tensordot(a, b, 1), (2, 3, 4), (4, 2)),
    "cross": (lambda T, a, b: T.cross(a, b, dim=1), (2, 3), (2, 3)),
    "trace": (lambda T, a: T.trace(a) ** 2, (3, 4)),
    # synonyms
    "arithmetic": (
        lambda T, a, b: (T.multiply(a, b), T.divide(a, b), T.true_divide(b, a), T.subtract(a, b, alpha=2) ** 2), (3,), (2, 3),
    ),
    "unary": (lambda T, a: (T.absolute(a) ** 2, T.negative(a) ** 2, T.clip(a, -0.5, 0.5) ** 2), (3, 4)),
    # shapes
    "shape": (lambda T, a: (T.ravel(a) ** 2, T.reshape(a, (4, 3)) ** 2, T.broadcast_to(a, (2, 3, 4)) ** 2), (3, 4)),
    "broadcast_tensors": (lambda T, a, b: tuple(x**2 for x in T.broadcast_tensors(a, b)), (3, 1), (4,)),
    "joined": (lambda T, a, b: (T.concat((a, b)) ** 2, T.concatenate((b, a), 1) ** 2, T.vstack((a, b)) ** 3), (2, 3), (2, 3)),
    "meshgrid": (lambda T, a, b: tuple(x**2 for x in T.meshgrid(a, b, indexing="ij")), (3,), (2,)),
    "split": (lambda T, a: tuple(x**2 for x in T.tensor_split(a, 3, 1)), (2, 5)),
    "take_along_dim": (lambda T, a: T.take_along_dim(a, a.detach().argsort(1), 1) ** 2, (3, 4)),
    # statistics
    "std_mean": (lambda T, a: T.std_mean(a, 1), (3, 4)),
    "vector_norm": (lambda T, a: (T.linalg.vector_norm(a), T.linalg.vector_norm(a, 3, 1)), (3, 4)),
    # losses
    "cosine_embedding_loss": (
        lambda T, a, b: T.nn.functional.cosine_embedding_loss(a, b, T.tensor([1, -1, 1])), (3, 4), (3, 4),
    ),
    "margin_ranking_loss": (
        lambda T, a, b: T.nn.functional.margin_ranking_loss(a, b, T.tensor([1, -1, 1])) ** 2, (3,), (3,),
    ),
    "triplet_margin_loss": (
        lambda T, a, b, c: T.nn.functional.triplet_margin_loss(a, b, c, swap=True), (3, 4), (3, 4), (3, 4),
    ),
    "pairwise_distance": (lambda T, a, b: T.nn.functional.pairwise_distance(a, b), (3, 4), (3, 4)),
    # activations
    "logsigmoid": (lambda T, a: T.nn.functional.logsigmoid(a), (3, 4)),
    "relu6": (lambda T, a: T.nn.functional.relu6(a) ** 2, (3, 4)),
    # layers
    "attention": (
        lambda T, q, k, v: T.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 2),
    ),
    "attention_mask": (
        lambda T, q, k, v, m: T.nn.functional.scaled_dot_product_attention(q, k, v, m, scale=0.7),
        (2, 3, 4), (2, 3, 4), (2, 3, 2), (3, 3),
    ),
    "pool_1d": (
        lambda T, a: (T.nn.functional.avg_pool1d(a, 2) ** 2, T.nn.functional.max_pool1d(a, 2, 1) ** 2,
                      T.nn.functional.adaptive_avg_pool1d(a, 2) ** 2),
        (2, 2, 5),
    ),
    "pool_2d": (lambda T, a: T.nn.functional.adaptive_max_pool2d(a, (2, 1)) ** 2, (1, 2, 3, 4)),
    "pool_3d": (
        lambda T, a: (T.nn.functional.avg_pool3d(a, 2) ** 2, T.nn.functional.max_pool3d(a, 2, 1) ** 2), (1, 2, 2, 3, 2),
    ),
    "conv3d": (lambda T, x, w, b: T.nn.functional.conv3d(x, w, b, padding=1), (1, 1, 2, 2, 3), (2, 1, 2, 2, 2), (2,)),
    "conv_transpose1d": (lambda T, x, w: T.nn.functional.conv_transpose1d(x, w, stride=2), (1, 2, 3), (2, 2, 2)),
    "affine_grid": (lambda T, a: T.nn.functional.affine_grid(a, (2, 1, 2, 3), align_corners=False) ** 2, (2, 2, 3)),
    "instance_norm": (lambda T, x, w, b: T.nn.functional.instance_norm(x, weight=w, bias=b), (2, 2, 5), (2,), (2,)),
    "pixel_shuffle": (lambda T, a: T.nn.functional.pixel_shuffle(a, 2) ** 2, (1, 4, 2, 3)),
    "dropout_of_nothing": (
        lambda T, a: (T.nn.functional.dropout(a, 0.0) ** 2, T.nn.functional.dropout2d(a, 0.5, training=False) ** 2),
        (1, 2, 2, 2),
    ),
    "embedding_bag": (lambda T, w: T.nn.functional.embedding_bag(T.tensor([[0, 2], [1, 1]]), w, mode="mean") ** 2, (3, 2)),
    # the same for what is used less
    "added_products": (
        lambda T, m, v, a, b: (T.addbmm(m, a, b), T.addmv(v, m, v), T.addr(m, v, v), T.inner(m, v), T.ger(v, v)),
        (3, 3), (3,), (2, 3, 4), (2, 4, 3),
    ),
    "kron": (lambda T, a, b: (T.kron(a, b), T.block_diag(a, b) ** 2), (2, 2), (2, 3)),
    "inverse_functions": (
        lambda T, a: (T.arccos(a.tanh()), T.arcsin(a.tanh()), T.arctan(a), T.arcsinh(a), T.arctanh(a.tanh() * 0.9),
                      T.arccosh(a.exp() + 1), T.arctan2(a, a * a + 1)),
        (3, 4),
    ),
    "shapes": (
        lambda T, a: tuple(x**2 for x in (
            *T.atleast_1d(a, a[0, 0]), T.atleast_2d(a[0]), T.atleast_3d(a), T.fliplr(a), T.flipud(a), T.moveaxis(a, 0, 1),
            T.swapdims(a, 0, 1), T.diagflat(a[0]), T.column_stack((a, a)), T.dstack((a, a)), *T.hsplit(a, 2),
            *T.vsplit(a, 2), *T.dsplit(a[None], 2), *T.split_with_sizes(a, [1, 3], 1), T.positive(a),
        )),
        (2, 4),
    ),
    "written_parts": (
        lambda T, a, b: (T.select_scatter(a, b, 0, 1) ** 2, T.diagonal_scatter(a, b[:3]) ** 2, T.fill(a, b[0]) ** 2,
                         T.slice_scatter(a, b[None], 0, 1, 2) ** 2),
        (3, 4), (4,),
    ),
    "products_of_sets": (lambda T, a, b: (T.cartesian_prod(a, b) ** 2, T.combinations(a) ** 2), (3,), (2,)),
    "statistics": (
        lambda T, a: (T.cov(a), T.corrcoef(a), T.nanmean(a) ** 2, T.nansum(a, 1) ** 2, T.nanquantile(a, 0.3, 1) ** 2),
        (3, 4),
    ),
    "integrals": (
        lambda T, a: (T.trapezoid(a) ** 2, T.trapz(a, dx=0.5) ** 2, T.cumulative_trapezoid(a) ** 2, T.gradient(a[0])[0] ** 2),
        (3, 4),
    ),
    "numbers": (lambda T, a: (T.float_power(a, 3), T.ldexp(a, T.tensor(2)) ** 2, T.renorm(a, 2, 0, 1.0), T.msort(a) ** 2), (3, 4)),
    "matrices": (
        lambda T, a: (T.matrix_power(a, 3), T.inverse(a + 5 * T.eye(3)), T.pinverse(a), T.logdet(a @ a.mT + T.eye(3)),
                      *T.qr(a), T.linalg.matrix_power(a, 2), T.linalg.multi_dot((a, a, a)), T.linalg.matmul(a, a)),
        (3, 3),
    ),
    "factors": (
        lambda T, a: (*T.linalg.qr(a), *T.linalg.lu(a)[1:], T.linalg.eigh(a + a.mT)[0], T.linalg.eigvalsh(a + a.mT),
                      T.linalg.svdvals(a), T.svd(a)[1], T.linalg.svd(a)[1], T.linalg.cond(a), T.linalg.matrix_norm(a),
                      T.svd_lowrank(a, 3)[1], T.pca_lowrank(a, 2)[1]),  # of all that there is: no matter which projection
        (3, 3),
    ),
    "linalg_products": (
        lambda T, a, b: (T.linalg.cross(a, b), T.linalg.vecdot(a, b), T.linalg.vander(a[0])), (2, 3), (2, 3),
    ),
    "gamma": (
        lambda T, a: (T.mvlgamma(a.exp() + 2, 2), T.special.multigammaln(a.exp() + 2, 2), T.special.gammaln(a.exp()),
                      T.special.psi(a.exp()), T.special.expit(a)),
        (3,),
    ),
    "pools": (
        lambda T, a: (T.nn.functional.adaptive_avg_pool3d(a, 1), T.nn.functional.adaptive_max_pool3d(a, 1),
                      T.nn.functional.adaptive_max_pool1d(a[0, 0], 2), T.nn.functional.lp_pool1d(a[0, 0], 3.0, 2),
                      T.nn.functional.lp_pool2d(a[0], 3.0, 2), T.nn.functional.lp_pool3d(a, 3.0, 2)),
        (1, 2, 2, 3, 4),
    ),
    "conv_transpose3d": (lambda T, x, w: T.nn.functional.conv_transpose3d(x, w), (1, 1, 2, 2, 2), (1, 2, 2, 1, 2)),
    "conv_tbc": (lambda T, x, w, b: T.conv_tbc(x, w, b, 1), (4, 2, 3), (2, 3, 2), (2,)),
    "grid_samplers": (
        lambda T, x, g: (T.grid_sampler(x, g * 0.2, 0, 0, True) ** 2, T.grid_sampler_2d(x, g * 0.2, 0, 1, False) ** 2),
        (1, 2, 4, 3), (1, 2, 3, 2),
    ),
    "grid_sampler_3d": (lambda T, x, g: T.grid_sampler_3d(x, g * 0.2, 0, 0, True) ** 2, (1, 1, 2, 3, 2), (1, 1, 2, 2, 3)),
    "shuffles": (
        lambda T, a: (T.nn.functional.channel_shuffle(a, 2) ** 2, T.nn.functional.pixel_unshuffle(a, 2) ** 2,
                      T.nn.functional.local_response_norm(a, 2), T.nn.functional.softmin(a, 1),
                      T.nn.functional.rrelu(a) ** 2),
        (1, 4, 2, 4),
    ),
    "losses": (
        lambda T, a, b: (
            T.nn.functional.gaussian_nll_loss(a, b, a.exp()), T.nn.functional.poisson_nll_loss(a, b.detach().exp()),
            T.nn.functional.hinge_embedding_loss(a, T.ones(3, 4)) ** 2,
            T.nn.functional.soft_margin_loss(a, T.ones(3, 4)),
            T.nn.functional.multi_margin_loss(a, T.tensor([1, 0, 3]), p=2),
            T.nn.functional.multilabel_margin_loss(a, T.tensor([[1, 0, -1, 2]] * 3)) ** 2,
            T.nn.functional.multilabel_soft_margin_loss(a, T.ones(3, 4)),
            T.nn.functional.triplet_margin_with_distance_loss(a, b, a * b), T.nn.functional.pdist(a),
        ),
        (3, 4), (3, 4),
    ),
    "solutions": (
        lambda T, a, b: (
            T.cholesky_inverse(T.linalg.cholesky(a @ a.mT + T.eye(3))), T.cholesky_solve(b, T.linalg.cholesky_ex(a @ a.mT + T.eye(3))[0]),
            T.triangular_solve(b, (a + 4 * T.eye(3)).triu())[0], T.linalg.inv_ex(a + 4 * T.eye(3))[0],
            T.linalg.solve_ex(a + 4 * T.eye(3), b)[0], T.linalg.tensorinv(a + 4 * T.eye(3), 1),
            T.linalg.tensorsolve(a + 4 * T.eye(3), b[:, 0]),
        ),
        (3, 3), (3, 2),
    ),
    "lu_solutions": (
        lambda T, a, b: (
            T.linalg.lu_solve(*T.linalg.lu_factor(a + 4 * T.eye(3)), b), T.lu_solve(b, *T.linalg.lu_factor_ex(a)[:2]),
            *T.lu_unpack(*T.linalg.lu_factor(a))[1:], T.lu(a)[0],
        ),
        (3, 3), (3, 2),
    ),
    "reflections": (
        lambda T, a, t: (
            T.linalg.householder_product(a.tril(-1), t), T.orgqr(a.tril(-1), t), T.ormqr(a.tril(-1), t, a), T.ormqr(a, t, a.mT, False, True),
        ), (4, 2), (2,),
    ),
    "other_names": (
        lambda T, a, b: (T.row_stack((a, b)) ** 2, T.fix(a) * a, T.narrow_copy(a, 0, 1, 1) ** 2, T.chain_matmul(a, b.mT, a),
                         T.vdot(a[0], b[0]), T.adjoint(a) ** 2),
        (2, 3), (2, 3),
    ),
    "pools_with_places": (
        lambda T, a: tuple(x[0] ** 2 for x in (
            T.max_pool1d_with_indices(a[0, 0], 2), T.nn.functional.max_pool1d_with_indices(a[0, 0], 2),
            T.nn.functional.max_pool2d_with_indices(a[0], 2), T.nn.functional.max_pool3d_with_indices(a, 2),
            T.nn.functional.adaptive_max_pool1d_with_indices(a[0, 0], 2), T.nn.functional.adaptive_max_pool2d_with_indices(a[0], 2),
            T.nn.functional.adaptive_max_pool3d_with_indices(a, 2),
            T.nn.functional.fractional_max_pool2d_with_indices(a[0], 2, (2, 2), _random_samples=T.ones(2, 3, 2).double() / 3),
            T.nn.functional.fractional_max_pool3d_with_indices(a, 2, (1, 2, 2), _random_samples=T.ones(1, 2, 3).double() / 3),
        )) + (
            T.nn.functional.fractional_max_pool2d(a[0], 2, (2, 2), _random_samples=T.ones(2, 3, 2).double() / 3) ** 2,
            T.nn.functional.fractional_max_pool3d(a, 2, (1, 2, 2), _random_samples=T.ones(1, 2, 3).double() / 3) ** 2,
        ),
        (1, 2, 3, 4, 4),
    ),
    "unpools": (
        lambda T, a: (T.nn.functional.max_unpool1d(a, T.tensor([[[0, 2], [1, 3]]]), 2) ** 2,
                      T.nn.functional.max_unpool3d(a[:, :, None, None], T.tensor([[[[[0, 2]]], [[[9, 3]]]]]), 2) ** 2),
        (1, 2, 2),
    ),
    "upsamples": (
        lambda T, a: (T.nn.functional.upsample(a, scale_factor=2) ** 2, T.nn.functional.upsample_nearest(a, (3, 5)) ** 2,
                      T.nn.functional.upsample_bilinear(a, (3, 5)) ** 2),
        (1, 2, 2, 3),
    ),
    "dropouts_of_nothing": (
        lambda T, a: (T.nn.functional.alpha_dropout(a, 0.0) ** 2, T.nn.functional.dropout1d(a, 0.0) ** 2,
                      T.nn.functional.dropout3d(a[None, None], 0.0) ** 2, T.nn.functional.feature_alpha_dropout(a, 0.0) ** 2),
        (2, 2, 3),
    ),
    "multi_head_attention": (
        lambda T, x, w, b, v, c: T.nn.functional.multi_head_attention_forward(
            x, x, x, 4, 2, w, b, None, None, False, 0.0, v, c, need_weights=False)[0],
        (3, 2, 4), (12, 4), (12,), (4, 4), (4,),
    ),
    "complex": (
        lambda T, a, b: tuple(T.view_as_real(x) for x in (
            T.conj(T.complex(a, b)).resolve_conj() * T.polar(a.exp(), b),
            T.resolve_conj(T.complex(a, b)) ** 2,
        )) + (T.real(T.complex(a, b) ** 2), T.imag(T.complex(a, b) ** 2), T.view_as_real_copy(T.complex(a, b)) ** 2,
              T.resolve_neg(a) ** 2),
        (3,), (3,),
    ),
    "stft": (
        lambda T, a: T.view_as_real(T.stft(a, 4, 2, window=T.ones(4, dtype=T.float64), return_complex=True)) ** 2, (9,),
    ),
    "istft": (lambda T, a, b: T.istft(T.complex(a, b), 4, 2, window=T.ones(4, dtype=T.float64)) ** 2, (3, 4), (3, 4)),
    "norm_except_dim": (lambda T, a: T.norm_except_dim(a, 2, 0), (3, 4)),
    "as_strided_scatter": (lambda T, a, b: T.as_strided_scatter(a, b, (2, 2), (4, 2), 1) ** 2, (3, 4), (2, 2)),
    "copies_of_views": (
        lambda T, a: tuple(part**2 for part in (
            T.alias_copy(a), T.as_strided_copy(a, (2, 2), (4, 1)), T.diagonal_copy(a), T.expand_copy(a, (2, 3, 4)),
            T.permute_copy(a, (1, 0)), T.select_copy(a, 0, 1), T.slice_copy(a, 0, 1, 3), *T.split_copy(a, 2),
            *T.split_with_sizes_copy(a, [1, 2]), T.squeeze_copy(a[None]), T.t_copy(a), T.transpose_copy(a, 0, 1),
            *T.unbind_copy(a), T.unfold_copy(a, 1, 2, 1), T.unsqueeze_copy(a, 0), T.view_copy(a, (4, 3)),
        )),
        (3, 4),
    ),
    "unsafe_parts": (
        lambda T, a: tuple(part**2 for part in (
            *T.unsafe_chunk(a, 2), *T.unsafe_split(a, 2), *T.unsafe_split_with_sizes(a, [1, 2]), T.constant_pad_nd(a, (1, 2), 0.5),
        )),
        (3, 4),
    ),
    "norms_of_matrices": (lambda T, a: (T.frobenius_norm(a, (0, 1)), T.nuclear_norm(a)), (3, 4)),
    "eigenvalues": (
        lambda T, a: ((T.linalg.eigvals(a) ** 3).sum().real, (T.linalg.eig(a)[1].abs() ** 4).sum()), (3, 3),
    ),
    **{f"{kind}_cell": (
        lambda T, *tensors, kind=kind: getattr(T, f"{kind}_cell")(*tensors), (2, 3), (2, 2), (2 * gates, 3), (2 * gates, 2),
        (2 * gates,), (2 * gates,),
    ) for kind, gates in (("rnn_tanh", 1), ("rnn_relu", 1), ("gru", 3))},
    "lstm_cell": (
        lambda T, x, h, c, *weights: T.lstm_cell(x, (h, c), *weights), (2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (8,),
    ),
}  # fmt: skip


def _cells(T, kind, x, h, c, *weights):
    """One step of a cell with the given weights."""
    cell = getattr(T.nn, kind)(3, 2, dtype=T.float64)
    for (name, _), weight in zip(list(cell.named_parameters()), weights):
        delattr(cell, name)
        setattr(cell, name, weight)
    return cell(x, (h, c) if kind == "LSTMCell" else h + c)


for _kind, _gates in (("RNNCell", 1), ("GRUCell", 3), ("LSTMCell", 4)):
    CALLS[_kind] = (
        lambda T, *tensors, kind=_kind: _cells(T, kind, *tensors),
        (2, 3), (2, 2), (2, 2), (2 * _gates, 3), (2 * _gates, 2), (2 * _gates,), (2 * _gates,),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's own about its older names
@table(CALLS)
def test_derivatives_are_those_of_pytorch(call):
    fn, *shapes = call
    rng = np.random.default_rng(len(shapes))
    arrays = [np.asarray(rng.standard_normal(shape)) for shape in shapes]

    def run(T):
        leaves = [T.from_numpy(a.copy()).requires_grad_() for a in arrays]
        results = fn(T, *leaves)
        results = results if isinstance(results, tuple) else (results,)
        total = sum((r * (r.detach().cos() + 0.5)).sum() for r in results)
        return results, derivatives(T.autograd.grad, lambda *leaves: total, leaves, None)

    (ours, found), (theirs, expected) = both(run)
    assert_same(ours, theirs, 1e-9)
    assert_same_derivatives(found, expected, 1e-7)


# --- completeness --------------------------------------------------------------------------------------------------

# Functions of whole numbers, of shapes and settings, of chance, those that make tensors of numbers, and those
# that PyTorch cannot differentiate (frexp, geqrf, view_as_complex_copy, gammainc by its first input).
WITHOUT_GRADIENT = set(
    """
    allclose arange argsort argwhere as_tensor asarray bernoulli bincount bitwise_not broadcast_shapes bucketize can_cast
    compile count_nonzero equal eye ldl_factor ldl_factor_ex ldl_solve symeig from_dlpack from_numpy frombuffer full full_like linspace load logspace manual_seed
    histc histogram isin multinomial nonzero normal numel ones ones_like poisson promote_types rand rand_like randint
    randint_like randn randn_like randperm result_type save searchsorted seed tril_indices triu_indices unique
    unique_consecutive unravel_index zeros zeros_like one_hot greater greater_equal less less_equal not_equal
    empty empty_permuted empty_like empty_strided frexp is_floating_point is_nonzero is_tensor isreal matrix_rank range scalar_tensor
    gumbel_softmax get_rng_state set_rng_state initial_seed is_grad_enabled is_inference_mode_enabled get_num_threads
    set_num_threads get_num_interop_threads set_num_interop_threads get_default_dtype set_default_dtype
    get_default_device set_default_device set_printoptions use_deterministic_algorithms
    are_deterministic_algorithms_enabled is_deterministic_algorithms_warn_only_enabled set_deterministic_debug_mode
    get_deterministic_debug_mode get_float32_matmul_precision set_float32_matmul_precision
    view_as_complex_copy gammainc gammaincc is_complex is_conj is_neg geqrf to_dlpack binomial bartlett_window
    blackman_window hamming_window
    hann_window kaiser_window set_default_tensor_type
    is_inference detach_copy get_device is_same_size is_signed is_warn_always_enabled set_warn_always set_flush_denormal
    nonzero_static typename is_storage sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum
    rnn_tanh_cell rnn_relu_cell gru_cell batch_norm_update_stats
    fake_quantize_per_tensor_affine fake_quantize_per_channel_affine fused_moving_avg_obs_fake_quant
    """.split()
)


def names_in(fn):
    """The names that a function's code looks up, those of the functions inside it included."""
    found, codes = set(), [fn.__code__]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found


def test_no_public_function_is_left_out():
    """Every function that PyTorch has under the same name is called in one of the tables, or has no gradient."""
    called = set(test_torch_parity.PAIRS)
    for calls in (CALLS, test_double_backward.CALLS, test_torch_parity.CALLS):
        for fn, *_ in calls.values():
            called |= names_in(fn)
    missing = []
    for ours, theirs in ((ng, torch), (F, torch.nn.functional), (ng.linalg, torch.linalg), (ng.special, torch.special)):
        for name, fn in vars(ours).items():
            takes_tensors = isinstance(fn, types.FunctionType) and not name.startswith("_") and not name.endswith("_")
            if takes_tensors and callable(getattr(theirs, name, None)) and name not in called | WITHOUT_GRADIENT:
                missing.append(f"{ours.__name__}.{name}")
    assert missing == []


# --- special points ------------------------------------------------------------------------------------------------

inf = float("inf")
ZEROS = [[0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.5, 0.5, -0.5], [3.0, 3.0, 1.0]]
TIES = [[1.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 3.0, 3.0, -1.0]]
KINKS = [-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0]
AT_SPECIAL_POINTS = {
    **{f"norm_{p}": (lambda T, x, p=p: T.linalg.vector_norm(x, p, 1), ZEROS) for p in (0.5, 1, 1.5, 2, 3, inf, -inf)},
    "normalize": (lambda T, x: T.nn.functional.normalize(x), ZEROS),
    "cosine_similarity": (lambda T, x: T.nn.functional.cosine_similarity(x, x.flip(0)), ZEROS),
    "extremes": (lambda T, x: (T.amax(x, 1), T.amin(x), T.max(x), T.median(x), T.maximum(x, x.flip(0))), TIES),
    "products": (lambda T, x: (T.prod(x, 1), T.prod(x), T.cumprod(x, 1)), ZEROS),
    "powers": (lambda T, x: (x**2, x**3, x**2.5, T.pow(2.0, x), x ** T.tensor(2.0), x**0), [0.0, 1.0, 2.0]),
    "kinks": (
        lambda T, x: (x.abs(), x.relu(), x.clamp(-1, 1), x.sinc(), T.nn.functional.elu(x), T.nn.functional.selu(x),
                      T.nn.functional.mish(x), T.nn.functional.softplus(x, 1.0, 6.0), T.nn.functional.hardtanh(x),
                      T.nn.functional.huber_loss(x, T.zeros_like(x)), T.nn.functional.softsign(x)),
        KINKS,
    ),
    "two_arguments": (
        lambda T, x: (T.logaddexp(x, x.flip(0)), T.xlogy(x, x.abs() + 1), T.hypot(x, x.flip(0)), T.fmod(x, x.abs() + 1)), KINKS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_SPECIAL_POINTS)
def test_at_zeros_ties_and_kinks(name):
    """First derivatives are PyTorch's there, second ones too where PyTorch has a number."""
    fn, point = AT_SPECIAL_POINTS[name]
    found = []
    for T in (ng, torch):
        x = T.tensor(point, dtype=T.float64, requires_grad=True)
        out = fn(T, x)
        total = sum((part * weights_of(T, part)).sum() for part in (out if isinstance(out, tuple) else (out,)))
        (first,) = T.autograd.grad(total, x, create_graph=True)
        second = T.zeros_like(x)
        if first.requires_grad:
            (second,) = T.autograd.grad((first * weights_of(T, first)).sum(), x, allow_unused=True)
        found.append((first.detach().numpy(), (T.zeros_like(x) + (0 if second is None else second)).detach().numpy()))
    (first, second), (their_first, their_second) = found
    np.testing.assert_allclose(first, their_first, rtol=1e-9, atol=1e-12)
    known = np.isfinite(their_second)
    np.testing.assert_allclose(second[known], their_second[known], rtol=1e-8, atol=1e-10)


def weights_of(T, x):
    return T.linspace(0.5, 1.5, x.numel(), dtype=T.float64).reshape(x.shape)
