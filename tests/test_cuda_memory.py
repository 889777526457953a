"""Memory of a device: blocks are used again, by who had them, and given back when there is none."""

from __future__ import annotations

import pytest

from graphc import errors
from graphc.runtime.cuda import memory
from graphc.runtime.cuda.emulated.host import HostDevice
from graphc.runtime.cuda.memory import Pool, Slot, rounded
from graphc.runtime.cuda.plan.device_kernel import ALIGNMENT


def test_a_block_is_used_again_once_nobody_holds_it():
    pool = Pool(HostDevice())
    first = pool.take(1000)
    second = pool.take(1000)
    assert first.address != second.address
    address = first.address
    del first
    assert pool.take(1000).address == address
    assert pool.bytes_used == rounded(1000)


def test_another_size_gets_other_memory():
    device = HostDevice()
    pool = Pool(device)
    address = pool.take(1000).address
    assert pool.take(100_000).address != address
    assert len(device.blocks) == 2


def test_a_slot_gets_what_it_had_whatever_else_is_free():
    """Two results of one size keep their two places each, in whatever order they are let go."""
    pool = Pool(HostDevice())
    slots = [Slot(pool, 4096), Slot(pool, 4096)]
    held = [slot.take() for slot in slots]
    places = []
    for turn in range(6):
        made = [slot.take() for slot in slots]
        places.append([block.address for block in made])
        for i in (0, 1) if turn % 2 else (1, 0):
            held[i] = made[i]
        del made
    assert places[2:4] == places[4:6]
    assert all(a != b for a, b in places)


def test_without_room_idle_blocks_are_given_back():
    pool = Pool(HostDevice(limit=1 << 20))
    del [pool.take(700_000)][:]
    assert pool.bytes_idle == rounded(700_000)
    kept = pool.take(900_000)
    assert pool.bytes_idle == 0
    with pytest.raises(errors.DeviceMemoryError, match=r"no \d+ bytes left .*donate") as caught:
        pool.take(500_000)
    assert isinstance(caught.value, MemoryError)
    del kept
    assert pool.take(500_000).size >= 500_000


@pytest.mark.parametrize("nbytes", [0, 1, 255, 256, 257, 4097, 10**6, 10**9 + 1])
def test_a_block_is_hardly_larger_than_asked_for(nbytes):
    size = rounded(nbytes)
    assert size % ALIGNMENT == 0
    assert nbytes <= size <= max(nbytes * 9 / 8, ALIGNMENT) + ALIGNMENT


def test_a_block_may_outlive_the_modules_of_a_process(monkeypatch):
    """What is let go last of all finds the names of its module gone."""
    pool = Pool(HostDevice())
    block = pool.take(1000)
    monkeypatch.setattr(memory, "sys", None)
    block.__del__()
    assert pool.bytes_idle == rounded(1000)
