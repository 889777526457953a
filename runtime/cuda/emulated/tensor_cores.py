"""Tensor cores of the emulated device, as LLVM IR: what the threads of a warp do together.

A thread leaves its fragments where the others of its warp find them, waits for these, and computes
the elements that are its own.  It leaves those of the next instruction elsewhere, so that nobody
writes what another one still reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.runtime.cuda.emit.tensor_simt import MATRICES, mma_name, mma_operands, struct_of
from graphc.runtime.cuda.emulated.copies import COUNTERS, copies_text
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.fragments import MMA_16, MMA_32, MMA_64, Fragment, Mma

FRAGMENT_BYTES = 32
"""Of one thread and one operand at most, and of the four addresses that it may leave."""
WAITING = r"mma\.\S+?|ldmatrix\.\S+?"
"""What waits for the warp, as a regular expression."""

INSTRUCTIONS = ((MMA_16, "f16"), (MMA_16, "bf16"), (MMA_32, "float"), (MMA_64, "double"))


def tensor_text(text: str, threads: int) -> str:
    """The functions that code calls, for at most so many threads of a block."""
    parts = [_MEMORY.replace("$THREADS", str(threads)).replace("$BYTES", str(FRAGMENT_BYTES))]
    parts += [copies_text(threads)]
    if MATRICES in text:
        parts += [_CONFLICTS, *(_matrices(transposed) for transposed in (False, True))]
    called = [(mma, elem) for mma, elem in INSTRUCTIONS if f"{mma_name(mma, elem)}(" in text]
    for mma in dict.fromkeys(mma for mma, _ in called):
        parts += _tables(mma)
    parts += [_mma(mma, elem) for mma, elem in called]
    return "\n".join(parts)


def cleared(threads: int) -> list[tuple[str, int]]:
    """What is 0 where a block begins: names, bytes."""
    return [(f"emulated.{name}", 4 * threads) for name in (*COUNTERS, "turn")]


_MEMORY = """
%emulated.left = type [2 x [2 x [$THREADS x [$BYTES x i8]]]]
@emulated.fragments = internal global %emulated.left zeroinitializer, align 64
@emulated.turn = internal global [$THREADS x i32] zeroinitializer

; Where a thread leaves fragment number %which of this turn.
define internal ptr @emulated.fragment(i32 %thread, i32 %turn, i32 %which) {
  %half = and i32 %turn, 1
  %at = getelementptr %emulated.left, ptr @emulated.fragments, i32 0,
    i32 %half, i32 %which, i32 %thread, i32 0
  ret ptr %at
}

define internal i32 @emulated.next_turn(i32 %thread) {
  %at = getelementptr i32, ptr @emulated.turn, i32 %thread
  %turn = load i32, ptr %at
  %next = add i32 %turn, 1
  store i32 %next, ptr %at
  ret i32 %turn
}

define internal i32 @emulated.f2tf32.rna(float %x) {
  %bits = bitcast float %x to i32
  %up = add i32 %bits, 4096
  %cut = and i32 %up, -8192
  %exponent = and i32 %bits, 2139095040
  %special = icmp eq i32 %exponent, 2139095040
  %word = select i1 %special, i32 %bits, i32 %cut
  ret i32 %word
}

define internal float @emulated.wide.f16(ptr %at) {
  %half = load half, ptr %at
  %x = fpext half %half to float
  ret float %x
}

define internal float @emulated.wide.bf16(ptr %at) {
  %half = load i16, ptr %at
  %word = zext i16 %half to i32
  %bits = shl i32 %word, 16
  %x = bitcast i32 %bits to float
  ret float %x
}

define internal float @emulated.wide.float(ptr %at) {
  %word = load i32, ptr %at
  %bits = and i32 %word, -8192
  %x = bitcast i32 %bits to float
  ret float %x
}

define internal double @emulated.wide.double(ptr %at) {
  %x = load double, ptr %at
  ret double %x
}

