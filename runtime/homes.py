"""Where arrays in parts lie, and with them the parts that kernels make for nobody else.

Before:  a kernel makes v somewhere; x[1:-1] = v copies it
After:   the kernel writes v into its window of x, and nothing is copied

Sound where no other equation reads the part, and, over the old value of an argument, where nothing
reads that value or fails between the making of the part and that of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from graphc.ir import Atom, Eqn, Type, Var, has_effect
from graphc.ops import control, shape
from graphc.runtime import parts
from graphc.runtime.in_place import lies_at, may_touch
from graphc.runtime.layout import contiguous
from graphc.runtime.program import Place, Root, Source

MAKES_PARTS = frozenset({"loop", "matmul"}) | parts.KINDS
"""The kinds of kernels that can write their result to any place."""


class Planner(Protocol):
    """What settling parts needs of the planner."""

    uses: Counter[Atom]
    places: dict[Var, Source]
    guarded: set[Root]

    def source(self, atom: Atom) -> Source: ...
    def arena(self, type: Type) -> Place: ...


class Homes:
    """The places of arrays in parts and of their parts.

    `followed` is what runs between the making of a part and that of its whole.
    """

    def __init__(self, planner: Planner):
        self.planner = planner
        self.places: dict[Var, Place] = {}
        self.followed: dict[Var, Sequence[Eqn]] = {}

    def of(self, out: Var) -> Place | None:
        """Where a kernel that runs next is to write `out`, if that is settled."""
        home = self.places.get(out)
        if home is None or home.root not in self.planner.guarded:
            return home
        return home if self._is_quiet(out, home.root) else None

    def settle(self, eqns: Sequence[Eqn], targets: dict[Var, Root]) -> None:
        """Where arrays in parts will lie, and with them the parts that kernels make only for them.

        Backwards: a part may have parts itself.  A loop may be planned twice: what was settled
        before is forgotten.
        """
        for out in (out for eqn in eqns for out in eqn.outs):
            self.places.pop(out, None)
            self.followed.pop(out, None)
        makers = {
            out: i
            for i, eqn in enumerate(eqns)
            if eqn.op is control.fused and eqn.attrs["kind"] in MAKES_PARTS
            for out in eqn.outs
        }
        for i in reversed(range(len(eqns))):
            eqn = eqns[i]
            if eqn.op is not control.fused or eqn.attrs["kind"] not in parts.KINDS:
                continue
            operands = parts.operands(eqn)
            made = [
                self.planner.uses[a] == 1
                and operands.count(a) == 1
                and a in makers
                and a not in targets
                for a in operands
            ]
            if any(made) and (home := self._home(eqn, operands, targets, all(made))) is not None:
                self.places[eqn.out] = home
                self._settle(eqn, operands, made, makers)
                for atom in operands:
                    if atom in self.places and isinstance(atom, Var):
                        self.followed[atom] = eqns[makers[atom] + 1 : i]

    def _home(
        self, eqn: Eqn, operands: Sequence[Atom], targets: dict[Var, Root], is_made: bool
    ) -> Place | None:
        """Memory for an array in parts; over an old value only if that is what it changes, or if
        all of it is made by kernels for this array alone."""
        if eqn.out in self.places:
            return self.places[eqn.out]
        if eqn.out not in targets:
            return self.planner.arena(eqn.out.type)
        root = targets[eqn.out]
        if root in self.planner.guarded:
            base = self.planner.places.get(operands[0]) if isinstance(operands[0], Var) else None
            is_change = eqn.attrs["kind"] == "update_slice" and base is not None
            is_new = eqn.attrs["kind"] == "concatenate" and is_made
            if not is_new and not (is_change and lies_at(base, root)):  # type: ignore[arg-type]
                return None
        return Place(root, contiguous(eqn.out.type.shape))

    def _settle(
        self, eqn: Eqn, operands: Sequence[Atom], made: list[bool], makers: dict[Var, int]
    ) -> None:
        """Give homes to the operands that are `made` for this array alone."""
        (inner,) = eqn.attrs["body"].eqns
        home = self.places[eqn.out]
        if inner.op is shape.update_slice:
            in_order = not all(made) or makers[operands[0]] < makers[operands[1]]  # type: ignore[index]
            is_free = home.root in self.planner.guarded or parts.is_box(inner) or made[0]
            made[1] = made[1] and in_order and is_free
        for atom, is_made, layout in zip(
            operands, made, parts.places(inner, home.layout), strict=True
        ):
            if is_made:
                assert isinstance(atom, Var)
                self.places[atom] = Place(home.root, layout)

    def _is_quiet(self, part: Var, root: Root) -> bool:
        """Whether nothing reads the old value, or fails, after a part is made, before its whole."""
        made_between: set[Var] = set()
        for eqn in self.followed.get(part, ()):
            if has_effect(eqn) or (eqn.op is not control.fused and eqn.op not in shape.VIEWS):
                return False
            for atom in eqn.ins:
                if atom in made_between or not isinstance(atom, Var):
                    continue
                if atom not in self.planner.places or may_touch(self.planner.places[atom], root):
                    return False
            if eqn.op is control.fused:
                made_between.update(eqn.outs)
        return True

    def is_begun(self, eqn: Eqn, out: Place) -> bool:
        """Whether a part of the array is in its place already."""
        return eqn.out in self.places and any(self.there(eqn, out))

    def there(self, eqn: Eqn, out: Place) -> list[bool]:
        (inner,) = eqn.attrs["body"].eqns
        layouts = parts.places(inner, out.layout)
        return [
            self.planner.source(atom) == Place(out.root, layout)
            for atom, layout in zip(parts.operands(eqn), layouts, strict=True)
        ]
