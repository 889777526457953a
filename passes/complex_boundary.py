"""Transformations of graphs with complex values, by way of the graphs of their parts.

A transformation knows real values.  It gets the graph of pairs, and what it makes is given complex
parameters and results again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.build import Builder, Value
from graphc.ir import COMPLEXES, Graph, Type
from graphc.ops import complexes, shape
from graphc.passes.complex_pairs import complex_to_pairs, conjugate, part_types


def places(types: Sequence[Type], chosen: Sequence[int]) -> list[int]:
    """The positions, in the graph of pairs, of the values at the positions `chosen`."""
    first, at = [], 0
    for type in types:
        first.append(at)
        at += len(part_types(type))
    return [first[i] + part for i in chosen for part in range(len(part_types(types[i])))]


def joined(
    graph: Graph,
    ins: Sequence[Type],
    outs: Sequence[Type],
    cotangents: tuple[int, int],
    updates: tuple[tuple[int, int], ...] = (),
) -> Graph:
    """A graph of pairs as one that takes values of the types `ins` and gives those of `outs`.

    `cotangents` are the positions of the first parameter and of the first result that are one.
    """
    builder = Builder(graph.name)
    args: list[Value] = []
    for i, type in enumerate(ins):
        parts = _parts(builder.param(type, graph.params[len(args)].hint))
        args += conjugate(parts) if i >= cotangents[0] else parts
    made = iter(builder.inline(graph, [arg.atom for arg in args]))
    values = []
    for i, type in enumerate(outs):
        parts = [builder.value(next(made)) for _ in part_types(type)]
        values.append(_whole(conjugate(parts) if i >= cotangents[1] else parts, type))
    return builder.finish([value.atom for value in values], updates)


def _parts(value: Value) -> list[Value]:
    if value.dtype not in COMPLEXES:
        return [value]
    return [complexes.real(value), complexes.imag(value)]


def _whole(parts: Sequence[Value], type: Type) -> Value:
    if len(parts) == 1:
        return parts[0]
    return complexes.complex(*(_spread(part, type) for part in parts))


def _spread(part: Value, type: Type) -> Value:
    """A part of a batched result that is the same for all examples."""
    if part.shape == type.shape:
        return part
    return shape.broadcast(part, shape=type.shape, axes=tuple(range(1, len(type.shape))))


Gradient = Callable[[Graph, Sequence[int], int], Graph]
Pullback = Callable[[Graph, Sequence[int], Sequence[int]], Graph]
Pushforward = Callable[[Graph, Sequence[int]], Graph]
Batch = Callable[[Graph, Sequence[bool]], tuple[Graph, tuple[bool, ...]]]


def complex_gradient(take: Gradient, graph: Graph, wrt: Sequence[int], result: int) -> Graph:
    """The gradient of the result, or of its real part if it is complex."""
    first = places(graph.out_types, [result])[0]
    made = take(complex_to_pairs(graph), places(graph.in_types, wrt), first)
    outs = [*graph.out_types, *(graph.in_types[i] for i in wrt)]
    return joined(made, graph.in_types, outs, (len(graph.params), len(graph.outs)), graph.updates)


def complex_pullback(
    take: Pullback, graph: Graph, wrt: Sequence[int], results: Sequence[int]
) -> Graph:
    made = take(
        complex_to_pairs(graph), places(graph.in_types, wrt), places(graph.out_types, results)
    )
    ins = [*graph.in_types, *(graph.out_types[i] for i in results)]
    return joined(made, ins, [graph.in_types[i] for i in wrt], (len(graph.params), 0))


def complex_pushforward(
    take: Pushforward, graph: Graph, wrt: Sequence[int], results: Sequence[int]
) -> Graph:
    """`results` are those that have tangents."""
    made = take(complex_to_pairs(graph), places(graph.in_types, wrt))
    ins = [*graph.in_types, *(graph.in_types[i] for i in wrt)]
    outs = [*graph.out_types, *(graph.out_types[i] for i in results)]
    return joined(made, ins, outs, (len(ins), len(outs)), graph.updates)


def complex_batch(
    take: Batch, graph: Graph, batched: Sequence[bool], size: int
) -> tuple[Graph, tuple[bool, ...]]:
    """A complex result has the axis of the batch if one of its parts does."""
    flags = [
        flag for flag, type in zip(batched, graph.in_types, strict=True) for _ in part_types(type)
    ]
    made, found = take(complex_to_pairs(graph), flags)
    rest = iter(found)
    outs = [max([next(rest) for _ in part_types(type)]) for type in graph.out_types]
    ins = _batched_types(graph.in_types, batched, size)
    types = _batched_types(graph.out_types, outs, size)
    whole = joined(made, ins, types, (len(ins), len(outs)), graph.updates)
    return whole, tuple(outs)


def _batched_types(types: Sequence[Type], flags: Sequence[bool], size: int) -> list[Type]:
    return [
        type.with_shape((size, *type.shape)) if flag else type
        for type, flag in zip(types, flags, strict=True)
    ]
