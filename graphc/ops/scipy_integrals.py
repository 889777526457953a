"""Derivatives of integrals: error functions, exponential and elliptic integrals (DLMF 6, 7, 19)."""

from __future__ import annotations

import math

from graphc.build import Value
from graphc.ops.elementwise import abs as size_of
from graphc.ops.elementwise import (
    cos,
    cosh,
    equal,
    exp,
    less,
    log,
    reciprocal,
    sin,
    sinh,
    sqrt,
    square,
    where,
)
from graphc.ops.scipy_bessel import Rules
from graphc.ops.scipy_calls import call
from graphc.ops.scipy_densities import ROOT_PI, Derivative


def _at(point: float, limit: float, rule: Derivative) -> Derivative:
    """A rule with a removable singularity in the last operand."""

    def derivative(out: Value, *ins: Value) -> Value:
        here = equal(ins[-1], point)
        away = where(here, ins[-1].literal(point + 0.5), ins[-1])
        result: Value = where(here, away.literal(limit), rule(out, *ins[:-1], away))
        return result

    return derivative


def _exprel_derivative(out: Value, x: Value) -> Value:
    """(exp(x) - out) / x, near 0 the beginning of its series."""
    near = less(size_of(x), 1e-3)
    away = where(near, 1.0, x)
    series = 0.5 + x * (1 / 3) + square(x) * 0.125
    result: Value = where(near, series, (exp(away) - out) / away)
    return result


# ---- Legendre's elliptic integrals and Jacobi's functions ----------------------------------------


def _elliptic(m: Value, phi: Value) -> Value:
    root: Value = sqrt(1.0 - m * square(sin(phi)))
    return root


def _first_by_m(first: Value, phi: Value, m: Value) -> Value:
    """The derivative of F(phi, m) by m, and its limit at m = 0 (DLMF 19.4.5)."""
    zero = equal(m, 0.0)
    away = where(zero, 0.5, m)
    rest = 1.0 - away
    turn = sin(phi * 2.0) / (rest * 4.0 * _elliptic(away, phi))
    general = (call("ellipeinc", phi, away) / rest - first) / (away * 2.0) - turn
    result: Value = where(zero, (phi - sin(phi) * cos(phi)) * 0.25, general)
    return result


def _second_by_m(second: Value, phi: Value, m: Value) -> Value:
    zero = equal(m, 0.0)
    away = where(zero, 0.5, m)
    general = (second - call("ellipkinc", phi, away)) / (away * 2.0)
    result: Value = where(zero, (sin(phi) * cos(phi) - phi) * 0.25, general)
    return result


def _jacobi(u: Value, m: Value) -> tuple[Value, Value, Value]:
    """sn, cn and dn."""
    sn, cn, dn = (call(f"ellipj.{k}", u, m) for k in range(3))
    return sn, cn, dn


def _amplitude_by_m(out: Value, u: Value, m: Value) -> Value:
    """F(amplitude, m) stays u."""
    return -call("ellipj.2", u, m) * _first_by_m(u, call("ellipj.3", u, m), m)


def _dn(out: Value, u: Value, m: Value) -> Value:
    sn, cn, dn = _jacobi(u, m)
    return -(square(sn) * 0.5 + m * sn * cn * _amplitude_by_m(out, u, m)) / dn


# ---- Carlson's symmetric integrals ---------------------------------------------------------------


def _times_rd(x: Value, y: Value, z: Value) -> Value:
    """z RD(x, y, z), whose limit at z = 0 is 0."""
    zero = equal(z, 0.0)
    result: Value = where(zero, z, z * call("elliprd", x, y, where(zero, 1.0, z)))
    return result


def _rg(x: Value, y: Value, z: Value) -> Value:
    """The derivative of RG(x, y, z) by z (from DLMF 19.20 and 19.29)."""
    return call("elliprf", x, y, z) * 0.25 - _times_rd(x, y, z) * (1.0 / 12.0)


def _rd(out: Value, other: Value, x: Value, z: Value) -> Value:
    """That of RD(x, y, z) by x, `other` being RD(y, z, x): Euler and Poisson's equation."""
    return (other - out) / ((x - z) * 2.0)


def _rd_by_x(out: Value, x: Value, y: Value, z: Value) -> Value:
    return _rd(out, call("elliprd", y, z, x), x, z)


def _rd_by_z(out: Value, x: Value, y: Value, z: Value) -> Value:
    """What the others leave of a function that is homogeneous of degree -3/2."""
    rest = x * _rd_by_x(out, x, y, z) + y * _rd_by_x(out, y, x, z)
    return (out * -1.5 - rest) / z


def _rj(out: Value, x: Value, y: Value, z: Value, p: Value) -> Value:
    """The derivative of RJ(x, y, z, p) by x."""
    return (out - call("elliprd", y, z, x)) / ((p - x) * 2.0)


def _rj_by_p(out: Value, x: Value, y: Value, z: Value, p: Value) -> Value:
    rest = x * _rj(out, x, y, z, p) + y * _rj(out, y, x, z, p) + z * _rj(out, z, x, y, p)
    return (out * -1.5 - rest) / p


