"""Derivatives of the incomplete gamma and beta functions, and of the distributions made of them.

Also by their parameters, which `shape_slopes` has by quadrature; the inverses by the theorem of
implicit functions: of F(t, x) = p for t, dt/dp = 1 / F_t and dt/dx = -F_x / F_t.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.build import Value
from graphc.ops.elementwise import greater, less_equal, logical_or, where
from graphc.ops.scipy_bessel import Rules
from graphc.ops.scipy_densities import Derivative, beta, fisher, gamma, student
from graphc.ops.shape_slopes import betainc_slopes, fisher_slopes, gammainc_slope, student_slope

Slopes = Callable[..., tuple[Value, ...]]
"""The derivatives of a distribution function by all of its operands."""


def _direct(slopes: Slopes, count: int, scale: float = 1.0) -> Rules:
    """The rules of the function itself, times a number."""

    def rule(place: int) -> Derivative:
        return lambda out, *ins: slopes(*ins)[place] * scale

    return tuple(rule(i) for i in range(count))


def _solved(slopes: Slopes, unknown: int, value: int, count: int, scale: float = 1.0) -> Rules:
    """Those of the operand `unknown` as a function of the others.

    value  where among its operands the value of the function stands, in place of which the others
           keep their order
    scale  -1.0 where that value is 1 - F
    """

    def rule(place: int) -> Derivative:
        def derivative(out: Value, *ins: Value) -> Value:
            rest = [x for i, x in enumerate(ins) if i != value]
            found = slopes(*rest[:unknown], out, *rest[unknown:])
            if place == value:
                return _unless_bound(out, unknown, count, scale / found[unknown])
            others = [i for i in range(count) if i != unknown]
            nth = place if place < value else place - 1
            return _unless_bound(out, unknown, count, -found[others[nth]] / found[unknown])

        return derivative

    return tuple(rule(i) for i in range(count))


LARGEST = 1e99
"""Where scipy stops to look for a parameter; below it stops at 0."""


def _unless_bound(out: Value, unknown: int, count: int, slope: Value) -> Value:
    """0 where a parameter that is looked for lies at the end of what scipy looks through."""
    if unknown == count - 1:
        return slope
    at_end = logical_or(less_equal(out, 0.0), greater(out, LARGEST))
    result: Value = where(at_end, 0.0, slope)
    return result


# ---- all derivatives of each distribution --------------------------------------------------------


def _gammainc(a: Value, x: Value) -> tuple[Value, ...]:
    return gammainc_slope(a, x), gamma(a, x)


def _betainc(a: Value, b: Value, x: Value) -> tuple[Value, ...]:
    return (*betainc_slopes(a, b, x), beta(a, b, x))


def _chi2(v: Value, x: Value) -> tuple[Value, ...]:
    by_a, by_x = _gammainc(v * 0.5, x * 0.5)
    return by_a * 0.5, by_x * 0.5


def _gdtr(a: Value, b: Value, x: Value) -> tuple[Value, ...]:
    by_shape, by_x = _gammainc(b, a * x)
    return by_x * x, by_shape, by_x * a


def _fisher(n: Value, d: Value, x: Value) -> tuple[Value, ...]:
    density = fisher(n, d, x)
    return (*fisher_slopes(n, d, x, density), density)


def _student(df: Value, t: Value) -> tuple[Value, ...]:
    density = student(df, t)
    return student_slope(df, t, density), density


def _poisson(k: Value, m: Value) -> tuple[Value, ...]:
    """Of a count that is not whole, as the inverse takes it."""
    by_a, by_x = _gammainc(k + 1.0, m)
    return -by_a, -by_x


def _binomial(k: Value, n: Value, p: Value) -> tuple[Value, ...]:
    by_a, by_b, by_x = _betainc(n - k, k + 1.0, 1.0 - p)
    return by_b - by_a, by_a, -by_x


def _negative_binomial(k: Value, n: Value, p: Value) -> tuple[Value, ...]:
    by_a, by_b, by_x = _betainc(n, k + 1.0, p)
    return by_b, by_a, by_x


SHAPES: dict[str, Rules] = {
    "gammainc": _direct(_gammainc, 2),
    "gammaincc": _direct(_gammainc, 2, -1.0),
    "gammaincinv": _solved(_gammainc, 1, 1, 2),
    "gammainccinv": _solved(_gammainc, 1, 1, 2, -1.0),
    "betainc": _direct(_betainc, 3),
    "betaincc": _direct(_betainc, 3, -1.0),
    "betaincinv": _solved(_betainc, 2, 2, 3),
    "betainccinv": _solved(_betainc, 2, 2, 3, -1.0),
    "btdtria": _solved(_betainc, 0, 0, 3),
    "btdtrib": _solved(_betainc, 1, 1, 3),
    "chdtr": _direct(_chi2, 2),
    "chdtrc": _direct(_chi2, 2, -1.0),
    "chdtri": _solved(_chi2, 1, 1, 2, -1.0),
    "chdtriv": _solved(_chi2, 0, 0, 2),
    "gdtr": _direct(_gdtr, 3),
    "gdtrc": _direct(_gdtr, 3, -1.0),
    "gdtria": _solved(_gdtr, 0, 0, 3),
    "gdtrib": _solved(_gdtr, 1, 1, 3),
    "gdtrix": _solved(_gdtr, 2, 2, 3),
    "fdtr": _direct(_fisher, 3),
    "fdtrc": _direct(_fisher, 3, -1.0),
    "fdtri": _solved(_fisher, 2, 2, 3),
    "fdtridfd": _solved(_fisher, 1, 1, 3),
    "stdtr": _direct(_student, 2),
    "stdtrit": _solved(_student, 1, 1, 2),
    "stdtridf": _solved(_student, 0, 0, 2),
    "pdtrik": _solved(_poisson, 0, 0, 2),
    "bdtrik": _solved(_binomial, 0, 0, 3),
    "bdtrin": _solved(_binomial, 1, 1, 3),
    "nbdtrik": _solved(_negative_binomial, 0, 0, 3),
    "nbdtrin": _solved(_negative_binomial, 1, 1, 3),
}
"""Name -> the derivative by each operand."""
