"""The native entry point as LLVM IR: one piece of code for every step, driven by a plan.

The code of a step holds no address of this process and can be kept on disk, because what is of
this process is in the plan (`entry_layout.py`); and calling a function with a dict of twenty arrays
needs no Python, because the plan says how to walk it.

The text is written by hand because there is one of it; `%name.at` is the address of `%name`.
"""

from __future__ import annotations

from graphc.runtime.llvm.entry_build import BUILD_TEXT
from graphc.runtime.llvm.entry_layout import DATA, FIELD, ITEMS, RESERVED, SIZE
from graphc.runtime.llvm.entry_match import MATCH_TEXT
from graphc.runtime.llvm.entry_rows import ROW, ROWS_TEXT

ENTRY = "python_entry"

_DECLARATIONS = """
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare ptr @PyDict_New()
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyObject_Call(ptr, ptr, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare void @PyErr_Clear()
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare ptr @PyDataMem_SetHandler(ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; What one call keeps on the stack: how many leaves have been found and the tables of their data,
; of themselves and of numbers (16 bytes each: one may be complex); how many objects are held, and
; which; the arrays made for results; the sizes that have names.
%frame = type { i64, ptr, ptr, ptr, i64, ptr, ptr, ptr }
"""

_RUN = f"""
; Give up the arrays made for results that have not been handed on.
define internal void @drop_made(ptr %made, i64 %count) #0 {{
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %kept], [%i.next, %drop]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %end, label %look
look:
  %slot = getelementptr ptr, ptr %made, i64 %i
  %array = load ptr, ptr %slot
  %i.next = add i64 %i, 1
  %is_none = icmp eq ptr %array, null
  br i1 %is_none, label %kept, label %drop
kept:
  br label %next
drop:
  call void @Py_DecRef(ptr %array)
  br label %next
end:
  ret void
}}

; Fresh arrays for the results: how many could not be made.  A scalar gets a number's place.
define internal i64 @make_results(ptr %plan, ptr %types, ptr %table, ptr %numbers,
                                  ptr %made) #0 {{
entry:
  %count.at = getelementptr i64, ptr %plan, i64 {FIELD["results"]}
  %count = load i64, ptr %count.at
  %class.at = getelementptr i64, ptr %plan, i64 {FIELD["ndarray"]}
  %class = load ptr, ptr %class.at
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %placed]
  %at = phi ptr [%types, %entry], [%at.next, %placed]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %end, label %one
one:
  %dtype = load ptr, ptr %at
  %rank.at = getelementptr i64, ptr %at, i64 1
  %rank = load i64, ptr %rank.at
  %sizes = getelementptr i64, ptr %at, i64 2
  %at.next = getelementptr i64, ptr %sizes, i64 %rank
  %i.next = add i64 %i, 1
  %slot = getelementptr ptr, ptr %made, i64 %i
  %is_scalar = icmp eq i64 %rank, 0
  br i1 %is_scalar, label %scalar, label %array
scalar:
  store ptr null, ptr %slot
  %number = getelementptr i128, ptr %numbers, i64 %i
  br label %placed
array:
  call void @Py_IncRef(ptr %dtype)
  %axes = trunc i64 %rank to i32
  %new = call ptr @PyArray_NewFromDescr(ptr %class, ptr %dtype, i32 %axes, ptr %sizes,
                                        ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %no_memory, label %fresh
fresh:
  store ptr %new, ptr %slot
  %data.at = getelementptr i8, ptr %new, i64 {DATA}
  %data = load ptr, ptr %data.at
  br label %placed
placed:
  %where = phi ptr [%number, %scalar], [%data, %fresh]
  %entry.at = getelementptr ptr, ptr %table, i64 %i
  store ptr %where, ptr %entry.at
  br label %next
no_memory:
  call void @drop_made(ptr %made, i64 %i)
  %missing = sub i64 %count, %i
  ret i64 %missing
end:
  ret i64 0
}}

; Have NumPy allocate by a handler: the handler before it, to be given to
; `leave_memory`; null where there is nothing to change, or the user has a handler of their own.
define internal ptr @enter_memory(ptr %plan, ptr %handler) #0 {{
entry:
  %is_none = icmp eq ptr %handler, null
  br i1 %is_none, label %same, label %change
change:
  %before = call ptr @PyDataMem_SetHandler(ptr %handler)
  %failed = icmp eq ptr %before, null
  br i1 %failed, label %forget, label %look
forget:
  call void @PyErr_Clear()
  br label %same
look:
  %usual.at = getelementptr i64, ptr %plan, i64 {FIELD["usual_handler"]}
  %usual = load ptr, ptr %usual.at
  %is_usual = icmp eq ptr %before, %usual
  br i1 %is_usual, label %changed, label %change_back
changed:
  ret ptr %before
change_back:
  call void @leave_memory(ptr %before)
  br label %same
same:
  ret ptr null
}}

define internal void @leave_memory(ptr %before) #0 {{
entry:
  %is_none = icmp eq ptr %before, null
  br i1 %is_none, label %end, label %change
change:
  %handler = call ptr @PyDataMem_SetHandler(ptr %before)
  call void @Py_DecRef(ptr %before)
  %failed = icmp eq ptr %handler, null
  br i1 %failed, label %forget, label %drop
forget:
  ; The plan's handler stays: more arrays than needed lie in our memory, which does no harm.
  call void @PyErr_Clear()
  br label %end
drop:
  call void @Py_DecRef(ptr %handler)
  br label %end
end:
  ret void
}}

; Run the step on the table of addresses: its status.
define internal i64 @run(ptr %plan, ptr %step, ptr %table) #0 {{
entry:
  %block.at = getelementptr i64, ptr %plan, i64 {FIELD["arena"]}
  %block = load ptr, ptr %block.at
  %arena = getelementptr i8, ptr %block, i64 {RESERVED}
  %keeps_gil.at = getelementptr i64, ptr %plan, i64 {FIELD["keeps_gil"]}
  %keeps_gil = load i64, ptr %keeps_gil.at
  %keeps = icmp ne i64 %keeps_gil, 0
  br i1 %keeps, label %short, label %long
short:
  %status.short = call i64 %step(ptr %table, ptr %arena, ptr %block)
  ret i64 %status.short
long:
  %thread = call ptr @PyEval_SaveThread()
  %status.long = call i64 %step(ptr %table, ptr %arena, ptr %block)
  call void @PyEval_RestoreThread(ptr %thread)
  ret i64 %status.long
}}
"""

