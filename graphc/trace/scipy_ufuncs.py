"""Ufuncs of scipy.special that give several numbers, or complex ones; the dtypes of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.build import Value
from graphc.ir import COMPLEXES, PARTS
from graphc.ops import complexes
from graphc.ops.scipy_calls import ALWAYS_COMPLEX, COMPLEX, SEVERAL, call
from graphc.trace.broadcasting import broadcast_shapes, broadcast_to
from graphc.trace.promotion import cast_to
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.trace.ufuncs import scipy_dtypes


def entry(ufunc: Any, inputs: Sequence[Any]) -> Callable[..., Any] | None:
    """What computes a ufunc of these operands in machine code of scipy's, if it is one of those."""
    name = ufunc.__name__
    if getattr(np, name, None) is ufunc:
        return None
    holds_complex = any(lift(x).dtype_name in COMPLEXES for x in inputs)
    forms = COMPLEX if holds_complex or name in ALWAYS_COMPLEX else SEVERAL
    if name not in forms:
        return None
    return lambda *operands: _apply(ufunc, forms[name], [lift(x) for x in operands])


def _apply(ufunc: Any, form: str, operands: list[Tracer]) -> Any:
    name = ufunc.__name__
    dtypes = scipy_dtypes(ufunc, operands)
    shape = broadcast_shapes(name, operands)
    letters, _, results = form.partition(">")
    numbers: list[Value] = []
    for letter, x in zip(letters, operands, strict=True):
        value = broadcast_to(cast_to(x.value(), "c128" if letter == "z" else "f64"), shape)
        is_complex = letter == "z"
        numbers += [complexes.real(value), complexes.imag(value)] if is_complex else [value]
    key = f"complex {name}" if "z" in form else name
    place, made = 0, []
    for letter, dtype in zip(results, dtypes, strict=True):
        width = 2 if letter == "z" else 1
        parts = [call(f"{key}.{place + k}", *numbers) for k in range(width)]
        made.append(_result(parts, dtype))
        place += width
    return made[0] if len(made) == 1 else tuple(made)


def _result(parts: list[Value], dtype: str) -> Tracer:
    narrow = [cast_to(part, PARTS.get(dtype, dtype)) for part in parts]
    return wrap(narrow[0] if len(narrow) == 1 else complexes.complex(*narrow))
