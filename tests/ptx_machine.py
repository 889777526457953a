"""A machine that executes PTX: every thread of a launch, as the PTX ISA has it.

It takes the text that NVIDIA's driver would take.  Instructions run for many threads at once, by
NumPy; threads that go different ways wait where their code comes last.  It stops, with a `Fault`,
where a device would stop, wait forever, or give something that nobody can rely on: accesses of
other memory, or not aligned; threads that a barrier or a shuffle waits for and that never come;
two threads that access one place with nothing between, one of them writing.

    machine = Machine(text)
    machine.launch("kernel_0_0", grid=2, block=64, parameters=[address], memory=[(address, 800)])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ptx_text
from ptx_code import SHARED_START, Code, Outside, Step, Variables
from ptx_memory import Fault, GlobalSpace, Memory, OwnSpace, Space
from ptx_table import Mask
from ptx_threads import UNSET, WARP, Threads

AT_ONCE = 4096
"""Threads that run side by side, about."""
MOST_THREADS = 1024
SHARED_LIMIT = 48 * 1024
FEW_BYTES, MOST_BYTES = 4352, 32764
"""Of the parameters of a function, before PTX 8.1 and since."""


class Refused(Exception):
    """A launch that a driver would not begin."""


class Machine:
    """A module of PTX, to be launched.  Raises `PtxError` for what is not known here.

    `outside` are functions that the code declares and does not have: each is called for thread
    after thread, with whole numbers.
    """

    def __init__(self, text: str, races: bool = True, outside: Outside | None = None):
        self.text = ptx_text.read(text)
        self.races = races
        self._outside = outside or {}
        self._variables = Variables(self.text)
        self._codes: dict[str, Code] = {}

    def code(self, entry: str) -> Code:
        """What a function is made of.  Raises `PtxError` for what is not known here."""
        if entry not in self._codes:
            self._codes[entry] = Code(self.text, entry, self._variables.addresses, self._outside)
        return self._codes[entry]

    def shared_bytes(self, entry: str) -> int:
        """Shared memory of a block, besides what a launch adds."""
        return self.code(entry).shared_bytes - SHARED_START

    def launch(
        self,
        entry: str,
        grid: int,
        block: int,
        parameters: Sequence[bytes],
        memory: Sequence[tuple[int, int]],
        shared_bytes: int = 0,
        shared_limit: int = SHARED_LIMIT,
    ) -> None:
        """Run a function: `parameters` are the bytes of each, `memory` the ranges of addresses
        that were handed out.  Raises `Refused`, `Fault`."""
        self._check(entry, grid, block, parameters, shared_bytes, shared_limit)
        code, races = self.code(entry), self.races and grid * block > 1
        everything = GlobalSpace([*memory, *self._variables.ranges], code.granule, races)
        side_by_side = max(1, AT_ONCE // block)
        with np.errstate(all="ignore"):
            for first in range(0, grid, side_by_side):
                blocks = range(first, min(grid, first + side_by_side))
                spaces = self._spaces(code, len(blocks), block, shared_bytes, everything)
                t = Threads(code.linker, blocks, block, grid, Memory(spaces))
                self._give(t, entry, parameters)
                _Run(code, t, code.starts[entry]).run()

    def _check(
        self, entry: str, grid: int, block: int, given: Sequence[bytes], added: int, limit: int
    ) -> None:
        function = self.text.entry(entry)
        if function is None:
            raise Refused(f"no entry {entry}")
        most = min(MOST_THREADS, function.directives.get("maxntid", MOST_THREADS))
        exactly = function.directives.get("reqntid", block)
        if not 0 < block <= most or block != exactly:
            raise Refused(
                f"{entry}: a block of {block} threads, where at most {most} are asked for"
            )
        if not 0 < grid < 1 << 31:
            raise Refused(f"{entry}: {grid} blocks")
        needed = self.shared_bytes(entry) + added
        if needed > limit:
            raise Refused(f"{entry}: {needed} bytes of shared memory, of {limit}")
        most_bytes = MOST_BYTES if self.text.version >= (8, 1) else FEW_BYTES
        if sum(p.nbytes for p in function.params) > most_bytes:
            raise Refused(f"{entry}: parameters of more than {most_bytes} bytes")
        if [len(one) for one in given] != [p.nbytes for p in function.params]:
            raise Refused(f"{entry}: parameters of {[len(one) for one in given]} bytes")

    def _spaces(
        self, code: Code, blocks: int, block: int, added: int, everything: GlobalSpace
    ) -> dict[str, Space]:
        shared, races = code.shared_bytes + added, self.races and block > 1
        return {
            "global": everything,
            "shared": OwnSpace("shared", blocks, shared, code.granule, races),
            "local": OwnSpace("local", blocks * block, code.local_bytes, code.granule, False),
        }

    def _give(self, t: Threads, entry: str, parameters: Sequence[bytes]) -> None:
        for name, nbytes in self.code(entry).linker.params.items():
            t.frames[name] = np.full((t.count, nbytes), UNSET, np.uint8)
        for variable, data in zip(self.text.functions[entry].params, parameters, strict=True):
            t.frames[variable.name] = np.frombuffer(data, np.uint8).reshape(1, -1)


class _Run:
    """Threads of a launch on their way through the code.

    Those whose code comes first go on; where the ways meet again they go on together.
    """

    def __init__(self, code: Code, t: Threads, start: int):
        self.code, self.t = code, t
        self.ready: dict[int, np.ndarray] = {start: np.ones(t.count, np.bool_)}
        """At which instruction which threads are."""
        self.parked: dict[int, np.ndarray] = {}
        """The same of those that wait for others of their warp."""
        self.at_barrier = np.zeros(t.count, np.bool_)
        self.barrier = np.zeros(t.count, np.int64)
        """Behind which barrier a thread waits that does."""
        self.gone = np.zeros(t.count, np.bool_)
        self.stacks: list[list[Step]] = []
        self.depth = np.zeros(t.count, np.int64)
        self.calls = np.zeros((8, t.count), np.int64)
        """From where each thread has called, innermost last."""

    def run(self) -> None:
        while self.ready:
            at = min(self.ready)
            try:
                self._go(at, self.ready.pop(at))
            except Fault as fault:
                text = self.code.steps[self.at].text
                raise Fault(fault.kind, f"{fault}; at {text}") from None
        if not self.gone.all():
            waiting = sorted({*self.barrier[self.at_barrier], *self.parked})
            texts = [self.code.steps[at].text for at in waiting]
            raise Fault("barrier", f"threads wait for others that never come, at {texts}")

    def _go(self, at: int, who: np.ndarray) -> None:
        """Run these threads until there are others whose code comes before, or none."""
        steps, ready = self.code.steps, self.ready
        mask: Mask = True if who.all() else who
        while True:
            if at in ready:
                who = who | ready.pop(at)
                mask = True if who.all() else who
            step = steps[at]
            self.at = at
            if step.kind != "plain":
                guarded = self._guarded(step, who)
                if step.kind == "branch" and step.guard is None and step.jump[0] > at:
                    at = step.jump[0]  # all of them, forwards
                    if ready and min(ready) < at:
                        self._put(at, who)
                        return
                    continue
                CONTROL[step.kind](self, step, at, guarded)
                rest = who & ~guarded
                if rest.any():
                    self._put(at + 1, rest)
                return
            if step.guard is None:
                step.run(self.t, mask)  # type: ignore[misc]
            else:
                guarded = self._guarded(step, who)
                if guarded.any():
                    step.run(self.t, guarded)  # type: ignore[misc]
            at += 1

    def _guarded(self, step: Step, who: np.ndarray) -> np.ndarray:
        if step.guard is None:
            return who
        says = self.t.rows["pred"][step.guard]
        return who & says if step.guard_is else who & ~says

    def _put(self, at: int, who: np.ndarray) -> None:
        if who.any():
            known = self.ready.get(at)
            self.ready[at] = who if known is None else known | who

    # ---- ways ------------------------------------------------------------------------------------

    def branch(self, step: Step, at: int, who: np.ndarray) -> None:
        self._put(step.jump[0], who)

    def switch(self, step: Step, at: int, who: np.ndarray) -> None:
        which = self.t.rows["u32"][step.row]
        for i, jump in enumerate(step.jump):
            self._put(jump, who & (which == i))
        if (who & (which >= len(step.jump))).any():
            raise Fault("use", "a jump to nowhere")

    def call(self, step: Step, at: int, who: np.ndarray) -> None:
        frames = self.t.frames
        for given, taken in step.pairs:
            np.copyto(frames[taken], frames[given], where=who[:, None])
        depth = self.depth[who]
        if depth.size and int(depth.max()) >= len(self.calls):
            raise Fault("use", "calls that are too deep")
        self.calls[depth, np.flatnonzero(who)] = at
        self.depth[who] += 1
        self._put(step.jump[0], who)

    def back(self, step: Step, at: int, who: np.ndarray) -> None:
        self.depth[who] -= 1
        those = np.flatnonzero(who)
        callers = self.calls[self.depth[those], those]
        for caller in np.unique(callers):
            back = np.zeros(self.t.count, np.bool_)
            back[those[callers == caller]] = True
            frames = self.t.frames
            for made, taken in self.code.steps[caller].takes:
                np.copyto(frames[taken], frames[made], where=back[:, None])
            self._put(int(caller) + 1, back)

    def exit(self, step: Step, at: int, who: np.ndarray) -> None:
        self.gone |= who
        self._let_go()
        self._unpark()

    def trap(self, step: Step, at: int, who: np.ndarray) -> None:
        if who.any():
            raise Fault("use", "a trap")

    # ---- waiting ---------------------------------------------------------------------------------

    def wait(self, step: Step, at: int, who: np.ndarray) -> None:
        self.at_barrier |= who
        self.barrier[who] = at
        self._let_go()

    def _let_go(self) -> None:
        """Let those blocks go on of which all threads that are left have come to a barrier."""
        if not self.at_barrier.any():
            return
        t = self.t
        here = (self.at_barrier | self.gone).reshape(-1, t.size).all(axis=1)
        free = self.at_barrier & here[t.slot]
        if not free.any():
            return
        # The threads of a warp wait at one place, or the assembler's `.aligned` is not true.
        low, high = np.full(t.warps, 1 << 60), np.full(t.warps, -1)
        np.minimum.at(low, t.warp[free], self.barrier[free])
        np.maximum.at(high, t.warp[free], self.barrier[free])
        if (high > low).any():
            raise Fault("barrier", "threads of a warp wait at different barriers")
        for at in np.unique(self.barrier[free]):
            self._put(int(at) + 1, free & (self.barrier == at))
        self.at_barrier &= ~free
        t.waited(free, whole_block=True)

    def together(self, step: Step, at: int, who: np.ndarray) -> None:
        parked = self.parked.pop(at, None)
        who = who if parked is None else who | parked
        complete = self._complete(step, who)
        if complete.any():
            step.run(self.t, True if complete.all() else complete)  # type: ignore[misc]
            self._put(at + 1, complete)
        rest = who & ~complete
        if rest.any():
            self.parked[at] = rest

    def _complete(self, step: Step, who: np.ndarray) -> np.ndarray:
        """Those of whose mask all have come that are not gone."""
        t = self.t
        bit = np.uint32(1) << t.in_warp.astype("u4")
        mask = np.broadcast_to(t.rows["u32"][step.row], t.count)
        if (who & (mask & bit == 0)).any():
            raise Fault("use", "a thread that its own mask does not name")
        come = np.zeros(t.warps, np.uint32)
        np.bitwise_or.at(come, t.warp[who], bit[who])
        left = np.zeros(t.warps, np.uint32)
        there = ~self.gone
        np.bitwise_or.at(left, t.warp[there], bit[there])
        return who & (mask & left[t.warp] & ~come[t.warp] == 0)

    def _unpark(self) -> None:
        """Threads that waited for those that are gone now may go on."""
        for at in [*self.parked]:
            self._put(at, self.parked.pop(at))


CONTROL = {
    "branch": _Run.branch,
    "switch": _Run.switch,
    "call": _Run.call,
    "return": _Run.back,
    "exit": _Run.exit,
    "trap": _Run.trap,
    "barrier": _Run.wait,
    "warp": _Run.together,
}
__all__ = ["WARP", "Fault", "Machine", "Refused"]
