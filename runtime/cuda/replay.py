"""A step that is one run, called again with memory that it was recorded for: one launch.

What such a call takes is looked up, not worked out: the key of a recording says where everything
lies, so that a call that has it needs no other preparation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphc.ir import Type
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.device import Fault, OutOfMemory
from graphc.runtime.cuda.memory import Block
from graphc.runtime.cuda.pieces import Decided, Straight
from graphc.runtime.cuda.recordings import Recordings
from graphc.runtime.cuda.session import Session

if TYPE_CHECKING:
    from graphc.runtime.cuda.step import CudaStep


def make_replay(step: CudaStep, types: Sequence[Type], session: Session) -> Replay | None:
    """What calls the loaded step `step` by its recordings; None where a call takes more than that:
    the host takes part, or has to be told of checks that failed."""
    if len(step.pieces) != 1 or step.code.has_status:
        return None
    (piece,) = step.pieces
    run = piece.run if isinstance(piece, Decided) else piece
    return Replay(step, run, types, session) if isinstance(run, Straight) else None


class Replay:
    """The calls of a step on one device that need no more than a recording."""

    def __init__(self, step: CudaStep, run: Straight, types: Sequence[Type], session: Session):
        loaded = step.on(session)
        self.session = session
        self._memory = memory = loaded.memory
        self._functions = loaded.functions  # what recordings launch is there as long as these are
        self._device = session.device
        self._recordings = loaded.recordings.setdefault(run, Recordings())
        self._run = run.items, step.code
        count = len(memory.arguments)
        numbers = {root: count + i for i, root in enumerate(memory.results)}
        numbers |= {root: i for i, root in enumerate(memory.arguments)}
        self._order = [numbers[root] for root in run.moving]
        self._made = [
            (*memory.where[root], type.shape, type.numpy_dtype)
            for root, type in zip(memory.results, types, strict=True)
        ]

    def place_of_number(self, argument: int) -> int:
        """Where an argument is read that is a number of this machine."""
        memory = self._memory
        return memory.inbox + memory.in_box.offsets[memory.arguments[argument]]

    def packed(self, arrays: Mapping[int, np.ndarray]) -> bytes:
        """What the inbox holds with these arguments, and no others of this machine."""
        memory = self._memory
        inbox = bytearray(memory.in_box.nbytes)
        for argument, array in arrays.items():
            start = memory.in_box.offsets[memory.arguments[argument]]
            inbox[start : start + array.nbytes] = array.tobytes()
        return bytes(inbox)

    def __call__(self, places: list[int], inbox: bytes | None) -> list[DeviceArray] | None:
        """The results for arguments at these addresses; None where there is no recording for that.

        inbox  the bytes of the numbers among the arguments, where there are any
        """
        session = self.session
        with session.lock:
            try:
                blocks = None if session.is_busy else self._launched(places, inbox)
            except OutOfMemory:
                raise session.pool.full("no memory for this") from None
            except Fault as fault:
                raise session.error(fault, [self._run]) from None
            if blocks is None:
                return None
            session.note(*self._run)
        return [
            DeviceArray(session, blocks[i].address + offset, shape, dtype, blocks[i])
            for i, offset, shape, dtype in self._made
        ]

    def _launched(self, places: list[int], inbox: bytes | None) -> list[Block] | None:
        """The blocks that will hold the results; None where nothing was launched."""
        blocks = self._memory.blocks_of_results()
        if blocks is None:
            return None
        places += [blocks[i].address + offset for i, offset, _, _ in self._made]
        found = self._recordings.again(tuple([places[i] for i in self._order]))
        if found is None:
            return None
        if inbox is not None:
            self._memory.send(self._device, inbox)
        self._device.replay(found.recording)
        return blocks
