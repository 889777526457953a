"""A graph in a few bytes: two graphs with the same fingerprint compute the same.

What does not change a value is left out: the user's lines, the names of variables and of graphs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from graphc.dims import Dim
from graphc.ir import OPS, Atom, Dense, Eqn, Graph, Lit, Type, Var
from graphc.ops import effects, external


def fingerprint(graph: Graph) -> str | None:
    """The fingerprint, None for a graph that holds what another process may not have, such as a
    function of the user's, and for one with named sizes.

    >>> from graphc.ir import Graph, Type, Var
    >>> x, y = Var(Type("f32", (3,))), Var(Type("f32", (3,)))
    >>> fingerprint(Graph("f", (x,), (), (x,))) == fingerprint(Graph("g", (y,), (), (y,)))
    True
    """
    writer = _Writer()
    try:
        writer.graph(graph)
    except _Foreign:
        return None
    return hashlib.sha256("\n".join(writer.words).encode("utf-8", "surrogatepass")).hexdigest()


BOUND = effects.FOREIGN | external.EXTERNAL
"""Ops that call functions of this process."""


class _Foreign(Exception):
    """Something that means nothing outside of this process."""


class _Writer:
    """The parts of a graph as words, each of which says where it ends.

    Variables are numbered as they are defined; each list of parts begins with how many there are.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.numbers: dict[Var, str] = {}
        self.types: dict[Type, str] = {}

    def graph(self, graph: Graph) -> None:
        self.words.append(f"graph {len(graph.eqns)} {sorted(graph.updates)}")
        self.define(graph.params)
        for eqn in graph.eqns:
            self.eqn(eqn)
        self.words.append(self.atoms(graph.outs))

    def eqn(self, eqn: Eqn) -> None:
        op = eqn.op
        if OPS.get(op.name) is not op or op in BOUND:
            raise _Foreign
        self.words.append(f"{op.name} {self.atoms(eqn.ins)} {len(eqn.attrs)}")
        for name, value in eqn.attrs.items():
            self.words.append(repr(name))
            self.value(value)
        self.define(eqn.outs)

    def define(self, variables: tuple[Var, ...]) -> None:
        types = []
        for var in variables:
            self.numbers[var] = f"%{len(self.numbers)}"
            types.append(self.type(var.type))
        self.words.append(" ".join(types))

    def atoms(self, atoms: Iterable[Atom]) -> str:
        return f"({' '.join(map(self.atom, atoms))})"

    def atom(self, atom: Atom) -> str:
        if isinstance(atom, Lit):
            value = atom.value.hex() if isinstance(atom.value, float) else repr(atom.value)
            return f"{value}:{self.type(atom.type)}"
        return self.numbers[atom]

    def type(self, type: Type) -> str:
        found = self.types.get(type)
        if found is None:
            if any(isinstance(size, Dim) for size in type.shape):
                raise _Foreign
            found = self.types[type] = str(type)
        return found

    def value(self, value: Any) -> None:
        """An attribute; only what is known to be all that it says."""
        if isinstance(value, Graph):
            self.graph(value)
        elif isinstance(value, tuple):
            self.words.append(f"tuple {len(value)}")
            for part in value:
                self.value(part)
        elif isinstance(value, Dense):
            digest = hashlib.sha256(value.array.tobytes()).hexdigest()
            self.words.append(f"{self.type(value.type)} {digest}")
        elif isinstance(value, Type):
            self.words.append(self.type(value))
        elif isinstance(value, float):
            self.words.append(value.hex())
        elif value is None or type(value) in (bool, int, str):
            self.words.append(repr(value))
        else:
            raise _Foreign
