"""Runs the opcodes of a pickle. What names stand for, and what may be called, is decided by whoever asks: `names`.

Time and memory stay in proportion to the bytes: containers are nested to a bounded depth, since C computes the hash of a
tuple by recursion without a limit, and what is hashed or copied is charged against a budget, since a value that the memo
holds costs a few bytes each time that it is used again.
"""

import _compat_pickle
import codecs
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..device import Device
from ..errors import FileError
from ..nn.parameter import Parameter
from ..tensor import Tensor
from .files import Outside

_DEPTH = 1000  # containers in containers; Python's own pickle writes no more by default
_SHORT = 1 << 20  # what any pickle may cost, in steps of some nanoseconds
_WORD = 1 << 62
_PER_BYTE = 16  # and what each of its bytes adds


class Damaged(ValueError):
    """The bytes are no pickle that PyTorch could have written."""


class Refused(ValueError):
    """The pickle needs names that are not allowed."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


class Unknown:
    """Stands for what a name that is not allowed would have made; swallows what is done to it."""


class Names:
    """What a pickle may do: the names it finds, what it may call, and the states it may set."""

    def find(self, module: str, name: str) -> Any:
        """What a name stands for; None if it is not allowed."""
        raise NotImplementedError

    def call(self, function: Any, arguments: tuple, it: "Interpreter") -> Any:
        """The result of a call."""
        raise NotImplementedError

    def new(self, kind: Any, arguments: tuple, named: dict, it: "Interpreter") -> Any:
        """A new object of a class, its ``__init__`` left out."""
        raise NotImplementedError

    def build(self, target: Any, state: Any) -> Any:
        """The object with its state."""
        raise NotImplementedError


class Interpreter:
    """Runs one pickle. ``storage(persistent id)`` gives what stands for a tensor's memory; ``encoding`` and ``errors`` are
    those of Python 2's byte strings."""

    def __init__(self, names: Names, storage: Callable[[Any], Any], encoding: str = "utf-8", errors: str = "strict"):
        self.names, self.storage, self.encoding, self.errors = names, storage, encoding, errors
        self.stack: list[Any] = []
        self.below: list[list] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}
        self.refused: dict[str, None] = {}
        self.depths: dict[int, tuple[int, Any]] = {}  # id -> how deep it is nested, and the object, so that ids stay valid
        self.budget = 0
        self.at = 0
        self.protocol = 0

    def run(self, data: Any, at: int = 0) -> Any:
        """The object whose pickle begins at ``at`` of a bytes object or byte view; ``self.at`` is behind it then.

        Raises Refused with all names that are not allowed, and Damaged for what is no pickle.
        """
        self.budget = _SHORT + _PER_BYTE * (len(data) - at)
        try:
            found = self._loop(data, at)
        except Outside:
            raise
        except Exception as error:
            if self.refused:
                raise Refused(list(self.refused)) from None
            if isinstance(error, (Damaged, FileError)):
                raise
            if isinstance(error, (IndexError, struct.error)) and self.at >= len(data) - 8:
                raise Damaged("no end") from error
            raise Damaged(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
        if self.refused:
            raise Refused(list(self.refused))
        return found

    def _loop(self, data, at):
        table, memo = _TABLE, self.memo
        while True:
            self.at = at
            code = data[at]
            at += 1
            form, width, operand, action = table[code]
            if form == _PUSHED:  # the usual ones first, without a call of their own
                end = at + width
                if data[end] == code and data[end : end + 4 * width + 4 : width + 1] == bytes((code,)) * 4:
                    values = _run(data, at - 1, code, action)
                    self.stack.extend(values)
                    at += (width + 1) * len(values) - 1
                else:
                    self.stack.append(operand(data, at)[0])
                    at = end
            elif form == _TEXT:
                begin = at + width
                at = begin + operand(data, at)[0]
                if at > len(data):
                    raise Damaged("no end")
                self.stack.append(str(data[begin:at], "utf-8", "surrogatepass"))
            elif form == _READ:
                value, at = operand(data, at)
                self.stack.append(value)
            elif form == _KEPT:
                memo[operand(data, at)[0]] = self.stack[-1]
                at += width
            elif form == _BARE:
                action(self, None)
            elif form == _FIXED:
                action(self, operand(data, at)[0])
                at += width
            elif form == _VARIED:
                value, at = operand(data, at)
                action(self, value)
            else:
                break
        self.at = at
        if self.below or len(self.stack) != 1:
            if not self.refused:
                raise Damaged("values left over" if self.stack else "no value")
            return None
        return self.stack.pop()

    # --- what it costs -----------------------------------------------------------------------------------------------

    def charge(self, steps: int) -> None:
        """Count work that the pickle causes beyond its own bytes."""
        self.budget -= steps
        if self.budget < 0:
            raise Damaged("contents that unfold to many times its size")

    def depth(self, items) -> int:
        """How deep a container of these items is nested."""
        leaves = _LEAVES
        if len(items) > 8:
            if set(map(type, items)) <= leaves:
                return 1
        else:
            for item in items:
                if type(item) not in leaves:
                    break
            else:
                return 1
        depths = self.depths
        deepest = 1 + max(depths[id(item)][0] if id(item) in depths else type(item) not in _LEAVES for item in items)
        if deepest > _DEPTH:
            raise Damaged(f"values nested more than {_DEPTH} deep")
        return deepest

    def note(self, container, items):
        """``container``, known to hold ``items`` from now on."""
        deepest = self.depth(items)
        if deepest > 1 and deepest > self.depths.get(id(container), (1,))[0]:
            self.depths[id(container)] = deepest, container
        return container

    def hashed(self, keys) -> list:
        """``keys``, which can be hashed in bounded time."""
        kinds = set(map(type, keys))
        if int in kinds and (len(kinds) > 1 or not -_WORD < min(keys) <= max(keys) < _WORD):
            self.charge(sum(key.bit_length() for key in keys if type(key) is int) >> 6)
        if kinds <= _QUICK:
            return keys
        for key in keys:
            self._weigh(key)
        return [repr(key) if isinstance(key, Unknown) else key for key in keys]

    def _weigh(self, key) -> None:
        """Charge for a key as it is hashed: all that its tuples hold, each time that they hold it."""
        levels = [iter((key,))]
        while levels:
            for item in levels[-1]:
                self.charge(1)
                if isinstance(item, (tuple, frozenset)):
                    if len(levels) > _DEPTH:
                        raise Damaged(f"a key nested more than {_DEPTH} deep")
                    levels.append(iter(item))
                    break
                if type(item) is int:
                    self.charge(item.bit_length() >> 6)
            else:
                levels.pop()

    # --- the stack ---------------------------------------------------------------------------------------------------

    def push(self, value):
        self.stack.append(value)

    def mark(self, _):
        self.below.append(self.stack)
        self.stack = []

    def above_mark(self) -> list:
        """The items above the last mark, which is taken off with them."""
        if not self.below:
            raise Damaged("a mark is missing")
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self):
        if not self.stack:
            raise Damaged("a value is missing")
        return self.stack.pop()

    def top(self):
        if not self.stack:
            raise Damaged("a value is missing")
        return self.stack[-1]

    def drop(self, _):
        if self.stack:
            self.stack.pop()
        else:
            self.above_mark()

    # --- names, calls, states ----------------------------------------------------------------------------------------

    def name(self, module: str, name: str):
        if self.protocol < 3:  # names of Python 2
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        found = self.names.find(module, name)
        if found is None:
            self.refused[f"{module}.{name}"] = None
            found = Unknown()
        self.push(found)

    def stacked_name(self, _):
        name, module = self.pop(), self.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("a name that is no text")
        self.name(module, name)

    def made(self, function, kind, arguments, named=None):
        """Call ``function``, of `Names`, for a class or function of the pickle's."""
        if not isinstance(arguments, tuple):
            raise Damaged("a call without arguments")
        if isinstance(kind, Unknown) or any(isinstance(argument, Unknown) for argument in arguments):
            return Unknown()
        found = function(kind, arguments, self) if named is None else function(kind, arguments, named, self)
        return found if type(found) in _LEAVES else self.note(found, arguments)

    def reduce(self, _):
        arguments, function = self.pop(), self.pop()
        self.push(self.made(self.names.call, function, arguments))

    def instantiate(self, _):
        arguments, kind = self.pop(), self.pop()
        self.push(self.made(self.names.new, kind, arguments, {}))

    def instantiate_named(self, _):
        named, arguments, kind = self.pop(), self.pop(), self.pop()
        if not isinstance(named, dict) or not all(isinstance(key, str) for key in named):
            raise Damaged("named arguments that are none")
        self.push(self.made(self.names.new, kind, arguments, named))

    def instance(self, names):
        """The form of protocol 0."""
        self.name(*names)
        kind = self.pop()
        self.push(self.made(self.names.call, kind, tuple(self.above_mark())))

    def instance_on_stack(self, _):
        items = self.above_mark()
        self.push(self.made(self.names.call, items[0], tuple(items[1:])))

    def build(self, _):
        state, target = self.pop(), self.top()
        if not isinstance(target, Unknown) and not isinstance(state, Unknown):
            found = self.names.build(target, state)
            self.stack[-1] = found
            if type(found) not in _LEAVES:
                self.note(found, (state,))

    def persistent(self, identity):
        if isinstance(identity, Unknown) or isinstance(identity, tuple) and any(isinstance(part, Unknown) for part in identity):
            self.push(Unknown())
            return
        self.push(self.storage(identity))

    # --- containers --------------------------------------------------------------------------------------------------

    def tuple_of(self, items):
        self.push(self.note(tuple(items), items))

    def few(self, count):
        """The last one, two or three values as a tuple."""
        stack = self.stack
        if len(stack) < count:
            raise Damaged("a value is missing")
        items = tuple(stack[-count:])
        del stack[-count:]
        stack.append(self.note(items, items))

    def list_of(self, items):
        self.push(self.note(items, items))

    def dict_of(self, items):
        self.push({})
        self.set_items(items)

    def frozen(self, items):
        self.push(self.note(frozenset(self.hashed(items)), items))

    def extend(self, items):
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Unknown):
            return
        elif hasattr(target, "extend") and not isinstance(target, Tensor):
            target.extend(items)
        elif hasattr(target, "append"):
            for item in items:
                target.append(item)
        else:
            raise Damaged(f"items for {type(target).__name__}")
        self.note(target, items)

    def add(self, items):
        target = self.top()
        if isinstance(target, Unknown):
            return
        if isinstance(target, set):
            target.update(self.hashed(items))
        elif hasattr(target, "add") and not isinstance(target, Tensor):
            for item in items:
                target.add(item)
        else:
            raise Damaged(f"members for {type(target).__name__}")
        self.note(target, items)

    def set_items(self, items):
        target, plain = self.top(), type(self.stack[-1]) is dict
        if isinstance(target, Unknown):
            return
        if len(items) % 2 or not plain and (
            not hasattr(target, "__setitem__") or isinstance(target, (Tensor, list, np.ndarray))
        ):
            raise Damaged(f"keys for {type(target).__name__}")
        keys, values = self.hashed(items[::2]), items[1::2]
        if plain:
            target.update(zip(keys, values))
        else:
            for key, value in zip(keys, values):
                target[key] = value
        self.note(target, items)

    def text(self, data):
        """A byte string of Python 2."""
        self.push(bytes(data) if self.encoding == "bytes" else bytes(data).decode(self.encoding, self.errors))

    def keep(self, number):
        self.memo[number] = self.top()

    def keep_next(self, _):
        self.memo[len(self.memo)] = self.top()

    def recall(self, number):
        if number not in self.memo:
            raise Damaged(f"a reference to value {number}, which there is none of")
        self.stack.append(self.memo[number])


