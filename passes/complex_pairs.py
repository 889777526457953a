"""Complex values as pairs of real ones: two arrays, of the real parts and of the imaginary parts.

Before:  %w: c128[8] = multiply(%z, %z)
After:   re = a * a - b * b;  im = a * b + b * a        of the parts a and b of z

No pass, no gradient rule and no kernel beyond this one knows complex values.  Inside of a graph a
pair is two values.  Where a whole graph begins and ends, complex arrays lie in memory as NumPy has
them, the parts of each number side by side: a parameter is one real array with one more axis, of
size 2, of which the parts are views.

Sound because the parts of each result are computed by the formulas that define it
(`complex_formulas.py`), and every other operation does to both parts what it does to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import errors
from graphc.build import Builder, Value
from graphc.ir import COMPLEXES, PARTS, Atom, Eqn, Graph, Type, Var, all_eqns, subgraphs
from graphc.ops import control, shape
from graphc.passes.complex_formulas import OF_EACH_PART, RULES


def is_complex(graph: Graph) -> bool:
    """Whether any value of the graph is complex."""
    return _has_complex((*graph.params, *graph.outs)) or any(
        _has_complex(eqn.outs) or _has_complex(eqn.ins) for eqn in all_eqns(graph)
    )


def _has_complex(atoms: Sequence[Atom]) -> bool:
    return any(atom.type.dtype in COMPLEXES for atom in atoms)


def split_types(types: Sequence[Type]) -> list[Type]:
    """The types of the values that stand for values of `types` inside of a graph."""
    return [part for type in types for part in part_types(type)]


def part_types(type: Type) -> tuple[Type, ...]:
    return (type.with_dtype(PARTS[type.dtype]),) * 2 if type.dtype in COMPLEXES else (type,)


def memory_type(type: Type) -> Type:
    """The type of a parameter or result as a step sees it."""
    return Type(PARTS[type.dtype], (*type.shape, 2)) if type.dtype in COMPLEXES else type


def complex_to_memory(graph: Graph) -> Graph:
    """A whole graph without complex values; its complex parameters and results gain an axis."""
    if not is_complex(graph):
        return graph
    builder = Builder(graph.name)
    args: list[Atom] = []
    for param in graph.params:
        value = builder.param(memory_type(param.type), param.hint)
        if param.type.dtype in COMPLEXES:
            args += [_part_of_memory(value, i).atom for i in range(2)]
        else:
            args.append(value.atom)
    made = iter(builder.inline(complex_to_pairs(graph), args))
    outs = []
    for out in graph.outs:
        parts = [builder.value(next(made)) for _ in part_types(out.type)]
        whole = parts[0] if len(parts) == 1 else _memory_of(parts)
        outs.append(whole.atom)
    return builder.finish(outs, graph.updates)


def _part_of_memory(memory: Value, part: int) -> Value:
    inner = memory.shape[:-1]
    starts = (*(0 for _ in inner), part)
    steps = (1,) * len(memory.shape)
    picked = shape.slice(memory, starts=starts, sizes=(*inner, 1), steps=steps)
    return shape.reshape(picked, shape=inner)


def _memory_of(parts: Sequence[Value]) -> Value:
    """The parts side by side."""
    lifted = [shape.reshape(part, shape=(*part.shape, 1)) for part in parts]
    return shape.concatenate(*lifted, axis=len(parts[0].shape))


def complex_to_pairs(graph: Graph, from_cotangent: int | None = None) -> Graph:
    """The graph with two parameters and results for each complex one; without updates.

    from_cotangent  of a graph that takes cotangents, the first parameter that is one; all its
                    results are cotangents, too
    """
    at = _Splitter(graph.name)
    for i, param in enumerate(graph.params):
        at.take(param, is_cotangent=from_cotangent is not None and i >= from_cotangent)
    for eqn in graph.eqns:
        at.visit(eqn)
    outs = [
        value.atom
        for out in graph.outs
        for value in at.given(out, is_cotangent=from_cotangent is not None)
    ]
    return at.builder.finish(outs)


class _Splitter:
    """A graph under construction, and what stands in it for the values of the old one."""

    def __init__(self, name: str):
        self.builder = Builder(name)
        self.known: dict[Var, tuple[Value, ...]] = {}
        """A variable -> its parts, or the one value of a real one."""

    def take(self, param: Var, is_cotangent: bool) -> None:
        parts = [self.builder.param(type, param.hint) for type in part_types(param.type)]
        self.known[param] = conjugate(parts) if is_cotangent else tuple(parts)

    def given(self, atom: Atom, is_cotangent: bool = False) -> tuple[Value, ...]:
        """The values that stand for an atom."""
        parts = self.known[atom] if isinstance(atom, Var) else (self.builder.value(atom),)
        return conjugate(parts) if is_cotangent else parts

    def visit(self, eqn: Eqn) -> None:
        self.builder.loc = eqn.loc
        if eqn.op in control.HOLDING:
            outs = self.holding(eqn)
        elif not _has_complex((*eqn.ins, *eqn.outs)):
            outs = self.emit(eqn, [self.given(atom)[0] for atom in eqn.ins])
        elif "text" in eqn.attrs:
            ins = [value for atom in eqn.ins for value in self.given(atom)]
            outs = self.emit(eqn, ins, text=_paired_text(eqn))
        elif eqn.op.name in OF_EACH_PART:
            outs = self.each_part(eqn)
        elif eqn.op.name in RULES:
            outs = RULES[eqn.op.name](*map(self.given, eqn.ins), **eqn.attrs)
        else:
            raise errors.DTypeError(f"{eqn.op.name} does not take complex values", eqn.loc)
        self.name(eqn, outs)

    def name(self, eqn: Eqn, outs: Sequence[Value]) -> None:
        values = iter(outs)
        for out in eqn.outs:
            self.known[out] = tuple(next(values) for _ in part_types(out.type))

    def emit(self, eqn: Eqn, ins: Sequence[Value], **changes: Any) -> tuple[Value, ...]:
        hint = eqn.outs[0].hint if eqn.outs else ""
        atoms = [value.atom for value in ins]
        return self.builder.emit(eqn.op, atoms, {**eqn.attrs, **changes}, hint)

    def each_part(self, eqn: Eqn) -> tuple[Value, ...]:
        """The operation on the real parts and on the imaginary ones; real operands are shared."""
        values = [self.given(atom) for atom in eqn.ins]
        outs = [self.emit(eqn, [own[part % len(own)] for own in values]) for part in (0, 1)]
        return (*outs[0], *outs[1])

    def holding(self, eqn: Eqn) -> tuple[Value, ...]:
        """An equation that holds graphs: more operands, parameters and results of each."""
        ins = [value for atom in eqn.ins for value in self.given(atom)]
        changes: dict[str, Any] = {}
        kinds = [atom.type for atom in eqn.ins]
        carried = eqn.attrs.get("carried", 0)
        if "carried" in eqn.attrs:
            changes["carried"] = len(split_types(kinds[:carried]))
        if "sequences" in eqn.attrs:
            both = split_types(kinds[: carried + eqn.attrs["sequences"]])
            changes["sequences"] = len(both) - changes["carried"]
        for label, graph in subgraphs(eqn):
            first = None
            if label == "backward":
                first = len(graph.params) - len(eqn.outs)
            changes[label] = complex_to_pairs(graph, first)
        return self.emit(eqn, ins, **changes)


def _paired_text(eqn: Eqn) -> tuple[Any, ...]:
    """The text of a print with a pair in the place of each complex operand."""
    operands = iter(eqn.ins)

    def shape_of(shape: Any) -> Any:
        if not isinstance(shape, tuple):
            is_whole = next(operands).type.dtype in COMPLEXES
            return ("complex", shape) if is_whole else shape
        kind, *parts = shape
        if kind == "const":
            return shape
        if kind == "dict":
            own = zip(parts[::2], map(shape_of, parts[1::2]), strict=True)
            return (kind, *(word for pair in own for word in pair))
        return (kind, *map(shape_of, parts))

    return tuple(
        piece if isinstance(piece, str) else (shape_of(piece[0]), *piece[1:])
        for piece in eqn.attrs["text"]
    )


def conjugate(parts: Sequence[Value]) -> tuple[Value, ...]:
    """A cotangent c of z = x + iy says that a change of z changes the loss by Re(c dz): its parts
    are the cotangents of x and of -y."""
    return tuple(parts) if len(parts) == 1 else (parts[0], -parts[1])
