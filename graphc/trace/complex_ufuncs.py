"""NumPy's ufuncs on complex values, in terms of their real and imaginary parts.

The formulas keep NumPy's branch cuts, whose sides the sign of a zero tells apart, and its values at
infinities.  They are written so that what is not chosen by a condition has no part in a gradient.
Formulas of the inverse functions: W. Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import Lit
from graphc.ops import bits, complexes
from graphc.ops import elementwise as ew
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, wrap

LN_2 = math.log(2.0)


def joined(real: Any, imag: Any) -> Any:
    """real + imag * 1j of two real values of one type."""
    return wrap(complexes.complex(real.value(), imag.value()))


def _parts(z: Any) -> tuple[Any, Any]:
    """The parts as values, not as views."""
    value = z.value()
    return wrap(complexes.real(value)), wrap(complexes.imag(value))


def _times(a: Any, b: Any, x: Any) -> Any:
    """a * b for an a of x that is zero or infinite only where x is.

    The product of zero and an infinity or NaN is zero.
    """
    product = a * b
    is_zero = np.logical_and(a == 0, _is_limit(x))
    lost = np.logical_and(np.isnan(product), np.logical_or(is_zero, b == 0))
    sides = [np.where(np.isnan(own), x.dtype.type(1), _sign_of(own)) for own in (a, b)]
    return np.where(lost, np.where(is_zero, a * sides[1], b * sides[0]), product)


def _grown(a: Any, b: Any, x: Any) -> Any:
    """As `_times`, but infinite where x is, also beside NaN."""
    infinite = np.logical_and(np.logical_and(np.isinf(a), np.isinf(x)), np.isnan(b))
    return np.where(infinite, a, _times(a, b, x))


def _is_limit(x: Any) -> Any:
    return np.logical_or(np.isinf(x), x == 0)


def _sign_of(x: Any) -> Any:
    """1 or -1, by the sign bit: a constant to gradients."""
    return np.where(np.signbit(x), x.dtype.type(-1), x.dtype.type(1))


def _with_sign(size: Any, of: Any) -> Any:
    return wrap(bits.copysign(size.value(), of.value()))


def _turned(z: Any) -> Any:
    """z * 1j"""
    x, y = _parts(z)
    return joined(-y, x)


def _turned_back(z: Any) -> Any:
    """z * -1j"""
    x, y = _parts(z)
    return joined(y, -x)


# ---- exponentials and logarithms -----------------------------------------------------------------


def _exp(z: Any) -> Any:
    x, y = _parts(z)
    # exp(x) may overflow where exp(x) cos(y) does not.
    limit = math.floor(math.log(float(np.finfo(x.dtype).max)))
    shift = np.where(x > limit, x.dtype.type(limit / 2), x.dtype.type(0))
    size, rest = np.exp(x - shift), np.exp(shift)
    return joined(_grown(size, np.cos(y), x) * rest, _times(size, np.sin(y), x) * rest)


def _expm1(z: Any) -> Any:
    x, y = _parts(z)
    half = np.sin(y * 0.5)
    return joined(np.expm1(x) * np.cos(y) - half * half * 2.0, np.exp(x) * np.sin(y))


def _log_size(x: Any, y: Any) -> Any:
    """log(hypot(x, y)); near 1 by log1p, of which less is cancelled."""
    size = np.hypot(x, y)
    near = np.logical_and(size > 0.5, size < 2.0)
    large, small = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    excess = np.where(near, (large - 1.0) * (large + 1.0) + small * small, x.dtype.type(0))
    return np.where(near, 0.5 * np.log1p(excess), np.log(np.where(near, x.dtype.type(1), size)))


def _log(z: Any) -> Any:
    x, y = _parts(z)
    return joined(_log_size(x, y), np.arctan2(y, x))


def _log_to(base: float) -> Callable[[Any], Any]:
    def apply(z: Any) -> Any:
        x, y = _parts(_log(z))
        return joined(x * (1 / math.log(base)), y * (1 / math.log(base)))

    return apply


def _log1p(z: Any) -> Any:
    x, y = _parts(z)
    # |1 + z|² - 1 = x (2 + x) + y²
    near = np.logical_and(np.abs(x) < 0.5, np.abs(y) < 0.5)
    excess = np.where(near, x * (x + 2.0) + y * y, x.dtype.type(0))
    far = _log_size(np.where(near, x.dtype.type(1), x + 1.0), np.where(near, x.dtype.type(1), y))
    return joined(np.where(near, 0.5 * np.log1p(excess), far), np.arctan2(y, x + 1.0))


def _exp2(z: Any) -> Any:
    x, y = _parts(z)
    return _exp(joined(x * LN_2, y * LN_2))


# ---- roots and powers ----------------------------------------------------------------------------


def _sqrt(z: Any) -> Any:
    x, y = _parts(z)
    half = x * 0.5
    size = np.abs(half) + np.hypot(half, y * 0.5)
    is_zero = size == 0
    root = np.sqrt(np.where(is_zero, x.dtype.type(1), size))
    turned = _sign_of(y)
    other = np.where(np.isinf(root), x.dtype.type(0), np.abs(y * turned) / (root * 2.0))
    other = np.where(np.isnan(y), y, other)
    right = np.logical_not(np.signbit(x))
    real, imag = np.where(right, root, other), np.where(right, other, root) * turned
    infinite = np.isinf(y)
    real = np.where(is_zero, np.abs(x), np.where(infinite, np.abs(y), real))
    return joined(real, np.where(np.logical_or(is_zero, infinite), y, imag))


def _power(z: Any, w: Any) -> Any:
    real, _ = _parts(w)
    is_zero, to_zero = z == 0, w == 0
    safe = np.where(is_zero, z.dtype.type(1), z)
    power = _exp(np.multiply(w, _log(safe)))
    nan = z.dtype.type(complex(math.nan, math.nan))
    of_zero = np.where(real > 0, z.dtype.type(0), nan)
    return np.where(to_zero, z.dtype.type(1), np.where(is_zero, of_zero, power))


def _known_integer(x: Tracer) -> int | None:
    """The value of an exponent, where it is one small integer known while tracing."""
    atom = x.value().atom
    if not isinstance(atom, Lit) or not abs(atom.value) <= 100 or atom.value != int(atom.value):
        return None
    return int(atom.value)


def _integer_power(z: Any, exponent: int) -> Any:
    """By squaring."""
    count, factor, result = abs(exponent), z, None
    while count:
        if count % 2:
            result = factor if result is None else np.multiply(result, factor)
        count //= 2
        factor = np.multiply(factor, factor) if count else factor
    if result is None:
        return np.ones_like(z)
    if exponent > 0:
        return result
    if exponent == -1:
        return np.reciprocal(result)
    nan = z.dtype.type(complex(math.nan, math.nan))
    return np.where(z == 0, nan, np.true_divide(np.ones_like(z), result))


def _sign(z: Any) -> Any:
    """z / |z|, and 0 at 0."""
    x, y = _parts(z)
    size = np.hypot(x, y)
    zero = x.dtype.type(0)
    safe = np.where(size == 0, x.dtype.type(1), size)
    both = np.logical_and(np.isinf(x), np.isinf(y))

    def part(own: Any) -> Any:
        of_infinite = np.where(np.isinf(own), _sign_of(own), zero)
        of_infinite = np.where(both, x.dtype.type(math.nan), of_infinite)
        found = np.where(np.isinf(size), of_infinite, own / safe)
        return np.where(size == 0, zero, found)

    return joined(part(x), part(y))


def _reciprocal(z: Any) -> Any:
    """By Smith's method."""
    x, y = _parts(z)
    by_real = np.abs(y) <= np.abs(x)
    large, small = np.where(by_real, x, y), np.where(by_real, y, x)
    ratio = small / large
    under = large + small * ratio
    one, turned = 1.0 / under, ratio / under
    return joined(np.where(by_real, one, turned), -np.where(by_real, turned, one))