# Values in which nothing is nested, and those of them that are hashed in no time.
_QUICK = frozenset((str, bytes, int, float, bool, type(None)))
_LEAVES = _QUICK | {complex, bytearray, Tensor, Parameter, np.ndarray, dtypes.dtype, Device}

# --- operands ----------------------------------------------------------------------------------------------------


def _line(data, at):
    """The text up to the end of the line, and where the next one begins."""
    width = 64
    while True:  # in growing pieces: views of bytes cannot be searched
        piece = bytes(data[at : at + width])
        end = piece.find(b"\n")
        if end >= 0:
            return piece[:end], at + end + 1
        if at + width >= len(data):
            raise Damaged("no end")
        width *= 4


def _lined(convert):
    def operand(data, at):
        line, at = _line(data, at)
        return convert(line), at

    return operand


def _number(line: bytes):
    if len(line) > 4300:  # what Python itself converts at most
        raise Damaged(f"a number of {len(line)} digits")
    return int(line)


def _int(line: bytes):
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else _number(line)


def _float(line: bytes):
    if len(line) > 4300:
        raise Damaged(f"a number of {len(line)} digits")
    return float(line)


def _quoted(line: bytes):
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise Damaged("a text without quotes")
    return codecs.escape_decode(line[1:-1])[0]  # type: ignore[attr-defined]


