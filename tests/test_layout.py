"""Views as layouts: every element is where NumPy's view has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import op
from specs import MOVES

from graphc.build import Builder
from graphc.ir import Type
from graphc.ops.shape import VIEWS
from graphc.runtime.layout import Layout, contiguous, view


def offsets(layout: Layout) -> np.ndarray:
    """Where each element lies."""
    steps = np.indices(layout.shape, dtype=int)
    strides = np.reshape(layout.strides, (-1, *[1] * len(layout.shape)))
    return layout.offset + np.sum(steps * strides, axis=0, dtype=int)


def apply(name: str, layout: Layout, attrs: dict) -> Layout | None:
    builder = Builder()
    op(name)(builder.param(Type("f64", layout.shape)), **attrs)
    return view(builder.eqns[-1], layout)


def agrees(name: str, attrs: dict, layout: Layout) -> bool:
    """Whether the view has a layout; if so, it is NumPy's."""
    found = apply(name, layout, attrs)
    if found is None:
        return False
    expected = op(name).reference(offsets(layout), **attrs)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(offsets(found), expected)
    return True


VIEW_ROWS = [
    (name, shapes[0], attrs)
    for name, rows in MOVES.items()
    if op(name) in VIEWS
    for shapes, attrs in rows
]


@pytest.mark.parametrize(("name", "shape", "attrs"), VIEW_ROWS, ids=str)
def test_views_of_contiguous_memory_are_free(name: str, shape: tuple, attrs: dict) -> None:
    assert agrees(name, attrs, contiguous(shape))


@pytest.mark.parametrize(
    ("strides", "shape", "is_view"),
    [
        ((1, 4), (4, 3), True),  # untouched
        ((1, 4), (12,), False),  # a transposed matrix in one axis
        ((1, 4), (2, 2, 3), True),  # each axis splits by itself
        ((1, 4), (4, 1, 3, 1), True),
        ((-3, -1), (12,), True),  # backwards throughout
        ((-3, 1), (12,), False),
        ((0, 0), (2, 6), True),  # one number everywhere
        ((0, 1), (12,), False),
        ((0, 1), (2, 2, 3), True),
    ],
)
def test_reshape_of_strided_memory(strides: tuple, shape: tuple, is_view: bool) -> None:
    layout = Layout((4, 3), strides, 20)
    assert agrees("reshape", {"shape": shape}, layout) == is_view


def test_contiguous() -> None:
    assert contiguous((2, 3, 5)).strides == (15, 5, 1)
    assert contiguous((2, 3)).is_contiguous
    assert not Layout((2, 3), (3, 1), 4).is_contiguous
    assert Layout((1, 3), (99, 1)).is_contiguous


FACTORS = [(12,), (3, 4), (2, 6), (2, 3, 2), (1, 12), (4, 1, 3), (6, 2, 1), (1, 1, 12), (2, 2, 3)]


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.lists(st.sampled_from(FACTORS), min_size=1, max_size=4), st.randoms())
def test_chains_of_views(shapes: list, random: object) -> None:
    """Reshape after transpose after reshape: a layout, if given, is right."""
    layout = contiguous((12,))
    for shape in shapes:
        agrees("reshape", {"shape": shape}, layout)
        layout = apply("reshape", layout, {"shape": shape}) or layout
        axes = list(range(len(layout.shape)))
        random.shuffle(axes)  # type: ignore[attr-defined]
        agrees("transpose", {"axes": tuple(axes)}, layout)
        layout = apply("transpose", layout, {"axes": tuple(axes)})
