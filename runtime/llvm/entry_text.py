"""The native entry point as LLVM IR: one piece of code for every step, driven by a plan.

A plan is an array of 64-bit words that `entry.py` writes.  It begins with the header below; then
come three programs in preorder: what each argument must be (`@match` follows it), the type of each
result, and how to put the results together (`@build` follows it).  So the code of a step holds no
address of this process and can be kept on disk, and calling a function with a dict of twenty arrays
needs no Python either.

The text is written by hand because there is one of it; `%name.at` is the address of `%name`.
"""

from __future__ import annotations

from enum import IntEnum

FIELD_NAMES = (
    "step",  # the address of the step's machine code
    "arena",  # the memory for its temporaries
    "busy",  # whether a thread is using that memory
    "keeps_gil",  # whether other Python threads have to wait meanwhile
    "positional",  # how many arguments have no keyword
    "keywords",  # how many have one
    "keyword_names",  # the address of the keywords' addresses
    "leaves",  # how many arrays and numbers there are in the arguments
    "held",  # how many objects must be kept alive while the step runs
    "results",  # how many results there are
    "constants",  # how many constant arrays
    "constant_table",  # the address of their addresses
    "match",  # the address of the program for arguments,
    "types",  # of the one for results,
    "build",  # and of the one for what is returned
    "miss",  # what is returned for arguments that are not as planned
    "ndarray",  # NumPy's class
)
FIELD = {name: place for place, name in enumerate(FIELD_NAMES)}
"""Field of a plan's header -> its place."""


class Match(IntEnum):
    """What an argument must be.  After each: the class (of FIXED: the object), then

    ARRAY   dtype, rank, sizes
    NUMBER  nothing: the number lies in the object
    INT     nothing
    EQUAL   object: a string, compared by value
    KNOWN   object: an int that the step is specialised to
    SAME    number of an earlier leaf: an array that is given twice
    FIXED   nothing
    TUPLE   count, parts
    LIST    count, parts
    DICT    count, (key, part)...
    FIELDS  count, (name, part)...
    """

    ARRAY = 0
    NUMBER = 1
    INT = 2
    EQUAL = 3
    KNOWN = 4
    SAME = 5
    FIXED = 6
    TUPLE = 7
    LIST = 8
    DICT = 9
    FIELDS = 10


class Build(IntEnum):
    """What is returned.

    RESULT    number
    SCALAR    number, dtype: a result without axes, as a NumPy scalar
    ARGUMENT  number: the argument itself
    FIXED     object
    TUPLE     count, parts
    LIST      count, parts
    DICT      count, (key, part)...
    CALL      class, count, parts: the class called with them
    """

    RESULT = 0
    SCALAR = 1
    ARGUMENT = 2
    FIXED = 3
    TUPLE = 4
    LIST = 5
    DICT = 6
    CALL = 7


RESERVED = 64
"""Bytes before the arena proper; the first eight hold the value of a failed check."""

CLASS = 8
"""Offset of the class in any object."""
DATA, RANK, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64
"""Offsets of the fields of an array object (PyArrayObject)."""
NUMBER = 16
"""Where a Python float and NumPy's scalars keep their number (ob_fval, obval)."""
SIZE = 16
"""Where a tuple, a list and a dict keep how many parts they have."""
ITEMS = 24
"""Where a tuple begins, and where a list keeps the address of its beginning."""
CARRAY = 0x0501
"""Flags of an array in row-major order, aligned and writable."""

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

; What one call keeps on the stack: how many leaves have been found and the tables of their data,
; of themselves and of numbers; how many objects are held, and which; the arrays made for results.
%frame = type { i64, ptr, ptr, ptr, i64, ptr, ptr }
"""

_MATCH = f"""
; A leaf of the arguments: note the object and where its elements are.
define internal void @leaf(ptr %item, ptr %data, ptr %frame) #0 {{
  %number = load i64, ptr %frame
  %table.at = getelementptr %frame, ptr %frame, i64 0, i32 1
  %table = load ptr, ptr %table.at
  %slot = getelementptr ptr, ptr %table, i64 %number
  store ptr %data, ptr %slot
  %objects.at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %objects = load ptr, ptr %objects.at
  %object.at = getelementptr ptr, ptr %objects, i64 %number
  store ptr %item, ptr %object.at
  %following = add i64 %number, 1
  store i64 %following, ptr %frame
  ret void
}}

