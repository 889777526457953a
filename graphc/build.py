"""Building graphs: a `Builder` collects equations, a `Value` is an atom inside one builder.

Gradient rules, passes and the tracer all emit equations through here, so that every equation's
output types come from the op's own `infer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import (
    COMPLEXES,
    FLOATS,
    INT_RANGES,
    INTS,
    NO_ATTRS,
    OPS,
    PARTS,
    Atom,
    Dense,
    Eqn,
    Graph,
    Lit,
    Loc,
    Op,
    Type,
    Var,
    map_subgraphs,
)
from graphc.rounding import nearest


def literal(value: Any, type: Type) -> Lit:
    """`value` rounded to `type.dtype` and repeated over `type.shape`; integers wrap around."""
    if type.dtype in INTS and isinstance(value, int):
        least, most = INT_RANGES[type.dtype]
        return Lit((value - least) % (most - least + 1) + least, type)
    if type.dtype in FLOATS:
        return Lit(nearest(float(value), type.dtype), type)
    return Lit(type.numpy_dtype.type(value).item(), type)


def _parts(number: complex) -> tuple[float, float]:
    whole = complex(number)
    return whole.real, whole.imag


class Value:
    """An atom inside a builder, with arithmetic: the language in which gradient rules are written.

    Operands have equal dtype and shape; a Python number is a literal of the other's type.
    NumPy's promotion and broadcasting belong to the tracer, not to this class.
    """

    __slots__ = ("atom", "builder")
    __array_ufunc__ = None

    def __init__(self, builder: Builder, atom: Atom):
        self.builder = builder
        self.atom = atom

    @property
    def type(self) -> Type:
        return self.atom.type

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.atom.type.shape

    @property
    def dtype(self) -> str:
        return self.atom.type.dtype

    def literal(self, number: bool | int | float | complex | Dim) -> Value:
        """`number` with this value's dtype and shape."""
        return self.builder.literal(number, self.type)

    def __add__(self, other: Any) -> Value:
        return OPS["add"](self, other)

    def __radd__(self, other: Any) -> Value:
        return OPS["add"](other, self)

    def __sub__(self, other: Any) -> Value:
        return OPS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Value:
        return OPS["subtract"](other, self)

    def __mul__(self, other: Any) -> Value:
        return OPS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Value:
        return OPS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Value:
        return OPS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return OPS["divide"](other, self)

    def __neg__(self) -> Value:
        return OPS["negative"](self)


