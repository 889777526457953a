"""Symbolic sizes: what stands in a shape where the number is not known yet.

A `Dim` is a polynomial with integer coefficients in named sizes: `B`, `784*B`, `2*B + 1`.  The IR
treats two sizes as equal when they are the same polynomial.  A named size stands for any integer
from `SMALLEST` upwards: 0 and 1 have rules of their own in NumPy (nothing to reduce, broadcasting),
so they are never hidden behind a name.

What can be said of every such size is answered: `784*B > 8` is true, `B - B` is the int 0.  What
depends on the number is a question, and there are three ways to put it:

- a decision of speed alone (tile or not, divide among threads or not) asks `hint(size)`, the
  example that a name carries; no answer makes it wrong;
- while a function is traced, a question is answered for the example at hand and remembered by
  `answering`, so that the trace is used for sizes alone that give the same answers; `tracing` says
  which equalities are questions: those in the user's code, and with numbers below `SMALLEST`;
- anywhere else it raises `errors.UndecidedSizeError`, and the compiler falls back to fixed sizes.

`==` outside of a trace is the exception: there it asks for the same polynomial, which is what types
being equal means.  Unequal polynomials may still be the same number: `B - 1 == 1` is false, and B
may be 2.  So code that reads an inequality off it has to be right for equal numbers as well.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphc.errors import ShapeError, UndecidedSizeError
from graphc.polynomials import (
    EXAMPLE,
    SMALLEST,
    Bounds,
    Monomial,
    Symbol,
    Terms,
    added,
    bounded,
    long_division,
    multiplied,
    printing_order,
)
from graphc.questions import ANSWER, DOUBTS, IS_USERS, VALUE, Question, ask, hint
from graphc.questions import evaluate as evaluate


def same(left: Size, right: Size) -> bool:
    """Whether two sizes are the same number; asked where it depends on the numbers."""
    difference = left - right
    if not isinstance(difference, Dim):
        return difference == 0
    least, most = bounds(difference)
    if (least is not None and least > 0) or (most is not None and most < 0):
        return False
    answer = ANSWER.get()
    return answer is not None and answer(_equality(left, right))


def same_shape(left: Shape, right: Shape) -> bool:
    """Whether two shapes are the same numbers; see `same`."""
    return len(left) == len(right) and all(
        a is b or same(a, b) for a, b in zip(left, right, strict=True)
    )


def _equality(left: Size, right: Size) -> Question:
    return Question(left, "==", right) if isinstance(left, Dim) else Question(right, "==", left)


class Dim:
    """An integer polynomial in named sizes that is not a constant; see the module.

    >>> batch = dim("B")
    >>> 2 * batch + 1, (784 * batch) // 784, batch - batch
    (2*B + 1, B, 0)
    >>> batch > 1, batch == 2 * batch
    (True, False)
    """

    __slots__ = ("_bounds", "_hash", "_terms")
    __graphc_leaf__ = True

    def __init__(self, terms: Mapping[Monomial, int]):
        items = terms.items()
        self._terms = tuple(sorted(items, key=printing_order) if len(items) > 1 else items)
        self._hash = hash(self._terms)
        self._bounds: Bounds | None = None

    @property
    def terms(self) -> tuple[tuple[Monomial, int], ...]:
        """Monomials and their coefficients, none of which is 0; the constant comes last."""
        return self._terms

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols in it, each once, by name."""
        return tuple(sorted({symbol for monomial, _ in self._terms for symbol in monomial}))

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self._terms:
            sign = "-" if coefficient < 0 else "+"
            factors = [str(abs(coefficient))] if abs(coefficient) != 1 or not monomial else []
            product = "*".join([*factors, *map(str, monomial)])
            text += f" {sign} {product}" if text else f"{sign.strip('+')}{product}"
        return text

    __repr__ = __str__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Arithmetic with NumPy's integers is that with ints; all else takes numbers."""
        operation = _OF_UFUNCS.get(ufunc) if method == "__call__" and not kwargs else None
        if operation is not None and all(isinstance(x, (int, np.integer, Dim)) for x in inputs):
            return operation(*(int(x) if isinstance(x, np.integer) else x for x in inputs))
        value = VALUE.get()
        numbers = [value(x) if isinstance(x, Dim) else x for x in inputs]
        return getattr(ufunc, method)(*numbers, **kwargs)

    # ---- arithmetic ------------------------------------------------------------------------------

    def __add__(self, other: object) -> Any:
        return _combine(operator.add, self, other, 1)

    def __radd__(self, other: object) -> Any:
        return self + other

    def __sub__(self, other: object) -> Any:
        return _combine(operator.sub, self, other, -1)

    def __rsub__(self, other: object) -> Any:
        return -self + other

    def __neg__(self) -> Dim:
        return Dim({monomial: -coefficient for monomial, coefficient in self._terms})

    def __mul__(self, other: object) -> Any:
        if type(other) is int and other:
            return self if other == 1 else Dim({m: other * factor for m, factor in self._terms})
        right = _terms_of(other)
        if right is None:
            return _outside(operator.mul, self, other)
        return from_terms(multiplied(dict(self._terms), right))

    __rmul__ = __mul__

    def __divmod__(self, other: object) -> Any:
        return _divided(self, other, slice(None))

    def __rdivmod__(self, other: object) -> Any:
        return _divided(other, self, slice(None))

    def __floordiv__(self, other: object) -> Any:
        return _divided(self, other, 0)

    def __rfloordiv__(self, other: object) -> Any:
        return _divided(other, self, 0)

    def __mod__(self, other: object) -> Any:
        return _divided(self, other, 1)

    def __rmod__(self, other: object) -> Any:
        return _divided(other, self, 1)

    def __pow__(self, other: object) -> Any:
        if type(other) is not int or other < 0:
            return _outside(operator.pow, self, other)
        power: Size = 1
        for _ in range(other):
            power = power * self
        return power

    def __rpow__(self, other: object) -> Any:
        return _outside(operator.pow, other, self)

    def __truediv__(self, other: object) -> Any:
        return _outside(operator.truediv, self, other)

    def __rtruediv__(self, other: object) -> Any:
        return _outside(operator.truediv, other, self)

    def __pos__(self) -> Dim:
        return self

    def __abs__(self) -> Size:
        return -self if self < 0 else self

    def __float__(self) -> float:
        return float(int(self))

    # ---- questions -------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        is_whole = isinstance(other, float) and other.is_integer()
        right = _terms_of(_rounded(other, int) if is_whole else other)
        if right is None:
            return NotImplemented
        if dict(self._terms) == right:
            return True
        if ANSWER.get() is None:
            return False
        size = from_terms(right)
        is_special = type(size) is int and size < SMALLEST
        is_users = IS_USERS.get()
        asks = is_special or is_users is None or is_users(sys._getframe(1))
        return asks and same(self, size)

    def __hash__(self) -> int:
        is_users = IS_USERS.get()
        if is_users is not None and is_users(sys._getframe(1)):
            return hash(int(self))
        return self._hash

    def __lt__(self, other: object) -> Any:
        return _less(self, other)

    def __gt__(self, other: object) -> Any:
        return _less(other, self)

    def __le__(self, other: object) -> Any:
        more = _less(other, self)
        return more if more is NotImplemented else not more

    def __ge__(self, other: object) -> Any:
        less = _less(self, other)
        return less if less is NotImplemented else not less

    def __bool__(self) -> bool:
        least, most = bounds(self)
        if (least is not None and least > 0) or (most is not None and most < 0):
            return True
        return not ask(Question(self, "==", 0))

    def __index__(self) -> int:
        """The number itself: an answer fixes every size in it."""
        if ANSWER.get() is None or not ask(Question(self, "==", hint(self))):
            raise UndecidedSizeError(
                f"the number that {self} stands for is needed; give the arrays a fixed size"
            )
        return hint(self)

    __int__ = __index__


