"""What a plan learns about named sizes: rows of a table, applied functions, guards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.dims import dim
from graphc.errors import UndecidedSizeError
from graphc.runtime.sizes import Sizing, applied, largest, least, same

B, N = dim("B", example=8), dim("N", example=5)


def half(number: int) -> int:
    return number // 2


def opened() -> Sizing:
    return Sizing({"B": 40, "N": 5})


def test_a_question_is_decided_by_the_example_and_remembered() -> None:
    sizing = opened()
    with sizing.open():
        assert B > 30
        assert not N > 30
        assert N < B + N  # holds for all sizes: nothing to remember
    assert [str(guard) for guard in sizing.conditions()] == ["30 < B", "not 30 < N"]
    assert sizing.complete({"B": 31, "N": 30}) is not None
    assert sizing.complete({"B": 30, "N": 30}) is None
    assert sizing.complete({"B": 31, "N": 31}) is None


def test_a_number_that_is_needed_fixes_the_size() -> None:
    sizing = opened()
    with sizing.open():
        assert int(B * 2) == 80
    assert sizing.complete({"B": 40, "N": 7}) is not None
    assert sizing.complete({"B": 41, "N": 7}) is None


def test_outside_of_a_plan_nothing_is_decided() -> None:
    with pytest.raises(UndecidedSizeError):
        applied(half, B)


@given(st.integers(4, 400), st.integers(2, 400))
def test_what_is_applied_is_made_anew_for_other_sizes(b: int, n: int) -> None:
    sizing = opened()
    with sizing.open():
        size = applied(half, B)
        double = applied(largest, size * 4, N)
        assert applied(half, B) == size
        assert applied(half, 9) == 4
    known = sizing.complete({"B": b, "N": n})
    assert known is not None
    assert known[size.symbols[0].name] == b // 2
    assert known[double.symbols[0].name] == max(b // 2 * 4, n)


def test_a_name_stands_for_no_number_below_two() -> None:
    sizing = opened()
    with sizing.open():
        applied(half, B)
    assert sizing.complete({"B": 4, "N": 5}) is not None
    assert sizing.complete({"B": 3, "N": 5}) is None
    small = Sizing({"B": 3})
    with small.open():
        assert applied(half, B) == 1
    assert small.complete({"B": 3}) is not None
    assert small.complete({"B": 40}) is None


def test_guards_on_what_is_applied() -> None:
    sizing = opened()
    with sizing.open():
        assert applied(half, B) > 10
    assert sizing.complete({"B": 22, "N": 5}) is not None
    assert sizing.complete({"B": 21, "N": 5}) is None


def test_rows_of_the_table() -> None:
    sizing = opened()
    assert [sizing.row(key) for key in (B, "end", B * 2, B)] == [0, 1, 2, 0]


def test_the_same_polynomial_asks_nothing() -> None:
    sizing = opened()
    with sizing.open():
        assert same(B + 1, 1 + B) and same(3, 3)
        assert not same(B, N) and not same(B - 7, 1)
    assert not sizing.guards


def test_least() -> None:
    assert (least(7), least(B), least(B - 2), least(3 * B + 1), least(B - N)) == (7, 2, 0, 7, 0)
