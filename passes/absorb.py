"""What is computed at the place where it is read: the equations that a moving equation absorbs.

A *mover* reads its operand at other places than those of its result: a slice, a transpose, a
reshape, `pad`, `concatenate`, `update_slice`, `take`.  Its operand need not be in memory: the loop
nest of the mover can compute it at each place that it reads.

Before:  e = exp(x) [one kernel]; s = slice(e); y = multiply(s, 2.0) [another]
After:   y's kernel has the slice and, absorbed by it, the exp, which nobody else needs

Sound because everything absorbed is pure.  What several movers read, or a mover reads more than
once, is computed again for each: that is done up to a cost (`BURDEN`), beyond which the value is
written to memory once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.axis_maps import is_unit_reshape
from graphc.ir import Eqn, Graph, Var
from graphc.ops import index, linalg, shape
from graphc.ops.costs import cost
from graphc.ops.reduce import REDUCTIONS
from graphc.questions import hint

BURDEN = 24
"""How many additions an element may take more than if its operands were in memory."""

COPIES = 24
"""In how many places a value may be computed: each is code of its own."""

CHOICES = 4
"""Of up to this many parts, a nest chooses one for each element."""

PRODUCT_STEPS = 8
"""So many operations after a product are followed back to it."""

GRAPH = -1
"""The reader of what a graph returns."""


class Read(NamedTuple):
    """An equation needs `value`; `moved` if not along its own axes."""

    value: Var
    moved: bool


@dataclass
class Absorption:
    """Which equations run along the axes of their group, and what their movers absorb.

    regular  the positions of equations that have a group
    closure  for a regular mover the positions of what it absorbs, in order
    reads    for a regular equation the values that it reads, those of its closure included
    pulled   the movers among pad, concatenate and update_slice that choose in a nest
    """

    regular: set[int] = field(default_factory=set)
    closure: dict[int, tuple[int, ...]] = field(default_factory=dict)
    reads: dict[int, tuple[Read, ...]] = field(default_factory=dict)
    pulled: set[int] = field(default_factory=set)


def is_soft(eqn: Eqn) -> bool:
    """Free as a view of memory, and also possible inside of a loop nest."""
    return eqn.op is shape.broadcast or is_unit_reshape(eqn)


def is_view_mover(eqn: Eqn) -> bool:
    return eqn.op in shape.VIEWS and not is_soft(eqn)


ASSEMBLERS = frozenset({shape.pad, shape.concatenate, shape.update_slice})
"""Ops whose result has parts that come from different places."""


def is_mover(eqn: Eqn) -> bool:
    return is_view_mover(eqn) or eqn.op in ASSEMBLERS or eqn.op in index.GATHERS


def moved_operands(eqn: Eqn) -> Sequence[int]:
    """Which operands a mover reads elsewhere: of a `take` or `pick` not the positions."""
    return (0,) if eqn.op in index.GATHERS else range(len(eqn.ins))


def _may_choose(eqn: Eqn) -> bool:
    """Whether a nest can tell for each element from which part it comes."""
    if eqn.op is shape.update_slice:
        pairs = zip(eqn.attrs["steps"], eqn.ins[1].type.shape, strict=True)
        return all(step in (1, -1) or size == 1 for step, size in pairs)
    return len(eqn.ins) <= CHOICES


def _is_absorbable(eqn: Eqn) -> bool:
    if eqn.op in ASSEMBLERS:
        return _may_choose(eqn)
    is_made = eqn.op in (shape.iota, shape.dimension)
    return eqn.op.elementwise or is_made or is_soft(eqn) or is_mover(eqn)


def _is_loop_reader(eqn: Eqn) -> bool:
    return eqn.op.elementwise or eqn.op in REDUCTIONS or is_soft(eqn) or is_mover(eqn)


def move_cost(eqn: Eqn) -> int:
    """About how many additions one element of an absorbed equation takes."""
    if eqn.op in ASSEMBLERS:
        return 3 * len(eqn.ins)
    return cost(eqn.op.name) if eqn.op.elementwise else 0


@dataclass
class _Search:
    """The walk from readers to what they read."""

    graph: Graph
    readers: list[list[int]]
    result: Absorption = field(default_factory=Absorption)
    absorbed: set[int] = field(default_factory=set)
    uniform: frozenset[int] = frozenset()
    work: dict[int, float] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)
    burden: dict[int, float] = field(default_factory=dict)
    read_by_loops: dict[int, bool] = field(default_factory=dict)
    makers: dict[Var, int] = field(default_factory=dict)

    def visit(self, position: int) -> None:
        eqn = self.graph.eqns[position]
        users = self.readers[position]
        if eqn.op in ASSEMBLERS and self._is_pulled(eqn, users):
            self.result.pulled.add(position)
        if position in self.uniform:
            self._visit_uniform(position, users)
            return
        parts = [r for r in users if r in self.absorbed]
        roots = [r for r in users if self._moves(r, position)]
        is_needed = any(self._keeps(r, position) for r in users)
        is_read_elsewhere = bool(parts or roots) and _is_absorbable(eqn)
        if is_read_elsewhere and self._is_worth_it(position, parts, roots, is_needed):
            self.absorbed.add(position)
            parts = roots = []
        if is_needed or parts or roots or not users:
            self.result.regular.add(position)

    def _visit_uniform(self, position: int, users: Sequence[int]) -> None:
        """A number for the whole step is made again in each nest that reads it."""
        loops = [r for r in users if r != GRAPH and self._is_in_loops(r)]
        if loops:
            self.absorbed.add(position)
        if any(r not in loops for r in users) or not users:
            self.result.regular.add(position)

    def _is_in_loops(self, reader: int) -> bool:
        is_loop = _is_loop_reader(self.graph.eqns[reader]) and not self._assembles(reader)
        return is_loop and (reader in self.absorbed or reader in self.result.regular)

    def _moves(self, reader: int, position: int) -> bool:
        """Whether a regular mover computes what it reads of this equation elsewhere."""
        if reader not in self.result.regular or not self._absorbs(reader):
            return False
        eqn, outs = self.graph.eqns[reader], self.graph.eqns[position].outs
        return any(eqn.ins[i] in outs for i in moved_operands(eqn))

    def _keeps(self, reader: int, position: int) -> bool:
        """Whether a reader needs the value in its own group's axes, or in memory."""
        if reader == GRAPH or reader not in self.result.regular:
            return reader == GRAPH
        if not self._absorbs(reader):
            return True
        eqn, outs = self.graph.eqns[reader], self.graph.eqns[position].outs
        moved = set(moved_operands(eqn))
        return any(atom in outs and i not in moved for i, atom in enumerate(eqn.ins))

    def _is_read_by_loops(self, position: int) -> bool:
        """Whether nothing, a matrix product say, reads the result in memory, or a view of it."""
        if position not in self.read_by_loops:
            users = self.readers[position]
            self.read_by_loops[position] = all(r == GRAPH or self._is_loop(r) for r in users)
        return self.read_by_loops[position]

    def _is_loop(self, reader: int) -> bool:
        eqn = self.graph.eqns[reader]
        if is_view_mover(eqn) and reader not in self.absorbed:
            return self._is_read_by_loops(reader)
        return _is_loop_reader(eqn)

    def _is_pulled(self, eqn: Eqn, users: Sequence[int]) -> bool:
        """Whether the result is only read inside of nests: no memory is made for it."""
        return _may_choose(eqn) and all(
            r != GRAPH and _is_loop_reader(self.graph.eqns[r]) and not self._assembles(r)
            for r in users
        )

    def _assembles(self, reader: int) -> bool:
        is_assembler = self.graph.eqns[reader].op in ASSEMBLERS
        return is_assembler and reader not in self.result.pulled

    def _is_worth_it(
        self, position: int, parts: Sequence[int], roots: Sequence[int], is_needed: bool
    ) -> bool:
        """Whether computing it for each of its readers costs little beside writing it once."""
        eqn = self.graph.eqns[position]
        size = max(hint(eqn.out.type.size), 1)
        work = sum(self.work[r] for r in parts) + size * is_needed
        work += sum(hint(self.graph.eqns[r].out.type.size) for r in roots)
        copies = sum(self.copies[r] for r in parts) + len(roots) + is_needed
        burden = move_cost(eqn) * max(0.0, work / size - 1)
        burden += max((self.burden[r] for r in parts), default=0)
        if burden > BURDEN or copies > COPIES:
            return False
        self.work[position], self.copies[position] = work, copies
        self.burden[position] = burden
        return True

    def finish(self) -> Absorption:
        made = {out: i for i, eqn in enumerate(self.graph.eqns) for out in eqn.outs}
        for position in self.result.regular:
            self._close(position, made)
        return self.result

    def _close(self, position: int, made: dict[Var, int]) -> None:
        """What a regular equation absorbs and reads."""
        eqn = self.graph.eqns[position]
        reads: dict[Read, None] = {}
        closure: set[int] = set()
        waiting: list[Var] = []
        moves = self._absorbs(position)
        moved = set(moved_operands(eqn)) if is_mover(eqn) else set()
        for i, atom in enumerate(eqn.ins):
            if isinstance(atom, Var):
                is_made_again = made.get(atom) in self.uniform & self.absorbed
                if (moves and i in moved) or (is_made_again and self._is_in_loops(position)):
                    waiting.append(atom)
                else:
                    reads[Read(atom, i in moved)] = None
        while waiting:
            value = waiting.pop()
            source = made.get(value)
            if source is None or source not in self.absorbed:
                reads[Read(value, True)] = None
            elif source not in closure:
                closure.add(source)
                inner = self.graph.eqns[source].ins
                waiting += [atom for atom in inner if isinstance(atom, Var)]
        self.result.reads[position] = tuple(reads)
        if closure:
            self.result.closure[position] = tuple(sorted(closure))

    def _absorbs(self, position: int) -> bool:
        """Whether it is a mover inside of a nest, which may absorb what it reads."""
        eqn = self.graph.eqns[position]
        if eqn.op in ASSEMBLERS:
            return position in self.result.pulled
        is_view = is_view_mover(eqn) and self._is_read_by_loops(position)
        return (is_view and not self._is_product(position)) or eqn.op in index.GATHERS

    def _is_product(self, position: int) -> bool:
        """Whether it is what tiles of a matrix product make, returned in another shape: that is
        free, and the tiles take in what is done with their elements before."""
        eqn = self.graph.eqns[position]
        if eqn.op is not shape.reshape or any(r != GRAPH for r in self.readers[position]):
            return False
        for _ in range(PRODUCT_STEPS):
            source = eqn.ins[0] if eqn.ins else None
            found = self.makers.get(source) if isinstance(source, Var) else None
            if found is None:
                return False
            eqn = self.graph.eqns[found]
            if not eqn.op.elementwise:
                return eqn.op is linalg.matmul
        return False


