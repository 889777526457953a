"""Common subexpressions: what is computed twice is computed once.

Before:  a = exp(x); b = exp(x); c = add(a, b)
After:   a = exp(x); c = add(a, a)

Sound because a pure op gives equal values for equal inputs and attributes.  Values are numbered:
two values with one number are equal, and a value inside of a branch may have the number of one
outside.  A branch is closed, so it reads nothing from outside; but a check that already passed
outside, or before, passes again and is dropped.  Other effects are never merged.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.build import rename, renamed
from graphc.ir import Atom, Dense, Eqn, Graph, Lit, Var, map_labelled, subgraphs
from graphc.ops.control import held_operands
from graphc.passes.rewrite import COMMUTATIVE


def eliminate_common(graph: Graph) -> Graph:
    """`graph` with equal equations merged into the first of them, which keeps its line."""
    return _eliminate(graph, tuple(object() for _ in graph.params), _Numbering())


def _eliminate(graph: Graph, operands: tuple[Number, ...], numbering: _Numbering) -> Graph:
    """`graph`, whose parameters have the numbers `operands`."""
    line = _Line(numbering, graph, operands)
    kept = [eqn for eqn in map(line.visit, graph.eqns) if eqn is not None]
    # What was checked on this line need not have been checked where the line is not taken.
    numbering.passed.difference_update(line.passed)
    outs = tuple(rename(out, line.names) for out in graph.outs)
    return graph.replace(eqns=tuple(kept), outs=outs)


Number = Hashable
"""Equal values have equal numbers.  The number of a literal is itself."""


@dataclass
class _Numbering:
    """What holds in all graphs of a walk."""

    known: dict[Hashable, Number] = field(default_factory=dict)
    """The number of each pure expression, written in numbers."""
    numbers: dict[Var, Number] = field(default_factory=dict)
    passed: set[Hashable] = field(default_factory=set)
    """The checks before this place, on this line or one around it."""

    def of(self, atom: Atom) -> Number:
        return atom if isinstance(atom, Lit) else self.numbers[atom]

    def key(self, eqn: Eqn) -> Hashable:
        """The expression that `eqn` computes."""
        ins = tuple([atom if atom.__class__ is Lit else self.numbers[atom] for atom in eqn.ins])  # type: ignore[index]
        if eqn.op.name in COMMUTATIVE:
            ins = tuple(sorted(ins, key=hash))
        if not eqn.attrs:
            return (eqn.op, ins)
        attrs = tuple((name, _attr_key(value)) for name, value in sorted(eqn.attrs.items()))
        return (eqn.op, ins, attrs)


class _Line:
    """A graph's straight line of equations: merges only with what is before on the same line."""

    def __init__(self, numbering: _Numbering, graph: Graph, operands: tuple[Number, ...]):
        self.numbering = numbering
        self.names: dict[Var, Atom] = {}
        self.made: dict[Number, Var] = {}
        self.passed: list[Hashable] = []
        for param, number in zip(graph.params, operands, strict=True):
            self.bind(param, number)

    def bind(self, var: Var, number: Number) -> None:
        self.numbering.numbers[var] = number
        if isinstance(number, Lit):
            self.names[var] = number
            return
        first = self.made.setdefault(number, var)
        if first is not var:
            self.names[var] = first

    def visit(self, eqn: Eqn) -> Eqn | None:
        """The equation over the values that stay, or None if it repeats an earlier one."""
        eqn = renamed(eqn, self.names)
        if eqn.attrs and any(True for _ in subgraphs(eqn)):
            enter = map_labelled(lambda label, g: self.enter(g, held_operands(eqn, label)), eqn)
            return self.opaque(enter)
        if eqn.op.effect is None:
            return self.pure(eqn)
        return self.check(eqn) if eqn.op.effect == "check" else self.opaque(eqn)

    def enter(self, graph: Graph, operands: tuple[Atom | None, ...]) -> Graph:
        """A held graph; what changes from iteration to iteration has a number of its own."""
        numbers = [object() if a is None else self.numbering.of(a) for a in operands]
        return _eliminate(graph, tuple(numbers), self.numbering)

    def opaque(self, eqn: Eqn) -> Eqn:
        """An equation that equals no other."""
        for out in eqn.outs:
            self.bind(out, object())
        return eqn

    def pure(self, eqn: Eqn) -> Eqn | None:
        number = self.numbering.known.setdefault(self.numbering.key(eqn), object())
        results = [(number, position) for position in range(len(eqn.outs))]
        is_known = all(result in self.made for result in results)
        for out, result in zip(eqn.outs, results, strict=True):
            self.bind(out, result)
        return None if is_known else eqn

    def check(self, eqn: Eqn) -> Eqn | None:
        """A check that has passed before passes again."""
        key = self.numbering.key(eqn)
        if key in self.numbering.passed:
            return None
        self.numbering.passed.add(key)
        self.passed.append(key)
        return eqn


def _attr_key(value: Any) -> Hashable:
    """An attribute as a key that tells 0.0 from -0.0 and finds NaN equal to itself."""
    if isinstance(value, Dense):
        return _DenseKey(value)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, tuple):
        return tuple(map(_attr_key, value))
    return (type(value), value)


class _DenseKey:
    """An array constant as a key: a checksum to hash, all of the bytes only to compare."""

    __slots__ = ("checksum", "dense")

    def __init__(self, dense: Dense):
        self.dense = dense
        self.checksum = zlib.crc32(dense.array.reshape(-1).view(np.uint8).data)

    def __hash__(self) -> int:
        return hash((self.checksum, self.dense.type))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _DenseKey):
            return False
        return self.dense is other.dense or self.dense == other.dense
