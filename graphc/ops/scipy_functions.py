"""Functions of scipy.special that run in scipy's own machine code, called for each element.

They are the ones that `special` does not make of elementary operations.  An equation names one as
`scipy_special_j0`; its address is that which `scipy.special.cython_special` gives out.  They
compute in f64.  Derivatives are those of the NIST Digital Library of Mathematical Functions (DLMF),
chapters 6 to 19; where one has no closed form it is NaN, so that nobody takes it for 0.
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ops.elementwise import abs as size_of
from graphc.ops.elementwise import (
    equal,
    exp,
    less,
    log,
    log1p,
    reciprocal,
    sign,
    sin,
    sqrt,
    square,
    trunc,
    where,
)
from graphc.ops.elementwise import erf as error_function
from graphc.ops.external import FUNCTIONS, External, scalar_call
from graphc.ops.special import digamma, gammaln

Derivative = Callable[..., Value]
"""From the result and the operands, in f64."""

PREFIX = "scipy_special_"

WHOLE = {
    **dict.fromkeys(("expn", "kn", "yn", "smirnov", "smirnovi", "pdtri"), (0,)),
    **dict.fromkeys(("nbdtr", "nbdtrc", "nbdtri"), (0, 1)),
}
"""Function -> the operands of which it takes the whole part.

