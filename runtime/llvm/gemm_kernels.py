"""The micro-kernels of matrix products, and what they are written with.

Each is added to a module the first time that a product there needs it, and takes strides and
extents at run time, so that one serves every shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import NamedTuple

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_assembly import ROWS_PER_POINTER, assemble, is_assembled
from graphc.runtime.llvm.gemm_assembly import Tile as AssembledTile
from graphc.runtime.llvm.math.narrow import NARROW, load_wide
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant, lane_constants
from graphc.runtime.llvm.target import HostTarget

ELEMENTS = {"f32": ("float", 4), "f64": ("double", 8), "i32": ("i32", 4), "i64": ("i64", 8)}


class MatmulShape(NamedTuple):
    """rows x inner times inner x columns; strides count elements and may be anything."""

    rows: Size
    inner: Size
    columns: Size
    dtype: str
    left_strides: tuple[Size, Size]
    right_strides: tuple[Size, Size]
    stored: tuple[str, str] = ("", "")
    """The dtypes of left and right in memory, where they are widened to `dtype`."""

    @property
    def elem(self) -> str:
        return ELEMENTS[self.dtype][0]

    @property
    def size(self) -> int:
        return ELEMENTS[self.dtype][1]

    @property
    def left_elem(self) -> str:
        return self.stored[0] or self.elem

    @property
    def right_elem(self) -> str:
        return self.stored[1] or self.elem

    @property
    def name(self) -> str:
        """What kernels for these dtypes are called."""
        return "_".join((self.dtype, *self.stored)) if any(self.stored) else self.dtype

    def transposed(self) -> MatmulShape:
        """The same product seen as right^T @ left^T."""
        return MatmulShape(
            self.columns, self.inner, self.rows, self.dtype,
            self.right_strides[::-1], self.left_strides[::-1], self.stored[::-1],
        )  # fmt: skip


# ---- index arithmetic, folded where both sides are known -----------------------------------------


@contextmanager
def when(f: Function, condition: Reg) -> Iterator[None]:
    inside, outside = f.name_of("then"), f.name_of("done")
    f.branch_if(condition, inside, outside)
    f.label(inside)
    yield
    f.branch(outside)
    f.label(outside)


def index(value: int) -> Reg:
    return constant(value, "i64")


def known(*registers: Reg) -> bool:
    return not any(register.text.startswith("%") for register in registers)


def minimum(f: Function, a: Reg, b: Reg) -> Reg:
    if known(a, b):
        return index(min(int(a.text), int(b.text)))
    return f.intrinsic("smin", a, b)


def plus(f: Function, a: Reg, b: Reg) -> Reg:
    return index(int(a.text) + int(b.text)) if known(a, b) else f.add(a, b)


def minus(f: Function, a: Reg, b: Reg) -> Reg:
    if known(a, b):
        return index(int(a.text) - int(b.text))
    if a.text == b.text:
        return index(0)
    return a if b.text == "0" else f.sub(a, b)


def maximum(f: Function, a: Reg, b: Reg) -> Reg:
    if known(a, b):
        return index(max(int(a.text), int(b.text)))
    return f.intrinsic("smax", a, b)


def times(f: Function, a: Reg, b: Size) -> Reg:
    factor = f.number(b)
    if known(a, factor):
        return index(int(a.text) * int(factor.text))
    return a if factor.text == "1" else f.mul(a, factor)


@contextmanager
def counted(f: Function, low: Reg, high: Reg, step: Size, is_some: bool = False) -> Iterator[Reg]:
    """`for i in range(low, high, step)`; no loop where one turn is known, no turn where empty,
    which it is not if it `is_some`."""
    each = f.number(step)
    if known(low, high):
        if known(each) and int(high.text) - int(low.text) <= int(each.text):
            yield low
        else:
            with f.loop(low, high, each) as loop:
                yield loop.index
        return
    guard = nullcontext() if is_some else when(f, f.icmp("slt", low, high))
    with guard, f.loop(low, high, each) as loop:
        yield loop.index


# ---- micro-kernels -------------------------------------------------------------------------------


Body = Callable[[Function], None]


def shared(module: Module, name: str, names: Sequence[str], body: Body) -> Reg:
    """The function `name`, added to the module the first time; its parameters are `names`.

    Names that start with "p" are pointers, others i64.
    """
    if name not in module.functions:
        parameters = [Reg(f"%{n}", "ptr" if n.startswith("p") else "i64") for n in names]
        function = Function(module, name, parameters)
        body(function)
        function.line("ret void")
        module.add(function)
    return Reg(f"@{name}", "ptr")


def at(f: Function, pointer: Reg, distance: Reg) -> Reg:
    """The address `distance` bytes on."""
    return f.offset(pointer, "i8", distance)


def call(f: Function, callee: Reg, arguments: Sequence[Reg]) -> None:
    """Call a function by its address, which may have been chosen at run time."""
    f.line(f"call void {callee.text}({', '.join(a.typed for a in arguments)})")


def multiply_add(f: Function, a: Reg, b: Reg, c: Reg) -> Reg:
    """a*b + c, rounded once or twice: not every target has a fused instruction."""
    if a.elem in ("float", "double"):
        return f.intrinsic("fmuladd", a, b, c)
    return f.add(f.mul(a, b), c)


def tile_kernel(
    module: Module,
    shape: MatmulShape,
    height: int,
    vectors: int,
    lanes: int,
    ahead: bool = False,
    target: HostTarget | None = None,
) -> Reg:
    """height x vectors sums in registers: one broadcast of `left` meets one vector of `right`.

    With `ahead` it also asks, in each turn, for a cache line that another call will need.  For a
    `target` that it is known for it is written as assembly.
    """
    elem, left_elem, right_elem = shape.elem, shape.left_elem, shape.right_elem

    def assembled(f: Function) -> None:
        pointers = row_pointers(f, f.parameters[0], f.parameters[1], height)
        assemble(f, AssembledTile(elem, height, vectors, lanes), pointers, ahead)

    def body(f: Function) -> None:
        left, row_stride, left_step, right, right_step, inner, out, out_stride = f.parameters[:8]
        zeros = [constant(0, elem, lanes)] * (height * vectors)
        pointers = row_pointers(f, left, row_stride, height)
        twice = f.shl(row_stride, index(1))
        coming = f.parameters[8:9] if ahead else []
        with f.loop(index(0), inner, 1, [right, *pointers, *zeros, *coming]) as loop:
            source, *lefts = loop.carried[: 1 + len(pointers)]
            sums = loop.carried[1 + len(pointers) : 1 + len(pointers) + len(zeros)]
            places = [f.offset(source, right_elem, index(v * lanes)) for v in range(vectors)]
            values = [load_wide(f, place, right_elem, lanes) for place in places]
            for r in range(height):
                start, within = lefts[r // ROWS_PER_POINTER], r % ROWS_PER_POINTER
                address = at(f, start, (index(0), row_stride, twice)[within])
                factor = f.splat(load_wide(f, address, left_elem, 1), lanes)
                for i, value in enumerate(values, r * vectors):
                    sums[i] = multiply_add(f, factor, value, sums[i])
            following = [at(f, f.opaque(p), left_step) for p in lefts]
            loop.next = [at(f, f.opaque(source), right_step), *following, *sums]
            if ahead:
                f.prefetch(loop.carried[-1], level=2)
                loop.next.append(at(f, f.opaque(loop.carried[-1]), f.parameters[9]))
        sums = loop.results[1 + len(pointers) : 1 + len(pointers) + len(zeros)]
        store_tile(f, out, out_stride, sums, vectors)

    name = f"matmul_tile_{shape.name}_{height}x{vectors}" + "_ahead" * ahead
    if target is not None and is_assembled(target, elem, left_elem, right_elem):
        body = assembled
    return shared(module, name, KERNEL_NAMES + AHEAD_NAMES * ahead, body)


AHEAD_NAMES = ["p_ahead", "ahead_step"]


KERNEL_NAMES = "p_left row_stride left_step p_right right_step inner p_out out_stride".split()
ROWS_TOGETHER = 8  # rows of right that are added to a wide row between its load and its store


def row_kernel(module: Module, shape: MatmulShape, lanes: int) -> Reg:
    """One wide row, `out_stride` bytes: rows of right are read along, as memory likes best."""
    elem, right_elem = shape.elem, shape.right_elem
    halves = index(1 if right_elem in NARROW else 0)

    def body(f: Function) -> None:
        left, _, left_step, right, right_step, inner, out, out_bytes = f.parameters
        with f.loop(index(0), out_bytes, lanes * shape.size) as across:
            f.store(constant(0, elem, lanes), at(f, out, across.index))
        whole = f.and_(inner, index(-ROWS_TOGETHER))
        for low, high, count in ((index(0), whole, ROWS_TOGETHER), (whole, inner, 1)):
            with counted(f, low, high, count) as k:
                lefts = strided(f, at(f, left, f.mul(k, left_step)), left_step, count)
                rights = strided(f, at(f, right, f.mul(k, right_step)), right_step, count)
                weights = [f.splat(load_wide(f, p, shape.left_elem, 1), lanes) for p in lefts]
                with f.loop(index(0), out_bytes, lanes * shape.size) as across:
                    total = f.load(at(f, out, across.index), elem, lanes)
                    along = f.lshr(across.index, halves)
                    for weight, p in zip(weights, rights, strict=True):
                        value = load_wide(f, at(f, p, along), right_elem, lanes)
                        total = multiply_add(f, weight, value, total)
                    f.store(total, at(f, out, across.index))

    return shared(module, f"matmul_row_{shape.name}", KERNEL_NAMES, body)


def row_pointers(f: Function, left: Reg, row_stride: Reg, height: int) -> list[Reg]:
    """A pointer for each group of rows: one for each row would not fit in the registers."""
    group = f.mul(row_stride, index(ROWS_PER_POINTER))
    pointers = [left]
    for _ in range(ROWS_PER_POINTER, height, ROWS_PER_POINTER):
        pointers.append(at(f, pointers[-1], group))
    return pointers


def store_tile(f: Function, out: Reg, stride: Reg, sums: Sequence[Reg], vectors: int) -> None:
    for i, value in enumerate(sums):
        if i and i % vectors == 0:
            out = at(f, out, stride)
        f.store(value, f.offset(out, value.elem, index(i % vectors * value.lanes)))


def dot_kernel(module: Module, shape: MatmulShape, height: int, columns: int, lanes: int) -> Reg:
    """height x columns dot products of contiguous runs, vectorised along k."""
    elem, name = shape.elem, f"matmul_dot_{shape.name}_{height}x{columns}"

    def body(f: Function) -> None:
        left, row_stride, right, column_stride, inner, out, out_row, out_column = f.parameters
        lefts = strided(f, left, row_stride, height)
        rights = strided(f, right, column_stride, columns)

        def step(k: Reg, sums: Sequence[Reg], mask: Reg | None = None) -> list[Reg]:
            sides = (lefts, shape.left_elem), (rights, shape.right_elem)
            a, b = (
                [load_wide(f, f.offset(p, stored, k), stored, lanes, mask) for p in side]
                for side, stored in sides
            )
            return [multiply_add(f, x, y, c) for (x, y), c in zip(product(a, b), sums, strict=True)]

        zeros = [constant(0, elem, lanes)] * (height * columns)
        first = f.add(f.and_(f.sub(inner, index(1)), index(lanes - 1)), index(1))
        mask = lanes_below(f, first, lanes)
        sums = step(index(0), zeros, mask)
        sums = loop_if_any(f, first, inner, lanes, sums, step)
        for i, total in enumerate(sums):
            if i and i % columns == 0:
                out = at(f, out, out_row)
            place = at(f, out, f.mul(out_column, index(i % columns)))
            f.store(horizontal_sum(f, total), place)

    names = "p_left row_stride p_right column_stride inner p_out out_row out_column".split()
    return shared(module, name, names, body)


def add_kernel(module: Module, shape: MatmulShape, lanes: int) -> Reg:
    """Adds a tile of `size` bytes, whole vectors, to the sums kept from earlier blocks of k."""

    def body(f: Function) -> None:
        total, tile, size = f.parameters
        with f.loop(index(0), size, lanes * shape.size) as loop:
            place = at(f, total, loop.index)
            new = f.load(at(f, tile, loop.index), shape.elem, lanes)
            old = f.load(place, shape.elem, lanes)
            opcode = "fadd" if shape.elem in ("float", "double") else "add"
            f.store(f.binary(opcode, old, new), place)

    return shared(module, f"matmul_add_{shape.dtype}", ["p_total", "p_tile", "size"], body)


def strided(f: Function, start: Reg, stride: Reg, count: int) -> list[Reg]:
    pointers = [start]
    for _ in range(count - 1):
        pointers.append(at(f, pointers[-1], stride))
    return pointers


def loop_if_any(
    f: Function,
    low: Reg,
    high: Reg,
    step: int,
    carried: Sequence[Reg],
    body: Callable[[Reg, Sequence[Reg]], list[Reg]],
) -> list[Reg]:
    """A loop over range(low, high, step), perhaps empty, with carried registers."""
    inside, outside, before = f.name_of("some"), f.name_of("none"), f.block
    f.branch_if(f.icmp("slt", low, high), inside, outside)
    f.label(inside)
    with f.loop(low, high, step, carried) as loop:
        loop.next = body(loop.index, loop.carried)
    last = f.block
    f.branch(outside)
    f.label(outside)
    return [
        f.phi(old.elem, old.lanes, [(old, before), (new, last)])
        for old, new in zip(carried, loop.results, strict=True)
    ]


def lanes_below(f: Function, count: Reg, lanes: int) -> Reg:
    """A mask of the lanes whose number is less than `count` (i64, possibly negative)."""
    most = f.intrinsic("smin", count, index(lanes))
    return f.icmp(
        "slt",
        lane_constants(range(lanes), "i32"),
        f.splat(f.convert("trunc", most, "i32"), lanes),
    )


def horizontal_sum(f: Function, total: Reg) -> Reg:
    """All lanes added, halves first."""
    while total.lanes > 1:
        half = total.lanes // 2
        low, high = (take_lanes(f, total, total, range(k, k + half)) for k in (0, half))
        total = f.binary("fadd" if total.elem in ("float", "double") else "add", low, high)
    return total


def take_lanes(f: Function, a: Reg, b: Reg, which: Sequence[int]) -> Reg:
    """The lanes `which` of a followed by b."""
    if len(which) == 1:
        return f.extract(a, which[0])
    lanes = lane_constants(which, "i32")
    return f.let(f"shufflevector {a.typed}, {b.typed}, {lanes.typed}", a.elem, len(which))
