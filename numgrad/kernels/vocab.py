"""The words a kernel body may use. What a word means depends on where the body stands: a scalar function in a CPU
kernel, a device function in a CUDA kernel, a NumPy call in plain Python, the Tensor op when a gradient is itself
recorded.
"""

import contextlib
import dis
import types as python_types

import numpy as np

from .ordered import row_moments as _row_moments, row_products as _row_products
from .vmath import WORDS as CPU_WORDS

_probe = None


@contextlib.contextmanager
def probing(probe):
    """While a gradient's body is tried out, every word returns a fresh ``probe(*its arguments)``."""
    global _probe
    _probe = probe
    try:
        yield
    finally:
        _probe = None


class Word:
    """A name of the vocabulary. `typed` replaces it by its meaning for a target; called directly, it takes Tensors
    (the op of that name) or plain numbers."""

    def __init__(self, name):
        self.name = name
        self.tensor_op = None  # the table's entry function, once the op is defined

    def __call__(self, *args):
        if _probe is not None:
            return _probe(*args)
        if self.tensor_op is not None and any(hasattr(a, "_m") for a in args):
            return self.tensor_op(*args)
        return CPU_WORDS[self.name](*args)

    def __repr__(self):
        return f"<word {self.name}>"


WORDS = {name: Word(name) for name in CPU_WORDS}


def __getattr__(name):
    try:
        return WORDS[name]
    except KeyError:
        raise AttributeError(f"the kernel vocabulary has no word {name!r}; it has {sorted(WORDS)}") from None


class RowWord(Word):
    """A word of row bodies: the same text is a plain loop on the CPU and a thread block on CUDA."""

    def __call__(self, *args):
        return CPU_ROW_WORDS[self.name](*args)


def _range(n):
    return range(n)


def _same(value):
    return value


def _true():
    return True


# On the CPU one thread owns the row: the loop is the whole row and its own sums are the row's.
CPU_ROW_WORDS = {
    "lanes": _range, "row_sum": _same, "row_max": _same, "row_min": _same, "leader": _true,
    "row_moments": _row_moments, "row_products": _row_products,
}  # fmt: skip
ROW_WORDS = {name: RowWord(name) for name in CPU_ROW_WORDS}
lanes, row_sum, row_max, row_min, leader, row_moments, row_products = (ROW_WORDS[name] for name in CPU_ROW_WORDS)


def global_names(code):
    """The names that a code object looks up as globals (``co_names`` holds attributes too)."""
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}


def typed(fn, T, words, name=None):
    """``fn`` with every float constant, local or module-level, as NumPy scalar type ``T``, and every word replaced
    by its meaning in ``words``; ``float(n)`` casts to ``T``. A pointwise op that the body calls is replaced by its
    scalar function.

    Without this ``0.5 * x`` with a float32 ``x`` computes in float64.
    """

    def retype(value):
        if type(value) is tuple:  # `a, b = 0.0, 0.0` is one constant
            return tuple(map(retype, value))
        if type(value) is float:
            if issubclass(T, np.complexfloating):
                return T(value).real  # a constant of a complex body stays real, of the parts' type
            return T(value) if issubclass(T, np.floating) or value == int(value) else value
        return value

    code = fn.__code__.replace(
        co_consts=tuple(map(retype, fn.__code__.co_consts)),
        co_argcount=fn.__code__.co_argcount + fn.__code__.co_kwonlyargcount,
        co_kwonlyargcount=0,
        co_name=name or fn.__name__,
    )
    env = {"float": T, "__builtins__": fn.__globals__.get("__builtins__", __builtins__)}
    for used in global_names(code):
        value = fn.__globals__.get(used)
        if isinstance(value, Word):
            env[used] = words[value.name]
        elif hasattr(value, "op"):
            env[used] = value.op.fn
        elif used in fn.__globals__ and used != "float":
            env[used] = retype(value)
    return python_types.FunctionType(code, env, code.co_name)