scipy warns of fractions there, by calling Python, which no thread of a step may.  The functions
that always call Python (`bdtr`) are not in the table.
"""


def call(name: str, *operands: Any) -> Value:
    """`scipy.special.name` of f64 operands of one shape; a number stands for an operand of it."""
    like = next(x for x in operands if isinstance(x, Value))
    values = [x if isinstance(x, Value) else like.literal(float(x)) for x in operands]
    for place in WHOLE.get(name, ()):
        values[place] = trunc(values[place])
    symbol = PREFIX + name
    register(symbol)
    return scalar_call(*values, function=symbol, result="f64")


def register(symbol: str) -> External | None:
    """The function that machine code calls by that symbol, None if it is no name of the table."""
    name = symbol.removeprefix(PREFIX)
    if name == symbol or name not in DERIVATIVES:
        return None
    if symbol not in FUNCTIONS:
        vjp = None if DERIVATIVES[name] is None else functools.partial(_vjp, name)
        FUNCTIONS[symbol] = External(
            symbol, functools.partial(_reference, name), functools.partial(address, name), vjp=vjp
        )
    return FUNCTIONS[symbol]


def _vjp(name: str, g: Value, out: Value, *ins: Value) -> tuple[Any, ...]:
    rules = DERIVATIVES[name]
    assert rules is not None
    return tuple(g * (math.nan if rule is None else rule(out, *ins)) for rule in rules)


def _reference(name: str, *operands: np.ndarray) -> Any:
    return getattr(_scipy_special(), name)(*operands)


def _scipy_special() -> Any:
    try:
        from scipy import special  # type: ignore[import-untyped]
    except ImportError:
        raise errors.MissingLibraryError(
            "functions of scipy.special run in scipy; pip install graphc-compiler[linalg]"
        ) from None
    return special


# ---- machine code --------------------------------------------------------------------------------

_SIGNATURE = re.compile(r"double \(((?:double, )+)int __pyx_skip_dispatch\)")


@functools.cache
def _capsules() -> dict[str, Any]:
    """Name -> the capsule of the function that takes and gives numbers in f64.

    A function for several types has several, whose names begin with what tells them apart.  The
    last parameter of each is for Cython's use and is not looked at.
    """
    from scipy.special import cython_special  # type: ignore[import-untyped]

    found = {}
    for name, capsule in cython_special.__pyx_capi__.items():
        if _SIGNATURE.fullmatch(_signature(capsule)):
            found[re.sub(r"^__pyx_fuse_\d+(_\d+)?", "", name)] = capsule
    return found


def _signature(capsule: Any) -> str:
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return bytes(name(capsule)).decode()


def address(name: str) -> int:
    """Where the machine code of a function lies."""
    _scipy_special()
    capsule = _capsules().get(name)
    if capsule is None:
        raise errors.ExternalError(
            f"this version of scipy gives out no address of scipy.special.{name}; update scipy"
        )
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, _signature(capsule).encode()))


# ---- pieces of derivatives -----------------------------------------------------------------------

ROOT_PI = math.sqrt(math.pi)
DEGREE = math.pi / 180.0


def _times_log(factor: Value, x: Value) -> Value:
    """factor log(x), 0 where the factor is."""
    zero = equal(factor, 0.0)
    result: Value = where(zero, factor, factor * log(where(zero, 1.0, x)))
    return result


def _gamma_density(a: Value, x: Value) -> Value:
    density: Value = exp(_times_log(a - 1.0, x) - x - gammaln(a))
    return density


def _beta_density(a: Value, b: Value, x: Value) -> Value:
    scale = gammaln(a) + gammaln(b) - gammaln(a + b)
    density: Value = exp(_times_log(a - 1.0, x) + _times_log(b - 1.0, 1.0 - x) - scale)
    return density


def _student_density(df: Value, t: Value) -> Value:
    half = df * 0.5
    scale = gammaln(half + 0.5) - gammaln(half) - log(df * math.pi) * 0.5
    density: Value = exp(scale - (half + 0.5) * log1p(square(t) / df))
    return density


def _fisher_density(n: Value, d: Value, x: Value) -> Value:
    total = n * x + d
    return _beta_density(n * 0.5, d * 0.5, n * x / total) * n * d / square(total)


def _normal_density(x: Value) -> Value:
    density: Value = exp(square(x) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return density


def _inverse(density: Derivative, scale: float = 1.0) -> Derivative:
    """The derivative of the inverse of a distribution, at what it gives."""
    return lambda out, *ins: scale / density(*ins[:-1], out)


def _neighbours(name: str, first: float, second: float) -> Derivative:
    """Half the weighted sum of the functions of the orders below and above (DLMF 10.6, 10.29)."""
    return lambda out, v, x: (
        (call(name, v - 1.0, x) * first + call(name, v + 1.0, x) * second) * 0.5
    )


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


def _elliptic(m: Value, phi: Value) -> Value:
    root: Value = sqrt(1.0 - m * square(sin(phi)))
    return root


# ---- the table -----------------------------------------------------------------------------------

_BESSEL: dict[str, tuple[Derivative | None, ...] | None] = {
    "j0": (lambda out, x: -call("j1", x),),
    "j1": (lambda out, x: (call("j0", x) - call("jv", 2.0, x)) * 0.5,),
    "y0": (lambda out, x: -call("y1", x),),
    "y1": (lambda out, x: (call("y0", x) - call("yv", 2.0, x)) * 0.5,),
    "k0": (lambda out, x: -call("k1", x),),
    "k1": (lambda out, x: (call("k0", x) + call("kv", 2.0, x)) * -0.5,),
    "k0e": (lambda out, x: out - call("k1e", x),),
    "k1e": (lambda out, x: out - (call("k0e", x) + call("kve", 2.0, x)) * 0.5,),
    **{name: (None, _neighbours(name, 1.0, -1.0)) for name in ("jv", "jve", "yn", "yv", "yve")},
    "iv": (None, _neighbours("iv", 1.0, 1.0)),
    **{name: (None, _neighbours(name, -1.0, -1.0)) for name in ("kn", "kv")},
    "ive": (None, lambda out, v, x: _neighbours("ive", 1.0, 1.0)(out, v, x) - sign(x) * out),
    "kve": (None, lambda out, v, x: _neighbours("kve", -1.0, -1.0)(out, v, x) + out),
    "struve": (None, lambda out, v, x: call("struve", v - 1.0, x) - v / x * out),
    "modstruve": (None, lambda out, v, x: call("modstruve", v - 1.0, x) - v / x * out),
    **{name: (lambda out, x, name=name: call(name + "p", x),) for name in ("ber", "bei", "ker")},
    "kei": (lambda out, x: call("keip", x),),
    **dict.fromkeys(("berp", "beip", "kerp", "keip", "itstruve0", "itmodstruve0", "it2struve0")),
    **dict.fromkeys(("besselpoly", "wright_bessel", "log_wright_bessel")),
}
_GAMMA: dict[str, tuple[Derivative | None, ...] | None] = {
    "gammainc": (None, lambda out, a, x: _gamma_density(a, x)),
    "gammaincc": (None, lambda out, a, x: -_gamma_density(a, x)),
    "gammaincinv": (None, _inverse(_gamma_density)),
    "gammainccinv": (None, _inverse(_gamma_density, -1.0)),
    "betainc": (None, None, lambda out, a, b, x: _beta_density(a, b, x)),
    "betaincc": (None, None, lambda out, a, b, x: -_beta_density(a, b, x)),
    "betaincinv": (None, None, _inverse(_beta_density)),
    "betainccinv": (None, None, _inverse(_beta_density, -1.0)),
    "rgamma": (lambda out, x: -out * digamma(x),),
    "poch": (
        lambda out, z, m: out * (digamma(z + m) - digamma(z)),
        lambda out, z, m: out * digamma(z + m),
    ),
    "binom": (
        lambda out, n, k: out * (digamma(n + 1.0) - digamma(n - k + 1.0)),
        lambda out, n, k: out * (digamma(n - k + 1.0) - digamma(k + 1.0)),
    ),
    "zetac": None,
}
_DISTRIBUTIONS: dict[str, tuple[Derivative | None, ...] | None] = {
    "stdtr": (None, lambda out, df, t: _student_density(df, t)),
    "stdtrit": (None, _inverse(_student_density)),
    "chdtr": (None, lambda out, v, x: _gamma_density(v * 0.5, x * 0.5) * 0.5),
    "chdtrc": (None, lambda out, v, x: _gamma_density(v * 0.5, x * 0.5) * -0.5),
    "chdtri": (None, lambda out, v, p: -2.0 / _gamma_density(v * 0.5, out * 0.5)),
    "gdtr": (
        lambda out, a, b, x: _gamma_density(b, a * x) * x,
        None,
        lambda out, a, b, x: _gamma_density(b, a * x) * a,
    ),
    "gdtrc": (
        lambda out, a, b, x: -_gamma_density(b, a * x) * x,
        None,
        lambda out, a, b, x: -_gamma_density(b, a * x) * a,
    ),
    "fdtr": (None, None, lambda out, n, d, x: _fisher_density(n, d, x)),
    "fdtrc": (None, None, lambda out, n, d, x: -_fisher_density(n, d, x)),
    "fdtri": (None, None, _inverse(_fisher_density)),
    "pdtr": (None, lambda out, k, m: -_gamma_density(k + 1.0, m)),
    "pdtrc": (None, lambda out, k, m: _gamma_density(k + 1.0, m)),
    "ndtri_exp": (lambda out, y: exp(y) / _normal_density(out),),
    "owens_t": (
        lambda out, h, a: _normal_density(h) * error_function(a * h * math.sqrt(0.5)) * -0.5,
        lambda out, h, a: (
            exp(square(h) * (1.0 + square(a)) * -0.5) / ((1.0 + square(a)) * (2.0 * math.pi))
        ),
    ),
    **dict.fromkeys("nbdtr nbdtrc nbdtri bdtrik bdtrin pdtri pdtrik stdtridf".split()),
    **dict.fromkeys(
        "gdtria gdtrib gdtrix btdtria btdtrib fdtridfd chdtriv chndtr chndtrix".split()
    ),
    **dict.fromkeys("chndtridf chndtrinc ncfdtr ncfdtri nctdtr nctdtrit nrdtrimn nrdtrisd".split()),
    **dict.fromkeys("kolmogorov kolmogi smirnov smirnovi tklmbda voigt_profile nbdtrik".split()),
    **dict.fromkeys("nbdtrin ncfdtridfd ncfdtridfn ncfdtrinc nctdtridf nctdtrinc".split()),
}
_INTEGRALS: dict[str, tuple[Derivative | None, ...] | None] = {
    "erfi": (lambda out, x: exp(square(x)) * (2.0 / ROOT_PI),),
    "erfcinv": (lambda out, x: exp(square(out)) * (-0.5 * ROOT_PI),),
    "dawsn": (lambda out, x: 1.0 - x * out * 2.0,),
    "expi": (lambda out, x: exp(x) / x,),
    "exp1": (lambda out, x: -exp(-x) / x,),
    "expn": (None, lambda out, n, x: -call("expn", n - 1.0, x)),
    "exprel": (_exprel_derivative,),
    "spence": (_at(1.0, -1.0, lambda out, x: log(x) / (1.0 - x)),),
    "ellipk": (
        _at(0.0, math.pi / 8, lambda out, m: (call("ellipe", m) / (1.0 - m) - out) / (m * 2.0)),
    ),
    "ellipkm1": (
        _at(
            1.0, -math.pi / 8, lambda out, p: (out - call("ellipe", 1.0 - p) / p) / (2.0 - p * 2.0)
        ),
    ),
    "ellipe": (_at(0.0, -math.pi / 8, lambda out, m: (out - call("ellipk", m)) / (m * 2.0)),),
    "ellipkinc": (lambda out, phi, m: reciprocal(_elliptic(m, phi)), None),
    "ellipeinc": (
        lambda out, phi, m: _elliptic(m, phi),
        lambda out, phi, m: (out - call("ellipkinc", phi, m)) / (m * 2.0),
    ),
    **dict.fromkeys("elliprc elliprd elliprf elliprg elliprj agm wrightomega".split()),
}
_SERIES: dict[str, tuple[Derivative | None, ...] | None] = {
    "hyp0f1": (None, lambda out, v, x: call("hyp0f1", v + 1.0, x) / v),
    "hyp1f1": (None, None, lambda out, a, b, x: call("hyp1f1", a + 1.0, b + 1.0, x) * a / b),
    "hyp2f1": (
        None,
        None,
        None,
        lambda out, a, b, c, x: call("hyp2f1", a + 1.0, b + 1.0, c + 1.0, x) * a * b / c,
    ),
    "hyperu": (None, None, lambda out, a, b, x: -call("hyperu", a + 1.0, b + 1.0, x) * a),
    "eval_legendre": (
        None,
        lambda out, n, x: (x * out - call("eval_legendre", n - 1.0, x)) * n / (square(x) - 1.0),
    ),
    "eval_chebyt": (None, lambda out, n, x: call("eval_chebyu", n - 1.0, x) * n),
    "eval_chebyu": (
        None,
        lambda out, n, x: (
            ((n + 1.0) * call("eval_chebyt", n + 1.0, x) - x * out) / (square(x) - 1.0)
        ),
    ),
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
    **dict.fromkeys("eval_chebyc eval_chebys eval_sh_chebyt eval_sh_chebyu".split()),
    **dict.fromkeys("eval_sh_jacobi eval_sh_legendre lpmv mathieu_a mathieu_b".split()),
    **dict.fromkeys("obl_cv pro_cv".split()),
}
_ELEMENTARY: dict[str, tuple[Derivative | None, ...] | None] = {
    "sindg": (lambda out, x: call("cosdg", x) * DEGREE,),
    "cosdg": (lambda out, x: call("sindg", x) * -DEGREE,),
    "tandg": (lambda out, x: (1.0 + square(out)) * DEGREE,),
    "cotdg": (lambda out, x: (1.0 + square(out)) * -DEGREE,),
    "cosm1": (lambda out, x: -sin(x),),
    "powm1": (lambda out, x, y: y * (out + 1.0) / x, lambda out, x, y: (out + 1.0) * log(x)),
    "boxcox1p": (lambda out, x, power: exp((power - 1.0) * log1p(x)), None),
    "inv_boxcox": (lambda out, y, power: exp((1.0 - power) * log(out)), None),
    "inv_boxcox1p": (lambda out, y, power: exp((1.0 - power) * log1p(out)), None),
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
DERIVATIVES: dict[str, tuple[Derivative | None, ...] | None] = {
    **_BESSEL,
    **_GAMMA,
    **_DISTRIBUTIONS,
    **_INTEGRALS,
    **_SERIES,
    **_ELEMENTARY,
}
"""Name -> the derivative by each operand, None for one without a closed form; None without any."""
