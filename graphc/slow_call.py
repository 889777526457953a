"""The call of a compiled step in Python, for what its native entry point does not take.

The first call, arguments that must be converted or copied, a second thread while the step is busy,
and whatever has to be explained: overlaps, arrays that cannot be written to, failed checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from graphc import errors
from graphc.runtime.step import Step
from graphc.trace import tree
from graphc.trace.scope import user_loc
from graphc.trace.trace import Spec

if TYPE_CHECKING:
    from graphc.specialised import Specialised


def run_slowly(entry: Specialised, leaves: Sequence[Any]) -> Any:
    """The result of the step for leaves of its signature."""
    step = entry.step or entry.ready()
    assert isinstance(step, Step)
    arrays = [
        leaf
        if type(leaf) is np.ndarray and leaf.flags.carray
        else as_array(leaf, param.type.numpy_dtype, name)
        for leaf, param, name in zip(leaves, entry.traced.graph.params, entry.names, strict=True)
    ]
    for i in step.updated:
        expect_writable(leaves[i], entry.names[i])
    if any(a is not b for a, b in zip(arrays, leaves, strict=True)):
        # The step sees the copies, which never overlap.
        expect_apart(step.updated, leaves, entry.names)
    try:
        results = step(arrays, entry.result_types)
    except errors.OverlapError as error:
        raise _named(error, step, entry, leaves) from None
    for i in step.updated.difference(entry.donated):
        if arrays[i] is not leaves[i]:
            leaves[i][...] = arrays[i]
    returned = [
        _as_result(results[r.index])
        if not r.is_argument
        else _as_result(arrays[r.index].view())  # the donated array itself is not used again
        if r.index in entry.donated
        else leaves[r.index]
        for r in entry.traced.results
    ]
    return tree.unflatten(entry.traced.structure, returned)


def as_array(leaf: Any, dtype: np.dtype, name: str) -> np.ndarray:
    """The argument as aligned memory in row-major order: itself, or a copy."""
    if isinstance(leaf, Spec):
        raise errors.ArgumentError(
            "a Spec stands for an array that is not there yet; call the function with arrays",
            user_loc(),
        )
    if isinstance(leaf, np.ndarray) and leaf.flags.c_contiguous and leaf.flags.aligned:
        return leaf
    try:
        return np.array(leaf, dtype, order="C")
    except OverflowError:
        raise errors.IntegerRangeError(
            f"argument {name} is {leaf}, which does not fit {dtype}; pass a float", user_loc()
        ) from None


def _as_result(array: np.ndarray) -> Any:
    return array if array.shape else array[()]


def expect_writable(target: np.ndarray, name: str) -> None:
    if not target.flags.writeable:
        raise errors.ReadOnlyError(
            f"{name} is assigned to, but the array is read-only; pass a copy", user_loc()
        )


def _named(
    error: errors.OverlapError, step: Step, entry: Specialised, leaves: Sequence[Any]
) -> errors.OverlapError:
    """The error with the names of the arguments that overlap."""
    try:
        expect_apart(step.updated, leaves, entry.names)
    except errors.OverlapError as named:
        return named
    return error


def expect_apart(updated: Set[int], leaves: Sequence[Any], names: Sequence[str]) -> None:
    """Arguments that are assigned to share no memory with others."""
    for i, j in _close(leaves):
        one, other = leaves[i], leaves[j]
        if one is other or updated.isdisjoint((i, j)):
            continue
        effort = 100_000  # beyond which they count as overlapping
        if np.may_share_memory(one, other, max_work=effort):  # type: ignore[arg-type]
            i, j = (i, j) if i in updated else (j, i)
            raise errors.OverlapError(
                f"{names[i]} is assigned to in place and shares memory with {names[j]};"
                " pass a copy of one of them",
                user_loc(),
            )


def _close(leaves: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Each two arrays whose extents in memory overlap, by position."""
    extents = [
        (*byte_bounds(leaf), i)
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, np.ndarray) and leaf.size
    ]
    extents.sort()
    open_ones: list[tuple[int, int]] = []  # the ends of arrays that began before, and which
    for start, end, i in extents:
        open_ones = [(last, j) for last, j in open_ones if last > start]
        for _, j in open_ones:
            yield min(i, j), max(i, j)
        open_ones.append((end, i))
