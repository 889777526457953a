"""Trees go apart and together again; what is a leaf and what is structure."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.trace import tree

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Frozen:
    """A dataclass that cannot be assigned to."""

    x: Any
    name: str = "n"


class Colour(enum.IntEnum):
    """An enum that is an int, and yet part of the structure."""

    RED = 1


TREES = [
    1.0,
    (1, 2.0, (3,)),
    [1, [2, {"a": 3}]],
    {"b": 1, "a": (2, None)},
    OrderedDict(z=1, a=2),
    defaultdict(list, {"k": 1.0}),
    Pair(1, Pair(2, [3])),
    Frozen((1, 2), "other"),
    None,
    (),
    [[], {}],
    ("text", True, Colour.RED, 2),
]


@pytest.mark.parametrize("value", TREES, ids=repr)
def test_round_trip(value: Any) -> None:
    leaves, structure = tree.flatten(value)
    again = tree.unflatten(structure, leaves)
    assert again == value
    assert type(again) is type(value)
    assert hash(structure) == hash(tree.flatten(value)[1])
    assert structure == tree.flatten(value)[1]


def test_leaves() -> None:
    for value in (1, 1.5, np.float32(1), np.zeros(2), np.bool_(True), gc.Spec((2,), "f32")):
        assert tree.is_leaf(value)
    for value in (True, "s", None, (1,), Colour.RED, len, object()):
        assert not tree.is_leaf(value)


def test_structures_differ_by_static_values_and_types() -> None:
    structures = [tree.flatten(v)[1] for v in ((1, True), (1, False), [1, True], (1, 1), (1, "a"))]
    assert len(set(structures)) == len(structures)
    assert tree.Static(1.0) != tree.Static(1)
    unhashable: set[int] = set()
    assert tree.Static(unhashable) == tree.Static(unhashable)
    assert tree.Static(unhashable) != tree.Static(set())


def test_paths() -> None:
    value = {"w": [1, (2,)], "p": Pair(3, Frozen(4))}
    structure = tree.flatten(value)[1]
    assert list(tree.paths(structure, "x")) == [
        "x['w'][0]",
        "x['w'][1][0]",
        "x['p'].a",
        "x['p'].b.x",
    ]


def test_map_leaves() -> None:
    assert tree.map_leaves(lambda x: x + 1, {"a": (1, None)}) == {"a": (2, None)}


def test_enums_and_strings_choose_in_python() -> None:
    def f(x, colour, table):
        return x * table["k"] if colour is Colour.RED else x

    compiled = gc.compile(f)
    assert compiled(2.0, Colour.RED, defaultdict(int, k=3.0)) == 6.0
    assert compiled(2.0, None, OrderedDict(k=3.0)) == 2.0
