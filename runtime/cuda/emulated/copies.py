"""Copies to shared memory that run beside other work, on the emulated device, as LLVM IR.

A copy is noted when it begins and made when it is waited for: whoever reads too early finds what
was there before.
"""

from __future__ import annotations

from graphc.runtime.cuda.emit.tensor_simt import COPY_BYTES

MOST_COPIES = 256
"""That a thread may have under way."""
COUNTERS = ("begun", "done", "groups")
"""The memory that is 0 where a block begins: a number for each thread."""


def copies_text(threads: int) -> str:
    """The functions, for at most so many threads of a block."""
    text = _COPIES.replace("$THREADS", str(threads)).replace("$MOST", str(MOST_COPIES))
    return "\n".join([text, *(_copy(nbytes, name) for nbytes, name in COPY_BYTES.items())])


_COPIES = """
%emulated.copy = type { ptr, ptr, i32, i32, i32 }
@emulated.copies = internal global [$THREADS x [$MOST x %emulated.copy]] zeroinitializer
@emulated.begun = internal global [$THREADS x i32] zeroinitializer
@emulated.done = internal global [$THREADS x i32] zeroinitializer
@emulated.groups = internal global [$THREADS x i32] zeroinitializer

define internal ptr @emulated.copy_at(i32 %thread, i32 %number) {
  %place = urem i32 %number, $MOST
  %at = getelementptr [$THREADS x [$MOST x %emulated.copy]], ptr @emulated.copies,
    i32 0, i32 %thread, i32 %place
  ret ptr %at
}

define internal void @emulated.begin_copy(ptr %target, ptr %source, i32 %bytes, i32 %valid) {
  %thread = load i32, ptr @emulated.current
  %wide = zext i32 %bytes to i64
  call void @emulated.check(ptr %target, i64 %wide)
  %some = icmp ne i32 %valid, 0
  br i1 %some, label %look, label %note
look:
  %read = zext i32 %valid to i64
  call void @emulated.check(ptr %source, i64 %read)
  br label %note
note:
  %count.at = getelementptr i32, ptr @emulated.begun, i32 %thread
  %count = load i32, ptr %count.at
  %next = add i32 %count, 1
  store i32 %next, ptr %count.at
  %group.at = getelementptr i32, ptr @emulated.groups, i32 %thread
  %group = load i32, ptr %group.at
  %at = call ptr @emulated.copy_at(i32 %thread, i32 %count)
  store ptr %target, ptr %at
  %b = getelementptr %emulated.copy, ptr %at, i32 0, i32 1
  store ptr %source, ptr %b
  %c = getelementptr %emulated.copy, ptr %at, i32 0, i32 2
  store i32 %bytes, ptr %c
  %d = getelementptr %emulated.copy, ptr %at, i32 0, i32 3
  store i32 %valid, ptr %d
  %e = getelementptr %emulated.copy, ptr %at, i32 0, i32 4
  store i32 %group, ptr %e
  ret void
}

define internal void @emulated.cp.async.commit.group() {
  %thread = load i32, ptr @emulated.current
  %at = getelementptr i32, ptr @emulated.groups, i32 %thread
  %group = load i32, ptr %at
  %next = add i32 %group, 1
  store i32 %next, ptr %at
  ret void
}

; Make the copies of all groups but the last ones.
define internal void @emulated.cp.async.wait.group(i32 %but) {
entry:
  %thread = load i32, ptr @emulated.current
  %groups.at = getelementptr i32, ptr @emulated.groups, i32 %thread
  %groups = load i32, ptr %groups.at
  %stop = sub i32 %groups, %but
  %begun.at = getelementptr i32, ptr @emulated.begun, i32 %thread
  %begun = load i32, ptr %begun.at
  %done.at = getelementptr i32, ptr @emulated.done, i32 %thread
  %first = load i32, ptr %done.at
  br label %next
next:
  %i = phi i32 [%first, %entry], [%i1, %copy]
  %more = icmp ult i32 %i, %begun
  br i1 %more, label %look, label %end
look:
  %at = call ptr @emulated.copy_at(i32 %thread, i32 %i)
  %e = getelementptr %emulated.copy, ptr %at, i32 0, i32 4
  %group = load i32, ptr %e
  %due = icmp slt i32 %group, %stop
  br i1 %due, label %copy, label %end
copy:
  %target = load ptr, ptr %at
  %b = getelementptr %emulated.copy, ptr %at, i32 0, i32 1
  %source = load ptr, ptr %b
  %c = getelementptr %emulated.copy, ptr %at, i32 0, i32 2
  %bytes = load i32, ptr %c
  %d = getelementptr %emulated.copy, ptr %at, i32 0, i32 3
  %valid = load i32, ptr %d
  %bytes.wide = zext i32 %bytes to i64
  %valid.wide = zext i32 %valid to i64
  call void @llvm.memset.p0.i64(ptr %target, i8 0, i64 %bytes.wide, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %valid.wide, i1 false)
  %i1 = add i32 %i, 1
  br label %next
end:
  store i32 %i, ptr %done.at
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def _copy(nbytes: int, name: str) -> str:
    return f"""
define internal void @emulated.{name}(ptr %target, ptr %source) {{
  call void @emulated.begin_copy(ptr %target, ptr %source, i32 {nbytes}, i32 {nbytes})
  ret void
}}
define internal void @emulated.{name}.s(ptr %target, ptr %source, i32 %valid) {{
  call void @emulated.begin_copy(ptr %target, ptr %source, i32 {nbytes}, i32 %valid)
  ret void
}}"""
