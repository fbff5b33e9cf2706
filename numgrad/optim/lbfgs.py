"""L-BFGS."""

from collections.abc import Callable
from typing import Any

from ..autograd import enable_grad, no_grad
from ..inplace import written
from ..ops.complex import view_as_real
from ..ops.create import zeros
from ..ops.join import cat
from ..tensor import Tensor
from .optimizer import Optimizer, ParamsT
from .pointwise import check_lr
from .strong_wolfe import Trial, strong_wolfe
from .unnoticed import warn_idle


class LBFGS(Optimizer):
    """Limited-memory BFGS (https://doi.org/10.1007/BF01589116), a quasi-Newton method for deterministic losses.

    A step makes up to ``max_iter`` iterations and up to ``max_eval`` evaluations of the loss (by default 1.25 times
    as many). The direction is the gradient times an approximate inverse Hessian made of the last ``history_size``
    moves; the length is ``lr``, or what ``line_search_fn`` "strong_wolfe" finds from there. It ends early where no
    gradient is larger than ``tolerance_grad``, or where neither the parameters nor the loss change by more than
    ``tolerance_change``. There is one parameter group; its state, of the size of ``2 * history_size`` gradients, is
    kept with the first parameter. Complex parameters are pairs of real ones. ``lr`` may be a Tensor of one element.

    Raises ValueError for a negative ``lr`` and for further parameter groups.
    """

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        check_lr(lr)
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in `Optimizer`, once; raises ValueError for a second group."""
        super().add_param_group(param_group)
        if len(self.param_groups) > 1:
            self.param_groups.pop()
            raise ValueError(
                "LBFGS doesn't support per-parameter options (parameter groups): give all parameters in one list"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to ``max_iter`` iterations; return the loss that ``closure`` returned first.

        ``closure`` clears the gradients, computes the loss, calls ``backward()`` on it and returns it; it is called
        once an evaluation. Raises TypeError without it and RuntimeError for an unknown line search.
        """
        if closure is None:
            raise TypeError(
                "LBFGS.step: expected a closure, because the loss is evaluated several times, but got None. Pass a "
                "function that clears the gradients, computes the loss, calls backward() on it and returns it."
            )
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(
                f"only 'strong_wolfe' is supported as line_search_fn, but got {group['line_search_fn']!r}"
            )
        state = self.state[group["params"][0]]
        with no_grad():
            first = _evaluated(closure)
            state["func_evals"] = state.get("func_evals", 0) + 1
            state.setdefault("n_iter", 0)
            if all(p._n is None or p.grad is None for p in group["params"]):
                warn_idle(self)
                return first
            self._iterate(closure, group, state, float(first))
            for p in group["params"]:
                written(p, "LBFGS.step")
        return first

    def _iterate(self, closure, group, state, loss):
        params, lr = group["params"], float(group["lr"])
        tolerance_change, tolerance_grad = group["tolerance_change"], group["tolerance_grad"]
        gradient, evaluations = _gradient(params), 1
        if _largest(gradient) <= tolerance_grad:
            return
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d = -gradient
                t = min(1.0, 1.0 / gradient.abs().sum().item()) * lr
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            else:
                _remember(state, gradient, group["history_size"])
                d, t = _direction(state, gradient, group["history_size"]), lr
            state.update(d=d, t=t, prev_flat_grad=gradient, prev_loss=loss)
            slope = gradient.dot(d).item()
            if slope > -tolerance_change:
                return
            before, last = loss, iteration == group["max_iter"]
            if group["line_search_fn"] is not None:
                start, evaluate = Trial(0.0, loss, gradient, slope), _on_the_line(closure, params, d)
                limit = group["max_eval"] - evaluations
                (t, loss, gradient, _), made = strong_wolfe(evaluate, start, t, length=_largest(d), limit=limit)
                _move(params, d, t)
                state["t"] = t
            else:
                _move(params, d, t)
                made = 0 if last else 1  # in a stochastic setting, the next step's loss is another one
                if not last:
                    loss, gradient = float(_evaluated(closure)), _gradient(params)
            evaluations += made
            state["func_evals"] += made
            if (
                last
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= tolerance_grad
                or _largest(d) * abs(t) <= tolerance_change
                or abs(loss - before) < tolerance_change
            ):
                return


# --- the inverse Hessian -------------------------------------------------------------------------------------------


def _remember(state, gradient, limit):
    """Add the last move and the change of the gradient to the memory, unless the loss is not convex along it."""
    change = gradient - state["prev_flat_grad"]
    move = state["d"] * state["t"]
    product = change.dot(move)
    if product.item() <= 1e-10:
        return
    for name, value in (("old_dirs", change), ("old_stps", move), ("ro", 1.0 / product)):
        state[name].append(value)
        del state[name][: max(0, len(state[name]) - limit)]
    state["H_diag"] = product / change.dot(change)


def _direction(state, gradient, limit):
    """Minus the gradient (n) times the approximate inverse Hessian: the two-loop recursion."""
    memory = list(enumerate(zip(state["old_dirs"], state["old_stps"], state["ro"])))
    shares = state.setdefault("al", [None] * limit)
    d = -gradient
    for k, (change, move, ro) in reversed(memory):
        shares[k] = move.dot(d) * ro
        d.sub_(change, alpha=float(shares[k]))
    d.mul_(state["H_diag"])
    for k, (change, move, ro) in memory:
        d.add_(move, alpha=float(shares[k] - change.dot(d) * ro))
    return d


# --- all parameters as one vector ----------------------------------------------------------------------------------


def _evaluated(closure):
    with enable_grad():
        return closure()


def _gradient(params):
    """The gradients of all parameters in one new vector (n); zeros for those that have none or are frozen. A complex
    number is two real ones."""
    parts = []
    for p in params:
        gradient = None if p._n is None else p.grad
        real = _real(zeros(p.shape, dtype=p.dtype, device=p.device) if gradient is None else gradient)
        parts.append(real.reshape(-1))
    return cat(parts)


def _real(x):
    return view_as_real(x) if x._m.dtype.is_complex else x


def _move(params, d, t):
    """Add ``t * d`` (n) to the parameters."""
    start = 0
    for p in params:
        values = _real(p)
        end = start + values.numel()
        values.add_(d[start:end].view(values.shape), alpha=t)
        start = end


def _on_the_line(closure, params, d):
    """The function of ``t`` that evaluates the loss where ``t * d`` leads and comes back."""
    origin = [p.clone() for p in params]

    def evaluate(t):
        _move(params, d, t)
        loss, gradient = float(_evaluated(closure)), _gradient(params)
        for p, value in zip(params, origin):
            p.copy_(value)
        return Trial(t, loss, gradient, gradient.dot(d).item())

    return evaluate


def _largest(x):
    return x.abs().max().item() if x.numel() else 0.0