declare float @llvm.fma.f32(float, float, float)
declare double @llvm.fma.f64(double, double, double)
declare i32 @llvm.ctpop.i32(i32)
"""


# ---- four matrices of 8 x 8 ----------------------------------------------------------------------


def _matrices(transposed: bool) -> str:
    """Each thread leaves its address, and reads two elements of each matrix by those of others.

    The first thread of eight looks whether their rows are in different banks of the memory.
    """
    name = f"{MATRICES}{'.trans' if transposed else ''}.b16.p3"
    lines = [*_turn()]
    lines += [
        "  %own = call ptr @emulated.fragment(i32 %thread, i32 %turn, i32 0)",
        "  store ptr %address, ptr %own",
        "  call void @emulated.check(ptr %address, i64 16)",
        "  call void @emulated.wait(i32 2, i32 %site)",
        "  call void @emulated.count_conflicts(i32 %thread, i32 %turn)",
        "  %group = lshr i32 %lane, 2",
        "  %number = and i32 %lane, 3",
        "  %even = shl i32 %number, 1",
        "  %odd = or i32 %even, 1",
    ]
    for matrix in range(4):
        for half, place in enumerate(("%even", "%odd")):
            row, column = (place, "%group") if transposed else ("%group", place)
            key = f"{matrix}.{half}"
            lines += [
                f"  %row{key} = add i32 {row}, {8 * matrix}",
                f"  %of{key} = add i32 %first, %row{key}",
                f"  %left{key} = call ptr @emulated.fragment(i32 %of{key}, i32 %turn, i32 0)",
                f"  %start{key} = load ptr, ptr %left{key}",
                f"  %at{key} = getelementptr i16, ptr %start{key}, i32 {column}",
                f"  %x{key} = load i16, ptr %at{key}",
                f"  %wide{key} = zext i16 %x{key} to i32",
            ]
        lines += [
            f"  %high{matrix} = shl i32 %wide{matrix}.1, 16",
            f"  %word{matrix} = or i32 %wide{matrix}.0, %high{matrix}",
        ]
    words = [f"%word{i}" for i in range(4)]
    result = _returned("i32", words)
    body = "\n".join([*lines, *result])
    head = f"define internal {struct_of('i32', 4)} @emulated.{name}(i32 %site, ptr %address)"
    return f"{head} {{\n{body}\n}}"


_CONFLICTS = """
define internal void @emulated.count_conflicts(i32 %thread, i32 %turn) {
entry:
  %row = and i32 %thread, 7
  %is.first = icmp eq i32 %row, 0
  br i1 %is.first, label %next, label %end
next:
  %i = phi i32 [0, %entry], [%i1, %next]
  %mask = phi i32 [0, %entry], [%more, %next]
  %other = add i32 %thread, %i
  %left = call ptr @emulated.fragment(i32 %other, i32 %turn, i32 0)
  %at = load i64, ptr %left
  %piece = lshr i64 %at, 4
  %bank = and i64 %piece, 7
  %bank.short = trunc i64 %bank to i32
  %bit = shl i32 1, %bank.short
  %more = or i32 %mask, %bit
  %i1 = add i32 %i, 1
  %again = icmp ult i32 %i1, 8
  br i1 %again, label %next, label %count
count:
  %banks = call i32 @llvm.ctpop.i32(i32 %more)
  %lost = sub i32 8, %banks
  %lost.wide = zext i32 %lost to i64
  %before = load i64, ptr @emulated.conflicts
  %after = add i64 %before, %lost.wide
  store i64 %after, ptr @emulated.conflicts
  br label %end
end:
  ret void
}
"""


def _turn() -> Iterator[str]:
    yield "  %thread = load i32, ptr @emulated.current"
    yield "  %turn = call i32 @emulated.next_turn(i32 %thread)"
    yield f"  %lane = urem i32 %thread, {WARP}"
    yield "  %first = sub i32 %thread, %lane"


def _returned(elem: str, values: list[str]) -> Iterator[str]:
    struct, made = struct_of(elem, len(values)), "poison"
    for i, value in enumerate(values):
        yield f"  %made{i} = insertvalue {struct} {made}, {elem} {value}, {i}"
        made = f"%made{i}"
    yield f"  ret {struct} {made}"


# ---- multiplication ------------------------------------------------------------------------------


def _tables(mma: Mma) -> Iterator[str]:
    """Which element of which thread is that in a row and a column, and where a thread's own are."""
    sizes = {"left": (mma.rows, mma.depth), "right": (mma.depth, mma.columns)}
    for side, (rows, columns) in sizes.items():
        fragment: Fragment = getattr(mma, side)
        count = len(fragment.steps)
        places = {fragment.place(t, i): t * count + i for t in range(WARP) for i in range(count)}
        yield _table(mma, side, [places[r, c] for r in range(rows) for c in range(columns)])
    owned = [mma.out.place(t, i) for t in range(WARP) for i in range(len(mma.out.steps))]
    yield _table(mma, "out.row", [row for row, _ in owned])
    yield _table(mma, "out.column", [column for _, column in owned])


