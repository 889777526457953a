"""The parts of a loop nest while it is being scheduled: its values, buffers and stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphc.axis_maps import AxisMap
from graphc.dims import Dim, Size
from graphc.ir import Atom, Eqn, Lit, Type, Var
from graphc.ops.costs import cost
from graphc.runtime.coordinates import Coordinate, Coordinates
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Index,
    Load,
    Name,
    Operand,
    Statement,
)
from graphc.runtime.layout import Layout
from graphc.runtime.sizes import same

I64 = Type("i64")

COST_BOUND = 1000
"""A bound on the cost of a value: the sum over a graph that shares values grows without one."""


class Buffers:
    """The buffers of a kernel under construction."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []

    def add(self, name: str, dtype: str, size: Size, role: str) -> int:
        self.buffers.append(Buffer(f"{name}{len(self.buffers)}", dtype, size, role))
        return len(self.buffers) - 1


def strides_along(axes: AxisMap, layout: Layout, rank: int) -> tuple[Size, ...]:
    """The stride of each domain axis, for a value whose axis i runs along axes[i]."""
    strides: list[Size] = [0] * rank
    for axis, size, stride in zip(axes, layout.shape, layout.strides, strict=True):
        if axis is not None and not same(size, 1):
            strides[axis] = stride
    return tuple(strides)


def extent(layout: Layout) -> Size:
    """One more than the largest offset of an element."""
    if 0 in layout.shape:
        return 0
    reach = sum((n - 1) * s for n, s in zip(layout.shape, layout.strides, strict=True) if s > 0)
    return layout.offset + reach + 1


@dataclass(eq=False)
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

    @property
    def ready(self) -> int:
        """The first stage in which it can be read."""
        return self.stage + self.is_total


Value = NestValue | Lit


class Sum(NamedTuple):
    """What is added up over the rows of a nest: `value` into `at`, and in the end stored."""

    value: Value
    at: Access
    result: Access


Key = tuple[Atom, Coordinates, NestValue | None]
"""A value at a place; it matters, and memory may be read for it, only where the guard holds."""


@dataclass
class Nest:
    """The parts of a loop group while it is being scheduled.

    `sources` says where what the nest reads lies, `makers` how the rest is made; `given` are the
    values that loops make (reductions, a matrix product), `values` everything else by its place.
    """

    domain: tuple[Size, ...]
    reduce: tuple[int, ...]
    buffers: Buffers = field(default_factory=Buffers)
    sources: dict[Var, tuple[int, Layout]] = field(default_factory=dict)
    makers: dict[Var, Eqn] = field(default_factory=dict)
    given: dict[Var, NestValue] = field(default_factory=dict)
    values: dict[Key, Value] = field(default_factory=dict)
    made: dict[Any, NestValue] = field(default_factory=dict)
    numbered: dict[int, NestValue] = field(default_factory=dict)
    ranges: dict[int, tuple[Size, Size]] = field(default_factory=dict)
    totals: list[tuple[NestValue, Accumulator]] = field(default_factory=list)
    stores: list[tuple[int, AxisMap, Value, Access]] = field(default_factory=list)
    summed: dict[Atom, Value] = field(default_factory=dict)
    """Of each total over rows what a row adds to it."""
    sums: list[Sum] = field(default_factory=list)
    count: int = 0

    @property
    def keep(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.domain)) if i not in self.reduce)

    def fresh(self, dtype: str) -> Name:
        self.count += 1
        return Name(self.count, dtype)

    def compute(
        self, op: str, dtype: str, ins: Sequence[Value], attrs: tuple[tuple[str, Any], ...] = ()
    ) -> NestValue:
        """`op(ins)`, made once for the same operands."""
        operands = tuple(operand(x) for x in ins)
        key = (op, operands, attrs)
        if key not in self.made:
            out = self.fresh(dtype)
            needs = tuple(x for x in ins if isinstance(x, NestValue))
            inner = sum(0 if x.is_total else x.total_cost for x in needs)
            self.made[key] = NestValue(
                out,
                Compute(out, op, operands, attrs),
                needs,
                frozenset().union(*(x.support for x in needs)),
                max((x.ready for x in needs), default=0),
                total_cost=min(COST_BOUND, cost(op) + inner),
            )
        return self.made[key]

    def load(
        self,
        access: Access,
        dtype: str,
        guard: NestValue | None,
        position: Value | None = None,
        step: Size = 0,
    ) -> NestValue:
        """An element in memory, `position * step` elements further on, loaded once."""
        needs = tuple(x for x in (position, guard) if isinstance(x, NestValue))
        at = None if position is None else operand(position)
        held = None if guard is None else guard.name
        step = 0 if at is None else step
        key = (access, at, step, held)
        if key not in self.made:
            out = self.fresh(dtype)
            axes = frozenset(axis for axis, stride in enumerate(access.strides) if stride)
            self.made[key] = NestValue(
                out,
                Load(out, access, at, step, held),
                needs,
                axes.union(*(x.support for x in needs)),
                max((x.ready for x in needs), default=0),
            )
        return self.made[key]

    def number(self, coordinate: Coordinate) -> Value:
        """A coordinate as a value."""
        terms: list[Value] = []
        for axis, step in coordinate.steps:
            terms.append(self._times(self.index(axis), step))
        for found, step in coordinate.found:
            terms.append(self._times(self.numbered[found], step))
        if not terms:
            return self.size(coordinate.offset)
        total = terms[0]
        for term in terms[1:]:
            total = self.compute("add", "i64", [total, term])
        if coordinate.offset:
            total = self.compute("add", "i64", [total, self.size(coordinate.offset)])
        return total

    def _times(self, value: NestValue, step: Size) -> Value:
        if same(step, 1):
            return value
        return self.compute("multiply", "i64", [value, self.size(step)])

    def size(self, number: Size) -> Value:
        """A size as a value."""
        if not isinstance(number, Dim):
            return Lit(number, I64)
        return self.compute("dimension", "i64", (), (("size", number),))

    def index(self, axis: int) -> NestValue:
        """The loop index along an axis as a value."""
        key = ("index", axis)
        if key not in self.made:
            out = self.fresh("i64")
            self.made[key] = NestValue(out, Index(out, axis), (), frozenset({axis}))
        return self.made[key]

    def found(self, value: NestValue, size: Size) -> Coordinate:
        """A computed position, which is at least 0 and less than `size`, as a coordinate."""
        number = value.name.number
        self.numbered[number] = value
        self.ranges[number] = (0, size - 1)
        return Coordinate(found=((number, 1),))


def operand(value: Value) -> Operand:
    return value if isinstance(value, Lit) else value.name