; Keep a new reference until the call ends.
define internal void @hold(ptr %item, ptr %frame) #0 {{
  %held.at = getelementptr %frame, ptr %frame, i64 0, i32 4
  %held = load i64, ptr %held.at
  %list.at = getelementptr %frame, ptr %frame, i64 0, i32 5
  %list = load ptr, ptr %list.at
  %slot = getelementptr ptr, ptr %list, i64 %held
  store ptr %item, ptr %slot
  %following = add i64 %held, 1
  store i64 %following, ptr %held.at
  ret void
}}

define internal void @drop_held(ptr %frame) #0 {{
entry:
  %held.at = getelementptr %frame, ptr %frame, i64 0, i32 4
  %held = load i64, ptr %held.at
  %list.at = getelementptr %frame, ptr %frame, i64 0, i32 5
  %list = load ptr, ptr %list.at
  br label %next
next:
  %i = phi i64 [%held, %entry], [%before, %drop]
  %done = icmp eq i64 %i, 0
  br i1 %done, label %end, label %drop
drop:
  %before = sub i64 %i, 1
  %slot = getelementptr ptr, ptr %list, i64 %before
  %item = load ptr, ptr %slot
  call void @Py_DecRef(ptr %item)
  br label %next
end:
  ret void
}}

; A part of a container: another thread may take it out while the step runs, so it is held.
define internal ptr @match_part(ptr %item, ptr %code, ptr %frame) #0 {{
  call void @Py_IncRef(ptr %item)
  call void @hold(ptr %item, ptr %frame)
  %following = call ptr @match(ptr %item, ptr %code, ptr %frame)
  ret ptr %following
}}

; Whether an argument is as the program at `code` wants it: where the program goes on, or null.
define internal ptr @match(ptr %item, ptr %code, ptr %frame) #0 {{
entry:
  %kind = load i64, ptr %code
  %known.at = getelementptr i64, ptr %code, i64 1
  %known = load ptr, ptr %known.at
  %rest = getelementptr i64, ptr %code, i64 2
  %is_fixed = icmp eq i64 %kind, {Match.FIXED:d}
  br i1 %is_fixed, label %fixed, label %typed
fixed:
  %is_same = icmp eq ptr %item, %known
  br i1 %is_same, label %good, label %bad
typed:
  %class.at = getelementptr i8, ptr %item, i64 {CLASS}
  %class = load ptr, ptr %class.at
  %fits = icmp eq ptr %class, %known
  br i1 %fits, label %choose, label %bad
choose:
  switch i64 %kind, label %parts [
    i64 {Match.ARRAY:d}, label %array
    i64 {Match.NUMBER:d}, label %number
    i64 {Match.INT:d}, label %int
    i64 {Match.EQUAL:d}, label %value
    i64 {Match.KNOWN:d}, label %value
    i64 {Match.SAME:d}, label %same
  ]
array:
  %dtype.wanted = load ptr, ptr %rest
  %dtype.at = getelementptr i8, ptr %item, i64 {DTYPE}
  %dtype = load ptr, ptr %dtype.at
  %dtype.fits = icmp eq ptr %dtype, %dtype.wanted
  %rank.wanted.at = getelementptr i64, ptr %code, i64 3
  %rank.wanted = load i64, ptr %rank.wanted.at
  %rank.at = getelementptr i8, ptr %item, i64 {RANK}
  %rank.narrow = load i32, ptr %rank.at
  %rank = zext i32 %rank.narrow to i64
  %rank.fits = icmp eq i64 %rank, %rank.wanted
  %flags.at = getelementptr i8, ptr %item, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %flags.plain = and i32 %flags, {CARRAY}
  %flags.fit = icmp eq i32 %flags.plain, {CARRAY}
  %fits.1 = and i1 %dtype.fits, %rank.fits
  %fits.2 = and i1 %fits.1, %flags.fit
  %sizes.wanted = getelementptr i64, ptr %code, i64 4
  %after.array = getelementptr i64, ptr %sizes.wanted, i64 %rank.wanted
  %sizes.at = getelementptr i8, ptr %item, i64 {SHAPE}
  %sizes = load ptr, ptr %sizes.at
  br i1 %fits.2, label %axis, label %bad
