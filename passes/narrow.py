"""Floats of 16 bits: stored as such, computed in f32.

Before:  c = add(a, b); d = exp(c)                                    all f16
After:   c = narrow(add(widen(a), widen(b))); d = narrow(exp(widen(c)))

A product of matrices reads what lies in 16 bits, widens it on the way, and gives f32:
`narrow(matmul(a, b, wide=true))`.

`narrow_arithmetic` is sound because this is what the operations of these dtypes mean: their
references compute in f32 and round, and so does NumPy.  What only moves elements stays as it is.

`keep_wide` runs when it is known what becomes a kernel:

Before:  fused(...) body { c = narrow(s); t = widen(c); u = exp(t) }
After:   fused(...) body { u = exp(s) }                               if nobody else reads c

It leaves out roundings, never adds one, so a result is at most nearer to the exact one.  Operations
that jump (comparisons, `floor`, ...) read what was rounded, through a `cast`: an element that is
compared with the maximum of its row is one of the rounded numbers, of which the maximum was taken.
"""

from __future__ import annotations

from types import MappingProxyType

from graphc.axis_maps import AxisMap
from graphc.build import literal, rename
from graphc.ir import NARROW, OPS, Atom, Eqn, Graph, Lit, Var, map_subgraphs
from graphc.ops import (
    control,
    cumulative,
    elementwise,
    index,
    linalg,
    narrow,
    reduce,
    shape,
    sorting,
)
from graphc.passes.rewrite import Result, Rewriter, Rule, rewrite, table


def narrow_arithmetic(graph: Graph) -> Graph:
    """`graph` with the arithmetic of f16 and bf16 in f32."""
    return rewrite(graph, _ARITHMETIC)


def keep_wide(graph: Graph) -> Graph:
    """The fused graph without roundings between the equations of a kernel."""
    return graph.replace(eqns=tuple(map(_kept_wide, graph.eqns)))


MOVES = frozenset({"cast", "stop_gradient", "widen", "narrow"})
"""Elementwise operations that take narrow values as they are."""

JUMPS = frozenset(
    "less less_equal greater greater_equal equal not_equal isnan isinf isfinite signbit sign"
    " floor ceil round trunc floor_divide mod frexp_exponent".split()
)
"""Operations of which a small change of an operand may change the result at once."""

STRUCTURED = (
    *reduce.REDUCTIONS - {reduce.any, reduce.all},
    index.scatter_add,
    cumulative.cumsum,
    cumulative.cumprod,
    cumulative.recurrence,
)
EXACT = (
    *(cumulative.cummax, cumulative.cummin),
    *(reduce.argmax, reduce.argmin),
    *(sorting.sort, sorting.argsort, sorting.searchsorted),
)
"""Operations on whole arrays: those that may read what is not rounded, and those that may not."""


def _in_single(reads_rounded: bool) -> Rule:
    def rule(at: Rewriter, eqn: Eqn) -> Result:
        narrow_dtype = next((a.type.dtype for a in eqn.ins if a.type.dtype in NARROW), None)
        if narrow_dtype is None:
            return None
        ins = [_wide(at, atom, reads_rounded) for atom in eqn.ins]
        outs = at.emit(eqn.op, ins, eqn.attrs)
        return tuple(
            at.make(narrow.narrow, out.atom, dtype=old.type.dtype)
            if old.type.dtype in NARROW
            else out.atom
            for out, old in zip(outs, eqn.outs, strict=True)
        )

    return rule


def _wide(at: Rewriter, atom: Atom, rounded: bool) -> Atom:
    if atom.type.dtype not in NARROW:
        return atom
    if isinstance(atom, Lit):
        return literal(atom.value, atom.type.with_dtype("f32"))
    if rounded:
        return at.make(elementwise.cast, atom, dtype="f32")
    return _widened(at, atom)


def _widened(at: Rewriter, atom: Atom) -> Atom:
    """`widen(atom)`; next to the rounding, if there is one and only repetition between."""
    for view in (shape.broadcast, shape.reshape):
        eqn = at.definition(atom, view)
        if eqn is not None and _is_rounded(at, eqn.ins[0]):
            return at.make(view, _widened(at, eqn.ins[0]), **eqn.attrs)
    return at.make(narrow.widen, atom)


def _is_rounded(at: Rewriter, atom: Atom) -> bool:
    views = (at.definition(atom, view) for view in (shape.broadcast, shape.reshape))
    eqn = next((eqn for eqn in views if eqn is not None), None)
    if eqn is not None:
        return _is_rounded(at, eqn.ins[0])
    return at.definition(atom, narrow.narrow) is not None


def _product(at: Rewriter, eqn: Eqn) -> Result:
    """A product of matrices widens what it reads; what it gives is f32."""
    if eqn.out.type.dtype not in NARROW:
        return None
    product = at.make(linalg.matmul, *eqn.ins, wide=True)
    return at.make(narrow.narrow, product, dtype=eqn.out.type.dtype)


def _iota(at: Rewriter, eqn: Eqn) -> Result:
    """Counted in f32, where the numbers are exact, and rounded."""
    dtype = eqn.attrs["dtype"]
    if dtype not in NARROW:
        return None
    (count,) = at.emit(shape.iota, (), {**eqn.attrs, "dtype": "f32"})
    return at.make(elementwise.cast, count.atom, dtype=dtype)


def _hands_on(body: Graph, source: Atom, out: Var) -> bool:
    """Whether a kernel would give what it is given: it gives what it makes."""
    return out in body.outs and (isinstance(source, Lit) or source in body.params)


def _kept_wide(eqn: Eqn) -> Eqn:
    if eqn.op is not control.fused:
        return map_subgraphs(keep_wide, eqn)
    body: Graph = eqn.attrs["body"]
    if any(inner.op is control.fused for inner in body.eqns):
        return map_subgraphs(keep_wide, eqn)
    maps = eqn.attrs["maps"]
    names: dict[Var, Atom] = {}
    wide: dict[Atom, tuple[Atom, AxisMap]] = {}
    kept = []
    for inner, own in zip(body.eqns, maps, strict=True):
        inner = inner.replace(ins=tuple(rename(atom, names) for atom in inner.ins))
        found = wide.get(inner.ins[0]) if inner.op is narrow.widen else None
        if found is not None and found[1] == own and not _hands_on(body, found[0], inner.out):
            names[inner.out] = found[0]
            continue
        if inner.op is narrow.narrow:
            wide[inner.out] = inner.ins[0], own
        kept.append((inner, own))
    if not names:
        return eqn
    outs = tuple(rename(out, names) for out in body.outs)
    read = {*outs, *(atom for inner, _ in kept for atom in inner.ins)}
    kept = [(i, own) for i, own in kept if i.op is not narrow.narrow or i.out in read]
    eqns, maps = zip(*kept, strict=True)
    body = body.replace(eqns=tuple(eqns), outs=outs)
    return eqn.replace(attrs=MappingProxyType({**eqn.attrs, "body": body, "maps": tuple(maps)}))


_ARITHMETIC = table(
    (
        *(
            (name, _in_single(name in JUMPS))
            for name, op in OPS.items()
            if op.elementwise and name not in MOVES
        ),
        *((op.name, _in_single(False)) for op in STRUCTURED),
        *((op.name, _in_single(True)) for op in EXACT),
        ("matmul", _product),
        ("iota", _iota),
    )
)
