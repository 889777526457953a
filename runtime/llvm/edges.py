"""Where along a loop conditions on its index change their answers: the edges of pads and joins.

`np.pad`, `np.roll` and `np.concatenate` inside of a kernel read each element under a condition on
where it is.  Over most of a loop the condition always holds or never does; the loop is divided
there, and between the edges there is neither a condition nor a masked load.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graphc.ir import Lit
from graphc.runtime.kernel import Compute, Index, Operand, Statement, inner

Range = tuple[int, int]
"""The first index, and the one after the last."""


class Affine(NamedTuple):
    """index of `axis` * scale + offset"""

    axis: int
    scale: int
    offset: int


class Line:
    """What is known of the values of a straight run of statements, one after the other."""

    def __init__(self, ranges: Mapping[int, Range], outer: Line | None = None):
        self.ranges: Mapping[int, Range] = {**(outer.ranges if outer else {}), **ranges}
        self.affine: dict[int, Affine] = {} if outer is None else dict(outer.affine)
        self.answers: dict[int, bool] = {} if outer is None else dict(outer.answers)

    def learn(self, statement: Statement) -> bool | None:
        """Take a statement in; its value, if that is a condition with one answer."""
        if isinstance(statement, Index):
            self.affine[statement.out.number] = Affine(statement.axis, 1, 0)
        elif isinstance(statement, Compute):
            number, along = statement.out.number, self._affine(statement)
            if along is not None:
                self.affine[number] = along
            answer = self._answer(statement)
            if answer is not None:
                self.answers[number] = answer
            return answer
        return None

    def known(self, operand: Operand | None) -> bool | None:
        """The answer of a condition, where it has one."""
        if operand is None or isinstance(operand, Lit):
            return None
        return self.answers.get(operand.number)

    def condition(self, statement: Compute) -> tuple[Affine, int] | None:
        """For `value < limit` and `value >= limit`: the value, along an axis, and the limit."""
        if statement.op not in ("less", "greater_equal"):
            return None
        value, limit = statement.ins
        if isinstance(value, Lit) or not isinstance(limit, Lit):
            return None
        along = self.affine.get(value.number)
        return None if along is None else (along, int(limit.value))

    def _affine(self, statement: Compute) -> Affine | None:
        if statement.op not in ("add", "multiply") or statement.out.dtype != "i64":
            return None
        first, second = statement.ins
        if isinstance(first, Lit):
            first, second = second, first
        if isinstance(first, Lit) or not isinstance(second, Lit):
            return None
        along = self.affine.get(first.number)
        if along is None:
            return None
        by = int(second.value)
        if statement.op == "add":
            return along._replace(offset=along.offset + by)
        return Affine(along.axis, along.scale * by, along.offset * by)

    def _answer(self, statement: Compute) -> bool | None:
        if statement.op == "logical_and":
            answers = [self.known(operand) for operand in statement.ins]
            return False if False in answers else (True if None not in answers else None)
        found = self.condition(statement)
        if found is None or found[0].axis not in self.ranges:
            return None
        (axis, scale, offset), limit = found
        first, end = self.ranges[axis]
        ends = {first * scale + offset < limit, (end - 1) * scale + offset < limit}
        if len(ends) == 2:
            return None
        return ends.pop() == (statement.op == "less")


def edges(body: Iterable[Statement], axis: int, size: int) -> tuple[int, ...]:
    """The indices from 1 to size - 1 along an axis at which a condition changes its answer."""
    statements = [*inner(body)]
    if not any(isinstance(s, Index) and s.axis == axis for s in statements):
        return ()
    line, found = Line({}), set()
    for statement in statements:
        line.learn(statement)
        condition = line.condition(statement) if isinstance(statement, Compute) else None
        if condition is not None and condition[0].axis == axis and condition[0].scale:
            (_, scale, offset), limit = condition
            # index * scale + offset reaches the limit, from below or, going down, from above.
            found.add(-((offset - limit) // scale) if scale > 0 else (limit - offset) // scale + 1)
    return tuple(sorted(edge for edge in found if 0 < edge < size))


def pieces(size: int, edges: Sequence[int], step: int) -> tuple[Range, ...]:
    """0 up to `size` in pieces, each of whole steps but for the end: those with an edge inside are
    one step long, those between them have none."""
    mixed = sorted({edge // step * step for edge in edges if edge % step})
    clean = {edge for edge in edges if not edge % step}
    cuts = {0, size, *clean, *mixed, *(start + step for start in mixed)}
    ordered = sorted(cut for cut in cuts if cut <= size)
    return tuple(itertools.pairwise(ordered))
