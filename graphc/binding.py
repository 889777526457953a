"""Numbers in the place of symbolic sizes, and which numbers: read off the shapes of arguments."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphc import errors
from graphc.build import literal
from graphc.dims import Dim, Size, substitute, symbols_of
from graphc.ir import OPS, Atom, Eqn, Graph, Lit, Type, Var, all_eqns, size_text
from graphc.polynomials import SMALLEST
from graphc.size_text import parse_size


def symbol_names(graph: Graph) -> tuple[str, ...]:
    """The names of the symbolic sizes of a graph, each once, in order."""
    return tuple(examples(graph))


def is_symbolic(graph: Graph) -> bool:
    """Whether a parameter has a symbolic size."""
    return any(isinstance(size, Dim) for param in graph.params for size in param.type.shape)


def examples(graph: Graph) -> dict[str, int]:
    """The symbolic sizes of a graph by name, in order, each with its example."""
    return {symbol.name: symbol.example for symbol in symbols_of(_sizes(graph))}


def _sizes(graph: Graph) -> Iterator[Size]:
    """Every size in the types of a graph and in its attributes."""
    for atom in (*graph.params, *graph.outs):
        yield from atom.type.shape
    for eqn in all_eqns(graph):
        for atom in (*eqn.ins, *eqn.outs):
            yield from atom.type.shape
        for value in eqn.attrs.values():
            yield from _sizes_in(value)


def _sizes_in(value: Any) -> Iterator[Size]:
    if isinstance(value, Dim):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _sizes_in(item)
    elif isinstance(value, Graph):
        for param in value.params:
            yield from param.type.shape


# ---- reading sizes off shapes --------------------------------------------------------------------


def read_sizes(types: Sequence[Type], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The number that each symbolic size of some types is for arrays of these shapes.

    Raises `errors.ShapeError` for a shape that a type does not have for any sizes, for two shapes
    that do not agree, and for a size that occurs in no shape by which it could be told.
    """
    sizes: dict[str, int] = {}
    left = list(_pairs(types, shapes))
    while left:
        unsolved = [pair for pair in left if not _settle(*pair, sizes)]
        if len(unsolved) == len(left):
            raise errors.ShapeError(
                f"the sizes in {left[0][1]} cannot be told from the shapes of the arguments; give"
                " an argument an axis of just that size"
            )
        left = unsolved
    return sizes


def _pairs(
    types: Sequence[Type], shapes: Sequence[tuple[int, ...]]
) -> Iterator[tuple[int, Type, tuple[int, ...], Size, int]]:
    for i, (type, shape) in enumerate(zip(types, shapes, strict=True)):
        if len(shape) != type.rank:
            raise _misfit(i, shape, type)
        for size, number in zip(type.shape, shape, strict=True):
            yield i, type, shape, size, number


def _settle(
    position: int,
    type: Type,
    shape: tuple[int, ...],
    size: Size,
    number: int,
    sizes: dict[str, int],
) -> bool:
    """Check a size whose numbers are known, or solve it for the one that is not; or say neither."""
    known = substitute(size, sizes)
    if not isinstance(known, Dim):
        if known != number:
            known_sizes = ", ".join(f"{name} = {n}" for name, n in sizes.items())
            because = f" with {known_sizes}" if isinstance(size, Dim) else ""
            raise _misfit(position, shape, type, because)
        return True
    terms = dict(known.terms)
    rest = terms.pop((), 0)
    if len(terms) != 1 or len(next(iter(terms))) != 1:
        return False
    ((symbol,), factor), *_ = terms.items()
    value, remainder = divmod(number - rest, factor)
    if remainder or value < SMALLEST:
        because = f"; {symbol} is a whole number from {SMALLEST} upwards"
        raise _misfit(position, shape, type, because)
    sizes[symbol.name] = value
    return True


def _misfit(
    position: int, shape: tuple[int, ...], type: Type, because: str = ""
) -> errors.ShapeError:
    wanted = "(" + ", ".join(map(size_text, type.shape)) + ("," * (type.rank == 1)) + ")"
    return errors.ShapeError(f"argument {position} has shape {shape}, not {wanted}{because}")


# ---- binding -------------------------------------------------------------------------------------


