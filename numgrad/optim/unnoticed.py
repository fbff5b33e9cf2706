"""What would otherwise go unnoticed: warnings of steps that change nothing or train a tensor that was replaced."""

import warnings

from .optimizer import Optimizer, described


def warn_once(optimizer: Optimizer, topic: str, message: str) -> None:
    """Issue a warning of the ``step`` that calls the caller, at most once for an optimizer and topic."""
    if topic not in optimizer._said:
        optimizer._said = optimizer._said | {topic}
        warnings.warn(message, stacklevel=5)


def warn_idle(optimizer: Optimizer) -> None:
    """Say that no parameter had a gradient, and why that may be."""
    every = [p for group in optimizer.param_groups for p in group["params"]]
    frozen = sum(p._n is None for p in every)
    name = type(optimizer).__name__
    message = (
        f"{name}.step() changed nothing: none of its {len(every)} parameters has a gradient"
        + (f" ({frozen} of them are frozen: requires_grad is False)" if frozen else "")
        + ". Call loss.backward() before step(), and zero_grad() before backward(), not between the two."
    )
    if frozen < len(every):
        message += f" If one was made, the optimizer may hold stale parameters: see {name}.check(model)."
    warn_once(optimizer, "idle", message)


def warn_unheld(optimizer: Optimizer, p) -> None:
    """Say that parameter ``p`` without gradient seems to have been replaced."""
    name = type(optimizer).__name__
    warn_once(
        optimizer,
        "unheld",
        f"{name}.step(): a parameter {described(p)} has no gradient, and nothing but this optimizer holds it any "
        f"more: it seems to have been replaced in the model after the optimizer was built. The new one is not "
        f"trained; {name}.check(model) names it. Build the optimizer again, or call add_param_group.",
    )
