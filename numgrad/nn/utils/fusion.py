"""Batch normalisation in evaluation mode folded into the layer before it."""

import copy

from ...autograd import no_grad
from ...ops.create import ones_like, zeros_like
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter


def _folded(name, weight, bias, mean, var, eps, scale, shift, axis):
    """Weight and bias of ``batch_norm(layer(x))`` as one layer; ``axis`` of the weight counts the outputs."""
    scale = ones_like(mean) if scale is None else scale
    shift = zeros_like(mean) if shift is None else shift
    if mean.shape != (weight.shape[axis],):
        raise ValueError(f"{name}: expected statistics of {weight.shape[axis]} channels, got shape {list(mean.shape)}")
    wanted = weight.requires_grad, weight.requires_grad if bias is None else bias.requires_grad
    with no_grad():
        dtypes = weight.dtype, weight.dtype if bias is None else bias.dtype
        factor = scale * (var + eps).rsqrt()
        shape = [1] * weight.dim()
        shape[axis] = -1
        offset = (-mean if bias is None else bias - mean) * factor + shift
        fused = (weight * factor.to(weight.dtype).reshape(shape)).to(dtypes[0]), offset.to(dtypes[1])
    weight, bias = (Parameter(value, flag) for value, flag in zip(fused, wanted))
    return weight, bias


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a convolution that computes what ``conv`` and then batch normalisation by running statistics
    (``bn_rm``, ``bn_rv``) do. ``transpose``: of a transposed convolution. Each requires grad where the original does."""
    axis = 1 if transpose else 0
    return _folded("fuse_conv_bn_weights", conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, axis)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a linear layer that computes what ``linear`` and then batch normalisation by running statistics
    do. Each requires grad where the original does."""
    return _folded("fuse_linear_bn_weights", linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fused(layer, bn, fold, **options):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError(f"fusing needs running statistics, and {bn} keeps none")
    found = copy.deepcopy(layer)
    found.weight, found.bias = fold(
        found.weight, found.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, **options
    )
    return found


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """A copy of ``conv`` that computes ``bn(conv(x))``. Raises AssertionError unless both are in evaluation mode."""
    return _fused(conv, bn, fuse_conv_bn_weights, transpose=transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """A copy of ``linear`` that computes ``bn(linear(x))``. Raises AssertionError unless both are in evaluation mode, and
    ValueError if their sizes differ."""
    return _fused(linear, bn, fuse_linear_bn_weights)
