"""How a compiled function is called, as its native entry point wants to know it.

The entry point walks the common containers itself.  Where a function takes or returns another one,
it deals in leaves, and Python takes the arguments apart (`gathers`) or puts the results together
(`scatters`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.runtime.calling import (
    Calling,
    Container,
    Fixed,
    Leaf,
    Output,
    Pattern,
    can_build,
    can_match,
)
from graphc.runtime.calling import Result as Returned
from graphc.trace import tree
from graphc.trace.trace import Traced


class NativeCall(NamedTuple):
    """What the entry point takes and gives, and what is left to do before and after it."""

    calling: Calling
    gathers: bool
    scatters: bool


def native_call(
    structure: tree.Structure,
    kinds: Sequence[Any],
    sharing: Sequence[int] | None,
    traced: Traced,
    keeps_gil: bool,
) -> NativeCall | None:
    """The call of a function whose arguments `(args, kwargs)` have this structure.

    `sharing` names for each leaf the first one that is the same array.  Arrays that were different
    may be one at a call: what is written and overlaps is found by the step itself.  None where the
    trace is specialised to the value of something else than a Python int.
    """
    fixed = {i: specialised.value for i, specialised in traced.specialisations}
    if any(type(value) is not int or kinds[i] is not int for i, value in fixed.items()):
        return None
    types = [param.type for param in traced.graph.params]
    first = range(len(kinds)) if sharing is None else sharing
    leaves = [
        Leaf(
            np.ndarray if isinstance(kind, tuple) else kind,
            type,
            fixed.get(i),
            None if first[i] == i else first[i],
        )
        for i, (kind, type) in enumerate(zip(kinds, types, strict=True))
    ]
    assert isinstance(structure, tree.Node)
    args, kwargs = structure.parts
    assert isinstance(args, tree.Node)
    assert isinstance(kwargs, tree.Node)
    gathers = not all(map(_can_match, (*args.parts, *kwargs.parts)))
    scatters = not _can_build(traced.structure)
    results = [Returned(result.index, result.is_argument) for result in traced.results]
    if scatters:
        returns: Output = Container(tuple, tuple(range(len(results))), tuple(results))
    else:
        returns = _output(traced.structure, iter(results))
    types_of_results = traced.result_types
    if gathers:
        return NativeCall(
            Calling(tuple(leaves), (), returns, types_of_results, keeps_gil), gathers, scatters
        )
    rest = iter(leaves)
    positional = tuple([_pattern(part, rest) for part in args.parts])
    keywords = tuple(
        [(key, _pattern(part, rest)) for key, part in zip(kwargs.keys, kwargs.parts, strict=True)]
    )
    return NativeCall(
        Calling(positional, keywords, returns, types_of_results, keeps_gil), gathers, scatters
    )


def _can_match(structure: tree.Structure) -> bool:
    return not isinstance(structure, tree.Node) or (
        can_match(structure.kind, structure.keys) and all(map(_can_match, structure.parts))
    )


def _can_build(structure: tree.Structure) -> bool:
    return not isinstance(structure, tree.Node) or (
        can_build(structure.kind) and all(map(_can_build, structure.parts))
    )


def _pattern(structure: tree.Structure, leaves: Iterator[Leaf]) -> Pattern:
    if isinstance(structure, tree.Leaf):
        return next(leaves)
    if isinstance(structure, tree.Static):
        return Fixed(structure.value)
    parts = tuple([_pattern(part, leaves) for part in structure.parts])
    return Container(structure.kind, structure.keys, parts)


def _output(structure: tree.Structure, results: Iterator[Returned]) -> Output:
    if isinstance(structure, tree.Leaf):
        return next(results)
    if isinstance(structure, tree.Static):
        return Fixed(structure.value)
    parts = tuple([_output(part, results) for part in structure.parts])
    return Container(structure.kind, structure.keys, parts)