class Builder:
    """A graph under construction."""

    def __init__(self, name: str = "main"):
        self.name = name
        self.params: list[Var] = []
        self.eqns: list[Eqn] = []
        self.loc: Loc | None = None

    def param(self, type: Type, hint: str = "") -> Value:
        var = Var(type, hint)
        self.params.append(var)
        return Value(self, var)

    def literal(self, number: bool | int | float | complex | Dim, type: Type) -> Value:
        """A number with a type: that of a symbolic size is read when the step runs, a complex one
        is put together of its parts."""
        if type.dtype in COMPLEXES:
            part = type.with_dtype(PARTS[type.dtype])
            parts = (number, 0.0) if isinstance(number, Dim) else _parts(number)
            return OPS["complex"](*(self.literal(own, part) for own in parts))
        if not isinstance(number, Dim):
            return Value(self, literal(number, type))
        (size,) = self.emit(OPS["dimension"], (), {"size": number})
        if type.dtype != size.dtype:
            size = OPS["cast"](size, dtype=type.dtype)
        return OPS["broadcast"](size, shape=type.shape, axes=()) if type.shape else size

    def constant(self, array: np.ndarray) -> Value:
        """An array as a value; an array of equal elements becomes a literal."""
        if array.dtype.kind == "c":
            return OPS["complex"](self.constant(array.real), self.constant(array.imag))
        dense = Dense(array)
        if dense.array.size and _is_uniform(dense.array):
            return Value(self, Lit(dense.array.flat[0].item(), dense.type))
        return self.emit(OPS["constant"], (), {"value": dense})[0]

    def value(self, atom: Atom) -> Value:
        return Value(self, atom)

    def apply(self, op: Op, ins: Sequence[Any], attrs: dict[str, Any]) -> Value:
        """Emit `op`, which has one output; of an op that has none, the result is its last operand.

        A number becomes a literal of the last value's type: in `where(p, x, 0.0)` that of x.
        """
        like = next(value for value in reversed(ins) if isinstance(value, Value))
        values = [v if isinstance(v, Value) else like.literal(v) for v in ins]
        outs = self.emit(op, tuple(v.atom for v in values), attrs)
        return outs[0] if outs else values[-1]

    def emit(
        self, op: Op, ins: Sequence[Atom], attrs: dict[str, Any] | None = None, hint: str = ""
    ) -> tuple[Value, ...]:
        """Append one equation with the output types that the op infers."""
        attrs = attrs or {}
        types = op.infer(*(atom.type for atom in ins), **attrs)
        outs = tuple(Var(type, hint) for type in types)
        frozen = MappingProxyType(dict(attrs)) if attrs else NO_ATTRS
        self.eqns.append(Eqn(op, tuple(ins), outs, frozen, self.loc))
        return tuple(Value(self, out) for out in outs)

    def inline(self, graph: Graph, args: Sequence[Atom]) -> tuple[Atom, ...]:
        """Copy the equations of `graph` with its parameters replaced by `args`; its results."""
        if len(args) != len(graph.params):
            raise errors.ArityError(
                f"{graph.name} takes {len(graph.params)} values, not {len(args)}"
            )
        names: dict[Var, Atom] = dict(zip(graph.params, args, strict=True))
        for eqn in graph.eqns:
            self.copy(eqn, names)
        return tuple(rename(atom, names) for atom in graph.outs)

    def copy(self, eqn: Eqn, names: dict[Var, Atom]) -> None:
        """Append `eqn` with fresh outputs, its inputs read through `names`, which is extended."""
        outs = tuple(Var(out.type, out.hint) for out in eqn.outs)
        names.update(zip(eqn.outs, outs, strict=True))
        ins = tuple([rename(atom, names) for atom in eqn.ins])
        attrs = map_subgraphs(fresh, eqn).attrs
        self.eqns.append(Eqn(eqn.op, ins, outs, attrs, eqn.loc))

    def finish(self, outs: Sequence[Atom], updates: Sequence[tuple[int, int]] = ()) -> Graph:
        return Graph(self.name, tuple(self.params), tuple(self.eqns), tuple(outs), tuple(updates))


def rename(atom: Atom, names: Mapping[Var, Atom]) -> Atom:
    """What `atom` is called after a renaming of variables."""
    return names.get(atom, atom) if isinstance(atom, Var) else atom


def renamed(eqn: Eqn, names: Mapping[Var, Atom]) -> Eqn:
    """The equation after a renaming of variables: itself, if it reads none of them."""
    ins = eqn.ins
    for atom in ins:
        if atom.__class__ is Var and atom in names:
            return eqn.of(tuple([rename(atom, names) for atom in ins]))
    return eqn


def fresh(graph: Graph) -> Graph:
    """A copy of `graph` with new variables, so that it may stand beside the original."""
    builder = Builder(graph.name)
    params = [builder.param(param.type, param.hint).atom for param in graph.params]
    outs = builder.inline(graph, params)
    return builder.finish(outs, graph.updates)


def _is_uniform(array: np.ndarray) -> bool:
    flat = array.reshape(-1).view(f"V{array.itemsize}")
    return flat.size == 1 or bool((flat == flat[0]).all())


def zero_of(dtype: str) -> bool | int | float:
    """The number zero as a Python value of the kind that `dtype` holds."""
    if dtype == "bool":
        return False
    return 0 if dtype in INTS else 0.0
