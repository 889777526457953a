"""From fused equations to loop nests.

A loop group runs over its kept axes; inside, once for each reduction that waits for another, over
the reduced axes (a *stage*: softmax has three, for the maximum, the sum and the result).  A value
is computed at the outermost loop that binds every axis it depends on.  What one stage computes and
a later one needs is computed again if that is cheap, and kept in a scratch row if it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.ir import Atom, Eqn, Graph, Lit, Type, Var
from graphc.ops import linalg, shape
from graphc.ops.reduce import REDUCTIONS
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
    Product,
    Statement,
    Store,
)
from graphc.runtime.layout import Layout, contiguous

AxisMap = tuple[int | None, ...]

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


# ---- values of a loop group --------------------------------------------------------------------------


@dataclass
class _Value:
    """A value inside a loop nest: how to make it, the axes it depends on, the stage it is ready in."""

    name: Name
    make: Statement | None
    needs: tuple[_Value, ...]
    support: frozenset[int]
    stage: int = 0
    is_total: bool = False
    total_cost: int = 0
    saved: Access | None = None


@dataclass
class _Nest:
    """The parts of a loop group while it is being scheduled."""

    domain: tuple[int, ...]
    reduce: tuple[int, ...]
    buffers: Buffers = field(default_factory=Buffers)
    values: dict[Var, _Value | Lit] = field(default_factory=dict)
    loads: dict[tuple[Any, ...], _Value] = field(default_factory=dict)
    totals: list[tuple[_Value, Accumulator]] = field(default_factory=list)
    stores: list[tuple[int, AxisMap, _Value | Lit, Access]] = field(default_factory=list)
    count: int = 0

    @property
    def keep(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.domain)) if i not in self.reduce)

    def fresh(self, dtype: str) -> Name:
        self.count += 1
        return Name(self.count, dtype)


def result_map(eqn: Eqn, own: AxisMap) -> AxisMap:
    if eqn.op in REDUCTIONS:
        return tuple(axis for i, axis in enumerate(own) if i not in eqn.attrs["axes"])
    return own


def schedule_loop(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "loop"."""
    body: Graph = eqn.attrs["body"]
    nest = _Nest(tuple(eqn.attrs["domain"]), tuple(eqn.attrs["reduce"]))
    sources = _add_operands(nest, body, operands)
    _add_equations(nest, body.eqns, eqn.attrs["maps"], sources)
    _add_results(nest, body, eqn.attrs["maps"], results)
    statements = _statements(nest)
    return collapse(Kernel(name, nest.domain, tuple(nest.buffers.buffers), tuple(statements)))


def _add_operands(
    nest: _Nest, body: Graph, operands: Sequence[Layout]
) -> Mapping[Var, tuple[int, Layout]]:
    return {
        param: (nest.buffers.add("x", param.type.dtype, extent(layout), "in"), layout)
        for param, layout in zip(body.params, operands, strict=True)
    }


def _add_equations(
    nest: _Nest,
    eqns: Iterable[Eqn],
    maps: Sequence[AxisMap],
    sources: Mapping[Var, tuple[int, Layout]],
) -> None:
    for inner, own in zip(eqns, maps, strict=True):
        ins = [_operand(nest, atom, inner, own, sources) for atom in inner.ins]
        nest.values[inner.out] = _define(nest, inner, own, ins)


def _operand(
    nest: _Nest,
    atom: Atom,
    eqn: Eqn,
    own: AxisMap,
    sources: Mapping[Var, tuple[int, Layout]],
) -> _Value | Lit:
    if isinstance(atom, Lit):
        return Lit(atom.value, Type(atom.type.dtype))
    if atom in nest.values:
        return nest.values[atom]
    buffer, layout = sources[atom]
    access = Access(buffer, layout.offset, strides_along(own, layout, len(nest.domain)))
    key = (access,)
    if key not in nest.loads:
        support = frozenset(axis for axis, stride in enumerate(access.strides) if stride)
        out = nest.fresh(atom.type.dtype)
        nest.loads[key] = _Value(out, Load(out, access), (), support)
    return nest.loads[key]


