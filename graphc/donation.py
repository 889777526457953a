"""Donated arguments: arrays whose memory a step may use for its results.

A donated argument takes the place of a result of its type, as if the function had assigned that
result to it; the array that the caller gets back is a new one over the same memory.  The donated
array itself must not be used again: passing it once more is an error.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import Var
from graphc.trace.scope import user_loc
from graphc.trace.trace import Result, Traced

DONATED: dict[int, weakref.ref[np.ndarray]] = {}
"""The arrays that were donated and still exist, by identity."""


def is_of(leaf: str, arguments: Sequence[str]) -> bool:
    """Whether a leaf, by its name (`params['w']`), belongs to one of the arguments."""
    return any(leaf == name or leaf.startswith((f"{name}[", f"{name}.")) for name in arguments)


def donated(traced: Traced, leaves: Sequence[int]) -> Traced:
    """The function with the arguments at `leaves` as the memory of results of their type.

    The first result of the type that no other argument takes; an argument for which there is none
    keeps its value.
    """
    graph = traced.graph
    taken = {result for _, result in graph.updates}
    kept = {i for i, _ in graph.updates} | {r.index for r in traced.results if r.is_argument}
    pairs: list[tuple[int, int]] = []
    for i in leaves:
        type = graph.params[i].type
        fits = (
            j
            for j, out in enumerate(graph.outs)
            if j not in taken and out.type == type and isinstance(out, Var)
        )
        j = next(fits, None) if i not in kept else None
        if j is not None:
            taken.add(j)
            pairs.append((i, j))
    home = {j: i for i, j in pairs}
    fresh = [j for j in range(len(graph.outs)) if j not in taken]
    results = tuple(
        r
        if r.is_argument
        else Result(home[r.index], is_argument=True)
        if r.index in home
        else Result(fresh.index(r.index))
        for r in traced.results
    )
    graph = graph.replace(updates=(*graph.updates, *pairs))
    return traced._replace(graph=graph, results=results)


def mark(array: np.ndarray) -> None:
    """Remember that an array was donated, for as long as it exists."""
    key = id(array)
    DONATED[key] = weakref.ref(array, lambda _: DONATED.pop(key, None))


def refuse_donated(leaves: Sequence[Any], names: Callable[[], Sequence[str]]) -> None:
    """Raise `errors.DonatedError` if an argument is an array that was donated before."""
    for i, leaf in enumerate(leaves):
        known = DONATED.get(id(leaf))
        if known is not None and known() is leaf:
            raise errors.DonatedError(
                f"{names()[i]} was donated to a compiled function, which may have written something"
                " else into it; use the array that the function returned, or pass a copy to it",
                user_loc(),
            )