axis:
  %a = phi i64 [0, %array], [%a.next, %size]
  %all = icmp eq i64 %a, %rank.wanted
  br i1 %all, label %found, label %size
size:
  %size.at = getelementptr i64, ptr %sizes, i64 %a
  %size.here = load i64, ptr %size.at
  %size.wanted.at = getelementptr i64, ptr %sizes.wanted, i64 %a
  %size.wanted = load i64, ptr %size.wanted.at
  %a.next = add i64 %a, 1
  %size.fits = icmp eq i64 %size.here, %size.wanted
  br i1 %size.fits, label %axis, label %bad
found:
  %data.at = getelementptr i8, ptr %item, i64 {DATA}
  %data = load ptr, ptr %data.at
  call void @leaf(ptr %item, ptr %data, ptr %frame)
  ret ptr %after.array
number:
  %inside = getelementptr i8, ptr %item, i64 {NUMBER}
  call void @leaf(ptr %item, ptr %inside, ptr %frame)
  ret ptr %rest
int:
  %whole = call i1 @match_int(ptr %item, ptr %frame)
  br i1 %whole, label %good, label %bad
value:
  %value.wanted = load ptr, ptr %rest
  %after.value = getelementptr i64, ptr %code, i64 3
  %value.fits = call i1 @is_equal(ptr %item, ptr %value.wanted)
  br i1 %value.fits, label %equal, label %bad
equal:
  %is_known = icmp eq i64 %kind, {Match.KNOWN:d}
  br i1 %is_known, label %known.int, label %past
known.int:
  %known.fits = call i1 @match_int(ptr %item, ptr %frame)
  br i1 %known.fits, label %past, label %bad
past:
  ret ptr %after.value
same:
  %earlier = load i64, ptr %rest
  %after.same = getelementptr i64, ptr %code, i64 3
  %objects.at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %objects = load ptr, ptr %objects.at
  %object.at = getelementptr ptr, ptr %objects, i64 %earlier
  %object = load ptr, ptr %object.at
  %is_earlier = icmp eq ptr %item, %object
  br i1 %is_earlier, label %again, label %bad
again:
  %data.again.at = getelementptr i8, ptr %item, i64 {DATA}
  %data.again = load ptr, ptr %data.again.at
  call void @leaf(ptr %item, ptr %data.again, ptr %frame)
  ret ptr %after.same
parts:
  %after.parts = call ptr @match_parts(i64 %kind, ptr %item, ptr %rest, ptr %frame)
  ret ptr %after.parts
good:
  ret ptr %rest
bad:
  ret ptr null
}}

; A Python int, which must fit 64 bits.
define internal i1 @match_int(ptr %item, ptr %frame) #0 {{
entry:
  %overflow.at = alloca i32
  %value = call i64 @PyLong_AsLongLongAndOverflow(ptr %item, ptr %overflow.at)
  %overflow = load i32, ptr %overflow.at
  %fits = icmp eq i32 %overflow, 0
  br i1 %fits, label %good, label %bad
good:
  %number = load i64, ptr %frame
  %numbers.at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %numbers = load ptr, ptr %numbers.at
  %slot = getelementptr i64, ptr %numbers, i64 %number
  store i64 %value, ptr %slot
  call void @leaf(ptr %item, ptr %slot, ptr %frame)
  ret i1 1
bad:
  ret i1 0
}}

; The parts of a container, from where the program says how many.
define internal ptr @match_parts(i64 %kind, ptr %item, ptr %code, ptr %frame) #0 {{
entry:
  %count = load i64, ptr %code
  %parts = getelementptr i64, ptr %code, i64 1
  %is_fields = icmp eq i64 %kind, {Match.FIELDS:d}
  br i1 %is_fields, label %fields, label %sized
fields:
  %after.fields = call ptr @match_fields(ptr %item, i64 %count, ptr %parts, ptr %frame)
  ret ptr %after.fields
sized:
  %size.at = getelementptr i8, ptr %item, i64 {SIZE}
  %size = load i64, ptr %size.at
  %fits = icmp eq i64 %size, %count
  br i1 %fits, label %choose, label %bad
