"""Reads a pickle as data: an interpreter of its opcodes that can call nothing but what one fixed table holds."""

import collections
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..errors import FileError
from ..tensor import Tensor
from . import torch_names
from .torch_names import CALLABLE, TABLE

_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError)


class Damaged(ValueError):
    """The bytes are no pickle that PyTorch could have written."""


class Refused(ValueError):
    """The pickle needs names that are not in the table."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


class Cursor:
    """A file over an array of bytes, without a copy."""

    def __init__(self, data: np.ndarray, at: int = 0):
        self.data, self.at = data.data, at

    def read(self, count: int = -1) -> bytes:
        end = len(self.data) if count < 0 else min(self.at + count, len(self.data))
        found = bytes(self.data[self.at : end])
        self.at = end
        return found

    def readline(self) -> bytes:
        end = self.at
        while end < len(self.data) and self.data[end] != 10:
            end += 1
        return self.read(end + 1 - self.at)

    def tell(self) -> int:
        return self.at


class _Mark:
    """The beginning of a run of items on the stack."""


class _Unknown:
    """Stands for what a name that is not in the table would have made; swallows what is done to it."""

    def tensor(self, *arguments):
        return self


def _key(value):
    """``value`` as a key of a dict or member of a set."""
    return repr(value) if isinstance(value, _Unknown) else value


class Interpreter:
    """Runs one pickle. ``storage(persistent id)`` gives what stands for a tensor's memory; ``encoding`` is that of
    Python 2's byte strings."""

    def __init__(self, storage: Callable[[tuple], Any], encoding: str = "utf-8"):
        self.storage, self.encoding = storage, encoding
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.refused: dict[str, None] = {}

    def run(self, cursor: Cursor) -> Any:
        """The object at the cursor, which is left behind it. Raises Refused with all names that are not allowed, and
        Damaged for what is no pickle."""
        try:
            for opcode, argument, _ in pickletools.genops(cursor):  # type: ignore[arg-type]
                action = _ACTIONS.get(opcode.name)
                if action is None:
                    raise Damaged(f"the opcode {opcode.name}")
                action(self, argument)
            if (len(self.stack) != 1 or self.stack[0] is _Mark) and not self.refused:
                raise Damaged("values left over")
        except (Damaged, FileError):
            if not self.refused:
                raise
        except _DAMAGE as error:
            if not self.refused:
                raise Damaged(str(error) or type(error).__name__) from error
        if self.refused:
            raise Refused(list(self.refused))
        return self.stack.pop()

    # --- the stack ---------------------------------------------------------------------------------------------------

    def push(self, value):
        self.stack.append(value)

    def above_mark(self) -> list:
        """The items above the last mark, which is taken off with them."""
        for k in range(len(self.stack) - 1, -1, -1):
            if self.stack[k] is _Mark:
                items = self.stack[k + 1 :]
                del self.stack[k:]
                return items
        raise Damaged("a mark is missing")

    def top(self, count: int) -> list:
        if len(self.stack) < count:
            raise Damaged("a value is missing")
        items = self.stack[len(self.stack) - count :]
        if any(item is _Mark for item in items):
            raise Damaged("a mark where a value is expected")
        del self.stack[len(self.stack) - count :]
        return items

    # --- names, calls, states ----------------------------------------------------------------------------------------

    def name(self, whole: str):
        found = TABLE.get(whole)
        if found is None:
            found = torch_names.added(whole)
        if found is None:
            self.refused[whole] = None
            found = _Unknown()
        self.push(found)

    def stacked_name(self):
        module, name = self.top(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("a name that is no text")
        self.name(f"{module}.{name}")

    def call(self, function, arguments):
        if isinstance(function, _Unknown) or any(isinstance(argument, _Unknown) for argument in arguments):
            return _Unknown()
        if id(function) not in CALLABLE and not torch_names.is_added(function):
            raise Damaged(f"a call of {function!r}")
        return function(*arguments)

    def reduce(self):
        function, arguments = self.top(2)
        if not isinstance(arguments, tuple):
            raise Damaged("a call without arguments")
        self.push(self.call(function, arguments))

    def instantiate(self):
        kind, arguments = self.top(2)
        if isinstance(kind, type) and torch_names.is_added(kind):
            self.push(kind.__new__(kind, *arguments))
        else:
            self.push(self.call(kind, arguments))

    def build(self):
        state = self.top(1)[0]
        target = self.stack[-1]
        if isinstance(target, _Unknown) or isinstance(state, _Unknown):
            return
        if isinstance(target, collections.OrderedDict):
            if not isinstance(state, dict) or set(state) - {"_metadata"}:
                raise Damaged("an OrderedDict with attributes")
            target.__dict__.update(state)
        elif type(target) is np.ndarray:
            torch_names.set_numpy_array(target, state)
        elif isinstance(target, np.dtype):
            torch_names.set_numpy_dtype(target, state)
        elif isinstance(target, Tensor):
            torch_names.with_attributes(target, state)
        elif torch_names.is_added(type(target)):
            if hasattr(target, "__setstate__"):
                target.__setstate__(state)
            else:
                target.__dict__.update(state)
        else:
            raise Damaged(f"a state for {type(target).__name__}")

    def persistent(self):
        (identity,) = self.top(1)
        if isinstance(identity, _Unknown) or isinstance(identity, tuple) and any(isinstance(part, _Unknown) for part in identity):
            self.push(_Unknown())
        elif not isinstance(identity, tuple):
            raise Damaged("a storage without description")
        else:
            self.push(self.storage(identity))

    # --- containers --------------------------------------------------------------------------------------------------

    def extend(self, items):
        target = self.stack[-1]
        if isinstance(target, (list, set)):
            target.extend(items) if isinstance(target, list) else target.update(map(_key, items))
        elif not isinstance(target, _Unknown):
            raise Damaged(f"items for {type(target).__name__}")

    def set_items(self, items):
        target = self.stack[-1]
        if isinstance(target, _Unknown):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise Damaged(f"keys for {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2]):
            target[_key(key)] = value

    def as_dict(self, items):
        self.push({})
        self.set_items(items)

    def text(self, value):
        """A byte string of Python 2."""
        data = value.encode("latin-1")
        self.push(data if self.encoding == "bytes" else data.decode(self.encoding))

    def keep(self, number):
        self.memo[number] = self.stack[-1]


def _recall(it: Interpreter, number):
    it.push(it.memo[int(number)])


_PLAIN = (
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip

_ACTIONS: dict[str, Callable[[Interpreter, Any], Any]] = {
    **dict.fromkeys(_PLAIN, Interpreter.push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), Interpreter.text),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda it, n: it.keep(int(n))),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    "PROTO": lambda it, _: None,
    "FRAME": lambda it, _: None,
    "STOP": lambda it, _: None,
    "NONE": lambda it, _: it.push(None),
    "NEWTRUE": lambda it, _: it.push(True),
    "NEWFALSE": lambda it, _: it.push(False),
    "MARK": lambda it, _: it.push(_Mark),
    "POP": lambda it, _: it.top(1),
    "POP_MARK": lambda it, _: it.above_mark(),
    "DUP": lambda it, _: it.push(it.stack[-1]),
    "MEMOIZE": lambda it, _: it.keep(len(it.memo)),
    "EMPTY_TUPLE": lambda it, _: it.push(()),
    "EMPTY_LIST": lambda it, _: it.push([]),
    "EMPTY_DICT": lambda it, _: it.push({}),
    "EMPTY_SET": lambda it, _: it.push(set()),
    "TUPLE": lambda it, _: it.push(tuple(it.above_mark())),
    "TUPLE1": lambda it, _: it.push(tuple(it.top(1))),
    "TUPLE2": lambda it, _: it.push(tuple(it.top(2))),
    "TUPLE3": lambda it, _: it.push(tuple(it.top(3))),
    "LIST": lambda it, _: it.push(it.above_mark()),
    "DICT": lambda it, _: it.as_dict(it.above_mark()),
    "FROZENSET": lambda it, _: it.push(frozenset(map(_key, it.above_mark()))),
    "APPEND": lambda it, _: it.extend(it.top(1)),
    "APPENDS": lambda it, _: it.extend(it.above_mark()),
    "ADDITEMS": lambda it, _: it.extend(it.above_mark()),
    "SETITEM": lambda it, _: it.set_items(it.top(2)),
    "SETITEMS": lambda it, _: it.set_items(it.above_mark()),
    "GLOBAL": lambda it, names: it.name(names.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda it, _: it.stacked_name(),
    "REDUCE": lambda it, _: it.reduce(),
    "NEWOBJ": lambda it, _: it.instantiate(),
    "BUILD": lambda it, _: it.build(),
    "BINPERSID": lambda it, _: it.persistent(),
}


def element_type(value) -> str:
    """The name of a dtype that a file mentions."""
    if isinstance(value, (dtypes.dtype, torch_names.ElementType)):
        return value.name
    raise Damaged("an element type that is none")


def device_name(value) -> str:
    """The device that a storage was saved from, as text."""
    if not isinstance(value, (str, Device)):
        raise Damaged("a storage without a device")
    return str(value)
