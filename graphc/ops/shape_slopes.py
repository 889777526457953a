"""Derivatives of the incomplete gamma and beta functions by their parameters, by quadrature.

Under the integral the derivative of t**(a - 1) / gamma(a) is log(t) - digamma(a) times it.  Each
integral is taken on the side of the peak where the function is small, so that nothing cancels.
"""

from __future__ import annotations

from graphc.build import Value
from graphc.ops.elementwise import exp, expm1, greater, less, log, square, where
from graphc.ops.quadrature import half_line_nodes, integral, unit_nodes
from graphc.ops.special import digamma, gammaln

# ---- the incomplete gamma function ---------------------------------------------------------------


def gammainc_slope(a: Value, x: Value) -> Value:
    """dP(a, x) / da, for a > 0 and x >= 0."""
    is_low = less(x, a + 1.0)
    positive = greater(x, 0.0)
    low = _gamma_from_zero(a, where(is_low, where(positive, x, 1.0), a))
    high = _gamma_to_infinity(a, where(is_low, a + 2.0, x))
    result: Value = where(positive, where(is_low, low, -high), where(less(x, 0.0), x / 0.0, 0.0))
    return result


def _gamma_from_zero(a: Value, x: Value) -> Value:
    """The integral from 0 to x, over t = x u**(1/a)."""

    def integrand(node: Value, weight: Value, a: Value, x: Value, *of_a: Value) -> tuple[Value]:
        psi, scale = of_a
        part = node / a
        size = exp(a * log(x) - scale - x * exp(part) + weight)
        return (size * (log(x) + part - psi),)

    return integral(unit_nodes(), integrand, a, x, digamma(a), gammaln(a + 1.0))[0]


def _gamma_to_infinity(a: Value, x: Value) -> Value:
    """The integral from x on, over t = x + v sqrt(x): about as far as the function goes on."""

    def integrand(node: Value, weight: Value, a: Value, x: Value, *of_a: Value) -> tuple[Value]:
        psi, scale = of_a
        width = log(x) * 0.5
        beyond = exp(node + width)
        growth = log(x + beyond)
        size = exp((a - 1.0) * growth - x - beyond - scale + weight + width)
        return (size * (growth - psi),)

    return integral(half_line_nodes(), integrand, a, x, digamma(a), gammaln(a))[0]


# ---- the incomplete beta function ----------------------------------------------------------------


def betainc_slopes(a: Value, b: Value, x: Value, rest: Value | None = None) -> tuple[Value, Value]:
    """dI(a, b, x) / da and dI / db, for a, b > 0 and x from 0 to 1; `rest` is 1 - x."""
    rest = 1.0 - x if rest is None else rest
    is_low = less(x * (a + b), a)
    sides = [where(is_low, one, other) for one, other in ((a, b), (b, a), (x, rest), (rest, x))]
    inside = greater(sides[2], 0.0)
    sides[2], sides[3] = where(inside, sides[2], 0.5), where(inside, sides[3], 0.5)
    first, second = (where(inside, part, 0.0) for part in _beta_from_zero(*sides))
    return where(is_low, first, -second), where(is_low, second, -first)


def _beta_from_zero(a: Value, b: Value, x: Value, rest: Value) -> list[Value]:
    """The integrals from 0 to x, over t = x u**(1/a)."""

    def integrand(
        node: Value, weight: Value, a: Value, b: Value, x: Value, rest: Value, *scales: Value
    ) -> tuple[Value, Value]:
        scale, psi_a, psi_b = scales
        part = node / a
        growth, fall = log(x) + part, log(rest - x * expm1(part))
        size = exp(a * log(x) + (b - 1.0) * fall - scale + weight)
        return size * (growth - psi_a), size * (fall - psi_b)

    scale = gammaln(a + 1.0) + gammaln(b) - gammaln(a + b)
    total = digamma(a + b)
    psi = (digamma(a) - total, digamma(b) - total)
    return integral(unit_nodes(), integrand, a, b, x, rest, scale, *psi)


# ---- distributions -------------------------------------------------------------------------------


def fisher_slopes(n: Value, d: Value, x: Value, density: Value) -> tuple[Value, Value]:
    """Of the F distribution, of this density, by both numbers of degrees."""
    total = n * x + d
    by_a, by_b = betainc_slopes(n * 0.5, d * 0.5, n * x / total, d / total)
    # y = n x / (n x + d) moves with n as x y' / n does with x, and against d.
    return by_a * 0.5 + density * x / n, by_b * 0.5 - density * x / d


def student_slope(df: Value, t: Value, density: Value) -> Value:
    """Of Student's t distribution by its degrees: that of |t| by symmetry."""
    total = df + square(t)
    by_a, _ = betainc_slopes(df * 0.5, df * 0.0 + 0.5, df / total, square(t) / total)
    # The tail 1/2 I(df/2, 1/2, df / (df + t**2)) falls with |t| by the density.
    tail = by_a * 0.25
    moved = density * where(less(t, 0.0), -t, t) / (df * 2.0)
    size = tail + moved
    result: Value = where(less(t, 0.0), size, -size)
    return result
