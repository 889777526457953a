"""`bool(x)`, `int(x)`, `float(x)`, `x.item()` and `x.tolist()`: Python numbers of traced values.

They are traced numbers that promote nothing, as Python's do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import COMPLEXES, FLOATS
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace.branches import truth
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, wrap

_LISTED = 1000
"""How many elements `tolist` gives: each is an equation or more of its own."""


def bool_(*args: Any, **kwargs: Any) -> Any:
    """`bool(x)`: a traced bool, as a comparison gives one."""
    x = args[0] if len(args) == 1 and not kwargs else None
    return wrap(truth(x)) if isinstance(x, Tracer) else bool(*args, **kwargs)


def int_(*args: Any, **kwargs: Any) -> Any:
    """`int(x)`: a number that arguments fix stays one, another one is rounded towards zero."""
    x = args[0] if len(args) == 1 and not kwargs else None
    if isinstance(x, Dim):
        return x
    if not isinstance(x, Tracer):
        return int(*args, **kwargs)
    try:
        return int(x)
    except errors.ConcreteValueError:
        return _whole_number(_single("int", x))


def float_(*args: Any, **kwargs: Any) -> Any:
    """`float(x)`: a number that arguments fix stays one."""
    x = args[0] if len(args) == 1 and not kwargs else None
    if isinstance(x, Dim):
        return x * 1.0
    if not isinstance(x, Tracer):
        return float(*args, **kwargs)
    try:
        return float(x)
    except errors.ConcreteValueError:
        return wrap(cast_to(_single("float", x).value(), "f64"), weak=True)


def _single(name: str, x: Tracer) -> Tracer:
    """The one number in `x`."""
    if x.dtype_name in COMPLEXES:
        raise TypeError(f"{name}() argument must be a string or a real number, not 'complex'")
    if x.size != 1:
        raise TypeError("only length-1 arrays can be converted to Python scalars")
    return wrap(shape_ops.reshape(x.value(), shape=())) if x.shape else x


def _whole_number(x: Tracer) -> Tracer:
    value = x.value()
    if x.dtype_name in FLOATS:
        wide = cast_to(value, "f64")
        index_ops.check(
            ew.less(ew.abs(wide), value.builder.literal(2.0**63, wide.type)),
            value.builder.literal(0, cast_to(value, "i64").type),
            error="ValueError",
            message="int() of a number that is NaN, infinite, or has no place in 64 bits",
        )
    return wrap(cast_to(value, "i64"), weak=True)


# ---- methods of arrays ---------------------------------------------------------------------------


def item(x: Tracer, *places: Any) -> Any:
    """`x.item()`, `x.item(k)` and `x.item(i, j)`."""
    if len(places) == 1 and isinstance(places[0], tuple):
        (places,) = places
    if len(places) == 1 and x.ndim != 1:
        return _as_python(x.ravel()[places[0]])
    if places:
        return _as_python(x[places])
    if x.size != 1:
        raise ValueError("can only convert an array of size 1 to a Python scalar")
    return _as_python(wrap(shape_ops.reshape(x.value(), shape=())))


def tolist(x: Tracer) -> Any:
    """Lists in lists of traced numbers."""
    if isinstance(x.size, Dim) or x.size > _LISTED:
        raise errors.ConcreteValueError(
            f".tolist() of a traced value {x.type} would make {x.size} numbers of their own; keep"
            " the array",
            user_loc(),
        )
    return [tolist(part) for part in x] if x.ndim else _as_python(x)


_PYTHONS = {"f": "f64", "i": "i64", "u": "i64", "c": "c128"}


def _as_python(x: Any) -> Tracer:
    """A NumPy number as one of Python's; a bool stays one."""
    kind = np.dtype(x.dtype).kind
    if kind == "b":
        return wrap(x.value())
    wide = "u64" if x.dtype_name == "u64" else _PYTHONS[kind]
    return wrap(cast_to(x.value(), wide), weak=True)
