"""Why two kernels of a fused graph are not one: the sentences of `explain().not_fused`."""

from __future__ import annotations

from graphc.ir import Atom, Eqn, Graph, Var
from graphc.ops import control, linalg
from graphc.passes.groups import STANDALONE
from graphc.passes.row_blocks import parts_of, too_large


def why_apart(graph: Graph, first: Eqn, second: Eqn, value: Atom) -> str:
    """The first rule that keeps `second`, which reads `value` of `first`, apart.

    Those of `row_blocks.py` where there is a matrix product, then those of `groups.py`; of kernels
    with several nests, those of the two nests with the value between them.
    """
    if "nests" in (first.attrs["kind"], second.attrs["kind"]):
        return _why_nests_apart(graph, first, second, value)
    kinds = (first.attrs["kind"], second.attrs["kind"])
    for kind in kinds:
        if kind in STANDALONE:
            return f"{kind} has a loop nest of its own"
    if not {"matmul", "rows"}.isdisjoint(kinds):
        reason = _why_not_by_rows(first, second, value)
        if reason:
            return reason
    domains = first.attrs["domain"], second.attrs["domain"]
    if domains[0] != domains[1]:
        return f"they loop over different domains, {domains[0]} and {domains[1]}"
    if first.attrs["reduce"] != second.attrs["reduce"] and all(
        eqn.attrs["reduce"] for eqn in (first, second)
    ):
        return f"they reduce axes {first.attrs['reduce']} and {second.attrs['reduce']}"
    if _path_between(graph, first, second):
        return "another kernel lies between them"
    return "the value runs along other axes in the second"


def _why_nests_apart(graph: Graph, first: Eqn, second: Eqn, value: Atom) -> str:
    if _path_between(graph, first, second):
        return "another kernel lies between them"
    while first.attrs["kind"] == "nests":
        made = dict(zip(first.outs, first.attrs["body"].outs, strict=True))[value]  # type: ignore[index]
        first = next(nest for nest in first.attrs["body"].eqns if made in nest.outs)
        first = first.replace(outs=tuple(value if out is made else out for out in first.outs))
    while second.attrs["kind"] == "nests":
        body: Graph = second.attrs["body"]
        read = body.params[second.ins.index(value)]
        nest = next(nest for nest in body.eqns if read in nest.ins)
        if nest.op is not control.fused:
            return "the value runs along other axes in the second"
        second = nest.replace(ins=tuple(value if a is read else a for a in nest.ins))
    pair = graph.replace(eqns=(first, second))
    return why_apart(pair, first, second, value)


def _why_not_by_rows(first: Eqn, second: Eqn, value: Atom) -> str:
    parts = [*parts_of(first), *parts_of(second)]
    is_reduced = any(part.attrs["reduce"] for part in parts)
    if is_reduced and (reason := too_large(parts)):
        return reason
    if _is_product_operand(second, value):
        return "a matrix product reads it, each element many times"
    if is_reduced:
        return "a reduction along the rows of a product needs all of them"
    if (first.attrs["kind"], second.attrs["kind"]) == ("matmul", "matmul"):
        return "two matrix products are two loop nests"
    return ""


def _is_product_operand(eqn: Eqn, value: Atom) -> bool:
    body: Graph = eqn.attrs["body"]
    if eqn.attrs["kind"] == "rows":
        params = zip(body.params, eqn.ins, strict=True)
        taken = {p for p, atom in params if atom is value}
        return any(_is_product_operand(part, p) for part in parts_of(eqn) for p in taken)
    inside = [p for p, atom in zip(body.params, eqn.ins, strict=True) if atom is value]
    return any(inner.op is linalg.matmul and p in inner.ins for inner in body.eqns for p in inside)


def _path_between(graph: Graph, first: Eqn, second: Eqn) -> bool:
    """Whether something that needs `first` must run before `second`."""
    reached: set[Var] = set(first.outs)
    start, stop = graph.eqns.index(first), graph.eqns.index(second)
    between: set[Var] = set()
    for eqn in graph.eqns[start + 1 : stop]:
        ins = {atom for atom in eqn.ins if isinstance(atom, Var)}
        if not ins.isdisjoint(reached | between):
            between.update(eqn.outs)
    return any(isinstance(atom, Var) and atom in between for atom in second.ins)
