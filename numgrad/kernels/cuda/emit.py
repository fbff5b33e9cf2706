"""Templates for CUDA kernels: the parameters of the CPU's emitters, the same op bodies, another text around them.

``pointwise`` gives each thread 16 bytes of contiguous operands (one element where the body is long) or one element of
strided ones, ``reduction`` a warp, a block or several blocks to each result, ``rowwise`` a block to each row. Each
returns a kernel that makes its variants (vector or scalar, by rank, by width) when they are first launched. Names
that end in an underscore are the emitter's.
"""

import numpy as np

from ..emit import _constant, store, type_name, typed_constant
from ..fingerprint import instructions
from . import launch
from .compile import Body, Source
from .launch import THREADS

IMPORTS = "from numpy import bool_, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64\n"

# Bodies of so many instructions compute far longer than they load; written out for each lane of a vector they take
# seconds to compile and overflow the instruction cache.
LONG = 250


def _loaded(text, stored, T):
    """Text that brings a stored value to compute type ``T``."""
    if T is np.bool_:
        return f"({text} != 0)"
    if stored is np.bool_:
        return f"{T.__name__}({text} != 0)"
    return text if stored is T else f"{T.__name__}({text})"


def _number(text, letter, T):
    """Text that brings a number parameter to ``T``; letter I: an integer that stays one."""
    return text if letter == "I" else f"({text} != 0)" if T is np.bool_ else f"{T.__name__}({text})"


def _number_type(letter):
    return "float64" if letter == "r" else "int64"


def _indented(lines, depth=1):
    return "".join(f"{'    ' * depth}{line}\n" for line in lines)


def _module(doc, *blocks):
    return f'"""{doc}"""\n\n{IMPORTS}\n\n' + "\n\n".join(block for block in blocks if block)


# --- pointwise -------------------------------------------------------------------------------------------------------


def pointwise(name, fn, inputs, outputs, T, strided=False, inplace=(), attributes=(), constants=None, order=None):
    """The kernel that applies ``fn`` element by element; the parameters are those of the CPU's `emit.pointwise`."""
    if order is None:
        order = fn.__code__.co_varnames[: fn.__code__.co_argcount + fn.__code__.co_kwonlyargcount]
    text = _Pointwise(name, fn, inputs, outputs, T, strided, dict(inplace), attributes, constants, order)
    return launch.Pointwise(text)


