"""From the kernel IR to LLVM functions for a CPU.

Vector loops run in vectors of `lanes` elements, with masked loads and stores at the end of a row.
A value that is the same for all lanes stays a scalar until it meets a vector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from graphc.dims import Dim, Size
from graphc.ir import FLOATS, INT_RANGES, INTS, Lit
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Operand,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
)
from graphc.runtime.llvm.builder import (
    BITS,
    Function,
    Module,
    Reg,
    constant,
    lane_constants,
    type_name,
)
from graphc.runtime.llvm.edges import Line, Range, edges, pieces
from graphc.runtime.llvm.gemm import MatmulShape, Tile, emit_matmul, workspace_bytes
from graphc.runtime.llvm.interleaved import evens, pairs
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.prefetch import LINE, rows_ahead
from graphc.runtime.llvm.routines import ANY_SIZE, call_routine
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.llvm.widths import lanes_for, lanes_of_register
from graphc.runtime.sizes import applied, large, largest, least, same

UNROLL = 4
"""Vectors that a reduction adds up side by side, so that additions need not wait for each other."""

BLOCK = 64
"""Steps of a long sum before its part is added to the whole: half of them round the last bit."""

SPLIT_STEPS = 4
"""Steps of a vector loop from which on it is divided at the edges of its conditions."""

LONG_PART = 8
"""Rows between two edges from which on they have code of their own."""

MOST_EDGES = 6
"""More than these, and the code of all the parts would cost more than it saves."""

COMBINE = {
    "sum": "add",
    "prod": "multiply",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}
"""Reduction -> the row of the scalar table that combines two values."""

INFINITY = float("inf")
IDENTITY: dict[str, dict[str, bool | int | float | None]] = {
    "sum": {"f": 0.0, "i": 0, "b": False},  # as NumPy: a sum of negative zeros is 0.0
    "prod": {"f": 1.0, "i": 1, "b": True},
    "max": {"f": -INFINITY, "i": None, "b": False},
    "min": {"f": INFINITY, "i": None, "b": True},
    "any": {"b": False},
    "all": {"b": True},
}


def identity(combine: str, dtype: str) -> bool | int | float:
    """What a reduction starts from."""
    if dtype in INTS and combine in ("max", "min"):
        return INT_RANGES[dtype][combine == "min"]
    value = IDENTITY[combine]["i" if dtype in INTS else dtype[0]]
    assert value is not None
    return value


WORK = Reg("%work", "ptr")
SIZES = Reg("%sizes", "ptr")
"""The table of sizes, for kernels of a step whose sizes have names."""
LOW, HIGH = Reg("%low", "i64"), Reg("%high", "i64")
"""The range of a share along the axis that a kernel is divided along."""


def memory_elem(dtype: str) -> str:
    """The LLVM type of an element in memory: a bool is a byte there."""
    return "i8" if dtype == "bool" else ELEMS[dtype]


def product_shape(kernel: Kernel, product: Product) -> MatmulShape:
    left, right = (kernel.buffers[a.buffer].dtype for a in (product.left, product.right))
    dtype = product.out.dtype
    return MatmulShape(
        product.rows,
        product.inner,
        product.columns,
        dtype,
        product.left_strides,
        product.right_strides,
        (left if left != dtype else "", right if right != dtype else ""),
    )


def workspace_size(kernel: Kernel, target: HostTarget) -> Size:
    """The bytes of 64-byte aligned working memory that a kernel needs."""
    needed = [
        workspace_bytes(product_shape(kernel, p), target, row_shares(kernel, p))
        for p in _products(kernel.body)
    ]
    return applied(largest, *needed)  # type: ignore[no-any-return]


def row_shares(kernel: Kernel, product: Product) -> int:
    """Among how many shares the rows of a product are divided."""
    division, axis = kernel.division, product.row_axis
    if division is None or axis is None or division.axis != axis:
        return 1
    in_block = not same(product.rows, kernel.domain[axis])
    return 1 if in_block else division.shares


def _products(statements: Sequence[Statement]) -> Iterator[Product]:
    for statement in statements:
        if isinstance(statement, Product):
            yield statement
        elif isinstance(statement, (Loop, Blocks)):
            yield from _products(statement.body)


def is_sized(module: Module) -> bool:
    """Whether kernels are given a table of sizes."""
    return module.sizing is not None and not module.sizing.is_fixed


def emit_kernel(module: Module, kernel: Kernel, target: HostTarget, flags: str = "") -> None:
    """Add the function of a kernel: a pointer for each buffer, then one to its workspace, and one
    to the table of sizes if there is one.

    A divided kernel also takes the range low <= index < high of its share, which is not empty.
    """
    parameters = [Reg(f"%b{i}", "ptr") for i in range(len(kernel.buffers))]
    parameters.append(WORK)
    if is_sized(module):
        parameters.append(SIZES)
    if kernel.division is not None:
        parameters += [LOW, HIGH]
    f = Function(module, kernel.name, parameters, flags=flags)
    f.sizes = SIZES
    _Emitter(f, kernel, target).emit()
    f.line("ret void")
    module.add(f)


class _Emitter:
    """The state of emitting one kernel: what is bound at the current point."""

    def __init__(self, f: Function, kernel: Kernel, target: HostTarget):
        self.f = f
        self.kernel = kernel
        self.target = target
        self.width = lanes_for(kernel, target)
        self.unroll = max(1, UNROLL * lanes_of_register(kernel, target) // self.width)
        self.sizes = list(kernel.domain)  # of the axes; inside of blocks, of one block
        self.divided_axis = None if kernel.division is None else kernel.division.axis
        self.values: dict[int, Reg] = {}
        self.pointers: dict[Access, Reg] = {}
        self.indices: dict[int, Reg] = {}
        self.lanes = 1
        self.vector_axis: int | None = None
        self.mask: Reg | None = None
        self.pairs = {kind: pairs(kernel.body, kind) for kind in (Load, Store)}
        self.halves: dict[Access, Reg] = {}
        """What was read together with another vector, or waits to be written with one."""
        self.rows_ahead = rows_ahead(kernel)
        self.ahead: dict[Access, Size] = {}
        self.line: Line | None = None
        """What the range of the indices says of conditions, between the edges of a loop."""
        self.splits = True

    def emit(self) -> None:
        for access in accesses(self.kernel.body):
            base = self.f.parameters[access.buffer]
            self.pointers[access] = self._advance(access, base, self.f.number(access.offset))
        self.block(self.kernel.body)

    def block(self, statements: Sequence[Statement]) -> None:
        self.halves = {}
        for statement in statements:
            answer = None if self.line is None else self.line.learn(statement)
            if answer is not None and isinstance(statement, Compute):
                self.values[statement.out.number] = constant(answer, "i1")
            else:
                self.statement(statement)

    def statement(self, statement: Statement) -> None:
        match statement:
            case Load():
                self.values[statement.out.number] = self.load(statement)
            case Compute():
                self.values[statement.out.number] = self.compute(statement)
            case Index(out, axis):
                self.values[out.number] = self.index(axis)
            case Store(access, value):
                self.store(access, self.operand(value))
            case AddAt():
                self.add_at(statement)
            case Loop():
                self.loop(statement)
            case Blocks():
                self.blocks(statement)
            case Product():
                self.product(statement)
            case Transpose() | Native():
                self.routine(statement)

    # ---- values ----------------------------------------------------------------------------------

    def operand(self, operand: Operand) -> Reg:
        if isinstance(operand, Lit):
            return constant(operand.value, ELEMS[operand.type.dtype])
        return self.values[operand.number]

    def known(self, condition: Operand | None) -> bool | None:
        """The answer of a condition, where it is one for all indices of this part of a loop."""
        return None if self.line is None else self.line.known(condition)

    def compute(self, statement: Compute) -> Reg:
        if statement.op == "where" and (answer := self.known(statement.ins[0])) is not None:
            return self.operand(statement.ins[1 if answer else 2])
        ins = [self.operand(x) for x in statement.ins]
        lanes = max((x.lanes for x in ins), default=1)
        ins = [self.f.splat(x, lanes) for x in ins]
        return SCALARS[statement.op](self.f, *ins, **dict(statement.attrs))

    def index(self, axis: int) -> Reg:
        if axis != self.vector_axis:
            return self.indices[axis]
        return self.f.add(self.f.splat(self.indices[axis], self.lanes), self.lane_numbers())

    def lane_numbers(self) -> Reg:
        return lane_constants(range(self.lanes), "i64")

    # ---- memory ----------------------------------------------------------------------------------

    def _advance(self, access: Access, pointer: Reg, elements: Reg) -> Reg:
        elem = memory_elem(self.kernel.buffers[access.buffer].dtype)
        return self.f.offset(pointer, elem, elements)

    def _vector_stride(self, access: Access) -> Size:
        return 0 if self.vector_axis is None else access.strides[self.vector_axis]

    def load(self, statement: Load) -> Reg:
        access = statement.access
        dtype = self.kernel.buffers[access.buffer].dtype
        elem = memory_elem(dtype)
        holds = self.known(statement.guard)
        if holds is False:
            return constant(0, ELEMS[dtype])  # read by nobody
        pointer = self.pointers[access]
        stride = self._vector_stride(access)
        is_guarded = statement.guard is not None and holds is None
        guard = self.operand(statement.guard) if is_guarded else None  # type: ignore[arg-type]
        steps = constant(0, "i64")
        if statement.position is not None:
            index = self.operand(statement.position)
            steps = self.f.mul(index, self.f.splat(self.f.number(statement.step), index.lanes))
            if steps.lanes == 1:
                pointer, steps = self.f.offset(pointer, elem, steps), constant(0, "i64")
        is_same = same(stride, 0) and (guard is None or guard.lanes == 1)
        is_whole = guard is None and self.mask is None and statement.position is None
        if self.lanes > 1 and same(stride, 2) and is_whole:
            raw = self._second_elements(access, elem)
        elif self.lanes > 1 and (steps.lanes > 1 or not (is_same or same(stride, 1))):
            raw = self._gather(pointer, elem, steps, stride, guard)
        elif self.lanes == 1 or same(stride, 0):
            raw = self.f.load(self._readable(access, pointer, guard), elem)
        elif guard is not None or self.mask is not None:
            if guard is not None and guard.lanes == 1:
                pointer = self._readable(access, pointer, guard)
                is_short = least(self.kernel.buffers[access.buffer].size) < self.lanes
                guard = guard if is_short else None
            mask = self._lanes_where(guard)
            raw = self.f.masked_load(pointer, elem, self.lanes, mask)
        else:
            raw = self.f.load(pointer, elem, self.lanes)
            self.prefetch(access, pointer, elem)
        return self._as_value(raw, dtype)

    def _second_elements(self, access: Access, elem: str) -> Reg:
        """Every second element: of two stretches of memory, which another access may share."""
        lanes, pointer = self.lanes, self.pointers[access]
        if access not in self.pairs[Load]:
            rest = self.f.offset(pointer, elem, constant(lanes - 1, "i64"))
            first, second = (self.f.load(p, elem, lanes) for p in (pointer, rest))
            return self.f.shuffle(first, second, evens(lanes))
        if access not in self.halves:
            pair = self.pairs[Load][access]
            pointer = self.pointers[pair[0]]
            rest = self.f.offset(pointer, elem, constant(lanes, "i64"))
            first, second = (self.f.load(p, elem, lanes) for p in (pointer, rest))
            for own, start in zip(pair, (0, 1), strict=True):
                self.halves[own] = self.f.shuffle(first, second, range(start, 2 * lanes, 2))
        return self.halves.pop(access)

    def prefetch(self, access: Access, pointer: Reg, elem: str) -> None:
        """Ask for what this access reads in the next row, where that is worth it."""
        if access in self.ahead:
            for lane in range(0, self.lanes, 8 * LINE // BITS[elem]):
                index = self.f.number(self.ahead[access] + lane)
                self.f.prefetch(self.f.offset(pointer, elem, index))

    def _readable(self, access: Access, pointer: Reg, guard: Reg | None) -> Reg:
        """`pointer` where the guard holds, elsewhere memory of the buffer: a masked load of pages
        that do not exist takes a hundred times as long as any other."""
        if guard is None:
            return pointer
        return self.f.select(guard, pointer, self.f.parameters[access.buffer])

    def _lanes_where(self, guard: Reg | None) -> Reg:
        """The lanes that are on, and in which the guard holds."""
        if guard is None:
            return self._all_lanes()
        held = self.f.splat(guard, self.lanes)
        return held if self.mask is None else self.f.and_(self.mask, held)

    def _as_value(self, raw: Reg, dtype: str) -> Reg:
        return self.f.icmp("ne", raw, self.f.const(0, raw)) if dtype == "bool" else raw

    def _addresses(self, pointer: Reg, elem: str, steps: Reg, stride: Size) -> Reg:
        """One address for each lane: `steps` elements, and `stride` more from lane to lane."""
        lanes = self.lanes
        if isinstance(stride, Dim):
            each = self.f.splat(self.f.number(stride), lanes)
            along = self.f.mul(each, lane_constants(range(lanes), "i64"))
        else:
            along = lane_constants([lane * stride for lane in range(lanes)], "i64")
        offsets = self.f.add(self.f.splat(steps, lanes), along)
        text = f"getelementptr {type_name(elem)}, ptr {pointer.text}, {offsets.typed}"
        return self.f.let(text, "ptr", lanes)

    def _all_lanes(self) -> Reg:
        return self.mask if self.mask is not None else constant(1, "i1", self.lanes)

    def _gather(self, pointer: Reg, elem: str, steps: Reg, stride: Size, guard: Reg | None) -> Reg:
        addresses = self._addresses(pointer, elem, steps, stride)
        return self.f.gather(addresses, elem, self._lanes_where(guard))

    def store(self, access: Access, value: Reg) -> None:
        dtype = self.kernel.buffers[access.buffer].dtype
        pointer = self.pointers[access]
        stride = self._vector_stride(access)
        if self.lanes == 1 or same(stride, 0):
            self.f.store(self._as_memory(self.f.extract(value, 0), dtype), pointer)
            return
        raw = self._as_memory(self.f.splat(value, self.lanes), dtype)
        if same(stride, 2) and self.mask is None and access in self.pairs[Store]:
            self._store_paired(access, raw)
        elif not same(stride, 1):
            steps = constant(0, "i64", self.lanes)
            addresses = self._addresses(pointer, raw.elem, steps, stride)
            self.f.scatter(raw, addresses, self._all_lanes())
        elif self.mask is not None:
            self.f.masked_store(raw, pointer, self.mask)
        else:
            self.f.store(raw, pointer)

    def _store_paired(self, access: Access, raw: Reg) -> None:
        """Write two vectors, element by element in turn, when the second of them is there."""
        self.halves[access] = raw
        even, odd = self.pairs[Store][access]
        if even in self.halves and odd in self.halves:
            order = [part * self.lanes + lane for lane in range(self.lanes) for part in (0, 1)]
            both = self.f.shuffle(self.halves.pop(even), self.halves.pop(odd), order)
            self.f.store(both, self.pointers[even])

    def _as_memory(self, value: Reg, dtype: str) -> Reg:
        return self.f.convert("zext", value, "i8") if dtype == "bool" else value

    def add_at(self, statement: AddAt) -> None:
        """Read, add, write, or write alone: never in lanes that may meet in one element."""
        access = statement.access
        index = self.operand(statement.position)
        elem = memory_elem(self.kernel.buffers[access.buffer].dtype)
        steps = self.f.mul(index, self.f.splat(self.f.number(statement.step), index.lanes))
        base = self.pointers[access]
        self.pointers[access] = self.f.offset(base, elem, steps)
        value = self.operand(statement.value)
        if not statement.replaces:
            old = self.load(Load(statement.position, access))  # type: ignore[arg-type]
            lanes = max(old.lanes, value.lanes)
            old, value = self.f.splat(old, lanes), self.f.splat(value, lanes)
            value = SCALARS["add"](self.f, old, value)
        self.store(access, value)
        self.pointers[access] = base

    # ---- loops -----------------------------------------------------------------------------------

    @contextmanager
    def bound(self, axis: int, index: Reg, inside: Iterable[Access]) -> Iterator[None]:
        """Inside, `axis` has the given index and the pointers of `inside` are advanced to it.

        Where the axis has an index already, that of a block or tile, this one counts from there.
        """
        pointers, indices = self.pointers, self.indices
        known = indices.get(axis)
        total = index if known is None else self.f.add(known, index)
        self.pointers, self.indices = dict(pointers), {**indices, axis: total}
        for access in dict.fromkeys(inside):
            stride = access.strides[axis]
            if stride:
                steps = index if stride == 1 else self.f.mul(index, self.f.number(stride))
                self.pointers[access] = self._advance(access, pointers[access], steps)
        yield
        self.pointers, self.indices = pointers, indices

    @contextmanager
    def vectors(self, axis: int, mask: Reg | None) -> Iterator[None]:
        """Inside, values along `axis` are vectors."""
        saved = self.lanes, self.vector_axis, self.mask
        self.lanes, self.vector_axis, self.mask = self.width, axis, mask
        yield
        self.lanes, self.vector_axis, self.mask = saved

    def loop(self, loop: Loop) -> None:
        totals = self.start(loop)
        self.ahead = self.rows_ahead.get(id(loop), {})
        totals = self.unless_empty(loop, totals)
        self.ahead = {}
        across = loop.vector and bool(loop.accumulators)
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            value = self.across_lanes(accumulator.combine, total) if across else total
            self.values[accumulator.out.number] = value

    def start(self, loop: Loop) -> list[Reg]:
        lanes = self.width if loop.vector else self.lanes
        return [
            constant(identity(a.combine, a.out.dtype), ELEMS[a.out.dtype], lanes)
            for a in loop.accumulators
        ]

    def unless_empty(self, loop: Loop, totals: list[Reg]) -> list[Reg]:
        """The loops, over axes that have elements; what is not known of a size is asked there."""
        sizes = [self.sizes[axis] for axis in loop.axes]
        if any(same(size, 0) for size in sizes):
            return totals
        some = None
        for size in sizes:
            if least(size) < 1:
                has = self.f.icmp("sgt", self.f.number(size), constant(0, "i64"))
                some = has if some is None else self.f.and_(some, has)
        if some is None:
            return self.nested(loop, loop.axes, totals)
        return self.guarded(some, totals, lambda: self.nested(loop, loop.axes, totals))

    def nested(self, loop: Loop, axes: Sequence[int], totals: list[Reg]) -> list[Reg]:
        """Loops over `axes` around the body of `loop`; the accumulators after them."""
        if not axes:
            self.block(loop.body)
            return [
                self.combined(a, total) for a, total in zip(loop.accumulators, totals, strict=True)
            ]
        axis, rest = axes[0], axes[1:]
        if loop.vector and not rest:
            return self.vector_loop(loop, axis, totals)
        for part in self.row_parts(loop, axis):
            totals = self.rows(loop, axes, part, totals)
        return totals

    def rows(
        self, loop: Loop, axes: Sequence[int], part: Range | None, totals: list[Reg]
    ) -> list[Reg]:
        """The outermost of some loops over a part of its indices, or over all of them."""
        axis, rest = axes[0], axes[1:]
        inside = list(accesses(loop.body))
        low, high = self.range_of(axis)

        def run() -> list[Reg]:
            with self.f.loop(low, high, 1, totals) as state, self.bound(axis, state.index, inside):
                state.next = self.nested(loop, rest, state.carried)
            return state.results

        if part is None and axis == self.divided_axis and isinstance(self.sizes[axis], Dim):
            return self.guarded(self.f.icmp("slt", low, high), totals, run)
        if part is None:
            return run()
        is_long = part[1] - part[0] >= LONG_PART
        with self.between(axis, part) if is_long else self.unsplit():
            if axis != self.divided_axis:
                low, high = constant(part[0], "i64"), constant(part[1], "i64")
                return run()
            low = self.f.intrinsic("smax", low, constant(part[0], "i64"))
            high = self.f.intrinsic("smin", high, constant(part[1], "i64"))
            return self.guarded(self.f.icmp("slt", low, high), totals, run)

    def row_parts(self, loop: Loop, axis: int) -> tuple[Range | None, ...]:
        """A loop around others in pieces between the edges of conditions on its index."""
        size = self.sizes[axis]
        if isinstance(size, Dim) or size < LONG_PART:
            return (None,)
        found = self.edges_along(loop, axis, size)
        return pieces(size, found, 1) if 0 < len(found) <= MOST_EDGES // 2 else (None,)

    def edges_along(self, loop: Loop, axis: int, size: int) -> tuple[int, ...]:
        """Where conditions on the index change their answers; nowhere within a block, whose
        indices count from its start."""
        if not self.splits or axis in self.indices:
            return ()
        return edges(loop.body, axis, size)

    def range_of(self, axis: int) -> tuple[Reg, Reg]:
        """The indices along an axis that this kernel, or this share of it, runs over."""
        if axis == self.divided_axis:
            return LOW, HIGH
        return constant(0, "i64"), self.f.number(self.sizes[axis])

    def combined(self, accumulator: Accumulator, total: Reg) -> Reg:
        value = self.f.splat(self.operand(accumulator.value), total.lanes)
        result = SCALARS[COMBINE[accumulator.combine]](self.f, total, value)
        reduces_lanes = self.mask is not None and self.masks_totals
        return self.f.select(self.mask, result, total) if reduces_lanes else result  # type: ignore[arg-type]

    masks_totals = False
    """Whether lanes outside of the mask must stay out of the accumulators."""

    def vector_loop(self, loop: Loop, axis: int, totals: list[Reg]) -> list[Reg]:
        size, width = self.sizes[axis], self.width
        unroll = self.unroll if loop.accumulators and large(size) >= 2 * self.unroll * width else 1
        step = unroll * width
        if isinstance(size, Dim):
            return self.range_in_vectors(loop, axis, totals, unroll, self.range_of(axis))
        parts = self.vector_parts(loop, axis, step)
        if axis == self.divided_axis:
            return self.share_in_parts(loop, axis, totals, unroll, parts)
        main = size // step * step
        for start, stop in (part for part in parts if part[1] <= main):
            ends = constant(start, "i64"), constant(stop, "i64")
            with self.between(axis, (start, stop)):
                totals = self.unrolled(loop, axis, totals, ends, stop - start, unroll)
        rest = size - main
        if not rest:
            return totals
        self.masks_totals = bool(loop.accumulators)
        with self.between(axis, (main, size)):
            if rest < width:
                mask = lane_constants([int(lane < rest) for lane in range(width)], "i1")
                totals = self.one_vector(loop, axis, totals, constant(main, "i64"), mask)
            else:
                ends = constant(main, "i64"), constant(size, "i64")
                totals = self.masked_rest(loop, axis, totals, ends)
        self.masks_totals = False
        return totals

    def vector_parts(self, loop: Loop, axis: int, step: int) -> tuple[Range, ...]:
        """A vector loop in pieces between the edges of its conditions, the last one of what is
        left by whole steps; main and rest alone where there are none, or not worth it."""
        size = int(self.sizes[axis])
        main = size // step * step
        found = self.edges_along(loop, axis, size) if size >= SPLIT_STEPS * step else ()
        found = tuple(edge for edge in found if edge < main) if len(found) <= MOST_EDGES else ()
        whole = pieces(main, found, step) if main else ()
        return (*whole, (main, size)) if main < size else whole

    @contextmanager
    def between(self, axis: int, part: Range) -> Iterator[None]:
        """Inside, the index along `axis` is in `part`, which answers conditions on it."""
        outer = self.line
        if part != (0, self.sizes[axis]):
            self.line = Line({axis: part}, outer)
        yield
        self.line = outer

    @contextmanager
    def unsplit(self) -> Iterator[None]:
        """Inside, no loop is divided at edges: what is there runs a few times alone."""
        self.splits = False
        yield
        self.splits = True

    def share_in_parts(
        self, loop: Loop, axis: int, totals: list[Reg], unroll: int, parts: Sequence[Range]
    ) -> list[Reg]:
        """A share of a vector loop: of each part what lies within the share."""
        f, is_split = self.f, any(stop - start >= self.width for start, stop in parts[1:])
        if not is_split:
            return self.range_in_vectors(loop, axis, totals, unroll, (LOW, HIGH))
        for start, stop in parts:
            low = f.intrinsic("smax", LOW, constant(start, "i64"))
            high = f.intrinsic("smin", HIGH, constant(stop, "i64"))
            before = totals

            def run(ends: tuple[Reg, Reg] = (low, high), before: list[Reg] = before) -> list[Reg]:
                return self.range_in_vectors(loop, axis, before, unroll, ends)

            with self.between(axis, (start, stop)):
                totals = self.guarded(f.icmp("slt", low, high), totals, run)
        return totals

    def range_in_vectors(
        self, loop: Loop, axis: int, totals: list[Reg], unroll: int, ends: tuple[Reg, Reg]
    ) -> list[Reg]:
        """A vector loop over a range that is known when it runs, of a share or a size that has a
        name: as many full vectors as there are, and a masked rest."""
        f, step = self.f, constant(unroll * self.width, "i64")
        low, high = ends
        length = f.sub(high, low)
        full = f.sub(length, f.binary("urem", length, step))
        stop = f.add(low, full)
        most = self.kernel.domain[axis]

        def main() -> list[Reg]:
            return self.unrolled(loop, axis, totals, (low, stop), most, unroll)

        totals = self.guarded(f.icmp("slt", low, stop), totals, main)
        self.masks_totals = bool(loop.accumulators)
        before = totals

        def rest() -> list[Reg]:
            return self.masked_rest(loop, axis, before, (stop, high))

        totals = self.guarded(f.icmp("slt", stop, high), totals, rest)
        self.masks_totals = False
        return totals

    def guarded(self, condition: Reg, totals: list[Reg], run: Callable[[], list[Reg]]) -> list[Reg]:
        """What `run` makes of the accumulators if the condition holds."""
        f = self.f
        inside, outside, before = f.name_of("some"), f.name_of("none"), f.block
        f.branch_if(condition, inside, outside)
        f.label(inside)
        results, last = run(), f.block
        f.branch(outside)
        f.label(outside)
        return [
            f.phi(a.elem, a.lanes, [(a, before), (b, last)])
            for a, b in zip(totals, results, strict=True)
        ]

    def unrolled(
        self,
        loop: Loop,
        axis: int,
        totals: list[Reg],
        ends: tuple[Reg, Reg],
        length: Size,
        unroll: int,
    ) -> list[Reg]:
        """Full vectors, `unroll` at a time, each with accumulators of its own.

        A long sum is made of sums of `BLOCK` vectors, which are added up with the error of each
        addition carried along: it stays as exact as a short one.  `ends` are at most `length`
        apart.
        """
        start, stop = ends
        step = BLOCK * unroll * self.width
        sums = [a.combine == "sum" and a.out.dtype in FLOATS for a in loop.accumulators]
        is_short = not isinstance(length, Dim) and length <= step
        if not any(sums) or is_short:
            return self.run_of_vectors(loop, axis, totals, start, stop, unroll)
        count = len(totals)
        lost = [self.f.const(0, total) for total in totals]
        with self.f.loop(start, stop, step, [*totals, *lost]) as state:
            ahead = self.f.add(state.index, constant(step, "i64"))
            inside = self.f.icmp("slt", ahead, stop)
            end = self.f.select(inside, ahead, stop)
            block = self.run_of_vectors(loop, axis, self.start(loop), state.index, end, unroll)
            following, errors = [], []
            for i, (a, part) in enumerate(zip(loop.accumulators, block, strict=True)):
                total, error = state.carried[i], state.carried[count + i]
                if sums[i]:
                    total, error = self.add_exactly(total, part, error)
                else:
                    total = SCALARS[COMBINE[a.combine]](self.f, total, part)
                following.append(total)
                errors.append(error)
            state.next = [*following, *errors]
        return [
            self.f.fadd(total, state.results[count + i]) if sums[i] else total
            for i, total in enumerate(state.results[:count])
        ]

    def add_exactly(self, total: Reg, part: Reg, error: Reg) -> tuple[Reg, Reg]:
        """total + part, and `error` plus what its rounding lost (Knuth's two-sum)."""
        f = self.f
        flags, f.flags = f.flags, ""  # fast-math would cancel the terms against each other
        rounded = f.fadd(total, part)
        shown = f.fsub(rounded, total)
        lost = f.fadd(f.fsub(total, f.fsub(rounded, shown)), f.fsub(part, shown))
        # Infinities and NaN have no rounding error; their difference would be NaN.
        finite = f.fcmp("one", f.intrinsic("fabs", rounded), f.const(INFINITY, rounded))
        error = f.fadd(error, f.select(finite, lost, f.const(0, lost)))
        f.flags = flags
        return rounded, error

    def run_of_vectors(
        self, loop: Loop, axis: int, totals: list[Reg], start: Reg, stop: Reg, unroll: int
    ) -> list[Reg]:
        """Full vectors from `start` to `stop`, a whole number of times `unroll` of them."""
        fresh = self.start(loop)
        carried = [*totals, *(fresh * (unroll - 1))]
        count = len(totals)
        with self.f.loop(start, stop, unroll * self.width, carried) as state:
            following = []
            for i in range(unroll):
                at = state.index
                if i:
                    at = self.f.add(at, constant(i * self.width, "i64"))
                part = state.carried[i * count : (i + 1) * count]
                following += self.one_vector(loop, axis, part, at, None)
            state.next = following
        results = state.results[:count]
        for i in range(1, unroll):
            part = state.results[i * count : (i + 1) * count]
            results = [
                SCALARS[COMBINE[a.combine]](self.f, x, y)
                for a, x, y in zip(loop.accumulators, results, part, strict=True)
            ]
        return results

    def masked_rest(
        self, loop: Loop, axis: int, totals: list[Reg], part: tuple[Reg, Reg]
    ) -> list[Reg]:
        """The vectors after the unrolled part, the last of them partly masked."""
        start, stop = part
        with self.f.loop(start, stop, self.width, totals) as state:
            mask = self.lanes_below(self.f.sub(stop, state.index))
            state.next = self.one_vector(loop, axis, state.carried, state.index, mask)
        return state.results

    def lanes_below(self, count: Reg) -> Reg:
        """The mask of the lanes with a number less than `count`."""
        numbers = lane_constants(range(self.width), "i32")
        narrow = self.f.convert("trunc", count, "i32")
        return self.f.icmp("slt", numbers, self.f.splat(narrow, self.width))

    def one_vector(
        self, loop: Loop, axis: int, totals: list[Reg], index: Reg, mask: Reg | None
    ) -> list[Reg]:
        with self.bound(axis, index, accesses(loop.body)), self.vectors(axis, mask):
            return self.nested(loop, (), totals)

    def across_lanes(self, combine: str, total: Reg) -> Reg:
        """The lanes of a vector combined into one value, half onto half."""
        while total.lanes > 1:
            low, high = (self.f.half(total, part) for part in (0, 1))
            total = SCALARS[COMBINE[combine]](self.f, low, high)
        return total

    def blocks(self, blocks: Blocks) -> None:
        """One block after the other; scratch memory of its own is counted from its start."""
        axis, size, whole = blocks.axis, blocks.size, self.sizes[blocks.axis]
        if same(size, whole) and axis != self.divided_axis:
            self.block(blocks.body)
            return
        local = self.scratch_of(blocks)
        outside = [a for a in accesses(blocks.body) if a.buffer not in local]
        low, high = self.range_of(axis)
        last = self.f.sub(high, self.f.number(size))
        if axis == self.divided_axis and isinstance(size, Dim):
            # A share may be shorter than a block, which then begins in the share before.
            last = self.f.intrinsic("smax", last, constant(0, "i64"))
        divided, self.sizes[axis] = self.divided_axis, size
        self.divided_axis = None if divided == axis else divided
        with self.f.loop(low, high, self.f.number(size)) as state:
            start = self.f.intrinsic("smin", state.index, last)
            with self.bound(axis, start, outside):
                self.block(blocks.body)
        self.divided_axis, self.sizes[axis] = divided, whole

    def scratch_of(self, blocks: Blocks) -> set[int]:
        """The scratch buffers that nothing outside of the blocks touches."""
        touched = Counter(access.buffer for access in accesses(self.kernel.body))
        inside = Counter(access.buffer for access in accesses(blocks.body))
        scratch = (b for b in inside if self.kernel.buffers[b].role == "scratch")
        return {b for b in scratch if inside[b] == touched[b]}

    # ---- routines --------------------------------------------------------------------------------

    def routine(self, statement: Transpose | Native) -> None:
        """Call a routine on the places where the pointers are; a tile is transposed by one."""
        if isinstance(statement, Native):
            name, dtype, arguments = statement
        else:
            source, target, row, column = statement
            sizes, steps = (
                (self.sizes[row], self.sizes[column]),
                (source.strides[column], target.strides[row]),
            )
            name, dtype = "transpose", self.kernel.buffers[source.buffer].dtype
            arguments = (source, target, *sizes, *steps, self.target.vector_bytes)
        call_routine(self.f, name, dtype, [self.routine_argument(name, a) for a in arguments])

    def routine_argument(self, routine: str, argument: Access | Size | str) -> Reg | int | str:
        """Most routines are written for numbers."""
        if isinstance(argument, Access):
            return self.pointers[argument]
        if not isinstance(argument, Dim):
            return argument
        return self.f.number(argument) if routine in ANY_SIZE else int(argument)

    # ---- matrix products -------------------------------------------------------------------------

    def product(self, product: Product) -> None:
        emit_matmul(
            self.f,
            product_shape(self.kernel, product),
            self.pointers[product.left],
            self.pointers[product.right],
            self.epilogue(product),
            self.target,
            WORK,
            rows=self.share_of(product.row_axis),
            columns=self.share_of(product.column_axis),
            shares=row_shares(self.kernel, product),
        )

    def share_of(self, axis: int | None) -> tuple[Reg, Reg] | None:
        return None if axis is None or axis != self.divided_axis else (LOW, HIGH)

    def epilogue(self, product: Product) -> Callable[[Function, Tile], None]:
        """What runs over a finished tile: row by row, in masked vectors along the columns."""

        def run(f: Function, tile: Tile) -> None:
            with (
                self.shifted(product.row_axis, tile.row, product.epilogue),
                self.shifted(product.column_axis, tile.column, product.epilogue),
                f.loop(constant(0, "i64"), tile.rows, 1) as row,
            ):
                pointer = f.offset(
                    tile.pointer, self._elem(product), self._row_start(tile, row.index)
                )
                with self.shifted(product.row_axis, row.index, product.epilogue):
                    self.tile_row(product, tile, pointer)

        return run

    def _elem(self, product: Product) -> str:
        return ELEMS[product.out.dtype]

    def _row_start(self, tile: Tile, row: Reg) -> Reg:
        return self.f.mul(row, self.f.number(tile.stride))

    def shifted(
        self, axis: int | None, index: Reg, statements: Sequence[Statement]
    ) -> AbstractContextManager[None]:
        """`bound`; nothing for an axis of size 1."""
        return nullcontext() if axis is None else self.bound(axis, index, accesses(statements))

    def tile_row(self, product: Product, tile: Tile, pointer: Reg) -> None:
        f = self.f
        axis = product.column_axis
        if axis is None:
            self.values[product.out.number] = f.load(pointer, self._elem(product))
            self.block(product.epilogue)
            return
        with f.loop(constant(0, "i64"), tile.columns, self.width) as column:
            mask = self.lanes_below(f.sub(tile.columns, column.index))
            at = f.offset(pointer, self._elem(product), column.index)
            with self.shifted(axis, column.index, product.epilogue), self.vectors(axis, mask):
                self.values[product.out.number] = f.masked_load(
                    at, self._elem(product), self.width, mask
                )
                self.block(product.epilogue)