_ENTRY = f"""
; Whether the keywords of the call are the planned ones, in the planned order.
define internal i1 @match_keywords(ptr %plan, ptr %names) #0 {{
entry:
  %count.at = getelementptr i64, ptr %plan, i64 {FIELD["keywords"]}
  %count = load i64, ptr %count.at
  %none.wanted = icmp eq i64 %count, 0
  %none = icmp eq ptr %names, null
  br i1 %none, label %end, label %some
some:
  %size.at = getelementptr i8, ptr %names, i64 {SIZE}
  %size = load i64, ptr %size.at
  %wanted.at = getelementptr i64, ptr %plan, i64 {FIELD["keyword_names"]}
  %wanted = load ptr, ptr %wanted.at
  %items = getelementptr i8, ptr %names, i64 {ITEMS}
  %fits = icmp eq i64 %size, %count
  br i1 %fits, label %next, label %bad
next:
  %i = phi i64 [0, %some], [%i.next, %one]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %good, label %one
one:
  %name.at = getelementptr ptr, ptr %items, i64 %i
  %name = load ptr, ptr %name.at
  %name.wanted.at = getelementptr ptr, ptr %wanted, i64 %i
  %name.wanted = load ptr, ptr %name.wanted.at
  %i.next = add i64 %i, 1
  %same = icmp eq ptr %name, %name.wanted
  br i1 %same, label %next, label %bad
end:
  ret i1 %none.wanted
good:
  ret i1 1
bad:
  ret i1 0
}}

; Every argument against the plan, the constants behind them.
define internal i1 @match_all(ptr %plan, ptr %args, i64 %count, ptr %frame) #0 {{
entry:
  %match.at = getelementptr i64, ptr %plan, i64 {FIELD["match"]}
  %match = load ptr, ptr %match.at
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %one]
  %at = phi ptr [%match, %entry], [%at.next, %one]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %good, label %one
one:
  %item.at = getelementptr ptr, ptr %args, i64 %i
  %item = load ptr, ptr %item.at
  %at.next = call ptr @match(ptr %item, ptr %at, ptr %frame)
  %i.next = add i64 %i, 1
  %failed = icmp eq ptr %at.next, null
  br i1 %failed, label %bad, label %next
good:
  ret i1 1
bad:
  ret i1 0
}}

define internal void @copy_constants(ptr %source, i64 %count, ptr %table) #0 {{
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %one]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %end, label %one
one:
  %from = getelementptr ptr, ptr %source, i64 %i
  %to = getelementptr ptr, ptr %table, i64 %i
  %address = load ptr, ptr %from
  store ptr %address, ptr %to
  %i.next = add i64 %i, 1
  br label %next
end:
  ret void
}}

; PyObject *(PyObject *self, PyObject **args, Py_ssize_t count, PyObject *keywords)
; `self` is a tuple that begins with the plan, a NumPy array.
define ptr @{ENTRY}(ptr %self, ptr %args, i64 %positional, ptr %names) #0 {{
entry:
  %array.at = getelementptr i8, ptr %self, i64 {ITEMS}
  %array = load ptr, ptr %array.at
  %plan.at = getelementptr i8, ptr %array, i64 {DATA}
  %plan = load ptr, ptr %plan.at
  %positional.at = getelementptr i64, ptr %plan, i64 {FIELD["positional"]}
  %positional.wanted = load i64, ptr %positional.at
  %count.fits = icmp eq i64 %positional, %positional.wanted
  %names.fit = call i1 @match_keywords(ptr %plan, ptr %names)
  %call.fits = and i1 %count.fits, %names.fit
  br i1 %call.fits, label %tables, label %miss
tables:
  %keywords.at = getelementptr i64, ptr %plan, i64 {FIELD["keywords"]}
  %keywords = load i64, ptr %keywords.at
  %count = add i64 %positional, %keywords
  %leaves.at = getelementptr i64, ptr %plan, i64 {FIELD["leaves"]}
  %leaves = load i64, ptr %leaves.at
  %results.at = getelementptr i64, ptr %plan, i64 {FIELD["results"]}
  %results = load i64, ptr %results.at
  %constants.at = getelementptr i64, ptr %plan, i64 {FIELD["constants"]}
  %constants = load i64, ptr %constants.at
  %held.at = getelementptr i64, ptr %plan, i64 {FIELD["held"]}
  %held = load i64, ptr %held.at
  %numbered = add i64 %leaves, %results
  %slots = add i64 %numbered, %constants
  %table = alloca ptr, i64 %slots, align 16
  %numbers = alloca i128, i64 %numbered, align 16
  %objects = alloca ptr, i64 %leaves, align 16
  %made = alloca ptr, i64 %results, align 16
  %holding = alloca ptr, i64 %held, align 16
  %frame = alloca %frame, align 16
  %frame.1 = getelementptr %frame, ptr %frame, i64 0, i32 1
  %frame.2 = getelementptr %frame, ptr %frame, i64 0, i32 2
  %frame.3 = getelementptr %frame, ptr %frame, i64 0, i32 3
  %frame.4 = getelementptr %frame, ptr %frame, i64 0, i32 4
  %frame.5 = getelementptr %frame, ptr %frame, i64 0, i32 5
  %frame.6 = getelementptr %frame, ptr %frame, i64 0, i32 6
  store i64 0, ptr %frame
  store ptr %table, ptr %frame.1
  store ptr %objects, ptr %frame.2
  store ptr %numbers, ptr %frame.3
  store i64 0, ptr %frame.4
  store ptr %holding, ptr %frame.5
  store ptr %made, ptr %frame.6
  %symbols.at = getelementptr i64, ptr %plan, i64 {FIELD["symbols"]}
  %symbols = load i64, ptr %symbols.at
  %sizes = alloca i64, i64 %symbols, align 16
  %frame.7 = getelementptr %frame, ptr %frame, i64 0, i32 7
  store ptr %sizes, ptr %frame.7
  %sizes.bytes = mul i64 %symbols, 8
  call void @llvm.memset.p0.i64(ptr %sizes, i8 0, i64 %sizes.bytes, i1 0)
  %fits = call i1 @match_all(ptr %plan, ptr %args, i64 %count, ptr %frame)
  br i1 %fits, label %choose, label %drop
choose:
  %is_fixed = icmp eq i64 %symbols, 0
  br i1 %is_fixed, label %of_plan, label %of_sizes
of_plan:
  %p.constants.at = getelementptr i64, ptr %plan, i64 {FIELD["constant_table"]}
  %p.types.at = getelementptr i64, ptr %plan, i64 {FIELD["types"]}
  %p.handler.at = getelementptr i64, ptr %plan, i64 {FIELD["handler"]}
  %p.step.at = getelementptr i64, ptr %plan, i64 {FIELD["step"]}
  br label %take
of_sizes:
  %row = call ptr @find_row(ptr %plan, ptr %sizes, i64 %symbols)
  %is_unknown = icmp eq ptr %row, null
  %r.constants.at = getelementptr i64, ptr %row, i64 {ROW["constant_table"]}
  %r.types.at = getelementptr i64, ptr %row, i64 {ROW["types"]}
  %r.handler.at = getelementptr i64, ptr %row, i64 {ROW["handler"]}
  %r.step.at = getelementptr i64, ptr %row, i64 {ROW["step"]}
  br i1 %is_unknown, label %drop, label %take
take:
  %constant.source.at = phi ptr [%p.constants.at, %of_plan], [%r.constants.at, %of_sizes]
  %types.at = phi ptr [%p.types.at, %of_plan], [%r.types.at, %of_sizes]
  %handler.at = phi ptr [%p.handler.at, %of_plan], [%r.handler.at, %of_sizes]
  %step.at = phi ptr [%p.step.at, %of_plan], [%r.step.at, %of_sizes]
  %constant.source = load ptr, ptr %constant.source.at
  %types = load ptr, ptr %types.at
  %handler = load ptr, ptr %handler.at
  %step = load ptr, ptr %step.at
  ; One thread at a time uses the plan's arena; a second one is sent to the slow path.
  %busy.at = getelementptr i64, ptr %plan, i64 {FIELD["busy"]}
  %taken = cmpxchg ptr %busy.at, i64 0, i64 1 acquire monotonic
  %is_mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %is_mine, label %prepare, label %drop
prepare:
  %result.table = getelementptr ptr, ptr %table, i64 %leaves
  %result.numbers = getelementptr i128, ptr %numbers, i64 %leaves
  %handler.before = call ptr @enter_memory(ptr %plan, ptr %handler)
  %missing = call i64 @make_results(ptr %plan, ptr %types, ptr %result.table,
                                    ptr %result.numbers, ptr %made)
  call void @leave_memory(ptr %handler.before)
  %is_made = icmp eq i64 %missing, 0
  br i1 %is_made, label %start, label %no_memory
start:
  %constant.table = getelementptr ptr, ptr %table, i64 %numbered
  call void @copy_constants(ptr %constant.source, i64 %constants, ptr %constant.table)
  %status = call i64 @run(ptr %plan, ptr %step, ptr %table)
  store atomic i64 0, ptr %busy.at release, align 8
  %passed = icmp eq i64 %status, 0
  br i1 %passed, label %finish, label %failed
finish:
  %cursor = alloca ptr
  %build.at = getelementptr i64, ptr %plan, i64 {FIELD["build"]}
  %build = load ptr, ptr %build.at
  store ptr %build, ptr %cursor
  %returned = call ptr @build(ptr %cursor, ptr %frame)
  %is_whole = icmp ne ptr %returned, null
  br i1 %is_whole, label %end, label %torn
torn:
  call void @drop_made(ptr %made, i64 %results)
  br label %end
no_memory:
  store atomic i64 0, ptr %busy.at release, align 8
  br label %end
failed:
  ; The slow path runs it again and explains.
  call void @drop_made(ptr %made, i64 %results)
  br label %drop
drop:
  call void @drop_held(ptr %frame)
  br label %miss
miss:
  %miss.at = getelementptr i64, ptr %plan, i64 {FIELD["miss"]}
  %miss.object = load ptr, ptr %miss.at
  call void @Py_IncRef(ptr %miss.object)
  ret ptr %miss.object
end:
  %value = phi ptr [%returned, %finish], [null, %torn], [null, %no_memory]
  call void @drop_held(ptr %frame)
  ret ptr %value
}}
"""

ENTRY_TEXT = _DECLARATIONS + MATCH_TEXT + ROWS_TEXT + _RUN + BUILD_TEXT + _ENTRY