def _table(mma: Mma, what: str, values: list[int]) -> str:
    items = ", ".join(f"i32 {value}" for value in values)
    name = _table_name(mma, what)
    return f"{name} = internal constant [{len(values)} x i32] [{items}]"


def _table_name(mma: Mma, what: str) -> str:
    return f"@emulated.m{mma.rows}n{mma.columns}k{mma.depth}.{what}"


def _mma(mma: Mma, elem: str) -> str:
    kind, lefts, rights = mma_operands(mma, elem)
    outs, total = len(mma.out.steps), mma.total
    parameters = [f"{kind} %l{i}" for i in range(lefts)] + [f"{kind} %r{i}" for i in range(rights)]
    parameters += [f"{total} %c{i}" for i in range(outs)]
    size = 8 if kind == "double" else 4
    lines = [*_turn()]
    for which, (letter, count) in enumerate((("l", lefts), ("r", rights))):
        lines.append(
            f"  %{letter} = call ptr @emulated.fragment(i32 %thread, i32 %turn, i32 {which})"
        )
        for i in range(count):
            lines.append(f"  %{letter}.at{i} = getelementptr i8, ptr %{letter}, i32 {size * i}")
            lines.append(f"  store {kind} %{letter}{i}, ptr %{letter}.at{i}")
    lines.append("  call void @emulated.wait(i32 2, i32 %site)")
    name = mma_name(mma, elem)
    for i in range(outs):
        lines += [
            f"  %n{i}.first = mul i32 %lane, {outs}",
            f"  %n{i} = add i32 %n{i}.first, {i}",
            f"  %d{i} = call {total} @emulated.dot.{name}(i32 %first, i32 %turn, i32 %n{i},"
            f" {total} %c{i})",
        ]
    lines += _returned(total, [f"%d{i}" for i in range(outs)])
    body = "\n".join(lines)
    head = f"define internal {struct_of(total, outs)} @emulated.{name}"
    return f"{_dot(mma, elem)}\n{head}(i32 %site, {', '.join(parameters)}) {{\n{body}\n}}"


def _dot(mma: Mma, elem: str) -> str:
    """One element: its total and the products of a row and a column, one after the other."""
    total, size = mma.total, {"f16": 2, "bf16": 2, "float": 4, "double": 8}[elem]
    letters = {"left": len(mma.left.steps), "right": len(mma.right.steps)}
    lines = [
        f"define internal {total} @emulated.dot.{mma_name(mma, elem)}"
        f"(i32 %first, i32 %turn, i32 %own, {total} %start) {{",
        "entry:",
    ]
    for what in ("row", "column"):
        lines += [
            f"  %{what}.at = getelementptr i32, ptr {_table_name(mma, f'out.{what}')}, i32 %own",
            f"  %{what} = load i32, ptr %{what}.at",
        ]
    lines += [
        "  br label %next",
        "next:",
        "  %k = phi i32 [0, %entry], [%k1, %next]",
        f"  %sum = phi {total} [%start, %entry], [%more, %next]",
        f"  %left.row = mul i32 %row, {mma.depth}",
        "  %left.place = add i32 %left.row, %k",
        f"  %right.row = mul i32 %k, {mma.columns}",
        "  %right.place = add i32 %right.row, %column",
    ]
    for which, (side, count) in enumerate(letters.items()):
        lines += [
            f"  %{side}.at = getelementptr i32, ptr {_table_name(mma, side)}, i32 %{side}.place",
            f"  %{side}.number = load i32, ptr %{side}.at",
            f"  %{side}.lane = udiv i32 %{side}.number, {count}",
            f"  %{side}.element = urem i32 %{side}.number, {count}",
            f"  %{side}.thread = add i32 %first, %{side}.lane",
            f"  %{side}.start = call ptr @emulated.fragment(i32 %{side}.thread, i32 %turn,"
            f" i32 {which})",
            f"  %{side}.bytes = mul i32 %{side}.element, {size}",
            f"  %{side}.p = getelementptr i8, ptr %{side}.start, i32 %{side}.bytes",
            f"  %{side}.x = call {total} @emulated.wide.{elem}(ptr %{side}.p)",
        ]
    lines += [
        f"  %more = call {total} @llvm.fma.f{32 if total == 'float' else 64}"
        f"({total} %left.x, {total} %right.x, {total} %sum)",
        "  %k1 = add i32 %k, 1",
        f"  %again = icmp ult i32 %k1, {mma.depth}",
        "  br i1 %again, label %next, label %done",
        "done:",
        f"  ret {total} %more",
        "}",
    ]
    return "\n".join(lines)
