"""Sizes, lengths, offsets and steps may be NumPy integers, integer tensors of one element and whatever else has
``__index__``, in every function that takes some; bools and floats are no sizes."""

import numpy as np
import pytest

import numgrad as ng
import numgrad.nn.functional as F

X = ng.arange(12.0).reshape(4, 3)
IMAGE = ng.arange(36.0).reshape(1, 1, 6, 6)


class Index:
    """A number that is none but can be one."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


# What each function gives for numbers that ``i`` makes of ints.
CALLS = {
    "zeros": lambda i: ng.zeros(i(2), 3),
    "zeros_seq": lambda i: ng.zeros((i(2), 3)),
    "ones": lambda i: ng.ones(i(2), 3),
    "empty": lambda i: ng.empty(i(2), 3)*0,
    "full": lambda i: ng.full((i(2), 3), 1.),
    "rand": lambda i: ng.rand(i(2), 3)*0,
    "randn": lambda i: ng.randn(i(2), 3)*0,
    "randint": lambda i: ng.randint(i(0), i(1), (i(2), )),
    "randperm": lambda i: ng.randperm(i(4))*0,
    "eye": lambda i: ng.eye(i(3)),
    "eye2": lambda i: ng.eye(2, i(3)),
    "linspace": lambda i: ng.linspace(0, 1, i(3)),
    "new_zeros": lambda i: X.new_zeros(i(2), 3),
    "new_full": lambda i: X.new_full((i(2), ), 1),
    "new_empty": lambda i: X.new_empty(i(2))*0,
    "new_ones": lambda i: X.new_ones((i(2), 3)),
    "empty_strided": lambda i: ng.empty_strided((i(2), 3), (i(3), 1))*0,
    "tril_indices": lambda i: ng.tril_indices(i(3), i(3), i(1)),
    "triu_indices": lambda i: ng.triu_indices(i(3), i(3), i(1)),
    "reshape": lambda i: X.reshape(i(2), -1),
    "view": lambda i: X.view(i(2), 6),
    "expand": lambda i: X.expand(i(2), i(4), 3),
    "repeat": lambda i: X.repeat(i(2), 1),
    "tile": lambda i: X.tile(i(2)),
    "tile_f": lambda i: ng.tile(X, (i(2), 1)),
    "permute": lambda i: X.permute(i(1), i(0)),
    "transpose": lambda i: X.transpose(i(0), i(1)),
    "movedim": lambda i: X.movedim(i(0), i(1)),
    "unsqueeze": lambda i: X.unsqueeze(i(0)),
    "squeeze": lambda i: X.unsqueeze(0).squeeze(i(0)),
    "flatten": lambda i: X.flatten(i(0), i(1)),
    "unflatten": lambda i: X.unflatten(i(0), (i(2), 2)),
    "broadcast_to": lambda i: ng.broadcast_to(X, (i(2), 4, 3)),
    "narrow": lambda i: X.narrow(i(0), i(1), i(2)),
    "narrow_copy": lambda i: X.narrow_copy(i(0), i(1), i(2)),
    "select": lambda i: X.select(i(0), i(1)),
    "split": lambda i: X.split(i(2))[0],
    "split_l": lambda i: X.split([i(1), i(3)])[0],
    "split_dim": lambda i: X.split(2, i(0))[0],
    "chunk": lambda i: X.chunk(i(2))[0],
    "chunkdim": lambda i: X.chunk(2, i(1))[0],
    "tensor_split": lambda i: X.tensor_split(i(2))[0],
    "tensor_split_l": lambda i: X.tensor_split((i(1), i(2)))[0],
    "hsplit": lambda i: X.hsplit(i(3))[0],
    "vsplit": lambda i: X.vsplit(i(2))[0],
    "unbind": lambda i: X.unbind(i(0))[0],
    "diagonal": lambda i: X.diagonal(i(1), i(0), i(1)),
    "diag": lambda i: X[0].diag(i(1)),
    "diag_embed": lambda i: X.diag_embed(i(1), i(0), i(2)),
    "diagflat": lambda i: X[0].diagflat(i(1)),
    "tril": lambda i: X.tril(i(1)),
    "triu": lambda i: X.triu(i(1)),
    "unfold": lambda i: X.unfold(i(0), i(2), i(1)),
    "roll": lambda i: X.roll(i(1)),
    "roll2": lambda i: X.roll(i(1), i(0)),
    "roll3": lambda i: X.roll((i(1), i(1)), (i(0), i(1))),
    "flip": lambda i: X.flip(i(0)),
    "rot90": lambda i: X.rot90(i(1), (i(0), i(1))),
    "repeat_interleave": lambda i: X.repeat_interleave(i(2), i(0)),
    "as_strided": lambda i: X.as_strided((i(2), 2), (i(3), 1), i(1)),
    "resize_": lambda i: X.clone().resize_(i(2), 3),
    "select_scatter": lambda i: X.select_scatter(ng.ones(3), i(0), i(1)),
    "slice_scatter": lambda i: X.slice_scatter(ng.ones(2, 3), i(0), i(1), i(3), i(1)),
    "diagonal_scatter": lambda i: X.diagonal_scatter(ng.ones(2), i(1), i(0), i(1)),
    "as_strided_scatter": lambda i: X.as_strided_scatter(ng.ones(2), (i(2), ), (i(1), ), i(1)),
    "topk": lambda i: X.topk(i(2), i(0))[0],
    "kthvalue": lambda i: X.kthvalue(i(2), i(0))[0],
    "sort": lambda i: X.sort(i(0))[0],
    "argsort": lambda i: X.argsort(i(0)),
    "median": lambda i: X.median(i(0))[0],
    "mode": lambda i: X.mode(i(0))[0],
    "argmax": lambda i: X.argmax(i(0)),
    "amax": lambda i: X.amax(i(0)),
    "aminmax": lambda i: X.aminmax(dim=i(0))[0],
    "sum": lambda i: X.sum(i(0)),
    "sum_l": lambda i: X.sum((i(0), i(1))),
    "mean": lambda i: X.mean(i(0)),
    "prod": lambda i: X.prod(i(0)),
    "var": lambda i: X.var(i(0)),
    "std_c": lambda i: X.std(dim=i(0), correction=0),
    "norm": lambda i: X.norm(2, i(0)),
    "logsumexp": lambda i: X.logsumexp(i(0)),
    "cumsum": lambda i: X.cumsum(i(0)),
    "cumprod": lambda i: X.cumprod(i(0)),
    "cummax": lambda i: X.cummax(i(0))[0],
    "logcumsumexp": lambda i: X.logcumsumexp(i(0)),
    "softmax": lambda i: X.softmax(i(0)),
    "all": lambda i: X.all(i(0)),
    "any": lambda i: X.any(i(0)),
    "count_nonzero": lambda i: X.count_nonzero(i(0)),
    "nansum": lambda i: X.nansum(i(0)),
    "quantile": lambda i: X.quantile(0.5, i(0)),
    "diff": lambda i: X.diff(i(2), i(0)),
    "renorm": lambda i: X.renorm(2, i(0), 1.),
    "unique_dim": lambda i: X.unique(dim=i(0)),
    "gather": lambda i: X.gather(i(0), ng.tensor([[0, 1, 2]])),
    "index_select": lambda i: X.index_select(i(0), ng.tensor([1])),
    "scatter": lambda i: X.scatter(i(0), ng.tensor([[0, 1, 2]]), 1.),
    "index_add": lambda i: X.index_add(i(0), ng.tensor([0]), ng.ones(1, 3)),
    "take_along_dim": lambda i: ng.take_along_dim(X, ng.tensor([[0]]), i(0)),
    "cat": lambda i: ng.cat((X, X), i(1)),
    "stack": lambda i: ng.stack((X, X), i(1)),
    "combinations": lambda i: ng.combinations(ng.arange(3), i(2)),
    "vander": lambda i: ng.vander(ng.arange(3), i(2)),
    "cross": lambda i: ng.cross(X, X+1, dim=i(1)),
    "tensordot": lambda i: ng.tensordot(X, X, i(2)),
    "tensordot_l": lambda i: ng.tensordot(X, X, ([i(0)], [i(0)])),
    "bincount": lambda i: ng.bincount(ng.tensor([0, 1]), minlength=i(4)),
    "histc": lambda i: X.histc(i(3)),
    "one_hot": lambda i: F.one_hot(ng.tensor([0, 1]), i(3)),
    "multinomial": lambda i: ng.multinomial(ng.ones(3), i(2))*0,
    "matrix_power": lambda i: ng.matrix_power(ng.eye(2), i(2)),
    "polygamma": lambda i: ng.polygamma(i(1), X+1),
    "mvlgamma": lambda i: ng.mvlgamma(X+2, i(2)),
    "trapezoid": lambda i: ng.trapezoid(X, dim=i(0)),
    "hann": lambda i: ng.hann_window(i(4)),
    "size": lambda i: ng.tensor(X.size(i(0))),
    "stride": lambda i: ng.tensor(X.stride(i(0))),
    "swapaxes": lambda i: X.swapaxes(i(0), i(1)),
    "fft": lambda i: ng.fft.rfft(X, i(3), i(0)).real,
    "fft2": lambda i: ng.fft.fft2(X, (i(3), i(3)), (i(0), i(1))).real,
    "fftfreq": lambda i: ng.fft.fftfreq(i(4)),
    "fftshift": lambda i: ng.fft.fftshift(X, i(0)),
    "irfft": lambda i: ng.fft.irfft(X+0j, i(4), i(0)),
    "stft": lambda i: ng.stft(ng.arange(32.), i(8), i(4), i(8), window=ng.ones(8), return_complex=True).real,
    "pad": lambda i: F.pad(X, (i(1), i(2))),
    "pad_r": lambda i: F.pad(X[None], (i(1), i(2)), mode='reflect'),
    "max_pool1d": lambda i: F.max_pool1d(X[None], i(2), i(1), i(1), i(1)),
    "max_pool2d": lambda i: F.max_pool2d(IMAGE, i(2), i(2)),
    "max_pool2d_t": lambda i: F.max_pool2d(IMAGE, (i(2), i(3)), (i(2), i(1)), (i(1), i(0))),
    "avg_pool2d": lambda i: F.avg_pool2d(IMAGE, i(2), i(2), i(1), divisor_override=i(3)),
    "avg_pool1d": lambda i: F.avg_pool1d(X[None], i(2)),
    "lp_pool2d": lambda i: F.lp_pool2d(IMAGE, 2, i(2)),
    "adaptive_avg_pool2d": lambda i: F.adaptive_avg_pool2d(IMAGE, (i(4), i(5))),
    "adaptive_max_pool2d": lambda i: F.adaptive_max_pool2d(IMAGE, (i(4), i(5))),
    "max_unpool2d": lambda i: F.max_unpool2d(*F.max_pool2d(IMAGE, 2, return_indices=True), i(2), i(2)),
    "fold": lambda i: F.fold(ng.arange(36.).reshape(1, 4, 9), (i(4), i(4)), (i(2), i(2)), i(1), i(0), i(1)),
    "F.unfold": lambda i: F.unfold(IMAGE, i(2), i(1), i(0), i(1)),
    "conv1d": lambda i: F.conv1d(X[None], ng.ones(2, 2, 2), None, i(1), i(1), i(1), i(2)),
    "conv2d": lambda i: F.conv2d(IMAGE, ng.ones(1, 1, 2, 2), None, i(2), i(1), i(1), i(1)),
    "conv2d_t": lambda i: F.conv2d(IMAGE, ng.ones(1, 1, 2, 2), None, (i(2), i(1)), (i(1), i(0)), (i(1), i(1))),
    "conv_transpose2d": lambda i: F.conv_transpose2d(IMAGE, ng.ones(1, 1, 2, 2), None, i(2), i(1), i(1), i(1), i(1)),
    "conv_transpose1d": lambda i: F.conv_transpose1d(X[None], ng.ones(4, 1, 2), None, i(2), i(1), i(1)),
    "interpolate": lambda i: F.interpolate(IMAGE, size=(i(3), i(4))),
    "pixel_shuffle": lambda i: F.pixel_shuffle(ng.arange(16.).reshape(1, 4, 2, 2), i(2)),
    "pixel_unshuffle": lambda i: F.pixel_unshuffle(IMAGE, i(2)),
    "channel_shuffle": lambda i: F.channel_shuffle(ng.arange(16.).reshape(1, 4, 2, 2), i(2)),
    "glu": lambda i: F.glu(ng.arange(12.).reshape(2, 6), i(1)),
    "group_norm": lambda i: F.group_norm(ng.arange(16.).reshape(1, 4, 2, 2), i(2)),
    "layer_norm": lambda i: F.layer_norm(X, (i(3), )),
    "local_response_norm": lambda i: F.local_response_norm(ng.arange(16.).reshape(1, 4, 2, 2), i(2)),
    "normalize": lambda i: F.normalize(X, dim=i(0)),
    "cosine": lambda i: F.cosine_similarity(X, X+1, i(0)),
    "cross_entropy_ignore": lambda i: F.cross_entropy(X, ng.tensor([0, 1, 2, 1]), ignore_index=i(1)),
    "nll_ignore": lambda i: F.nll_loss(X, ng.tensor([0, 1, 2, 1]), ignore_index=i(1)),
    "ctc": lambda i: F.ctc_loss(ng.zeros(5, 1, 4), ng.tensor([[1, 2]]), (i(5), ), (i(2), ), blank=i(0)),
    "embedding_pad": lambda i: F.embedding(ng.tensor([0, 1]), X, padding_idx=i(1)),
    "embedding_bag_pad": lambda i: F.embedding_bag(ng.tensor([[0, 1]]), X, padding_idx=i(1)),
    "affine_grid": lambda i: F.affine_grid(ng.eye(2, 3)[None], (i(1), i(1), i(3), i(3)), align_corners=False),
    "softmaxF": lambda i: F.softmax(X, i(0)),
    "log_softmax": lambda i: F.log_softmax(X, i(0)),
    "softmin": lambda i: F.softmin(X, i(0)),
    "tensorinv": lambda i: ng.linalg.tensorinv(ng.eye(6).reshape(2, 3, 6), i(2)),
    "linalg.norm": lambda i: ng.linalg.norm(X, dim=i(0)),
    "vecdot": lambda i: ng.linalg.vecdot(X, X, dim=i(0)),
    "linalg.vander": lambda i: ng.linalg.vander(ng.arange(3.), N=i(2)),
}  # fmt: skip
MODULES = {
    "Linear": lambda i: ng.nn.Linear(i(3), i(2)),
    "Bilinear": lambda i: ng.nn.Bilinear(i(3), i(2), i(2)),
    "Conv2d": lambda i: ng.nn.Conv2d(i(2), i(4), (i(3), i(3)), (i(1), i(1)), (i(1), i(1)), (i(1), i(1)), i(2)),
    "Conv2d_s": lambda i: ng.nn.Conv2d(2, 4, i(3), stride=i(1), padding=i(1), dilation=i(1)),
    "ConvTranspose1d": lambda i: ng.nn.ConvTranspose1d(i(2), i(4), i(3), i(2), i(1), i(1)),
    "BatchNorm1d": lambda i: ng.nn.BatchNorm1d(i(3)),
    "LayerNorm": lambda i: ng.nn.LayerNorm(i(3)),
    "LayerNorm_t": lambda i: ng.nn.LayerNorm((i(3), i(2))),
    "GroupNorm": lambda i: ng.nn.GroupNorm(i(2), i(4)),
    "RMSNorm": lambda i: ng.nn.RMSNorm(i(3)),
    "Embedding": lambda i: ng.nn.Embedding(i(4), i(3), padding_idx=i(1)),
    "EmbeddingBag": lambda i: ng.nn.EmbeddingBag(i(4), i(3)),
    "LSTMCell": lambda i: ng.nn.LSTMCell(i(3), i(2)),
    "MHA": lambda i: ng.nn.MultiheadAttention(i(4), i(2)),
    "Enc": lambda i: ng.nn.TransformerEncoderLayer(i(4), i(2), i(8)),
    "Transformer": lambda i: ng.nn.Transformer(i(4), i(2), i(1), i(1), i(8)),
    "PReLU": lambda i: ng.nn.PReLU(i(2)),
    "Adaptive": lambda i: ng.nn.AdaptiveLogSoftmaxWithLoss(i(16), i(5), [i(2)]),
    "MaxPool2d": lambda i: ng.nn.MaxPool2d(i(2), i(2)),
    "Unflatten": lambda i: ng.nn.Unflatten(i(1), (i(2), i(2))),
    "Fold": lambda i: ng.nn.Fold((i(4), i(4)), i(2)),
    "Upsample": lambda i: ng.nn.Upsample((i(4), i(4))),
    "PixelShuffle": lambda i: ng.nn.PixelShuffle(i(2)),
    "ZeroPad2d": lambda i: ng.nn.ZeroPad2d(i(1)),
    "AdaptiveAvgPool2d": lambda i: ng.nn.AdaptiveAvgPool2d((i(2), i(2))),
}  # fmt: skip


def value(result):
    """The first of the results, as an ndarray."""
    while isinstance(result, (tuple, list)):
        result = result[0]
    return result.numpy()


@pytest.mark.parametrize("name", CALLS)
def test_numbers_of_other_kinds(name):
    right = value(CALLS[name](int))
    for kind in (ng.tensor, np.int64, np.int32, Index):
        np.testing.assert_array_equal(value(CALLS[name](kind)), right, err_msg=f"{name} with {kind}")


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_other_kinds_of_numbers(name):
    right = [(key, tuple(p.shape)) for key, p in MODULES[name](int).named_parameters()]
    for kind in (ng.tensor, np.int64):
        assert [(key, tuple(p.shape)) for key, p in MODULES[name](kind).named_parameters()] == right


REFUSED = {
    "zeros": lambda i: ng.zeros(i(2), 3),
    "new_ones": lambda i: X.new_ones(i(2)),
    "narrow": lambda i: X.narrow(0, i(1), 2),
    "select": lambda i: X.select(0, i(1)),
    "chunk": lambda i: X.chunk(i(2)),
    "split": lambda i: X.split(i(2)),
    "repeat": lambda i: X.repeat(i(2), 1),
    "expand": lambda i: X.expand(i(2), 4, 3),
    "roll": lambda i: X.roll(i(1)),
    "tril": lambda i: X.tril(i(1)),
    "topk": lambda i: X.topk(i(1)),
    "kthvalue": lambda i: X.kthvalue(i(1)),
    "unsqueeze": lambda i: X.unsqueeze(i(0)),
    "cumsum": lambda i: X.cumsum(i(0)),
    "eye": lambda i: ng.eye(i(2)),
    "linspace": lambda i: ng.linspace(0, 1, i(2)),
    "randperm": lambda i: ng.randperm(i(2)),
    "one_hot": lambda i: F.one_hot(ng.tensor([0]), i(1)),
    "pad": lambda i: F.pad(X, (i(1), 2)),
    "max_pool1d": lambda i: F.max_pool1d(X[None, :, :2], i(1)),
    "pixel_shuffle": lambda i: F.pixel_shuffle(IMAGE, i(1)),
    "Linear": lambda i: ng.nn.Linear(i(3), 2).weight.shape if i is not bool else ng.zeros(i(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bools_and_floats_are_no_sizes(name):
    REFUSED[name](int)
    for kind in (float, bool, lambda n: ng.tensor(float(n)), lambda n: np.float64(n), str):
        with pytest.raises((TypeError, RuntimeError)) as caught:
            REFUSED[name](kind)
        assert "int" in str(caught.value)


def test_a_size_that_changes_is_read_anew():
    """Views are planned by their sizes: by the numbers, not by the tensors that these came in."""
    two = ng.tensor(2)
    x = ng.arange(24.0)
    assert x.reshape(two, -1).shape == (2, 12) and x.unfold(0, two, two).shape == (12, 2) and X.sum(two - 2).shape == (3, )
    two += 1
    assert x.reshape(two, -1).shape == (3, 8) and x.unfold(0, two, two).shape == (8, 3) and X.sum(two - 2).shape == (4, )
    assert ng.zeros(two, 1).shape == (3, 1) and ng.zeros(np.int64(3), 1).stride() == (1, 1)


TOO_MUCH = {
    "empty": lambda: ng.empty(1 << 50),
    "zeros": lambda: ng.zeros(1 << 44),
    "empty of two": lambda: ng.empty(1 << 40, 1 << 40),
    "beyond 64 bits": lambda: ng.zeros(2**63),
    "expand": lambda: ng.zeros(1).expand(1 << 40, 1 << 40),
    "arange": lambda: ng.arange(1 << 50),
    "arange of floats": lambda: ng.arange(1e30),
    "linspace": lambda: ng.linspace(0, 1, 1 << 50),
    "logspace": lambda: ng.logspace(0, 1, 1 << 50),
    "eye": lambda: ng.eye(1 << 40),
    "randn": lambda: ng.randn(1 << 50),
    "randperm": lambda: ng.randperm(1 << 50),
    "tril_indices": lambda: ng.tril_indices(1 << 40, 1 << 40),
    "hann_window": lambda: ng.hann_window(1 << 50),
    "combinations": lambda: ng.combinations(ng.arange(1000), 10),
    "combinations with replacement": lambda: ng.combinations(ng.arange(1000), 20, True),
    "cartesian_prod": lambda: ng.cartesian_prod(*[ng.arange(1000)] * 8),
    "meshgrid": lambda: ng.meshgrid(*[ng.arange(1000)] * 8, indexing="ij"),
    "vander": lambda: ng.vander(ng.arange(1000), 1 << 50),
    "repeat": lambda: ng.zeros(8).repeat(1 << 50),
    "pad": lambda: F.pad(ng.zeros(8), (0, 1 << 50)),
    "one_hot": lambda: F.one_hot(ng.tensor([0]), 1 << 50),
    "bincount": lambda: ng.bincount(ng.tensor([1 << 50])),
    "Linear": lambda: ng.nn.Linear(1 << 30, 1 << 30),
    "outer": lambda: ng.outer(ng.zeros(1).expand(1 << 30), ng.zeros(1).expand(1 << 30)),
    "repeat_interleave": lambda: ng.zeros(2).repeat_interleave(1 << 50),
    "diag_embed": lambda: ng.zeros(3).diag_embed(1 << 40),
    "interpolate": lambda: F.interpolate(IMAGE, size=(1 << 30, 1 << 30)),
    "unfold": lambda: ng.zeros(1 << 20).unfold(0, 1 << 19, 1).contiguous(),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_memory_than_there_is(name):
    with pytest.raises(RuntimeError, match="allocate|overflow"):
        TOO_MUCH[name]()


NEGATIVE = {
    "zeros": lambda: ng.zeros(2, -1),
    "resize_": lambda: ng.zeros(3).resize_(-1),
    "empty_strided": lambda: ng.empty_strided((2, 2), (-1, 1)),
    "new_empty": lambda: X.new_empty(-3),
    "expand": lambda: X.expand(-2, 3),
    "repeat": lambda: X.repeat(-1, 1),
    "randperm": lambda: ng.randperm(-1),
    "eye": lambda: ng.eye(-1),
    "linspace": lambda: ng.linspace(0, 1, -1),
    "view": lambda: X.view(-2, 6),
    "tril_indices": lambda: ng.tril_indices(-1, 2),
    "as_strided": lambda: X.as_strided((2, ), (-1, )),
    "pad": lambda: F.pad(X, (-4, 0)),
    "a huge stride": lambda: F.max_pool1d(X[None], 2, stride=1 << 40),
    "a huge dilation": lambda: F.conv1d(X[None], ng.ones(1, 4, 1), dilation=1 << 62),
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_negative_and_overflowing_sizes(name):
    with pytest.raises(RuntimeError):
        NEGATIVE[name]()


HELD = {
    "tensor": lambda v, d: ng.tensor([v], dtype=d),
    "tensor of one": lambda v, d: ng.tensor(v, dtype=d),
    "new_tensor": lambda v, d: ng.zeros(1, dtype=d).new_tensor([v]),
    "as_tensor": lambda v, d: ng.as_tensor([v], dtype=d),
    "full": lambda v, d: ng.full((1, ), v, dtype=d),
    "full_like": lambda v, d: ng.full_like(ng.zeros(1, dtype=d), v),
    "new_full": lambda v, d: ng.zeros(1, dtype=d).new_full((1, ), v),
    "scalar_tensor": lambda v, d: ng.scalar_tensor(v, dtype=d),
    "fill_": lambda v, d: ng.zeros(1, dtype=d).fill_(v),
    "setitem": lambda v, d: ng.zeros(1, dtype=d).__setitem__(0, v),
    "masked_fill": lambda v, d: ng.zeros(1, dtype=d).masked_fill(ng.tensor([True]), v),
    "index_fill": lambda v, d: ng.zeros(1, dtype=d).index_fill(0, ng.tensor([0]), v),
    "scatter": lambda v, d: ng.zeros(1, dtype=d).scatter(0, ng.tensor([0]), v),
    "fill_diagonal_": lambda v, d: ng.zeros(2, 2, dtype=d).fill_diagonal_(v),
    "pad": lambda v, d: F.pad(ng.zeros(1, dtype=d), (1, 1), value=v),
    "threshold": lambda v, d: ng.threshold(ng.zeros(1, dtype=d), 0, v),
}


@pytest.mark.parametrize("name", HELD)
def test_numbers_that_a_dtype_cannot_hold(name):
    make = HELD[name]
    for wrong, d in ((300, ng.uint8), (-300, ng.uint8), (1000, ng.int8), (1e10, ng.int32), (float("nan"), ng.int32),
                     (float("inf"), ng.int64)):  # fmt: skip
        with pytest.raises(RuntimeError, match="cannot be converted to type|without overflow"):
            make(wrong, d)
    for right, d in ((255, ng.uint8), (-128, ng.int8), (1.5, ng.int32), (float("inf"), ng.float32), (True, ng.int8)):
        make(right, d)


def test_bounds_that_a_dtype_cannot_hold():
    x = ng.zeros(1, dtype=ng.int8)
    for call in (lambda: x.clamp(-1000, 1000), lambda: x.clamp(max=1000), lambda: x.clamp_(min=-1000)):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()
    assert x.clamp(-1000.0, 1000.0).dtype is ng.float32


def test_numbers_of_floats_round_in_sequences_and_are_refused_elsewhere():
    assert ng.tensor([1e40]).item() == float("inf") and ng.tensor([-1], dtype=ng.uint8).item() == 255
    for call in (lambda: ng.full((1, ), 1e40), lambda: ng.zeros(1).fill_(1e40), lambda: ng.full((1, ), 1e6, dtype=ng.float16)):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()
    assert ng.zeros(1).fill_(2**63).item() == 2.0**63
    with pytest.raises(ValueError):
        ng.tensor(2**63)


def test_read_only_memory_is_said_to_be_so():
    array = np.arange(3.0)
    array.setflags(write=False)
    for make in (lambda: ng.frombuffer(bytes(8), dtype=ng.uint8), lambda: ng.from_numpy(array), lambda: ng.as_tensor(array), lambda: ng.from_dlpack(array)):
        with pytest.warns(UserWarning, match="not writable"):
            make()
    with pytest.raises(ValueError, match="must not be 0"):
        ng.frombuffer(b"", dtype=ng.uint8)
    with pytest.raises(ValueError, match="must not be greater than"):
        ng.frombuffer(bytes(8), dtype=ng.int64, count=2)


EQUAL_TO_INTS = {
    "reshape": lambda x, two, one, zero: x.reshape(two, 6), "reshape a tuple": lambda x, two, one, zero: x.reshape((two, 6)),
    "sum": lambda x, two, one, zero: x.sum(one), "sum of two": lambda x, two, one, zero: x.sum((zero, 1)),
    "any": lambda x, two, one, zero: x.any(one), "prod": lambda x, two, one, zero: x.prod(one),
    "softmax": lambda x, two, one, zero: x.softmax(one), "cumsum": lambda x, two, one, zero: x.cumsum(one),
    "index": lambda x, two, one, zero: x[one, 0], "cat": lambda x, two, one, zero: ng.cat([x], zero),
    "conv": lambda x, two, one, zero: ng.nn.functional.conv1d(x[None], ng.ones(1, 3, 1), stride=two),
    "conv with a tuple": lambda x, two, one, zero: ng.nn.functional.conv1d(x[None], ng.ones(1, 3, 1), padding=(one,)),
}  # fmt: skip


@pytest.mark.parametrize("call", EQUAL_TO_INTS.values(), ids=EQUAL_TO_INTS)
def test_numbers_that_are_equal_to_ints_are_none(call):
    """Also where a call with the ints was made before: plans are found by equality, and 2 == 2.0."""
    x = ng.arange(12.0).reshape(3, 4)
    for _ in range(2):
        call(x, 2, 1, 0)
        with pytest.raises((TypeError, IndexError)):
            call(x, 2.0, 1.0, 0.0)
    call(x, 2, 1, 0)


@pytest.mark.parametrize("step", (0, 0.0, 0.5))
def test_ranges_have_steps(step):
    with pytest.raises(RuntimeError, match="arange: step must be nonzero"):
        ng.arange(0, 64, step, out=ng.empty(128, dtype=ng.int64))