choose:
  %items = getelementptr i8, ptr %item, i64 {ITEMS}
  switch i64 %kind, label %bad [
    i64 {Match.TUPLE:d}, label %next
    i64 {Match.LIST:d}, label %list
    i64 {Match.DICT:d}, label %dict
  ]
list:
  %list.items = load ptr, ptr %items
  br label %next
dict:
  %after.dict = call ptr @match_dict(ptr %item, i64 %count, ptr %parts, ptr %frame)
  ret ptr %after.dict
next:
  %first = phi ptr [%items, %choose], [%list.items, %list], [%first, %more]
  %i = phi i64 [0, %choose], [0, %list], [%i.next, %more]
  %at = phi ptr [%parts, %choose], [%parts, %list], [%at.next, %more]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %good, label %part
part:
  %part.at = getelementptr ptr, ptr %first, i64 %i
  %part.item = load ptr, ptr %part.at
  %at.next = call ptr @match_part(ptr %part.item, ptr %at, ptr %frame)
  %i.next = add i64 %i, 1
  %failed = icmp eq ptr %at.next, null
  br i1 %failed, label %bad, label %more
more:
  br label %next
good:
  ret ptr %at
bad:
  ret ptr null
}}

; The values of a dict in the order of its keys, which must be the planned ones.
define internal ptr @match_dict(ptr %item, i64 %count, ptr %code, ptr %frame) #0 {{
entry:
  %position = alloca i64
  %key.at = alloca ptr
  %value.at = alloca ptr
  store i64 0, ptr %position
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %more]
  %at = phi ptr [%code, %entry], [%at.next, %more]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %good, label %entry.of
entry.of:
  %there = call i32 @PyDict_Next(ptr %item, ptr %position, ptr %key.at, ptr %value.at)
  %is_there = icmp ne i32 %there, 0
  br i1 %is_there, label %named, label %bad
named:
  %key = load ptr, ptr %key.at
  %wanted = load ptr, ptr %at
  %is_equal = call i1 @is_equal(ptr %key, ptr %wanted)
  br i1 %is_equal, label %part, label %bad
part:
  %value = load ptr, ptr %value.at
  %after.key = getelementptr i64, ptr %at, i64 1
  %at.next = call ptr @match_part(ptr %value, ptr %after.key, ptr %frame)
  %i.next = add i64 %i, 1
  %failed = icmp eq ptr %at.next, null
  br i1 %failed, label %bad, label %more
more:
  br label %next
good:
  ret ptr %at
bad:
  ret ptr null
}}

; Whether two strings or two ints are equal.  The planned one is of just that class, so comparing it
; with another of its class runs no user's code.
define internal i1 @is_equal(ptr %item, ptr %wanted) #0 {{
entry:
  %is_same = icmp eq ptr %item, %wanted
  br i1 %is_same, label %yes, label %unlike
unlike:
  %class.at = getelementptr i8, ptr %item, i64 {CLASS}
  %class = load ptr, ptr %class.at
  %class.wanted.at = getelementptr i8, ptr %wanted, i64 {CLASS}
  %class.wanted = load ptr, ptr %class.wanted.at
  %alike = icmp eq ptr %class, %class.wanted
  br i1 %alike, label %compare, label %no
compare:
  %answer = call i32 @PyObject_RichCompareBool(ptr %item, ptr %wanted, i32 2)
  %is_equal = icmp eq i32 %answer, 1
  ret i1 %is_equal
yes:
  ret i1 1
no:
  ret i1 0
}}

; The fields of a dataclass.  A field may be a property: its value is held, its error is a miss.
define internal ptr @match_fields(ptr %item, i64 %count, ptr %code, ptr %frame) #0 {{
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %more]
  %at = phi ptr [%code, %entry], [%at.next, %more]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %good, label %field
field:
  %name = load ptr, ptr %at
  %value = call ptr @PyObject_GetAttr(ptr %item, ptr %name)
  %missing = icmp eq ptr %value, null
  br i1 %missing, label %error, label %part
part:
  call void @hold(ptr %value, ptr %frame)
  %after.name = getelementptr i64, ptr %at, i64 1
  %at.next = call ptr @match(ptr %value, ptr %after.name, ptr %frame)
  %i.next = add i64 %i, 1
  %failed = icmp eq ptr %at.next, null
  br i1 %failed, label %bad, label %more
