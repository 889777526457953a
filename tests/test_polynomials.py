"""Arithmetic of polynomials in named sizes, against the arithmetic of their values."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphc import errors
from graphc.polynomials import (
    SMALLEST,
    Symbol,
    Terms,
    added,
    bounded,
    evaluated,
    long_division,
    multiplied,
    printing_order,
    without_zeros,
)

B, N = Symbol("B", 8), Symbol("N", 5)
MONOMIALS = st.lists(st.sampled_from([B, N]), max_size=3).map(lambda m: tuple(sorted(m)))
TERMS = st.dictionaries(MONOMIALS, st.integers(-4, 4), max_size=4).map(without_zeros)
VALUES = st.fixed_dictionaries({"B": st.integers(SMALLEST, 40), "N": st.integers(SMALLEST, 40)})


def value(terms: Terms, sizes: dict[str, int] | None) -> int:
    return evaluated(terms.items(), sizes)


@given(TERMS, TERMS, VALUES)
def test_sums_and_products_are_those_of_the_values(left: Terms, right: Terms, sizes: dict) -> None:
    for found, wanted in (
        (added(left, right), value(left, sizes) + value(right, sizes)),
        (added(left, right, -1), value(left, sizes) - value(right, sizes)),
        (multiplied(left, right), value(left, sizes) * value(right, sizes)),
    ):
        assert value(found, sizes) == wanted
        assert 0 not in found.values()


@given(TERMS, TERMS, VALUES)
def test_division_leaves_a_rest(over: Terms, under: Terms, sizes: dict) -> None:
    assume(under)
    quotient, rest = long_division(over, under)
    total = added(multiplied(quotient, under), rest)
    assert total == over
    assert value(total, sizes) == value(over, sizes)


@given(TERMS, VALUES)
def test_bounds_hold(terms: Terms, sizes: dict) -> None:
    least, most = bounded(terms)
    assert least is None or least <= value(terms, sizes)
    assert most is None or value(terms, sizes) <= most


def test_bounds_are_tight_where_all_rises_or_falls() -> None:
    assert bounded({(B,): 3, (): -1}) == (5, None)
    assert bounded({(B, N): 1, (N,): -1}) == (2, None)
    assert bounded({(B,): -2, (): 1}) == (None, -3)
    assert bounded({(B,): 1, (N,): -1}) == (None, None)
    assert bounded({(): 7}) == (7, None)


def test_examples_stand_in_for_values() -> None:
    assert value({(B, N): 2, (): 1}, None) == 81
    with pytest.raises(errors.ShapeError, match="the size N has no value; give it one: N=64"):
        value({(N,): 1}, {"B": 3})


def test_higher_powers_are_printed_first() -> None:
    terms = {(): 1, (B,): 2, (B, B): 1, (N,): 1}
    assert [m for m, _ in sorted(terms.items(), key=printing_order)] == [(B, B), (B,), (N,), ()]
