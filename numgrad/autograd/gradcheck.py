"""Derivatives compared with differences of values, as ``torch.autograd.gradcheck``: the module can be called like its function."""

import functools
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from .. import autograd
from ..dtypes import complex128, float64
from ..errors import GradientError
from ..func.levels import batch_of
from ..ops.create import zeros_like
from ..ops.join import stack
from ..tensor import Tensor, from_array
from .forward_ad import dual_level, make_dual, unpack_dual


class GradcheckError(GradientError):
    """What `gradcheck` and `gradgradcheck` raise where derivatives are not right."""


def gradcheck(func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0, check_undefined_grad=True,
              check_grad_dtypes=False, check_batched_grad=False, check_batched_forward_grad=False, check_forward_ad=False,
              check_backward_ad=True, fast_mode=False, masked=None) -> bool:  # fmt: skip
    """Compare the gradients of ``func(*inputs)`` with central differences, along one random direction an input.

    ``inputs``: tensors; those that require grad should be float64 or complex128 (a warning). Each output's Jacobian is
    probed at once by a random projection of outputs and inputs, tightly; complex numbers count as pairs of reals. Checked
    too: that backward gives the same twice, to ``nondet_tol``, and zeros for zeros; ``check_forward_ad``: directional
    derivatives, ``check_batched_grad``: gradients of several weightings at once, ``check_batched_forward_grad``: derivatives
    in several directions at once. ``check_undefined_grad``, ``fast_mode``, ``masked`` and ``check_grad_dtypes`` are
    accepted. Raises GradcheckError, or returns False unless ``raise_exception``, where they differ.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    try:
        check = _Check(func, inputs, eps, atol, rtol)
        if not check.outputs:
            check.constant()
            return True
        check.differences()
        if check_backward_ad:
            check.backward(nondet_tol)
        if check_forward_ad:
            check.forward()
            if check_batched_forward_grad:
                check.batched_forward()
        if check_backward_ad:
            if check_batched_grad:
                check.batched()
            check.zeros()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _all_outputs(value) -> list[Tensor]:
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [v for v in values if isinstance(v, Tensor) and v._m.dtype.differentiable]


def _outputs(value) -> list[Tensor]:
    return [v for v in _all_outputs(value) if v.requires_grad]


def _random(rng, tensor):
    """Normal numbers in the shape of ``tensor``, complex if it is."""
    values = rng.standard_normal(tensor.shape)
    return values + 1j * rng.standard_normal(tensor.shape) if tensor.is_complex() else values


def _parts(values, what):
    """Numbers, complex ones as their imaginary and their real part, with what a message says of these."""
    if not np.iscomplexobj(values):
        return [("", values)]
    lead = "While considering the {} part of complex {} only, "
    return [(lead.format("imaginary", what), 1j * values.imag), (lead.format("real", what), values.real + 0j)]


def _product(a, b):
    """The real inner product."""
    return float(np.vdot(a, b).real)


def _as(values, like: Tensor) -> Tensor:
    return from_array(np.asarray(values)).to(dtype=like.dtype, device=like.device)


class _Check:
    def __init__(self, func, inputs, eps, atol, rtol):
        self.func, self.inputs, self.eps, self.atol, self.rtol = func, inputs, eps, atol, rtol
        self.leaves = [value for value in inputs if isinstance(value, Tensor) and value.requires_grad]
        if not self.leaves:
            raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have it")
        for k, value in enumerate(inputs):
            if not isinstance(value, Tensor) or not value.requires_grad:
                continue
            if value.dtype not in (float64, complex128):
                warnings.warn(
                    f"Input #{k} requires gradient and is not a double precision floating point or complex. This check will "
                    "likely fail if all the inputs are not of double precision floating point or complex.",
                    stacklevel=3,
                )
            if any(step == 0 and size > 1 for step, size in zip(value.stride(), value.shape)):
                raise RuntimeError(
                    f"The {k}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping to "
                    "be able to compute the numerical gradients correctly. You should call .contiguous on the input before "
                    "passing it to gradcheck."
                )
        self.rng = np.random.default_rng(0)
        self.outputs = _outputs(func(*inputs))
        self.weights = [_random(self.rng, out) for out in self.outputs]
        self.directions = [_random(self.rng, leaf) for leaf in self.leaves]

    def moved(self, leaf, direction, take):
        """``take(func's value)`` at the leaf plus and minus a step."""
        kept = np.array(leaf._host())
        host = leaf.detach()
        values = []
        try:
            for sign in (1, -1):
                host.copy_(from_array(np.array(kept + sign * self.eps * direction)))
                values.append([np.array(out._host()) for out in self.same(take(self.func(*self.inputs)))])
        finally:
            host.copy_(from_array(kept))
        return [(up - down) / (2 * self.eps) for up, down in zip(*values)]

    def same(self, outputs):
        for out, before in zip(outputs, self.outputs):
            for what in ("shape", "dtype"):
                if getattr(out, what) != getattr(before, what):
                    raise AssertionError(
                        f"Expected `func` to return outputs with the same {what} when inputs are perturbed on index 0 by "
                        f"{self.eps}, but got: {what} {getattr(before, what)} and {getattr(out, what)}"
                    )
        return outputs

    def differences(self):
        """The directional derivatives of all outputs, input by input."""
        self.numerical = [self.moved(leaf, step, _outputs) for leaf, step in zip(self.leaves, self.directions)]
        self.record()

    def record(self):
        """Record the graph anew, as the inputs have been written to."""
        self.outputs = _outputs(self.func(*self.inputs))

    def constant(self):
        """Where no output requires grad, none may change with the inputs."""
        for k, (leaf, step) in enumerate(zip(self.leaves, self.directions)):
            for changed in self.moved(leaf, step, _all_outputs):
                if np.abs(changed).max(initial=0.0) > self.atol:
                    raise GradcheckError(
                        f"Numerical gradient for function expected to be zero: no output requires grad, but one changes with "
                        f"input {k}"
                    )

    def compare(self, lead, analytical, numerical, i, k):
        leaf = self.leaves[k]
        if not abs(analytical - numerical) <= self.atol * max(1.0, np.sqrt(leaf.numel())) + self.rtol * abs(numerical):
            raise GradcheckError(
                f"{lead} mismatch for output {i} with respect to input {k} of shape {list(leaf.shape)}: along a random direction "
                f"the numerical derivative is {numerical:.8g}, the analytical one {analytical:.8g}"
            )

    def gradients(self, i, weight):
        out = self.outputs[i]
        return autograd.grad(out, self.leaves, _as(weight, out), retain_graph=True, allow_unused=True)

    def backward(self, nondet_tol):
        for i, weight in enumerate(self.weights):
            for of, part in _parts(weight, "outputs"):
                found, again = self.gradients(i, part), self.gradients(i, part)
                for k, (gradient, repeated) in enumerate(zip(found, again)):
                    values = None if gradient is None else gradient._host()
                    analytical = 0.0 if values is None else _product(values, self.directions[k])
                    self.compare(of + "Jacobian", analytical, _product(part, self.numerical[k][i]), i, k)
                    if values is not None and np.abs(values - repeated._host()).max(initial=0.0) > nondet_tol:
                        raise GradcheckError(
                            "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                            "gives different values, although analytical gradient matches numerical gradient. The tolerance for "
                            f"nondeterminism was {nondet_tol}."
                        )

    def zeros(self):
        for i, weight in enumerate(self.weights):
            for gradient in self.gradients(i, np.zeros_like(weight)):
                if gradient is not None and np.any(gradient._host() != 0):
                    raise GradcheckError("backward not multiplied by grad_output: it is not 0 where that is 0")

    def tangents(self, k, step):
        """The tangents of the outputs towards ``step`` at leaf ``k`` and zeros at the others, which nothing records."""
        with dual_level():
            given = [value.detach() if isinstance(value, Tensor) else value for value in self.inputs]
            for leaf in self.leaves:
                place = next(n for n, value in enumerate(self.inputs) if value is leaf)
                tangent = step if leaf is self.leaves[k] else zeros_like(given[place])
                given[place] = make_dual(given[place], tangent)
            return [unpack_dual(out).tangent for out in _all_outputs(self.func(*given))]

    def forward(self):
        for k, (leaf, direction) in enumerate(zip(self.leaves, self.directions)):
            for of, part in _parts(direction, "inputs"):
                tangents = self.tangents(k, _as(part, leaf))
                numerical = self.numerical[k] if part is direction else self.moved(leaf, part, _outputs)
                for i, tangent in enumerate(tangents[: len(self.outputs)]):
                    analytical = 0.0 if tangent is None else _product(self.weights[i], tangent._host())
                    lead = of + "Jacobian computed with forward mode"
                    self.compare(lead, analytical, _product(self.weights[i], numerical[i]), i, k)
        if any(leaf.is_complex() for leaf in self.leaves):
            self.record()

    def at_once(self, what, wrong, all_of, each, parts):
        """Compare ``all_of()``, results whose first dimension is that of ``parts``, with ``each(part)`` one by one."""
        lead = f"gradcheck or gradgradcheck failed while testing batched {what} computation: "
        try:
            together = all_of()
        except RuntimeError as error:
            raise GradcheckError(f"{lead}{error}") from error
        for place, part in enumerate(parts):
            for one, several in zip(each(part), together):
                if one is not None and not np.allclose(one._host(), several._host()[place], self.rtol, self.atol):
                    raise GradcheckError(lead + wrong)

    def batched_forward(self):
        wrong = "the tangents towards several directions at once are not those towards each"
        for k, leaf in enumerate(self.leaves):
            steps = [_as(values, leaf) for values in (self.directions[k], _random(self.rng, leaf))]
            tangents = functools.partial(self.tangents, k)

            def all_of():
                (several,), ordinary = batch_of(stack(steps))
                return [ordinary(found) for found in tangents(several)]

            self.at_once("forward gradient", wrong, all_of, tangents, steps)

    def batched(self):
        wrong = "the gradients of several weightings at once are not those of each"
        for i, out in enumerate(self.outputs):
            weights = [self.weights[i], _random(self.rng, out)]
            all_of = functools.partial(
                autograd.grad, out, self.leaves, _as(np.stack(weights), out), True, allow_unused=True, is_grads_batched=True
            )
            self.at_once("gradient", wrong, all_of, functools.partial(self.gradients, i), weights)


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3, gen_non_contig_grad_outputs=False,
                  raise_exception=True, nondet_tol=0.0, check_undefined_grad=True, check_grad_dtypes=False,
                  check_batched_grad=False, check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False,
                  masked=False) -> bool:  # fmt: skip
    """`gradcheck` of the gradients of ``func``: the second derivatives."""
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    rng = np.random.default_rng(1)
    outputs = _outputs(func(*inputs))
    if grad_outputs is None:
        grad_outputs = [from_array(np.asarray(_random(rng, out))).to(out.dtype).requires_grad_() for out in outputs]
    else:
        grad_outputs = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    count = len(inputs)

    def gradients(*values):
        given = values[:count]
        wanted = [v for v in given if isinstance(v, Tensor) and v.requires_grad]
        results = _outputs(func(*given))
        found = autograd.grad(results, wanted, list(values[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    if not gradients(*inputs, *grad_outputs):
        return True  # linear without a second derivative: nothing depends on anything
    return gradcheck(
        gradients, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_batched_grad=check_batched_grad, check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev,
    )  # fmt: skip


class _Callable(ModuleType):
    """``autograd.gradcheck`` is a function in PyTorch's namespace and the module that this function is from in its imports."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
