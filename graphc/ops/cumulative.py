"""Operations along an axis in which each element needs the one before it: running sums and more.

`reverse` runs from the end to the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, Op, Type, register
from graphc.ops.elementwise import (
    FIELD,
    NUMBERS,
    Rule,
    equal,
    expect_dtype,
    expect_same,
    greater,
    where,
)
from graphc.ops.elementwise import logical_or as either
from graphc.ops.shape import pad
from graphc.ops.shape import slice as window
from graphc.ops.single import in_single


def _expect_axis(name: str, x: Type, axis: int) -> None:
    if not 0 <= axis < x.rank:
        raise errors.AttributeValueError(f"{name}: {x} has no axis {axis}")


def _turned(x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    return np.flip(x, axis) if reverse else x


def _define(name: str, ufunc: Any, vjp: Rule) -> Op:
    def infer(x: Type, *, axis: int, reverse: bool) -> tuple[Type, ...]:
        expect_dtype(name, x, FIELD if name in ("cumsum", "cumprod") else NUMBERS)
        _expect_axis(name, x, axis)
        return (x,)

    def reference(x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
        run = ufunc.accumulate(_turned(x, axis, reverse), axis=axis, dtype=x.dtype)
        return _turned(run, axis, reverse)

    doc = f"Element k is the {ufunc.__name__} of the elements 0 to k of `axis`."
    return register(Op(name, infer, in_single(reference), vjp, native=True, doc=doc))


def _shifted(x: Value, axis: int, toward_end: bool, fill: float) -> Value:
    """`x` moved by one place along `axis`; what comes in is `fill`."""
    shape = x.shape
    if shape[axis] == 0:
        return x
    zeros = (0,) * len(shape)
    one = tuple(int(i == axis) for i in range(len(shape)))
    sizes = tuple(n - k for n, k in zip(shape, one, strict=True))
    starts, low, high = (zeros, one, zeros) if toward_end else (one, zeros, one)
    kept: Value = window(x, starts=starts, sizes=sizes, steps=(1,) * len(shape))
    return pad(kept, low=low, high=high, value=fill)


def _cumsum_vjp(g: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> tuple[Any, ...]:
    return (cumsum(g, axis=axis, reverse=not reverse),) if x.dtype in FLOATS else (None,)


def _cumprod_vjp(g: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> tuple[Any, ...]:
    """What comes before x_i, times what x_i is multiplied by later: no division, so zeros do no
    harm.  The latter is s_i = g_i + x_(i+1) s_(i+1)."""
    if x.dtype not in FLOATS:
        return (None,)
    before = _shifted(out, axis, not reverse, 1.0)
    following = _shifted(x, axis, reverse, 0.0)
    return (before * recurrence(following, g, axis=axis, reverse=not reverse),)


def _extremum_vjp(better: Callable[..., Any]) -> Rule:
    """Each cotangent goes to the first element that was the extremum at its place."""

    def vjp(g: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> tuple[Any, ...]:
        if x.dtype not in FLOATS:
            return (None,)
        worst = float("-inf") if better is greater else float("inf")
        is_new = better(x, _shifted(out, axis, not reverse, worst))
        # An infinite first element is new, too: nothing stands before it.
        is_new = either(is_new, _is_first(x, axis, reverse))
        stays = where(_shifted(is_new, axis, reverse, True), x.literal(0.0), x.literal(1.0))
        total = recurrence(stays, g, axis=axis, reverse=not reverse)
        return (where(is_new, total, 0.0),)

    return vjp


def _is_first(x: Value, axis: int, reverse: bool) -> Value:
    from graphc.ir import OPS

    attrs = {"shape": x.shape, "axis": axis, "dtype": "i64"}
    (position,) = x.builder.emit(OPS["iota"], (), attrs)
    return equal(position, max(x.shape[axis] - 1, 0) if reverse else 0)


cumsum: Op = _define("cumsum", np.add, _cumsum_vjp)
cumprod: Op = _define("cumprod", np.multiply, _cumprod_vjp)
cummax: Op = _define("cummax", np.maximum, _extremum_vjp(greater))


def _less(a: Value, b: Value) -> Value:
    return greater(b, a)


cummin: Op = _define("cummin", np.minimum, _extremum_vjp(_less))

# ---- linear recurrences --------------------------------------------------------------------------


def _infer_recurrence(a: Type, b: Type, *, axis: int, reverse: bool) -> tuple[Type, ...]:
    expect_same("recurrence", (a, b))
    expect_dtype("recurrence", a, NUMBERS)
    _expect_axis("recurrence", a, axis)
    return (b,)


def _recurrence_reference(a: np.ndarray, b: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    factors = np.moveaxis(_turned(a, axis, reverse), axis, 0)
    out = np.moveaxis(_turned(b, axis, reverse), axis, 0).copy()
    for k in range(1, len(out)):
        out[k] += factors[k] * out[k - 1]
    return _turned(np.moveaxis(out, 0, axis), axis, reverse)


def _recurrence_vjp(
    g: Value, out: Value, a: Value, b: Value, *, axis: int, reverse: bool
) -> tuple[Any, ...]:
    if a.dtype not in FLOATS:
        return (None, None)
    following = _shifted(a, axis, reverse, 0.0)
    carried: Value = recurrence(following, g, axis=axis, reverse=not reverse)
    return (carried * _shifted(out, axis, not reverse, 0.0), carried)


recurrence: Op = register(
    Op(
        "recurrence",
        _infer_recurrence,
        in_single(_recurrence_reference),
        _recurrence_vjp,
        native=True,
        doc="y[k] = a[k] * y[k-1] + b[k] along `axis`, with y[-1] = 0.",
    )
)
