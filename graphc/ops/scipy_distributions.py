"""Derivatives of distribution functions and their inverses; `scipy_shapes` has most of them.

An inverse has that of what it inverts, by the theorem of implicit functions: of F(t, x) = p for t,
dt/dp = 1 / F_t and dt/dx = -F_x / F_t.  What needs F by a parameter of its shape is not known.
"""

from __future__ import annotations

import math

from graphc.build import Value
from graphc.ops import scipy_densities as densities
from graphc.ops.elementwise import (
    equal,
    exp,
    floor,
    less,
    log,
    logical_and,
    square,
    where,
)
from graphc.ops.elementwise import erf as error_function
from graphc.ops.scipy_bessel import Rules
from graphc.ops.scipy_calls import call
from graphc.ops.scipy_densities import Derivative, beta, gamma, normal
from graphc.ops.scipy_shapes import SHAPES
from graphc.ops.special import digamma
from graphc.ops.zeta_slope import zeta_slope

# ---- what no table row can say -------------------------------------------------------------------


def _kolmogorov(x: Value) -> Value:
    """Both forms of the theta series (DLMF 20.7), each where its terms fall quickly."""
    is_low, positive = less(x, 0.8), less(0.0 * x, x)
    low = where(logical_and(is_low, positive), x, 0.8)
    high = where(is_low, 0.8, x)
    near, far = x.literal(0.0), x.literal(0.0)
    for k in range(1, 6):
        rate = ((2 * k - 1) * math.pi) ** 2 / 8.0
        decay = exp(-rate / square(low))
        near = near + decay * (1.0 - 2.0 * rate / square(low))
        far = far + exp(square(high) * (-2.0 * k * k)) * ((-1.0) ** k * k * k)
    near = near * math.sqrt(2.0 * math.pi) / square(low)
    result: Value = where(is_low, where(positive, near, 0.0), far * high * 8.0)
    return result


def _tukey(out: Value, x: Value, shape: Value) -> tuple[Value, Value]:
    """By the quantile function (p**l - (1 - p)**l) / l, of which it is the inverse."""
    inside = logical_and(less(0.0 * out, out), less(out, 1.0))
    p = where(inside, out, 0.5)
    low, high = log(p), log(1.0 - p)
    density = 1.0 / (exp((shape - 1.0) * low) + exp((shape - 1.0) * high))
    is_logistic = equal(shape, 0.0)
    safe = where(is_logistic, 1.0, shape)
    terms = exp(safe * low) * low - exp(safe * high) * high - where(inside, x, 0.0)
    by_shape = where(is_logistic, (square(low) - square(high)) * 0.5, terms / safe)
    zero = out.literal(0.0)
    return where(inside, density, zero), where(inside, -density * by_shape, zero)


def _voigt(x: Value, sigma: Value, gamma: Value) -> tuple[Value, Value, Value]:
    """The real and imaginary parts of w'(z) = 2i / sqrt(pi) - 2 z w(z), and the real one of z w'.

    The profile is the real part of w((x + i gamma) / (sigma sqrt 2)), over sigma sqrt(2 pi).
    """
    real, imaginary = (part / (sigma * math.sqrt(2.0)) for part in (x, gamma))
    w, v = (call(f"complex wofz.{k}", real, imaginary) for k in (0, 1))
    first = (real * w - imaginary * v) * -2.0
    second = (real * v + imaginary * w) * -2.0 + 2.0 / densities.ROOT_PI
    return first, second, real * first - imaginary * second


def _binomial(k: Value, n: Value, p: Value) -> Value:
    whole = floor(k)
    return -beta(n - whole, whole + 1.0, 1.0 - p)


# ---- the table -----------------------------------------------------------------------------------