_OF_UFUNCS: Mapping[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.floor_divide: operator.floordiv,
    np.remainder: operator.mod,
    np.divmod: divmod,
    np.equal: lambda left, right: same(left, right),
    np.not_equal: lambda left, right: not same(left, right),
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
}

Size = int | Dim
Shape = tuple[Size, ...]


def dim(name: str, example: int = EXAMPLE) -> Dim:
    """The size called `name`, an identifier, at least `SMALLEST`.

    Raises `errors.ShapeError` for another name or a smaller example.
    """
    if not name.isidentifier():
        raise ShapeError(f"{name!r} does not name a size; take an identifier, like 'B'")
    if example < SMALLEST:
        raise ShapeError(f"the size {name} has the example {example}; the least is {SMALLEST}")
    return Dim({(Symbol(name, example),): 1})


def substitute(size: Size, sizes: Mapping[str, Size]) -> Size:
    """The polynomial with other sizes in the place of some symbols."""
    if not isinstance(size, Dim):
        return size
    if all(type(sizes.get(symbol.name)) is int for symbol in size.symbols):
        return evaluate(size, sizes)  # type: ignore[arg-type]
    total: Size = 0
    for monomial, coefficient in size.terms:
        product: Size = coefficient
        for symbol in monomial:
            product = product * sizes.get(symbol.name, Dim({(symbol,): 1}))
        total = total + product
    return total


