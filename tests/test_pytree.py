"""Pytrees, which transforms and programs flatten their arguments with: ``torch.utils._pytree``."""

import collections
import enum
from typing import NamedTuple

import pytest

import numgrad as ng

pytree = ng.utils._pytree


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1


TREES = {
    "leaf": 1, "none": None, "empty": ([], (), {}), "nested": (0, [1, {"b": 2, "a": (3,)}]), "named": [Point(1, (2, 3))],
    "ordered": collections.OrderedDict([("b", 1), ("a", [2])]), "default": collections.defaultdict(list, {"a": [0, 1], "b": {}}),
    "deque": collections.deque([1, (2,)], maxlen=3), "several": {"max": ng.ones(2, 3).max(0).__class__},
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_there_and_back(tree):
    leaves, spec = pytree.tree_flatten(tree)
    again = pytree.tree_unflatten(leaves, spec)
    assert again == tree and type(again) is type(tree) and spec.num_leaves == len(leaves) == len(list(pytree.tree_iter(tree)))
    pairs, same = pytree.tree_flatten_with_path(tree)
    assert same == spec and hash(same) == hash(spec) and [leaf for _, leaf in pairs] == leaves
    assert all(pytree.key_get(tree, path) is leaf for path, leaf in pairs)
    assert pytree.tree_structure(tree, is_leaf=lambda part: True).is_leaf()
    if any(kind is Point for kind in map(type, tree if isinstance(tree, list) else ())):
        pytree._register_namedtuple(Point, serialized_type_name="tests.Point")
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


def test_texts():
    tree = (["a", [1]], {"foo": [3], "bar": Point(4, 5)})
    paths = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(tree)]
    assert paths == ["[0][0]", "[0][1][0]", "[1]['foo'][0]", "[1]['bar'].x", "[1]['bar'].y"]
    spec = pytree.tree_structure((0, [0, 0, [0]]))
    assert repr(spec) == "TreeSpec(tuple, None, [*,\n  TreeSpec(list, None, [*,\n    *,\n    TreeSpec(list, None, [*])])])"
    assert str(spec) == pytree.treespec_pprint(spec) == "(*, [*, *, [*]])" and (spec.num_nodes, spec.num_children) == (7, 2)
    assert pytree.treespec_dumps(pytree.tree_structure([0])) == (
        '[1, {"type": "builtins.list", "context": "null", "children_spec": [{"type": null, "context": null, "children_spec": []}]}]'
    )


def test_own_classes():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    def parts(pair):
        return [pair.a, pair.b], Colour.RED

    with pytest.raises(ValueError, match="Both to_dumpable_context and from_dumpable_context"):
        pytree.register_pytree_node(Pair, parts, None, to_dumpable_context=str)
    with pytest.warns(FutureWarning, match="register_pytree_node"):
        pytree._register_pytree_node(Pair, parts, lambda found, _: Pair(*found))
    spec = pytree.tree_structure(Pair(1, [2]))
    with pytest.raises(ValueError, match="flatten_with_keys_fn"):
        pytree.tree_leaves_with_path(Pair(1, 2))
    with pytest.raises(NotImplementedError, match="No registered serialization name"):
        pytree.treespec_dumps(spec)
    with pytest.warns(UserWarning, match="already registered"), pytest.warns(FutureWarning):
        pytree._register_pytree_node(
            Pair, parts, lambda found, _: Pair(*found), serialized_type_name="tests.Pair",
            flatten_with_keys_fn=lambda pair: ([(pytree.GetAttrKey("a"), pair.a), (pytree.GetAttrKey("b"), pair.b)], Colour.RED),
        )  # fmt: skip
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    found = pytree.tree_map_with_path(lambda path, a, b: (pytree.keystr(path), a + b), Pair(1, 2), Pair(3, 4))
    assert (found.a, found.b) == ((".a", 4), (".b", 6))
    text = pytree.treespec_dumps(pytree.tree_structure(collections.defaultdict(list))).replace("builtins", "no_such_module")
    with pytest.raises((ValueError, NotImplementedError), match="no_such_module"):
        pytree.treespec_loads(text)


def test_wrong_arguments():
    spec = pytree.tree_structure([1, 2])
    with pytest.raises(ValueError, match="has length 1 but the spec refers to a pytree that holds 2"):
        pytree.tree_unflatten([1], spec)
    with pytest.raises(TypeError, match="instance of TreeSpec"):
        pytree.tree_unflatten([1], "spec")
    with pytest.raises(TypeError, match="instance of TreeSpec"):
        pytree.treespec_dumps("spec")
    for call in (lambda: pytree.treespec_dumps(spec, -1), lambda: pytree.treespec_loads("[2, {}]")):
        with pytest.raises(ValueError, match="Unknown protocol"):
            call()
    with pytest.raises(NotImplementedError, match="_register_namedtuple"):
        pytree.treespec_dumps(pytree.tree_structure(collections.namedtuple("Lost", "x")(1)))
    assert pytree._broadcast_to_and_flatten((1, 2), pytree.tree_structure(([0, [0, 0]], [0]))) == [1, 1, 1, 2]
    assert pytree._broadcast_to_and_flatten((1, 2), pytree.tree_structure((0, 0, 0))) is None


def test_vmap_says_what_is_computed_slice_by_slice():
    before = ng._C._debug_only_are_vmap_fallback_warnings_enabled()
    ng._C._debug_only_display_vmap_fallback_warnings(True)
    try:
        with pytest.warns(UserWarning, match="no batching rule for .*slice by slice"):
            ng.vmap(lambda x: ng.bucketize(x, ng.tensor([0.5])))(ng.ones(2, 3))
    finally:
        ng._C._debug_only_display_vmap_fallback_warnings(before)
