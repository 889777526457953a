"""Indexing and assignment give what NumPy gives, for generated indices and chosen ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import errors

SHAPE = (3, 4, 2)
X = np.arange(24.0).reshape(SHAPE)


def evaluated(function: Any, *args: Any) -> tuple[np.ndarray, ...]:
    arrays = [np.asarray(x) for x in args]
    return gc.evaluate(gc.trace(function, *arrays), *arrays)


@st.composite
def indices(draw: Any, advanced: bool = False) -> tuple[Any, ...]:
    """A valid index of X: integers, slices, None, an ellipsis, and arrays of positions."""
    items: list[Any] = []
    broadcast = draw(st.sampled_from([(), (2,), (2, 1), (1, 3)]))
    for n in SHAPE[: draw(st.integers(0, 3))]:
        bound = st.none() | st.integers(-n - 2, n + 2)
        step = st.sampled_from([None, 1, 2, -1, -2])
        kinds = [st.integers(-n, n - 1), st.builds(slice, bound, bound, step)]
        if advanced:
            size = int(np.prod(broadcast))
            position = st.lists(st.integers(-n, n - 1), min_size=size, max_size=size)
            kinds.append(position.map(lambda p, s=broadcast: np.array(p).reshape(s)))
        items.append(draw(st.one_of(kinds)))
        if draw(st.integers(0, 4)) == 0:
            items.append(None)
    if draw(st.booleans()):
        items.append(Ellipsis)
    return tuple(items)


@given(indices())
@settings(max_examples=150, deadline=None)
def test_basic_index(index: tuple[Any, ...]) -> None:
    (got,) = evaluated(lambda x: x[index] * 1.0, X)
    np.testing.assert_array_equal(got, X[index])
    assert got.shape == X[index].shape


@given(indices(advanced=True), st.booleans())
@settings(max_examples=150, deadline=None)
def test_index_with_positions(index: tuple[Any, ...], computed: bool) -> None:
    """Constant positions and traced ones; integers beside them count as arrays, as in NumPy."""
    places = [i for i, item in enumerate(index) if isinstance(item, np.ndarray) and item.ndim]
    arrays = [index[i] for i in places]

    def read(x, *positions):
        items = list(index)
        for i, position in zip(places, positions if computed else arrays, strict=True):
            items[i] = position
        return x[tuple(items)] * 1.0

    got = evaluated(read, X, *arrays)[0]
    np.testing.assert_array_equal(got, X[index])
    assert got.shape == X[index].shape


@given(indices(advanced=True), st.booleans())
@settings(max_examples=150, deadline=None)
def test_assignment(index: tuple[Any, ...], computed: bool) -> None:
    places = [i for i, item in enumerate(index) if isinstance(item, np.ndarray)]
    arrays = [index[i] for i in places]
    target = X.copy()
    value = -1.0 - np.arange(target[index].size).reshape(target[index].shape)
    target[index] = value
    target[index] *= 2

    def assign(x, value, *positions):
        items = list(index)
        for i, position in zip(places, positions if computed else arrays, strict=True):
            items[i] = position
        x = x.copy()
        x[tuple(items)] = value
        x[tuple(items)] *= 2
        return x

    np.testing.assert_array_equal(evaluated(assign, X, value, *arrays)[0], target)


def test_of_several_values_for_one_place_the_last_stays() -> None:
    def f(x, i, v):
        x[i] = v
        return x

    i, v = np.array([2, 0, 2, 2]), np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(gc.compile(f)(np.zeros(3), i, v), f(np.zeros(3), i, v))


def test_masks() -> None:
    known = np.array([True, False, True])

    def f(x):
        x = x.copy()
        x[x > 20] = 0
        x[known] += 1
        x[x[:, 0, 0] > 9, ...] = -1 if False else 2.5
        return x, x[known, 1], x[[True, False, False]]

    def g(x):
        x = x.copy()
        x[x[..., 0] > 9] = np.array([1.0, 2.0])
        return x

    np.testing.assert_array_equal(gc.compile(g)(X), g(X))
    for got, wanted in zip(gc.compile(f)(X), f(X), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: x[x[0] > 0], errors.IndexOutOfRangeError, "did not match"),
        (lambda x: x[:, x[0] > 0].sum(), errors.DataDependentShapeError, r"x\[:, mask\]"),
        (lambda x: x[x > 9].sum(axis=1), errors.AttributeValueError, "out of bounds"),
        (lambda x: x[x > 9].max(), errors.CheckFailedError, "selects no element"),
        (lambda x: x[x > 0].sum(keepdims=True), errors.UnsupportedFunctionError, "keepdims"),
    ],
)
def test_masks_that_cannot_be(function: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        gc.compile(function)(np.arange(6.0).reshape(2, 3) - 3)


def test_values_for_a_mask_must_be_as_many_as_it_selects() -> None:
    def f(x):
        y = x.copy()
        y[y > 0] = np.array([1.0, 2.0])
        return y

    compiled = gc.compile(f)
    np.testing.assert_array_equal(compiled(np.array([3.0, -1, 4])), [1, -1, 2])
    with pytest.raises(ValueError, match="cannot assign 2 input values to the 3 elements"):
        compiled(np.array([3.0, 1, 4]))


def test_gradient_through_an_assignment_at_computed_positions() -> None:
    def loss(x, v, i):
        y = x * 2
        y[i] = v
        return np.sum(y**2)

    gx, gv = gc.grad(loss, argnums=(0, 1))(np.arange(3.0), np.array([5.0, 7.0]), np.array([1, 1]))
    np.testing.assert_array_equal(gx, [0, 0, 16])
    np.testing.assert_array_equal(gv, [0, 14])


def test_an_index_out_of_range_is_an_index_error_with_the_line() -> None:
    def f(x, i):
        return x[i]

    compiled = gc.compile(f)
    for i in (3, -4, np.array([0, 1, 17]), np.int64(3)):
        with pytest.raises(IndexError, match=r"test_indexing.py:\d+: index -?\d+ is out of bounds"):
            compiled(X, i)
    assert compiled(X, -3)[0, 0] == 0.0
    with pytest.raises(IndexError, match="index 5 is out of bounds for an axis of size 3"):
        gc.compile(lambda x: x[5])(X)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: x[x > 1], errors.DataDependentShapeError, "use np.where"),
        (lambda x: x[0, 0, 0, 0], errors.UnsupportedIndexError, "has 3 axes, 4 were indexed"),
        (lambda x: x[..., ...], errors.UnsupportedIndexError, "one ellipsis"),
        (lambda x: x["a"], errors.UnsupportedIndexError, "not by str"),
        (lambda x: x[1.0], errors.UnsupportedIndexError, "not by float"),
        (lambda x: x[True], errors.UnsupportedIndexError, "not by bool"),
        (lambda x: x[x], errors.UnsupportedIndexError, "astype"),
        (lambda x: x[np.array([0.5])], errors.UnsupportedIndexError, "astype"),
        (lambda x: x[[0, 1], [0, 1, 1]], errors.ShapeError, "do not broadcast"),
    ],
)
def test_indices_that_cannot_be(function: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        gc.compile(function)(X)
    assert "test_indexing.py:" in str(raised.value)


def test_values_that_do_not_fit() -> None:
    def f(x):
        x[0] = np.ones(3)

    with pytest.raises(errors.ShapeError, match=r"could not broadcast f64\[3\] into .* \(4, 2\)"):
        gc.compile(f)(X.copy())
