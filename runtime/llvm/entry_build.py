"""The entry point's code, last part: what is returned, as the plan says (`@build`)."""

from __future__ import annotations

from graphc.runtime.llvm.entry_layout import ITEMS, Build

BUILD_TEXT = f"""
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
  %place = getelementptr i128, ptr %numbers, i64 %number
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