class _Pointwise:
    """The text of a pointwise kernel in all its variants."""

    def __init__(self, name, fn, inputs, outputs, T, strided, aliases, attributes, constants, order):
        self.name, self.fn, self.T, self.strided, self.order = name, fn, T, strided, order
        self.constants = constants or {}
        self.inputs, self.attributes = inputs, attributes
        parameters, self.targets = [], []  # [(name, type)], [(index in outputs, name, stored)]
        for arg, letter, stored in inputs:
            parameters.append((arg, _number_type(letter) if letter in "ri" else f"{type_name(stored)}*"))
        for k, output in enumerate(outputs):
            if output is not None and k in aliases:
                self.targets.append((k, inputs[aliases[k]][0], output[1]))
            elif output is not None:
                self.targets.append((k, *output))
                parameters.append((output[0], f"{type_name(output[1])}*"))
        parameters += [(attribute, _number_type(letter)) for attribute, letter in attributes]
        self.several = len(outputs) > 1
        self.parameters = parameters
        self.arrays = [arg for arg, letter, _ in inputs if letter in "vs"]
        self.scalars = [arg for arg, letter, _ in inputs if letter in "rip"]
        self.scalars += [arg for arg, _ in attributes if arg not in self.constants]
        stored = {arg: s for arg, letter, s in inputs if letter in "vs"} | {arg: s for _, arg, s in self.targets}
        sizes = {arg: np.dtype(s).itemsize for arg, s in stored.items()}
        self.width = max(4, 16 // max(sizes.values(), default=4)) if instructions(fn) < LONG else 1
        self.alignments = [
            min(16, self.width * sizes[arg]) if arg in sizes else 1 for arg, _ in parameters
        ]  # of the slots' addresses, for vector accesses
        self.pointers = [kind.endswith("*") for _, kind in parameters]

    def _element(self):
        """The device function from stored elements and numbers to stored results."""
        values = {arg: _loaded(arg, stored, self.T) if letter in "vsp" else _number(arg, letter, self.T)
                  for arg, letter, stored in self.inputs}  # fmt: skip
        values.update((arg, _number(arg, letter, self.T)) for arg, letter in self.attributes)
        values.update((arg, typed_constant(value, self.T)) for arg, value in self.constants.items())
        call = f"scalar_({', '.join(values[arg] for arg in self.order)})"
        if self.several:
            lines = [f"values_ = {call}"]
            results = [store(f"values_[{k}]", stored, self.T) for k, _, stored in self.targets]
        else:
            lines = []
            _, _, stored = self.targets[0]
            results = [store(call, stored, np.bool_ if stored is np.bool_ else self.T)]
        lines.append(f"return {', '.join(results)}")
        return f"@device\ndef element_({', '.join(self.arrays + self.scalars)}):\n{_indented(lines)}"

    def _assignment(self, index):
        """Lines that compute one element; ``index(array)`` is the text of its place."""
        arguments = [f"{arg}[{index(arg)}]" for arg in self.arrays] + self._scalar_values()
        call = f"element_({', '.join(arguments)})"
        if len(self.targets) == 1:
            target = self.targets[0][1]
            return [f"{target}[{index(target)}] = {call}"]
        lines = [f"results_ = {call}"]
        return lines + [f"{arg}[{index(arg)}] = results_[{k}]" for k, (_, arg, _) in enumerate(self.targets)]

    def _scalar_values(self):
        shared = {arg for arg, letter, _ in self.inputs if letter == "p"}
        return [f"{arg}[0]" if arg in shared else arg for arg in self.scalars]

    def _source(self, variant, parameters, lines, what):
        names = ", ".join(arg for arg, _ in parameters)
        described = ", ".join(f"{n} {letter}:{getattr(s, '__name__', '')}" for n, letter, s in self.inputs)
        kernel = f"{self.name}_{variant}"
        text = _module(
            f"{self.name} in {self.T.__name__}: {what}.\n\nInputs: {described or 'none'}.",
            self._element(),
            f"def {kernel}({names}):\n{_indented(lines)}",
        )
        return Source(kernel, text, tuple(kind for _, kind in parameters), THREADS, {"scalar_": Body(self.fn, self.T)})

    def vector(self):
        """The variant for aligned contiguous operands: one vector access a thread and operand."""
        width = self.width
        if width == 1:
            return self.scalar()

        def group(names):
            return f"({''.join(f'{arg}, ' for arg in names).rstrip() if len(names) == 1 else ', '.join(names)})"

        lines = [
            f"first_ = cuda.grid(1) * {width}",
            f"if first_ + {width} <= count_:",
            f"    map_vector(element_, first_, {width}, {group(self.arrays)}, {group(self._scalar_values())}, "
            f"{group([arg for _, arg, _ in self.targets])})",
            "else:",
            "    for i_ in range(first_, count_):",
            *("        " + line for line in self._assignment(lambda arg: "i_")),
        ]
        what = f"{width} elements of contiguous, aligned arrays a thread"
        return self._source("vector", [*self.parameters, ("count_", "int64")], lines, what)

    def scalar(self):
        """The variant for contiguous operands of any alignment."""
        lines = ["i_ = cuda.grid(1)", "if i_ < count_:",
                 *("    " + line for line in self._assignment(lambda arg: "i_"))]  # fmt: skip
        return self._source("scalar", [*self.parameters, ("count_", "int64")], lines, "an element a thread")

    def by_rank(self, ndim, bits):
        """The variant for ``ndim`` dimensions with strides, and places that fit into ``bits`` bits."""
        strided = list(dict.fromkeys([*self.arrays, *(arg for _, arg, _ in self.targets)]))
        lines = ["i_ = cuda.grid(1)", "if i_ < count_:", "    rest_ = i_"]
        for axis in range(ndim - 1, 0, -1):
            lines.append(f"    rest_, k{axis}_ = divided{bits}(rest_, size{axis}_)")
        lines.append("    k0_ = rest_")
        for arg in strided:
            terms = " + ".join(f"k{axis}_ * {arg}_step{axis}_" for axis in range(ndim))
            lines.append(f"    {arg}_at_ = {terms}")
        lines += ["    " + line for line in self._assignment(lambda arg: f"{arg}_at_")]
        parameters = [*self.parameters, *((f"size{axis}_", "int64") for axis in range(ndim))]
        parameters += [(f"{arg}_step{axis}_", "int64") for arg in strided for axis in range(ndim)]
        what = f"an element of {ndim} strided dimensions a thread"
        return self._source(f"strided{ndim}_{bits}", [*parameters, ("count_", "int64")], lines, what)


# --- reductions ------------------------------------------------------------------------------------------------------


def reduction(name, step, finish, combine, identity, inputs, out, T, along, attributes=(), constants=None, cascade=False):
    """The kernel of a reduction over the middle axis of ``(outer, reduce, inner)``; the parameters are those of the
    CPU's `emit.reduction`. Its results do not depend on the device nor on the order in which blocks run."""
    return launch.Reduction(
        _Reduction(name, step, finish, combine, identity, inputs, out, T, along, attributes, constants or {})
    )


class _Reduction:
    """The text of a reduction in all its variants."""

    def __init__(self, name, step, finish, combine, identity, inputs, out, T, along, attributes, constants):
        self.name, self.T, self.along = name, T, along
        self.step, self.finish, self.combine = step, finish, combine
        (self.x, self.stored), (self.out, self.out_stored) = inputs, out
        self.attributes, self.constants = attributes, constants
        # Running values as shuffles and shared memory take them: no narrower than 32 bits.
        self.carried = np.int32 if np.dtype(T).itemsize < 4 else T
        self.identity = f"{self.carried.__name__}({_constant(identity)})"
        self.more = "".join(f", {attribute}" for attribute, _ in attributes)
        self.itemsize = np.dtype(self.stored).itemsize
        self.width = 16 // max(self.itemsize, 4)
        self.pointers = [True, True, False, False, *(False for _ in attributes)]

    def _functions(self):
        carried, T = self.carried.__name__, self.T

        def plain(text):
            return text if self.carried is T else f"({text} != 0)" if T is np.bool_ else f"{T.__name__}({text})"

        letters = dict(self.attributes)
        values = "".join(f", {_number(a, letter, T)}" for a, letter in letters.items())
        values += "".join(f", {value!r}" for value in self.constants.values())
        blocks = [
            f"@device\ndef step_(total_, value_{self.more}):\n"
            f"    return {carried}(step({plain('total_')}, {_loaded('value_', self.stored, T)}{values}))\n",
            f"@device\ndef join_(x_, y_):\n    return {carried}(combine({plain('x_')}, {plain('y_')}))\n",
        ]
        result = f"finish({plain('total_')}, count_{values})" if self.finish else plain("total_")
        blocks.append(
            f"@device\ndef finished_(total_, count_{self.more}):\n    return {store(result, self.out_stored, T)}\n"
        )
        return blocks

    def _source(self, variant, lines, threads, extra=()):
        parameters = [
            (self.x, f"{type_name(self.stored)}*"), (self.out, f"{type_name(self.out_stored)}*"), ("count_", "int64"),
            ("inner_", "int64"), *((a, _number_type(letter)) for a, letter in self.attributes), *extra,
        ]  # fmt: skip
        kernel = f"{self.name}_{variant}"
        text = _module(
            f"Reduction {self.name} in {self.T.__name__} over {self.stored.__name__}, {self.along} axis: {variant}.",
            *self._functions(),
            f"def {kernel}({', '.join(arg for arg, _ in parameters)}):\n{_indented(lines)}",
        )
        bodies = {"step": Body(self.step, self.T), "combine": Body(self.combine, self.T)}
        if self.finish:
            bodies["finish"] = Body(self.finish, self.T)
        return Source(kernel, text, tuple(kind for _, kind in parameters), threads, bodies)

    def threads(self):
        """A thread for each result: few elements to fold."""
        lines = [
            "unit_ = cuda.grid(1)",
            "if unit_ < units_:",
            "    outer_ = unit_ // inner_",
            f"    values_ = shifted({self.x}, outer_ * count_ * inner_ + unit_ - outer_ * inner_)",
            f"    total_ = {self.identity}",
            "    for i_ in range(count_):",
            f"        total_ = step_(total_, values_[i_ * inner_]{self.more})",
            f"    {self.out}[unit_] = finished_(total_, count_{self.more})",
        ]
        return self._source("threads", lines, THREADS, [("units_", "int64")])

    def warps(self):
        """A warp for each result along the last axis."""
        lines = [
            "row_ = cuda.grid(1) >> 5",
            "if row_ < units_:",
            f"    values_ = shifted({self.x}, row_ * count_)",
            f"    total_ = {self.identity}",
            "    for i_ in range(cuda.threadIdx.x & 31, count_, 32):",
            f"        total_ = step_(total_, values_[i_]{self.more})",
            "    total_ = warp_fold(join_, total_)",
            "    if cuda.threadIdx.x & 31 == 0:",
            f"        {self.out}[row_] = finished_(total_, count_{self.more})",
        ]
        return self._source("warps", lines, THREADS, [("units_", "int64")])

    def blocks(self, threads, vector):
        """Blocks for each result along the last axis; the last of them to arrive combines their parts in order."""
        kind = self.carried.__name__
        lines = [
            "row_ = cuda.blockIdx.x // parts_",
            "part_ = cuda.blockIdx.x - row_ * parts_",
            f"values_ = shifted({self.x}, row_ * count_)",
            f"shared_ = cuda.shared.array(32, types.{kind})",
        ]
        lines += self._vector_fold(threads) if vector else [
            f"total_ = {self.identity}",
            f"for i_ in range(part_ * {threads} + cuda.threadIdx.x, count_, parts_ * {threads}):",
            f"    total_ = step_(total_, values_[i_]{self.more})",
        ]  # fmt: skip
        lines += [
            f"total_ = block_fold(join_, total_, shared_, {threads // 32})",
            "if parts_ == 1:",
            "    if cuda.threadIdx.x == 0:",
            f"        {self.out}[row_] = finished_(total_, count_{self.more})",
            "else:",
            "    if cuda.threadIdx.x == 0:",
            "        partial_[row_ * parts_ + part_] = total_",
            *("    " + line for line in self._arrival("row_")),
            "    if arrived_[0] == parts_ - 1:",
            "        cuda.threadfence()",
            f"        total_ = {self.identity}",
            f"        for k_ in range(cuda.threadIdx.x, parts_, {threads}):",
            "            total_ = join_(total_, partial_[row_ * parts_ + k_])",
            f"        total_ = block_fold(join_, total_, shared_, {threads // 32})",
            "        if cuda.threadIdx.x == 0:",
            f"            {self.out}[row_] = finished_(total_, count_{self.more})",
            "            counters_[row_] = 0",
        ]
        variant = f"blocks{threads}" + ("_vector" if vector else "")
        extra = [("parts_", "int64"), ("partial_", f"{kind}*"), ("counters_", "int32*")]
        return self._source(variant, lines, threads, extra)

    def _vector_fold(self, threads):
        width = self.width
        totals = ", ".join([self.identity] * width)
        numbers = f"({''.join(f'{a}, ' for a, _ in self.attributes)})"
        lines = [
            f"stride_ = parts_ * {threads * width}",
            f"i_ = (part_ * {threads} + cuda.threadIdx.x) * {width}",
            f"totals_ = ({totals})",
            f"while i_ + 3 * stride_ + {width} <= count_:  # four loads on their way at once",
            *(f"    v{k}_ = load_vector(values_, i_ + {k} * stride_, {width})" for k in range(4)),
            *(f"    totals_ = fold_vector(step_, totals_, v{k}_, {numbers})" for k in range(4)),
            "    i_ += 4 * stride_",
            f"while i_ + {width} <= count_:",
            f"    totals_ = fold_vector(step_, totals_, load_vector(values_, i_, {width}), {numbers})",
            "    i_ += stride_",
            "total_ = totals_[0]",
            *(f"total_ = join_(total_, totals_[{k}])" for k in range(1, width)),
            "for k_ in range(i_, count_):  # the last elements, short of a vector",
            f"    total_ = step_(total_, values_[k_]{self.more})",
        ]
        return lines

    def _arrival(self, unit):
        """Lines after which the last block of ``unit`` finds ``arrived_[0] == parts_ - 1``."""
        return [
            "arrived_ = cuda.shared.array(1, types.int32)",
            "cuda.threadfence()",
            "cuda.syncthreads()",
            "if cuda.threadIdx.x == 0:",
            f"    arrived_[0] = count_up(counters_, {unit})",
            "cuda.syncthreads()",
        ]

    def columns(self, groups):
        """Blocks of 32 columns and ``groups`` rows at a time for the outer axis."""
        kind = self.carried.__name__
        fold = [
            "shared_[cuda.threadIdx.x] = total_",
            "cuda.syncthreads()",
            "if group_ == 0:",
            f"    for k_ in range(1, {groups}):",
            "        total_ = join_(total_, shared_[k_ * 32 + lane_])",
        ]
        lines = [
            "unit_ = cuda.blockIdx.x // parts_",
            "part_ = cuda.blockIdx.x - unit_ * parts_",
            "strips_ = (inner_ + 31) // 32",
            "outer_ = unit_ // strips_",
            "lane_ = cuda.threadIdx.x & 31",
            "group_ = cuda.threadIdx.x >> 5",
            "column_ = (unit_ - outer_ * strips_) * 32 + lane_",
            f"shared_ = cuda.shared.array({32 * groups}, types.{kind})",
            f"total_ = {self.identity}",
            "if column_ < inner_:",
            f"    values_ = shifted({self.x}, outer_ * count_ * inner_ + column_)",
            f"    for i_ in range(part_ * {groups} + group_, count_, parts_ * {groups}):",
            f"        total_ = step_(total_, values_[i_ * inner_]{self.more})",
            *fold,
            "if parts_ == 1:",
            "    if group_ == 0 and column_ < inner_:",
            f"        {self.out}[outer_ * inner_ + column_] = finished_(total_, count_{self.more})",
            "else:",
            "    if group_ == 0:",
            "        partial_[cuda.blockIdx.x * 32 + lane_] = total_",
            *("    " + line for line in self._arrival("unit_")),
            "    if arrived_[0] == parts_ - 1:",
            "        cuda.threadfence()",
            f"        total_ = {self.identity}",
            f"        for k_ in range(group_, parts_, {groups}):",
            "            total_ = join_(total_, partial_[(unit_ * parts_ + k_) * 32 + lane_])",
            *("        " + line for line in fold),
            "        if group_ == 0 and column_ < inner_:",
            f"            {self.out}[outer_ * inner_ + column_] = finished_(total_, count_{self.more})",
            "        if cuda.threadIdx.x == 0:",
            "            counters_[unit_] = 0",
        ]
        extra = [("parts_", "int64"), ("partial_", f"{kind}*"), ("counters_", "int32*")]
        return self._source(f"columns{groups}", lines, 32 * groups, extra)


# --- rows ------------------------------------------------------------------------------------------------------------


def rowwise(name, fn, T, arguments, dims, attributes=(), constants=None, rounding=None):
    """The kernel that applies a row body, a block to each row, or to each part where there are partial gradients; the
    parameters are those of the CPU's `emit.rowwise`."""
    parts = any(kind == "part" for _, kind, _, _ in arguments)
    parameters, call = [], []
    for arg, kind, stored, width in arguments:
        if kind == "none":
            call.append("None")
            continue
        parameters.append((arg, f"{type_name(stored)}*"))
        row = {"row": f"shifted({arg}, row_ * {width})", "part": f"shifted({arg}, part_ * {width})"}
        call.append(row.get(kind, arg))
    parameters += [(dim, "int64") for dim in dims]
    parameters += [(attribute, _number_type(letter)) for attribute, letter in attributes]
    values = {attribute: _number(attribute, letter, T) for attribute, letter in attributes}
    values.update((constant, repr(value)) for constant, value in (constants or {}).items())
    words = fn.__code__.co_varnames[fn.__code__.co_argcount :][: fn.__code__.co_kwonlyargcount]
    call += [values.get(word, word) for word in words]
    if parts:
        parameters += [("rows_", "int64"), ("parts_", "int64")]
        lines = [
            "part_ = cuda.blockIdx.x",
            "for row_ in range(part_ * rows_ // parts_, (part_ + 1) * rows_ // parts_):",
            f"    row_body_({', '.join(call)})",
        ]
    else:
        lines = ["row_ = cuda.blockIdx.x", f"row_body_({', '.join(call)})"]
    described = ", ".join(f"{arg} {kind}" for arg, kind, _, _ in arguments)
    unit = "part" if parts else "row"

    def make(threads):
        kernel = f"{name}_rows{threads}"
        text = _module(
            f"{name} in {T.__name__}: a block of {threads} threads a {unit}. Arguments: {described}.",
            f"def {kernel}({', '.join(arg for arg, _ in parameters)}):\n{_indented(lines)}",
        )
        kinds = tuple(kind for _, kind in parameters)
        return Source(kernel, text, kinds, threads, {"row_body_": Body(fn, T, threads)})

    first_dim = sum(kind.endswith("*") for _, kind in parameters)
    return launch.Rowwise(name, make, [kind.endswith("*") for _, kind in parameters], first_dim, len(dims))