more:
  br label %next
good:
  ret ptr %at
error:
  call void @PyErr_Clear()
  br label %bad
bad:
  ret ptr null
}}
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
define internal i64 @make_results(ptr %plan, ptr %table, ptr %numbers, ptr %made) #0 {{
entry:
  %count.at = getelementptr i64, ptr %plan, i64 {FIELD["results"]}
  %count = load i64, ptr %count.at
  %types.at = getelementptr i64, ptr %plan, i64 {FIELD["types"]}
  %types = load ptr, ptr %types.at
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
  %number = getelementptr i64, ptr %numbers, i64 %i
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

; Run the step on the table of addresses: its status.
define internal i64 @run(ptr %plan, ptr %table) #0 {{
entry:
  %step.at = getelementptr i64, ptr %plan, i64 {FIELD["step"]}
  %step = load ptr, ptr %step.at
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

_BUILD = f"""
; The next word of the program for results.
define internal i64 @word(ptr %cursor) #0 {{
  %at = load ptr, ptr %cursor
  %word = load i64, ptr %at
  %following = getelementptr i64, ptr %at, i64 1
  store ptr %following, ptr %cursor
  ret i64 %word
}}

; What the program at `cursor` describes, a new reference; null with an exception set if it fails.
define internal ptr @build(ptr %cursor, ptr %frame) #0 {{
entry:
  %kind = call i64 @word(ptr %cursor)
  %first = call i64 @word(ptr %cursor)
  switch i64 %kind, label %parts [
    i64 {Build.RESULT:d}, label %result
    i64 {Build.SCALAR:d}, label %scalar
    i64 {Build.ARGUMENT:d}, label %argument
    i64 {Build.FIXED:d}, label %fixed
    i64 {Build.DICT:d}, label %dict
    i64 {Build.CALL:d}, label %call
  ]
result:
  %made.at = getelementptr %frame, ptr %frame, i64 0, i32 6
  %made = load ptr, ptr %made.at
  %array.at = getelementptr ptr, ptr %made, i64 %first
  %array = load ptr, ptr %array.at
  store ptr null, ptr %array.at
  ret ptr %array
scalar:
  %leaves = load i64, ptr %frame
  %numbers.at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %numbers = load ptr, ptr %numbers.at
  %number = add i64 %leaves, %first
  %place = getelementptr i64, ptr %numbers, i64 %number
  %dtype.word = call i64 @word(ptr %cursor)
  %dtype = inttoptr i64 %dtype.word to ptr
  %new = call ptr @PyArray_Scalar(ptr %place, ptr %dtype, ptr null)
  ret ptr %new
argument:
  %objects.at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %objects = load ptr, ptr %objects.at
  %object.at = getelementptr ptr, ptr %objects, i64 %first
  %object = load ptr, ptr %object.at
  call void @Py_IncRef(ptr %object)
  ret ptr %object
fixed:
  %known = inttoptr i64 %first to ptr
  call void @Py_IncRef(ptr %known)
  ret ptr %known
dict:
  %new.dict = call ptr @build_dict(i64 %first, ptr %cursor, ptr %frame)
  ret ptr %new.dict
call:
  %class = inttoptr i64 %first to ptr
  %count = call i64 @word(ptr %cursor)
  %arguments = call ptr @build_parts(i64 {Build.TUPLE:d}, i64 %count, ptr %cursor, ptr %frame)
  %failed = icmp eq ptr %arguments, null
  br i1 %failed, label %nothing, label %called
called:
  %instance = call ptr @PyObject_Call(ptr %class, ptr %arguments, ptr null)
  call void @Py_DecRef(ptr %arguments)
  ret ptr %instance
parts:
  %new.parts = call ptr @build_parts(i64 %kind, i64 %first, ptr %cursor, ptr %frame)
  ret ptr %new.parts
nothing:
  ret ptr null
}}

define internal ptr @build_parts(i64 %kind, i64 %count, ptr %cursor, ptr %frame) #0 {{
entry:
  %is_tuple = icmp eq i64 %kind, {Build.TUPLE:d}
  br i1 %is_tuple, label %tuple, label %list
tuple:
  %new.tuple = call ptr @PyTuple_New(i64 %count)
  %tuple.items = getelementptr i8, ptr %new.tuple, i64 {ITEMS}
  %tuple.failed = icmp eq ptr %new.tuple, null
  br i1 %tuple.failed, label %nothing, label %next
list:
  %new.list = call ptr @PyList_New(i64 %count)
  %list.failed = icmp eq ptr %new.list, null
  br i1 %list.failed, label %nothing, label %list.made
list.made:
  %list.items.at = getelementptr i8, ptr %new.list, i64 {ITEMS}
  %list.items = load ptr, ptr %list.items.at
  br label %next
next:
  %holder = phi ptr [%new.tuple, %tuple], [%new.list, %list.made], [%holder, %more]
  %items = phi ptr [%tuple.items, %tuple], [%list.items, %list.made], [%items, %more]
  %i = phi i64 [0, %tuple], [0, %list.made], [%i.next, %more]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %end, label %part
part:
  %item = call ptr @build(ptr %cursor, ptr %frame)
  %failed = icmp eq ptr %item, null
  br i1 %failed, label %drop, label %more
more:
  %slot = getelementptr ptr, ptr %items, i64 %i
  store ptr %item, ptr %slot
  %i.next = add i64 %i, 1
  br label %next
drop:
  call void @Py_DecRef(ptr %holder)
  br label %nothing
nothing:
  ret ptr null
end:
  ret ptr %holder
}}

define internal ptr @build_dict(i64 %count, ptr %cursor, ptr %frame) #0 {{
entry:
  %holder = call ptr @PyDict_New()
  %none = icmp eq ptr %holder, null
  br i1 %none, label %nothing, label %next
next:
  %i = phi i64 [0, %entry], [%i.next, %put]
  %done = icmp eq i64 %i, %count
  br i1 %done, label %end, label %part
part:
  %key.word = call i64 @word(ptr %cursor)
  %key = inttoptr i64 %key.word to ptr
  %item = call ptr @build(ptr %cursor, ptr %frame)
  %failed = icmp eq ptr %item, null
  br i1 %failed, label %drop, label %put
put:
  %status = call i32 @PyDict_SetItem(ptr %holder, ptr %key, ptr %item)
  call void @Py_DecRef(ptr %item)
  %i.next = add i64 %i, 1
  %refused = icmp ne i32 %status, 0
  br i1 %refused, label %drop, label %next
drop:
  call void @Py_DecRef(ptr %holder)
  br label %nothing
nothing:
  ret ptr null
end:
  ret ptr %holder
}}
"""

