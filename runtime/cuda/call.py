"""One call of a step on a device: where its arguments and results are.

Recordings hold for the addresses that they were made with.  So that these are the same from one
call to the next, each large argument that comes from this machine and each large result has a
`Slot`.  What is small (a learning rate, a loss) is used where it is as long as there are few such
places, and passes through boxes of the step's own otherwise: what becomes of the loss of one step
does not matter to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import Type
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.code import STATUS_BYTES, Code, all_items
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.memory import Block, Slot, rounded
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.session import Session
from graphc.runtime.program import Fail, Program, Repeat, Root

SMALL = 64
"""Bytes up to which a value passes through a box."""
NUMBER_BYTES = VECTOR_BYTES
"""The numbers in `Memory.numbers` are so far apart: each is where an argument might be."""


FEW_PLACES = 4
"""So many places a small argument may be read at."""


class Box(NamedTuple):
    """One block for small values, each at an offset of its own."""

    offsets: dict[Root, int]
    nbytes: int


def make_box(roots: Sequence[Root], start: int = 0) -> Box:
    offsets, at = {}, start
    for root in roots:
        if root.nbytes <= SMALL:
            offsets[root] = at
            at += -(-max(root.nbytes, 1) // VECTOR_BYTES) * VECTOR_BYTES
    return Box(offsets, at)


class Memory:
    """What a step keeps on the device between calls.

    arena, workspace  of its kernels: memory that all steps share, unless it is not `shared`
    constants         one block for each
    numbers           the address of 0, 1, 2, ..., `NUMBER_BYTES` apart: counters of loops, the
                      numbers of checks, a status of steps without checks
    inbox, outbox     small arguments and results; the inbox begins with the status of checks
    movable           the small arguments that may be moved to the inbox from the device, too
    slots             of the large arguments and results; `small` is that of all small results
    where             for each result: in which of `blocks_of_results`, and how many bytes into it
    """

    def __init__(
        self,
        session: Session,
        program: Program,
        code: Code,
        arena_bytes: int,
        shared: bool = True,
    ):
        pool = session.pool
        workspace = rounded(arena_bytes)
        take = session.shared if shared else pool.take
        results = [root for root in program.results if root is not None]
        self.in_box = make_box(program.arguments, STATUS_BYTES)
        self.out_box = make_box(results)
        self.blocks = [
            take(workspace + code.workspace_bytes),
            pool.take(self.in_box.nbytes),
            pool.take(self.out_box.nbytes),
            uploaded(session, numbers(program)),
        ]
        places = [block.address for block in self.blocks]
        self.arena, self.inbox, self.outbox, self.numbers = places
        self.workspace = self.arena + workspace
        self.status = self.inbox
        self.held = [uploaded(session, dense.array) for dense in program.constants]
        self.constants = [block.address for block in self.held]
        large = [r for r in (*program.arguments, *results) if r.nbytes > SMALL]
        self.arguments = program.arguments
        small = [root for root in program.arguments if root in self.in_box.offsets]
        self.movable = frozenset(r for r in small if r.nbytes and r.number not in program.updated)
        self.slots = {root: Slot(pool, int(root.nbytes)) for root in large}
        self.small = Slot(pool, self.out_box.nbytes) if self.out_box.nbytes else None
        self.results = results
        self.where = self._places(results)
        self.sent: bytes | None = None
        """What the inbox holds, if that is what it was last sent."""
        is_written = any(root.number in program.updated for root in small) or program.checks
        self.keeps_inbox = not is_written
        self._known: dict[Root, set[int]] = {root: set() for root in small}

    def _places(self, results: Sequence[Root]) -> dict[Root, tuple[int, int]]:
        count = int(bool(self.out_box.nbytes))
        places: dict[Root, tuple[int, int]] = {}
        for root in results:
            offset = self.out_box.offsets.get(root)
            places[root] = (count, 0) if offset is None else (0, offset)
            count += offset is None
        return places

    def blocks_of_results(self) -> list[Block] | None:
        """Blocks for results, that of the small ones first; None where these are to be copied."""
        blocks: list[Block] = []
        if self.small is not None:
            small = self.small.take_known()
            if small is None:
                return None
            blocks.append(small)
        blocks += [self.slots[root].take() for root in self.results if root in self.slots]
        return blocks

    def is_direct(self, root: Root, address: int) -> bool:
        """Whether a small argument of the device is read where it is: at one of a few places."""
        known = self._known[root]
        if address not in known and len(known) < FEW_PLACES:
            known.add(address)
        return address in known

    def send(self, device: Device, inbox: bytes) -> None:
        """Copy the small arguments of this machine to the device, if they are not there."""
        if inbox != self.sent:
            self.sent = None
            device.upload(self.inbox, np.frombuffer(inbox, np.uint8))
            self.sent = inbox if self.keeps_inbox else None


def uploaded(session: Session, array: np.ndarray) -> Block:
    """A block that holds what an array does."""
    block = session.pool.take(array.nbytes)
    if array.size:
        session.device.upload(block.address, np.ascontiguousarray(array))
    return block


def numbers(program: Program) -> np.ndarray:
    """0, 1, 2, ..., as many as counters and checks need, one every `NUMBER_BYTES`: at least 0."""
    items = list(all_items(program.items))
    lengths = [i.length for i in items if isinstance(i, Repeat) and i.counter is not None]
    checks = 1 + len(program.checks) if any(isinstance(i, Fail) for i in items) else 0
    table = np.zeros((max([*lengths, checks, 1]), NUMBER_BYTES // 8), np.int64)
    table[:, 0] = np.arange(len(table))
    return table


class Copy(NamedTuple):
    """So many bytes from one place of the device to another."""

    target: int
    source: int
    nbytes: int


class Given:
    """The arguments of one call, on the device."""

    def __init__(
        self,
        session: Session,
        memory: Memory,
        program: Program,
        arguments: Sequence[np.ndarray | DeviceArray],
    ):
        self.session = session
        self.memory = memory
        self.arguments = arguments
        self.addresses: dict[Root, int] = {}
        self.blocks: list[Block] = []
        self.inbox = bytearray(memory.in_box.nbytes)
        self.is_used = bool(program.checks)
        moved: dict[Root, Copy] = {}
        for root, array in zip(program.arguments, arguments, strict=True):
            if not isinstance(array, DeviceArray):
                self.bring(root, array)
            elif self.is_read_there(root, array):
                self.addresses[root] = array.address
            else:
                moved[root] = self.move(root, array)
        if self.is_used:
            memory.send(session.device, bytes(self.inbox))
        if not moved.keys().isdisjoint(memory.in_box.offsets):
            memory.sent = None  # what was sent to these places is not there any more
        for target, source, nbytes in moved.values():
            session.device.copy(target, source, nbytes)

    def is_read_there(self, root: Root, array: DeviceArray) -> bool:
        """Whether code can read an array of the device where it is, and recordings are for that."""
        if array.address % VECTOR_BYTES:
            return False
        return root not in self.memory.movable or self.memory.is_direct(root, array.address)

    def bring(self, root: Root, array: np.ndarray) -> None:
        """Copy an array of this machine; a small one into the inbox, which is copied as a whole."""
        offset = self.memory.in_box.offsets.get(root)
        if offset is None:
            self.addresses[root] = self.slot(root)
            self.session.device.upload(self.addresses[root], array)
        else:
            self.is_used = True
            self.inbox[offset : offset + array.nbytes] = array.tobytes()
            self.addresses[root] = self.memory.inbox + offset

    def move(self, root: Root, array: DeviceArray) -> Copy:
        """The copy of an array of the device to where code can read it: what is small may lie
        anywhere next time, and another library's array may begin at any address."""
        offset = self.memory.in_box.offsets.get(root)
        here = self.slot(root) if offset is None else self.memory.inbox + offset
        self.addresses[root] = here
        return Copy(here, array.address, array.nbytes)

    def slot(self, root: Root) -> int:
        block = self.memory.slots[root].take()
        self.blocks.append(block)
        return block.address

    def bring_back(self, updated: Iterable[int]) -> None:
        """Copy what was assigned to arrays that lie elsewhere."""
        for number in updated:
            root = self.memory.arguments[number]
            if not root.nbytes:
                continue
            address = self.addresses[root]
            array = self.arguments[number]
            if isinstance(array, np.ndarray):
                self.session.read(array, address)
            elif array.address != address:
                self.session.device.copy(array.address, address, array.nbytes)


