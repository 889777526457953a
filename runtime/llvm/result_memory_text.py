"""The memory of large results as LLVM IR: the four functions of a NumPy memory handler.

A block is what NumPy's own allocator gives, with a header of 64 bytes before the array's memory,
which begins at a multiple of 64.  Blocks of at least `LARGE` bytes have one of a few sizes, eight
for each power of two.  When one is freed it is kept, and it is the first to be taken when its size
is wanted again: it may still be in a cache.  When more bytes are kept than the limit, those go that
have been kept longest.

A kept block is in two rings, that of all and that of its size, newest first, so that taking,
keeping and dropping one are a few steps however many there are.

Nobody waits here.  Who finds the rings in use by another thread allocates or frees as NumPy would.
So a child forked at that moment keeps no blocks, but does not hang.
"""

from __future__ import annotations

HANDLER = "result_memory_handler"
POOL = "result_memory_pool"
RINGS = "result_memory_rings"
SET_LIMIT = "result_memory_set_limit"

LARGE_BITS = 20
LARGE = 1 << LARGE_BITS
"""Bytes: the allocator of C keeps smaller blocks itself, at less cost."""

MOST_BITS = 44
"""Larger blocks are never kept."""
CLASSES = 8 * (MOST_BITS - LARGE_BITS + 1)
"""How many sizes of blocks there are; the one of all comes before them among the rings."""

POOL_FIELDS = ("busy", "limit", "kept", "context", "allocate", "release")
"""The words of the pool; the last three are NumPy's allocator, as C functions."""

_NAME = "graphc_results".ljust(127, "\0").replace("\0", "\\00")

