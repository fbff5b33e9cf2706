"""Single rules of layers and of what works on them, each against what it stands for."""

import re

import pytest

import numgrad as ng
from numgrad import nn
from numgrad.nn import functional as F


@pytest.mark.parametrize("layer, norm, shape, options", [
    (lambda: nn.Conv2d(2, 3, 3), nn.BatchNorm2d, (2, 2, 5, 5), {}),
    (lambda: nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d, (2, 2, 5, 5), {}),
    (lambda: nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d, (2, 2, 5, 5), {"transpose": True}),
    (lambda: nn.Linear(2, 3), nn.BatchNorm1d, (4, 2), None),
])  # fmt: skip
def test_fusing_with_batch_norm(layer, norm, shape, options):
    layer, norm, x = layer(), norm(3), ng.randn(shape)
    with ng.no_grad():
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            tensor.uniform_(0.5, 2)
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        nn.utils.fuse_conv_bn_eval(layer, norm)
    layer.eval(), norm.eval()
    layer.weight.requires_grad_(False)
    fuse = nn.utils.fuse_linear_bn_eval if options is None else nn.utils.fuse_conv_bn_eval
    fused = fuse(layer, norm, **options or {})
    assert (fused(x) - norm(layer(x))).abs().max() < 1e-5
    assert not fused.weight.requires_grad and fused.bias.requires_grad == (layer.bias is not None)


@pytest.mark.parametrize("rows, columns", [(3, 3), (5, 3), (3, 5)])
def test_householder_without_a_base_gives_back_what_is_assigned(rows, columns):
    module = nn.utils.parametrizations.orthogonal(
        nn.Linear(columns, rows), orthogonal_map="householder", use_trivialization=False
    )
    wanted = nn.init.orthogonal_(ng.empty(rows, columns))
    module.weight = wanted
    assert (module.weight - wanted).abs().max() < 1e-5


def test_complex_spectral_norm_is_the_largest_singular_value():
    module = nn.Linear(2, 2, dtype=ng.complex64)
    with ng.no_grad():
        diagonal = ng.tensor([1 + 1j, 0.1j])
        module.weight = nn.Parameter(ng.diag(diagonal))
        nn.utils.parametrizations.spectral_norm(module)
        assert (module.weight - ng.diag(diagonal / diagonal.abs().max())).abs().max() < 1e-5


def test_modules_take_a_memory_format():
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 3)).to(memory_format=ng.channels_last)
    assert module[0].weight.is_contiguous(memory_format=ng.channels_last) and module[1].weight.is_contiguous()


def test_packed_sequences_are_converted():
    packed = nn.utils.rnn.pack_padded_sequence(ng.ones(3, 2), [1, 3], enforce_sorted=False)
    for name in ("double", "float", "half", "long", "int", "short", "char", "byte"):
        found = getattr(packed, name)()
        assert found.data.dtype is getattr(ng.ones(1), name)().dtype and found.sorted_indices.dtype is ng.int64
    assert packed.cpu() is packed and packed.to(ng.float32) is packed
    with pytest.raises(RuntimeError, match="Cannot pack empty tensors"):
        nn.utils.rnn.pack_padded_sequence(ng.ones(0, 0), [])


def test_the_last_offset_of_embedding_bags_is_a_place_only():
    bag = nn.EmbeddingBag(10, 3, include_last_offset=True, padding_idx=6)
    indices = ng.tensor([0, 1, 2, 3])
    wanted = ng.stack([bag.weight[:3].mean(0), bag.weight[3]])
    for last in (3, 4):
        assert ng.equal(bag(indices, ng.tensor([0, 3, last])), wanted)


def test_the_largest_in_a_bag_is_the_first_of_equal_ones():
    weight = ng.tensor([[1.0, 5.0], [1.0, 4.0], [1.0, 5.0]], requires_grad=True)
    found = F.embedding_bag(ng.tensor([1, 2, 0]), weight, ng.tensor([0, 0, 3]), mode="max")
    assert found.tolist() == [[0, 0], [1, 5], [0, 0]]
    found.sum().backward()
    assert weight.grad.tolist() == [[0, 0], [1, 0], [0, 1]]
    empty = F.embedding_bag(ng.tensor([], dtype=ng.int64), weight, ng.tensor([0, 0]), mode="max")
    empty.sum().backward()  # rows of nothing have a gradient of zeros
    with pytest.raises(RuntimeError, match="have the same type as weight"):
        F.embedding_bag(ng.tensor([[0]]), weight, mode="sum", per_sample_weights=ng.ones(1, 1, dtype=ng.float64))


