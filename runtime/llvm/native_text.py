"""A step as a C function, for callers other than Python: ctypes, numba, C.

    int64_t step(void *const *arguments, void *const *results)

The code is the same for all steps.  What it needs to know of its own is a table of words, to which
the global variable `context` points: the step, its arena, the counts of arguments and results and
the constant arrays.  One caller at a time uses that arena; another one meanwhile gets memory from
`malloc`.
"""

from __future__ import annotations

from graphc.runtime.llvm.entry_layout import RESERVED
from graphc.runtime.plan import ALIGNMENT

EXPORTED, CONTEXT = "graphc_step", "context"

NO_ARENA = -4
"""What the function returns when there is no memory for another arena."""

STEP, ARENA, ARENA_BYTES, ARGUMENTS, RESULTS, CONSTANTS, FIRST_CONSTANT = range(7)
"""The words of the context."""


def _word(name: str, place: int, kind: str) -> str:
    return f"""\
  %{name}_at = getelementptr i64, ptr %context, i64 {place}
  %{name} = load {kind}, ptr %{name}_at, align 8
"""


def _copy(name: str, source: str, count: str, start: str) -> str:
    """Copy `count` pointers from `source` to the table, from `start` on."""
    return f"""\
  br label %{name}
{name}:
  %{name}_i = phi i64 [0, %before_{name}], [%{name}_next, %{name}_one]
  %{name}_more = icmp slt i64 %{name}_i, {count}
  br i1 %{name}_more, label %{name}_one, label %after_{name}
{name}_one:
  %{name}_from = getelementptr ptr, ptr {source}, i64 %{name}_i
  %{name}_pointer = load ptr, ptr %{name}_from, align 8
  %{name}_place = add i64 %{name}_i, {start}
  %{name}_to = getelementptr ptr, ptr %table, i64 %{name}_place
  store ptr %{name}_pointer, ptr %{name}_to, align 8
  %{name}_next = add i64 %{name}_i, 1
  br label %{name}
after_{name}:
"""


EXPORTED_TEXT = f"""\
@{CONTEXT} = global ptr null
@busy = internal global i8 0
declare ptr @malloc(i64)
declare void @free(ptr)

define i64 @{EXPORTED}(ptr %arguments, ptr %results) #0 {{
entry:
  %context = load ptr, ptr @{CONTEXT}, align 8
{_word("step", STEP, "ptr")}\
{_word("own", ARENA, "ptr")}\
{_word("bytes", ARENA_BYTES, "i64")}\
{_word("argument_count", ARGUMENTS, "i64")}\
{_word("result_count", RESULTS, "i64")}\
{_word("constant_count", CONSTANTS, "i64")}\
  %constants = getelementptr i64, ptr %context, i64 {FIRST_CONSTANT}
  %outside = add i64 %argument_count, %result_count
  %all = add i64 %outside, %constant_count
  %slots = add i64 %all, 1
  %table = alloca ptr, i64 %slots, align 16
  br label %before_argument
before_argument:
{_copy("argument", "%arguments", "%argument_count", "0")}\
  br label %before_result
before_result:
{_copy("result", "%results", "%result_count", "%argument_count")}\
  br label %before_constant
before_constant:
{_copy("constant", "%constants", "%constant_count", "%outside")}\
  %pair = cmpxchg ptr @busy, i8 0, i8 1 acquire monotonic
  %free_now = extractvalue {{ i8, i1 }} %pair, 1
  br i1 %free_now, label %mine, label %another
mine:
  %status = call i64 @run(ptr %step, ptr %table, ptr %own)
  store atomic i8 0, ptr @busy release, align 1
  ret i64 %status
another:
  %block = call ptr @malloc(i64 %bytes)
  %none = icmp eq ptr %block, null
  br i1 %none, label %no_memory, label %given
given:
  %last = getelementptr i8, ptr %block, i64 {ALIGNMENT - 1}
  %aligned = call ptr @llvm.ptrmask.p0.i64(ptr %last, i64 {-ALIGNMENT})
  %other_status = call i64 @run(ptr %step, ptr %table, ptr %aligned)
  call void @free(ptr %block)
  ret i64 %other_status
no_memory:
  ret i64 {NO_ARENA}
}}

define internal i64 @run(ptr %step, ptr %table, ptr %block) #0 {{
entry:
  %arena = getelementptr i8, ptr %block, i64 {RESERVED}
  %status = call i64 %step(ptr %table, ptr %arena, ptr %block)
  ret i64 %status
}}

declare ptr @llvm.ptrmask.p0.i64(ptr, i64)
"""