# ---- trigonometric and hyperbolic ----------------------------------------------------------------


def _sinh(z: Any) -> Any:
    x, y = _parts(z)
    return joined(_grown(np.sinh(x), np.cos(y), x), _times(np.cosh(x), np.sin(y), x))


def _cosh(z: Any) -> Any:
    x, y = _parts(z)
    return joined(_grown(np.cosh(x), np.cos(y), x), _times(np.sinh(x), np.sin(y), x))


def _tanh(z: Any) -> Any:
    """Beyond a bound, cosh² is exp(2|x|)/4, and 1 is nothing beside it."""
    x, y = _parts(z)
    zero = x.dtype.type(0)
    far = np.abs(x) > (22.0 if x.dtype == np.float64 else 11.0)
    t, s = np.tan(y), np.sinh(np.where(far, zero, x))
    beta = t * t + 1.0
    under = beta * s * s + 1.0
    real = np.where(far, _sign_of(x), beta * np.sqrt(s * s + 1.0) * s / under)
    small = np.exp(np.where(far, np.abs(x), zero) * -2.0)
    imag_far = 4.0 * _times(small, np.sin(y) * np.cos(y), x)
    imag = np.where(far, imag_far, t / under)
    # Of a y that is no number, the limits at x = 0 and at infinity are known.
    lost = np.logical_and(np.logical_not(np.isfinite(y)), np.logical_not(_is_limit(x)))
    real = np.where(lost, x.dtype.type(math.nan), np.where(_with_nan(x, t), x, real))
    return joined(real, np.where(_with_nan(y, x), y, imag))