RESULT_MEMORY_TEXT = f"""
%handler = type {{ [127 x i8], i8, ptr, ptr, ptr, ptr, ptr }}
%pool = type {{ i64, i64, i64, ptr, ptr, ptr }}
%link = type {{ ptr, ptr }}
; capacity, its ring, what the allocator gave, link among all, link among its size
%header = type {{ i64, i64, ptr, %link, %link, i64 }}

; NumPy's PyDataMem_Handler, version 1.
@{HANDLER} = global %handler {{ [127 x i8] c"{_NAME}", i8 1, ptr null,
  ptr @allocate, ptr @allocate_zeros, ptr @reallocate, ptr @release }}, align 64
@{POOL} = global %pool zeroinitializer, align 64
; A ring begins and ends at its own link here.
@{RINGS} = global [{CLASSES + 1} x %link] zeroinitializer, align 64

declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.umin.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; ---- the rings ---------------------------------------------------------------------------------

define internal i1 @enter() #0 {{
  %taken = cmpxchg ptr @{POOL}, i64 0, i64 1 acquire monotonic
  %is_mine = extractvalue {{ i64, i1 }} %taken, 1
  ret i1 %is_mine
}}

define internal void @leave() #0 {{
  store atomic i64 0, ptr @{POOL} release, align 8
  ret void
}}

define internal void @link(ptr %link, ptr %ring) #0 {{
  %first = load ptr, ptr %ring
  %back = getelementptr %link, ptr %link, i64 0, i32 1
  %first.back = getelementptr %link, ptr %first, i64 0, i32 1
  store ptr %first, ptr %link
  store ptr %ring, ptr %back
  store ptr %link, ptr %first.back
  store ptr %link, ptr %ring
  ret void
}}

define internal void @unlink(ptr %link) #0 {{
  %back = getelementptr %link, ptr %link, i64 0, i32 1
  %next = load ptr, ptr %link
  %previous = load ptr, ptr %back
  %next.back = getelementptr %link, ptr %next, i64 0, i32 1
  store ptr %next, ptr %previous
  store ptr %previous, ptr %next.back
  ret void
}}

; Take a kept block out of its rings.
define internal void @remove(ptr %block) #0 {{
  %all = getelementptr %header, ptr %block, i64 0, i32 3
  %same = getelementptr %header, ptr %block, i64 0, i32 4
  call void @unlink(ptr %all)
  call void @unlink(ptr %same)
  %capacity = load i64, ptr %block
  %kept.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 2
  %kept = load i64, ptr %kept.at
  %less = sub i64 %kept, %capacity
  store i64 %less, ptr %kept.at
  ret void
}}

; The newest kept block of a ring; null if there is none.
define internal ptr @take(i64 %number) #0 {{
entry:
  %is_mine = call i1 @enter()
  br i1 %is_mine, label %look, label %none
look:
  %ring = getelementptr [{CLASSES + 1} x %link], ptr @{RINGS}, i64 0, i64 %number
  %link = load ptr, ptr %ring
  %is_empty = icmp eq ptr %link, %ring
  br i1 %is_empty, label %empty, label %found
found:
  %block = getelementptr i8, ptr %link, i64 -40
  call void @remove(ptr %block)
  call void @leave()
  ret ptr %block
empty:
  call void @leave()
  br label %none
none:
  ret ptr null
}}

; Give back what has been kept longest until no more than `limit` bytes are kept.
define internal void @drop_oldest(i64 %limit) #0 {{
entry:
  %kept.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 2
  br label %check
check:
  %kept = load i64, ptr %kept.at
  %is_much = icmp ugt i64 %kept, %limit
  br i1 %is_much, label %drop, label %end
drop:
  %oldest.at = getelementptr %link, ptr @{RINGS}, i64 0, i32 1
  %link = load ptr, ptr %oldest.at
  %block = getelementptr i8, ptr %link, i64 -24
  call void @remove(ptr %block)
  call void @give_back(ptr %block)
  br label %check
end:
  ret void
}}

; Keep no more than `limit` bytes from now on.
define void @{SET_LIMIT}(i64 %limit) #0 {{
entry:
  %limit.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 1
  store i64 %limit, ptr %limit.at
  %is_mine = call i1 @enter()
  br i1 %is_mine, label %drop, label %end
drop:
  call void @drop_oldest(i64 %limit)
  call void @leave()
  br label %end
end:
  ret void
}}

; Whether a block has been kept.
define internal i1 @keep(ptr %block) #0 {{
entry:
  %capacity = load i64, ptr %block
  %number.at = getelementptr %header, ptr %block, i64 0, i32 1
  %number = load i64, ptr %number.at
  %has_ring = icmp ne i64 %number, 0
  %limit.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 1
  %limit = load i64, ptr %limit.at
  %is_within = icmp ule i64 %capacity, %limit
  %may = and i1 %has_ring, %is_within
  br i1 %may, label %try, label %no
try:
  %is_mine = call i1 @enter()
  br i1 %is_mine, label %add, label %no
add:
  %all = getelementptr %header, ptr %block, i64 0, i32 3
  %same = getelementptr %header, ptr %block, i64 0, i32 4
  %ring = getelementptr [{CLASSES + 1} x %link], ptr @{RINGS}, i64 0, i64 %number
  call void @link(ptr %all, ptr @{RINGS})
  call void @link(ptr %same, ptr %ring)
  %kept.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 2
  %before = load i64, ptr %kept.at
  %more = add i64 %before, %capacity
  store i64 %more, ptr %kept.at
  ; The new block fits alone, so it is never one of those that go.
  call void @drop_oldest(i64 %limit)
  call void @leave()
  ret i1 1
no:
  ret i1 0
}}

; ---- blocks ------------------------------------------------------------------------------------

; A new block; null if there is no memory.
define internal ptr @make(i64 %capacity, i64 %number) #0 {{
entry:
  %total = add i64 %capacity, 128
  %context.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 3
  %context = load ptr, ptr %context.at
  %allocate.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 4
  %allocate = load ptr, ptr %allocate.at
  %given = call ptr %allocate(ptr %context, i64 %total)
  %is_none = icmp eq ptr %given, null
  br i1 %is_none, label %none, label %some
some:
  %word = ptrtoint ptr %given to i64
  %beyond = add i64 %word, 63
  %aligned = and i64 %beyond, -64
  %block = inttoptr i64 %aligned to ptr
  %number.at = getelementptr %header, ptr %block, i64 0, i32 1
  %given.at = getelementptr %header, ptr %block, i64 0, i32 2
  store i64 %capacity, ptr %block
  store i64 %number, ptr %number.at
  store ptr %given, ptr %given.at
  ret ptr %block
none:
  ret ptr null
}}

define internal void @give_back(ptr %block) #0 {{
  %capacity = load i64, ptr %block
  %total = add i64 %capacity, 128
  %given.at = getelementptr %header, ptr %block, i64 0, i32 2
  %given = load ptr, ptr %given.at
  %context.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 3
  %context = load ptr, ptr %context.at
  %release.at = getelementptr %pool, ptr @{POOL}, i64 0, i32 5
  %release = load ptr, ptr %release.at
  call void %release(ptr %context, ptr %given, i64 %total)
  ret void
}}

; ---- the handler -------------------------------------------------------------------------------

define internal ptr @allocate(ptr %unused, i64 %size) #0 {{
entry:
  %is_large = icmp uge i64 %size, {LARGE}
  %is_small_enough = icmp ule i64 %size, {1 << MOST_BITS}
  %has_ring = and i1 %is_large, %is_small_enough
  br i1 %has_ring, label %rounded, label %exact
rounded:
  ; The leading bit of size - 1 and the three that follow it say which size of block fits.
  %less = sub i64 %size, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %less, i1 1)
  %shift = sub i64 60, %zeros
  %eighths = lshr i64 %less, %shift
  %following = add i64 %eighths, 1
  %capacity = shl i64 %following, %shift
  %power = sub i64 %shift, {LARGE_BITS - 1 - 3}
  %power.first = mul i64 %power, 8
  %within = sub i64 %eighths, 7
  %number = add i64 %power.first, %within
  %kept = call ptr @take(i64 %number)
  %is_none = icmp eq ptr %kept, null
  br i1 %is_none, label %exact, label %given
exact:
  %bytes = phi i64 [%size, %entry], [%capacity, %rounded]
  %ring = phi i64 [0, %entry], [%number, %rounded]
  %new = call ptr @make(i64 %bytes, i64 %ring)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %none, label %given
given:
  %block = phi ptr [%kept, %rounded], [%new, %exact]
  %memory = getelementptr i8, ptr %block, i64 64
  ret ptr %memory
none:
  ret ptr null
}}

define internal void @release(ptr %unused, ptr %memory, i64 %size) #0 {{
entry:
  %is_none = icmp eq ptr %memory, null
  br i1 %is_none, label %end, label %some
some:
  %block = getelementptr i8, ptr %memory, i64 -64
  %is_kept = call i1 @keep(ptr %block)
  br i1 %is_kept, label %end, label %free
free:
  call void @give_back(ptr %block)
  br label %end
end:
  ret void
}}

define internal ptr @allocate_zeros(ptr %unused, i64 %count, i64 %size) #0 {{
entry:
  %product = call {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64 %count, i64 %size)
  %bytes = extractvalue {{ i64, i1 }} %product, 0
  %overflows = extractvalue {{ i64, i1 }} %product, 1
  br i1 %overflows, label %none, label %fits
fits:
  %memory = call ptr @allocate(ptr %unused, i64 %bytes)
  %failed = icmp eq ptr %memory, null
  br i1 %failed, label %none, label %some
some:
  call void @llvm.memset.p0.i64(ptr %memory, i8 0, i64 %bytes, i1 0)
  ret ptr %memory
none:
  ret ptr null
}}

define internal ptr @reallocate(ptr %unused, ptr %memory, i64 %size) #0 {{
entry:
  %new = call ptr @allocate(ptr %unused, i64 %size)
  %failed = icmp eq ptr %new, null
  %is_none = icmp eq ptr %memory, null
  %is_done = or i1 %failed, %is_none
  br i1 %is_done, label %end, label %copy
copy:
  %block = getelementptr i8, ptr %memory, i64 -64
  %capacity = load i64, ptr %block
  %bytes = call i64 @llvm.umin.i64(i64 %capacity, i64 %size)
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %memory, i64 %bytes, i1 0)
  call void @release(ptr %unused, ptr %memory, i64 0)
  br label %end
end:
  ret ptr %new
}}

declare {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64, i64)
"""
