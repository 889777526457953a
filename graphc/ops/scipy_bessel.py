"""Derivatives of Bessel functions and their kin: DLMF 9 to 12 and 28."""

from __future__ import annotations

import math

from graphc.build import Value
from graphc.ops.elementwise import cos, cosh, equal, exp, maximum, sign, sin, sqrt, square, where
from graphc.ops.order_slopes import ive_slope, jv_slope, kve_slope, struve_slope, yv_slope
from graphc.ops.scipy_calls import call
from graphc.ops.scipy_densities import Derivative

Rules = tuple[Derivative | None, ...] | None

DEGREE = math.pi / 180.0


def _neighbours(name: str, first: float, second: float) -> Derivative:
    """Half the weighted sum of the functions of the orders below and above (DLMF 10.6, 10.29)."""
    return lambda out, v, x: (
        (call(name, v - 1.0, x) * first + call(name, v + 1.0, x) * second) * 0.5
    )


def _by_order(slope: Derivative, growth: float = 0.0) -> Derivative:
    """That of a function that is exp(growth x) times the one of which this is the derivative."""
    return lambda out, v, x: slope(v, x) * exp(x * growth) if growth else slope(v, x)


def _over(x: Value, numerator: Derivative, limit: float) -> Value:
    """numerator(x) / x, and its limit at 0."""
    zero = equal(x, 0.0)
    away = where(zero, 1.0, x)
    result: Value = where(zero, x.literal(limit), numerator(away) / away)
    return result


# ---- solutions of second order equations ---------------------------------------------------------


def _pair(name: str, second: Derivative, scale: float = 1.0) -> dict[str, Rules]:
    """A function and its derivative in the last operand, by the equation that they solve.

    second(y, slope, *ins)  the second derivative
    scale                   how much the variable of the equation grows with the last operand
    """
    return {
        f"{name}.0": (*_unknown(name), lambda out, *ins: call(f"{name}.1", *ins) * scale),
        f"{name}.1": (
            *_unknown(name),
            lambda out, *ins: second(call(f"{name}.0", *ins), out, *ins) * scale,
        ),
    }


def _unknown(name: str) -> tuple[None, ...]:
    """For the operands before the last."""
    return (None,) * (1 if name.startswith("pb") else 2)


def _mathieu(kind: str, radial: bool) -> Derivative:
    characteristic = "mathieu_a" if kind == "c" else "mathieu_b"
    if radial:
        return lambda y, slope, m, q, x: (call(characteristic, m, q) - q * 2.0 * cosh(x * 2.0)) * y
    return lambda y, slope, m, q, x: (
        (q * 2.0 * cos(x * (2.0 * DEGREE)) - call(characteristic, m, q)) * y
    )


def _airye(part: int, other: Derivative, growth: float) -> Derivative:
    """A scaled Airy function: that of the other one, and what the scale adds right of 0."""
    return lambda out, x: other(x) + sqrt(maximum(x, 0.0)) * out * growth