_GAMMA: dict[str, Rules] = {
    "rgamma": (lambda out, x: -out * digamma(x),),
    "poch": (
        lambda out, z, m: out * (digamma(z + m) - digamma(z)),
        lambda out, z, m: out * digamma(z + m),
    ),
    "binom": (
        lambda out, n, k: out * (digamma(n + 1.0) - digamma(n - k + 1.0)),
        lambda out, n, k: out * (digamma(n - k + 1.0) - digamma(k + 1.0)),
    ),
    "zetac": (lambda out, x: zeta_slope(x, x.literal(1.0)),),
}
_CONTINUOUS: dict[str, Rules] = {
    "ndtri_exp": (lambda out, y: exp(y) / normal(out),),
    "nrdtrimn": (
        lambda out, p, std, x: -std / normal((x - out) / std),
        lambda out, p, std, x: (out - x) / std,
        lambda out, p, std, x: out.literal(1.0),
    ),
    "nrdtrisd": (
        lambda out, mean, p, x: -out / (x - mean),
        lambda out, mean, p, x: -square(out) / ((x - mean) * normal((x - mean) / out)),
        lambda out, mean, p, x: out / (x - mean),
    ),
    "owens_t": (
        lambda out, h, a: normal(h) * error_function(a * h * math.sqrt(0.5)) * -0.5,
        lambda out, h, a: (
            exp(square(h) * (1.0 + square(a)) * -0.5) / ((1.0 + square(a)) * (2.0 * math.pi))
        ),
    ),
    "tklmbda": (
        lambda out, x, shape: _tukey(out, x, shape)[0],
        lambda out, x, shape: _tukey(out, x, shape)[1],
    ),
    "voigt_profile": (
        lambda out, x, s, g: _voigt(x, s, g)[0] / (square(s) * (2.0 * densities.ROOT_PI)),
        lambda out, x, s, g: -(out + _voigt(x, s, g)[2] / (s * math.sqrt(2.0 * math.pi))) / s,
        lambda out, x, s, g: _voigt(x, s, g)[1] / (square(s) * (-2.0 * densities.ROOT_PI)),
    ),
    "kolmogorov": (lambda out, x: _kolmogorov(x),),
    "kolmogi": (lambda out, p: 1.0 / _kolmogorov(out),),
}
_DISCRETE: dict[str, Rules] = {
    "pdtr": (None, lambda out, k, m: -gamma(floor(k) + 1.0, m)),
    "pdtrc": (None, lambda out, k, m: gamma(floor(k) + 1.0, m)),
    "pdtri": (None, lambda out, k, p: -1.0 / gamma(k + 1.0, out)),
    "bdtr": (None, None, lambda out, k, n, p: _binomial(k, n, p)),
    "bdtrc": (None, None, lambda out, k, n, p: -_binomial(k, n, p)),
    "bdtri": (None, None, lambda out, k, n, y: 1.0 / _binomial(k, n, out)),
    "nbdtr": (None, None, lambda out, k, n, p: beta(n, k + 1.0, p)),
    "nbdtrc": (None, None, lambda out, k, n, p: -beta(n, k + 1.0, p)),
    "nbdtri": (None, None, lambda out, k, n, y: 1.0 / beta(n, k + 1.0, out)),
}


def _by(density: Derivative, order: str, over: Derivative | None = None) -> Derivative:
    """density, or 1 / density, or -over / density, of operands in which the result has a place.

    order  for each operand of the density the place of one of the function's, `.` for the result
    """

    def derivative(out: Value, *ins: Value) -> Value:
        placed = [out if place == "." else ins[int(place)] for place in order]
        below = density(*placed)
        return 1.0 / below if over is None else -over(*placed) / below

    return derivative


_chi2, _chi2_nc = densities.noncentral_chi2, densities.chi2_by_noncentrality
_fisher, _fisher_nc = densities.noncentral_fisher, densities.fisher_by_noncentrality
_student, _student_nc = densities.noncentral_student, densities.student_by_noncentrality

_NONCENTRAL: dict[str, Rules] = {
    "chndtr": (
        lambda out, *ins: _chi2(*ins),
        None,
        lambda out, *ins: _chi2_nc(*ins),
    ),
    "chndtrix": (_by(_chi2, ".12"), None, _by(_chi2, ".12", _chi2_nc)),
    "chndtrinc": (_by(_chi2_nc, "01.", _chi2), None, _by(_chi2_nc, "01.")),
    "ncfdtr": (
        None,
        None,
        lambda out, *ins: _fisher_nc(*ins),
        lambda out, *ins: _fisher(*ins),
    ),
    "ncfdtri": (None, None, _by(_fisher, "012.", _fisher_nc), _by(_fisher, "012.")),
    "ncfdtrinc": (None, None, _by(_fisher_nc, "01.3"), _by(_fisher_nc, "01.3", _fisher)),
    "nctdtr": (
        None,
        lambda out, *ins: _student_nc(*ins),
        lambda out, *ins: _student(*ins),
    ),
    "nctdtrit": (None, _by(_student, "01.", _student_nc), _by(_student, "01.")),
    "nctdtrinc": (None, _by(_student_nc, "0.2"), _by(_student_nc, "0.2", _student)),
}
DISTRIBUTIONS: dict[str, Rules] = {
    **SHAPES,
    **_GAMMA,
    **_CONTINUOUS,
    **_DISCRETE,
    **_NONCENTRAL,
    **dict.fromkeys("chndtridf ncfdtridfd ncfdtridfn nctdtridf smirnov smirnovi".split()),
}
"""Name -> the derivative by each operand, None for one that is not known; None where none is."""