def _rc_by_x(out: Value, x: Value, y: Value) -> Value:
    """RC(x, y) is RF(x, y, y); left of 0 in y, where that is not, by integration."""
    left = less(y, 0.0)
    inner = call("elliprd", where(left, 1.0, y), where(left, 1.0, y), x) * (-1.0 / 6.0)
    gap = where(left, y - x, 1.0)
    result: Value = where(left, (out - 1.0 / sqrt(x)) / (gap * 2.0), inner)
    return result


def _agm(a: Value, b: Value, out: Value) -> Value:
    """The derivative of the mean by a: it is pi / (2 RF(0, a**2, b**2))."""
    inner = call("elliprd", 0.0, square(b), square(a))
    return size_of(a) * square(out) * inner * (2.0 / (3.0 * math.pi))


# ---- the table -----------------------------------------------------------------------------------

_EXPONENTIAL: dict[str, Rules] = {
    "erfi": (lambda out, x: exp(square(x)) * (2.0 / ROOT_PI),),
    "erfcinv": (lambda out, x: exp(square(out)) * (-0.5 * ROOT_PI),),
    "dawsn": (lambda out, x: 1.0 - x * out * 2.0,),
    "expi": (lambda out, x: exp(x) / x,),
    "exp1": (lambda out, x: -exp(-x) / x,),
    "expn": (None, lambda out, n, x: -call("expn", n - 1.0, x)),
    "exprel": (_exprel_derivative,),
    "spence": (_at(1.0, -1.0, lambda out, x: log(x) / (1.0 - x)),),
    "wrightomega": (lambda out, x: out / (1.0 + out),),
    "sici.0": (_at(0.0, 1.0, lambda out, x: sin(x) / x),),
    "sici.1": (lambda out, x: cos(x) / x,),
    "shichi.0": (_at(0.0, 1.0, lambda out, x: sinh(x) / x),),
    "shichi.1": (lambda out, x: cosh(x) / x,),
}
_LEGENDRE: dict[str, Rules] = {
    "ellipk": (
        _at(0.0, math.pi / 8, lambda out, m: (call("ellipe", m) / (1.0 - m) - out) / (m * 2.0)),
    ),
    "ellipkm1": (
        _at(
            1.0, -math.pi / 8, lambda out, p: (out - call("ellipe", 1.0 - p) / p) / (2.0 - p * 2.0)
        ),
    ),
    "ellipe": (_at(0.0, -math.pi / 8, lambda out, m: (out - call("ellipk", m)) / (m * 2.0)),),
    "ellipkinc": (lambda out, phi, m: reciprocal(_elliptic(m, phi)), _first_by_m),
    "ellipeinc": (lambda out, phi, m: _elliptic(m, phi), _second_by_m),
    "ellipj.0": (
        lambda out, u, m: call("ellipj.1", u, m) * call("ellipj.2", u, m),
        lambda out, u, m: call("ellipj.1", u, m) * _amplitude_by_m(out, u, m),
    ),
    "ellipj.1": (
        lambda out, u, m: -call("ellipj.0", u, m) * call("ellipj.2", u, m),
        lambda out, u, m: -call("ellipj.0", u, m) * _amplitude_by_m(out, u, m),
    ),
    "ellipj.2": (lambda out, u, m: -m * call("ellipj.0", u, m) * call("ellipj.1", u, m), _dn),
    "ellipj.3": (lambda out, u, m: call("ellipj.2", u, m), _amplitude_by_m),
}
_CARLSON: dict[str, Rules] = {
    "elliprc": (
        _rc_by_x,
        lambda out, x, y: (out * -0.5 - x * _rc_by_x(out, x, y)) / y,
    ),
    "elliprf": (
        lambda out, x, y, z: call("elliprd", y, z, x) * (-1.0 / 6.0),
        lambda out, x, y, z: call("elliprd", x, z, y) * (-1.0 / 6.0),
        lambda out, x, y, z: call("elliprd", x, y, z) * (-1.0 / 6.0),
    ),
    "elliprd": (
        _rd_by_x,
        lambda out, x, y, z: _rd_by_x(out, y, x, z),
        _rd_by_z,
    ),
    "elliprg": (
        lambda out, x, y, z: _rg(y, z, x),
        lambda out, x, y, z: _rg(x, z, y),
        lambda out, x, y, z: _rg(x, y, z),
    ),
    "elliprj": (
        _rj,
        lambda out, x, y, z, p: _rj(out, y, x, z, p),
        lambda out, x, y, z, p: _rj(out, z, x, y, p),
        _rj_by_p,
    ),
    "agm": (lambda out, a, b: _agm(a, b, out), lambda out, a, b: _agm(b, a, out)),
}
INTEGRALS: dict[str, Rules] = {**_EXPONENTIAL, **_LEGENDRE, **_CARLSON}
"""Name -> the derivative by each operand."""
