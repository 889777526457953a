"""Whether two graphs are the same but for the identity and the hints of their variables."""

from __future__ import annotations

from typing import Any

from graphc.ir import Atom, Eqn, Graph, Lit, Var

Twins = dict[Var, Var]
"""The variable of the second graph that stands for each variable of the first."""


def structurally_equal(a: Graph, b: Graph) -> bool:
    """Same ops, wiring, types, attributes, literals (bit for bit), locs, updates and graph names.

    Held graphs are compared in the same way.  Not compared: variable hints, and the order in which
    attributes and updates are listed.
    """
    return _same_graph(a, b, {})


# Plain loops rather than all(...): a generator would add a stack frame for each level of nesting.


def _same_graph(a: Graph, b: Graph, twins: Twins) -> bool:
    if a.name != b.name or sorted(a.updates) != sorted(b.updates):
        return False
    if not _bind(a.params, b.params, twins) or len(a.eqns) != len(b.eqns):
        return False
    for x, y in zip(a.eqns, b.eqns, strict=True):
        if not _same_eqn(x, y, twins):
            return False
    return _same_atoms(a.outs, b.outs, twins)


def _same_eqn(a: Eqn, b: Eqn, twins: Twins) -> bool:
    if a.op is not b.op or a.loc != b.loc or a.attrs.keys() != b.attrs.keys():
        return False
    if not _same_atoms(a.ins, b.ins, twins):
        return False
    for key, value in a.attrs.items():
        if not _same_value(value, b.attrs[key], twins):
            return False
    return _bind(a.outs, b.outs, twins)


def _bind(a: tuple[Var, ...], b: tuple[Var, ...], twins: Twins) -> bool:
    twins.update(zip(a, b, strict=False))
    # A difference in length is answered here.
    return [var.type for var in a] == [var.type for var in b]


def _same_atoms(a: tuple[Atom, ...], b: tuple[Atom, ...], twins: Twins) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        same = x == y if isinstance(x, Lit) else twins.get(x, x) is y
        if not same:
            return False
    return True


def _same_value(a: Any, b: Any, twins: Twins) -> bool:
    """Attribute values, with 1, 1.0 and True told apart, also 0.0 and -0.0, and NaN equal."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Graph):
        return _same_graph(a, b, twins)
    if isinstance(a, float):
        return a.hex() == float(b).hex()
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_same_value(x, y, twins) for x, y in zip(a, b, strict=True))
    return bool(a == b)
