"""One run of a step on a device: the pieces of its program, in order.

A straight run is launched kernel by kernel the first time that it sees its memory, is recorded the
second time, and replayed from then on.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc import errors
from graphc.runtime.cuda.call import NUMBER_BYTES, Memory
from graphc.runtime.cuda.code import Code, Prepared, element_bytes
from graphc.runtime.cuda.device import CannotRecord, OutOfMemory
from graphc.runtime.cuda.outside import call_outside
from graphc.runtime.cuda.pieces import Chosen, Decided, Piece, Repeated, Straight
from graphc.runtime.cuda.recordings import Addresses, Recorded, Recordings
from graphc.runtime.cuda.session import Session
from graphc.runtime.cuda.tape_memory import TapeMemory, WrongRecord
from graphc.runtime.failures import failure
from graphc.runtime.llvm.emit_tapes import WRONG_RECORD
from graphc.runtime.plan import Arena
from graphc.runtime.program import (
    Branch,
    Call,
    Fail,
    Foreign,
    Item,
    Place,
    Pop,
    Program,
    Push,
    Repeat,
    Root,
)


class Loaded(NamedTuple):
    """A step on one device: its functions by name, its memory, what was recorded of it."""

    session: Session
    functions: dict[str, Any]
    memory: Memory
    recordings: dict[Straight, Recordings]


class Runner:
    """Runs the pieces of a program with given addresses of its arguments and results."""

    def __init__(
        self, program: Program, plan: Arena, code: Code, loaded: Loaded, outside: Addresses
    ):
        self.program = program
        self.plan = plan
        self.code = code
        self.session = loaded.session
        self.device = loaded.session.device
        self.functions = loaded.functions
        self.memory = loaded.memory
        self.recordings = loaded.recordings
        self.addresses = outside
        self.tapes = TapeMemory(loaded.session)
        self.is_one_run = False

    def run(self, pieces: Sequence[Piece]) -> None:
        """Everything.  Raises what a failed check says, and `errors.DeviceFaultError`."""
        self.is_one_run = len(pieces) == 1
        self.pieces(pieces)
        self.stop_if_failed()

    def pieces(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            match piece:
                case Straight():
                    self.straight(piece)
                case Decided():
                    self.decided(piece)
                case Chosen():
                    self.choose(piece)
                case Repeated():
                    self.repeat(piece)
                case _:
                    self.stop_if_failed()
                    self.apart(piece)

    # ---- where things are ------------------------------------------------------------------------

    def address(self, root: Root) -> int:
        known = self.addresses.get(root)
        if known is not None:
            return known
        if root.kind == "arena":
            return self.memory.arena + self.plan.offsets[root]
        assert root.kind == "constant", f"{root} has no memory here"
        return self.memory.constants[root.number]

    def place(self, place: Place) -> int:
        return self.address(place.root) + int(place.layout.offset) * itemsize(place.root)

    # ---- straight runs ---------------------------------------------------------------------------

    def straight(self, piece: Straight) -> None:
        if (piece.calls < 2 and not self.is_one_run) or not self.replayed(piece):
            self.directly(piece.items)

    def decided(self, piece: Decided) -> None:
        """A run in which the device decides, if it does; the host where it is not recorded.

        A loop is recorded at once: the host would wait for the device in each turn.
        """
        is_known = self.device.decides and self.replayed(piece.run, True, piece.has_loop)
        if not is_known:
            self.pieces(piece.apart)

    def replayed(self, run: Straight, decides: bool = False, at_once: bool = False) -> bool:
        """Whether a run was recorded for where its memory is, now or before, and was replayed."""
        known = self.recordings.setdefault(run, Recordings())
        key = tuple([self.address(root) for root in run.moving])
        found = known.find(key)
        if found is None and known.is_due(key, at_once):
            found = self.record(run, known, decides)
            if found is not None:
                known.keep(key, found)
        if found is None:
            return False
        with self.session.running(run.items, self.code):
            self.device.replay(found.recording)
        self.addresses.update(found.sets)
        return True

    def record(self, run: Straight, known: Recordings, decides: bool) -> Recorded | None:
        """The run for these addresses; None where that cannot be recorded, now and later."""
        try:
            return self.session.pool.with_room(
                lambda: self._record(run, decides), "no memory to record"
            )
        except errors.DeviceMemoryError:
            why = "the device has no memory for that"
        except CannotRecord as refusal:
            why = str(refusal)
        known.is_refused = True
        what = "waits for decisions of the host" if decides else "is launched kernel by kernel"
        warnings.warn(
            f"a step of {run.calls} kernels {what}: it cannot be recorded ({why})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None

    def _record(self, piece: Straight, decides: bool) -> Recorded:
        before = dict(self.addresses)
        try:
            with (
                self.session.running(piece.items, self.code),
                self.device.record(decides) as recording,
            ):
                self.directly(piece.items)
        except (CannotRecord, OutOfMemory):
            self.addresses = before
            raise
        sets = {root: self.addresses[root] for root in piece.sets if root in self.addresses}
        return Recorded(recording[0], sets)

    def directly(self, items: Sequence[Item]) -> None:
        for item in items:
            match item:
                case Call():
                    self.call(item)
                case Fail():
                    self.check(item)
                case Repeat(predicate=None):
                    self.count(item, lambda repeat: self.directly(repeat.body))
                case Branch():
                    self.record_branch(item)
                case Repeat():
                    self.record_loop(item)

    def record_branch(self, branch: Branch) -> None:
        """Both sides of a conditional, of which the device will choose one."""
        at = self.place(branch.predicate)
        sides = [
            functools.partial(self.directly, side) if side else None
            for side in (branch.then, branch.otherwise)
        ]
        self.device.choose(at, self.status_or_zero, *sides)

    def record_loop(self, repeat: Repeat) -> None:
        """A turn of a loop, which the device will repeat: the test comes before the first, too."""
        assert repeat.predicate is not None
        self.directly(repeat.test)
        turn = functools.partial(self.directly, (*repeat.body, *repeat.test))
        self.device.repeat(self.place(repeat.predicate), self.status_or_zero, turn)

    @property
    def status_or_zero(self) -> int:
        """Where a number is that is 0 as long as no check has failed."""
        return self.memory.status if self.code.has_status else self.memory.numbers

    def call(self, call: Call) -> None:
        """Launch what a kernel became, one function after the other."""
        pointers = [self.address(root) for root in call.roots]
        with self.session.running((call,), self.code):
            self.launch(self.code.launches[id(call)], pointers)

    def launch(self, prepared: Prepared, pointers: Sequence[int]) -> None:
        pointers = [*pointers, self.memory.workspace]
        if prepared.product is not None and self.device.multiply(prepared.product, pointers):
            if prepared.rest is not None:
                self.launch(prepared.rest, pointers)
            return
        if self.code.has_status:
            pointers.append(self.memory.status)
        for function in prepared.functions:
            given = function.given(pointers), function.given(prepared.sizes)
            self.device.launch(self.functions[function.name], function, *given)

    # ---- checks ----------------------------------------------------------------------------------

    def check(self, fail: Fail) -> None:
        """Note on the device whether the check failed, if none has before."""
        number = self.memory.numbers + NUMBER_BYTES * (fail.number + 1)
        status = self.memory.status
        pointers = [self.place(fail.failed), self.place(fail.value), number, status]
        with self.session.running((), self.code):
            self.launch(self.code.check, pointers)

    def stop_if_failed(self) -> None:
        """Raise the exception of the first check that failed, waiting for the device to know."""
        if not self.code.has_status:
            return
        status = np.empty(2, np.int64)
        self.session.read(status, self.memory.status)
        if status[0]:
            raise failure(self.program, int(status[0]), int(status[1]))

    # ---- conditionals ----------------------------------------------------------------------------

    def holds(self, predicate: Place) -> bool:
        answer = np.empty(1, np.uint8)
        self.session.read(answer, self.place(predicate))
        self.stop_if_failed()
        return bool(answer[0])

    def choose(self, chosen: Chosen) -> None:
        branch = chosen.branch
        is_then = self.holds(branch.predicate)
        self.pieces(chosen.then if is_then else chosen.otherwise)
        for choice in branch.choices:
            root, offset = choice.then if is_then else choice.otherwise
            self.addresses[choice.root] = self.address(root) + int(offset) * itemsize(root)

    # ---- loops -----------------------------------------------------------------------------------

    def repeat(self, repeated: Repeated) -> None:
        repeat = repeated.repeat
        if repeat.predicate is None:
            self.count(repeat, lambda _: self.body(repeated))
        else:
            self.loop(repeat, lambda: self.enters(repeated), lambda: self.body(repeated))

    def enters(self, repeated: Repeated) -> bool:
        assert repeated.repeat.predicate is not None
        self.pieces(repeated.test)
        return self.holds(repeated.repeat.predicate)

    def body(self, repeated: Repeated) -> None:
        mark = self.tapes.mark()
        self.pieces(repeated.body)
        if repeated.repeat.is_forgetful:
            self.tapes.release(mark)

    def count(self, repeat: Repeat, body: Callable[[Repeat], None]) -> None:
        """Run the body `length` times, with the slices of each iteration."""
        indices = iter(range(repeat.length)[::-1] if repeat.reverse else range(repeat.length))

        def enters() -> bool:
            index = next(indices, None)
            if index is not None:
                self.point(repeat, index)
            return index is not None

        self.loop(repeat, enters, lambda: body(repeat))

    def point(self, repeat: Repeat, index: int) -> None:
        """Point the counter and the slices at what they are in this iteration."""
        if repeat.counter is not None:
            self.addresses[repeat.counter] = self.memory.numbers + NUMBER_BYTES * index
        for part in repeat.slices:
            elements = int(part.offset) + index * int(part.step)
            whole = self.address(part.whole)
            self.addresses[part.root] = whole + elements * itemsize(part.root)

    def loop(self, repeat: Repeat, enters: Callable[[], bool], body: Callable[[], None]) -> None:
        """Repeat; the blocks take turns.  Afterwards each of the results has an address."""
        outside = dict(self.addresses)
        current = [self.address(block) for block in repeat.blocks]
        while True:
            self.addresses.update(zip(repeat.blocks, current, strict=True))
            if not enters():
                break
            body()
            current = [self.address(root) for root in repeat.following]
        self.addresses = outside
        last = dict(zip(repeat.blocks, current, strict=True))
        self.addresses.update((root, last[block]) for root, block in repeat.results)

    # ---- what the host takes part in -------------------------------------------------------------

    def apart(self, item: Item) -> None:
        match item:
            case Push():
                values = [self.place(value) for value in item.values]
                self.tapes.push(item, self.place(item.tape), values, self.address(item.out))
            case Pop():
                self.pop(item)
            case Foreign():
                operands = [self.place(place) for place in item.operands]
                results = [self.place(place) for place in item.results]
                status = call_outside(self.session, item, operands, results)
                if status:
                    raise failure(self.program, item.number + 1, status)
            case Call():
                kernel = self.code.processor[id(item)]
                places = [self.address(part.root) for part in kernel.parts]
                kernel.run(places, self.session.read, self.device.upload)

    def pop(self, pop: Pop) -> None:
        try:
            places = self.tapes.pop(pop, self.place(pop.tape), self.address(pop.out))
        except WrongRecord:
            raise failure(self.program, WRONG_RECORD, None) from None
        self.addresses.update(places)


def itemsize(root: Root) -> int:
    return element_bytes(root.dtype)
