"""When memory may be overwritten: the one place that decides it.

A new value may take the place of a parameter's old one while the step runs only if nothing can see
the difference: no later reader, no reader inside the kernel that writes, no failure afterwards.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.dims import Dim
from graphc.ir import Eqn, Graph, Var, has_effect, subgraphs
from graphc.ops import control, shape, tape
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Kernel,
    Load,
    Loop,
    Product,
    Statement,
    Store,
    accesses,
)
from graphc.runtime.program import Place, Root, Source


class _Uses(NamedTuple):
    """Where the values of a graph are made and read, as positions among its equations."""

    makers: dict[Var, int]
    readers: dict[Var, list[int]]
    returned: frozenset[Var]
    last_effect: int


@functools.lru_cache(maxsize=16)  # many questions are asked of few graphs
def _uses(graph: Graph) -> _Uses:
    makers: dict[Var, int] = {}
    readers: dict[Var, list[int]] = {}
    last_effect = -1
    for i, eqn in enumerate(graph.eqns):
        for var in _variables(eqn):
            readers.setdefault(var, []).append(i)
        makers.update(dict.fromkeys(eqn.outs, i))
        if has_effect(eqn):
            last_effect = i
    returned = frozenset(out for out in graph.outs if isinstance(out, Var))
    return _Uses(makers, readers, returned, last_effect)


def may_overwrite(graph: Graph, new: Var, param: Var) -> bool:
    """Whether `new` may be written over the argument `param` as soon as it is made.

    Nothing may read the old value afterwards, and no check may fail afterwards: a step that
    fails leaves its arguments as they were.
    """
    at = _uses(graph).makers.get(new)
    if at is None or graph.eqns[at].op is not control.fused:
        return False
    return _uses(graph).last_effect <= at and _is_unseen(graph, at, param, new)


def may_replace(graph: Graph, new: Var, param: Var) -> bool:
    """Whether `new` may be written over `param`, whose memory is the step's own.

    What a loop carries, and what reaches it through conditionals and other loops: these may have
    `param` itself as an operand, once, and no view of it.
    """
    at = _uses(graph).makers.get(new)
    if at is None or not _is_unseen(graph, at, param, new):
        return False
    eqn = graph.eqns[at]
    if eqn.op is control.fused or eqn.op in tape.TAPE_OPS:
        return True
    aliases = _aliases(graph, {param}, new)
    touching = [atom for atom in eqn.ins if atom in aliases]
    if eqn.op in (control.while_, control.scan):
        return touching in ([], [param]) and eqn.ins[eqn.outs.index(new)] is param
    return eqn.op is control.cond and touching in ([], [param])


def _is_unseen(graph: Graph, at: int, param: Var, new: Var) -> bool:
    """Whether no equation after `at` reads `param`, and no result but `new` may be it."""
    uses, aliases = _uses(graph), _aliases(graph, {param}, new)
    read_later = any(uses.readers.get(var, [-1])[-1] > at for var in aliases)
    return not read_later and aliases.isdisjoint(uses.returned)


def _variables(eqn: Eqn) -> list[Var]:
    return [atom for atom in eqn.ins if isinstance(atom, Var)]


def _aliases(graph: Graph, sources: set[Var], new: Var | None = None) -> set[Var]:
    """The values that may lie in the memory of `sources`: views, and what conditionals choose.

    Not `new` and what is seen through it: they are meant to be there.
    """
    readers = _uses(graph).readers
    aliases: set[Var] = set()
    waiting = list(sources)
    while waiting:
        var = waiting.pop()
        if var is new or var in aliases:
            continue
        aliases.add(var)
        for i in readers.get(var, ()):
            eqn = graph.eqns[i]
            if eqn.op in shape.VIEWS:
                waiting += eqn.outs
            elif eqn.op is control.cond:
                waiting += _chosen(eqn, var)
    return aliases


def _chosen(eqn: Eqn, operand: Var) -> Iterator[Var]:
    """The results of a conditional that may be its operand."""
    for _, branch in subgraphs(eqn):
        pairs = zip(branch.params, eqn.ins[1:], strict=True)
        inside = _aliases(branch, {param for param, atom in pairs if atom is operand})
        yield from (
            out for out, inner in zip(eqn.outs, branch.outs, strict=True) if inner in inside
        )


def lies_at(source: Source, root: Root) -> bool:
    """Whether a value is in its place already: in this memory, and in the usual order."""
    return isinstance(source, Place) and source.root is root and source.layout.is_contiguous


def may_touch(source: Source, root: Root) -> bool:
    """Whether a value may lie in this memory."""
    return isinstance(source, Place) and root in source.root.memories()


class Touching:
    """Which statements touch a buffer, for the bodies of one kernel and its loops.

    Joined kernels have many results, each of which concerns few statements: these are found without
    a look at the others.
    """

    def __init__(self) -> None:
        self._places: dict[int, dict[int, list[int]]] = {}

    def of(self, body: Sequence[Statement], buffers: set[int]) -> list[Statement]:
        """The statements of a body that touch one of the buffers, in order."""
        if id(body) not in self._places:  # a kernel keeps its bodies
            self._places[id(body)] = _places(body)
        places = self._places[id(body)]
        return [body[i] for i in sorted({i for b in buffers for i in places.get(b, ())})]


def _places(body: Sequence[Statement]) -> dict[int, list[int]]:
    """By buffer, where in a body are the statements that touch it."""
    places: dict[int, list[int]] = {}
    for i, statement in enumerate(body):
        for buffer in {access.buffer for access in accesses((statement,))}:
            places.setdefault(buffer, []).append(i)
    return places


def is_in_place(kernel: Kernel, roots: Sequence[Root], out: int, touching: Touching) -> bool:
    """Whether a kernel on the memory `roots` may write buffer `out` over what it reads there.

    Each element must be read for the last time in the iteration that writes it, and before it is
    written: the same access for reading and writing, a step along every loop around it, and no
    part in a reduction loop (a later stage would read again) or in a matrix product.  Accesses that
    never meet, such as the even and the odd elements, are each for themselves.  `touching` is asked
    of this kernel alone.
    """
    target = roots[out]
    if any(root is not target and target in root.memories() for root in roots):
        return False  # a choice may be that memory, or not
    shared = {i for i, root in enumerate(roots) if root is target}
    seen = _Accesses(kernel, shared, touching)
    return seen.collect(kernel.body, ()) and seen.are_apart()


class _Accesses:
    """The accesses of a kernel to `shared` buffers, gathered in the order in which they run."""

    def __init__(self, kernel: Kernel, shared: set[int], touching: Touching):
        self.kernel = kernel
        self.shared = shared
        self.touching = touching
        self.found: set[Access] = set()
        self.written: set[Access] = set()

    def collect(self, statements: Sequence[Statement], around: tuple[int, ...]) -> bool:
        """False where an access is not a plain load, or a plain store after all loads."""
        touching = self.touching.of(statements, self.shared)
        return all(self._statement(statement, around) for statement in touching)

    def _statement(self, statement: Statement, around: tuple[int, ...]) -> bool:
        match statement:
            case Load(access=access) | Store(access=access) if access.buffer in self.shared:
                return self._access(statement, access, around)
            case Loop(axes=axes, accumulators=accumulators, body=body):
                if accumulators and any(a.buffer in self.shared for a in accesses(body)):
                    return False
                domain = self.kernel.domain
                inner = (a for a in axes if isinstance(domain[a], Dim) or domain[a] > 1)
                return self.collect(body, (*around, *inner))
            case Blocks(body=body):  # the start of the last block may be computed twice
                return all(a.buffer not in self.shared for a in accesses(body))
            case Product(left=left, right=right, epilogue=epilogue):
                if left.buffer in self.shared or right.buffer in self.shared:
                    return False
                tile = (statement.row_axis, statement.column_axis)
                inner = (axis for axis in tile if axis is not None)
                return self.collect(epilogue, (*around, *inner))
        return True

    def _access(self, statement: Load | Store, access: Access, around: tuple[int, ...]) -> bool:
        is_load = isinstance(statement, Load)
        is_indexed = isinstance(statement, Load) and statement.position is not None
        if is_indexed or any(access.strides[axis] == 0 for axis in around):
            return False
        element = access._replace(buffer=0)
        if is_load and element in self.written:
            return False
        if not is_load:
            self.written.add(element)
        self.found.add(element)
        return True

    def are_apart(self) -> bool:
        """Whether no element is meant by two of the accesses: all go in the same steps, which are
        multiples of more than their offsets are apart."""
        if len(self.found) <= 1:
            return bool(self.found)
        ways = {access.strides for access in self.found}
        offsets = {access.offset for access in self.found}
        (strides, *others) = ways
        if others or not all(isinstance(n, int) for n in (*strides, *offsets)):
            return False
        step = math.gcd(*strides)
        return step == 0 or len({offset % step for offset in offsets}) == len(self.found)
