"""When memory may be overwritten: the one place that decides it.

A new value may take the place of a parameter's old one while the step runs only if nothing can see
the difference: no later reader, no reader inside the kernel that writes, no failure afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir import Eqn, Graph, Var, has_effect
from graphc.ops import control, shape
from graphc.runtime.kernel import Kernel, Load, Loop, Product, Statement, Store, accesses
from graphc.runtime.program import Place, Root, Source


def may_overwrite(graph: Graph, new: Var, param: Var) -> bool:
    """Whether `new` may be written over `param` as soon as it is made.

    Nothing may read the old value afterwards, and no check may fail afterwards: a step that
    fails leaves its arguments as they were.
    """
    at = next((i for i, eqn in enumerate(graph.eqns) if new in eqn.outs), None)
    if at is None or graph.eqns[at].op is not control.fused:
        return False
    later = graph.eqns[at + 1 :]
    aliases = _aliases(graph, param)
    read_later = any(not aliases.isdisjoint(_variables(eqn)) for eqn in later)
    returned = not aliases.isdisjoint(out for out in graph.outs if isinstance(out, Var))
    return not (read_later or returned or any(has_effect(eqn) for eqn in later))


def _variables(eqn: Eqn) -> list[Var]:
    return [atom for atom in eqn.ins if isinstance(atom, Var)]


def _aliases(graph: Graph, param: Var) -> set[Var]:
    """The values that may lie in the memory of `param`: views of it, and conditionals over it."""
    aliases = {param}
    for eqn in graph.eqns:
        may_alias = eqn.op in shape.VIEWS or eqn.op is control.cond
        if may_alias and not aliases.isdisjoint(_variables(eqn)):
            aliases.update(eqn.outs)
    return aliases


def lies_at(source: Source, root: Root) -> bool:
    """Whether a value is in its place already: in this memory, and in the usual order."""
    return isinstance(source, Place) and source.root is root and source.layout.is_contiguous


def may_touch(source: Source, root: Root) -> bool:
    """Whether a value may lie in this memory."""
    return isinstance(source, Place) and root in source.root.memories()


def is_in_place(kernel: Kernel, roots: Sequence[Root], out: int) -> bool:
    """Whether a kernel on the memory `roots` may write buffer `out` over what it reads there.

    Each element must be read for the last time in the iteration that writes it: the same access
    for reading and writing, a step along every loop around it, and no part in a reduction loop (a
    later stage would read again) or in a matrix product.
    """
    target = roots[out]
    if any(root is not target and target in root.memories() for root in roots):
        return False  # a choice may be that memory, or not
    shared = {i for i, root in enumerate(roots) if root is target}
    found: set[tuple[tuple[int, ...], int]] = set()
    return _collect(kernel, kernel.body, shared, (), found) and len(found) == 1


def _collect(
    kernel: Kernel,
    statements: Sequence[Statement],
    shared: set[int],
    around: tuple[int, ...],
    found: set[tuple[tuple[int, ...], int]],
) -> bool:
    """Gather the accesses to `shared` buffers; False where one is not a plain load or store."""
    for statement in statements:
        match statement:
            case Load(access=access) | Store(access=access) if access.buffer in shared:
                is_indexed = isinstance(statement, Load) and statement.position is not None
                if is_indexed or any(access.strides[axis] == 0 for axis in around):
                    return False
                found.add((access.strides, access.offset))
            case Loop(axes=axes, accumulators=accumulators, body=body):
                if accumulators and any(a.buffer in shared for a in accesses(body)):
                    return False
                inside = (*around, *(axis for axis in axes if kernel.domain[axis] > 1))
                if not _collect(kernel, body, shared, inside, found):
                    return False
            case Product(left=left, right=right, epilogue=epilogue):
                if left.buffer in shared or right.buffer in shared:
                    return False
                tile = (statement.row_axis, statement.column_axis)
                inside = (*around, *(axis for axis in tile if axis is not None))
                if not _collect(kernel, epilogue, shared, inside, found):
                    return False
    return True
