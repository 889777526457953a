"""The entry point's code, first part: whether arguments are what the plan says (`@match`)."""

from __future__ import annotations

from graphc.runtime.llvm.entry_layout import (
    CARRAY,
    CLASS,
    DATA,
    DTYPE,
    FLAGS,
    ITEMS,
    NUMBER,
    RANK,
    SHAPE,
    SIZE,
    Match,
)

MATCH_TEXT = f"""
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
  %a = phi i64 [0, %array], [%a.next, %size.known], [%a.next, %size.again], [%a.next, %size.set]
  %all = icmp eq i64 %a, %rank.wanted
  br i1 %all, label %found, label %size
size:
  %size.at = getelementptr i64, ptr %sizes, i64 %a
  %size.here = load i64, ptr %size.at
  %size.wanted.at = getelementptr i64, ptr %sizes.wanted, i64 %a
  %size.wanted = load i64, ptr %size.wanted.at
  %a.next = add i64 %a, 1
  %is_number = icmp sge i64 %size.wanted, 0
  br i1 %is_number, label %size.known, label %size.named
size.known:
  %size.fits = icmp eq i64 %size.here, %size.wanted
  br i1 %size.fits, label %axis, label %bad
size.named:
  %named.at = getelementptr %frame, ptr %frame, i64 0, i32 7
  %named = load ptr, ptr %named.at
  %name = xor i64 %size.wanted, -1
  %size.slot = getelementptr i64, ptr %named, i64 %name
  %size.before = load i64, ptr %size.slot
  %is_new = icmp eq i64 %size.before, 0
  br i1 %is_new, label %size.new, label %size.again
size.again:
  %size.agrees = icmp eq i64 %size.here, %size.before
  br i1 %size.agrees, label %axis, label %bad
size.new:
  %size.may_be = icmp sge i64 %size.here, 2
  br i1 %size.may_be, label %size.set, label %bad
size.set:
  store i64 %size.here, ptr %size.slot
  br label %axis
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
  %slot = getelementptr i128, ptr %numbers, i64 %number
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
