"""Update rules of the optimizers, a block each; what a block means is in `update`.

``d`` is the gradient with its sign (``sign`` is -1 to maximize) and, where it is not decoupled, weight decay.
"""

from ..kernels.vocab import maximum, minimum, sqrt, where
from .update import update


@update(inplace=("param",))
def sgd_step(param, grad, *, lr, sign, weight_decay, decay=False):
    """``param - lr * (grad + weight_decay * param)``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    return param - lr * d


@update(inplace=("param", "momentum_buffer"))
def sgd_momentum_step(
    param, grad, momentum_buffer, *, lr, momentum, undamped, sign, weight_decay, decay=False, nesterov=False
):
    """Momentum: ``b' = momentum * b + undamped * d``, ``param - lr * b'``, by Nesterov ``param - lr * (d + momentum *
    b')``, where ``d`` is the gradient with weight decay and ``undamped`` is one minus the dampening."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    velocity = momentum * momentum_buffer + undamped * d
    if nesterov:
        return param - lr * (d + momentum * velocity), velocity
    return param - lr * velocity, velocity


@update(inplace=("param", "exp_avg", "exp_avg_sq"))
def adam_step(
    param, grad, exp_avg, exp_avg_sq, *, step_size, toward, beta2, toward_sq, unbias, eps, sign, weight_decay,
    decay=False, decoupled=False
):  # fmt: skip
    """Adam (arXiv:1412.6980), with ``decoupled`` AdamW (arXiv:1711.05101).

    ``step_size`` is ``lr / (1 - beta1^t)``, ``unbias`` is ``1 / sqrt(1 - beta2^t)``, ``toward`` and ``toward_sq``
    are one minus the betas; ``weight_decay`` is ``lr`` times the decay where it is decoupled.
    """
    d = sign * grad
    if decay:
        if decoupled:
            param = param - weight_decay * param
        else:
            d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    square = beta2 * exp_avg_sq + toward_sq * d * d
    return param - step_size * mean / (sqrt(square) * unbias + eps), mean, square


@update(inplace=("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"))
def amsgrad_step(
    param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, *, step_size, toward, beta2, toward_sq, unbias, eps, sign,
    weight_decay, decay=False, decoupled=False
):  # fmt: skip
    """`adam_step` that divides by the largest mean square so far (arXiv:1904.09237)."""
    d = sign * grad
    if decay:
        if decoupled:
            param = param - weight_decay * param
        else:
            d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    square = beta2 * exp_avg_sq + toward_sq * d * d
    largest = maximum(max_exp_avg_sq, square)
    return param - step_size * mean / (sqrt(largest) * unbias + eps), mean, square, largest


@update(inplace=("param", "square_avg"))
def rmsprop_step(param, grad, square_avg, *, lr, alpha, toward, eps, sign, weight_decay, decay=False):
    """``s' = alpha * s + (1 - alpha) * d^2``, ``param - lr * d / (sqrt(s') + eps)``; ``toward`` is ``1 - alpha``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    return param - lr * d / (sqrt(square) + eps), square


@update(inplace=("param", "square_avg", "grad_avg"))
def rmsprop_centered_step(
    param, grad, square_avg, grad_avg, *, lr, alpha, toward, eps, sign, weight_decay, decay=False
):
    """`rmsprop_step` that divides by the deviation from the running mean (arXiv:1308.0850)."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    mean = grad_avg + toward * (d - grad_avg)
    return param - lr * d / (sqrt(square - mean * mean) + eps), square, mean


@update(inplace=("param", "square_avg", "momentum_buffer"))
def rmsprop_momentum_step(
    param, grad, square_avg, momentum_buffer, *, lr, alpha, toward, momentum, eps, sign, weight_decay, decay=False
):
    """`rmsprop_step` with momentum: ``b' = momentum * b + d / (sqrt(s') + eps)``, ``param - lr * b'``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    velocity = momentum * momentum_buffer + d / (sqrt(square) + eps)
    return param - lr * velocity, square, velocity


@update(inplace=("param", "square_avg", "momentum_buffer", "grad_avg"))
def rmsprop_centered_momentum_step(
    param, grad, square_avg, momentum_buffer, grad_avg, *, lr, alpha, toward, momentum, eps, sign, weight_decay,
    decay=False
):  # fmt: skip
    """`rmsprop_centered_step` with momentum."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = alpha * square_avg + toward * d * d
    mean = grad_avg + toward * (d - grad_avg)
    velocity = momentum * momentum_buffer + d / (sqrt(square - mean * mean) + eps)
    return param - lr * velocity, square, velocity, mean


@update(inplace=("param", "sum"))
def adagrad_step(param, grad, sum, *, lr, eps, sign, weight_decay, decay=False):
    """``s' = s + d^2``, ``param - lr * d / (sqrt(s') + eps)``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    total = sum + d * d
    return param - lr * d / (sqrt(total) + eps), total


@update(inplace=("param", "exp_avg", "exp_inf"))
def adamax_step(
    param, grad, exp_avg, exp_inf, *, step_size, toward, beta2, eps, sign, weight_decay, decay=False
):  # fmt: skip
    """Adamax (arXiv:1412.6980): ``u' = max(beta2 * u, |d| + eps)``, ``param - step_size * m' / u'``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    largest = maximum(beta2 * exp_inf, maximum(d, -d) + eps)
    return param - step_size * mean / largest, mean, largest


@update(inplace=("param", "exp_avg", "exp_avg_sq"))
def nadam_step(
    param, grad, exp_avg, exp_avg_sq, *, grad_size, mean_size, toward, beta2, toward_sq, unbias, eps, sign,
    weight_decay, decay=False, decoupled=False
):  # fmt: skip
    """NAdam (https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ): Adam that also looks a momentum step ahead,
    ``param - (grad_size * d + mean_size * m') / (sqrt(v') * unbias + eps)``."""
    d = sign * grad
    if decay:
        if decoupled:
            param = param - weight_decay * param
        else:
            d = d + weight_decay * param
    mean = exp_avg + toward * (d - exp_avg)
    square = beta2 * exp_avg_sq + toward_sq * d * d
    return param - (grad_size * d + mean_size * mean) / (sqrt(square) * unbias + eps), mean, square


@update(inplace=("param", "square_avg", "acc_delta"))
def adadelta_step(param, grad, square_avg, acc_delta, *, lr, rho, toward, eps, sign, weight_decay, decay=False):
    """Adadelta (arXiv:1212.5701): ``s' = rho * s + toward * d^2``, ``delta = sqrt((a + eps) / (s' + eps)) * d``,
    ``a' = rho * a + toward * delta^2``, ``param - lr * delta``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    square = rho * square_avg + toward * d * d
    delta = sqrt(acc_delta + eps) / sqrt(square + eps) * d
    return param - lr * delta, square, rho * acc_delta + toward * delta * delta


@update(inplace=("param", "prev", "step_size"))
def rprop_step(param, grad, prev, step_size, *, shrink, grow, smallest, largest, sign):
    """Resilient propagation (https://doi.org/10.1109/ICNN.1993.298623): a step of its own for each element, which
    grows while the gradient keeps its sign and shrinks, without a move, where it changes."""
    d = sign * grad
    agree = d * prev
    size = step_size * where(agree > 0.0, grow, where(agree < 0.0, shrink, 1.0))
    size = minimum(maximum(size, smallest), largest)
    d = where(agree < 0.0, 0.0 * prev, d)
    return param - size * where(d > 0.0, 1.0, where(d < 0.0, -1.0, 0.0)), d, size


@update(inplace=("param", "ax"))
def asgd_step(param, grad, ax, *, eta, keep, stay, sign, weight_decay, decay=False):
    """Averaged SGD (https://doi.org/10.1137/0330046): ``p' = keep * param - eta * d``, and the average of the
    parameters ``p' + stay * (ax - p')``."""
    d = sign * grad
    if decay:
        d = d + weight_decay * param
    moved = keep * param - eta * d
    return moved, moved + stay * (ax - moved)


@update(inplace=("param",))
def decoupled_step(param, direction, *, keep, step_size):
    """``keep * param - step_size * direction``: the last part of optimizers whose direction is more than a rule."""
    return keep * param - step_size * direction


@update(inplace=("variance",))
def adafactor_direction(variance, grad, *, floor):
    """``grad / sqrt(max(variance, floor))``, written over the variance."""
    return grad / sqrt(maximum(variance, floor))


@update(inplace=("param",))
def average_step(param, current, *, weight):
    """``param + weight * (current - param)``, from the nearer end, so that a weight of 1 gives exactly ``current``."""
    step = current - param
    return where(weight < 0.5, param + weight * step, current - (1.0 - weight) * step)
