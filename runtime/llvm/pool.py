"""The pool of worker threads, in machine code: a step enters it without Python in between.

One region at a time.  Whoever finds the pool taken (another Python thread is in a region) runs its
region alone; the program is the same, only the team is smaller.  Workers wait by spinning for
a moment, for steps often follow one another, and then sleep on a condition variable.  They are
native threads that never touch Python, so they neither need the GIL nor stand in the way of
interpreter shutdown.  A forked child has no workers; it calls `graphc_reset` and makes its own.

Two functions are for steps (their names are symbols for the JIT):

    graphc_run(body, data, wanted, patience)
                           call body(data, member, team) for member = 0 .. team-1 at once, with
                           team <= wanted; return when all have returned
    graphc_barrier(team)   inside a region: wait until all members have come here

and two for `graphc.runtime.threads`: `graphc_limit(most)` bounds the teams of later regions, and
`graphc_reset()` forgets the workers.

How a region starts: its round is counted up, and workers that see it come in through the door, a
word with the round and the number of those inside.  Who opened it waits until all are in, but not
longer than its patience: a worker that sleeps, or whose core is busy with something else, is not
worth waiting for.  Then the door is closed, and who is inside is the team.  Where nobody came, the
next few regions do not try, unless they are long.

How nobody sleeps through a change: a sleeper first counts itself and then looks at the word again;
who changes the word looks at the count afterwards.
"""

from __future__ import annotations

import signal

RUN, BARRIER, LIMIT, RESET = "graphc_run", "graphc_barrier", "graphc_limit", "graphc_reset"

SPINS = 4000
"""Looks at a word before sleeping; waking a sleeper takes half as long."""

SPIN_NS = 20.0
"""What one look takes, about."""

PATIENT = 10_000
"""Looks; a region that waits longer for workers always tries."""

MOST_SKIPS = 31
"""Regions run alone, at most, before workers that did not come are called again."""

MOST_THREADS = 64
"""The largest team."""

_PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", "", ""),
    "aarch64": ("llvm.aarch64.hint", "i32", "i32 1"),
    "arm64": ("llvm.aarch64.hint", "i32", "i32 1"),
}
"""By architecture, the intrinsic that makes a spinning core step back."""


def pool_text(triple: str) -> str:
    """LLVM IR of the pool for a machine with POSIX threads."""
    name, parameter, argument = _PAUSE.get(triple.split("-")[0], ("llvm.donothing", "", ""))
    text = _TEXT.format(
        pause=f"call void @{name}({argument})",
        spins=SPINS,
        most=MOST_THREADS,
        skips=MOST_SKIPS,
        patient=PATIENT,
        set_mask=int(signal.SIG_SETMASK),
    )
    return f"{text}declare void @{name}({parameter})\n"


