"""Kernels that add up over their rows, for teams that have some of the rows each.

The totals grow from row to row in scratch memory, so the rows have an order.  Teams that each have
totals of their own do not wait for each other; a second kernel adds these up, in the order of the
teams (`runtime/column_totals.py` says how the kernel is divided).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.runtime.column_totals import column_halves
from graphc.runtime.cuda.plan.device_kernel import WARP, Limits
from graphc.runtime.cuda.plan.forms import lanes_of_rows, team_size
from graphc.runtime.cuda.plan.mapping import Nest, Unit, is_apart
from graphc.runtime.cuda.plan.phases import Phases
from graphc.runtime.cuda.plan.whole import nbytes_of, whole, wholes
from graphc.runtime.kernel import Kernel, Loop
from graphc.runtime.partials import Halves, widened
from graphc.runtime.program import Root

LEAST_ROWS = 4
"""A team has at least so many rows: the second kernel reads the totals of each."""
ENOUGH = 4
"""This share of the most blocks is enough: what more of them leave takes longer to add up."""


class RowHalves(NamedTuple):
    """The two halves of a kernel, the nest over rows in the first, and who runs it."""

    first: Kernel
    second: Kernel
    nest: Loop
    shares: int
    team: int
    lanes: int


def row_halves(
    kernel: Kernel, roots: Sequence[Root], plan: Phases, limits: Limits
) -> RowHalves | None:
    """The halves of a kernel that adds up over its rows; None for any other."""
    again = [s for s in kernel.body if s in plan.again.values()]
    rest = kernel._replace(body=tuple(s for s in kernel.body if s not in again))
    halves = column_halves(rest, 2)
    if halves is None:
        return None
    rows = whole(kernel.domain[halves.axis])
    each = max(LEAST_ROWS, -(-rows // _most_teams(kernel, halves, limits)))
    shares = -(-rows // each)
    halves = column_halves(rest, shares) if shares > 1 else None
    if halves is None or not _has_apart_rows(halves, roots):
        return None
    nest, lanes, team = _team(kernel, halves, shares, limits)
    second = halves.second
    before = widened(again, len(second.domain))
    second = second._replace(body=(*before, *second.body))
    return RowHalves(halves.first, second, nest, shares, team, lanes)


def _most_teams(kernel: Kernel, halves: Halves, limits: Limits) -> int:
    """How many teams are enough for a device: of warps, a block has several."""
    blocks = max(limits.most_blocks // ENOUGH, 2)
    _, _, team = _team(kernel, halves, blocks, limits)
    return blocks * (limits.threads // WARP if team == WARP else 1)


def _team(kernel: Kernel, halves: Halves, shares: int, limits: Limits) -> tuple[Loop, int, int]:
    """The nest over rows, and the lanes and the size of the teams that have so many shares."""
    nest = halves.first.body[-1]
    assert isinstance(nest, Loop)
    units = Nest((Unit(halves.axis, shares),), (), nest.body)
    lanes = lanes_of_rows(kernel, units)
    return nest, lanes, team_size(units, wholes(kernel.domain), lanes, limits)


def _has_apart_rows(halves: Halves, roots: Sequence[Root]) -> bool:
    """Whether rows, but for their totals, do not see each other."""
    first = halves.first
    every = [*roots, *(part_root(first, i) for i in range(len(roots), len(first.buffers)))]
    return is_apart(first._replace(body=first.body[-1:]), every, halves.axis)


def part_root(kernel: Kernel, buffer: int) -> Root:
    """The memory of totals of a team."""
    return Root("arena", -1, kernel.buffers[buffer].dtype, nbytes_of(kernel, buffer))