def _with_nan(x: Any, y: Any) -> Any:
    """Whether x is zero beside a y of NaN."""
    return np.logical_and(x == 0, np.isnan(y))


def _product_part(a: Any, b: Any) -> tuple[Any, Any]:
    """conj(a) * b"""
    (p, q), (r, s) = _parts(a), _parts(b)
    return p * r + q * s, p * s - q * r


def _plus(z: Any, number: float) -> Any:
    x, y = _parts(z)
    return joined(x + number, y)


def _minus_from(number: float, z: Any) -> Any:
    x, y = _parts(z)
    return joined(number - x, -y)


def _far(z: Any) -> tuple[Any, Any, Any]:
    """Where 1 is nothing beside z², log(2 |z|) there, and z with 0 in these places."""
    x, y = _parts(z)
    limit = 1e9 if x.dtype == np.float64 else 1e5
    far = np.logical_or(np.abs(x) > limit, np.abs(y) > limit)
    one = x.dtype.type(1)
    size = np.log(np.hypot(np.where(far, x, one) * 0.5, np.where(far, y, one) * 0.5)) + 2 * LN_2
    zero = x.dtype.type(0)
    return far, size, joined(np.where(far, zero, x), np.where(far, zero, y))


def _arcsin(z: Any) -> Any:
    x, y = _parts(z)
    far, size, near = _far(z)
    below, above = _sqrt(_minus_from(1.0, near)), _sqrt(_plus(near, 1.0))
    (p, q), (r, s) = _parts(below), _parts(above)
    real = np.arctan2(_parts(near)[0], p * r - q * s)
    real = np.where(_with_nan(x, y), x, real)
    imag = np.arcsinh(_product_part(below, above)[1])
    real_far = np.arctan2(
        np.where(far, x, x.dtype.type(1)), np.where(far, np.abs(y), x.dtype.type(1))
    )
    return joined(np.where(far, real_far, real), np.where(far, _sign_of(y) * size, imag))


def _arccos(z: Any) -> Any:
    x, y = _parts(z)
    far, size, near = _far(z)
    below, above = _sqrt(_minus_from(1.0, near)), _sqrt(_plus(near, 1.0))
    real = 2.0 * np.arctan2(_parts(below)[0], _parts(above)[0])
    real = np.where(_with_nan(x, y), x.dtype.type(math.pi / 2), real)
    imag = np.arcsinh(_product_part(above, below)[1])
    real_far = np.arctan2(
        np.where(far, np.abs(y), x.dtype.type(1)), np.where(far, x, x.dtype.type(1))
    )
    return joined(np.where(far, real_far, real), np.where(far, -_sign_of(y) * size, imag))


def _arccosh(z: Any) -> Any:
    x, y = _parts(z)
    far, size, near = _far(z)
    below, above = _sqrt(_plus(near, -1.0)), _sqrt(_plus(near, 1.0))
    real = np.arcsinh(_product_part(below, above)[0])
    imag = 2.0 * np.arctan2(_parts(below)[1], _parts(above)[0])
    imag = np.where(_with_nan(x, y), x.dtype.type(math.pi / 2), imag)
    imag_far = np.arctan2(np.where(far, y, x.dtype.type(1)), np.where(far, x, x.dtype.type(1)))
    return joined(np.where(far, size, real), np.where(far, imag_far, imag))


def _arctanh(z: Any) -> Any:
    x, y = _parts(z)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    infinite = np.logical_or(np.isinf(x), np.isinf(y))
    a, b = (np.where(infinite, zero, part) for part in (x, y))
    side = _sign_of(a)  # from |x|, by symmetry: log1p keeps its digits on this side
    size = a * side
    under = (1.0 - size) * (1.0 - size) + b * b
    tiny = under < np.finfo(x.dtype).tiny * 1e8  # z is near 1, and its square lost digits
    near = LN_2 - np.log(np.where(tiny, np.hypot(1.0 - size, b), one))
    real = 0.25 * np.log1p(4.0 * size / np.where(tiny, one, under))
    real = np.where(tiny, 0.5 * near, real) * side
    turn = 0.5 * np.arctan2(2.0 * b, (1.0 - size) * (1.0 + size) - b * b)
    quarter = np.where(np.isnan(y), y, _sign_of(y) * (math.pi / 2))
    real = np.where(infinite, _with_sign(np.zeros_like(x), x), np.where(_with_nan(x, y), x, real))
    return joined(real, np.where(infinite, quarter, turn))


# ---- questions -----------------------------------------------------------------------------------


