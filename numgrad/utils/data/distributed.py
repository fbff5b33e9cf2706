"""DistributedSampler: each of several processes reads its own part of a dataset."""

import math
import os
from collections.abc import Iterator

from ...generator import Generator
from ...ops.random import randperm
from .dataset import Dataset
from .sampler import Sampler


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index, starting at ``rank``, of an order that all processes share.

    ``num_replicas`` and ``rank``: how many processes there are and which this one is, by default the environment's
    ``WORLD_SIZE`` and ``RANK``. ``shuffle``: in random order, which depends on ``seed`` and on the epoch: call
    `set_epoch` before each. All parts are of one length: the order is cut (``drop_last``) or repeated from its start.
    """

    def __init__(
        self,
        dataset: Dataset,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        num_replicas = _given("num_replicas", num_replicas, "WORLD_SIZE")
        rank = _given("rank", rank, "RANK")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        count = len(dataset)  # type: ignore[arg-type]
        if drop_last and count % num_replicas:
            self.num_samples = math.ceil((count - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.shuffle:
            order = randperm(count, generator=Generator().manual_seed(self.seed + self.epoch)).tolist()
        else:
            order = list(range(count))
        if self.drop_last:
            order = order[: self.total_size]
        elif order:
            order = (order * math.ceil(self.total_size / count))[: self.total_size]
        return iter(order[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Shuffle differently from now on; all processes pass the same ``epoch``."""
        self.epoch = epoch


def _given(name: str, value: int | None, variable: str) -> int:
    if value is not None:
        return value
    found = os.environ.get(variable, "")
    if not found.isdigit():
        raise RuntimeError(
            f"DistributedSampler: {name} is not known: pass {name}=, or set the environment variable {variable}, as "
            "launchers of several processes do"
        )
    return int(found)
