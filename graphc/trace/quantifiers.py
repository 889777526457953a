"""Python's functions that go through an iterable of traced numbers: `any`, `max`, `sorted`, ...

`any` and `all` stop at the first element that decides; here all are computed, which nobody can
tell as long as computing them has no effect.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import has_effect
from graphc.ops import elementwise as ew
from graphc.trace import numpy_sorting
from graphc.trace.branches import truth
from graphc.trace.numpy_choosing import where
from graphc.trace.promotion import is_python_scalar
from graphc.trace.scope import current, user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift, wrap


def drawn(function: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
    """`traced` where an argument holds a traced value, else `function`.

    A generator's elements are drawn to be looked at; what a key gives is not known beforehand.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        elements = [list(x) if isinstance(x, types.GeneratorType) else x for x in args]
        is_traced = holds_tracer((*elements, *kwargs.values()))
        if is_traced or kwargs.get("key") is not None:
            return traced(*elements, **kwargs)
        return function(*elements, **kwargs)

    return call


def any_(elements: Iterable[Any]) -> Any:
    return _decided(elements, "any", decides=True)


def all_(elements: Iterable[Any]) -> Any:
    return _decided(elements, "all", decides=False)


def contains(value: Any, container: Any) -> Any:
    """`value in container`: whether an element is that object, or equal to it."""
    if isinstance(container, Tracer) or (type(container) is np.ndarray and holds_tracer((value,))):
        return np.any(np.equal(container, value))
    if not isinstance(container, (list, tuple, set, frozenset, dict, range)):
        return value in container
    parts = (value, *(container if isinstance(container, (list, tuple)) else ()))
    if any(isinstance(x, Dim) for x in parts) and not any(isinstance(x, Tracer) for x in parts):
        return value in container  # which asks for the numbers, as the user's own code does
    if not isinstance(value, Tracer) and not holds_tracer(tuple(container)):
        return value in container
    if isinstance(container, range):
        return _in_range(value, container)
    found: Any = False
    for element in container:
        if element is value:
            return True
        if not (_is_number(element) and _is_number(value)):
            continue  # nothing but numbers is equal to a number
        found = np.logical_or(found, wrap(truth(lift(np.equal(element, value)))))
    return found


def _is_number(x: Any) -> bool:
    return isinstance(x, (Tracer, Dim, int, float, complex, np.generic, np.ndarray))


def _in_range(value: Any, numbers: range) -> Any:
    if not numbers:
        return False
    low, high = min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1])
    inside = np.logical_and(value >= low, value <= high)
    return np.logical_and(inside, np.equal(np.remainder(value - low, abs(numbers.step)), 0))


def _decided(elements: Iterable[Any], name: str, decides: bool) -> Any:
    result = None
    count = 0
    for element in elements:
        eqns = current().builder.eqns
        if result is not None and any(has_effect(eqn) for eqn in eqns[count:]):
            raise errors.ConcreteValueError(
                f"{name}() over a generator stops at the first element that decides, and a later"
                " one prints or may fail; use a `for` loop with an `if` and a `break`",
                user_loc(),
            )
        if isinstance(element, Tracer):
            value = truth(element)
            join = ew.logical_or if decides else ew.logical_and
            result = value if result is None else join(result, value)
            count = len(eqns)
        elif bool(element) is decides:
            return decides
    return (not decides) if result is None else wrap(result)


_MISSING = object()


def extreme(name: str, better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """`max` and `min`: of equals the first, and of NaN whatever the comparisons say."""

    def choose(*items: Any, key: Any = None, default: Any = _MISSING) -> Any:
        given = list(items[0]) if len(items) == 1 else list(items)
        if not given and default is not _MISSING:
            return default
        if not given:
            raise ValueError(f"{name}() iterable argument is empty")
        result, rank = given[0], given[0] if key is None else key(given[0])
        for item in given[1:]:
            own_rank = item if key is None else key(item)
            is_better = _compared(better, own_rank, rank)
            result = _chosen(is_better, item, result)
            rank = result if key is None else _chosen(is_better, own_rank, rank)
        return result

    return choose


def _compared(better: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """`better(a, b)`; of tuples, by the first place where they differ."""
    if not (isinstance(a, tuple) and isinstance(b, tuple)):
        return better(a, b)
    result: Any = better(len(a), len(b))
    for x, y in reversed(list(zip(a, b, strict=False))):
        result = _chosen(x == y, result, _compared(better, x, y))
    return result


def _chosen(first: Any, a: Any, b: Any) -> Any:
    """`a if first else b`; of tuples, place by place."""
    if not isinstance(first, Tracer):
        return a if first else b
    if first.ndim:
        raise errors.AmbiguousTruthError(
            f"the truth value of an array {first.type} is ambiguous; use np.maximum or np.minimum",
            user_loc(),
        )
    if type(a) is tuple and type(b) is tuple and len(a) == len(b):
        return tuple(_chosen(first, x, y) for x, y in zip(a, b, strict=True))
    result = where(first, a, b)
    result.weak = all(is_python_scalar(x) or (isinstance(x, Tracer) and x.weak) for x in (a, b))
    return result


def sorted_(elements: Iterable[Any], /, *, key: Any = None, reverse: Any = False) -> list[Any]:
    """A list of the numbers in order; of equal ones nobody can say which is which."""
    numbers = list(elements)
    ranks = numbers if key is None else [key(x) for x in numbers]
    if not holds_tracer((*numbers, *ranks)):
        order = sorted(range(len(numbers)), key=ranks.__getitem__, reverse=reverse)
        return [numbers[i] for i in order]
    if key is not None or any(isinstance(x, (tuple, list)) or np.ndim(x) for x in numbers):
        raise errors.UnsupportedFunctionError(
            "sorted() of traced values takes numbers, without a key; use np.argsort of an array of"
            " the keys, and index with it",
            user_loc(),
        )
    ordered = list(numpy_sorting.sort(np.stack(numbers)))
    return ordered[::-1] if reverse else ordered
