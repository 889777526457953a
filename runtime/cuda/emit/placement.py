"""Where the scratch memory of a nest lies, and how many of its units run at once.

The planner gives a kernel one scratch buffer of each kind, which one unit after the other may use.
Units that run at the same time need one each, unless each touches a part of its own:

  - rows that a team reads only in the turns in which it wrote them are in registers alone;
  - what fits is in shared memory, or, for a thread by itself, on its stack;
  - the rest is in the workspace, and no more units run at once than it has room for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.simt import shared_array
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.plan.device_kernel import SHARED_BYTES, WARP, Limits
from graphc.runtime.cuda.plan.forms import Form, sizes_inside
from graphc.runtime.cuda.plan.mapping import Nest, is_spreadable
from graphc.runtime.cuda.plan.spreading import is_held, is_straight, spread_of
from graphc.runtime.cuda.plan.tensor_tiling import tiles_bytes
from graphc.runtime.cuda.plan.whole import nbytes_of, whole, wholes
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    Transpose,
    accesses,
    inner,
    is_plain,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.program import Root

STACK_BYTES = 256
"""The most scratch memory of a thread that is on its stack."""
RESERVED_SHARED = 16 * 1024
"""Shared memory that is kept for putting totals together, and for totals over rows."""


class Placement(NamedTuple):
    """The size of a launch, and where scratch buffers lie in it."""

    grid: int
    block: int
    teams: int
    """Teams, or threads, that run at once in the whole grid."""
    stop: int
    """The bytes of workspace that are in use."""
    registers: frozenset[int]
    own: frozenset[int]
    """The buffers that each team has for itself."""
    shared: tuple[tuple[int, Reg, int], ...] = ()
    """Buffers in shared memory: number, address, bytes from one team of a block to the next."""
    stack: tuple[tuple[int, int], ...] = ()
    work: tuple[tuple[int, int, int], ...] = ()
    """Buffers in the workspace: number, place of the first, bytes from team to team."""
    pitches: Mapping[int, int] = MappingProxyType({})
    """Tiles in shared memory whose rows lie an element further apart than they are long, so that
    threads that read down a column do not meet in one bank: and how long they are."""

    def apply(self, emitter: ThreadEmitter, work: Reg, number: Reg) -> None:
        """Tell an emitter where its buffers are; `number` is that of its team in the grid."""
        f = emitter.f
        for buffer, address, step in self.shared:
            base = address
            if step:
                within = f.binary("urem", number, constant(self.teams // self.grid, I64))
                base = f.offset(address, "i8", f.mul(within, constant(step, I64)))
            emitter.bases[buffer] = base
        for buffer, nbytes in self.stack:
            emitter.bases[buffer] = f.on_stack(nbytes)
        for buffer, start, step in self.work:
            place = f.add(f.mul(number, constant(step, I64)), constant(start, I64))
            emitter.bases[buffer] = f.offset(work, "i8", place)


def private_scratch(kernel: Kernel, nest: Nest) -> list[int]:
    """The scratch buffers that units running at once must not share."""
    axes = [unit.axis for unit in nest.units if unit.turns > 1 and unit.blocks is None]
    blocked = any(unit.blocks is not None and unit.turns > 1 for unit in nest.units)
    found = []
    touched: dict[int, set[Access]] = {}
    for access in accesses((*nest.before, *nest.body)):
        touched.setdefault(access.buffer, set()).add(access)
    for buffer, ways in touched.items():
        if kernel.buffers[buffer].role != "scratch":
            continue
        if blocked or any(not access.strides[axis] for access in ways for axis in axes):
            found.append(buffer)
    return found


# ---- threads -------------------------------------------------------------------------------------


def place_for_threads(
    kernel: Kernel, nest: Nest, shape: tuple[int, int], limits: Limits, start: int
) -> Placement:
    """A scratch buffer for each thread."""
    (grid, block), stack, work = shape, [], []
    private = private_scratch(kernel, nest)
    large = [b for b in private if nbytes_of(kernel, b) > STACK_BYTES]
    stack = [(b, nbytes_of(kernel, b)) for b in private if b not in large]
    each = sum(nbytes_of(kernel, b) for b in large)
    if each:
        threads = max(limits.most_workspace // each, 1)
        block = min(block, max(threads // WARP * WARP, WARP))
        grid = max(min(grid, threads // block), 1)
    for buffer in large:
        work.append((buffer, start, nbytes_of(kernel, buffer)))
        start += grid * block * nbytes_of(kernel, buffer)
    own = frozenset(private)
    return Placement(
        grid, block, grid * block, start, frozenset(), own, (), tuple(stack), tuple(work)
    )


# ---- teams ---------------------------------------------------------------------------------------


def place_for_teams(
    kernel: Kernel,
    roots: Sequence[Root],
    form: Form,
    count: int,
    limits: Limits,
    start: int,
    f: Function,
    grid_is_fixed: bool = False,
) -> Placement:
    """A scratch buffer for each team; `count` units wait for one, or with `grid_is_fixed` have a
    team each."""
    is_warp = form.team == WARP
    per_block = max(min(limits.threads // WARP, count), 1) if is_warp else 1
    block = per_block * form.team
    teams_wanted = -(-count // per_block)
    grid = max(min(teams_wanted, limits.most_blocks), 1)
    registers = register_rows(kernel, roots, form)
    private = [b for b in private_scratch(kernel, form.nest) if b not in registers]
    shared, pitches = _in_shared(kernel, form, private, per_block, limits, f)
    large = [b for b in private if b not in {number for number, _, _ in shared}]
    each = sum(nbytes_of(kernel, b) for b in large) * per_block
    if grid_is_fixed:
        grid = teams_wanted
    elif each:
        grid = max(min(grid, limits.most_workspace // each), 1)
    work = []
    for buffer in large:
        work.append((buffer, start, nbytes_of(kernel, buffer)))
        start += grid * per_block * nbytes_of(kernel, buffer)
    own = frozenset(private) | registers
    return Placement(
        grid,
        block,
        grid * per_block,
        start,
        registers,
        own,
        tuple(shared),
        (),
        tuple(work),
        pitches,
    )


def _in_shared(
    kernel: Kernel,
    form: Form,
    private: Sequence[int],
    per_block: int,
    limits: Limits,
    f: Function,
) -> tuple[list[tuple[int, Reg, int]], dict[int, int]]:
    """The buffers that shared memory has room for, small ones first, and the pitches of tiles."""
    if form.kind == "tiles" and limits.tensor_elems:  # whose panels take what there is
        return [], {}
    room = SHARED_BYTES - RESERVED_SHARED - tiles_bytes(kernel, form.nest.body, form.team, limits)
    shared: list[tuple[int, Reg, int]] = []
    pitches: dict[int, int] = {}
    for buffer in sorted(private, key=lambda b: nbytes_of(kernel, b)):
        nbytes = nbytes_of(kernel, buffer)
        pitch = tile_pitch(form.nest.body, buffer)
        if pitch is not None:
            nbytes += -(-nbytes // pitch // 16) * 16
        if nbytes * per_block > room:
            break
        if pitch is not None:
            pitches[buffer] = pitch
        room -= nbytes * per_block
        address = shared_array(f.module, f"{f.name}_scratch_{buffer}", nbytes * per_block)
        shared.append((buffer, address, nbytes if per_block > 1 else 0))
    return shared, pitches


def tile_pitch(statements: Sequence[Statement], buffer: int) -> int | None:
    """The length of the rows of a tile that a transposed copy goes through."""
    for statement in inner(statements):
        if isinstance(statement, Transpose) and statement.target.buffer == buffer:
            return whole(statement.target.strides[statement.row])
        if isinstance(statement, Transpose) and statement.source.buffer == buffer:
            return whole(statement.source.strides[statement.column])
    return None


def register_rows(kernel: Kernel, roots: Sequence[Root], form: Form) -> frozenset[int]:
    """The scratch buffers that each thread of a team reads only in the turns in which it wrote
    them, where those turns are written one after the other."""
    inside = kernel._replace(domain=tuple(sizes_inside(kernel, form.nest)))
    found = rows_in_registers(inside, roots, form.nest.body, form.lanes, form.team)
    return found - touched_elsewhere(kernel, form.nest)


def rows_in_registers(
    kernel: Kernel, roots: Sequence[Root], statements: Sequence[Statement], lanes: int, team: int
) -> frozenset[int]:
    """The same for the statements that a team of so many threads runs one after the other."""
    sizes = wholes(kernel.domain)
    ways: dict[int, set[object]] = {}
    for statement in statements:
        fits = isinstance(statement, Loop) and is_straight(statement.body)
        spread = None
        if isinstance(statement, Loop) and fits:
            spread = spread_of(statement, sizes, lanes)
            fits = spread.turns > 0 and is_held(statement, spread, team)
            fits = fits and is_spreadable(kernel, roots, statement)
        own = inner((statement,)) if not isinstance(statement, Blocks) else inner(statement.body)
        for part in own:
            for access in [] if isinstance(part, (Loop, Blocks)) else accesses((part,)):
                simple = isinstance(part, (Load, Store)) and is_plain(part)
                key = (spread, access) if fits and simple else None
                ways.setdefault(access.buffer, set()).add(key)
    return frozenset(
        buffer
        for buffer, keys in ways.items()
        if kernel.buffers[buffer].role == "scratch" and len(keys) == 1 and None not in keys
    )


def touched_elsewhere(kernel: Kernel, nest: Nest) -> frozenset[int]:
    """The buffers that other launches of the kernel touch as well."""
    own = {id(s) for s in inner((*nest.before, *nest.body))}
    others = (s for s in inner(kernel.body) if id(s) not in own)
    plain = (s for s in others if not isinstance(s, (Loop, Blocks)))
    return frozenset(access.buffer for s in plain for access in accesses((s,)))
