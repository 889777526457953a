"""Loops over short last axes, written out: vectors run along the axis before them.

Before:  for i0 < 20000 { t = sum over: vector for i1 < 3 { load x[i0*3 + i1] ... } ... }
After:   vector for i0 < 20000 { a = load x[i0*3]; b = load x[i0*3 + 1]; c = load x[i0*3 + 2]; ... }

Points, colours and windows of two have a last axis of 2, 3 or 4, which fills a part of a vector and
is reduced lane by lane.  Written out, each of its indices is a number: what `pad` and `concatenate`
ask of them is known, and parts that are not chosen are neither read nor computed.

Sound because a vector loop runs the indices of its axis side by side already: each statement for
all of them, before the next one.  The axis before it takes over as the vector axis only where no
two of its indices touch the same element, unless to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.build import literal
from graphc.ir import Lit, Type
from graphc.questions import hint
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Operand,
    Statement,
    Store,
    inner,
    reads,
)
from graphc.runtime.reductions import COMBINE

SHORT = 4
"""The longest axis that is written out."""

MOST_INDICES = 27
"""Of several short axes together: products of 3x3 matrices."""

LONG = 16
"""The least length of the axis that vectors run along instead."""

MOST_STATEMENTS = 256
"""More than these, and the code would cost more to compile than it saves, unless there were as many
before."""

Copies = tuple[Operand, ...]
"""A value at each index of the short axis: one operand where it is the same at all of them."""

KNOWN: Mapping[str, Callable[[Any, Any], Any]] = {
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
}
"""What is known of two integers that are known."""


class _NotShort(Exception):
    """The kernel holds something that is not written out."""


def write_out_short_axes(kernel: Kernel) -> Kernel:
    """The kernel without the loops over its last axes, where these are short and it pays."""
    first = _first_short_axis(kernel)
    if first is None:
        return kernel
    written = kernel
    try:
        for axis in reversed(range(first, len(kernel.domain))):
            along = first - 1 if axis == first else None
            written = written._replace(body=_WritingOut(written, axis, along).run())
    except _NotShort:
        return kernel
    most = max(MOST_STATEMENTS, _count(kernel.body))
    return written if _count(written.body) <= most else kernel


def _first_short_axis(kernel: Kernel) -> int | None:
    """The first of the axes at the end that are written out, behind a long one."""
    first, indices = len(kernel.domain), 1
    for size in reversed(kernel.domain):
        if not isinstance(size, int) or not 2 <= size <= SHORT or indices * size > MOST_INDICES:
            break
        first, indices = first - 1, indices * size
    is_some = 0 < first < len(kernel.domain)
    return first if is_some and hint(kernel.domain[first - 1]) >= LONG else None


def _count(statements: Sequence[Statement]) -> int:
    return sum(1 for _ in inner(statements))


class _WritingOut:
    """The statements of a kernel for every index of an axis at once.

    `vector_axis`: along which vectors run then, None where another axis is to be written out first.
    """

    def __init__(self, kernel: Kernel, axis: int, vector_axis: int | None):
        self.kernel = kernel
        self.axis, self.size = axis, int(kernel.domain[axis])
        self.vector_axis = vector_axis
        self.values: dict[int, Copies] = {}
        self.count = 0
        self.out: list[Statement] = []
        self.loaded: dict[tuple[Access, Operand | None], Operand] = {}
        self.row: dict[Access, Operand] | None = None
        """Inside of the loop over the vector axis: what scratch memory holds for this index."""

    def run(self) -> tuple[Statement, ...]:
        for statement in self.kernel.body:
            self.statement(statement)
        return _without_unread(self.out)

    def statement(self, statement: Statement) -> None:
        match statement:
            case Load():
                self.load(statement)
            case Compute():
                self.compute(statement)
            case Index(out, axis):
                numbers = tuple(Lit(i, Type(out.dtype)) for i in range(self.size))
                self.values[out.number] = numbers if axis == self.axis else (self.copy(statement),)
            case Store():
                self.store(statement)
            case Loop():
                self.loop(statement)
            case _:
                raise _NotShort

    # ---- values ----------------------------------------------------------------------------------

    def fresh(self, dtype: str) -> Name:
        self.count += 1
        return Name(self.count, dtype)

    def copy(self, statement: Load | Compute | Index) -> Name:
        """The statement with a result of its own."""
        name = self.fresh(statement.out.dtype)
        self.out.append(statement._replace(out=name))
        return name

    def at(self, operand: Any, index: int) -> Any:
        """An operand at an index of the short axis."""
        if not isinstance(operand, Name):
            return operand
        copies = self.values[operand.number]
        return copies[index if len(copies) > 1 else 0]

    def indices(self, *operands: Any, access: Access | None = None) -> range:
        """At which indices values differ that are made from these."""
        differ = access is not None and access.strides[self.axis]
        names = [x for x in operands if isinstance(x, Name)]
        if differ or any(len(self.values[x.number]) > 1 for x in names):
            return range(self.size)
        return range(1)

    def shifted(self, access: Access, index: int) -> Access:
        strides = (*access.strides[: self.axis], 0, *access.strides[self.axis + 1 :])
        offset = access.offset + access.strides[self.axis] * index
        return Access(access.buffer, offset, strides)

    def is_scratch(self, access: Access) -> bool:
        return self.kernel.buffers[access.buffer].role == "scratch"

    # ---- statements ------------------------------------------------------------------------------

    def load(self, load: Load) -> None:
        copies = []
        for i in self.indices(load.position, load.guard, access=load.access):
            access, guard = self.shifted(load.access, i), self.at(load.guard, i)
            if self.row is not None and self.is_scratch(access):
                copies.append(self._kept(access))
            elif isinstance(guard, Lit) and not guard.value:
                copies.append(literal(0, Type(load.out.dtype)))  # nothing chooses it
            else:
                guard = None if isinstance(guard, Lit) else guard
                position = self.at(load.position, i)
                here = load._replace(access=access, position=position, guard=guard)
                copies.append(self._load(here))
        self.values[load.out.number] = tuple(copies)

    def _load(self, load: Load) -> Operand:
        """What has been read since the last store is not read again."""
        if load.position is not None:
            return self.copy(load)
        key = load.access, load.guard
        if key not in self.loaded:
            self.loaded[key] = self.copy(load)
        return self.loaded[key]

    def _kept(self, access: Access) -> Operand:
        assert self.row is not None
        if access not in self.row:
            raise _NotShort  # another index has written it, or a loop before
        return self.row[access]

    def compute(self, compute: Compute) -> None:
        self.values[compute.out.number] = tuple(
            self._computed(compute, tuple(self.at(x, i) for x in compute.ins))
            for i in self.indices(*compute.ins)
        )

    def _computed(self, compute: Compute, ins: tuple[Operand, ...]) -> Operand:
        known = _known(compute.op, ins)
        return known if known is not None else self.copy(compute._replace(ins=ins))

    def store(self, store: Store) -> None:
        indices = self.indices(store.value, access=store.access)
        if not store.access.strides[self.axis]:
            indices = indices[-1:]
        for i in indices:
            access, value = self.shifted(store.access, i), self.at(store.value, i)
            if self.row is not None and not access.strides[self.vector_axis]:  # type: ignore[index]
                if not self.is_scratch(access):
                    raise _NotShort
                self.row[access] = value
            else:
                self.out.append(Store(access, value))
        self.loaded.clear()

    def loop(self, loop: Loop) -> None:
        rest = tuple(axis for axis in loop.axes if axis != self.axis)
        is_short = len(rest) < len(loop.axes)
        if (loop.vector and not is_short) or (loop.axes[-1] != self.axis and is_short):
            raise _NotShort
        if self.vector_axis in rest[:-1]:
            raise _NotShort
        if rest:
            self._longer_loop(loop, rest, is_short)
            return
        for statement in loop.body:
            self.statement(statement)
        for accumulator in loop.accumulators:
            self.values[accumulator.out.number] = (self.total(accumulator, is_whole=True),)

    def _longer_loop(self, loop: Loop, rest: tuple[int, ...], is_short: bool) -> None:
        """The loops over the other axes, around what is written out."""
        is_vector = rest[-1] == self.vector_axis
        row, outer = self.row, self.out
        if row:
            raise _NotShort  # the loop would have to carry what scratch memory holds
        self.row, self.out = None if row is None and not is_vector else {}, []
        self.loaded.clear()
        for statement in loop.body:
            self.statement(statement)
        accumulators = [part for a in loop.accumulators for part in self.accumulated(a, is_short)]
        self.loaded.clear()
        body, self.row, self.out = tuple(self.out), row, outer
        self.out.append(Loop(rest, is_vector, body, tuple(accumulators)))

    def accumulated(self, accumulator: Accumulator, is_short: bool) -> list[Accumulator]:
        """The accumulators of a longer loop: one where it ran over the short axis as well."""
        out, combine, value = accumulator
        if is_short:
            copies: Copies = (self.total(accumulator, is_whole=False),)
        else:
            copies = tuple(self.at(value, i) for i in self.indices(value))
        names = tuple(self.fresh(out.dtype) for _ in copies)
        self.values[out.number] = names
        return [Accumulator(n, combine, x) for n, x in zip(names, copies, strict=True)]

    def total(self, accumulator: Accumulator, is_whole: bool) -> Operand:
        """A value combined over the short axis; the whole of a reduction, or a part of one."""
        out, combine, value = accumulator
        first: Operand
        first, *others = (self.at(value, i) for i in range(self.size))
        if combine == "sum" and is_whole:  # as NumPy: a sum of negative zeros is 0.0
            first, others = literal(0, Type(out.dtype)), [first, *others]
        for other in others:
            made = Compute(out, COMBINE[combine], (first, other))
            first = self.copy(made)
        return first


def _makes(statement: Statement) -> bool:
    return isinstance(statement, (Load, Compute, Index))


def _without_unread(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements without those whose values nothing reads: each follows what it reads."""
    read: set[int] = set()

    def kept(statements: Sequence[Statement]) -> tuple[Statement, ...]:
        result: list[Statement] = []
        for statement in reversed(statements):
            if _makes(statement) and statement.out.number not in read:
                continue
            read.update(name.number for name in reads(statement))
            if isinstance(statement, Loop):
                statement = statement._replace(body=kept(statement.body))
            result.append(statement)
        return tuple(reversed(result))

    return kept(statements)


def _known(op: str, ins: tuple[Operand, ...]) -> Operand | None:
    """The result where numbers that are known decide it."""
    first = ins[0] if ins else None
    if op == "where" and isinstance(first, Lit):
        return ins[1] if first.value else ins[2]
    if op in ("logical_and", "logical_or"):
        decides = op == "logical_or"
        for own, other in (ins, ins[::-1]):
            if isinstance(own, Lit) and own.type.dtype == "bool":
                return own if own.value == decides else other
    numbers = [x.value for x in ins if isinstance(x, Lit) and x.type.dtype == "i64"]
    if op in KNOWN and len(numbers) == len(ins) == 2:
        value = KNOWN[op](*numbers)
        dtype = "bool" if type(value) is bool else "i64"
        return Lit(value, Type(dtype))
    return None