def _define(nest: _Nest, eqn: Eqn, own: AxisMap, ins: Sequence[_Value | Lit]) -> _Value | Lit:
    needs = tuple(x for x in ins if isinstance(x, _Value))
    stage = max((x.stage + x.is_total for x in needs), default=0)
    combines = eqn.op in REDUCTIONS and any(own[i] is not None for i in eqn.attrs["axes"])
    if combines:
        return _define_total(nest, eqn, ins[0], stage)
    if eqn.op in (shape.broadcast, shape.reshape) or eqn.op in REDUCTIONS:
        return ins[0]
    out = nest.fresh(eqn.out.type.dtype)
    if eqn.op is shape.iota:
        axis = own[eqn.attrs["axis"]]
        if axis is None:
            zero = Lit(0, Type("i64"))
            return _Value(out, _cast(out, zero, eqn.attrs["dtype"]), (), frozenset())
        position = nest.fresh("i64")
        index = _Value(position, Index(position, axis), (), frozenset({axis}))
        made = _cast(out, position, eqn.attrs["dtype"])
        return _Value(out, made, (index,), frozenset({axis}), total_cost=1)
    operands = tuple(x.name if isinstance(x, _Value) else x for x in ins)
    return _Value(
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


def _define_total(nest: _Nest, eqn: Eqn, source: _Value | Lit, stage: int) -> _Value:
    out = nest.fresh(eqn.out.type.dtype)
    needs = (source,) if isinstance(source, _Value) else ()
    total = _Value(out, None, needs, frozenset(nest.keep), stage, is_total=True)
    operand = source.name if isinstance(source, _Value) else source
    nest.totals.append((total, Accumulator(out, eqn.op.name, operand)))
    return total


def _add_results(
    nest: _Nest, body: Graph, maps: Sequence[AxisMap], results: Sequence[Layout]
) -> None:
    own = {eqn.out: result_map(eqn, m) for eqn, m in zip(body.eqns, maps, strict=True)}
    for out, layout in zip(body.outs, results, strict=True):
        buffer = nest.buffers.add("y", out.type.dtype, extent(layout), "out")
        axes = own[out] if isinstance(out, Var) else ()
        access = Access(buffer, layout.offset, strides_along(axes, layout, len(nest.domain)))
        value = nest.values[out] if isinstance(out, Var) else Lit(out.value, Type(out.type.dtype))
        nest.stores.append((_ready(value), axes, value, access))


def _ready(value: _Value | Lit) -> int:
    """The first stage in which a value can be read."""
    return 0 if isinstance(value, Lit) else value.stage + value.is_total


# ---- statements of a loop group ------------------------------------------------------------------------


class _Block:
    """Statements of one loop body: emits each value once, after what it needs."""

    def __init__(self, bound: frozenset[int], outer: _Block | None = None):
        self.bound = bound
        self.outer = outer
        self.statements: list[Statement] = []
        self.done: dict[int, Name] = {}

    def knows(self, value: _Value) -> bool:
        return value.name.number in self.done or (
            self.outer is not None and self.outer.knows(value)
        )

    def emit(self, value: _Value | Lit) -> None:
        """Make `value` available here, in the outermost block that binds all of its axes."""
        if isinstance(value, Lit) or self.knows(value) or value.is_total:
            return
        if self.outer is not None and value.saved is None and value.support <= self.outer.bound:
            self.outer.emit(value)
            return
        if value.saved is not None:
            self.statements.append(Load(value.name, value.saved))
        else:
            for need in value.needs:
                self.emit(need)
            assert value.make is not None
            self.statements.append(value.make)
        self.done[value.name.number] = value.name


def _statements(nest: _Nest) -> list[Statement]:
    """The loops over kept axes, one in another, and in the innermost the stages."""
    blocks = [_Block(frozenset())]
    for i in range(len(nest.keep)):
        blocks.append(_Block(frozenset(nest.keep[: i + 1]), blocks[-1]))
    row = blocks[-1]
    last = max([stage for stage, *_ in nest.stores] + [t.stage for t, _ in nest.totals] + [0])
    for stage in range(last + 1):
        _emit_stage(nest, row, stage)
    vector_axis = len(nest.domain) - 1
    for axis, block, outer in reversed(list(zip(nest.keep, blocks[1:], blocks))):
        outer.statements.append(Loop((axis,), axis == vector_axis, tuple(block.statements)))
    return blocks[0].statements


def _emit_stage(nest: _Nest, row: _Block, stage: int) -> None:
    """What can be read from `stage` on: row values and their stores, then the inner loop."""
    inner = _Block(frozenset(range(len(nest.domain))), row)
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


def _saves(nest: _Nest, inner: _Block, stage: int) -> list[Statement]:
    """Stores into scratch rows of what later stages need and is not cheap to compute again."""
    statements: list[Statement] = []
    for value in _needed_later(nest, stage):
        worth = value.total_cost > RECOMPUTE_COST and value.name.number in inner.done
        access = _scratch(nest, value) if worth else None
        if access is not None:
            statements.append(Store(access, value.name))
            value.saved = access
    return statements


def _needed_later(nest: _Nest, stage: int) -> list[_Value]:
    """Inner values of this stage that a later stage reads directly."""
    found: dict[int, _Value] = {}

    def visit(value: _Value, reader_stage: int) -> None:
        inside = not value.support <= frozenset(nest.keep) and not value.is_total
        if inside and value.saved is None and value.stage <= stage < reader_stage:
            found.setdefault(value.name.number, value)
            return
        for need in value.needs:
            if not value.is_total:
                visit(need, reader_stage)

    for total, _ in nest.totals:
        if total.stage > stage:
            for need in total.needs:
                visit(need, total.stage)
    for ready, _, value, _ in nest.stores:
        if isinstance(value, _Value) and ready > stage:
            visit(value, ready)
    return list(found.values())


def _scratch(nest: _Nest, value: _Value) -> Access | None:
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


# ---- fewer, longer loops ----------------------------------------------------------------------------------


def collapse(kernel: Kernel) -> Kernel:
    """Make one loop of two nested ones where every access runs through both without a gap."""
    axis = len(kernel.domain) - 1
    while axis > 0:
        if _collapsible(kernel, kernel.body, axis):
            kernel = _collapsed(kernel, axis)
        axis -= 1
    return kernel


def _collapsible(kernel: Kernel, statements: Sequence[Statement], axis: int) -> bool:
    """Whether axes axis-1 and axis can be one: adjacent loops with nothing between them."""
    size = kernel.domain[axis]
    for statement in statements:
        match statement:
            case Loop(axes=axes, body=body):
                if axis in axes and axis - 1 in axes:
                    pass
                elif axis - 1 in axes:
                    if len(axes) != 1 or not _only_loop_over(body, axis):
                        return False
                    assert isinstance(body[0], Loop)
                    body = body[0].body
                elif axis in axes:
                    return False
                if not _collapsible(kernel, body, axis):
                    return False
            case Index(axis=own) if own in (axis, axis - 1):
                return False
            case Load(access=access) | Store(access=access):
                if access.strides[axis - 1] != access.strides[axis] * size:
                    return False
            case Compute() | Index():
                pass
            case _:
                return False
    return True


def _only_loop_over(body: Sequence[Statement], axis: int) -> bool:
    return len(body) == 1 and isinstance(body[0], Loop) and body[0].axes == (axis,)


def _collapsed(kernel: Kernel, axis: int) -> Kernel:
    domain = kernel.domain
    merged = (*domain[: axis - 1], domain[axis - 1] * domain[axis], *domain[axis + 1 :])
    return kernel._replace(domain=merged, body=_renumbered(kernel.body, axis))


def _renumbered(statements: Sequence[Statement], axis: int) -> tuple[Statement, ...]:
    return tuple(_renumber(statement, axis) for statement in statements)


def _renumber(statement: Statement, axis: int) -> Statement:
    """The statement with axes axis-1 and axis made one, and later axes counted one lower."""
    match statement:
        case Loop(axes=axes, body=body):
            if axis - 1 in axes and axis not in axes:
                inner = body[0]
                assert isinstance(inner, Loop)
                statement = inner._replace(axes=(axis - 1, axis))
                axes, body = statement.axes, statement.body
            kept = tuple(a - (a >= axis) for a in axes if a != axis)
            return statement._replace(axes=kept, body=_renumbered(body, axis))
        case Load(access=access) | Store(access=access):
            strides = (*access.strides[: axis - 1], *access.strides[axis:])
            return statement._replace(access=access._replace(strides=strides))
        case Index(axis=own):
            return statement._replace(axis=own - (own >= axis))
    return statement


# ---- matrix products ------------------------------------------------------------------------------------------


def schedule_matmul(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "matmul": tiles, and an epilogue on each."""
    body: Graph = eqn.attrs["body"]
    nest = _Nest(tuple(eqn.attrs["domain"]), ())
    sources = _add_operands(nest, body, operands)
    rank = len(nest.domain)
    position = next(i for i, inner in enumerate(body.eqns) if inner.op is linalg.matmul)
    product, axes = body.eqns[position], eqn.attrs["maps"][position]
    out = nest.fresh(product.out.type.dtype)
    everywhere = frozenset(range(rank + 1))  # rank: what the product makes stays in the tile
    nest.values[product.out] = _Value(out, None, (), everywhere, is_total=True)
    others = [i for i in range(len(body.eqns)) if i != position]
    _add_equations(
        nest, [body.eqns[i] for i in others], [eqn.attrs["maps"][i] for i in others], sources
    )
    _add_results(nest, body, eqn.attrs["maps"], results)
    batch = [axis for axis in axes[:-2] if axis is not None]
    before = _Block(frozenset())
    loop = _Block(frozenset(batch), before) if batch else before
    tile = _Block(everywhere, loop)
    for _, _, value, access in nest.stores:
        tile.emit(value)
        tile.statements.append(Store(access, value if isinstance(value, Lit) else value.name))
    statement = _product(product, axes, out, sources, rank, tuple(tile.statements))
    loop.statements.append(statement)
    if batch:
        before.statements.append(Loop(tuple(batch), False, tuple(loop.statements)))
    return Kernel(name, nest.domain, tuple(nest.buffers.buffers), tuple(before.statements))


def _product(
    eqn: Eqn,
    axes: AxisMap,
    out: Name,
    sources: Mapping[Var, tuple[int, Layout]],
    rank: int,
    epilogue: tuple[Statement, ...],
) -> Product:
    left, right = eqn.ins
    assert isinstance(left, Var) and isinstance(right, Var)
    (left_buffer, a), (right_buffer, b) = sources[left], sources[right]
    rows, inner = a.shape[-2:]
    return Product(
        out,
        Access(left_buffer, a.offset, _batch_strides(axes, a, rank)),
        Access(right_buffer, b.offset, _batch_strides(axes, b, rank)),
        rows,
        inner,
        b.shape[-1],
        (a.strides[-2], a.strides[-1]),
        (b.strides[-2], b.strides[-1]),
        axes[-2],
        axes[-1],
        epilogue,
    )


def _batch_strides(axes: AxisMap, layout: Layout, rank: int) -> tuple[int, ...]:
    batch = Layout(layout.shape[:-2], layout.strides[:-2])
    return strides_along(axes[:-2], batch, rank)


