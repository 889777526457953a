"""A device in use: its memory, and what it was told to do, to name the kernel of a fault.

A device does its work after it was told to, and says that something failed when it is next waited
for.  Until then it is remembered what was put on its queue.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from graphc import errors
from graphc.runtime.cuda.code import Code, lines_of
from graphc.runtime.cuda.device import CannotRecord, Device, Fault, OutOfMemory
from graphc.runtime.cuda.memory import Block, Pool
from graphc.runtime.program import Call, Item, parts

REMEMBERED = 64
"""So many straight runs at most."""
SHOWN = 4
"""So many kernels are named; which of them it was a device does not say."""


class Session:
    """A device, the pool of its memory, and the lock that keeps the work of one step together."""

    def __init__(self, device: Device):
        self.device = device
        self.pool = Pool(device)
        self.lock = threading.RLock()
        self._steps = 0
        """How many steps are in the middle of their work."""
        self._own = threading.local()
        """How many times this thread holds the lock for them: `count`."""
        self._shared: Block | None = None
        self._running: deque[tuple[Sequence[Item], Code]] = deque(maxlen=REMEMBERED)

    @property
    def is_lost(self) -> bool:
        return self.device.is_lost

    @property
    def is_busy(self) -> bool:
        """Whether a step is in the middle of its work: the device may be lent by it."""
        return self._steps > 0

    def shared(self, nbytes: int) -> Block:
        """Memory that holds nothing from one step to the next: all have the same.

        Steps run one after the other, so that a large one and a small one after it need no more
        than the large one.  Who was given a smaller block before keeps it.
        """
        if self._shared is None or self._shared.size < nbytes:
            self._shared = self.pool.take(nbytes)
        return self._shared

    @contextmanager
    def working(self) -> Iterator[bool]:
        """The block is one step's work, alone on the device; it is told whether another's is not
        done, which has lent it the device.

        Raises `errors.DeviceFaultError`.
        """
        with self.lock, self.reporting():
            self._count(1)
            try:
                yield self._steps > 1
            finally:
                self._count(-1)

    def _count(self, change: int) -> None:
        self._steps += change
        self._own.count = getattr(self._own, "count", 0) + change

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Other threads may use the device in the block: this one's step calls a function, which
        may wait for one of them."""
        held, self._own.count = self._own.count, 0
        for _ in range(held):
            self.lock.release()
        try:
            yield
        finally:
            for _ in range(held):
                self.lock.acquire()
            self._own.count = held

    @contextmanager
    def running(self, items: Sequence[Item], code: Code) -> Iterator[None]:
        """What the block puts on the queue are these items.

        Raises `errors.DeviceFaultError`, and lets `CannotRecord` and `OutOfMemory` through.
        """
        try:
            yield
        except CannotRecord:
            raise
        except Fault as fault:
            raise self.error(fault, [(items, code)]) from None
        self.note(items, code)

    def note(self, items: Sequence[Item], code: Code) -> None:
        """These items are on the queue: one of them may be what fails."""
        self._running.append((items, code))

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Whatever of the device fails in the block is an `errors.DeviceFaultError`, or an
        `errors.DeviceMemoryError`."""
        try:
            yield
        except OutOfMemory:
            raise self.pool.full("no memory for this") from None
        except Fault as fault:
            raise self.error(fault, self._ran()) from None

    def read(self, array: np.ndarray, address: int) -> None:
        """Fill a contiguous array from the device, once all work is done.

        Raises `errors.DeviceFaultError` where some of it was not.
        """
        with self.waiting():
            self.device.download(array, address)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for the queue."""
        try:
            yield
        except OutOfMemory:
            raise self.pool.full("no memory to wait for its work") from None
        except Fault as fault:
            raise self.error(fault, self._ran()) from None
        self._running.clear()

    def _ran(self) -> Sequence[tuple[Sequence[Item], Code]]:
        """What may be on the queue: a copy, because other threads go on putting work there."""
        return self._running.copy()

    def error(
        self, fault: Fault, ran: Sequence[tuple[Sequence[Item], Code]]
    ) -> errors.DeviceFaultError:
        """The exception for a fault that one of the kernels of these items met."""
        calls = {id(call): (call, code) for items, code in ran for call in _calls(items)}
        first = next((line for call, _ in calls.values() for line in lines_of(call)), None)
        named = list(dict.fromkeys(_named(call, code) for call, code in calls.values()))
        shown = named[:SHOWN]
        if len(named) > SHOWN:
            shown.append(f"{len(named) - SHOWN} more")
        where = f" in {'one of ' * (len(named) > 1)}{', '.join(shown)}" if named else ""
        return errors.DeviceFaultError(
            f"{self.device.name}: {fault}{where}; arrays of this device may hold anything now, so"
            " make them again.  CUDA_LAUNCH_BLOCKING=1 has the driver wait for each kernel, which"
            " names it",
            first,
        )


def _calls(items: Sequence[Item]) -> Iterator[Call]:
    for item in items:
        if isinstance(item, Call):
            yield item
        for part in parts(item):
            yield from _calls(part)


def _named(call: Call, code: Code) -> str:
    functions = code.functions(call)
    name = functions[0].name if functions else call.kernel.name
    lines = ", ".join(map(str, lines_of(call)))
    return f"kernel {name} ({lines})" if lines else f"kernel {name}"
