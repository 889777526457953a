"""Windows along axes, views of one memory: in sums, products, gradients, vmap, named sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import graphc as gc
from graphc.build import Builder
from graphc.dims import dim
from graphc.errors import ReadOnlyError, ShapeError
from graphc.ir import Type
from graphc.ops import shape

RNG = np.random.default_rng(4)
IMAGES = RNG.standard_normal((2, 3, 9, 8))
KERNELS = RNG.standard_normal((4, 3, 3, 2))


def convolved(x: Any, w: Any, step: int = 1) -> Any:
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::step, ::step]
    return np.einsum("nchwij,ocij->nohw", windows, w)


def pooled(x: Any) -> Any:
    return sliding_window_view(x, (2, 2), axis=(2, 3))[:, :, ::2, ::2].max(axis=(-1, -2))


def differences(function: Callable[[Any], Any], x: Any, step: float = 1e-6) -> Any:
    """The gradient of a function of one array, from its values."""
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        slopes[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return slopes


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_convolution_is_that_of_numpy(step: int) -> None:
    compiled = gc.compile(lambda x, w: convolved(x, w, step))
    expected = convolved(IMAGES, KERNELS, step)
    np.testing.assert_allclose(compiled(IMAGES, KERNELS), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "read",
    [
        lambda v: v[::-1, 1:, ::-1],
        lambda v: v[:, ::3, ::2] * 2.0,
        lambda v: v.reshape(7, -1),
        lambda v: v.transpose(2, 1, 0).copy(),
        lambda v: v.mean(axis=-1),
        lambda v: np.sort(v, axis=-1)[..., 1],
        lambda v: sliding_window_view(v, 2, axis=0),
    ],
)
def test_what_reads_windows_reads_what_numpy_does(read: Callable[[Any], Any]) -> None:
    def function(x: Any) -> Any:
        return read(sliding_window_view(x, 3, axis=1))

    x = IMAGES[0].transpose(2, 1, 0)[:7, :, 0] + np.zeros((7, 9))
    np.testing.assert_allclose(gc.compile(function)(x), function(x), rtol=1e-14)


def test_an_argument_written_in_place_gives_its_old_windows() -> None:
    def smooth(state: Any) -> Any:
        state[1:-1] = sliding_window_view(state, 3).sum(axis=-1)
        return state

    x, y = np.arange(50.0), np.arange(50.0)
    gc.compile(smooth)(x)
    smooth(y)
    np.testing.assert_array_equal(x, y)


def test_windows_see_what_is_assigned_to_their_array_later() -> None:
    def function(x: Any) -> Any:
        values = x * 1.0
        windows = sliding_window_view(values, 3)
        values[2:4] = 100.0
        return windows.sum(axis=-1), windows.reshape(-1)

    x = np.arange(8.0)
    for got, expected in zip(gc.compile(function)(x), function(x), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_windows_are_read_only() -> None:
    def function(x: Any) -> Any:
        windows = sliding_window_view(x * 1.0, 3)
        windows[0] = 1.0
        return windows

    with pytest.raises(ReadOnlyError, match="windows share elements"):
        gc.compile(function)(np.arange(8.0))


def test_a_window_of_computed_values_sees_all_of_them() -> None:
    def function(x: Any) -> Any:
        rows = np.exp(x - x.max(axis=1, keepdims=True))
        return sliding_window_view(rows / rows.sum(axis=1, keepdims=True), 5, axis=0).sum(axis=-1)

    x = RNG.standard_normal((300, 70))
    np.testing.assert_allclose(gc.compile(function)(x), function(x), rtol=1e-12)
    divided = gc.compile(function, threads=2)
    np.testing.assert_allclose(divided(x), function(x), rtol=1e-12)


def test_windows_of_symbolic_sizes() -> None:
    compiled = gc.compile(lambda x: sliding_window_view(x, 3, axis=0).max(axis=-1))
    for size in (17, 4, 40, 3, 41, 42, 43):
        x = RNG.standard_normal((size, 4))
        np.testing.assert_array_equal(compiled(x), sliding_window_view(x, 3, axis=0).max(axis=-1))


def test_windows_of_examples() -> None:
    function = gc.vmap(lambda x: sliding_window_view(x, 4, axis=1).sum(axis=-1))
    expected = sliding_window_view(IMAGES[0], 4, axis=2).sum(axis=-1)
    np.testing.assert_allclose(gc.compile(function)(IMAGES[0]), expected, rtol=1e-12)


# ---- what it costs -------------------------------------------------------------------------------


def test_windows_are_no_array_of_their_own() -> None:
    assert len(gc.compile(pooled).explain(IMAGES).kernels) == 1
    smooth = gc.compile(lambda x: np.tanh(sliding_window_view(x, (3, 3), axis=(2, 3))).sum((4, 5)))
    assert len(smooth.explain(IMAGES).kernels) == 1


def test_a_convolution_has_one_copy_before_its_product() -> None:
    images = np.tile(IMAGES, (1, 1, 2, 2))
    copy, product = gc.compile(convolved).explain(images, KERNELS).kernels
    assert (copy.ops, product.ops) == (("copy",), ("matmul",))


# ---- derivatives ---------------------------------------------------------------------------------


def loss(x: Any, w: Any) -> Any:
    return np.sum(np.tanh(convolved(x, w, 2)))


def test_gradients_of_a_convolution() -> None:
    by_x, by_w = gc.compile(gc.grad(loss, argnums=(0, 1)))(IMAGES, KERNELS)
    expected = differences(lambda x: loss(x, KERNELS), IMAGES)
    np.testing.assert_allclose(by_x, expected, atol=1e-7)
    expected = differences(lambda w: loss(IMAGES, w), KERNELS)
    np.testing.assert_allclose(by_w, expected, atol=1e-7)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_gradients_of_gradients(size: int) -> None:
    def energy(x: Any) -> Any:
        return np.sum(np.max(sliding_window_view(x, size, axis=0), axis=-1) ** 3)

    def steepness(x: Any) -> Any:
        return np.sum(gc.grad(energy)(x) ** 2)

    x = RNG.standard_normal((9, 2))
    second = gc.compile(gc.grad(steepness))(x)
    expected = differences(gc.compile(steepness), x)
    np.testing.assert_allclose(second, expected, rtol=1e-5, atol=1e-5)


def test_tangents() -> None:
    direction = RNG.standard_normal(IMAGES.shape)
    _, tangent = gc.jvp(lambda x: convolved(x, KERNELS), (IMAGES,), (direction,))
    np.testing.assert_allclose(tangent, convolved(direction, KERNELS), rtol=1e-10, atol=1e-10)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attrs",
    [
        {"axis": 0, "by": 1, "step": 2},
        {"axis": 0, "by": 0, "step": 1},
        {"axis": 2, "by": 0, "step": 1},
        {"axis": 1, "by": 0, "step": 0},
    ],
)
def test_steps_that_leave_the_axis_are_refused(attrs: dict[str, int]) -> None:
    with pytest.raises(ShapeError, match="skew"):
        shape.skew(Builder().param(Type("f32", (4, 6))), **attrs)


def test_a_size_that_has_a_name_may_be_long_enough() -> None:
    x = Builder().param(Type("f32", (dim("n"), 3)))
    assert str(shape.skew(x, axis=0, by=1, step=1).shape[0]) == "n - 2"
