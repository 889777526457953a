"""Functions: memory that stays inside of masks, loops that carry registers."""

from __future__ import annotations

import numpy as np
import pytest
from llvm_functions import call

from graphc.runtime.llvm.registers import constant, lane_constants

X = np.arange(1.0, 9.0)


def test_masked_accesses_touch_nothing_else() -> None:
    found = np.full(8, -1.0)
    mask = lane_constants((1, 0, 1, 1, 0, 0, 0, 0), "i1")

    def body(f, p):
        f.masked_store(f.masked_load(p[0], "double", 8, mask), p[1], mask)

    call(body, X, found)
    assert found.tolist() == [1, -1, 3, 4, -1, -1, -1, -1]


def test_one_lane_of_a_narrowed_value() -> None:
    found = np.full(4, 9, np.int8)

    def body(f, p):
        narrowed = f.convert("trunc", f.load(p[0], "i32", 4), "i8")
        f.masked_store(narrowed, p[1], lane_constants((1, 0, 0, 0), "i1"))

    call(body, np.array([5, 6, 7, 8], np.int32), found)
    assert found.tolist() == [5, 9, 9, 9]


def test_gather_and_scatter() -> None:
    found = np.zeros(8)

    def body(f, p):
        mask = lane_constants((1, 1, 1, 0), "i1")
        places = lane_constants((6, 0, 3, 7), "i64")
        pointers = [
            f.let(f"getelementptr double, ptr {base.text}, {places.typed}", "ptr", places.lanes)
            for base in p
        ]
        f.scatter(f.gather(pointers[0], "double", mask), pointers[1], mask)

    call(body, X, found)
    assert found.tolist() == [1, 0, 0, 4, 0, 0, 7, 0]


@pytest.mark.parametrize("count", [1, 5, 8])
def test_a_loop_carries_registers(count: int) -> None:
    found = np.zeros(1)

    def body(f, p):
        zero = constant(0.0, "double")
        stop = constant(count, "i64")
        with f.loop(constant(0, "i64"), stop, 1, [zero]) as loop:
            value = f.load(f.offset(p[0], "double", loop.index), "double")
            loop.next = [f.fadd(loop.carried[0], value)]
        f.store(loop.results[0], p[1])

    call(body, X, found)
    assert found[0] == X[:count].sum()


def test_a_repetition_ends_where_its_condition_fails() -> None:
    found = np.zeros(1, np.int64)

    def body(f, p):
        with f.repeat([constant(1, "i64")]) as again:
            (n,) = again.carried
            again.go_on_if(f.icmp("slt", n, constant(100, "i64")))
            again.next = [f.mul(n, constant(3, "i64"))]
        f.store(again.carried[0], p[0])

    call(body, found)
    assert found[0] == 243


def test_memory_of_the_function_itself() -> None:
    found = np.zeros(2, np.int64)

    def body(f, p):
        own = f.on_stack(16)
        f.store(lane_constants((4, 9), "i64"), own)
        f.store(f.load(own, "i64", 2), p[0])

    call(body, found)
    assert found.tolist() == [4, 9]


@pytest.mark.parametrize("is_run", [0, 1])
def test_registers_carried_through_a_condition(is_run: int) -> None:
    found = np.zeros(1)

    def body(f, p):
        before = f.load(p[0], "double")
        condition = f.icmp("ne", f.load(p[1], "i64"), constant(0, "i64"))
        (after,) = f.carried_if(condition, [before], lambda: [f.fadd(before, before)])
        f.store(after, p[2])

    call(body, X[2:3].copy(), np.array([is_run]), found)
    assert found[0] == X[2] * (1 + is_run)