def bind(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """`graph` with numbers in the place of symbolic sizes; see `Graph.bind`."""
    names = symbol_names(graph)
    for name, value in sizes.items():
        if name not in names:
            known = f"its sizes are {', '.join(names)}" if names else "all of its sizes are fixed"
            raise errors.ShapeError(f"{graph.name} has no size {name}; {known}")
        if type(value) is not int or value < SMALLEST:
            raise errors.ShapeError(
                f"{name}={value!r}: a named size is an int from {SMALLEST} upwards; trace the"
                " function anew for arrays of a smaller size"
            )
    from graphc.verify import verify  # here, because it needs the ops, which need the IR

    bound = _bound(graph, _Numbers(sizes))
    verify(bound)
    return bound


class _Numbers(dict[str, int]):
    """Sizes, and the types that were bound to them: a graph has few, again and again."""

    def __init__(self, sizes: Mapping[str, int]):
        super().__init__(sizes)
        self.types: dict[Type, Type] = {}

    def type(self, type: Type) -> Type:
        """The type with numbers in the place of symbolic sizes."""
        known = self.types.get(type)
        if known is None:
            shape = tuple(substitute(size, self) for size in type.shape)
            known = self.types[type] = type.with_shape(shape)
        return known


def _bound(graph: Graph, sizes: _Numbers) -> Graph:
    return _bound_body(graph, sizes, {}, _as_number)


def _bound_body(
    graph: Graph,
    sizes: _Numbers,
    names: dict[Var, Atom],
    as_number: Callable[[Eqn, _Numbers, dict[Var, Atom]], Lit | None],
) -> Graph:
    """The graph without the parameters that `names` has numbers for, and the equations that are
    numbers now."""
    free = [param for param in graph.params if param not in names]
    params = tuple(_bound_var(param, sizes, names) for param in free)
    eqns = []
    for eqn in graph.eqns:
        number = as_number(eqn, sizes, names)
        if number is None:
            eqns.append(_bound_eqn(eqn, sizes, names))
        else:
            names[eqn.out] = number
    outs = tuple(_bound_atom(atom, sizes, names) for atom in graph.outs)
    return graph.replace(params=params, eqns=tuple(eqns), outs=outs)


def _as_number(eqn: Eqn, sizes: _Numbers, names: dict[Var, Atom]) -> Lit | None:
    """A size that is known now, in the type in which it is used; of other equations None."""
    if eqn.op is OPS["dimension"]:
        return _known_size(eqn, sizes, names)
    given = names.get(eqn.ins[0]) if len(eqn.ins) == 1 and isinstance(eqn.ins[0], Var) else None
    if not isinstance(given, Lit) or eqn.op not in (OPS["cast"], OPS["broadcast"]):
        return None
    return literal(given.value, sizes.type(eqn.out.type))


def _known_size(eqn: Eqn, sizes: _Numbers, names: dict[Var, Atom]) -> Lit | None:
    known = substitute(eqn.attrs["size"], sizes) if eqn.op is OPS["dimension"] else None
    return Lit(known, Type("i64")) if isinstance(known, int) else None


def _bound_eqn(eqn: Eqn, sizes: _Numbers, names: dict[Var, Atom]) -> Eqn:
    ins = tuple(_bound_atom(atom, sizes, names) for atom in eqn.ins)
    outs = tuple(_bound_var(out, sizes, names) for out in eqn.outs)
    attrs = {name: _bound_value(value, sizes) for name, value in eqn.attrs.items()}
    if eqn.op is OPS["fused"]:
        body: Graph = eqn.attrs["body"]
        pairs = zip(body.params, ins, strict=True)
        known: dict[Var, Atom] = {param: atom for param, atom in pairs if isinstance(atom, Lit)}
        attrs["body"] = _bound_body(body, sizes, known, _known_size)
        if len(attrs.get("maps", ())) == len(body.eqns):  # one for each equation
            kept = (_known_size(inner, sizes, {}) is None for inner in body.eqns)
            attrs["maps"] = tuple(itertools.compress(attrs["maps"], kept))
        ins = tuple(atom for atom in ins if not isinstance(atom, Lit))
    return eqn.replace(ins=ins, outs=outs, attrs=MappingProxyType(attrs))


def _bound_value(value: Any, sizes: _Numbers) -> Any:
    if isinstance(value, Graph):
        return _bound(value, sizes)
    if isinstance(value, tuple):
        return tuple(_bound_value(item, sizes) for item in value)
    if isinstance(value, str):
        return bound_text(value, sizes)
    return substitute(value, sizes) if isinstance(value, Dim) else value


_SIZE_IN_TEXT = re.compile(r"\{size:([^{}]*)\}")
"""A symbolic size in the message of a check."""


def bound_text(text: str, sizes: Mapping[str, int]) -> str:
    """The message of a check with the numbers of the sizes in it."""
    return _SIZE_IN_TEXT.sub(lambda found: _known_text(found, sizes), text)


def _known_text(found: re.Match[str], sizes: Mapping[str, int]) -> str:
    size = substitute(parse_size(found[1]), sizes)
    return f"{{size:{size_text(size)}}}" if isinstance(size, Dim) else str(size)


def _bound_var(var: Var, sizes: _Numbers, names: dict[Var, Atom]) -> Var:
    names[var] = bound = Var(sizes.type(var.type), var.hint)
    return bound


def _bound_atom(atom: Atom, sizes: _Numbers, names: dict[Var, Atom]) -> Atom:
    if isinstance(atom, Lit):
        return Lit(atom.value, sizes.type(atom.type))
    return names[atom]