def _of_parts(question: Any, combine: Any) -> Callable[[Any], Any]:
    def ask(z: Any) -> Any:
        return combine(*map(question, _parts(z)))

    return ask


def truth(z: Any) -> Any:
    """Whether a number is not zero."""
    x, y = _parts(z)
    return np.logical_or(x != 0, y != 0)


def _logical(ufunc: Any) -> Callable[..., Any]:
    return lambda *operands: ufunc(*map(truth, operands))


def _ordered(strictly: Any, finally_: Any) -> Callable[[Any, Any], Any]:
    """Comparison by the real parts, and by the imaginary ones where these are equal."""

    def compare(z: Any, w: Any) -> Any:
        (x, y), (u, v) = _parts(z), _parts(w)
        numbers = np.logical_not(np.logical_or(np.isnan(y), np.isnan(v)))
        first = np.logical_and(strictly(x, u), numbers)
        return np.logical_or(first, np.logical_and(x == u, finally_(y, v)))

    return compare


def _better(compare: Any) -> Callable[[Any, Any], Any]:
    def choose(z: Any, w: Any) -> Any:
        return np.where(np.logical_or(compare(z, w), np.isnan(z)), z, w)

    return choose


_less, _less_equal = _ordered(np.less, np.less), _ordered(np.less, np.less_equal)
_greater, _greater_equal = _ordered(np.greater, np.greater), _ordered(np.greater, np.greater_equal)


def _op(op: Any) -> Callable[..., Any]:
    return lambda *operands: wrap(op(*(x.value() for x in operands)))


def _each(function: Any) -> Callable[[Any], Any]:
    return lambda z: joined(*map(function, _parts(z)))


COMPLEX_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: _op(ew.add),
    np.subtract: _op(ew.subtract),
    np.multiply: _op(ew.multiply),
    np.true_divide: _op(ew.divide),
    np.negative: _op(ew.negative),
    np.positive: lambda z: z,
    np.conjugate: lambda z: joined(_parts(z)[0], -_parts(z)[1]),
    np.absolute: lambda z: np.hypot(*_parts(z)),
    np.square: lambda z: np.multiply(z, z),
    np.reciprocal: _reciprocal,
    np.power: _power,
    np.float_power: _power,
    np.sqrt: _sqrt,
    np.sign: _sign,
    np.exp: _exp,
    np.exp2: _exp2,
    np.expm1: _expm1,
    np.log: _log,
    np.log2: _log_to(2.0),
    np.log10: _log_to(10.0),
    np.log1p: _log1p,
    np.sin: lambda z: _turned_back(_sinh(_turned(z))),
    np.cos: lambda z: _cosh(_turned(z)),
    np.tan: lambda z: _turned_back(_tanh(_turned(z))),
    np.sinh: _sinh,
    np.cosh: _cosh,
    np.tanh: _tanh,
    np.arcsin: _arcsin,
    np.arccos: _arccos,
    np.arctan: lambda z: _turned_back(_arctanh(_turned(z))),
    np.arcsinh: lambda z: _turned_back(_arcsin(_turned(z))),
    np.arccosh: _arccosh,
    np.arctanh: _arctanh,
    np.rint: _each(np.rint),
    np.equal: _op(ew.equal),
    np.not_equal: _op(ew.not_equal),
    np.less: _less,
    np.less_equal: _less_equal,
    np.greater: _greater,
    np.greater_equal: _greater_equal,
    np.maximum: _better(_greater_equal),
    np.minimum: _better(_less_equal),
    np.isnan: _of_parts(np.isnan, np.logical_or),
    np.isinf: _of_parts(np.isinf, np.logical_or),
    np.isfinite: _of_parts(np.isfinite, np.logical_and),
    np.logical_and: _logical(np.logical_and),
    np.logical_or: _logical(np.logical_or),
    np.logical_xor: _logical(np.logical_xor),
    np.logical_not: _logical(np.logical_not),
}
"""NumPy ufunc -> what it is of complex values of one type."""


def complex_entry(ufunc: Any, operands: Sequence[Tracer]) -> Callable[..., Any]:
    """What computes a ufunc of operands one of which is complex.

    Raises `errors.DTypeError` for a ufunc that has no complex meaning here.
    """
    if ufunc in (np.power, np.float_power):
        exponent = _known_integer(operands[1])
        if exponent is not None:
            return lambda z, w: _integer_power(z, exponent)
    if ufunc not in COMPLEX_UFUNCS:
        raise errors.DTypeError(
            f"np.{ufunc.__name__} cannot be traced on complex values; use it on .real, .imag or"
            " np.abs",
            user_loc(),
        )
    return COMPLEX_UFUNCS[ufunc]
