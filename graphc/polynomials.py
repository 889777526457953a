"""Polynomials with integer coefficients in named sizes, as dicts from monomials to coefficients.

What `dims.Dim` computes with: sums, products, division, values and bounds.  No coefficient
is 0, and the zero polynomial is the empty dict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graphc.errors import ShapeError

SMALLEST = 2
"""The least size that a name stands for."""

EXAMPLE = 64
"""The example of a name that was written down rather than found in an argument."""


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """A named size.  Two symbols of one name are equal, whatever their examples."""

    name: str
    example: int = field(default=EXAMPLE, compare=False)

    def __str__(self) -> str:
        return self.name


Monomial = tuple[Symbol, ...]
"""A product of symbols, in the order of their names: `()` is 1, `(B, B)` is B squared."""

Terms = Mapping[Monomial, int]
Bounds = tuple[int | None, int | None]
"""The least and the greatest value over all sizes, None where not known or without end."""


def printing_order(term: tuple[Monomial, int]) -> tuple[int, tuple[str, ...]]:
    """Higher powers first, then by name: `B*B + 2*B + 1`."""
    monomial, _ = term
    return -len(monomial), tuple(symbol.name for symbol in monomial)


def added(terms: Terms, others: Terms, sign: int = 1) -> dict[Monomial, int]:
    """terms + sign * others."""
    total = dict(terms)
    for monomial, coefficient in others.items():
        total[monomial] = total.get(monomial, 0) + sign * coefficient
    return without_zeros(total)


def multiplied(left: Terms, right: Terms) -> dict[Monomial, int]:
    """The product of two polynomials."""
    total: Counter[Monomial] = Counter()
    for monomial, coefficient in left.items():
        for by, factor in right.items():
            total[tuple(sorted((*monomial, *by)))] += coefficient * factor
    return without_zeros(total)


def without_zeros(terms: Terms) -> dict[Monomial, int]:
    """The terms whose coefficients are not 0."""
    return {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}


def evaluated(terms: Iterable[tuple[Monomial, int]], sizes: Mapping[str, int] | None) -> int:
    """The sum of these terms: each symbol is its value in `sizes`, its example where that is None.

    Raises `errors.ShapeError` for a symbol without a value.
    """
    return sum(
        coefficient * math.prod(_value(symbol, sizes) for symbol in monomial)
        for monomial, coefficient in terms
    )


def _value(symbol: Symbol, sizes: Mapping[str, int] | None) -> int:
    if sizes is None:
        return symbol.example
    if symbol.name not in sizes:
        raise ShapeError(f"the size {symbol} has no value; give it one: {symbol}=64")
    return sizes[symbol.name]


def bounded(terms: Terms) -> Bounds:
    """Bounds of the values over all sizes.

    With each symbol written as `SMALLEST` + something from 0 upwards, a polynomial whose other
    coefficients are all positive is least where that something is 0: at its constant.
    """
    if all(coefficient > 0 for monomial, coefficient in terms.items() if monomial):
        return sum(factor * SMALLEST ** len(m) for m, factor in terms.items()), None
    shifted: dict[Monomial, int] = {}
    for monomial, coefficient in terms.items():
        product: Terms = {(): coefficient}
        for symbol in monomial:
            product = multiplied(product, {(symbol,): 1, (): SMALLEST})
        shifted = added(shifted, product)
    constant = shifted.pop((), 0)
    rises = all(coefficient > 0 for coefficient in shifted.values())
    falls = all(coefficient < 0 for coefficient in shifted.values())
    return (constant if rises else None), (constant if falls else None)


def long_division(over: Terms, under: Terms) -> tuple[dict[Monomial, int], dict[Monomial, int]]:
    """Polynomials with over = quotient * under + rest, the rest as small as coefficients allow."""
    (leading, factor), *_ = sorted(under.items(), key=printing_order)
    quotient: Counter[Monomial] = Counter()
    rest: Counter[Monomial] = Counter()
    left = Counter(over)
    while left:
        monomial, coefficient = min(left.items(), key=printing_order)
        others = _without(monomial, leading)
        times = 0 if others is None else coefficient // factor
        if others is None or (times * factor != coefficient and monomial):
            rest[monomial] += left.pop(monomial)
            continue
        quotient[others] += times
        for term, by in under.items():
            left[tuple(sorted((*others, *term)))] -= times * by
        if not monomial:
            rest[monomial] += left.pop(monomial)  # what a constant divisor leaves
        left = Counter(without_zeros(left))
    return without_zeros(quotient), without_zeros(rest)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """The product without the factors of another one, None where it has not all of them."""
    left = list(monomial)
    for symbol in divisor:
        if symbol not in left:
            return None
        left.remove(symbol)
    return tuple(left)