# The sizes of pthread_mutex_t, pthread_cond_t and sigset_t differ between systems; all fit.
_TEXT = """\
@taken = internal global i32 0, align 64
@round = internal global i64 0, align 64
@door = internal global i64 2147483648, align 64
@started = internal global i64 0, align 64
@running = internal global i64 0, align 64
@arrived = internal global i64 0, align 64
@phase = internal global i64 0, align 64
@sleeping = internal global i64 0, align 64
@room = internal global i64 0, align 64
@body = internal global ptr null
@data = internal global ptr null
@workers = internal global i64 0
@limit = internal global i64 {most}
@skips = internal global i64 0
@tried = internal global i64 0
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)

; Wait until *word is not old, and give its new value.
define internal i64 @wait(ptr %word, i64 %old) #0 {{
entry:
  br label %spin
spin:
  %turn = phi i64 [0, %entry], [%next, %again]
  %now = load atomic i64, ptr %word acquire, align 8
  %changed = icmp ne i64 %now, %old
  br i1 %changed, label %seen, label %again
again:
  {pause}
  %next = add i64 %turn, 1
  %more = icmp slt i64 %next, {spins}
  br i1 %more, label %spin, label %sleep
seen:
  ret i64 %now
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleeping, i64 1 seq_cst
  br label %check
check:
  %late = load atomic i64, ptr %word seq_cst, align 8
  %same = icmp eq i64 %late, %old
  br i1 %same, label %doze, label %awake
doze:
  call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %check
awake:
  atomicrmw sub ptr @sleeping, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret i64 %late
}}

; Wake the sleepers, if there are any, after a word has changed.
define internal void @wake() #0 {{
entry:
  %count = load atomic i64, ptr @sleeping seq_cst, align 8
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %some
some:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @condition)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %done
done:
  ret void
}}

; What a worker does for ever.  The word `door`: round (32 bits), whether closed (1), inside (31).
define internal ptr @worker(ptr %nothing) #0 {{
entry:
  br label %idle
idle:
  %old = phi i64 [0, %entry], [%round, %look], [%round, %finished], [%round, %last]
  %round = call i64 @wait(ptr @round, i64 %old)
  br label %look
look:
  %door = load atomic i64, ptr @door acquire, align 8
  %inside = and i64 %door, 2147483647
  %closed_or_round = lshr i64 %door, 31
  %open_round = shl i64 %round, 1
  %is_open = icmp eq i64 %closed_or_round, %open_round
  %room = load atomic i64, ptr @room monotonic, align 8
  %fits = icmp slt i64 %inside, %room
  %may_enter = and i1 %is_open, %fits
  br i1 %may_enter, label %enter, label %idle
enter:
  %member = add i64 %inside, 1
  %more = add i64 %door, 1
  %pair = cmpxchg ptr @door, i64 %door, i64 %more seq_cst monotonic
  %entered = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %entered, label %ready, label %look
ready:
  %before = phi i64 [-1, %enter], [%started, %ready]
  %started = call i64 @wait(ptr @started, i64 %before)
  %its_round = lshr i64 %started, 16
  %is_mine = icmp eq i64 %its_round, %round
  br i1 %is_mine, label %work, label %ready
work:
  %team = and i64 %started, 65535
  %body = load ptr, ptr @body
  %data = load ptr, ptr @data
  call void %body(ptr %data, i64 %member, i64 %team)
  br label %finished
finished:
  %left = atomicrmw sub ptr @running, i64 1 seq_cst
  %is_last = icmp eq i64 %left, 1
  br i1 %is_last, label %last, label %idle
last:
  call void @wake()
  br label %idle
}}

; Have `wanted` workers, or as many as the system gives.  Signals are for Python's threads.
define internal void @grow(i64 %wanted) #0 {{
entry:
  %all = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  %thread = alloca ptr, align 8
  call i32 @sigfillset(ptr %all)
  call i32 @pthread_sigmask(i32 {set_mask}, ptr %all, ptr %before)
  br label %next
next:
  %have = load i64, ptr @workers
  %enough = icmp sge i64 %have, %wanted
  br i1 %enough, label %done, label %make
make:
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %done, label %made
made:
  %handle = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %handle)
  %one_more = add i64 %have, 1
  store i64 %one_more, ptr @workers
  br label %next
done:
  call i32 @pthread_sigmask(i32 {set_mask}, ptr %before, ptr null)
  ret void
}}

; Open the door for `helpers` workers, wait for them, close it; how many have come in.
define internal i64 @gather(i64 %helpers, i64 %patience) #0 {{
entry:
  %old = load atomic i64, ptr @round monotonic, align 8
  %next = add i64 %old, 1
  %round = and i64 %next, 4294967295
  %open = shl i64 %round, 32
  store atomic i64 %helpers, ptr @room monotonic, align 8
  store atomic i64 %open, ptr @door seq_cst, align 8
  store atomic i64 %round, ptr @round seq_cst, align 8
  call void @wake()
  br label %look
look:
  %turn = phi i64 [0, %entry], [%more, %linger]
  %door = load atomic i64, ptr @door acquire, align 8
  %inside = and i64 %door, 2147483647
  %all = icmp eq i64 %inside, %helpers
  %late = icmp sge i64 %turn, %patience
  %enough = or i1 %all, %late
  br i1 %enough, label %close, label %linger
linger:
  {pause}
  %more = add i64 %turn, 1
  br label %look
close:
  %last = atomicrmw or ptr @door, i64 2147483648 seq_cst
  %came = and i64 %last, 2147483647
  ret i64 %came
}}

define void @graphc_run(ptr %body, ptr %data, i64 %wanted, i64 %patience) #0 {{
entry:
  %limit = load atomic i64, ptr @limit monotonic, align 8
  %most = call i64 @llvm.smin.i64(i64 %wanted, i64 %limit)
  %single = icmp sle i64 %most, 1
  br i1 %single, label %alone, label %try
try:
  %pair = cmpxchg ptr @taken, i32 0, i32 1 acquire monotonic
  %free = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %free, label %mood, label %alone
mood:
  %skips = load i64, ptr @skips
  %no_skips = icmp eq i64 %skips, 0
  %is_patient = icmp sgt i64 %patience, {patient}
  %is_willing = or i1 %no_skips, %is_patient
  br i1 %is_willing, label %count, label %skip
skip:
  %fewer = sub i64 %skips, 1
  store i64 %fewer, ptr @skips
  br label %give_up
give_up:
  store atomic i32 0, ptr @taken release, align 4
  br label %alone
alone:
  call void %body(ptr %data, i64 0, i64 1)
  ret void
count:
  %helpers = sub i64 %most, 1
  %have = load i64, ptr @workers
  %enough = icmp sge i64 %have, %helpers
  br i1 %enough, label %begin, label %hire
hire:
  call void @grow(i64 %helpers)
  br label %begin
begin:
  %came = call i64 @gather(i64 %helpers, i64 %patience)
  %nobody = icmp eq i64 %came, 0
  br i1 %nobody, label %alone_again, label %together
alone_again:
  %tried = load i64, ptr @tried
  %twice = shl i64 %tried, 1
  %longer = or i64 %twice, 1
  %at_most = call i64 @llvm.smin.i64(i64 %longer, i64 {skips})
  store i64 %at_most, ptr @tried
  store i64 %at_most, ptr @skips
  br label %give_up
together:
  store i64 0, ptr @tried
  %team = add i64 %came, 1
  store ptr %body, ptr @body
  store ptr %data, ptr @data
  store atomic i64 %came, ptr @running monotonic, align 8
  %round = load atomic i64, ptr @round monotonic, align 8
  %high = shl i64 %round, 16
  %start = or i64 %high, %team
  store atomic i64 %start, ptr @started seq_cst, align 8
  call void @wake()
  call void %body(ptr %data, i64 0, i64 %team)
  br label %join
join:
  %left = load atomic i64, ptr @running seq_cst, align 8
  %none = icmp eq i64 %left, 0
  br i1 %none, label %done, label %linger
linger:
  call i64 @wait(ptr @running, i64 %left)
  br label %join
done:
  store atomic i32 0, ptr @taken release, align 4
  ret void
}}

define void @graphc_barrier(i64 %team) #0 {{
entry:
  %single = icmp eq i64 %team, 1
  br i1 %single, label %done, label %arrive
arrive:
  %old = load atomic i64, ptr @phase monotonic, align 8
  %before = atomicrmw add ptr @arrived, i64 1 acq_rel
  %number = add i64 %before, 1
  %is_last = icmp eq i64 %number, %team
  br i1 %is_last, label %last, label %others
last:
  store atomic i64 0, ptr @arrived monotonic, align 8
  %next = add i64 %old, 1
  store atomic i64 %next, ptr @phase seq_cst, align 8
  call void @wake()
  ret void
others:
  call i64 @wait(ptr @phase, i64 %old)
  ret void
done:
  ret void
}}

define void @graphc_limit(i64 %most) #0 {{
entry:
  store atomic i64 %most, ptr @limit monotonic, align 8
  ret void
}}

define void @graphc_reset() #0 {{
entry:
  store atomic i64 0, ptr @round seq_cst, align 8
  store atomic i64 2147483648, ptr @door seq_cst, align 8
  store atomic i64 0, ptr @started seq_cst, align 8
  store i64 0, ptr @skips
  store i64 0, ptr @tried
  store atomic i64 0, ptr @running seq_cst, align 8
  store atomic i64 0, ptr @arrived seq_cst, align 8
  store atomic i64 0, ptr @sleeping seq_cst, align 8
  store i64 0, ptr @workers
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @condition, ptr null)
  store atomic i32 0, ptr @taken seq_cst, align 4
  ret void
}}

declare i64 @llvm.smin.i64(i64, i64)
"""
