"""Operands of one shape and one dtype, as NumPy makes them."""

from __future__ import annotations

from graphc import errors
from graphc.build import Value
from graphc.ir import INT_RANGES, INTS, NUMPY_DTYPES, Lit
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import sizes
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer


def broadcast_to(value: Value, shape: tuple[int, ...]) -> Value:
    """`value` repeated to `shape` by NumPy's rules."""
    if value.shape == shape:
        return value
    if isinstance(value.atom, Lit):
        return value.builder.literal(value.atom.value, value.type.with_shape(shape))
    offset = len(shape) - len(value.shape)
    axes = tuple(range(offset, len(shape)))
    return shape_ops.broadcast(value, shape=shape, axes=axes)


def broadcast_shapes(name: str, operands: list[Tracer]) -> tuple[int, ...]:
    try:
        return sizes.broadcast_shapes(*(x.shape for x in operands))
    except ValueError:
        listed = ", ".join(str(x.type) for x in operands)
        raise errors.ShapeError(
            f"{name}: the shapes of {listed} do not broadcast together; sizes must be equal or 1,"
            " counted from the last axis",
            user_loc(),
        ) from None


def unify(name: str, operands: list[Tracer], dtype: str) -> list[Value]:
    """The operands with one dtype and one shape."""
    shape = broadcast_shapes(name, operands)
    return [broadcast_to(_converted(x, dtype), shape) for x in operands]


def _converted(x: Tracer, dtype: str) -> Value:
    """`x` as `dtype`; a Python int that is an argument is checked to fit, when the step runs."""
    value = x.value()
    is_argument = x.weak and value.dtype == "i64" and not isinstance(value.atom, Lit)
    if is_argument and dtype in INTS - {"i64"}:
        least, most = INT_RANGES[dtype]
        inside = ew.greater_equal(value, least)
        if most < INT_RANGES["i64"][1]:
            inside = ew.logical_and(inside, ew.less_equal(value, most))
        index_ops.check(
            inside,
            value,
            error="OverflowError",
            message=f"Python integer {{value}} out of bounds for {NUMPY_DTYPES[dtype]}",
        )
    return cast_to(value, dtype)
