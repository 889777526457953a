"""Derivatives of hypergeometric functions, orthogonal polynomials and elementary functions.

DLMF 13, 15 and 18.  The derivative of a Gegenbauer polynomial is one again, also where the equation
that the polynomials solve would be 0 / 0.
"""

from __future__ import annotations

from graphc.build import Value
from graphc.ops.elementwise import equal, exp, log, log1p, sin, sqrt, square, where
from graphc.ops.hypergeometric_slopes import hyp0f1_slope, hyp1f1_slopes, hyp2f1_slopes
from graphc.ops.scipy_bessel import DEGREE, Rules
from graphc.ops.scipy_calls import call


def _gegenbauer(n: Value, a: float, x: Value) -> Value:
    """The one of degree n - 1, which for n = 0 is none."""
    return call("eval_gegenbauer", n - 1.0, a, x)


def _below(name: str, n: Value, x: Value) -> Value:
    """n times the polynomial of the degree below."""
    zero = equal(n, 0.0)
    result: Value = where(zero, n, call(name, where(zero, 1.0, n) - 1.0, x) * n)
    return result


def _inv_boxcox(out: Value, y: Value, power: Value) -> Value:
    """By the power; its limit at 0."""
    zero = equal(power, 0.0)
    safe = where(zero, 1.0, power)
    inner = safe * y
    general = y / (safe * (1.0 + inner)) - log1p(inner) / square(safe)
    result: Value = where(zero, square(y) * -0.5, general)
    return result


def _boxcox1p(out: Value, x: Value, power: Value) -> Value:
    zero = equal(power, 0.0)
    safe = where(zero, 1.0, power)
    grown = log1p(x)
    general = (exp(safe * grown) * grown - out) / safe
    result: Value = where(zero, square(grown) * 0.5, general)
    return result


_HYPERGEOMETRIC: dict[str, Rules] = {
    "hyp0f1": (
        lambda out, v, x: hyp0f1_slope(v, x),
        lambda out, v, x: call("hyp0f1", v + 1.0, x) / v,
    ),
    "hyp1f1": (
        lambda out, *ins: hyp1f1_slopes(*ins)[0],
        lambda out, *ins: hyp1f1_slopes(*ins)[1],
        lambda out, a, b, x: call("hyp1f1", a + 1.0, b + 1.0, x) * a / b,
    ),
    "hyp2f1": (
        lambda out, *ins: hyp2f1_slopes(*ins)[0],
        lambda out, *ins: hyp2f1_slopes(*ins)[1],
        lambda out, *ins: hyp2f1_slopes(*ins)[2],
        lambda out, a, b, c, x: call("hyp2f1", a + 1.0, b + 1.0, c + 1.0, x) * a * b / c,
    ),
    "hyperu": (None, None, lambda out, a, b, x: -call("hyperu", a + 1.0, b + 1.0, x) * a),
}
_POLYNOMIALS: dict[str, Rules] = {
    "eval_legendre": (None, lambda out, n, x: _gegenbauer(n, 1.5, x)),
    "eval_chebyt": (None, lambda out, n, x: call("eval_chebyu", n - 1.0, x) * n),
    "eval_chebyu": (None, lambda out, n, x: _gegenbauer(n, 2.0, x) * 2.0),
    "eval_chebyc": (None, lambda out, n, x: call("eval_chebyu", n - 1.0, x * 0.5) * n),
    "eval_chebys": (None, lambda out, n, x: _gegenbauer(n, 2.0, x * 0.5)),
    "eval_sh_legendre": (None, lambda out, n, x: _gegenbauer(n, 1.5, x * 2.0 - 1.0) * 2.0),
    "eval_sh_chebyt": (
        None,
        lambda out, n, x: call("eval_chebyu", n - 1.0, x * 2.0 - 1.0) * n * 2.0,
    ),
    "eval_sh_chebyu": (None, lambda out, n, x: _gegenbauer(n, 2.0, x * 2.0 - 1.0) * 4.0),
    "eval_laguerre": (None, lambda out, n, x: -call("eval_genlaguerre", n - 1.0, 1.0, x)),
    "eval_genlaguerre": (
        None,
        None,
        lambda out, n, a, x: -call("eval_genlaguerre", n - 1.0, a + 1.0, x),
    ),
    "eval_gegenbauer": (
        None,
        None,
        lambda out, n, a, x: call("eval_gegenbauer", n - 1.0, a + 1.0, x) * a * 2.0,
    ),
    "eval_jacobi": (
        None,
        None,
        None,
        lambda out, n, a, b, x: (
            call("eval_jacobi", n - 1.0, a + 1.0, b + 1.0, x) * (n + a + b + 1.0) * 0.5
        ),
    ),
    "eval_sh_jacobi": (
        None,
        None,
        None,
        lambda out, n, p, q, x: call("eval_sh_jacobi", n - 1.0, p + 2.0, q + 1.0, x) * n,
    ),
    "eval_hermite": (None, lambda out, n, x: _below("eval_hermite", n, x) * 2.0),
    "eval_hermitenorm": (None, lambda out, n, x: _below("eval_hermitenorm", n, x)),
    "lpmv": (
        None,
        None,
        lambda out, m, v, x: (
            (v * x * out - (v + m) * call("lpmv", m, v - 1.0, x)) / (square(x) - 1.0)
        ),
    ),
}
_ELEMENTARY: dict[str, Rules] = {
    "sindg": (lambda out, x: call("cosdg", x) * DEGREE,),
    "cosdg": (lambda out, x: call("sindg", x) * -DEGREE,),
    "tandg": (lambda out, x: (1.0 + square(out)) * DEGREE,),
    "cotdg": (lambda out, x: (1.0 + square(out)) * -DEGREE,),
    "cosm1": (lambda out, x: -sin(x),),
    "powm1": (lambda out, x, y: y * (out + 1.0) / x, lambda out, x, y: (out + 1.0) * log(x)),
    "boxcox1p": (lambda out, x, power: exp((power - 1.0) * log1p(x)), _boxcox1p),
    "inv_boxcox": (
        lambda out, y, power: exp((1.0 - power) * log(out)),
        lambda out, y, power: out * _inv_boxcox(out, y, power),
    ),
    "inv_boxcox1p": (
        lambda out, y, power: exp((1.0 - power) * log1p(out)),
        lambda out, y, power: (1.0 + out) * _inv_boxcox(out, y, power),
    ),
    "pseudo_huber": (
        lambda out, d, r: (
            d * 2.0 * (sqrt(1.0 + square(r / d)) - 1.0)
            - square(r) / (d * sqrt(1.0 + square(r / d)))
        ),
        lambda out, d, r: r / sqrt(1.0 + square(r / d)),
    ),
    "radian": tuple(
        lambda out, d, m, s, part=part: out.literal(DEGREE / part) for part in (1.0, 60.0, 3600.0)
    ),
    "round": (lambda out, x: out.literal(0.0),),
}
SERIES: dict[str, Rules] = {**_HYPERGEOMETRIC, **_POLYNOMIALS, **_ELEMENTARY}
"""Name -> the derivative by each operand, None for one that is not known."""
