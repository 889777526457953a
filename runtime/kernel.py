"""The kernel IR: loop nests over named buffers.

A `Kernel` is what one fused equation becomes before it is machine code.  It is independent of the
target: loops are marked as vector loops, but not how wide.  `str(kernel)` is for reading.

Named tuples rather than dataclasses: there are many of these classes, and making a dataclass takes
ten times as long, which every `import graphc` would pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from graphc.dims import Size
from graphc.ir import Lit


class Buffer(NamedTuple):
    """Memory that a kernel is given a pointer to."""

    name: str
    dtype: str
    size: Size
    """How many elements the kernel may touch, counted from the pointer."""
    role: str
    """"in", "out" or "scratch" (contents last for one run of the kernel)."""
    streams: bool = False
    """Whether what is written here is better written past the caches."""


class Access(NamedTuple):
    """An element of a buffer as a function of the loop indices: offset + sum(index * stride)."""

    buffer: int
    offset: Size
    strides: tuple[Size, ...]


class Name(NamedTuple):
    """A value inside a kernel."""

    number: int
    dtype: str

    def __str__(self) -> str:
        return f"t{self.number}"


Operand = Name | Lit


class Load(NamedTuple):
    """`out = access`; with `position`, the element `position * step` further on.

    With a `guard`, memory is read only where it holds; elsewhere the value is anything.
    """

    out: Name
    access: Access
    position: Operand | None = None
    step: Size = 0
    guard: Name | None = None


class Compute(NamedTuple):
    """`out = op(ins)` by the scalar table."""

    out: Name
    op: str
    ins: tuple[Operand, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


class Index(NamedTuple):
    """`out` = the loop index along an axis."""

    out: Name
    axis: int


class Store(NamedTuple):
    """`access = value`"""

    access: Access
    value: Operand


class AddAt(NamedTuple):
    """`access[position * step] += value`, or `= value`, one element after the other."""

    access: Access
    position: Operand
    step: Size
    value: Operand
    replaces: bool = False


class Accumulator(NamedTuple):
    """`out` = the values combined over the loop that holds it."""

    out: Name
    combine: str
    value: Operand


class Loop(NamedTuple):
    """Nested loops over `axes`, outermost first; a vector loop runs its last axis in vectors."""

    axes: tuple[int, ...]
    vector: bool
    body: tuple[Statement, ...]
    accumulators: tuple[Accumulator, ...] = ()


class Product(NamedTuple):
    """The matrix product left @ right at the current batch indices, tile by tile.

    `epilogue` runs over each finished tile; it reads the product as `out`.
    """

    out: Name
    left: Access
    right: Access
    rows: Size
    inner: Size
    columns: Size
    left_strides: tuple[Size, Size]
    right_strides: tuple[Size, Size]
    row_axis: int | None
    column_axis: int | None
    epilogue: tuple[Statement, ...]


class Transpose(NamedTuple):
    """Copy what `source` is at all indices along `row` and `column` to `target`.

    `source` is contiguous along `row` and `target` along `column`: a vector of the one is an
    element of many vectors of the other.
    """

    source: Access
    target: Access
    row: int
    column: int


class Native(NamedTuple):
    """Call a routine of `llvm/routines` once, on pointers at the current indices and on constants.

    `dtype` is the routine's element type; characters are options of a library's routine.
    """

    routine: str
    dtype: str
    arguments: tuple[Access | Size | str, ...]


class Blocks(NamedTuple):
    """`body` for blocks of `size` consecutive indices along `axis`, from the first to the last.

    Inside, loops and products along the axis run over the block alone, and scratch buffers that
    nothing outside touches are counted from its start: they hold one block.  The last block begins
    early enough to be whole, so that elements at its start may be computed twice, to the same
    values.
    """

    axis: int
    size: Size
    body: tuple[Statement, ...]


Statement = Load | Compute | Index | Store | AddAt | Loop | Product | Blocks | Transpose | Native


class Division(NamedTuple):
    """A kernel's work divided among `shares`: each runs a range of the indices along `axis`."""

    axis: int
    shares: int


class Kernel(NamedTuple):
    """One kernel: its buffers (the order of its pointer arguments), loop sizes and statements."""

    name: str
    domain: tuple[Size, ...]
    buffers: tuple[Buffer, ...]
    body: tuple[Statement, ...]
    division: Division | None = None

    def __str__(self) -> str:
        head = ", ".join(f"{b.role} {b.name}: {b.dtype}[{b.size}]" for b in self.buffers)
        lines = [f"kernel {self.name}({head}) {{"]
        if self.division is not None:
            shares = f"in {self.division.shares} shares of i{self.division.axis}"
            lines = [f"kernel {self.name}({head}) {shares} {{"]
        lines += _lines(self, self.body, "  ")
        return "\n".join([*lines, "}"])


def accesses(statements: Sequence[Statement]) -> Iterator[Access]:
    """Every access below `statements`."""
    for statement in statements:
        if isinstance(statement, (Load, Store, AddAt)):
            yield statement.access
        elif isinstance(statement, (Loop, Blocks)):
            yield from accesses(statement.body)
        elif isinstance(statement, Product):
            yield statement.left
            yield statement.right
            yield from accesses(statement.epilogue)
        elif isinstance(statement, Transpose):
            yield statement.source
            yield statement.target
        elif isinstance(statement, Native):
            yield from (a for a in statement.arguments if isinstance(a, Access))


