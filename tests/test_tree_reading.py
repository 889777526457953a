"""Structures as functions that read and build: the same as what walks them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

from graphc.trace import tree
from graphc.trace.tree_reading import builder, reader

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True)
class Layer:
    weights: object
    name: str = "dense"


TREES = [
    1.0,
    "static",
    None,
    (),
    {},
    [1.0, (2.0, 3.0)],
    {"w": 1.0, "b": 2.0},
    {"layers": [{"w": 1.0}, {"w": 2.0, "act": "relu"}], "rate": 0.1},
    OrderedDict([("b", 1.0), ("a", 2.0)]),
    defaultdict(float, {"x": 1.0}),
    Pair(1.0, {"x": np.ones(2)}),
    Layer(1.0),
    [Layer({"w": 1.0}), Layer(2.0, "other")],
    ((1.0, {"a": (2.0, None)}), {"k": 3.0}),
]


@pytest.mark.parametrize("value", TREES, ids=repr)
def test_what_is_read_is_what_there_is(value):
    wanted, structure = tree.flatten(value)
    leaves = []
    assert reader(structure)(value, leaves)
    assert all(a is b for a, b in zip(leaves, wanted, strict=True))


@pytest.mark.parametrize("value", TREES, ids=repr)
def test_what_is_built_is_what_there_was(value):
    leaves, structure = tree.flatten(value)
    built = builder(structure)(iter(leaves))
    assert type(built) is type(value)
    assert tree.flatten(built)[1] == structure
    assert all(a is b for a, b in zip(tree.flatten(built)[0], leaves, strict=True))


@pytest.mark.parametrize("one", TREES, ids=repr)
def test_other_structures_are_told_apart(one):
    """A leaf takes anything: what it is, is looked at afterwards."""
    read = reader(tree.flatten(one)[1])
    for other in TREES:
        leaves, expected = [], []
        fits = tree.gather(tree.flatten(one)[1], other, expected)
        if fits:
            assert read(other, leaves)
        elif read(other, leaves):
            assert not all(map(tree.is_leaf, leaves))


def test_the_order_of_keys_is_part_of_a_structure():
    read = reader(tree.flatten({"a": 1.0, "b": 2.0})[1])
    assert not read({"b": 2.0, "a": 1.0}, [])
