"""Datasets: what a DataLoader reads from, by index or as a stream, and how they are combined and split."""

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ...generator import Generator
from ...ops.random import randperm
from ...tensor import Tensor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by index: a subclass defines ``__getitem__(index)``, and ``__len__`` for samplers to know the range.

    A subclass may define ``__getitems__(indices)`` too, which returns the samples of a batch at once.
    """

    def __getitem__(self, index) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, index)")

    def __add__(self, other: "Dataset[T_co]") -> "ConcatDataset[T_co]":
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """Samples as a stream: a subclass defines ``__iter__``.

    Every worker of a DataLoader iterates over its own copy: `get_worker_info` tells it which part is its own.
    """

    def __add__(self, other: Dataset[T_co]) -> "ChainDataset":  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample ``i`` is the tuple of the tensors' rows ``i``; all have the same size in the first dimension."""

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor):
        for k, tensor in enumerate(tensors):
            if tensor.shape[0] != tensors[0].shape[0]:
                raise AssertionError(
                    f"Size mismatch between tensors: tensor 0 has {tensors[0].shape[0]} rows, tensor {k} has "
                    f"{tensor.shape[0]}"
                )
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class StackDataset(Dataset):
    """Sample ``i`` holds sample ``i`` of each dataset: a tuple of positional ones, a dict of those given by name."""

    datasets: tuple | dict

    def __init__(self, *args: Dataset, **kwargs: Dataset):
        if args and kwargs:
            raise ValueError("Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like input datasets, but both types are given")
        if not args and not kwargs:
            raise ValueError("StackDataset: At least one dataset should be passed")
        held = args or tuple(kwargs.values())
        self._length = len(held[0])  # type: ignore[arg-type]
        for k, dataset in enumerate(held):
            if len(dataset) != self._length:  # type: ignore[arg-type]
                raise ValueError(
                    f"Size mismatch between datasets: dataset 0 has {self._length} samples, dataset {k} has "
                    f"{len(dataset)}"  # type: ignore[arg-type]
                )
        self.datasets = args or kwargs

    def __getitem__(self, index):
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list):
        if isinstance(self.datasets, dict):
            columns = [_samples(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, row, strict=True)) for row in zip(*columns, strict=True)]
        return list(zip(*(_samples(dataset, indices) for dataset in self.datasets), strict=True))

    def __len__(self) -> int:
        return self._length


def _samples(dataset, indices) -> Sequence:
    """The samples at ``indices``, all at once where the dataset can do that."""
    fetch: Any = getattr(dataset, "__getitems__", None)
    if fetch is None:
        return [dataset[index] for index in indices]
    found = fetch(indices)
    if len(found) != len(indices):
        raise ValueError(
            f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(found)} samples of "
            f"{type(dataset).__name__}.__getitems__"
        )
    return found


class ConcatDataset(Dataset[T_co]):
    """The samples of several indexed datasets, one dataset after the other."""

    datasets: list[Dataset[T_co]]
    cumulative_sizes: list[int]

    @staticmethod
    def cumsum(sequence):
        """The running totals of the lengths."""
        return list(itertools.accumulate(len(part) for part in sequence))

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("ConcatDataset: expected at least one dataset, got none")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise AssertionError("ConcatDataset does not support IterableDataset; use ChainDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index):
        if index < 0:
            if -index > len(self):
                raise ValueError(f"ConcatDataset: index {index} is out of range for {len(self)} samples")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """The samples of several streams, one stream after the other."""

    def __init__(self, datasets: Iterable[Dataset]):
        super().__init__()
        self.datasets = datasets

    def __iter__(self) -> Iterator:
        for dataset in self.datasets:
            yield from self._checked(dataset)

    def __len__(self) -> int:
        return sum(len(self._checked(dataset)) for dataset in self.datasets)  # type: ignore[arg-type]

    @staticmethod
    def _checked(dataset) -> Any:
        if not isinstance(dataset, IterableDataset):
            raise AssertionError(f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}")
        return dataset


class Subset(Dataset[T_co]):
    """The samples of ``dataset`` at ``indices``, in that order."""

    dataset: Dataset[T_co]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[k] for k in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        wanted = [self.indices[k] for k in indices]
        fetch: Any = getattr(self.dataset, "__getitems__", None)
        return fetch(wanted) if fetch is not None else [self.dataset[index] for index in wanted]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T], lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Random parts of ``dataset`` that do not overlap, of the given ``lengths``, or of fractions that sum to 1.

    Fractions are rounded down; what remains is given to the parts in turn, one sample each. The indices are those that
    PyTorch draws for the same seed. Raises ValueError for lengths that do not sum to the dataset's.
    """
    total = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for k, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {k} is not between 0 and 1")
        counts = [math.floor(total * fraction) for fraction in lengths]
        for k in range(total - sum(counts)):
            counts[k % len(counts)] += 1
        for k, count in enumerate(counts):
            if count == 0:
                warnings.warn(
                    f"Length of split at index {k} is 0. This might result in an empty dataset.", stacklevel=2
                )
    else:
        counts = list(lengths)
    if sum(counts) != total:
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"random_split: expected lengths that sum to {total}, or fractions that sum to 1, got {list(lengths)}"
        )
    indices = randperm(total, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [Subset(dataset, indices[end - int(count) : int(end)]) for end, count in zip(ends, counts, strict=True)]
