"""Which form a phase of a kernel takes on a device: decisions alone, no code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.ir import Lit
from graphc.runtime.cuda.plan.additions import additions_of
from graphc.runtime.cuda.plan.device_kernel import WARP, Limits
from graphc.runtime.cuda.plan.last_writer import writers_of
from graphc.runtime.cuda.plan.mapping import (
    Nest,
    Unit,
    by_itself,
    is_apart,
    is_spreadable,
    peeled,
    peeled_adding,
)
from graphc.runtime.cuda.plan.phases import PLAIN, Phase
from graphc.runtime.cuda.plan.running import running_of
from graphc.runtime.cuda.plan.scans import scan_of
from graphc.runtime.cuda.plan.small_matrices import is_small_matrix
from graphc.runtime.cuda.plan.sorting import sorting_of
from graphc.runtime.cuda.plan.spreading import (
    MOST_TURNS,
    lanes_of_access,
    merged,
    spread_of,
    touches_of,
)
from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.kernel import (
    AddAt,
    Blocks,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    inner,
)
from graphc.runtime.program import Root

TINY_ROW = 8
"""Rows of at most so many elements are not worth a team."""
MOST_RANGES = 4096
"""Each of them looks at all positions."""
LEAST_PART = 32
"""A thread that totals a part of a column has at least so many rows."""
USUAL_THREADS = 512
"""With so many threads each has 128 registers for the rows that it holds."""
MOST_THREADS = 1024


class Targets(NamedTuple):
    """The places that a nest adds at, by a computed position, in `ranges` of `size` places."""

    position: int
    size: int
    ranges: int


class Form(NamedTuple):
    """How the nest of a phase is run: `team` threads for each unit, `lanes` units or elements in
    one access, `parts` of each reduction side by side."""

    kind: str
    """"elements", "threads", "teams", "tiles", "sorted", "scanned", "added", "written"
    or "together"."""
    nest: Nest
    team: int = 1
    lanes: int = 1
    parts: int = 1
    fixed: frozenset[int] = frozenset()
    """Axes of units whose loops are inside of others."""
    targets: Targets | None = None
    """What each unit adds at, divided among threads."""
    adds_at_once: bool = False
    """Whether units add at the same place at the same time."""


def choose_form(
    kernel: Kernel, roots: Sequence[Root], phase: Phase, limits: Limits, atomics: bool = False
) -> Form:
    if phase.main is None:
        return Form("together", Nest((), (), ()), WARP)
    if (adding := _adding_form(kernel, roots, phase.main, limits, atomics)) is not None:
        return adding
    nest = peeled(kernel, roots, phase.main)
    if (routine := _routine_form(nest, limits)) is not None:
        return routine
    statements = list(inner(nest.body))
    sizes = sizes_inside(kernel, nest)
    if isinstance(nest.body[-1], Product) and all(isinstance(s, PLAIN) for s in nest.body[:-1]):
        return Form("tiles", nest, limits.threads)
    if all(isinstance(s, (*PLAIN, AddAt)) for s in nest.body) and nest.units:
        return Form("elements", nest, 1, _lanes_of_units(kernel, nest))
    if any(isinstance(s, (AddAt, Native)) for s in statements):
        fixed = _with_inner_axes(kernel, roots, phase.main, nest, limits)
        if fixed.nest.units or any(isinstance(s, Native) for s in statements):
            return fixed
    if nest.units and _runs_along_columns(nest, sizes):
        return _in_parts(kernel, roots, Form("threads", nest), limits)
    nest = _merged(kernel, roots, nest)
    lanes = lanes_of_rows(kernel, nest)
    team = team_size(nest, sizes, lanes, limits)
    kind = "teams" if nest.units or isinstance(phase.main, Loop) else "together"
    return _in_parts(kernel, roots, Form(kind, nest, team, lanes), limits)


def _adding_form(
    kernel: Kernel, roots: Sequence[Root], main: Statement, limits: Limits, atomics: bool
) -> Form | None:
    """The form of a nest that adds at computed positions, for many threads."""
    if atomics or _adds_exactly(kernel, main):
        together = peeled_adding(kernel, roots, main)
        if together is not None:
            return Form("elements", together, adds_at_once=True)
    added = additions_of(kernel, roots, main, limits)
    if added is None:
        return None
    return Form("added", Nest((*added.entries, *added.columns), (), added.statements))


def _routine_form(nest: Nest, limits: Limits) -> Form | None:
    """The form of a nest with a routine that many threads can share."""
    if sorting_of(nest) is not None:
        return Form("sorted", nest)
    if nest.units and any(is_small_matrix(s) for s in inner(nest.body)):
        return Form("teams", nest, WARP)
    if scan_of(nest, limits) is not None:
        return Form("scanned", nest)
    if writers_of(nest) is not None:
        return Form("written", nest)
    running = running_of(nest.body[0]) if len(nest.body) == 1 else None
    if running is None:
        return None
    wanted = max(running.columns if running.columns > 1 else limits.threads, 2 * WARP)
    return Form("teams", nest, min(-(-wanted // WARP) * WARP, limits.threads))


def _adds_exactly(kernel: Kernel, statement: Statement) -> bool:
    """Whether what is added at computed positions is the same in any order: integers."""
    added = [s.access.buffer for s in inner((statement,)) if isinstance(s, AddAt)]
    return bool(added) and all(kernel.buffers[b].dtype[0] in "iu" for b in added)


def _merged(kernel: Kernel, roots: Sequence[Root], nest: Nest) -> Nest:
    """The nest with loops that hold nothing but a loop as one of both, for the threads of a team
    to share."""
    inside = kernel._replace(domain=tuple(sizes_inside(kernel, nest)))
    return nest._replace(body=tuple(merged(inside, roots, s) for s in nest.body))


def work_of(kernel: Kernel) -> int:
    """The turns of all loops of a kernel, those of routines counted as many."""
    return sum(_turns(kernel, statement) for statement in kernel.body)


def _turns(kernel: Kernel, statement: Statement) -> int:
    match statement:
        case Loop(axes=axes, body=body):
            inside = sum(_turns(kernel, s) for s in body)
            return math.prod(wholes(kernel.domain[axis] for axis in axes)) * inside
        case Product(rows=rows, inner=depth, columns=columns):
            return math.prod(wholes((rows, depth, columns)))
        case Native() | Blocks() | Transpose():
            return math.prod(wholes(kernel.domain))
    return 1


def sizes_inside(kernel: Kernel, nest: Nest) -> list[int]:
    """The sizes of the axes for what a unit does."""
    sizes = list(wholes(kernel.domain))
    for unit in nest.units:
        if unit.blocks is not None:
            sizes[unit.axis] = whole(unit.blocks.size)
    return sizes


def _lanes_of_units(kernel: Kernel, nest: Nest) -> int:
    """How many neighbouring elements a thread takes: as many as one access may have."""
    loop, last = nest.innermost, nest.units[-1]
    if loop is None or not loop.vector or last.blocks is not None or last.axis not in loop.axes:
        return 1
    lanes = lanes_of_access(kernel)
    while last.turns % lanes:
        lanes //= 2
    return lanes


def lanes_of_rows(kernel: Kernel, nest: Nest) -> int:
    """How many neighbouring elements of a row a thread takes; of a tile with rows apart, one."""
    has_tile = any(isinstance(s, Transpose) for s in inner(nest.body))
    return 1 if has_tile else lanes_of_access(kernel)


def _runs_along_columns(nest: Nest, sizes: Sequence[int]) -> bool:
    """Whether threads for the units alone read side by side; or the rows are tiny."""
    below = list(inner(nest.body))
    if any(isinstance(s, (Transpose, Blocks, Product)) for s in below):
        return False
    loops = [s for s in below if isinstance(s, Loop)]
    if all(math.prod(sizes[axis] for axis in loop.axes) <= TINY_ROW for loop in loops):
        return True
    is_vector = nest.innermost is not None and nest.innermost.vector
    return is_vector and not any(loop.vector for loop in loops)


# ---- reductions in parts -------------------------------------------------------------------------


def _in_parts(kernel: Kernel, roots: Sequence[Root], form: Form, limits: Limits) -> Form:
    """The form with a single long reduction divided, where the units are too few for a device."""
    loop = single_reduction(form.nest)
    if loop is None or not is_repeatable(kernel, roots, form.nest):
        return form if form.nest.units else form._replace(kind="together")
    sizes = sizes_inside(kernel, form.nest)
    inside = kernel._replace(domain=tuple(sizes))
    parts, long = 1, 1
    if form.kind == "threads":
        axis = loop.axes[0]
        if is_apart(by_itself(inside, loop), roots, axis, reduces=True):
            room = limits.threads * limits.most_blocks // 4 // max(form.nest.size, 1)
            long = sizes[axis]
            parts = min(long // LEAST_PART, room)
    elif is_spreadable(inside, roots, loop):
        long = spread_of(loop, sizes, form.lanes).turns
        room = limits.most_blocks // 2 // max(form.nest.size, 1)
        parts = min(long // (MOST_TURNS * form.team), room)
    if parts > 1:
        each = -(-long // parts)
        return form._replace(parts=-(-long // each))
    return form if form.nest.units else form._replace(kind="together")


def single_reduction(nest: Nest) -> Loop | None:
    """The loop of a nest that only reduces, once."""
    loops = [s for s in nest.body if not isinstance(s, PLAIN)]
    if len(loops) == 1 and isinstance(loops[0], Loop) and loops[0].accumulators:
        return loops[0]
    return None


def is_repeatable(kernel: Kernel, roots: Sequence[Root], nest: Nest) -> bool:
    """Whether each part may run for itself what comes before the reduction.

    What an earlier launch has written does not change any more.
    """
    own = kernel._replace(body=(*nest.before, *nest.body))
    written = {
        memory
        for touch in touches_of(own, own.body, None)
        if touch.writes
        for memory in roots[touch.access.buffer].memories()
    }
    for statement in (*nest.before, *_until_loop(nest.body)):
        if isinstance(statement, Store):
            return False
        if isinstance(statement, Load) and not written.isdisjoint(
            roots[statement.access.buffer].memories()
        ):
            return False
    return True


def _until_loop(body: Sequence[Statement]) -> Iterator[Statement]:
    for statement in body:
        if not isinstance(statement, PLAIN):
            return
        yield statement


# ---- teams ---------------------------------------------------------------------------------------


def team_size(nest: Nest, sizes: Sequence[int], lanes: int, limits: Limits) -> int:
    """The threads that work on a unit: a warp where a few turns of it are enough."""
    if any(isinstance(s, (Product, Transpose)) for s in inner(nest.body)):
        return limits.threads
    loops = [s for s in inner(nest.body) if isinstance(s, Loop)]
    turns = max((spread_of(loop, sizes, lanes).turns for loop in loops), default=1)
    many = nest.size >= 2 * limits.most_blocks
    if nest.units and turns <= WARP * (MOST_TURNS if many else MOST_TURNS // 2):
        return WARP
    wanted = 1 << (max(turns // 4, 1) - 1).bit_length()
    most = MOST_THREADS if turns > MOST_TURNS * USUAL_THREADS else USUAL_THREADS
    return max(2 * WARP, min(wanted, most, 4 * limits.threads))


# ---- loops inside of those that have an order ----------------------------------------------------


def _with_inner_axes(
    kernel: Kernel, roots: Sequence[Root], main: Statement, nest: Nest, limits: Limits
) -> Form:
    """A thread for each unit and each index of the inner axes that do not see each other, and for
    each range of the places that are added at.

    What is added at computed positions is added in order: each thread goes through all of the
    outer loop, and has elements of its own.
    """
    alone = by_itself(kernel, main)
    known = {unit.axis for unit in nest.units}
    inside = {
        a for s in inner(nest.body) if isinstance(s, Loop) and not s.accumulators for a in s.axes
    }
    reduced = {
        a for s in inner(nest.body) if isinstance(s, Loop) and s.accumulators for a in s.axes
    }
    blocked = {s.axis for s in inner(nest.body) if isinstance(s, Blocks)}
    found = [
        axis
        for axis in sorted(inside - reduced - blocked - known)
        if kernel.domain[axis] > 1 and is_apart(alone, roots, axis)
    ]
    units = (*nest.units, *(Unit(axis, whole(kernel.domain[axis])) for axis in found))
    nest = nest._replace(units=units)
    room = min(limits.threads * limits.most_blocks // 8 // max(nest.size, 1), MOST_RANGES)
    targets = _targets(nest, room)
    return Form("threads", nest, 1, 1, 1, frozenset(found), targets)


def _targets(nest: Nest, room: int) -> Targets | None:
    """The places of the only addition of a nest, if their position says how many there are."""
    statements = list(inner(nest.body))
    additions = [s for s in statements if isinstance(s, AddAt)]
    if len(additions) != 1 or not isinstance(additions[0].position, Name):
        return None
    number = additions[0].position.number
    for made in statements:
        if isinstance(made, Compute) and made.out.number == number and made.op == "minimum":
            most = made.ins[1]
            if isinstance(most, Lit) and (ranges := min(int(most.value) + 1, room)) > 1:
                each = -(-(int(most.value) + 1) // ranges)
                return Targets(number, each, -(-(int(most.value) + 1) // each))
    return None