@pytest.mark.parametrize("call, text", [
    (lambda: F.dropout2d(ng.ones(1, 2)), "Received a 2-D input to dropout2d"),
    (lambda: F.dropout2d(ng.ones(1, 2, 2)), "channel-wise 1D dropout behavior is desired"),
    (lambda: F.dropout3d(ng.ones(1, 2, 2)), "Received a 3-D input to dropout3d"),
])  # fmt: skip
def test_channel_dropout_says_what_it_takes_ranks_for(call, text):
    with pytest.warns(UserWarning, match=text):
        call()


def test_uninitialised_parameters_say_what_they_cannot():
    parameter = nn.parameter.UninitializedParameter()
    with pytest.raises(ValueError, match="uninitialized parameter in an op"):
        parameter + parameter
    with pytest.raises(RuntimeError, match="share memory on an uninitialized"):
        parameter.share_memory_()
    with pytest.raises(ValueError, match="can't have uninitialized parameters"):
        nn.utils.spectral_norm(nn.LazyLinear(2))
    parameter.materialize(3)
    assert parameter.shape == (3,)
    module = nn.LazyConvTranspose2d(2, 3, 2)
    assert module(ng.ones(1, 1, 4, 4), output_size=(10, 10)).shape == (1, 2, 10, 10)


def test_plain_backward_hooks_say_what_they_do_not_see():
    class Two(nn.Module):
        def forward(self, a):
            return a.clone().clone()

    a = ng.ones(2, requires_grad=True)
    module = Two()
    module.register_backward_hook(lambda *args: None)
    with pytest.warns(FutureWarning, match="the forward contains multiple autograd Nodes"):
        module(a)
    module = nn.Sigmoid()
    module.register_backward_hook(lambda module, inputs, outputs: ())
    with pytest.raises(RuntimeError, match="got 0, but expected 1"):
        module(a).sum().backward()


def test_global_hooks_are_where_pytorch_keeps_them():
    where = nn.modules.module
    handle = where.register_module_forward_hook(lambda module, args, output: output + 1)
    assert handle.id in where._global_forward_hooks
    before, where._global_forward_hooks = where._global_forward_hooks, type(where._global_forward_hooks)()
    try:
        assert nn.Identity()(ng.zeros(1)).item() == 0
    finally:
        where._global_forward_hooks = before
        assert nn.Identity()(ng.zeros(1)).item() == 1
        handle.remove()


@pytest.mark.parametrize("arguments, options, text", [
    (((4, 4, 4), (4, 4), (4, 4, 4)), {}, "batched (3-D) `query`, expected `key` and `value` to be 3-D but found 2-D and 3-D"),
    (((4, 4), (4, 4), (4, 4, 4)), {}, "unbatched (2-D) `query`, expected `key` and `value` to be 2-D but found 2-D and 3-D"),
    (((4, 4, 4),) * 3, {"key_padding_mask": (4,)}, "expected `key_padding_mask` to be `None` or 2-D but found 1-D tensor"),
    (((4, 4, 4),) * 3, {"attn_mask": (4,)}, "expected `attn_mask` to be `None`, 2-D or 3-D but found 1-D tensor"),
    (((4, 4),) * 3, {"attn_mask": (5, 4, 4)}, "Expected `attn_mask` shape to be (4, 4, 4) but got (5, 4, 4)"),
])  # fmt: skip
def test_attention_says_which_ranks_it_takes(arguments, options, text):
    module = nn.MultiheadAttention(4, 4)
    with pytest.raises(AssertionError, match=re.escape(text)):
        module(*(ng.ones(shape) for shape in arguments), **{k: ng.ones(shape).bool() for k, shape in options.items()})


def test_gradcheck_of_single_precision_is_done_with_a_warning():
    x = ng.ones(3, requires_grad=True)
    with pytest.warns(UserWarning, match="not a double precision floating point"):
        assert ng.autograd.gradcheck(lambda x: x * 2, x, eps=0.25)


def test_grids_of_one_element_warn_with_corners_aligned():
    with pytest.warns(UserWarning, match="See the documentation of affine_grid"):
        F.affine_grid(ng.ones(1, 2, 3), (1, 1, 2, 1), align_corners=True)


def test_normalisation_across_maps():
    x = ng.randn(2, 7, 3, 3)
    module = nn.CrossMapLRN2d(4, alpha=0.1)
    assert ng.equal(module(x), nn.LocalResponseNorm(4, alpha=0.1)(x)) and repr(module) == "CrossMapLRN2d(4, alpha=0.1, beta=0.75, k=1)"


