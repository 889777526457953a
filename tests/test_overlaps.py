"""The check that no updated argument shares memory with another one: all pairs, and only pairs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors


def descend(weights: list[Any], gradients: list[Any]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight -= 0.5 * gradient


def arrays(count: int, size: int = 5) -> list[np.ndarray]:
    return [np.ones(size) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])  # less and more than vectors have lanes
def test_each_pair_that_overlaps_is_found(count: int) -> None:
    step = gc.compile(descend)
    for first, second in itertools.product(range(count), range(2 * count)):
        if first == second:
            continue
        leaves = arrays(2 * count)
        memory = np.ones(12)
        leaves[first], leaves[second] = memory[:5], memory[4:9]
        with pytest.raises(errors.OverlapError):
            step(leaves[:count], leaves[count:])
        assert (memory == 1.0).all()


def test_neighbours_do_not_overlap() -> None:
    step = gc.compile(descend)
    memory = np.ones(20)
    for _ in range(2):
        step([memory[5:10], memory[15:]], [memory[:5], memory[10:15]])
    assert (memory == np.repeat([1.0, 0.0, 1.0, 0.0], 5)).all()


def test_sizes_with_names_are_read_where_the_step_runs() -> None:
    step = gc.compile(descend)
    for size in (5, 7, 11):
        step(arrays(3, size), arrays(3, size))
    step([np.ones(13)], [np.ones(13)])
    memory = np.ones(40)
    with pytest.raises(errors.OverlapError):
        step([np.ones(13), memory[:13], np.ones(13)], [memory[12:25], np.ones(13), np.ones(13)])
    step([np.ones(13), memory[:13], np.ones(13)], [memory[13:26], np.ones(13), np.ones(13)])
    assert step._latest.symbolic is not None and (memory[:13] == 0.5).all()


def test_memory_without_elements_meets_nothing() -> None:
    step = gc.compile(descend)
    memory = np.ones(6)
    step([memory[3:3], memory], [np.ones(0), np.ones(6)])
    assert (memory == 0.5).all()
    with pytest.raises(errors.OverlapError):
        step([memory[3:3], memory], [np.ones(0), memory[:]])
