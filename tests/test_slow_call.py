"""The call in Python: which arguments that are assigned to share memory with others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphc import errors, slow_call
from graphc.slow_call import expect_apart


def overlaps(updated: set[int], leaves: list[object]) -> str:
    """The message, "" where there is nothing to say."""
    names = [f"a{i}" for i in range(len(leaves))]
    try:
        expect_apart(updated, leaves, names)
    except errors.OverlapError as error:
        return str(error)
    return ""


def test_each_two_arrays_that_share_memory_are_found_where_one_is_assigned_to() -> None:
    memory = np.zeros(64)
    places = [(0, 8), (4, 12), (8, 16), (30, 40), (20, 60), (62, 64), (16, 16)]
    views = [memory[low:high] for low, high in places]
    for i, j in itertools.combinations(range(len(views)), 2):
        (low, high), (start, end) = places[i], places[j]
        is_shared = max(low, start) < min(high, end)
        apart = np.zeros(3)
        for updated, said in (({0}, "a0"), ({2}, "a2"), ({0, 2}, "a0")):
            message = overlaps(updated, [views[i], apart, views[j], 1.5, "text"])
            assert bool(message) is is_shared
            assert not is_shared or f"{said} is assigned to in place" in message
        assert not overlaps({1}, [views[i], apart, views[j]])


def test_interleaved_elements_and_the_same_array_are_no_overlap() -> None:
    memory = np.zeros((4, 6))
    assert not overlaps({0}, [memory[:, ::2], memory[:, 1::2]])
    assert overlaps({0}, [memory[:, ::2], memory[:, ::3]])
    assert overlaps({1}, [memory[::-1], memory[2]])
    assert not overlaps({0}, [memory, memory])


def test_arrays_far_apart_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = np.zeros(4000)
    compared: list[int] = []
    monkeypatch.setattr(
        slow_call.np, "may_share_memory", lambda *_, **__: compared.append(1) and False
    )
    leaves = [memory[4 * i : 4 * i + 4] for i in range(1000)]
    assert not overlaps(set(range(1000)), leaves[::-1]) and not compared
    assert not overlaps({0}, [memory[:5], *leaves[1:]]) and len(compared) == 1