class Made:
    """The results of one call, on the device."""

    def __init__(self, session: Session, memory: Memory, results: Sequence[Root]):
        self.session = session
        self.memory = memory
        self.results = results
        self.addresses: dict[Root, int] = {}
        self.blocks: dict[Root, Block] = {}
        self.small = None if memory.small is None else memory.small.take_known()
        outbox = memory.outbox if self.small is None else self.small.address
        for root in results:
            offset = memory.out_box.offsets.get(root)
            if offset is None:
                self.blocks[root] = memory.slots[root].take()
                self.addresses[root] = self.blocks[root].address
            else:
                self.addresses[root] = outbox + offset

    def arrays(self, types: Sequence[Type]) -> list[DeviceArray]:
        """The results as arrays of these types, the small ones out of their box."""
        box = self.memory.out_box
        small: Any = self.small
        if box.nbytes and small is None:
            small = self.session.pool.take(box.nbytes)
            self.session.device.copy(small.address, self.memory.outbox, box.nbytes)
        found = []
        for root, type in zip(self.results, types, strict=True):
            if root in self.blocks:
                owner, address = self.blocks[root], self.blocks[root].address
            else:
                owner, address = small, small.address + box.offsets[root]
            found.append(DeviceArray(self.session, address, type.shape, type.numpy_dtype, owner))
        return found
