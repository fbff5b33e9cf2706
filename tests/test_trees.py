"""Nested structures: each container goes apart and together again, has keys for its parts, and is written as text."""

import dataclasses
import enum
from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import numgrad as ng
from numgrad.utils import _pytree as tree

Point = namedtuple("Point", ["x", "y"])


class Colour(enum.Enum):
    RED = 1


TREES = [
    1,
    None,
    (),
    [],
    {},
    (1, [2, (3,)]),
    {"b": 1, "a": [2]},
    OrderedDict(b=1, a=(2, 3)),
    defaultdict(list, a=[1], b=2),
    deque([1, [2]], maxlen=4),
    Point(1, {"k": 2}),
]


@pytest.mark.parametrize("value", TREES, ids=repr)
def test_containers_go_apart_and_together_and_through_text(value):
    leaves, spec = tree.tree_flatten(value)
    back = tree.tree_unflatten(leaves, spec)
    assert back == value and type(back) is type(value) and getattr(back, "maxlen", 0) == getattr(value, "maxlen", 0)
    assert getattr(back, "default_factory", 0) == getattr(value, "default_factory", 0)
    assert spec.num_leaves == len(leaves) and spec.is_leaf() == tree.tree_is_leaf(value)
    assert spec.num_nodes == 1 + sum(part.num_nodes for part in spec.children_specs)
    pairs, same = tree.tree_flatten_with_path(value)
    assert same == spec and [leaf for _, leaf in pairs] == leaves
    assert all(tree.key_get(value, path) == leaf for path, leaf in pairs)
    tree._register_namedtuple(Point, serialized_type_name="tests.Point")
    assert tree.treespec_loads(tree.treespec_dumps(spec)) == spec
    with pytest.raises(ValueError, match="leaves, got"):
        tree.tree_unflatten([*leaves, 0], spec)


def test_keys_as_text_and_maps_with_them():
    value = ({"a": [Point(1, 2)]},)
    assert [tree.keystr(path) for path, _ in tree.tree_leaves_with_path(value)] == ["[0]['a'][0].x", "[0]['a'][0].y"]
    named = tree.tree_map_with_path(lambda path, a, b: tree.keystr(path) + str(a + b), [1, (2,)], [3, (4,)])
    assert named == ["[0]4", ("[1][0]6",)]


def test_dictionaries_are_matched_by_their_keys_and_others_by_their_places():
    assert tree.tree_map(lambda a, b: (a, b), {"x": 1, "y": 2}, {"y": 4, "x": 3}) == {"x": (1, 3), "y": (2, 4)}
    assert tree._broadcast_to_and_flatten((1, [2]), tree.tree_structure(((0, 0), [0]))) == [1, 1, 2]
    assert tree._broadcast_to_and_flatten((1,), tree.tree_structure((0, 0))) is None
    for other in ({"x": 1}, {"x": 1, "z": 2}, [1, 2], 3):
        with pytest.raises(ValueError, match="structures after the first"):
            tree.tree_map(max, {"x": 1, "y": 2}, other)


def test_structures_print_their_nesting():
    assert repr(tree.tree_structure((0, [0, 0]))) == "TreeSpec(tuple, None, [*,\n  TreeSpec(list, None, [*,\n    *])])"
    assert tree.treespec_pprint(tree.tree_structure({"a": (0, 0)})) == "{'a': (*, *)}"


def test_classes_are_written_under_their_names_alone():
    @dataclasses.dataclass
    class Step:
        loss: object
        note: object = None

    spec = tree.TreeSpec(dict, [Colour.RED], [tree.LeafSpec()])
    assert tree.treespec_loads(tree.treespec_dumps(spec)) == spec
    tree.register_dataclass(Step)
    stepped = tree.tree_map(lambda leaf: leaf + 1, [Step(ng.ones(2)), Step(1, 2)])
    assert ng.equal(stepped[0].loss, ng.full((2,), 2.0)) and stepped[0].note is None and stepped[1] == Step(2, 3)
    with pytest.raises(NotImplementedError, match="No registered serialization name"):
        tree.treespec_dumps(tree.tree_structure(Step(1)))
    with pytest.raises(ValueError, match="not imported"):
        tree.treespec_loads(tree.treespec_dumps(spec).replace(Colour.__module__ + ":", "antigravity:"))
    with pytest.raises(ValueError, match="Unknown protocol"):
        tree.treespec_loads("[2, null]")
    with pytest.warns(FutureWarning), pytest.warns(UserWarning, match="already registered"):
        tree._register_pytree_node(Step, lambda step: ([step.loss], None), lambda parts, _: Step(*parts))