def absorb_nothing(graph: Graph) -> Absorption:
    """Every equation on its own, and all that it reads in memory."""
    result = Absorption(set(range(len(graph.eqns))))
    for position, eqn in enumerate(graph.eqns):
        moved = moved_operands(eqn) if is_mover(eqn) else ()
        reads = [Read(a, i in moved) for i, a in enumerate(eqn.ins) if isinstance(a, Var)]
        result.reads[position] = tuple(dict.fromkeys(reads))
    return result


UNIFORM_COST = 200
"""Up to this many additions a number for the whole step is made again in each kernel."""


def _uniform(graph: Graph) -> frozenset[int]:
    """Equations for a single number that depends on parameters alone, and takes little time."""
    spent: dict[Var, int] = {param: 0 for param in graph.params if param.type.size == 1}
    found = set()
    for position, eqn in enumerate(graph.eqns):
        is_one = len(eqn.outs) == 1 and eqn.outs[0].type.size == 1
        inputs = [atom for atom in eqn.ins if isinstance(atom, Var)]
        is_size = eqn.op is shape.dimension
        if not is_size and not (is_one and inputs and (eqn.op.elementwise or is_soft(eqn))):
            continue
        if all(atom in spent for atom in inputs):
            total = move_cost(eqn) + sum(spent[atom] for atom in inputs)
            if total <= UNIFORM_COST:
                spent[eqn.out] = total
                found.add(position)
    return frozenset(found)


def absorb(graph: Graph) -> Absorption:
    """Which equations of a graph its movers absorb; readers are decided before what they read."""
    positions = {out: i for i, eqn in enumerate(graph.eqns) for out in eqn.outs}
    readers: list[list[int]] = [[] for _ in graph.eqns]
    for i, eqn in enumerate(graph.eqns):
        for atom in dict.fromkeys(eqn.ins):
            if isinstance(atom, Var) and atom in positions:
                readers[positions[atom]].append(i)
    for atom in dict.fromkeys(graph.outs):
        if isinstance(atom, Var) and atom in positions:
            readers[positions[atom]].append(GRAPH)
    search = _Search(graph, readers, uniform=_uniform(graph), makers=positions)
    for position in reversed(range(len(graph.eqns))):
        search.visit(position)
    return search.finish()
