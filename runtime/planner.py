"""From a fused graph to a program.

Views become layouts of the memory below them.  A conditional becomes two lists of items and a
choice between pointers: a branch that returns an operand costs nothing.  A result goes straight
into the caller's memory; the new value of a parameter is written in place where nothing can see
the difference (`in_place.py`), and copied at the end otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.ir import Atom, Dense, Eqn, Graph, Lit, Op, Type, Var
from graphc.ops import control, effects, index, shape, tape
from graphc.runtime import parts
from graphc.runtime.flatten import flattened, uses
from graphc.runtime.homes import Homes
from graphc.runtime.in_place import (
    Touching,
    is_in_place,
    lies_at,
    may_overwrite,
    may_replace,
    may_touch,
)
from graphc.runtime.kernel import Access, Buffer, Compute, Kernel, Name, Store
from graphc.runtime.layout import Layout, contiguous, view
from graphc.runtime.loop_planning import plan_loop
from graphc.runtime.moves import schedule_copies, schedule_copy, schedule_move
from graphc.runtime.orders import Axes, ordered, preferred_orders, seen_through
from graphc.runtime.program import (
    Branch,
    Call,
    Choice,
    Fail,
    Foreign,
    Item,
    Place,
    Program,
    Root,
    Source,
)
from graphc.runtime.schedule import schedule_loop
from graphc.runtime.schedule_matmul import schedule_matmul
from graphc.runtime.schedule_native import schedule_native
from graphc.runtime.schedule_rows import schedule_rows
from graphc.runtime.sizes import same
from graphc.runtime.tapes import plan_tape

_CHANGES = frozenset({shape.update_slice, index.scatter_add, index.put})
"""Ops that change a part of their first operand, and may do so where it lies."""

NESTS = {"loop": schedule_loop, "matmul": schedule_matmul, "rows": schedule_rows}
"""How kernels that are loop nests are scheduled, by kind."""

Updates = dict[int, list[int]]
"""The arguments that a result is the new value of, for each result that is one."""


def make_program(graph: Graph) -> Program:
    """Plan a fused graph."""
    flat, origins = flattened(graph)
    return _Planner(flat, origins, uses(flat)).plan()._replace(graph=graph)


@dataclass
class _Planner:
    graph: Graph
    origins: dict[Eqn, Eqn]
    """The kernel that a nest belongs to, where it has several."""
    uses: Counter[Atom]
    items: list[Item] = field(default_factory=list)
    places: dict[Var, Source] = field(default_factory=dict)
    constants: list[Dense] = field(default_factory=list)
    checks: list[Eqn] = field(default_factory=list)
    count: int = 0
    guarded: set[Root] = field(default_factory=set)
    """Memory with an old value in it that is not to be lost before its last reader has run."""
    orders: Mapping[Var, Axes] = field(default_factory=dict)
    homes: Homes = field(init=False)

    def __post_init__(self) -> None:
        self.homes = Homes(self)

    def plan(self) -> Program:
        graph = self.graph
        arguments = [
            Root("argument", i, p.type.dtype, p.type.nbytes) for i, p in enumerate(graph.params)
        ]
        for param, root in zip(graph.params, arguments, strict=True):
            self.places[param] = Place(root, contiguous(param.type.shape))
        self.guarded.update(arguments)
        updates: Updates = {}
        for argument, result in graph.updates:
            updates.setdefault(result, []).append(argument)
        results = [
            None if j in updates else Root("result", j, out.type.dtype, out.type.nbytes)
            for j, out in enumerate(graph.outs)
        ]
        self.orders = preferred_orders(graph)
        targets = self._targets(arguments, results, updates)
        self.equations(graph.eqns, targets)
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
                targets.setdefault(seen_through(self.graph, out, self.orders), root)
            elif may_overwrite(self.graph, out, self.graph.params[updates[j][0]]):
                targets[out] = arguments[updates[j][0]]
        return targets

    def _finish(
        self, results: Sequence[Root | None], arguments: Sequence[Root], updates: Updates
    ) -> None:
        """Copy what did not get to the caller's memory by itself; parameters last."""
        pending = []
        for j, (out, root) in enumerate(zip(self.graph.outs, results, strict=True)):
            source = self.source(out)
            targets = [root] if root is not None else [arguments[i] for i in updates[j]]
            for target in targets:
                if lies_at(source, target):
                    continue
                if root is not None:
                    self.copy(source, out.type, target)
                else:
                    pending.append((source, out.type, target))
        written = {target for _, _, target in pending}
        # The new value of one parameter may be (a view of) the old value of another.
        safe = [
            (self.in_memory(source, type, fresh=True), type, target)
            if any(may_touch(source, root) for root in written)
            else (source, type, target)
            for source, type, target in pending
        ]
        for source, type, target in safe:
            self.copy(source, type, target)

    # ---- equations -------------------------------------------------------------------------------

    def equations(self, eqns: Sequence[Eqn], targets: dict[Var, Root]) -> None:
        self.homes.settle(eqns, targets)
        for eqn in eqns:
            if eqn.op in shape.VIEWS:
                self.places[eqn.out] = self._view(eqn)
            elif eqn.op in _PLANS:
                _PLANS[eqn.op](self, eqn, targets)
            else:
                raise AssertionError(f"{eqn.op.name} outside of a kernel")

    def source(self, atom: Atom) -> Source:
        """Where a value is, or which number it is."""
        return atom if isinstance(atom, Lit) else self.places[atom]

    def root(self, kind: str, type: Type, *sources: Root) -> Root:
        """Memory with a number of its own."""
        self.count += 1
        return Root(kind, self.count, type.dtype, type.nbytes, sources)

    def arena(self, type: Type) -> Place:
        return Place(self.root("arena", type), contiguous(type.shape))

    def in_memory(self, source: Source, type: Type, fresh: bool = False) -> Place:
        """The value as a place; literals, and with `fresh` everything, get memory of their own."""
        if isinstance(source, Place) and not fresh:
            return source
        place = self.arena(type)
        self.copy(source, type, place.root)
        return place

    def copy(self, source: Source, type: Type, into: Root) -> None:
        if same(type.size, 0):
            return
        layout = source if isinstance(source, Lit) else source.layout
        kernel = schedule_copy("copy", layout, type.dtype, contiguous(type.shape))
        roots = (into,) if isinstance(source, Lit) else (source.root, into)
        scratch = self._scratch(kernel)
        self.items.append(Call(kernel, (*roots, *scratch), scratch=scratch))

    def _scratch(self, kernel: Kernel) -> tuple[Root, ...]:
        return tuple(
            self.arena(Type(b.dtype, (b.size,))).root for b in kernel.buffers if b.role == "scratch"
        )

    def _view(self, eqn: Eqn) -> Source:
        source = self.source(eqn.ins[0])
        if isinstance(source, Lit):
            return Lit(source.value, eqn.out.type)
        layout = view(eqn, source.layout)
        if layout is None:  # a reshape that no strides can express
            source = self.in_memory(source, eqn.ins[0].type, fresh=True)
            layout = view(eqn, source.layout)
            assert layout is not None
        return Place(source.root, layout)

    def _constant(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        dense = eqn.attrs["value"]
        root = Root("constant", len(self.constants), dense.type.dtype, dense.type.nbytes)
        self.constants.append(dense)
        self.places[eqn.out] = Place(root, contiguous(dense.type.shape))

    def _dimension(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        """A number that is only known when the step runs."""
        out, name = self._out(eqn.out, targets), Name(1, "i64")
        kernel = Kernel(
            "dimension",
            (),
            (Buffer("y0", "i64", 1, "out"),),
            (
                Compute(name, "dimension", (), tuple(eqn.attrs.items())),
                Store(Access(0, 0, ()), name),
            ),
        )
        self._call(eqn, kernel, [out.root], [out])

    def _fail(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        failed, value = (self.in_memory(self.source(a), a.type) for a in eqn.ins)
        self.items.append(Fail(failed, value, len(self.checks)))
        self.checks.append(eqn)

    def _foreign(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        """Operands and results are contiguous: all that an external function is told."""
        operands = [self.contiguous(self.source(atom), atom.type) for atom in eqn.ins]
        results = [self.arena(out.type) for out in eqn.outs]
        function = effects.function_of(eqn)
        number = len(self.checks)
        self.items.append(
            Foreign(function.name, tuple(operands), tuple(results), function.checked, number)
        )
        self.checks.append(eqn)
        self.places.update(zip(eqn.outs, results, strict=True))

    # ---- kernels ---------------------------------------------------------------------------------

    def _kernel(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        outs = [self._out(out, targets) for out in eqn.outs]
        if eqn.attrs["kind"] in NESTS:
            self._nest(eqn, outs)
        elif eqn.attrs["kind"] in parts.KINDS and self.homes.is_begun(eqn, outs[0]):
            self._rest(eqn, outs[0])
        elif eqn.attrs["kind"] == "native":
            self._routine(eqn, outs)
        else:
            self._move(eqn, outs)

    def _out(self, out: Var, targets: dict[Var, Root]) -> Place:
        home = self.homes.of(out)
        if home is not None:
            return home
        layout = ordered(out.type, self.orders.get(out))
        root = targets[out] if out in targets else self.arena(out.type).root
        return Place(root, layout)

    def _nest(self, eqn: Eqn, outs: list[Place]) -> None:
        ins = [self.in_memory(self.source(atom), atom.type) for atom in eqn.ins]
        schedule = NESTS[eqn.attrs["kind"]]
        layouts = [p.layout for p in ins]
        kernel = schedule("kernel", eqn, layouts, [p.layout for p in outs])
        roots = [p.root for p in (*ins, *outs)]
        touching = Touching()
        moved = False
        for i, (out, place) in enumerate(zip(eqn.outs, outs, strict=True)):
            is_read = any(place.root in p.root.memories() for p in ins)
            is_shared = place.root in self.guarded or (out in self.homes.places and is_read)
            if is_shared and not is_in_place(kernel, roots, len(ins) + i, touching):
                outs[i] = self.arena(out.type)
                roots[len(ins) + i] = outs[i].root
                moved = moved or place.layout != outs[i].layout
        if moved:
            kernel = schedule("kernel", eqn, layouts, [p.layout for p in outs])
        self._call(eqn, kernel, roots, outs)

    def _call(self, eqn: Eqn, kernel: Kernel, roots: list[Root], outs: list[Place]) -> None:
        scratch = self._scratch(kernel)
        origin = self.origins.get(eqn, eqn)
        self.items.append(Call(kernel, (*roots, *scratch), origin, scratch))
        for out, place in zip(eqn.outs, outs, strict=True):
            self.places[out] = place

    def _routine(self, eqn: Eqn, outs: list[Place]) -> None:
        """A routine reads and writes contiguous memory, and never in place."""
        ins = [self.contiguous(self.source(atom), atom.type) for atom in eqn.ins]
        outs = [
            self.arena(out.type) if place.root in self.guarded else place
            for out, place in zip(eqn.outs, outs, strict=True)
        ]
        roots = [place.root for place in (*ins, *outs)]
        offsets = [place.layout.offset for place in (*ins, *outs)]
        self._call(eqn, schedule_native("native", eqn, offsets), roots, outs)

    def contiguous(self, source: Source, type: Type) -> Place:
        plain = isinstance(source, Place) and source.layout.same_strides_as(contiguous(type.shape))
        return self.in_memory(source, type, fresh=not plain)

    def _move(self, eqn: Eqn, outs: list[Place]) -> None:
        body: Graph = eqn.attrs["body"]
        (inner,) = body.eqns
        known = {p: self.source(a) for p, a in zip(body.params, eqn.ins, strict=True)}
        sources = [known[a] if isinstance(a, Var) else a for a in inner.ins]
        out = outs[0]
        base = sources[0] if sources else None
        in_place = (
            inner.op in _CHANGES
            and base is not None
            and lies_at(base, out.root)
            and not any(may_touch(source, out.root) for source in sources[1:])
        )
        if not in_place and out.root in self.guarded:
            out = outs[0] = self.arena(inner.out.type)
        layouts = [s if isinstance(s, Lit) else s.layout for s in sources]
        kernel = schedule_move("move", eqn, layouts, [out.layout], in_place)
        roots: dict[Atom, Root] = {}
        for i, (atom, source) in enumerate(zip(inner.ins, sources, strict=True)):
            if isinstance(source, Place) and not (in_place and i == 0):
                roots.setdefault(atom, source.root)
        self._call(eqn, kernel, [*roots.values(), out.root], outs)

    def _rest(self, eqn: Eqn, out: Place) -> None:
        """Write what is not in its place yet."""
        (inner,) = eqn.attrs["body"].eqns
        sources = [self.source(atom) for atom in parts.operands(eqn)]
        layouts = [s if isinstance(s, Lit) else s.layout for s in sources]
        copies = parts.remaining(inner, layouts, out.layout, self.homes.there(eqn, out))
        copies = [copy for copy in copies if 0 not in copy[2].shape]
        self.places[eqn.out] = out
        if not copies:
            return
        kernel, numbers = schedule_copies("move", copies, eqn.out.type.dtype)
        roots = [sources[i].root for i in numbers]  # type: ignore[union-attr]
        self._call(eqn, kernel, [*roots, out.root], [out])

    # ---- conditionals ----------------------------------------------------------------------------

    def _branch(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        predicate = self.in_memory(self.source(eqn.ins[0]), eqn.ins[0].type)
        operands = [self.source(atom) for atom in eqn.ins[1:]]
        wanted = [targets.get(out) for out in eqn.outs]
        sides = [self._side(eqn.attrs[label], operands, wanted) for label in ("then", "else")]
        choices = []
        for i, out in enumerate(eqn.outs):
            first, second = (places[i] for _, places in sides)
            if first.root is second.root and first.layout == second.layout:
                self.places[out] = first
                continue
            root = self.root("choice", out.type, first.root, second.root)
            choices.append(
                Choice(root, (first.root, first.layout.offset), (second.root, second.layout.offset))
            )
            layout = Layout(first.layout.shape, first.layout.strides)
            self.places[out] = Place(root, layout)
        then, otherwise = (tuple(items) for items, _ in sides)
        self.items.append(Branch(predicate, then, otherwise, tuple(choices)))

    def _side(
        self, graph: Graph, operands: Sequence[Source], wanted: Sequence[Root | None]
    ) -> tuple[list[Item], list[Place]]:
        """The items of one branch, and its results, each with contiguous strides.

        A result that is `wanted` in some memory goes there, if that loses no value.
        """
        outer, self.items = self.items, []
        self.places.update(zip(graph.params, operands, strict=True))
        self.equations(graph.eqns, self._side_targets(graph, wanted))
        places = []
        for out in graph.outs:
            places.append(self.contiguous(self.source(out), out.type))
        items, self.items = self.items, outer
        return items, places

    def _again(self, eqn: Eqn, targets: dict[Var, Root]) -> None:
        """The items of the held graph, here."""
        body: Graph = eqn.attrs["body"]
        self.places.update(zip(body.params, map(self.source, eqn.ins), strict=True))
        wanted = [targets.get(out) for out in eqn.outs]
        self.equations(body.eqns, self._side_targets(body, wanted))
        self.places.update(zip(eqn.outs, map(self.source, body.outs), strict=True))

    def _side_targets(self, graph: Graph, wanted: Sequence[Root | None]) -> dict[Var, Root]:
        targets: dict[Var, Root] = {}
        for out, root in zip(graph.outs, wanted, strict=True):
            if root is None or not isinstance(out, Var) or out in graph.params or out in targets:
                continue
            old = [p for p in graph.params if lies_at(self.places[p], root)]
            if root not in self.guarded or all(may_replace(graph, out, param) for param in old):
                targets[out] = root
        return targets


_PLANS: dict[Op, Callable[[_Planner, Eqn, dict[Var, Root]], None]] = {
    control.fused: _Planner._kernel,
    control.cond: _Planner._branch,
    control.again: _Planner._again,
    control.while_: plan_loop,
    control.scan: plan_loop,
    index.fail_if: _Planner._fail,
    shape.constant: _Planner._constant,
    shape.dimension: _Planner._dimension,
    **dict.fromkeys(tape.TAPE_OPS, plan_tape),
    **dict.fromkeys(effects.FOREIGN, _Planner._foreign),
}
"""What each op outside of kernels becomes, but for views."""
