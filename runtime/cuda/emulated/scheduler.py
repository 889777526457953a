"""The scheduler of the emulated device: LLVM IR that runs the threads of a block as fibers.

A thread is ready (0), waits for its block (1) or its warp (2), or is done (3).  The last context is
that of the scheduler itself.
"""

from __future__ import annotations

from graphc.runtime.cuda.plan.device_kernel import WARP

MOST_THREADS = 1024
STACK_BYTES = 1 << 16
CONTEXT_BYTES = 1 << 13
"""More than `ucontext_t` has on any machine."""


def runtime_text() -> str:
    """The text, for the sizes above."""
    numbers = {
        "$THREADS": MOST_THREADS,
        "$WARP": WARP,
        "$CONTEXT": CONTEXT_BYTES,
        "$STACK": STACK_BYTES,
    }
    text = _TEXT
    for name, number in numbers.items():
        text = text.replace(name, str(number))
    return text


_TEXT = """
@emulated.pointers = global ptr null
@emulated.allowed = global ptr null
@emulated.alloweds = global i64 0
@emulated.contexts = global ptr null
@emulated.stacks = global ptr null
@emulated.bad = global ptr null
@emulated.conflicts = global i64 0
@emulated.current = internal global i32 0
@emulated.block_number = internal global i32 0
@emulated.main = internal global ptr null
@emulated.state = internal global [$THREADS x i32] zeroinitializer
@emulated.site = internal global [$THREADS x i32] zeroinitializer
@emulated.slot = internal global [$THREADS x i32] zeroinitializer
@emulated.seen = internal global [$THREADS x i32] zeroinitializer
@emulated.fault = internal global i32 0
declare i32 @getcontext(ptr)
declare void @makecontext(ptr, ptr, i32, ...)
declare i32 @swapcontext(ptr, ptr)

define internal ptr @emulated.context(i32 %thread) {
  %wide = zext i32 %thread to i64
  %bytes = mul i64 %wide, $CONTEXT
  %base = load ptr, ptr @emulated.contexts
  %at = getelementptr i8, ptr %base, i64 %bytes
  ret ptr %at
}

; The last context is that of the scheduler.
define internal void @emulated.leave() {
  %current = load i32, ptr @emulated.current
  %own = call ptr @emulated.context(i32 %current)
  %main = call ptr @emulated.context(i32 $THREADS)
  %ignored = call i32 @swapcontext(ptr %own, ptr %main)
  ret void
}

define internal void @emulated.wait(i32 %state, i32 %site) {
  %current = load i32, ptr @emulated.current
  %state.at = getelementptr i32, ptr @emulated.state, i32 %current
  store i32 %state, ptr %state.at
  %site.at = getelementptr i32, ptr @emulated.site, i32 %current
  store i32 %site, ptr %site.at
  call void @emulated.leave()
  ret void
}

define internal void @emulated.barrier0(i32 %site) {
  call void @emulated.wait(i32 1, i32 %site)
  ret void
}

define internal void @emulated.bar.warp.sync(i32 %site, i32 %mask) {
  call void @emulated.wait(i32 2, i32 %site)
  ret void
}

define internal i32 @emulated.exchanged(i32 %site, i32 %value, i32 %source) {
  %current = load i32, ptr @emulated.current
  %slot = getelementptr i32, ptr @emulated.slot, i32 %current
  store i32 %value, ptr %slot
  call void @emulated.wait(i32 2, i32 %site)
  %seen = getelementptr i32, ptr @emulated.seen, i32 %source
  %got = load i32, ptr %seen
  ret i32 %got
}

define internal i32 @emulated.shfl.sync.bfly.i32(i32 %site, i32 %m, i32 %value, i32 %bit, i32 %c) {
  %current = load i32, ptr @emulated.current
  %source = xor i32 %current, %bit
  %got = call i32 @emulated.exchanged(i32 %site, i32 %value, i32 %source)
  ret i32 %got
}

define internal i32 @emulated.shfl.sync.idx.i32(i32 %site, i32 %m, i32 %value, i32 %lane, i32 %c) {
  %current = load i32, ptr @emulated.current
  %in.warp = urem i32 %current, $WARP
  %first = sub i32 %current, %in.warp
  %source = add i32 %first, %lane
  %got = call i32 @emulated.exchanged(i32 %site, i32 %value, i32 %source)
  ret i32 %got
}

define internal i32 @emulated.read.ptx.sreg.tid.x() {
  %current = load i32, ptr @emulated.current
  ret i32 %current
}

define internal i32 @emulated.read.ptx.sreg.ctaid.x() {
  %number = load i32, ptr @emulated.block_number
  ret i32 %number
}

declare float @exp2f(float)
declare double @sqrt(double)

define internal float @emulated.ex2.approx.f(float %x) {
  %y = call float @exp2f(float %x)
  ret float %y
}

define internal float @emulated.div.approx.f(float %x, float %y) {
  %q = fdiv float %x, %y
  ret float %q
}

define internal float @emulated.sqrt.approx.f(float %x) {
  %wide = fpext float %x to double
  %root = call double @sqrt(double %wide)
  %y = fptrunc double %root to float
  ret float %y
}

define internal float @emulated.rsqrt.approx.f(float %x) {
  %root = call float @emulated.sqrt.approx.f(float %x)
  %y = fdiv float 1.0, %root
  ret float %y
}

define internal i1 @emulated.inside(ptr %p, i64 %size, ptr %ranges, i64 %count) {
entry:
  %end = getelementptr i8, ptr %p, i64 %size
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %other]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %no
look:
  %low.at = getelementptr { ptr, i64 }, ptr %ranges, i64 %i, i32 0
  %low = load ptr, ptr %low.at
  %bytes.at = getelementptr { ptr, i64 }, ptr %ranges, i64 %i, i32 1
  %bytes = load i64, ptr %bytes.at
  %high = getelementptr i8, ptr %low, i64 %bytes
  %above = icmp uge ptr %p, %low
  %below = icmp ule ptr %end, %high
  %in = and i1 %above, %below
  br i1 %in, label %yes, label %other
other:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @emulated.check(ptr %p, i64 %size) {
  %ranges = load ptr, ptr @emulated.allowed
  %count = load i64, ptr @emulated.alloweds
  %given = call i1 @emulated.inside(ptr %p, i64 %size, ptr %ranges, i64 %count)
  br i1 %given, label %fine, label %again
again:
  %owns = load i64, ptr @emulated.owns
  %own = call i1 @emulated.inside(ptr %p, i64 %size, ptr @emulated.own, i64 %owns)
  br i1 %own, label %fine, label %bad
fine:
  ret void
bad:
  store i32 2, ptr @emulated.fault
  store ptr %p, ptr @emulated.bad
  call void @emulated.leave()
  unreachable
}

; The first function of a fiber: the thread, and then it is done.
define internal void @emulated.fiber() {
  %thread = load ptr, ptr @emulated.main
  call void %thread()
  call void @emulated.wait(i32 3, i32 0)
  unreachable
}

; The same for threads that never wait: all of a block, in one fiber.
define internal void @emulated.straight(i32 %threads, i32 %backwards) {
entry:
  %thread = load ptr, ptr @emulated.main
  %back = icmp ne i32 %backwards, 0
  %last = sub i32 %threads, 1
  br label %next
next:
  %k = phi i32 [0, %entry], [%k1, %next]
  %mirrored = sub i32 %last, %k
  %t = select i1 %back, i32 %mirrored, i32 %k
  store i32 %t, ptr @emulated.current
  call void %thread()
  %k1 = add i32 %k, 1
  %more = icmp ult i32 %k1, %threads
  br i1 %more, label %next, label %done
done:
  store i32 0, ptr @emulated.current
  call void @emulated.wait(i32 3, i32 0)
  unreachable
}

define internal void @emulated.prepare(i32 %t, ptr %entry, i32 %a, i32 %b) {
  %context = call ptr @emulated.context(i32 %t)
  %ignored = call i32 @getcontext(ptr %context)
  %link.at = getelementptr i8, ptr %context, i64 8
  store ptr null, ptr %link.at
  %stacks = load ptr, ptr @emulated.stacks
  %wide = zext i32 %t to i64
  %bytes = mul i64 %wide, $STACK
  %stack = getelementptr i8, ptr %stacks, i64 %bytes
  %stack.at = getelementptr i8, ptr %context, i64 16
  store ptr %stack, ptr %stack.at
  %size.at = getelementptr i8, ptr %context, i64 32
  store i64 $STACK, ptr %size.at
  call void (ptr, ptr, i32, ...) @makecontext(ptr %context, ptr %entry, i32 2, i32 %a, i32 %b)
  %state.at = getelementptr i32, ptr @emulated.state, i32 %t
  store i32 0, ptr %state.at
  ret void
}

define internal void @emulated.resume(i32 %t) {
  store i32 %t, ptr @emulated.current
  %main = call ptr @emulated.context(i32 $THREADS)
  %context = call ptr @emulated.context(i32 %t)
  %ignored = call i32 @swapcontext(ptr %main, ptr %context)
  ret void
}

; Whether threads low to high all wait in the same way at the same place.
define internal i1 @emulated.together(i32 %low, i32 %high, i32 %state) {
entry:
  %first.at = getelementptr i32, ptr @emulated.site, i32 %low
  %first = load i32, ptr %first.at
  br label %next
next:
  %t = phi i32 [%low, %entry], [%t1, %same]
  %more = icmp ult i32 %t, %high
  br i1 %more, label %look, label %yes
look:
  %state.at = getelementptr i32, ptr @emulated.state, i32 %t
  %own = load i32, ptr %state.at
  %site.at = getelementptr i32, ptr @emulated.site, i32 %t
  %site = load i32, ptr %site.at
  %a = icmp eq i32 %own, %state
  %b = icmp eq i32 %site, %first
  %both = and i1 %a, %b
  br i1 %both, label %same, label %no
same:
  %t1 = add i32 %t, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @emulated.release(i32 %low, i32 %high) {
entry:
  br label %next
next:
  %t = phi i32 [%low, %entry], [%t1, %next]
  %state.at = getelementptr i32, ptr @emulated.state, i32 %t
  store i32 0, ptr %state.at
  %slot.at = getelementptr i32, ptr @emulated.slot, i32 %t
  %slot = load i32, ptr %slot.at
  %seen.at = getelementptr i32, ptr @emulated.seen, i32 %t
  store i32 %slot, ptr %seen.at
  %t1 = add i32 %t, 1
  %more = icmp ult i32 %t1, %high
  br i1 %more, label %next, label %done
done:
  ret void
}

; Whether some company is complete; it goes on.
define internal i1 @emulated.released(i32 %threads) {
entry:
  %all = call i1 @emulated.together(i32 0, i32 %threads, i32 1)
  br i1 %all, label %block, label %warps
block:
  call void @emulated.release(i32 0, i32 %threads)
  ret i1 true
warps:
  br label %next
next:
  %low = phi i32 [0, %warps], [%high, %after]
  %some = phi i1 [false, %warps], [%some1, %after]
  %more = icmp ult i32 %low, %threads
  br i1 %more, label %look, label %done
look:
  %far = add i32 %low, $WARP
  %within = icmp ult i32 %far, %threads
  %high = select i1 %within, i32 %far, i32 %threads
  %complete = call i1 @emulated.together(i32 %low, i32 %high, i32 2)
  br i1 %complete, label %go, label %after
go:
  call void @emulated.release(i32 %low, i32 %high)
  br label %after
after:
  %some1 = phi i1 [%some, %look], [true, %go]
  br label %next
done:
  ret i1 %some
}

define internal i32 @emulated.one_block(i32 %threads, i32 %backwards) {
entry:
  %back = icmp ne i32 %backwards, 0
  %last = sub i32 %threads, 1
  br label %prepare
prepare:
  %i = phi i32 [0, %entry], [%i1, %prepare]
  call void @emulated.prepare(i32 %i, ptr @emulated.fiber, i32 0, i32 0)
  %i1 = add i32 %i, 1
  %unprepared = icmp ult i32 %i1, %threads
  br i1 %unprepared, label %prepare, label %turn
turn:
  br label %next
next:
  %k = phi i32 [0, %turn], [%k1, %after]
  %mirrored = sub i32 %last, %k
  %t = select i1 %back, i32 %mirrored, i32 %k
  %state.at = getelementptr i32, ptr @emulated.state, i32 %t
  %state = load i32, ptr %state.at
  %ready = icmp eq i32 %state, 0
  br i1 %ready, label %run, label %after
run:
  call void @emulated.resume(i32 %t)
  %fault = load i32, ptr @emulated.fault
  %broken = icmp ne i32 %fault, 0
  br i1 %broken, label %stop, label %after
stop:
  ret i32 %fault
after:
  %k1 = add i32 %k, 1
  %more = icmp ult i32 %k1, %threads
  br i1 %more, label %next, label %waiting
waiting:
  %done = call i1 @emulated.together(i32 0, i32 %threads, i32 3)
  br i1 %done, label %finished, label %companies
finished:
  ret i32 0
companies:
  %some = call i1 @emulated.released(i32 %threads)
  br i1 %some, label %turn, label %stuck
stuck:
  ret i32 1
}

define internal i32 @emulated.launch(ptr %thread, i32 %grid, i32 %block, i32 %waits, i32 %back) {
entry:
  store ptr %thread, ptr @emulated.main
  store i32 0, ptr @emulated.fault
  %fibers = icmp ne i32 %waits, 0
  br label %next
next:
  %b = phi i32 [0, %entry], [%b1, %after]
  %b1 = add i32 %b, 1
  %mirrored = sub i32 %grid, %b1
  %backwards = icmp ne i32 %back, 0
  %number = select i1 %backwards, i32 %mirrored, i32 %b
  store i32 %number, ptr @emulated.block_number
  call void @emulated.clear()
  br i1 %fibers, label %several, label %one
several:
  %status = call i32 @emulated.one_block(i32 %block, i32 %back)
  br label %after
one:
  call void @emulated.prepare(i32 0, ptr @emulated.straight, i32 %block, i32 %back)
  call void @emulated.resume(i32 0)
  %fault = load i32, ptr @emulated.fault
  br label %after
after:
  %got = phi i32 [%status, %several], [%fault, %one]
  %fine = icmp eq i32 %got, 0
  %more = icmp ult i32 %b1, %grid
  %go = and i1 %fine, %more
  br i1 %go, label %next, label %done
done:
  ret i32 %got
}
"""
