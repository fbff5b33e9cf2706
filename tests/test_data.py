"""utils.data: datasets, samplers, collation, and the DataLoader without workers, all against PyTorch where it is there."""

import collections
import random

import numpy as np
import pytest

import numgrad as ng
from numgrad.utils import data


class Squares(data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return ng.tensor([index, index * index]), index


class Counting(data.IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


# --- datasets ----------------------------------------------------------------------------------------------------


def test_tensor_dataset():
    x, y = ng.arange(6).reshape(3, 2), ng.arange(3)
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 3 and dataset[1][0].tolist() == [2, 3] and dataset[1][1].item() == 1
    with pytest.raises(AssertionError, match="Size mismatch between tensors: tensor 0 has 3 rows, tensor 1 has 2"):
        data.TensorDataset(x, y[:2])


def test_stack_dataset():
    dataset = data.StackDataset(range(3), ["a", "b", "c"])
    assert dataset[1] == (1, "b") and dataset.__getitems__([2, 0]) == [(2, "c"), (0, "a")] and len(dataset) == 3
    named = data.StackDataset(image=range(3), label=data.Subset(range(9), [8, 7, 6]))
    assert named[0] == {"image": 0, "label": 8} and named.__getitems__([1]) == [{"image": 1, "label": 7}]
    with pytest.raises(ValueError, match="Size mismatch between datasets: dataset 0 has 3 samples, dataset 1 has 2"):
        data.StackDataset(range(3), range(2))
    with pytest.raises(ValueError, match="Supported either"):
        data.StackDataset(range(3), b=range(3))
    with pytest.raises(ValueError, match="At least one"):
        data.StackDataset()

    class Short(data.Dataset):
        def __len__(self):
            return 3

        def __getitems__(self, indices):
            return [0]

    with pytest.raises(ValueError, match="Expected 2, got 1 samples"):
        data.StackDataset(Short()).__getitems__([0, 1])


def test_concat_dataset():
    dataset = data.ConcatDataset([range(2), range(10, 13), range(20, 21)])
    assert [dataset[k] for k in range(6)] == [0, 1, 10, 11, 12, 20] and len(dataset) == 6
    assert dataset[-1] == 20 and dataset[-6] == 0 and dataset.cumulative_sizes == [2, 5, 6]
    assert (Squares(2) + Squares(3))[4][1] == 2
    with pytest.raises(ValueError, match="index -7 is out of range"):
        dataset[-7]
    with pytest.raises(AssertionError, match="at least one"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="use ChainDataset"):
        data.ConcatDataset([Counting(2)])


def test_chain_dataset():
    class Sized(Counting):
        def __len__(self):
            return self.n

    assert list(Counting(2) + Counting(3)) == [0, 1, 0, 1, 2]
    assert len(data.ChainDataset([Sized(2), Sized(3)])) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(data.ChainDataset([range(3)]))


def test_subset():
    subset = data.Subset(Squares(10), [7, 1, 4])
    assert subset[0][1] == 7 and len(subset) == 3 and [label for _, label in subset.__getitems__([2, 1])] == [4, 1]
    tensors = data.Subset(ng.arange(10), [7, 1, 4])
    assert tensors[[0, 2]].tolist() == [7, 4]


def test_a_dataset_must_define_its_samples():
    with pytest.raises(NotImplementedError, match="Dataset must define __getitem__"):
        data.Dataset()[0]


@pytest.mark.parametrize("lengths", [[3, 7], [0.5, 0.5], [0.3, 0.3, 0.4], [1.0], [10]])
def test_random_split(lengths):
    torch = pytest.importorskip("torch")
    generator, theirs = ng.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    parts = data.random_split(range(10), lengths, generator)
    expected = torch.utils.data.random_split(range(10), lengths, theirs)
    assert [part.indices for part in parts] == [part.indices for part in expected]


def test_random_split_refuses():
    with pytest.raises(ValueError, match="Sum of input lengths does not equal .* sum to 10, .* got \\[3, 3\\]"):
        data.random_split(range(10), [3, 3])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between"):
        data.random_split(range(10), [-0.5, 1.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        data.random_split(range(1), [0.5, 0.5])


# --- samplers ----------------------------------------------------------------------------------------------------

_SAMPLERS = {
    "shuffled": lambda m, g: m.RandomSampler(range(37), generator=g),
    "several permutations": lambda m, g: m.RandomSampler(range(5), num_samples=13, generator=g),
    "whole permutations": lambda m, g: m.RandomSampler(range(5), num_samples=10, generator=g),
    "with replacement": lambda m, g: m.RandomSampler(range(9), replacement=True, num_samples=70, generator=g),
    "subset": lambda m, g: m.SubsetRandomSampler([5, 3, 8, 2], generator=g),
    "weighted": lambda m, g: m.WeightedRandomSampler([0.1, 0.0, 0.5, 3.0], 20, generator=g),
    "weighted, without replacement": lambda m, g: m.WeightedRandomSampler([0.1, 1.0, 0.5], 2, False, generator=g),
    "batches": lambda m, g: m.BatchSampler(m.RandomSampler(range(10), generator=g), 4, False),
    "whole batches": lambda m, g: m.BatchSampler(m.SequentialSampler(range(10)), 4, True),
}


@pytest.mark.parametrize("name", _SAMPLERS)
@pytest.mark.parametrize("own", [False, True])
def test_samplers_agree_with_pytorch(name, own):
    torch = pytest.importorskip("torch")
    torch.manual_seed(11)
    ng.manual_seed(11)
    ours = _SAMPLERS[name](data, ng.Generator().manual_seed(5) if own else None)
    theirs = _SAMPLERS[name](torch.utils.data, torch.Generator().manual_seed(5) if own else None)
    for _ in range(2):
        assert list(ours) == list(theirs)
    assert len(ours) == len(theirs)
    assert ng.rand(3).tolist() == torch.rand(3).tolist()


def test_samplers_refuse():
    with pytest.raises(ValueError, match="num_samples=0; the dataset is empty"):
        data.RandomSampler([])
    with pytest.raises(TypeError, match="replacement should be a boolean"):
        data.RandomSampler([1], replacement=1)
    with pytest.raises(ValueError, match="batch_size should be a positive integer value, but got batch_size=0"):
        data.BatchSampler([1], 0, False)
    with pytest.raises(ValueError, match="drop_last should be a boolean"):
        data.BatchSampler([1], 1, 0)
    with pytest.raises(ValueError, match="weights should be a 1d sequence but given weights have shape \\(1, 2\\)"):
        data.WeightedRandomSampler([[0.5, 0.5]], 1)
    with pytest.raises(ValueError, match="num_samples should be a positive"):
        data.WeightedRandomSampler([0.5], True)
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(data.Sampler())


@pytest.mark.parametrize("count", [1, 7, 10])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_distributed_sampler(count, drop_last, shuffle):
    torch = pytest.importorskip("torch")
    options = {"num_replicas": 3, "shuffle": shuffle, "seed": 4, "drop_last": drop_last}
    if count < 3 and drop_last:
        return
    for rank in range(3):
        ours = data.DistributedSampler(range(count), rank=rank, **options)
        theirs = torch.utils.data.DistributedSampler(range(count), rank=rank, **options)
        for epoch in (0, 3):
            ours.set_epoch(epoch)
            theirs.set_epoch(epoch)
            assert list(ours) == list(theirs) and len(ours) == len(theirs)


def test_distributed_sampler_asks_the_environment(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RuntimeError, match="num_replicas is not known: pass num_replicas=, or set .* WORLD_SIZE"):
        data.distributed.DistributedSampler(range(4))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert list(data.DistributedSampler(range(4), shuffle=False)) == [1, 3]
    with pytest.raises(ValueError, match="Invalid rank 2"):
        data.DistributedSampler(range(4), 2, 2)


# --- collation ---------------------------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x y")

_SAMPLES = {
    "tensors": lambda t: [t.tensor([1, 2]), t.tensor([3, 4])],
    "arrays": lambda t: [np.ones((2, 3)), np.zeros((2, 3))],
    "numbers of NumPy": lambda t: [np.float32(1), np.float32(2)],
    "floats": lambda t: [0.5, 1.0],
    "ints": lambda t: [1, 2],
    "bools": lambda t: [True, False],
    "strings": lambda t: ["a", "b"],
    "bytes": lambda t: [b"a", b"b"],
    "dicts": lambda t: [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    "ordered dicts": lambda t: [collections.OrderedDict(a=1.0), collections.OrderedDict(a=2.0)],
    "tuples": lambda t: [(t.tensor(1.0), "u"), (t.tensor(2.0), "v")],
    "lists": lambda t: [[1, 2.0], [3, 4.0]],
    "namedtuples": lambda t: [Point(1, t.tensor([1.0])), Point(2, t.tensor([2.0]))],
    "nested": lambda t: [{"a": [(1, {"b": np.arange(2)})]}, {"a": [(2, {"b": np.arange(2)})]}],
}


def plain(value):
    """The value with every tensor as (dtype, shape, list), and the types of containers."""
    if hasattr(value, "tolist"):
        return str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return type(value), {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [plain(item) for item in value]
    return value


@pytest.mark.parametrize("name", _SAMPLES)
@pytest.mark.parametrize("function", ["default_collate", "default_convert"])
def test_collation_agrees_with_pytorch(name, function):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(data, function)(_SAMPLES[name](ng)), getattr(torch.utils.data, function)(_SAMPLES[name](torch))
    assert plain(ours) == plain(theirs)


def test_collation_refuses():
    with pytest.raises(TypeError, match=r"batch must contain tensors.*found <class 'object'>.*collate_fn of your own"):
        data.default_collate([object()])
    with pytest.raises(RuntimeError, match=r"each element in list of batch should be of equal size, got sizes \[1, 2\]"):
        data.default_collate([[1], [1, 2]])
    with pytest.raises(RuntimeError, match=r"equal size, but got \[2\] at entry 0 and \[3\] at entry 1"):
        data.default_collate([ng.zeros(2), ng.zeros(3)])
    with pytest.raises(TypeError, match="found <U1"):
        data.default_collate([np.array(["a"])])


def test_a_rule_of_ones_own():
    def join(batch, *, collate_fn_map=None):
        return "".join(batch)

    found = data.collate([("a", 1), ("b", 2)], collate_fn_map={**data.default_collate_fn_map, str: join})
    assert found[0] == "ab" and found[1].tolist() == [1, 2]


# --- the loader --------------------------------------------------------------------------------------------------


def test_batches():
    loader = data.DataLoader(Squares(7), batch_size=3)
    found = [(x.tolist(), y.tolist()) for x, y in loader]
    assert found[0] == ([[0, 0], [1, 1], [2, 4]], [0, 1, 2]) and len(found[-1][1]) == 1 and len(loader) == 3
    whole = data.DataLoader(Squares(7), batch_size=3, drop_last=True)
    assert len(whole) == len(list(whole)) == 2


def test_single_samples():
    loader = data.DataLoader(Squares(3), batch_size=None)
    assert [y for _, y in loader] == [0, 1, 2] and len(loader) == 3
    converted = list(data.DataLoader([np.arange(2)], batch_size=None))
    assert isinstance(converted[0], ng.Tensor)


def test_batches_fetched_at_once():
    class Table(data.Dataset):
        def __len__(self):
            return 5

        def __getitems__(self, indices):
            return [10 * index for index in indices]

    assert [batch.tolist() for batch in data.DataLoader(Table(), batch_size=2)] == [[0, 10], [20, 30], [40]]


def test_streams():
    assert [batch.tolist() for batch in data.DataLoader(Counting(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in data.DataLoader(Counting(5), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(data.DataLoader(Counting(3), batch_size=None)) == [0, 1, 2]
    with pytest.raises(TypeError):
        len(data.DataLoader(Counting(3)))
    with pytest.raises(ValueError, match="a stream has its own order"):
        data.DataLoader(Counting(3), shuffle=True)


def test_a_stream_that_is_longer_than_it_says():
    class Wrong(Counting):
        def __len__(self):
            return 2

    loader = data.DataLoader(Wrong(4))
    assert [batch.item() for batch in loader] == [0, 1, 2, 3]  # nobody has asked for the length yet
    assert len(loader) == 2
    batches = iter(loader)
    next(batches), next(batches)
    for given in (3, 4):
        with pytest.warns(UserWarning, match=rf"was reported to be 2 .* but {given} samples have been fetched"):
            next(batches)


def test_orders_agree_with_pytorch():
    """Also the default stream afterwards: as many numbers are drawn."""
    torch = pytest.importorskip("torch")
    drawn = []
    for library, module in ((ng, data), (torch, torch.utils.data)):
        library.manual_seed(2)
        epochs = []
        for options in ({"shuffle": True}, {"shuffle": True, "generator": library.Generator().manual_seed(9)}, {}):
            loader = module.DataLoader(list(range(20)), batch_size=6, **options)
            epochs += [batch.tolist() for _ in range(2) for batch in loader]
        sampler = module.WeightedRandomSampler([0.2] * 20, 10)
        epochs += [batch.tolist() for batch in module.DataLoader(list(range(20)), sampler=sampler, batch_size=4)]
        drawn.append((epochs, library.rand(2).tolist()))
    assert drawn[0] == drawn[1]


def test_batch_samplers():
    loader = data.DataLoader(range(5), batch_sampler=[[4, 0], [1]])
    assert [batch.tolist() for batch in loader] == [[4, 0], [1]] and loader.batch_size is None and len(loader) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "let num_workers > 0"),
        ({"prefetch_factor": 0, "num_workers": 1}, "prefetch_factor option should be positive"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"sampler": [1], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"multiprocessing_context": "fork"}, "can only be used with multi-process loading"),
        ({"multiprocessing_context": "x", "num_workers": 1}, "should specify a valid start method in .* but got .*'x'"),
    ],
)
def test_arguments_that_exclude_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        data.DataLoader(range(5), **options)


def test_attributes_are_fixed():
    loader = data.DataLoader(range(5), pin_memory=True, pin_memory_device="cuda")
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 3
    loader.collate_fn = list
    assert list(loader) == [[0], [1], [2], [3], [4]] and data.get_worker_info() is None


def test_more_workers_than_processors():
    with pytest.warns(UserWarning, match="will create 5000 worker processes in total"):
        data.DataLoader(range(5), num_workers=5000)


def test_worker_seeds_agree_with_pytorch():
    worker = pytest.importorskip("torch.utils.data._utils.worker")
    from numgrad.utils.data.worker import _seed

    kept = random.getstate(), np.random.get_state(), ng.get_rng_state()
    try:
        for base in (0, 2**40 + 3, 2**63 - 1):
            for number in (0, 3):
                _seed(base, number)
                assert ng.initial_seed() == base + number
                words = np.random.randint(0, 2**31, 4).tolist()
                np.random.seed(worker._generate_state(base, number))
                assert words == np.random.randint(0, 2**31, 4).tolist()
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        ng.set_rng_state(kept[2])