def test_layers_take_empty_batches():
    for layer, shape in (
        (nn.AdaptiveAvgPool1d(5), (0, 10)), (nn.AdaptiveAvgPool2d(3), (0, 6, 6)), (nn.AdaptiveMaxPool2d(3), (0, 2, 6, 6)),
        (nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), (0, 3, 8)), (nn.TransformerEncoderLayer(8, 2, 8), (3, 0, 8)),
    ):  # fmt: skip
        x = ng.ones(shape, requires_grad=True)
        found = layer(x)
        assert found.numel() == 0
        found.sum().backward()
        assert x.grad.shape == shape
    x = ng.ones(0, 2, 4, requires_grad=True)
    F.max_unpool1d(x, ng.zeros(0, 2, 4, dtype=ng.int64), 2).sum().backward()
    assert x.grad.shape == (0, 2, 4)
    for call, text in (
        (lambda: nn.AdaptiveAvgPool1d(5)(ng.ones(2, 0)), "non-zero size for non-batch"),
        (lambda: nn.MaxPool1d(2)(ng.ones(0, 4)), "non-zero size for non-batch"),
        (lambda: nn.FractionalMaxPool2d(2, output_size=1)(ng.ones(1, 0, 4, 4)), "Expected input to have"),
        (lambda: nn.ReflectionPad1d(1)(ng.ones(3, 0, 4)), "Expected 2D or 3D .* other non-zero dimensions"),
        (lambda: nn.Unfold((2, 3))(ng.ones(1, 1, 2, 2)), "components must be at least one"),
        (lambda: nn.Fold((4, 5), 2, dilation=8)(ng.ones(1, 4, 1)), "components must be at least one"),
    ):
        with pytest.raises(RuntimeError, match=text):
            call()
    with pytest.raises(TypeError, match="type float at pos 1"):
        nn.Unflatten(1, (2, 5.0))


@pytest.mark.parametrize("n, groups", [(1, 1), (2, 2), (3, 1)])
def test_gradients_of_convolutions_are_functions(n, groups):
    convolution, settings = getattr(F, f"conv{n}d"), {"stride": 2, "padding": 1, "groups": groups}
    x, w = ng.randn(2, 2, *(5,) * n, requires_grad=True), ng.randn(4, 2 // groups, *(3,) * n, requires_grad=True)
    out = convolution(x, w, **settings)
    g = ng.randn(out.shape)
    dx, dw = ng.autograd.grad(out, (x, w), g)
    of_input, of_weight = (getattr(nn.grad, f"conv{n}d_{what}") for what in ("input", "weight"))
    assert ng.equal(of_input(x.shape, w, g, **settings), dx) and ng.equal(of_weight(x, w.shape, g, **settings), dw)
    with pytest.raises(RuntimeError, match="expected grad_output to be"):
        of_input(x.shape, w, g[1:], **settings)
    with pytest.raises(RuntimeError, match="expected an input of"):
        of_weight(x[0], w.shape, g, **settings)


def test_time_first_convolution():
    x, w, b = ng.randn(5, 2, 3), ng.randn(2, 3, 4), ng.randn(4)
    expected = F.conv1d(x.permute(1, 2, 0), w.permute(2, 1, 0), b, padding=1).permute(2, 0, 1)
    assert ng.equal(F.conv_tbc(x, w, b, 1), expected) and ng.conv_tbc(x, w, b).shape == (4, 2, 4)
    with pytest.raises(RuntimeError, match="Input must have 3 dims"):
        ng.conv_tbc(x[0], w, b)


@pytest.mark.parametrize("convolution, weight", [(F.conv2d, (3, 0, 2, 2)), (F.conv_transpose2d, (0, 3, 2, 2))])
def test_convolutions_without_channels_have_none_in_their_results(convolution, weight):
    x, w, b = ng.ones(2, 0, 4, 4, requires_grad=True), ng.ones(weight, requires_grad=True), ng.ones(3, requires_grad=True)
    out = convolution(x, w, b)
    out.sum().backward()
    assert out.shape[:2] == (2, 0) and b.grad.tolist() == [0] * 3 and x.grad.shape == x.shape and w.grad.shape == w.shape


def test_batch_statistics_without_a_layer():
    x, mean, var = ng.arange(6.0).view(3, 2), ng.zeros(2), ng.ones(2)
    found = ng.batch_norm_update_stats(x, mean, var, 0.5)
    assert found[0].tolist() == [2, 3] and (found[1] - 8 / 3).abs().max() < 1e-6
    assert mean.tolist() == [1, 1.5] and var.tolist() == [2.5, 2.5]
    with pytest.raises(RuntimeError, match=re.escape("must have at least one element, but got input_sizes = [0, 2]")):
        ng.batch_norm_update_stats(x[:0], mean, var, 0.5)


def test_running_statistics_have_no_gradient():
    x, mean, var = ng.ones(3, 2), ng.zeros(2, requires_grad=True), ng.ones(2)
    with pytest.raises(RuntimeError, match="not differentiable wrt running_mean and running_var"):
        F.batch_norm(x, mean, var)
    with ng.no_grad():
        F.batch_norm(x, mean, var)


def test_batch_norm_over_processes_is_over_this_one():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.BatchNorm2d(3, affine=False)), nn.BatchNorm1d(2).eval())
    found = nn.SyncBatchNorm.convert_sync_batchnorm(model, "group")
    assert found is model and found[0].process_group == "group" and not found[2].training
    layers = found[0], found[1][0], found[2]
    assert all(type(layer) is nn.SyncBatchNorm for layer in layers) and found[1][0].weight is None
    x = ng.randn(4, 2)
    assert ng.equal(found[0](x), nn.BatchNorm1d(2)(x)) and found[0].num_batches_tracked == 1
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(2))) is nn.SyncBatchNorm
    with pytest.raises(ValueError, match="expected at least 2D input"):
        found[0](x[0])


