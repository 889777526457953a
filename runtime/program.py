"""From a fused graph to a program: which kernels run, in what order, on which memory.

Views become layouts of the memory below them.  A conditional becomes two lists of items and a
choice between pointers: a branch that returns an operand costs nothing.  A result goes straight
into the caller's memory; the new value of a parameter is written in place where nothing can see
the difference, and copied at the end otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.ir import Atom, Dense, Eqn, Graph, Lit, Type, Var, has_effect
from graphc.ops import control, index, shape
from graphc.runtime.kernel import Kernel, Load, Loop, Product, Statement, Store, accesses
from graphc.runtime.layout import Layout, contiguous, view
from graphc.runtime.moves import schedule_copy, schedule_move
from graphc.runtime.schedule import schedule_loop
from graphc.runtime.schedule_matmul import schedule_matmul


@dataclass(frozen=True, eq=False)
class Root:
    """Memory: an "argument", a "result", a "constant", "arena" space, or a "choice" of two."""

    kind: str
    number: int
    dtype: str
    nbytes: int


class Place(NamedTuple):
    """Where a value is: a layout over a root, in elements of its dtype."""

    root: Root
    layout: Layout


Source = Place | Lit

Updates = dict[int, list[int]]
"""The arguments that a result is the new value of, for each result that is one."""


class Call(NamedTuple):
    """Run a kernel on memory.  `eqn` is the equation that it comes from, None for a copy."""

    kernel: Kernel
    roots: tuple[Root, ...]
    eqn: Eqn | None = None
    scratch: tuple[Root, ...] = ()


class Choice(NamedTuple):
    """`root` is the memory at `then` or at `otherwise`, whichever branch ran."""

    root: Root
    then: tuple[Root, int]
    otherwise: tuple[Root, int]


class Branch(NamedTuple):
    """Run one of two lists of items."""

    predicate: Place
    then: tuple[Item, ...]
    otherwise: tuple[Item, ...]
    choices: tuple[Choice, ...]


class Fail(NamedTuple):
    """Stop with the failed check `number` if `failed` holds, and name `value`."""

    failed: Place
    value: Place
    number: int


Item = Call | Branch | Fail


@dataclass(frozen=True)
class Program:
    """What a step does, and what it needs for it."""

    graph: Graph
    items: tuple[Item, ...]
    arguments: tuple[Root, ...]
    results: tuple[Root | None, ...]
    constants: tuple[Dense, ...]
    checks: tuple[Eqn, ...]
    updated: frozenset[int]


def make_program(graph: Graph) -> Program:
    """Plan a fused graph."""
    return _Planner(graph).plan()


@dataclass
class _Planner:
    graph: Graph
    items: list[Item] = field(default_factory=list)
    places: dict[Var, Source] = field(default_factory=dict)
    constants: list[Dense] = field(default_factory=list)
    checks: list[Eqn] = field(default_factory=list)
    count: int = 0

    def plan(self) -> Program:
        graph = self.graph
        arguments = [
            Root("argument", i, p.type.dtype, p.type.nbytes) for i, p in enumerate(graph.params)
        ]
        for param, root in zip(graph.params, arguments, strict=True):
            self.places[param] = Place(root, contiguous(param.type.shape))
        updates: Updates = {}
        for argument, result in graph.updates:
            updates.setdefault(result, []).append(argument)
        results = [
            None if j in updates else Root("result", j, out.type.dtype, out.type.nbytes)
            for j, out in enumerate(graph.outs)
        ]
        targets = self._targets(arguments, results, updates)
        self._equations(graph.eqns, targets)
        self._finish(results, arguments, updates)
        return Program(
            graph,
            tuple(self.items),
            tuple(arguments),
            tuple(results),
            tuple(self.constants),
            tuple(self.checks),
            frozenset(argument for argument, _ in graph.updates),
        )

    # ---- where results go ------------------------------------------------------------------------

    def _targets(
        self, arguments: Sequence[Root], results: Sequence[Root | None], updates: Updates
    ) -> dict[Var, Root]:
        """The values that kernels may write straight to the caller's memory."""
        targets: dict[Var, Root] = {}
        for j, (out, root) in enumerate(zip(self.graph.outs, results, strict=True)):
            if not isinstance(out, Var) or out in self.graph.params or out in targets:
                continue
            if root is not None:
                targets[out] = root
            elif self._may_overwrite(out, self.graph.params[updates[j][0]]):
                targets[out] = arguments[updates[j][0]]
        return targets

    def _may_overwrite(self, new: Var, param: Var) -> bool:
        """Whether `new` may be written over `param` as soon as it is made.

        Nothing may read the old value afterwards, and no check may fail afterwards: a step that
        fails leaves its arguments as they were.
        """
        at = next((i for i, eqn in enumerate(self.graph.eqns) if new in eqn.outs), None)
        if at is None or self.graph.eqns[at].op is not control.fused:
            return False
        later = self.graph.eqns[at + 1 :]
        aliases = _aliases(self.graph, param)
        read_later = any(not aliases.isdisjoint(_variables(eqn)) for eqn in later)
        returned = not aliases.isdisjoint(out for out in self.graph.outs if isinstance(out, Var))
        return not (read_later or returned or any(has_effect(eqn) for eqn in later))

    def _finish(
        self, results: Sequence[Root | None], arguments: Sequence[Root], updates: Updates
    ) -> None:
        """Copy what did not get to the caller's memory by itself; parameters last."""
        pending = []
        for j, (out, root) in enumerate(zip(self.graph.outs, results, strict=True)):
            source = self._source(out)
            targets = [root] if root is not None else [arguments[i] for i in updates[j]]
            for target in targets:
                if _lies_at(source, target):
                    continue
                if root is not None:
                    self._copy(source, out.type, target)
                else:
                    pending.append((source, out.type, target))
        written = {target for _, _, target in pending}
        # The new value of one parameter may be (a view of) the old value of another.
        safe = [
            (self._in_memory(source, type, fresh=True), type, target)
            if isinstance(source, Place) and not _roots(source.root, self.items).isdisjoint(written)
            else (source, type, target)
            for source, type, target in pending
        ]
        for source, type, target in safe:
            self._copy(source, type, target)

    # ---- equations -------------------------------------------------------------------------------

    def _equations(self, eqns: Sequence[Eqn], targets: dict[Var, Root]) -> None:
        for i, eqn in enumerate(eqns):
            if eqn.op is control.fused:
                self._kernel(eqn, targets, eqns[i + 1 :])
            elif eqn.op is control.cond:
                self._branch(eqn)
            elif eqn.op is index.fail_if:
                self._fail(eqn)
            elif eqn.op is shape.constant:
                self._constant(eqn)
            elif eqn.op in shape.VIEWS:
                self.places[eqn.out] = self._view(eqn)
            else:
                raise AssertionError(f"{eqn.op.name} outside of a kernel")

    def _source(self, atom: Atom) -> Source:
        return atom if isinstance(atom, Lit) else self.places[atom]

    def _arena(self, type: Type) -> Place:
        self.count += 1
        return Place(Root("arena", self.count, type.dtype, type.nbytes), contiguous(type.shape))

    def _in_memory(self, source: Source, type: Type, fresh: bool = False) -> Place:
        """The value as a place; literals, and with `fresh` everything, get memory of their own."""
        if isinstance(source, Place) and not fresh:
            return source
        place = self._arena(type)
        self._copy(source, type, place.root)
        return place

    def _copy(self, source: Source, type: Type, into: Root) -> None:
        if type.size == 0:
            return
        layout = source if isinstance(source, Lit) else source.layout
        kernel = schedule_copy("copy", layout, type.dtype, contiguous(type.shape))
        roots = (into,) if isinstance(source, Lit) else (source.root, into)
        self.items.append(Call(kernel, roots))

    def _view(self, eqn: Eqn) -> Source:
        source = self._source(eqn.ins[0])
        if isinstance(source, Lit):
            return Lit(source.value, eqn.out.type)
        layout = view(eqn, source.layout)
        if layout is None:  # a reshape that no strides can express
            source = self._in_memory(source, eqn.ins[0].type, fresh=True)
            layout = view(eqn, source.layout)
            assert layout is not None
        return Place(source.root, layout)

    def _constant(self, eqn: Eqn) -> None:
        dense = eqn.attrs["value"]
        root = Root("constant", len(self.constants), dense.type.dtype, dense.type.nbytes)
        self.constants.append(dense)
        self.places[eqn.out] = Place(root, contiguous(dense.type.shape))

    def _fail(self, eqn: Eqn) -> None:
        failed, value = (self._in_memory(self._source(a), a.type) for a in eqn.ins)
        self.items.append(Fail(failed, value, len(self.checks)))
        self.checks.append(eqn)

    # ---- kernels ---------------------------------------------------------------------------------

    def _kernel(self, eqn: Eqn, targets: dict[Var, Root], later: Sequence[Eqn]) -> None:
        outs = [self._out(out, targets) for out in eqn.outs]
        if eqn.attrs["kind"] in ("loop", "matmul"):
            self._nest(eqn, outs)
        else:
            self._move(eqn, outs)

    def _out(self, out: Var, targets: dict[Var, Root]) -> Place:
        if out in targets:
            return Place(targets[out], contiguous(out.type.shape))
        return self._arena(out.type)

    def _nest(self, eqn: Eqn, outs: list[Place]) -> None:
        ins = [self._in_memory(self._source(atom), atom.type) for atom in eqn.ins]
        schedule = schedule_loop if eqn.attrs["kind"] == "loop" else schedule_matmul
        kernel = schedule("kernel", eqn, [p.layout for p in ins], [p.layout for p in outs])
        roots = [p.root for p in (*ins, *outs)]
        for i, place in enumerate(outs):
            if place.root.kind == "argument" and not self._in_place(kernel, roots, len(ins) + i):
                outs[i] = self._arena(eqn.outs[i].type)
                roots[len(ins) + i] = outs[i].root
        self._call(eqn, kernel, roots, outs)

    def _in_place(self, kernel: Kernel, roots: Sequence[Root], out: int) -> bool:
        target = roots[out]
        chosen = any(root is not target and target in _roots(root, self.items) for root in roots)
        return not chosen and _is_in_place(kernel, roots, out)

    def _call(self, eqn: Eqn, kernel: Kernel, roots: list[Root], outs: list[Place]) -> None:
        scratch = tuple(
            self._arena(Type(b.dtype, (b.size,))).root
            for b in kernel.buffers
            if b.role == "scratch"
        )
        self.items.append(Call(kernel, (*roots, *scratch), eqn, scratch))
        for out, place in zip(eqn.outs, outs, strict=True):
            self.places[out] = place

    def _move(self, eqn: Eqn, outs: list[Place]) -> None:
        body: Graph = eqn.attrs["body"]
        (inner,) = body.eqns
        known = {p: self._source(a) for p, a in zip(body.params, eqn.ins, strict=True)}
        sources = [known[a] if isinstance(a, Var) else a for a in inner.ins]
        out = outs[0]
        base = sources[0] if sources else None
        in_place = (
            inner.op is shape.update_slice
            and base is not None
            and _lies_at(base, out.root)
            and not _overlaps(sources[1], out.root, self.items)
        )
        if not in_place and out.root.kind == "argument":
            out = outs[0] = self._arena(inner.out.type)
        layouts = [s if isinstance(s, Lit) else s.layout for s in sources]
        kernel = schedule_move("move", eqn, layouts, [out.layout], in_place)
        roots: dict[Atom, Root] = {}
        for i, (atom, source) in enumerate(zip(inner.ins, sources, strict=True)):
            if isinstance(source, Place) and not (in_place and i == 0):
                roots.setdefault(atom, source.root)
        self._call(eqn, kernel, [*roots.values(), out.root], outs)

    # ---- conditionals ----------------------------------------------------------------------------

    def _branch(self, eqn: Eqn) -> None:
        predicate = self._in_memory(self._source(eqn.ins[0]), eqn.ins[0].type)
        operands = [self._source(atom) for atom in eqn.ins[1:]]
        sides = [self._side(eqn.attrs[label], operands) for label in ("then", "else")]
        choices = []
        for i, out in enumerate(eqn.outs):
            self.count += 1
            root = Root("choice", self.count, out.type.dtype, out.type.nbytes)
            first, second = (places[i] for _, places in sides)
            choices.append(
                Choice(root, (first.root, first.layout.offset), (second.root, second.layout.offset))
            )
            layout = Layout(first.layout.shape, first.layout.strides)
            self.places[out] = Place(root, layout)
        then, otherwise = (tuple(items) for items, _ in sides)
        self.items.append(Branch(predicate, then, otherwise, tuple(choices)))

    def _side(self, graph: Graph, operands: Sequence[Source]) -> tuple[list[Item], list[Place]]:
        """The items of one branch, and its results, each with contiguous strides."""
        outer, self.items = self.items, []
        self.places.update(zip(graph.params, operands, strict=True))
        self._equations(graph.eqns, {})
        places = []
        for out in graph.outs:
            source = self._source(out)
            plain = isinstance(source, Place) and source.layout.same_strides_as(
                contiguous(out.type.shape)
            )
            places.append(self._in_memory(source, out.type, fresh=not plain))
        items, self.items = self.items, outer
        return items, places


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