_AIRY: dict[str, Rules] = {
    "airy.0": (lambda out, x: call("airy.1", x),),
    "airy.1": (lambda out, x: x * call("airy.0", x),),
    "airy.2": (lambda out, x: call("airy.3", x),),
    "airy.3": (lambda out, x: x * call("airy.2", x),),
    "airye.0": (_airye(0, lambda x: call("airye.1", x), 1.0),),
    "airye.1": (_airye(1, lambda x: x * call("airye.0", x), 1.0),),
    "airye.2": (_airye(2, lambda x: call("airye.3", x), -1.0),),
    "airye.3": (_airye(3, lambda x: x * call("airye.2", x), -1.0),),
    "itairy.0": (lambda out, x: call("airy.0", x),),
    "itairy.1": (lambda out, x: call("airy.2", x),),
    "itairy.2": (lambda out, x: call("airy.0", -x),),
    "itairy.3": (lambda out, x: call("airy.2", -x),),
}
_PAIRS: dict[str, Rules] = {
    **_pair("pbdv", lambda y, slope, v, x: (square(x) * 0.25 - v - 0.5) * y),
    **_pair("pbvv", lambda y, slope, v, x: (square(x) * 0.25 - v - 0.5) * y),
    **_pair("pbwa", lambda y, slope, a, x: (a - square(x) * 0.25) * y),
    **_pair("mathieu_cem", _mathieu("c", radial=False), DEGREE),
    **_pair("mathieu_sem", _mathieu("s", radial=False), DEGREE),
    **_pair("mathieu_modcem1", _mathieu("c", radial=True)),
    **_pair("mathieu_modcem2", _mathieu("c", radial=True)),
    **_pair("mathieu_modsem1", _mathieu("s", radial=True)),
    **_pair("mathieu_modsem2", _mathieu("s", radial=True)),
}
_BESSEL: dict[str, Rules] = {
    "j0": (lambda out, x: -call("j1", x),),
    "j1": (lambda out, x: (call("j0", x) - call("jv", 2.0, x)) * 0.5,),
    "y0": (lambda out, x: -call("y1", x),),
    "y1": (lambda out, x: (call("y0", x) - call("yv", 2.0, x)) * 0.5,),
    "k0": (lambda out, x: -call("k1", x),),
    "k1": (lambda out, x: (call("k0", x) + call("kv", 2.0, x)) * -0.5,),
    "k0e": (lambda out, x: out - call("k1e", x),),
    "k1e": (lambda out, x: out - (call("k0e", x) + call("kve", 2.0, x)) * 0.5,),
    **{name: (_by_order(jv_slope), _neighbours(name, 1.0, -1.0)) for name in ("jv", "jve")},
    **{name: (_by_order(yv_slope), _neighbours(name, 1.0, -1.0)) for name in ("yv", "yve")},
    "yn": (None, _neighbours("yn", 1.0, -1.0)),
    "kn": (None, _neighbours("kn", -1.0, -1.0)),
    "iv": (_by_order(ive_slope, 1.0), _neighbours("iv", 1.0, 1.0)),
    "kv": (_by_order(kve_slope, -1.0), _neighbours("kv", -1.0, -1.0)),
    "ive": (
        _by_order(ive_slope),
        lambda out, v, x: _neighbours("ive", 1.0, 1.0)(out, v, x) - sign(x) * out,
    ),
    "kve": (
        _by_order(kve_slope),
        lambda out, v, x: _neighbours("kve", -1.0, -1.0)(out, v, x) + out,
    ),
    "besselpoly": (
        lambda out, a, power, v: (
            call("besselpoly", a, power + 1.0, v - 1.0)
            - call("besselpoly", a, power + 1.0, v + 1.0)
        ),
        None,
        None,
    ),
    "wright_bessel": (None, None, lambda out, a, b, x: call("wright_bessel", a, a + b, x)),
    "log_wright_bessel": (
        None,
        None,
        lambda out, a, b, x: exp(call("log_wright_bessel", a, a + b, x) - out),
    ),
}
_STRUVE: dict[str, Rules] = {
    "struve": (
        lambda out, v, x: struve_slope(out, v, x, modified=False),
        lambda out, v, x: call("struve", v - 1.0, x) - v / x * out,
    ),
    "modstruve": (
        lambda out, v, x: struve_slope(out, v, x, modified=True),
        lambda out, v, x: call("modstruve", v - 1.0, x) - v / x * out,
    ),
    "itstruve0": (lambda out, x: call("struve", 0.0, x),),
    "itmodstruve0": (lambda out, x: call("modstruve", 0.0, x),),
    "it2struve0": (lambda out, x: -_over(x, lambda t: call("struve", 0.0, t), 2.0 / math.pi),),
}
_KELVIN: dict[str, Rules] = {
    **{name: (lambda out, x, name=name: call(name + "p", x),) for name in ("ber", "bei", "ker")},
    "kei": (lambda out, x: call("keip", x),),
    # With y = ber + i bei (DLMF 10.61): y'' = i y - y' / x.
    "berp": (lambda out, x: -call("bei", x) - out / x,),
    "beip": (lambda out, x: call("ber", x) - out / x,),
    "kerp": (lambda out, x: -call("kei", x) - out / x,),
    "keip": (lambda out, x: call("ker", x) - out / x,),
}
_INTEGRALS: dict[str, Rules] = {
    "iti0k0.0": (lambda out, x: call("iv", 0.0, x),),
    "iti0k0.1": (lambda out, x: call("k0", x),),
    "itj0y0.0": (lambda out, x: call("j0", x),),
    "itj0y0.1": (lambda out, x: call("y0", x),),
    "it2i0k0.0": (lambda out, x: _over(x, lambda t: call("iv", 0.0, t) - 1.0, 0.0),),
    "it2i0k0.1": (lambda out, x: -call("k0", x) / x,),
    "it2j0y0.0": (lambda out, x: _over(x, lambda t: 1.0 - call("j0", t), 0.0),),
    "it2j0y0.1": (lambda out, x: -call("y0", x) / x,),
    "fresnel.0": (lambda out, x: sin(square(x) * (math.pi / 2)),),
    "fresnel.1": (lambda out, x: cos(square(x) * (math.pi / 2)),),
}
BESSEL: dict[str, Rules] = {
    **_BESSEL,
    **_STRUVE,
    **_KELVIN,
    **_AIRY,
    **_PAIRS,
    **_INTEGRALS,
    **dict.fromkeys(("mathieu_a", "mathieu_b")),
}
"""Name -> the derivative by each operand."""
