"""From loop equations to items of a program.

What a loop carries has memory of its own, its *home*.  A body whose kernels may write the next
value over the present one does so (`x[i] = v`, `x = x + 1`).  Otherwise the next value is made in
a second block, and the blocks take turns: pointers move, not the values.  A slice of a sequence is
read where it lies, and a slice of a stacked result is written where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from graphc.ir import TAPE, Atom, Dense, Eqn, Graph, Lit, Type, Var
from graphc.ops import control
from graphc.runtime.in_place import lies_at, may_replace
from graphc.runtime.layout import Layout, contiguous
from graphc.runtime.program import Item, Place, Repeat, Root, Slice, Source, has_tape


class Planner(Protocol):
    """What planning a loop needs of the planner."""

    items: list[Item]
    places: dict[Var, Source]
    constants: list[Dense]
    checks: list[Eqn]
    guarded: set[Root]
    count: int

    def equations(self, eqns: Sequence[Eqn], targets: dict[Var, Root]) -> None: ...
    def source(self, atom: Atom) -> Source: ...
    def root(self, kind: str, type: Type, *sources: Root) -> Root: ...
    def arena(self, type: Type) -> Place: ...
    def in_memory(self, source: Source, type: Type, fresh: bool = False) -> Place: ...
    def contiguous(self, source: Source, type: Type) -> Place: ...
    def copy(self, source: Source, type: Type, into: Root) -> None: ...


def plan_loop(planner: Planner, eqn: Eqn, targets: dict[Var, Root]) -> None:
    """Append the loop; its results are at home, or where `targets` wants them.

    Memory that a result must end in takes no turns: it is a home only where the loop turns out to
    leave the value there, and the loop is planned once more where it does not.
    """
    made = len(planner.items), len(planner.constants), len(planner.checks)
    loop = _Loop(planner, eqn, targets)
    loop.plan()
    if not loop.misplaced:
        return
    del planner.items[made[0] :], planner.constants[made[1] :], planner.checks[made[2] :]
    rest = {out: root for out, root in targets.items() if out not in loop.misplaced}
    _Loop(planner, eqn, rest).plan()


@dataclass
class _Turns:
    """Which blocks carry values, and which of them is which in the next iteration."""

    homes: list[Root]
    following: list[Root]

    def all(self) -> list[tuple[Root, Root]]:
        """Each block that moves with its successor.

        A block that is left takes the place of one of its size that is taken.
        """
        pairs = list(zip(self.homes, self.following, strict=True))
        left = [root for root in self.homes if root not in self.following]
        for taken in self.following:
            if taken not in self.homes:
                free = next(root for root in left if root.nbytes == taken.nbytes)
                left.remove(free)
                pairs.append((taken, free))
        return [(block, after) for block, after in pairs if block is not after]

    def cycle(self, home: Root) -> tuple[Root, ...]:
        """The blocks that `home` is in turn."""
        after = dict(self.all())
        cycle = [home]
        while (following := after.get(cycle[-1], home)) is not home:
            cycle.append(following)
        return tuple(cycle)


class _Loop:
    """One loop equation while it is planned."""

    def __init__(self, planner: Planner, eqn: Eqn, targets: dict[Var, Root]):
        self.planner = planner
        self.eqn = eqn
        self.targets = targets
        self.body: Graph = eqn.attrs["body"]
        self.carried: int = eqn.attrs["carried"]
        self.is_scan = eqn.op is control.scan
        self.slices: list[Slice] = []
        self.first_own = planner.count
        self.misplaced: set[Var] = set()

    def plan(self) -> None:
        planner, eqn, body = self.planner, self.eqn, self.body
        homes = [self._home(i) for i in range(self.carried)]
        wholes = [self._whole(out) for out in eqn.outs[self.carried :]]
        self.first_own = planner.count
        index = self._bind(body, homes)
        outer, planner.items = planner.items, []
        test, predicate = self._test(homes)
        guarded = [home for home in homes if home in planner.guarded]
        planner.guarded.update(homes)
        stacked = list(zip(eqn.outs[self.carried :], wholes, strict=True))
        parts = [self._part(out, whole) for out, whole in stacked]
        planner.equations(body.eqns, self._body_targets(homes, parts))
        for out, part in zip(body.outs[self.carried :], parts, strict=True):
            source = planner.source(out)
            if not lies_at(source, part):
                planner.copy(source, out.type, part)
        turns = _Turns(homes, self._following(homes))
        self._find_misplaced(homes, turns, guarded)
        items, planner.items = planner.items, outer
        moving = turns.all()
        repeat = Repeat(
            tuple(items),
            tuple(block for block, _ in moving),
            tuple(after for _, after in moving),
            tuple(self._results(homes, turns)),
            test,
            predicate,
            eqn.attrs.get("length", 0),
            eqn.attrs.get("reverse", False),
            index,
            tuple(self.slices),
            has_tape(items) and not any(out.type.dtype == TAPE.dtype for out in eqn.outs),
        )
        planner.items.append(repeat)
        for out, whole in stacked:
            planner.places[out] = Place(whole, contiguous(out.type.shape))

    # ---- before the loop -------------------------------------------------------------------------

    def _home(self, i: int) -> Root:
        """The memory of a carried value, with the initial value in it."""
        out, initial = self.eqn.outs[i], self.eqn.ins[i]
        source = self.planner.source(initial)
        root = self.targets.get(out) or self.planner.root("arena", out.type)
        if not lies_at(source, root):
            self.planner.copy(source, out.type, root)
        return root

    def _whole(self, out: Var) -> Root:
        """The memory of a stacked result."""
        return self.targets.get(out) or self.planner.root("arena", out.type)

    # ---- what the held graphs read ---------------------------------------------------------------

    def _bind(self, body: Graph, homes: Sequence[Root]) -> Root | None:
        """The places of the body's parameters; the memory of the index if the body reads it."""
        params = list(body.params)
        cell = None
        if self.is_scan:
            index = params.pop(0)
            if _is_read(body, index):
                cell = self.planner.root("arena", index.type)
                self.planner.places[index] = Place(cell, contiguous(()))
        self._bind_carried(params, homes)
        changing = self.carried + self.eqn.attrs.get("sequences", 0)
        for param, atom in zip(
            params[self.carried : changing], self.eqn.ins[self.carried : changing], strict=True
        ):
            self.planner.places[param] = self._slice_of(self.planner.source(atom), param.type)
        for param, atom in zip(params[changing:], self.eqn.ins[changing:], strict=True):
            self.planner.places[param] = self.planner.source(atom)
        return cell

    def _bind_carried(self, params: Sequence[Var], homes: Sequence[Root]) -> None:
        for param, home in zip(params, homes, strict=False):
            self.planner.places[param] = Place(home, contiguous(param.type.shape))

    def _slice_of(self, sequence: Source, type: Type) -> Source:
        if isinstance(sequence, Lit):
            return Lit(sequence.value, type)
        step, *strides = sequence.layout.strides
        root = self.planner.root("slice", type, sequence.root)
        self.slices.append(Slice(root, sequence.root, sequence.layout.offset, step))
        return Place(root, Layout(type.shape, tuple(strides)))

    def _part(self, out: Var, whole: Root) -> Root:
        """The slice of a stacked result."""
        type = Type(out.type.dtype, out.type.shape[1:])
        root = self.planner.root("slice", type, whole)
        self.slices.append(Slice(root, whole, 0, type.size))
        return root

    def _test(self, homes: Sequence[Root]) -> tuple[tuple[Item, ...], Place | None]:
        if self.is_scan:
            return (), None
        planner, test = self.planner, self.eqn.attrs["test"]
        self._bind_carried(test.params, homes)
        for param, atom in zip(
            test.params[self.carried :], self.eqn.ins[self.carried :], strict=True
        ):
            planner.places[param] = planner.source(atom)
        planner.equations(test.eqns, {})
        predicate = planner.in_memory(planner.source(test.outs[0]), test.outs[0].type)
        items, planner.items = planner.items, []
        return tuple(items), predicate

    # ---- what the body makes ---------------------------------------------------------------------

    def _body_targets(self, homes: Sequence[Root], parts: Sequence[Root]) -> dict[Var, Root]:
        """The values that kernels may write straight to where the next iteration reads them."""
        targets: dict[Var, Root] = {}
        params = self.body.params[1:] if self.is_scan else self.body.params
        for out, param, home in zip(self.body.outs, params, homes, strict=False):
            if not isinstance(out, Var) or out in self.body.params or out in targets:
                continue
            if may_replace(self.body, out, param):
                targets[out] = home
        for out, part in zip(self.body.outs[self.carried :], parts, strict=True):
            if isinstance(out, Var) and out not in self.body.params:
                targets.setdefault(out, part)
        return targets

    def _following(self, homes: Sequence[Root]) -> list[Root]:
        """The block of each carried value in the next iteration, all of them different."""
        following: list[Root] = []
        for out in self.body.outs[: self.carried]:
            source = self.planner.source(out)
            root = self._block(source, out.type, homes)
            if root is None or root in following:
                root = self.planner.root("arena", out.type)
                self.planner.copy(source, out.type, root)
            following.append(root)
        return following

    def _block(self, source: Source, type: Type, homes: Sequence[Root]) -> Root | None:
        """The memory of a value if it can carry it on: the loop's own, and nothing else in it."""
        if not isinstance(source, Place) or not source.layout.is_contiguous:
            return None
        root = source.root
        is_own = root.kind == "arena" and root.number > self.first_own
        return root if (is_own or root in homes) and root.nbytes == type.nbytes else None

    def _find_misplaced(
        self, homes: Sequence[Root], turns: _Turns, guarded: Sequence[Root]
    ) -> None:
        for out, home in zip(self.eqn.outs, homes, strict=False):
            is_target = self.targets.get(out) is home and home not in guarded
            if is_target and len(turns.cycle(home)) > 1:
                self.misplaced.add(out)

    def _results(self, homes: Sequence[Root], turns: _Turns) -> list[tuple[Root, Root]]:
        results = []
        for out, home in zip(self.eqn.outs, homes, strict=False):
            root = home
            cycle = turns.cycle(home)
            if len(cycle) > 1:
                root = self.planner.root("choice", out.type, *cycle)
                results.append((root, home))
            self.planner.places[out] = Place(root, contiguous(out.type.shape))
        return results


def _is_read(graph: Graph, param: Var) -> bool:
    return param in graph.outs or any(param in eqn.ins for eqn in graph.eqns)