def _roots(root: Root, items: Sequence[Item]) -> set[Root]:
    """The memory that a root may stand for."""
    if root.kind != "choice":
        return {root}
    for item in items:
        if isinstance(item, Branch):
            for choice in item.choices:
                if choice.root is root:
                    return _roots(choice.then[0], [*item.then, *items]) | _roots(
                        choice.otherwise[0], [*item.otherwise, *items]
                    )
            inner = _roots(root, [*item.then, *item.otherwise])
            if inner != {root}:
                return inner
    return {root}


def _lies_at(source: Source, root: Root) -> bool:
    """Whether a value is in its place already: in this memory, and in the usual order."""
    return isinstance(source, Place) and source.root is root and source.layout.is_contiguous


def _overlaps(source: Source, root: Root, items: Sequence[Item]) -> bool:
    return isinstance(source, Place) and root in _roots(source.root, items)


def _is_in_place(kernel: Kernel, roots: Sequence[Root], out: int) -> bool:
    """Whether writing buffer `out` over an operand in the same memory changes no result.

    Each element must be read for the last time in the iteration that writes it: the same access
    for reading and writing, a step along every loop around it, and no part in a reduction loop (a
    later stage would read again) or in a matrix product.
    """
    shared = {i for i, root in enumerate(roots) if root is roots[out]}
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
