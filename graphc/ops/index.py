"""Reading and adding at positions that are computed, and the checks that go before.

`take`, `pick` and `scatter_add` never leave their array: a position outside is moved to the
nearest end.  What Python and NumPy promise, an `IndexError`, is a `check` equation of its own
before them.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Size, same_shape, surely_less
from graphc.ir import FLOATS, INTS, OPS, Op, Type, register
from graphc.ops.effects import described
from graphc.ops.elementwise import cast, equal, maximum, minimum, where
from graphc.ops.single import in_single

# ---- take ----------------------------------------------------------------------------------------


def _expect_positions(name: str, x: Type, positions: Type, axis: int) -> None:
    if positions.dtype not in INTS:
        raise errors.DTypeError(f"{name}: positions are integers, not {positions.dtype}")
    if not 0 <= axis < x.rank:
        raise errors.AttributeValueError(f"{name}: {x} has no axis {axis}")


def _infer_take(x: Type, positions: Type, *, axis: int) -> tuple[Type, ...]:
    _expect_positions("take", x, positions, axis)
    if x.shape[axis] == 0 and positions.size:
        raise errors.ShapeError(f"take: axis {axis} of {x} is empty")
    return (x.with_shape(x.shape[:axis] + positions.shape + x.shape[axis + 1 :]),)


def _clamp(positions: np.ndarray, size: int) -> Any:
    return np.clip(positions, 0, builtins.max(size - 1, 0))


def _take_reference(x: np.ndarray, positions: np.ndarray, axis: int) -> Any:
    return np.take(x, _clamp(positions, x.shape[axis]), axis=axis)


def _take_vjp(g: Value, out: Value, x: Value, positions: Value, *, axis: int) -> tuple[Any, ...]:
    if x.dtype not in FLOATS:
        return (None, None)
    return (scatter_add(x.literal(0.0), positions, g, axis=axis), None)


take = register(
    Op(
        "take",
        _infer_take,
        _take_reference,
        _take_vjp,
        doc="x with `axis` replaced by the axes of `positions`: x[..., positions, ...].",
    )
)

# ---- pick ----------------------------------------------------------------------------------------


def _infer_pick(x: Type, positions: Type, *, axis: int) -> tuple[Type, ...]:
    _expect_positions("pick", x, positions, axis)
    result = x.with_shape(x.shape[:axis] + x.shape[axis + 1 :])
    if positions.shape != result.shape:
        raise errors.ShapeError(f"pick: {x} along {axis} needs {result.shape}, not {positions}")
    if x.shape[axis] == 0 and positions.size:
        raise errors.ShapeError(f"pick: axis {axis} of {x} is empty")
    return (result,)


def _pick_reference(x: np.ndarray, positions: np.ndarray, axis: int) -> Any:
    at = np.expand_dims(_clamp(positions, x.shape[axis]), axis)
    return np.squeeze(np.take_along_axis(x, at, axis), axis)


def _pick_vjp(g: Value, out: Value, x: Value, positions: Value, *, axis: int) -> tuple[Any, ...]:
    """Dense, so that it is part of the loops that use it: all but one element of a row are 0."""
    if x.dtype not in FLOATS:
        return (None, None)
    last = builtins.max(x.shape[axis] - 1, 0)
    here = minimum(maximum(cast(positions, dtype="i64"), 0), last)
    kept = tuple(i for i in range(len(x.shape)) if i != axis)
    spread = OPS["broadcast"]
    (index,) = x.builder.emit(OPS["iota"], (), {"shape": x.shape, "axis": axis, "dtype": "i64"})
    hit = equal(index, spread(here, shape=x.shape, axes=kept))
    return (where(hit, spread(g, shape=x.shape, axes=kept), 0.0), None)


pick = register(
    Op(
        "pick",
        _infer_pick,
        _pick_reference,
        _pick_vjp,
        doc="One element of each row: x[..., positions[...], ...], without `axis`.",
    )
)

GATHERS = frozenset({take, pick})
"""Ops that read at the positions that their second operand holds."""

# ---- scatter_add ---------------------------------------------------------------------------------


def _infer_scatter_add(x: Type, positions: Type, v: Type, *, axis: int) -> tuple[Type, ...]:
    _expect_positions("scatter_add", x, positions, axis)
    expected = x.with_shape(x.shape[:axis] + positions.shape + x.shape[axis + 1 :])
    if v.dtype != x.dtype or not same_shape(v.shape, expected.shape):
        raise errors.ShapeError(f"scatter_add: {x} at {positions} needs {expected}, not {v}")
    return (x,)


def _scatter_add_reference(
    x: np.ndarray, positions: np.ndarray, v: np.ndarray, axis: int
) -> np.ndarray:
    result = np.array(x)
    where: Any = (builtins.slice(None),) * axis + (_clamp(positions, x.shape[axis]),)
    np.add.at(result, where, v)
    return result


def _scatter_add_vjp(
    g: Value, out: Value, x: Value, positions: Value, v: Value, *, axis: int
) -> tuple[Any, ...]:
    return (g, None, take(g, positions, axis=axis)) if x.dtype in FLOATS else (None, None, None)


scatter_add = register(
    Op(
        "scatter_add",
        _infer_scatter_add,
        in_single(_scatter_add_reference),
        _scatter_add_vjp,
        doc="x with v added at `positions` of `axis`; a position that occurs twice adds twice.",
    )
)

# ---- last_writer ---------------------------------------------------------------------------------


def _infer_last_writer(positions: Type, *, count: Size) -> tuple[Type, ...]:
    if positions.dtype != "i64" or positions.rank != 1 or surely_less(count, 0):
        raise errors.ShapeError(f"last_writer: takes i64 positions in a row, not {positions}")
    return (Type("i64", (count,)),)


def _last_writer_reference(positions: np.ndarray, count: int) -> np.ndarray:
    result = np.full(count, -1)
    if count:
        result[_clamp(positions, count)] = np.arange(len(positions))
    return result


last_writer = register(
    Op(
        "last_writer",
        _infer_last_writer,
        _last_writer_reference,
        native=True,
        doc="For each of `count` places the last j with positions[j] there, or -1.",
    )
)

# ---- put -----------------------------------------------------------------------------------------


def _infer_put(x: Type, positions: Type, v: Type, *, axis: int) -> tuple[Type, ...]:
    _infer_scatter_add(x, positions, v, axis=axis)
    if positions.size != 1:
        raise errors.ShapeError(f"put: takes one position, not {positions}")
    return (x,)


def _put_reference(x: np.ndarray, positions: np.ndarray, v: np.ndarray, axis: int) -> np.ndarray:
    result = np.array(x)
    where: Any = (builtins.slice(None),) * axis + (_clamp(positions, x.shape[axis]),)
    result[where] = v
    return result


def _put_vjp(
    g: Value, out: Value, x: Value, positions: Value, v: Value, *, axis: int
) -> tuple[Any, ...]:
    if x.dtype not in FLOATS:
        return (None, None, None)
    return (put(g, positions, v.literal(0.0), axis=axis), None, take(g, positions, axis=axis))


put = register(
    Op(
        "put",
        _infer_put,
        _put_reference,
        _put_vjp,
        doc="x with v in the place of what is at the one position of `axis`: x[..., i, ...] = v.",
    )
)

# ---- check ---------------------------------------------------------------------------------------

CHECK_ERRORS = {
    "IndexError": errors.IndexOutOfRangeError,
    "ValueError": errors.CheckFailedError,
    "ZeroDivisionError": errors.DivisionByZeroError,
    "OverflowError": errors.IntegerRangeError,
    "LinAlgError": errors.LinAlgError,
    "RuntimeError": errors.RaisedError,
    "UnboundLocalError": errors.UnboundNameError,
    "AssertionError": errors.FailedAssertionError,
}


def _infer_check(ok: Type, value: Type, *, error: str, message: str) -> tuple[Type, ...]:
    if ok.dtype != "bool" or value != ok.with_dtype("i64"):
        raise errors.ShapeError(f"check: takes a bool and an i64 of one shape, not {ok}, {value}")
    if error not in CHECK_ERRORS:
        raise errors.AttributeValueError(f"check: no error {error!r}")
    return ()


def check_error(error: str, message: str, value: int, loc: object) -> errors.GraphcError:
    """The exception of a failed check; `{value}` in the message is the value that failed."""
    return CHECK_ERRORS[error](described(message).replace("{value}", str(value)), loc)


def _check_reference(ok: np.ndarray, value: np.ndarray, error: str, message: str) -> tuple[()]:
    if not np.all(ok):
        failed = np.asarray(value)[~np.asarray(ok)]
        raise check_error(error, message, int(failed.max()), None)
    return ()


check = register(
    Op(
        "check",
        _infer_check,
        _check_reference,
        effect="check",
        doc="Raise `error` unless every element of `ok` holds; the largest failing value is named.",
    )
)


def _infer_fail_if(failed: Type, value: Type, *, error: str, message: str) -> tuple[Type, ...]:
    if failed != Type("bool") or value != Type("i64"):
        raise errors.ShapeError(f"fail_if: takes bool[] and i64[], not {failed}, {value}")
    return ()


def _fail_if_reference(failed: Any, value: Any, error: str, message: str) -> tuple[()]:
    if failed:
        raise check_error(error, message, int(value), None)
    return ()


fail_if = register(
    Op(
        "fail_if",
        _infer_fail_if,
        _fail_if_reference,
        effect="check",
        doc="What remains of a `check` when its reductions are equations of their own.",
    )
)
