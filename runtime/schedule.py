"""From fused equations to loop nests.

A loop group runs over its kept axes; inside, once for each reduction that waits for another, over
the reduced axes (a *stage*: softmax has three, for the maximum, the sum and the result).  A value
is computed at the outermost loop that binds every axis it depends on.  What one stage computes and
a later one needs is computed again if that is cheap, and kept in a scratch row if it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.axis_maps import AxisMap, result_map
from graphc.build import zero_of
from graphc.ir import NO_ATTRS, Atom, Eqn, Graph, Lit, Type, Var
from graphc.ops import elementwise, reduce, shape
from graphc.ops.reduce import REDUCTIONS
from graphc.runtime.collapse import collapse
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Operand,
    Statement,
    Store,
)
from graphc.runtime.layout import Layout, contiguous

COSTLY = {"divide": 5, "sqrt": 5, "rsqrt": 8, "reciprocal": 5, "mod": 8, "floor_divide": 8}
CHEAP = {
    *("add", "subtract", "multiply", "negative", "abs", "square", "maximum", "minimum", "where"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "cast", "sign"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite"),
    *("floor", "ceil", "round", "trunc", "bitwise_and", "bitwise_or", "bitwise_xor"),
    *("bitwise_not", "left_shift", "right_shift", "broadcast", "reshape", "iota"),
}
RECOMPUTE_COST = 6
"""Up to this many cheap operations are done again in a later stage rather than stored."""
SCRATCH_BYTES = 128 * 1024
"""A scratch row that leaves the L2 cache costs more than computing its values again."""


def cost(op_name: str) -> int:
    """About how many additions one element of an operation takes."""
    return 1 if op_name in CHEAP else COSTLY.get(op_name, 15)


class Buffers:
    """The buffers of a kernel under construction."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []

    def add(self, name: str, dtype: str, size: int, role: str) -> int:
        self.buffers.append(Buffer(f"{name}{len(self.buffers)}", dtype, size, role))
        return len(self.buffers) - 1


def strides_along(axes: AxisMap, layout: Layout, rank: int) -> tuple[int, ...]:
    """The stride of each domain axis, for a value whose axis i runs along axes[i]."""
    strides = [0] * rank
    for axis, size, stride in zip(axes, layout.shape, layout.strides, strict=True):
        if axis is not None and size != 1:
            strides[axis] = stride
    return tuple(strides)


def extent(layout: Layout) -> int:
    """One more than the largest offset of an element."""
    if 0 in layout.shape:
        return 0
    reach = sum((n - 1) * s for n, s in zip(layout.shape, layout.strides, strict=True) if s > 0)
    return layout.offset + reach + 1


# ---- values of a loop group ----------------------------------------------------------------------


@dataclass
class NestValue:
    """A value inside a loop nest: how to make it, its axes, the stage in which it is ready."""

    name: Name
    make: Statement | None
    needs: tuple[NestValue, ...]
    support: frozenset[int]
    stage: int = 0
    is_total: bool = False
    total_cost: int = 0
    saved: Access | None = None


@dataclass
class Nest:
    """The parts of a loop group while it is being scheduled."""

    domain: tuple[int, ...]
    reduce: tuple[int, ...]
    buffers: Buffers = field(default_factory=Buffers)
    values: dict[Var, NestValue | Lit] = field(default_factory=dict)
    loads: dict[Access, NestValue] = field(default_factory=dict)
    totals: list[tuple[NestValue, Accumulator]] = field(default_factory=list)
    stores: list[tuple[int, AxisMap, NestValue | Lit, Access]] = field(default_factory=list)
    count: int = 0

    @property
    def keep(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.domain)) if i not in self.reduce)

    def fresh(self, dtype: str) -> Name:
        self.count += 1
        return Name(self.count, dtype)


