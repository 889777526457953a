"""From fused equations to loop nests.

A loop group runs over its kept axes; inside, once for each reduction that waits for another, over
the reduced axes (a *stage*: softmax has three, for the maximum, the sum and the result).  A value
is computed at the outermost loop that binds every axis it depends on.  What one stage computes and
a later one needs is computed again if that is cheap, and kept in a scratch row if it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from graphc.axis_maps import (
    AxisMap,
    is_column_total,
    is_read_elsewhere,
    reduced_axes,
    result_map,
)
from graphc.ir import Eqn, Graph, Lit, Type, Var
from graphc.ops.reduce import REDUCTIONS
from graphc.questions import hint
from graphc.runtime.collapse import collapse
from graphc.runtime.coordinates import along
from graphc.runtime.distribute import distribute
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Operand,
    Statement,
    Store,
)
from graphc.runtime.layout import Layout, contiguous
from graphc.runtime.nest import Nest, NestValue, Sum, Value, extent, operand, strides_along
from graphc.runtime.short_axes import write_out_short_axes
from graphc.runtime.tiling import tile
from graphc.runtime.values import demand

RECOMPUTE_COST = 6
"""Up to this many cheap operations are done again in a later stage rather than stored."""
SCRATCH_BYTES = 128 * 1024
"""A scratch row that leaves the L2 cache costs more than computing its values again."""


def schedule_loop(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "loop"."""
    nest = collapse(schedule_nest(name, eqn, operands, results))
    kernel = distribute(write_out_short_axes(nest))
    body, maps = eqn.attrs["body"].eqns, eqn.attrs["maps"]
    adds_rows = any(
        is_column_total(e, own, eqn.attrs["reduce"]) for e, own in zip(body, maps, strict=True)
    )
    return kernel if adds_rows else tile(kernel)  # tiles overlap: rows would be added twice