def _two_lines(data, at):
    module, at = _line(data, at)
    name, at = _line(data, at)
    return (module.decode("utf-8"), name.decode("utf-8")), at


def _counted(form, convert):
    size = struct.Struct(form)

    def operand(data, at):
        begin = at + size.size
        end = begin + size.unpack_from(data, at)[0]
        if end > len(data) or end < begin:
            raise Damaged("no end")
        return convert(data[begin:end]), end

    return operand


def _long(data) -> int:
    return int.from_bytes(data, "little", signed=True)


# --- the opcodes -------------------------------------------------------------------------------------------------


def _nothing(it, _):
    pass


def _refused_opcode(what):
    def action(it, _):
        raise Damaged(what)

    return action


# How an opcode is handled: what follows it is pushed (of a fixed width, a text, or what has to be read), names an entry of the
# memo, or is handed to an action, if there is any; or it is the end.
_PUSHED, _TEXT, _READ, _KEPT, _BARE, _FIXED, _VARIED, _END = range(8)


def _packed(form, handled=_PUSHED, action=None):
    packed = struct.Struct(form)
    if handled == _PUSHED:  # many of them in a row are read at once
        action = np.dtype([("code", np.uint8), ("value", form)])
    return handled, packed.size, packed.unpack_from, action


def _run(data, at: int, code: int, layout: np.dtype) -> list:
    """The numbers of the opcodes ``code`` that follow each other from ``at`` on, as far as a batch reaches."""
    found = np.frombuffer(data, layout, min((len(data) - at) // layout.itemsize, 1024), at)
    others = np.flatnonzero(found["code"] != code)
    return found["value"][: others[0] if len(others) else len(found)].tolist()


def _read(operand, action=None):
    return _READ if action is None else _VARIED, 0, operand, action


def _bare(action):
    return _BARE, 0, None, action


_table: dict[bytes, tuple] = {
    b"\x80": _packed("<B", _FIXED, lambda it, n: setattr(it, "protocol", n)),
    b"\x95": _packed("<Q", _FIXED, _nothing),
    b".": (_END, 0, None, None),
    b"N": _bare(lambda it, _: it.stack.append(None)),
    b"\x88": _bare(lambda it, _: it.stack.append(True)),
    b"\x89": _bare(lambda it, _: it.stack.append(False)),
    b"J": _packed("<i"),
    b"K": _packed("<B"),
    b"M": _packed("<H"),
    b"G": _packed(">d"),
    b"I": _read(_lined(_int)),
    b"L": _read(_lined(lambda line: _number(line.rstrip(b"L")))),
    b"F": _read(_lined(_float)),
    b"\x8a": _read(_counted("<B", _long)),
    b"\x8b": _read(_counted("<i", _long)),
    b"V": _read(_lined(lambda line: line.decode("raw-unicode-escape"))),
    b"X": _packed("<I", _TEXT),
    b"\x8c": _packed("<B", _TEXT),
    b"\x8d": _packed("<Q", _TEXT),
    b"B": _read(_counted("<I", bytes)),
    b"C": _read(_counted("<B", bytes)),
    b"\x8e": _read(_counted("<Q", bytes)),
    b"\x96": _read(_counted("<Q", bytearray)),
    b"S": _read(_lined(_quoted), Interpreter.text),
    b"T": _read(_counted("<i", bytes), Interpreter.text),
    b"U": _read(_counted("<B", bytes), Interpreter.text),
    b"p": _read(_lined(_number), Interpreter.keep),
    b"q": _packed("<B", _KEPT),
    b"r": _packed("<I", _KEPT),
    b"\x94": _bare(Interpreter.keep_next),
    b"g": _read(_lined(_number), Interpreter.recall),
    b"h": _packed("<B", _FIXED, Interpreter.recall),
    b"j": _packed("<I", _FIXED, Interpreter.recall),
    b"(": _bare(Interpreter.mark),
    b"0": _bare(Interpreter.drop),
    b"1": _bare(lambda it, _: it.above_mark()),
    b"2": _bare(lambda it, _: it.push(it.top())),
    b")": _bare(lambda it, _: it.stack.append(())),
    b"]": _bare(lambda it, _: it.stack.append([])),
    b"}": _bare(lambda it, _: it.stack.append({})),
    b"\x8f": _bare(lambda it, _: it.stack.append(set())),
    b"t": _bare(lambda it, _: it.tuple_of(it.above_mark())),
    b"\x85": _bare(lambda it, _: it.few(1)),
    b"\x86": _bare(lambda it, _: it.few(2)),
    b"\x87": _bare(lambda it, _: it.few(3)),
    b"l": _bare(lambda it, _: it.list_of(it.above_mark())),
    b"d": _bare(lambda it, _: it.dict_of(it.above_mark())),
    b"\x91": _bare(lambda it, _: it.frozen(it.above_mark())),
    b"a": _bare(lambda it, _: it.extend([it.pop()])),
    b"e": _bare(lambda it, _: it.extend(it.above_mark())),
    b"\x90": _bare(lambda it, _: it.add(it.above_mark())),
    b"s": _bare(lambda it, _: it.set_items([it.pop(), it.pop()][::-1])),
    b"u": _bare(lambda it, _: it.set_items(it.above_mark())),
    b"c": _read(_two_lines, lambda it, names: it.name(*names)),
    b"\x93": _bare(Interpreter.stacked_name),
    b"R": _bare(Interpreter.reduce),
    b"\x81": _bare(Interpreter.instantiate),
    b"\x92": _bare(Interpreter.instantiate_named),
    b"i": _read(_two_lines, Interpreter.instance),
    b"o": _bare(Interpreter.instance_on_stack),
    b"b": _bare(Interpreter.build),
    b"P": _read(_lined(lambda line: line.decode("ascii")), Interpreter.persistent),
    b"Q": _bare(lambda it, _: it.persistent(it.pop())),
    b"\x97": _bare(_refused_opcode("buffers outside of it")),
    b"\x98": _bare(_nothing),
}
_TABLE = [_table.get(bytes([code]), _bare(_refused_opcode(f"the opcode {code:#04x}"))) for code in range(256)]


def element_type(value) -> str:
    """The name of a dtype that a file mentions."""
    name = getattr(value, "name", None)
    if not isinstance(name, str) or isinstance(value, (Tensor, Unknown)):
        raise Damaged("an element type that is none")
    return name


def device_name(value) -> str:
    """The device that a storage was saved from, as text."""
    if not isinstance(value, (str, Device)):
        raise Damaged("a storage without a device")
    return str(value)