ENTRY = "python_entry"

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

define internal void @copy_constants(ptr %plan, ptr %table) #0 {{
entry:
  %count.at = getelementptr i64, ptr %plan, i64 {FIELD["constants"]}
  %count = load i64, ptr %count.at
  %source.at = getelementptr i64, ptr %plan, i64 {FIELD["constant_table"]}
  %source = load ptr, ptr %source.at
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
  %numbers = alloca i64, i64 %numbered, align 16
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
  %fits = call i1 @match_all(ptr %plan, ptr %args, i64 %count, ptr %frame)
  br i1 %fits, label %take, label %drop
take:
  ; One thread at a time uses the plan's arena; a second one is sent to the slow path.
  %busy.at = getelementptr i64, ptr %plan, i64 {FIELD["busy"]}
  %taken = cmpxchg ptr %busy.at, i64 0, i64 1 acquire monotonic
  %is_mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %is_mine, label %prepare, label %drop
prepare:
  %result.table = getelementptr ptr, ptr %table, i64 %leaves
  %result.numbers = getelementptr i64, ptr %numbers, i64 %leaves
  %missing = call i64 @make_results(ptr %plan, ptr %result.table, ptr %result.numbers, ptr %made)
  %is_made = icmp eq i64 %missing, 0
  br i1 %is_made, label %start, label %no_memory
start:
  %constant.table = getelementptr ptr, ptr %table, i64 %numbered
  call void @copy_constants(ptr %plan, ptr %constant.table)
  %status = call i64 @run(ptr %plan, ptr %table)
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

ENTRY_TEXT = _DECLARATIONS + _MATCH + _RUN + _BUILD + _ENTRY
