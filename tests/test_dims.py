"""Symbolic sizes: polynomials that answer what holds for every size, and ask for the rest."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc import errors
from graphc.dims import Dim, Size, bounds, dim, substitute, surely_less, symbols_of
from graphc.polynomials import SMALLEST, Symbol
from graphc.questions import Question, answering, doubting, evaluate, exemplified, hint

B, N = dim("B", example=8), dim("N", example=5)

POLYNOMIALS = st.recursive(
    st.integers(-4, 4) | st.sampled_from([B, N]),
    lambda inner: st.tuples(
        st.sampled_from([operator.add, operator.sub, operator.mul]), inner, inner
    ).map(lambda parts: parts[0](parts[1], parts[2])),
    max_leaves=6,
)
SIZES = st.fixed_dictionaries({"B": st.integers(SMALLEST, 40), "N": st.integers(SMALLEST, 40)})


def test_prints_as_arithmetic_is_written() -> None:
    assert str(2 * B + 1) == "2*B + 1"
    assert str(-B) == "-B"
    assert str(1 - B * N) == "-B*N + 1"
    assert repr((B + 1) * (B - 1)) == "B*B - 1"


def test_constants_are_ints() -> None:
    assert type(B - B) is int and B - B == 0
    assert type((B + 3) - B) is int
    assert math.prod((B, 784, 0)) == 0


def test_arithmetic_with_numbers_of_numpy() -> None:
    assert np.int64(3) * B == 3 * B and isinstance(np.int64(3) * B, Dim)
    with pytest.raises(TypeError):
        B + 0.5
    assert not B <= 0.5 and B > 1.5 and 2.5 != B
    with pytest.raises(TypeError):
        _ = B <= "0.5"


@given(POLYNOMIALS, POLYNOMIALS, SIZES)
def test_arithmetic_is_that_of_the_numbers(left: Size, right: Size, sizes: dict[str, int]) -> None:
    for operation in (operator.add, operator.sub, operator.mul):
        value = evaluate(operation(left, right), sizes)
        assert value == operation(evaluate(left, sizes), evaluate(right, sizes))


@given(POLYNOMIALS, POLYNOMIALS, SIZES)
def test_division_is_right_or_undecided(left: Size, right: Size, sizes: dict[str, int]) -> None:
    try:
        quotient, rest = divmod(left, right)
    except (errors.UndecidedSizeError, ZeroDivisionError):
        return
    if divisor := evaluate(right, sizes):
        expected = divmod(evaluate(left, sizes), divisor)
        assert (evaluate(quotient, sizes), evaluate(rest, sizes)) == expected


@pytest.mark.parametrize(
    ("over", "under", "expected"),
    [
        (784 * B, 784, (B, 0)),
        (784 * B, B, (784, 0)),
        (2 * B + 5, 2, (B + 2, 1)),
        (2 * B - 1, 2, (B - 1, 1)),
        (B * N + N, B + 1, (N, 0)),
        (B + 1, B, (1, 1)),
        (B - 1, B, (0, B - 1)),
    ],
    ids=str,
)
def test_divisions_that_hold_for_every_size(over: Size, under: Size, expected: object) -> None:
    assert divmod(over, under) == expected


@given(POLYNOMIALS, POLYNOMIALS, SIZES)
def test_comparisons_are_right_or_undecided(left: Size, right: Size, sizes: dict[str, int]) -> None:
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        try:
            answer = compare(left, right)
        except errors.UndecidedSizeError:
            continue
        assert answer == compare(evaluate(left, sizes), evaluate(right, sizes))


@given(POLYNOMIALS, SIZES)
def test_bounds_hold(size: Size, sizes: dict[str, int]) -> None:
    least, most = bounds(size)
    assert least is None or least <= evaluate(size, sizes)
    assert most is None or evaluate(size, sizes) <= most


def test_equality_is_of_polynomials_and_agrees_with_the_hash() -> None:
    assert B == dim("B", example=1000) and hash(B) == hash(dim("B", example=1000))
    assert B != N and B != 8
    assert len({B + 1, 1 + B, B}) == 2


def test_what_depends_on_the_number_is_an_error() -> None:
    assert B > 1 and bool(B) and not B < 2
    with pytest.raises(errors.UndecidedSizeError, match=r"whether B < 100 depends on the size"):
        _ = B < 100
    with pytest.raises(errors.UndecidedSizeError, match=r"whether B - 2 == 0 depends"):
        bool(B - 2)
    with pytest.raises(errors.UndecidedSizeError, match="number that B stands for"):
        range(B)


def test_answers_are_asked_for_what_polynomials_do_not_decide() -> None:
    asked: list[str] = []

    def answer(question: Question) -> bool:
        asked.append(str(question))
        return question.holds({"B": 8, "N": 5})

    with answering(answer):
        assert B == 8 and B != N and B > N and not 2 * B == 0
        assert int(B + 1) == 9
    assert asked == ["B == 8", "B == N", "N < B", "B + 1 == 9"]
    assert B != 8


def test_hints_are_examples() -> None:
    assert hint(B * N + 1) == 41 and hint(7) == 7
    assert (B * N).symbols == (Symbol("B"), Symbol("N"))
    assert symbols_of((3, N, B + N)) == (Symbol("B"), Symbol("N"))


def test_substitution() -> None:
    assert substitute(B * B + N, {"B": N + 1}) == N * N + 3 * N + 1
    assert substitute(B + 1, {"B": 4}) == 5
    with pytest.raises(errors.ShapeError, match="the size N has no value"):
        evaluate(N, {"B": 3})


def test_names_and_examples_are_checked() -> None:
    with pytest.raises(errors.ShapeError, match="does not name a size"):
        dim("2B")
    with pytest.raises(errors.ShapeError, match="the least is 2"):
        dim("B", example=1)


def test_examples_for_a_while() -> None:
    with exemplified({"B": 3}):
        assert hint(2 * B + 1) == 7
    assert hint(2 * B + 1) == 17


def test_doubts_are_what_is_left_to_the_numbers() -> None:
    with doubting() as doubts:
        assert not surely_less(B, 10)
        assert surely_less(1, B) and not surely_less(B, 2)  # sure either way
        assert not surely_less(N, B)
    assert doubts == {Question(B, "<", 10), Question(N, "<", B)}
    assert not surely_less(B, 20)
    assert len(doubts) == 2
