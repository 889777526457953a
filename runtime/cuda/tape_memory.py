"""Tapes on a device: what loops of unknown length keep for their gradients.

The host puts each record in a block of memory of its own and remembers which there are; a record
begins with the address of the one below.  A tape is the address of its last record, in the memory
of the device like every other value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphc.dims import Size
from graphc.runtime.cuda.memory import Block
from graphc.runtime.cuda.plan.device_kernel import ALIGNMENT, aligned
from graphc.runtime.cuda.session import Session
from graphc.runtime.program import Pop, Push, Root


class WrongRecord(Exception):
    """A pop from a tape that has no record of that kind on top."""


class _Record(NamedTuple):
    block: Block
    kind: int


class TapeMemory:
    """The records of one run of a step."""

    def __init__(self, session: Session):
        self._session = session
        self._device = session.device
        self._records: dict[int, _Record] = {}

    def push(self, push: Push, tape: int, values: list[int], out: int) -> None:
        """Write a record of what lies at `values` and store its address at `out`."""
        offsets, size = _offsets(push.sizes)
        block = self._session.pool.take(size)
        self._records[block.address] = _Record(block, push.kind)
        self._device.copy(block.address, tape, _ADDRESS)
        for value, offset, nbytes in zip(values, offsets, push.sizes, strict=True):
            if nbytes:
                self._device.copy(block.address + offset, value, int(nbytes))
        self._device.upload(out, np.array([block.address], np.int64))

    def pop(self, pop: Pop, tape: int, out: int) -> dict[Root, int]:
        """Where the values of the last record lie; the tape below it is stored at `out`."""
        top = np.empty(1, np.int64)
        self._session.read(top, tape)
        address = int(top[0])
        record = self._records.get(address)
        if record is None or record.kind != pop.kind:
            raise WrongRecord
        self._device.copy(out, address, _ADDRESS)
        offsets, _ = _offsets(pop.sizes)
        places = zip(pop.values, offsets, strict=True)
        return {root: address + offset for root, offset in places}

    def mark(self) -> int:
        """How many records there are, to be told to `release`."""
        return len(self._records)

    def release(self, mark: int) -> None:
        """Let go of the records that were made since `mark`: nobody will read them."""
        while len(self._records) > mark:
            self._records.popitem()


_ADDRESS = 8
"""Bytes of an address, which is how a record begins."""


def _offsets(sizes: tuple[Size, ...]) -> tuple[list[int], int]:
    """Where each value of a record lies, and the size of the whole."""
    offsets, at = [], ALIGNMENT
    for size in sizes:
        offsets.append(at)
        at += aligned(int(size))
    return offsets, at