def test_modules_without_initial_values():
    ng.manual_seed(1)
    initial, state = nn.Linear(5, 1), ng.get_rng_state()
    ng.manual_seed(1)
    skipped = nn.utils.skip_init(nn.Linear, 5, out_features=1, device="cpu", dtype=ng.float64)
    assert skipped.weight.shape == (1, 5) and skipped.weight.dtype is ng.float64
    assert ng.equal(nn.Linear(5, 1).weight, initial.weight) and ng.equal(ng.get_rng_state(), state)
    for kind, text in ((nn.ReLU, "support a 'device' arg"), (ng.ones, "Expected a Module")):
        with pytest.raises(RuntimeError, match=text):
            nn.utils.skip_init(kind)


def test_replicas_have_tensors_for_parameters():
    parameters = nn.ParameterList([ng.ones(2), ng.zeros(3)])
    replica = parameters._replicate_for_data_parallel()
    for name, parameter in parameters.named_parameters():
        setattr(replica, name, parameter.view_as(parameter))
    assert [tensor._base for tensor in replica] == list(parameters) and not list(replica.parameters())


def test_complex_modules_warn():
    with pytest.warns(UserWarning, match="Complex modules are a new feature"):
        nn.Linear(2, 2).to(ng.complex64)


@pytest.mark.parametrize("fn", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_softmax_of_nothing_is_recorded_twice(fn, shape):
    x = ng.ones(shape, requires_grad=True)
    for dim in (0, 1):
        gradient = ng.autograd.grad(fn(x, dim).sum(), x, create_graph=True)[0]
        gradient.sum().backward()
        assert x.grad.shape == shape


def test_grids_keep_nothing_for_their_gradient():
    theta = ng.randn(2, 2, 3, requires_grad=True)
    grid = F.affine_grid(theta, (2, 1, 3, 4), align_corners=False)
    g = ng.randn(grid.shape)
    grid.backward(g)
    grid.backward(g)
    assert (theta.grad - 2 * ng.autograd.grad(grid, theta, g)[0]).abs().max() < 1e-5


def test_a_threshold_in_place_may_meet_an_element_twice():
    x = ng.tensor([0.2, 0.7]).expand(3, 2)
    assert F.threshold_(x, 0.5, 0.0).tolist() == [[0, ng.tensor(0.7).item()]] * 3


def test_the_forward_derivative_of_complex_functions_can_be_checked():
    x = ng.ones(2, dtype=ng.complex128, requires_grad=True)
    assert ng.autograd.gradcheck(lambda x: x * x, x, check_forward_ad=True, check_batched_grad=True)


def test_sums_of_which_the_negative_is_cut_off():
    assert ng._VF._add_relu(ng.tensor([1.0, -3.0]), 2).tolist() == [3, 0]


def test_fractional_pools_say_what_does_not_fit():
    x = ng.rand(2, 7, 7)
    assert F.fractional_max_pool2d(x, 2, output_size=(0, 3)).shape == (2, 0, 3)
    for kernel, size, text in (
        ((1,), (3, 3), "kernel_size must either"), ((2, 2), (3,), "output_size must either"), ((2, 2), (), "output_size must either"),
        ((2, 2), (9, 3), "too large relative to input height"), ((2, 2), (3, 9), "too large relative to input width"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=text):
            F.fractional_max_pool2d(x, kernel, output_size=size)


@pytest.mark.parametrize("size", ((2, 2), [2, 2], ng.Size((2, 2))))
def test_unflatten_shows_the_size_that_it_was_given(size):
    assert repr(nn.Unflatten(1, size)) == f"Unflatten(dim=1, unflattened_size={size})"
