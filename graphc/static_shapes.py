"""`unique` and `nonzero` with a number of results that is given: their shape is known.

They are NumPy code, so that they run in a trace and outside of one.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace.scope import is_tracing, user_loc
from graphc.trace.tracer import Tracer, lift


def unique(
    x: Any,
    size: int,
    fill_value: Any = None,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> Any:
    """The different elements of an array in order, `size` of them: `np.unique` of a known shape.

    x           an array of numbers
    size        how many results there are; fewer different elements are filled up
    fill_value  with what: the smallest element, if it is not given
    return_...  besides, as in NumPy: where each occurs first, which of them each element of `x` is,
                and how often each occurs.  Filled-up ones have the index and the count 0.

    Raises ValueError when it runs, if there are more different elements than `size`.

    >>> import numpy as np, graphc as gc
    >>> gc.unique(np.array([3, 1, 3, 2]), 4, fill_value=-1, return_counts=True)
    (array([ 1,  2,  3, -1]), array([1, 1, 2, 0]))
    """
    count = operator.index(size)
    values = np.ravel(_array(x))
    if not values.shape[0]:
        raise errors.ShapeError("unique: an array that is not empty", user_loc())
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    differs = ordered[1:] != ordered[:-1]
    if np.dtype(values.dtype).kind == "f":  # NaN counts as one value
        differs = np.logical_and(
            differs, np.logical_not(np.logical_and(np.isnan(ordered[1:]), np.isnan(ordered[:-1])))
        )
    rank = np.concatenate([np.zeros(1, np.int64), np.cumsum(differs)])
    found = rank[-1] + 1
    _expect(found, count, "unique: {value} different elements, more than size=" + str(count))
    places = np.arange(count)
    first = np.minimum(np.searchsorted(rank, places), values.shape[0] - 1)
    is_filled = places >= found
    fill = ordered[0] if fill_value is None else fill_value
    results = [np.where(is_filled, fill, ordered[first]).astype(values.dtype)]
    if return_index:
        results.append(np.where(is_filled, 0, order[first]))
    if return_inverse:
        inverse = np.zeros_like(rank)
        inverse[order] = rank
        results.append(np.reshape(inverse, np.shape(x)))
    if return_counts:
        ends = np.searchsorted(rank, places, side="right")
        results.append(np.where(is_filled, 0, ends - first))
    return results[0] if len(results) == 1 else tuple(results)


def nonzero(x: Any, size: int, fill_value: int = 0) -> tuple[Any, ...]:
    """The positions of the true elements along each axis: `np.nonzero` of a known shape.

    x           an array of truth values or numbers
    size        how many positions there are; fewer are filled up
    fill_value  with what

    Raises ValueError when it runs, if more elements than `size` are true.

    >>> import numpy as np, graphc as gc
    >>> gc.nonzero(np.array([0.0, 2.0, 0.0, 3.0]), 3, fill_value=-1)
    (array([ 1,  3, -1]),)
    """
    count = operator.index(size)
    array = _array(x)
    marks = np.ravel(array) != 0
    total = np.cumsum(marks)
    found = total[-1] if marks.shape[0] else lift(0)
    _expect(found, count, "nonzero: {value} true elements, more than size=" + str(count))
    places = np.arange(count)
    flat = np.searchsorted(total, places + 1)
    is_filled = places >= found
    result = []
    for extent in reversed(array.shape):
        result.append(np.where(is_filled, fill_value, flat % extent))
        flat = flat // extent
    return tuple(reversed(result))


def _array(x: Any) -> Any:
    return x if isinstance(x, Tracer) else np.asarray(x)


def _expect(found: Any, count: int, message: str) -> None:
    """`found <= count`, now or when the step runs."""
    if is_tracing() and isinstance(found, Tracer):
        value = found.value()
        inside = ew.less_equal(value, count)
        index_ops.check(inside, value, error="ValueError", message=message)
    elif found > count:
        raise ValueError(message.format(value=found))
