"""Nests over few columns or rows with several totals: divided, and the values they have then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, calls
from running import assert_within, interpret

import graphc as gc
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.plan.totals_apart import totals_apart
from graphc.runtime.kernel import Kernel
from graphc.runtime.planner import make_program


def batch_norm(x, gain, bias):  # type: ignore[no-untyped-def]
    centred = x - x.mean(axis=0)
    return centred / np.sqrt((centred * centred).mean(axis=0) + 1e-5) * gain + bias


def gradients(x, gain, bias, y):  # type: ignore[no-untyped-def]
    def loss(x, gain, bias):  # type: ignore[no-untyped-def]
        return ((batch_norm(x, gain, bias) - y) ** 2).sum()

    return gc.grad(loss, argnums=(0, 1, 2))(x, gain, bias)


def scaled(x):  # type: ignore[no-untyped-def]
    x /= np.sqrt((x * x).sum(axis=0))
    x -= x.max(axis=0)


def cubes(x):  # type: ignore[no-untyped-def]
    return x.reshape(2, -1, x.shape[1])


def images(x, gain):  # type: ignore[no-untyped-def]
    centred = x - x.mean(axis=(0, 2), keepdims=True)
    variance = (centred * centred).mean(axis=(0, 2), keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain[:, None]


def image_gradients(x, gain):  # type: ignore[no-untyped-def]
    return gc.grad(lambda x, gain: (images(x, gain) ** 3).sum(), argnums=(0, 1))(x, gain)


def arrays(count: int, rows: int, columns: int) -> list[np.ndarray]:
    rng = np.random.default_rng(rows)
    long, short = (rng.standard_normal(s).astype(np.float32) for s in ((rows, columns), columns))
    return [long, short, short + 1, long * 2][:count]


FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "a deviation": (lambda x: x.std(axis=0), 1),
    "a position": (lambda x: (x.argmax(axis=0), x.argmin(axis=0)), 1),
    "a batch norm": (batch_norm, 3),
    "its gradients": (gradients, 4),
    "in place": (scaled, 1),
    "of planes": (
        lambda x: (lambda e: e / e.sum(axis=1, keepdims=True))(
            np.exp(cubes(x) - cubes(x).max(axis=1, keepdims=True))
        ),
        1,
    ),
    "of two axes": (lambda x: np.var(x.reshape(-1, 2, x.shape[1]), axis=0), 1),
}


def kernels(function: Callable[..., Any], *arguments: Any) -> list[tuple[Kernel, Any]]:
    graph = gc.compile(function).graph(*arguments, stage="fused")
    return [(c.kernel, c.roots) for c in calls(rejoined(make_program(graph)))]


@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
@pytest.mark.parametrize("function, count", FUNCTIONS.values(), ids=FUNCTIONS)
def test_values(function: Callable[..., Any], count: int, limits: Limits | None) -> None:
    given = arrays(count, 3000 if limits is None else 200, 6)
    graph = gc.compile(function).graph(*given, stage="fused")
    expected = interpret(gc.trace(function, *given), given)
    for backwards in (False, True):
        got = Emulated(graph, limits, backwards)(given)
        for one, other in zip(got, expected, strict=True):
            assert_within(one, other, 2e-4 * np.maximum(1, np.abs(other)))


@pytest.mark.parametrize("function", [images, image_gradients], ids=["forward", "gradients"])
def test_long_rows(function: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 40_000)).astype(np.float32)
    given = [x, np.array([0.5, 2.0], np.float32)]
    graph = gc.compile(function).graph(*given, stage="fused")
    expected = interpret(gc.trace(function, *given), given)
    emulated = Emulated(graph, backwards=True)
    kernels = emulated.launches[0].kernels
    assert len(kernels) >= 5
    assert min(k.grid for k in kernels[:-1:2]) > 2
    for one, other in zip(emulated(given), expected, strict=True):
        assert_within(one, other, 2e-3 * np.maximum(1, np.abs(other)))


def test_each_total_has_parts_and_elements_have_threads() -> None:
    """A batch norm of 8192 x 1024 keeps a device busy: it was run by 1024 threads."""
    graph = gc.compile(batch_norm).graph(*arrays(3, 8192, 1024), stage="fused")
    (launches,) = Emulated(graph).launches
    threads = [kernel.grid * kernel.block for kernel in launches.kernels]
    assert min(threads[::2]) >= 1 << 17
    assert len(threads) == 5


def test_a_nest_for_each_loop() -> None:
    ((kernel, roots),) = kernels(batch_norm, *arrays(3, 8192, 1024))
    divided = totals_apart(kernel, roots, Limits())
    assert divided is not None
    assert len(divided.body) == 3
    kept = divided.buffers[len(kernel.buffers) :]
    assert [int(buffer.size) for buffer in kept] == [1024, 1024]
    assert totals_apart(divided, [*roots, *roots[-1:] * 2], Limits()) is None


@pytest.mark.parametrize(
    "shape, function",
    [
        ((32, 1024), batch_norm),
        ((8192, 1024), lambda x, *_: x.sum(axis=0)),
        ((1024, 512), lambda x, *_: x - x.mean(axis=1, keepdims=True)),
        ((64, 4096), lambda x, *_: x - x.mean(axis=1, keepdims=True)),
    ],
    ids=["few rows", "one total", "rows", "few short rows"],
)
def test_what_stays_as_it_is(shape: tuple[int, int], function: Callable[..., Any]) -> None:
    for kernel, roots in kernels(function, *arrays(3, *shape)):
        assert totals_apart(kernel, roots, Limits()) is None


def test_many_columns_have_threads_enough() -> None:
    ((kernel, roots),) = kernels(lambda x: x.std(axis=0), arrays(1, 100, 70_000)[0])
    assert totals_apart(kernel, roots, Limits()) is None
    assert totals_apart(kernel, roots, Limits(most_blocks=1 << 16)) is not None