def schedule_loop(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "loop"."""
    body: Graph = eqn.attrs["body"]
    nest = Nest(tuple(eqn.attrs["domain"]), tuple(eqn.attrs["reduce"]))
    sources = add_operands(nest, body, operands)
    add_equations(nest, body.eqns, eqn.attrs["maps"], sources)
    add_results(nest, body, eqn.attrs["maps"], results)
    statements = _statements(nest)
    return collapse(Kernel(name, nest.domain, tuple(nest.buffers.buffers), tuple(statements)))


def add_operands(
    nest: Nest, body: Graph, operands: Sequence[Layout]
) -> Mapping[Var, tuple[int, Layout]]:
    return {
        param: (nest.buffers.add("x", param.type.dtype, extent(layout), "in"), layout)
        for param, layout in zip(body.params, operands, strict=True)
    }


def add_equations(
    nest: Nest,
    eqns: Iterable[Eqn],
    maps: Sequence[AxisMap],
    sources: Mapping[Var, tuple[int, Layout]],
) -> None:
    for inner, own in zip(eqns, maps, strict=True):
        ins = [_operand(nest, atom, own, sources) for atom in inner.ins]
        nest.values[inner.out] = _define(nest, inner, own, ins)


def _operand(
    nest: Nest,
    atom: Atom,
    own: AxisMap,
    sources: Mapping[Var, tuple[int, Layout]],
) -> NestValue | Lit:
    if isinstance(atom, Lit):
        return Lit(atom.value, Type(atom.type.dtype))
    if atom in nest.values:
        return nest.values[atom]
    buffer, layout = sources[atom]
    access = Access(buffer, layout.offset, strides_along(own, layout, len(nest.domain)))
    if access not in nest.loads:
        support = frozenset(axis for axis, stride in enumerate(access.strides) if stride)
        out = nest.fresh(atom.type.dtype)
        nest.loads[access] = NestValue(out, Load(out, access), (), support)
    return nest.loads[access]


def _define(nest: Nest, eqn: Eqn, own: AxisMap, ins: Sequence[NestValue | Lit]) -> NestValue | Lit:
    needs = tuple(x for x in ins if isinstance(x, NestValue))
    stage = max((x.stage + x.is_total for x in needs), default=0)
    if eqn.op in REDUCTIONS and any(own[i] is not None for i in eqn.attrs["axes"]):
        return _define_total(nest, eqn, ins[0], stage)
    if eqn.op is reduce.sum and eqn.attrs["axes"]:  # of one element, but a sum of -0.0 is 0.0
        dtype = eqn.out.type.dtype
        eqn = eqn.replace(op=elementwise.add, attrs=NO_ATTRS)
        ins = (ins[0], Lit(zero_of(dtype), Type(dtype)))
    elif eqn.op in (shape.broadcast, shape.reshape) or eqn.op in REDUCTIONS:
        return ins[0]
    out = nest.fresh(eqn.out.type.dtype)
    if eqn.op is shape.iota:
        axis = own[eqn.attrs["axis"]]
        if axis is None:
            zero = Lit(0, Type("i64"))
            return NestValue(out, _cast(out, zero, eqn.attrs["dtype"]), (), frozenset())
        position = nest.fresh("i64")
        index = NestValue(position, Index(position, axis), (), frozenset({axis}))
        made = _cast(out, position, eqn.attrs["dtype"])
        return NestValue(out, made, (index,), frozenset({axis}), total_cost=1)
    operands = tuple(x.name if isinstance(x, NestValue) else x for x in ins)
    return NestValue(
        out,
        Compute(out, eqn.op.name, operands, tuple(eqn.attrs.items())),
        needs,
        frozenset().union(*(x.support for x in needs)),
        stage,
        total_cost=min(
            1000,  # a bound: the sum over a graph that shares values grows without one
            cost(eqn.op.name) + sum(0 if x.is_total else x.total_cost for x in needs),
        ),
    )


def _cast(out: Name, value: Operand, dtype: str) -> Compute:
    return Compute(out, "cast", (value,), (("dtype", dtype),))


def _define_total(nest: Nest, eqn: Eqn, source: NestValue | Lit, stage: int) -> NestValue:
    out = nest.fresh(eqn.out.type.dtype)
    needs = (source,) if isinstance(source, NestValue) else ()
    total = NestValue(out, None, needs, frozenset(nest.keep), stage, is_total=True)
    operand = source.name if isinstance(source, NestValue) else source
    nest.totals.append((total, Accumulator(out, eqn.op.name, operand)))
    return total


def add_results(
    nest: Nest, body: Graph, maps: Sequence[AxisMap], results: Sequence[Layout]
) -> None:
    own = {eqn.out: result_map(eqn, m) for eqn, m in zip(body.eqns, maps, strict=True)}
    for out, layout in zip(body.outs, results, strict=True):
        buffer = nest.buffers.add("y", out.type.dtype, extent(layout), "out")
        axes = own[out] if isinstance(out, Var) else ()
        access = Access(buffer, layout.offset, strides_along(axes, layout, len(nest.domain)))
        value = nest.values[out] if isinstance(out, Var) else Lit(out.value, Type(out.type.dtype))
        nest.stores.append((_ready(value), axes, value, access))


def _ready(value: NestValue | Lit) -> int:
    """The first stage in which a value can be read."""
    return 0 if isinstance(value, Lit) else value.stage + value.is_total


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

    def emit(self, value: NestValue | Lit) -> None:
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
    last = max([stage for stage, *_ in nest.stores] + [t.stage for t, _ in nest.totals] + [0])
    for stage in range(last + 1):
        _emit_stage(nest, row, stage)
    vector_axis = len(nest.domain) - 1
    for axis, block, outer in reversed(list(zip(nest.keep, blocks[1:], blocks[:-1], strict=True))):
        outer.statements.append(Loop((axis,), axis == vector_axis, tuple(block.statements)))
    return blocks[0].statements


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
        operand = value if isinstance(value, Lit) else value.name
        block.statements.append(Store(access, operand))
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
    found: dict[int, NestValue] = {}
    seen: set[int] = set()
    while waiting:
        value, reader = waiting.popleft()
        inside = not value.support <= frozenset(nest.keep) and not value.is_total
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
    if size * 8 > SCRATCH_BYTES:
        return None
    buffer = nest.buffers.add("row", value.name.dtype, size, "scratch")
    return Access(buffer, 0, strides_along(tuple(axes), layout, len(nest.domain)))