def schedule_nest(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The same with a loop for each axis of the domain."""
    body: Graph = eqn.attrs["body"]
    nest = Nest(tuple(eqn.attrs["domain"]), tuple(eqn.attrs["reduce"]))
    add_operands(nest, body, operands)
    add_equations(nest, body.eqns, eqn.attrs["maps"])
    add_results(nest, body, eqn.attrs["maps"], results)
    statements = tuple(_statements(nest))  # adds buffers
    return Kernel(name, nest.domain, tuple(nest.buffers.buffers), statements)


def add_operands(nest: Nest, body: Graph, operands: Sequence[Layout]) -> None:
    for param, layout in zip(body.params, operands, strict=True):
        buffer = nest.buffers.add("x", param.type.dtype, extent(layout), "in")
        nest.sources[param] = (buffer, layout)


def add_equations(nest: Nest, eqns: Sequence[Eqn], maps: Sequence[AxisMap]) -> None:
    """The values of the equations that run along the domain; the others wait to be read."""
    for eqn, own in zip(eqns, maps, strict=True):
        nest.makers[eqn.out] = eqn
        if is_read_elsewhere(eqn, own):
            continue
        if eqn.op in REDUCTIONS and reduced_axes(eqn, own):
            source = demand(nest, eqn.ins[0], along(own))
            if reduced_axes(eqn, own) >= frozenset(nest.reduce):
                source = nest.given[eqn.out] = _total(nest, eqn, source)
            if is_column_total(eqn, own, nest.reduce):
                nest.summed[eqn.out] = source
        else:
            demand(nest, eqn.out, along(result_map(eqn, own)))


def _total(nest: Nest, eqn: Eqn, source: Value) -> NestValue:
    """The total over a row."""
    out = nest.fresh(eqn.out.type.dtype)
    needs = (source,) if isinstance(source, NestValue) else ()
    stage = _ready(source)
    total = NestValue(out, None, needs, frozenset(nest.keep), stage, is_total=True)
    nest.totals.append((total, Accumulator(out, eqn.op.name, operand(source))))
    return total


def add_results(
    nest: Nest, body: Graph, maps: Sequence[AxisMap], results: Sequence[Layout]
) -> None:
    own = {eqn.out: result_map(eqn, m) for eqn, m in zip(body.eqns, maps, strict=True)}
    summed: list[tuple[Var, Access]] = []
    for out, layout in zip(body.outs, results, strict=True):
        buffer = nest.buffers.add("y", out.type.dtype, extent(layout), "out")
        axes = own[out] if isinstance(out, Var) else ()
        access = Access(buffer, layout.offset, strides_along(axes, layout, len(nest.domain)))
        if isinstance(out, Var) and out in nest.summed:
            summed.append((out, access))
        else:
            value = demand(nest, out, along(axes))
            nest.stores.append((_ready(value), axes, value, access))
    for out, access in summed:  # scratch buffers follow those of the results
        place = _place_of_sum(nest, out.type, own[out])
        nest.sums.append(Sum(nest.summed[out], place, access))


def _place_of_sum(nest: Nest, type: Type, axes: AxisMap) -> Access:
    """Scratch memory for a total over rows.

    One number is added up in f64: over all rows, f32 would lose what NumPy's pairwise sum keeps.
    """
    layout = contiguous(type.shape)
    dtype = type.dtype if type.shape else "f64"
    buffer = nest.buffers.add("sum", dtype, max(type.size, 1), "scratch")
    return Access(buffer, 0, strides_along(axes, layout, len(nest.domain)))


def _ready(value: Value) -> int:
    """The first stage in which a value can be read."""
    return 0 if isinstance(value, Lit) else value.ready


# ---- statements of a loop group ------------------------------------------------------------------


class Block:
    """Statements of one loop body: emits each value once, after what it needs."""

    def __init__(self, bound: frozenset[int], outer: Block | None = None):
        self.bound = bound
        self.outer = outer
        self.statements: list[Statement] = []
        self.done: dict[int, Name] = {}

    def knows(self, value: NestValue) -> bool:
        return value.name.number in self.done or (
            self.outer is not None and self.outer.knows(value)
        )

    def emit(self, value: Value) -> None:
        """Make `value` available here, in the outermost block that binds all of its axes.

        With a stack of its own: chains of operations are longer than Python's.
        """
        waiting = [] if isinstance(value, Lit) else [value]
        while waiting:
            value = waiting[-1]
            if value.is_total or self.knows(value):
                waiting.pop()
            elif self.outer is not None and value.saved is None and self._is_outer(value):
                self.outer.emit(value)
            elif value.saved is not None:
                self._append(value, Load(value.name, value.saved))
            elif missing := [x for x in value.needs if not (x.is_total or self.knows(x))]:
                waiting += reversed(missing)
            else:
                assert value.make is not None
                self._append(value, value.make)

    def _is_outer(self, value: NestValue) -> bool:
        return self.outer is not None and value.support <= self.outer.bound

    def _append(self, value: NestValue, statement: Statement) -> None:
        self.statements.append(statement)
        self.done[value.name.number] = value.name


def _statements(nest: Nest) -> list[Statement]:
    """The loops over kept axes, one in another, and in the innermost the stages."""
    blocks = [Block(frozenset())]
    for i in range(len(nest.keep)):
        blocks.append(Block(frozenset(nest.keep[: i + 1]), blocks[-1]))
    row = blocks[-1]
    stages = [stage for stage, *_ in nest.stores] + [t.stage for t, _ in nest.totals]
    last = max([*stages, *(_ready(s.value) for s in nest.sums), 0])
    for stage in range(last + 1):
        _emit_stage(nest, row, stage)
    vector_axis = len(nest.domain) - 1
    for axis, block, outer in reversed(list(zip(nest.keep, blocks[1:], blocks[:-1], strict=True))):
        outer.statements.append(Loop((axis,), axis == vector_axis, tuple(block.statements)))
    before = [part for s in nest.sums for part in _along_sum(nest, s, _cleared(nest, s))]
    after = [part for s in nest.sums for part in _along_sum(nest, s, _copied(nest, s))]
    return [*before, *blocks[0].statements, *after]


def _along_sum(nest: Nest, sum: Sum, body: tuple[Statement, ...]) -> list[Statement]:
    """Statements for each element of a total over rows."""
    axes = tuple(axis for axis in nest.reduce if sum.at.strides[axis])
    return [Loop(axes, vector=True, body=body)] if axes else [*body]


def _dtype_at(nest: Nest, access: Access) -> str:
    return nest.buffers.buffers[access.buffer].dtype


def _cleared(nest: Nest, sum: Sum) -> tuple[Statement, ...]:
    return (Store(sum.at, Lit(0.0, Type(_dtype_at(nest, sum.at)))),)


def _added(nest: Nest, sum: Sum) -> tuple[Statement, ...]:
    """`at += value`; nothing but the next row reads it before the nest has ended."""
    dtype = _dtype_at(nest, sum.at)
    cast, value = _as_dtype(nest, operand(sum.value), dtype)
    old, new = nest.fresh(dtype), nest.fresh(dtype)
    return *cast, Load(old, sum.at), Compute(new, "add", (old, value)), Store(sum.at, new)


def _copied(nest: Nest, sum: Sum) -> tuple[Statement, ...]:
    total = nest.fresh(_dtype_at(nest, sum.at))
    cast, value = _as_dtype(nest, total, _dtype_at(nest, sum.result))
    return Load(total, sum.at), *cast, Store(sum.result, value)


def _as_dtype(nest: Nest, value: Operand, dtype: str) -> tuple[tuple[Statement, ...], Operand]:
    """What makes the value one of another dtype, and that."""
    if (value.type.dtype if isinstance(value, Lit) else value.dtype) == dtype:
        return (), value
    out = nest.fresh(dtype)
    return (Compute(out, "cast", (value,), (("dtype", dtype),)),), out


def _emit_stage(nest: Nest, row: Block, stage: int) -> None:
    """What can be read from `stage` on: row values and their stores, then the inner loop."""
    inner = Block(frozenset(range(len(nest.domain))), row)
    accumulators = []
    for total, accumulator in nest.totals:
        if total.stage == stage:
            if total.needs:
                inner.emit(total.needs[0])
            accumulators.append(accumulator)
    for ready, axes, value, access in nest.stores:
        if ready != stage:
            continue
        block = inner if any(axis in nest.reduce for axis in axes) else row
        block.emit(value)
        block.statements.append(Store(access, operand(value)))
    for sum in (s for s in nest.sums if _ready(s.value) == stage):
        block = inner if any(sum.at.strides[axis] for axis in nest.reduce) else row
        block.emit(sum.value)
        block.statements += _added(nest, sum)
    inner.statements += _saves(nest, inner, stage)
    if inner.statements or accumulators:
        vector = nest.reduce[-1:] == (len(nest.domain) - 1,)
        row.statements.append(
            Loop(nest.reduce, vector, tuple(inner.statements), tuple(accumulators))
        )


def _saves(nest: Nest, inner: Block, stage: int) -> list[Statement]:
    """Stores into scratch rows of what later stages need and is not cheap to compute again."""
    statements: list[Statement] = []
    for value in _needed_later(nest, stage):
        worth = value.total_cost > RECOMPUTE_COST and value.name.number in inner.done
        access = _scratch(nest, value) if worth else None
        if access is not None:
            statements.append(Store(access, value.name))
            value.saved = access
    return statements


def _needed_later(nest: Nest, stage: int) -> list[NestValue]:
    """Inner values of this stage that a later stage reads directly."""
    readers = [total for total, _ in nest.totals if total.stage > stage]
    waiting = deque((need, total.stage) for total in readers for need in total.needs)
    for ready, _, result, _ in nest.stores:
        if isinstance(result, NestValue) and ready > stage:
            waiting.append((result, ready))
    for sum in nest.sums:
        if isinstance(sum.value, NestValue) and sum.value.ready > stage:
            waiting.append((sum.value, sum.value.ready))
    found: dict[int, NestValue] = {}
    seen: set[int] = set()
    kept = frozenset(nest.keep)
    while waiting:
        value, reader = waiting.popleft()
        inside = not value.support <= kept and not value.is_total
        if inside and value.saved is None and value.stage <= stage < reader:
            found.setdefault(value.name.number, value)
        elif not value.is_total and value.name.number not in seen:
            seen.add(value.name.number)
            waiting += [(need, reader) for need in value.needs]
    return list(found.values())


def _scratch(nest: Nest, value: NestValue) -> Access | None:
    """A scratch row over the reduced axes (and the vector axis), unless it would be too large."""
    vector_axis = len(nest.domain) - 1
    axes = [*nest.reduce, *([vector_axis] if vector_axis not in nest.reduce else [])]
    axes = [axis for axis in axes if axis in value.support]
    layout = contiguous(tuple(nest.domain[axis] for axis in axes))
    size = extent(layout)
    if hint(size) * 8 > SCRATCH_BYTES:
        return None
    buffer = nest.buffers.add("row", value.name.dtype, size, "scratch")
    return Access(buffer, 0, strides_along(tuple(axes), layout, len(nest.domain)))