def symbols_of(sizes: Iterable[Size]) -> tuple[Symbol, ...]:
    """The symbols in some sizes, each once, by name."""
    return tuple(sorted({symbol for size in sizes for symbol in getattr(size, "symbols", ())}))


def bounds(size: Size) -> Bounds:
    """The least and the greatest value over all sizes, None where not known or without end."""
    if not isinstance(size, Dim):
        return size, size
    if size._bounds is None:
        size._bounds = bounded(dict(size.terms))
    return size._bounds


def surely_less(left: Size, right: Size) -> bool:
    """Whether left < right for every size; false where it depends on the number.

    For rules that refuse what can never be right and leave the rest to the numbers: `doubting`
    collects what they leave.
    """
    if not isinstance(left, Dim) and not isinstance(right, Dim):
        return left < right
    question = Question(left, "<", right)
    if isinstance(left, Dim) and isinstance(right, Dim):
        left, right = 0, right - left
    if isinstance(left, Dim):
        least, most = bounds(left)
        is_sure = most is not None and most < right
        is_never = least is not None and least >= right
    else:
        least, most = bounds(right)
        is_sure = least is not None and left < least
        is_never = most is not None and left >= most
    doubts = DOUBTS.get()
    if doubts is not None and not is_sure and not is_never:
        doubts.add(question)
    return is_sure


def from_terms(terms: Terms) -> Size:
    """The size with these terms, none of which is 0: an int where it is constant."""
    return terms.get((), 0) if set(terms) <= {()} else Dim(terms)


def _terms_of(value: object) -> dict[Monomial, int] | None:
    """The terms of a size; None for what is none, such as a traced number."""
    if isinstance(value, Dim):
        return dict(value.terms)
    if not isinstance(value, (int, np.integer)):
        return None
    number = value.__index__()
    return {(): number} if number else {}


def _combine(operation: Callable[[Any, Any], Any], left: Dim, right: object, sign: int) -> Any:
    terms = _terms_of(right)
    if terms is None:
        return _outside(operation, left, right)
    return from_terms(added(dict(left.terms), terms, sign))


def _outside(operation: Callable[[Any, Any], Any], left: object, right: object) -> Any:
    """The operation on numbers that are no sizes, with the symbolic ones as values."""
    if not all(isinstance(x, _NUMBERS) for x in (left, right)):
        return NotImplemented
    value = VALUE.get()
    return operation(*(value(x) if isinstance(x, Dim) else x for x in (left, right)))


_NUMBERS = (Dim, int, float, complex, np.generic, np.ndarray)


def _less(left: object, right: object) -> Any:
    """Whether left < right; by bounds of the difference, or else by an answer."""
    small, large = _terms_of(_rounded(left, math.floor)), _terms_of(_rounded(right, math.ceil))
    if small is None or large is None:
        return NotImplemented
    least, most = bounds(from_terms(added(large, small, -1)))
    if least is not None and least > 0:
        return True
    if most is not None and most <= 0:
        return False
    return ask(Question(from_terms(small), "<", from_terms(large)))


def _rounded(value: object, rounding: Callable[[float], int]) -> object:
    """The integer beside a float that whole numbers compare with in the same way."""
    return rounding(value) if isinstance(value, float) and math.isfinite(value) else value


# ---- division ------------------------------------------------------------------------------------


def _divided(left: object, right: object, which: int | slice) -> Any:
    """Quotient and remainder (or one of them) where each is one polynomial for every size.

    Elsewhere the numbers are needed, as by `int(size)`.
    """
    over, under = _terms_of(left), _terms_of(right)
    if over is None or under is None:
        return _outside(lambda x, y: divmod(x, y)[which], left, right)
    if not under:
        raise ZeroDivisionError(f"{left} // 0")
    quotient, rest = map(from_terms, long_division(over, under))
    divisor = from_terms(under)
    for whole, left_over in ((quotient, rest), (quotient - 1, rest + divisor)):
        if _is_remainder(left_over, divisor):
            return (whole, left_over)[which]
    return divmod(int(from_terms(over)), int(divisor))[which]


def _is_remainder(rest: Size, divisor: Size) -> bool:
    """Whether 0 <= rest < divisor for every size, or the same below a negative divisor."""
    if rest == 0:
        return True
    least, most = bounds(rest)
    gap = bounds(divisor - rest)
    if least is not None and least >= 0:
        return gap[0] is not None and gap[0] > 0
    return most is not None and most <= 0 and gap[1] is not None and gap[1] < 0
