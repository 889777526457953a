"""Numbers that the arguments of the traced function fix: `n`, `n - 1`, `n // 2`.

A Python int passed as an argument is traced like any number.  Where the trace needs to know it (a
shape, an axis, the end of a `range`), the graph is made for this value alone; so the value is kept
beside the tracer, and through the operators of Python.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np


class Argument:
    """Which argument of the traced function a tracer stands for, and its value where known."""

    __slots__ = ("index", "name", "value")

    def __init__(self, index: int, name: str, value: Any = None):
        self.index = index
        self.name = name
        self.value = value

    @property
    def sources(self) -> tuple[Argument, ...]:
        return (self,)


class Derived:
    """A number computed from arguments that are Python's ints: `n - 1`, `n // 2`.

    Its value is known as theirs are, and fixes all of them where the trace needs it.
    """

    __slots__ = ("sources", "value")

    def __init__(self, sources: tuple[Argument, ...], value: int | float):
        self.sources = sources
        self.value = value


Sources = tuple[Argument, ...]

_ON_KNOWN: dict[Any, Callable[[Any, Any], Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.floor_divide: operator.floordiv,
    np.true_divide: operator.truediv,
    np.remainder: operator.mod,
    np.power: lambda x, y: x**y if 0 <= y <= 64 else None,
    np.negative: lambda x, _: -x,
}
"""The operators under which a number that arguments fix stays one."""


def derived(ufunc: Any, left: tuple[Any, Sources], right: tuple[Any, Sources]) -> Derived | None:
    """What the arguments make of the result of an operator, if they fix both its operands.

    Each operand is given as its value, None where it is not known, and its sources.
    """
    sources = {source.index: source for _, own in (left, right) for source in own}
    if ufunc not in _ON_KNOWN or not sources or left[0] is None or right[0] is None:
        return None
    try:
        value = _ON_KNOWN[ufunc](left[0], right[0])
    except (ArithmeticError, ValueError):
        return None
    if value is None or abs(value) >= 2**53:
        return None
    return Derived(tuple(sources.values()), value)
