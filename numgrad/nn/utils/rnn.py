"""Sequences of different lengths: padded, or packed step by step without padding."""

from collections import namedtuple
from collections.abc import Iterable

import numpy as np

from ... import dtypes
from ...layout import integers
from ...ops.create import tensor
from ...ops.index import index_select
from ...ops.join import cat, stack
from ...tensor import Tensor, from_array

_PackedSequence = namedtuple("_PackedSequence", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])


class PackedSequence(_PackedSequence):
    """Sequences in falling order of length, step by step: ``data`` (sum of lengths, *), ``batch_sizes`` how many of them
    reach each step (on the CPU), and the order that they had before. Made by `pack_padded_sequence`."""

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None and not isinstance(data, Tensor):
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                f"batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually, got "
                f"batch_sizes on {batch_sizes.device}"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs) -> "PackedSequence":
        """The sequences in another dtype or on another device."""
        return self._with(self.data.to(*args, **kwargs))

    def _with(self, data):
        if data is self.data:
            return self
        moved = [None if x is None else x.to(data.device) for x in self[2:]]
        return type(self)(data, self.batch_sizes, *moved)

    def cpu(self, *args, **kwargs) -> "PackedSequence":
        """The sequences on the CPU."""
        return self._with(self.data.cpu(*args, **kwargs))

    def cuda(self, *args, **kwargs) -> "PackedSequence":
        """The sequences on a CUDA device."""
        return self._with(self.data.cuda(*args, **kwargs))

    def double(self) -> "PackedSequence":
        """The sequences as float64."""
        return self.to(dtypes.float64)

    def float(self) -> "PackedSequence":
        """The sequences as float32."""
        return self.to(dtypes.float32)

    def half(self) -> "PackedSequence":
        """The sequences as float16."""
        return self.to(dtypes.float16)

    def long(self) -> "PackedSequence":
        """The sequences as int64."""
        return self.to(dtypes.int64)

    def int(self) -> "PackedSequence":
        """The sequences as int32."""
        return self.to(dtypes.int32)

    def short(self) -> "PackedSequence":
        """The sequences as int16."""
        return self.to(dtypes.int16)

    def char(self) -> "PackedSequence":
        """The sequences as int8."""
        return self.to(dtypes.int8)

    def byte(self) -> "PackedSequence":
        """The sequences as uint8."""
        return self.to(dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether ``data`` lies in page-locked memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> "PackedSequence":
        """The sequences in page-locked memory."""
        return type(self)(self.data.pin_memory(), *(None if x is None else x.pin_memory() for x in self[1:]))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    if permutation is None:
        return None
    return from_array(np.argsort(permutation.cpu().numpy()).astype(np.int64)).to(permutation.device)


def pack_padded_sequence(input: Tensor, lengths, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """(T, B, *) padded sequences, or (B, T, *), as a `PackedSequence`; ``lengths`` (B), falling if ``enforce_sorted``."""
    if input.numel() == 0:
        raise RuntimeError(f"Cannot pack empty tensors: expected padded sequences, got an empty tensor of shape {list(input.shape)}")
    if not isinstance(lengths, Tensor):
        lengths = tensor(integers("pack_padded_sequence", "lengths", lengths))
    if lengths.dim() != 1 or lengths.is_floating_point() or lengths.is_complex():
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D {lengths.dtype!r} tensor"
        )
    if lengths.device.type != "cpu":
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got a tensor on {lengths.device}")
    sizes = lengths.detach().numpy().astype(np.int64)
    order = None
    if not enforce_sorted:
        order = from_array(np.argsort(-sizes, kind="stable").astype(np.int64))
        sizes = sizes[order.numpy()]
        input = index_select(input, 0 if batch_first else 1, order.to(input.device))
    steps = input.transpose(0, 1) if batch_first else input
    if len(sizes) != steps.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={steps.shape[1]})"
        )
    if len(sizes) == 0 or sizes.min() <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not "
            "need ONNX exportability."
        )
    if sizes[0] > steps.shape[0]:
        raise RuntimeError(f"Expected lengths of at most {steps.shape[0]}, the padded length, got {sizes[0]}")
    counts = (sizes[None, :] > np.arange(sizes[0])[:, None]).sum(1)
    data = cat([steps[t, :count] for t, count in enumerate(counts)])
    order = None if order is None else order.to(input.device)
    return PackedSequence(data, from_array(counts.astype(np.int64)), order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sequences padded to one length, (T, B, *) or (B, T, *), and their lengths (B)."""
    counts = sequence.batch_sizes.numpy()
    if counts.ndim != 1 or not len(counts) or (np.diff(counts) > 0).any() or counts[-1] <= 0:
        raise RuntimeError(
            f"pad_packed_sequence: batch_sizes must be a vector of positive numbers that do not rise, got {counts.tolist()!r:.200}"
        )
    if sum(counts.tolist()) != sequence.data.shape[0]:
        raise RuntimeError(
            f"pad_packed_sequence: batch_sizes add up to {sum(counts.tolist())}, but data has {sequence.data.shape[0]} rows"
        )
    longest = len(counts)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                f"Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
    else:
        total_length = longest
    data, batch = sequence.data, int(counts[0])
    starts = np.concatenate([[0], np.cumsum(counts)])
    places = np.full((total_length, batch), starts[-1], np.int64)  # the row after the last one: the padding
    for t, count in enumerate(counts):
        places[t, :count] = starts[t] + np.arange(count)
    padding = data.new_full((1, *data.shape[1:]), padding_value)
    rows = index_select(cat((data, padding)), 0, from_array(places.ravel()).to(data.device))
    padded = rows.reshape(total_length, batch, *data.shape[1:])
    lengths = from_array((np.arange(batch)[:, None] < counts[None, :]).sum(1).astype(np.int64))
    if batch_first:
        padded = padded.transpose(0, 1)
    if sequence.unsorted_indices is not None:
        padded = index_select(padded, 0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return padded, lengths


def pad_sequence(
    sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (L_i, *) padded to the longest: (T, B, *), or (B, T, *)."""
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    if not isinstance(sequences, (list, tuple)):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"padding_side should be one of 'right' or 'left', but got {padding_side!r}")
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        if s.shape[0] < longest:
            filling = s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value)
            s = cat((s, filling) if padding_side == "right" else (filling, s))
        padded.append(s)
    return stack(padded, 0 if batch_first else 1)


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L_i, *) as a `PackedSequence`."""
    lengths = tensor([s.size(0) for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences without their padding."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows.unbind(0), lengths.tolist(), strict=True)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a `PackedSequence`, in the order that they had."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