def inner(statements: Iterable[Statement]) -> Iterator[Statement]:
    """All statements, those inside others too."""
    for statement in statements:
        yield statement
        if isinstance(statement, (Loop, Blocks)):
            yield from inner(statement.body)
        elif isinstance(statement, Product):
            yield from inner(statement.epilogue)


def reads(statement: Statement) -> Iterator[Name]:
    """The values that a statement itself reads; of a loop, those that it accumulates."""
    operands: tuple[Operand | None, ...] = ()
    match statement:
        case Compute(ins=ins):
            operands = ins
        case Load(position=position, guard=guard):
            operands = (position, guard)
        case Store(value=value):
            operands = (value,)
        case AddAt(position=position, value=value):
            operands = (position, value)
        case Loop(accumulators=accumulators):
            operands = tuple(a.value for a in accumulators)
    yield from (operand for operand in operands if isinstance(operand, Name))


def is_plain(statement: Load | Store) -> bool:
    """Whether it touches the element of its access, wherever it stands."""
    return isinstance(statement, Store) or (statement.position is None and statement.guard is None)


def loop_axes(statement: Statement) -> Iterator[int]:
    """The axes that a statement itself runs over, or reads the index of."""
    match statement:
        case Loop(axes=axes):
            yield from axes
        case Index(axis=axis) | Blocks(axis=axis):
            yield axis
        case Transpose(row=row, column=column):
            yield from (row, column)
        case Product(row_axis=row, column_axis=column):
            yield from (axis for axis in (row, column) if axis is not None)


# ---- printing ------------------------------------------------------------------------------------


def _lines(kernel: Kernel, statements: tuple[Statement, ...], indent: str) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, Loop):
            for accumulator in statement.accumulators:
                yield f"{indent}{accumulator.out} = {accumulator.combine} over:"
            ranges = ", ".join(f"i{axis} < {kernel.domain[axis]}" for axis in statement.axes)
            kind = "vector for" if statement.vector else "for"
            yield f"{indent}{kind} {ranges} {{"
            yield from _lines(kernel, statement.body, indent + "  ")
            for accumulator in statement.accumulators:
                yield f"{indent}  {accumulator.out} <- {_operand(accumulator.value)}"
            yield indent + "}"
        elif isinstance(statement, Blocks):
            axis, size = statement.axis, statement.size
            yield f"{indent}for blocks of {size} of i{axis} < {kernel.domain[axis]} {{"
            yield from _lines(kernel, statement.body, indent + "  ")
            yield indent + "}"
        elif isinstance(statement, Product):
            yield (
                f"{indent}{statement.out} = tiles of {_access(kernel, statement.left)} @"
                f" {_access(kernel, statement.right)}"
                f" ({statement.rows} x {statement.inner} x {statement.columns},"
                f" strides {statement.left_strides} and {statement.right_strides}) {{"
            )
            yield from _lines(kernel, statement.epilogue, indent + "  ")
            yield indent + "}"
        else:
            yield indent + _line(kernel, statement)


def _line(kernel: Kernel, statement: Statement) -> str:
    match statement:
        case Load(out, access, index, stride, guard):
            at = "" if index is None else f" + {_operand(index)}*{stride}"
            held = "" if guard is None else f" if {guard}"
            return f"{out} = load {_access(kernel, access)}{at}{held}"
        case Compute(out, op, ins, attrs):
            parts = [*map(_operand, ins), *(f"{k}={v}" for k, v in attrs)]
            return f"{out} = {op}({', '.join(parts)})"
        case Index(out, axis):
            return f"{out} = i{axis}"
        case Store(access, value):
            return f"store {_access(kernel, access)} = {_operand(value)}"
        case AddAt(access, index, stride, value, replaces):
            where = f"{_access(kernel, access)} + {_operand(index)}*{stride}"
            verb, sign = ("put", "=") if replaces else ("add", "+=")
            return f"{verb} {where} {sign} {_operand(value)}"
        case Transpose(source, target, row, column):
            places = f"{_access(kernel, source)} to {_access(kernel, target)}"
            return f"transpose {places} along i{row} and i{column}"
        case Native(routine, dtype, arguments):
            shown = [_access(kernel, a) if isinstance(a, Access) else str(a) for a in arguments]
            return f"call {routine}.{dtype}({', '.join(shown)})"
    raise TypeError(statement)


def _operand(operand: Operand) -> str:
    return str(operand.value) if isinstance(operand, Lit) else str(operand)


def _access(kernel: Kernel, access: Access) -> str:
    terms = [
        f"i{axis}" if stride == 1 else f"i{axis}*{stride}"
        for axis, stride in enumerate(access.strides)
        if stride
    ]
    if access.offset or not terms:
        terms.append(str(access.offset))
    return f"{kernel.buffers[access.buffer].name}[{' + '.join(terms)}]"
