"""Arithmetic, comparisons, logic, rounding and conversion: exact, as NumPy gives them.

The user's fast-math flags apply to the arithmetic rows, which are one IEEE instruction each.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir import INTS
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import (
    is_constant,
    is_float,
    is_unsigned,
    replace_rare,
    while_any,
)
from graphc.runtime.llvm.math._steps import ieee, layout, magnitude, with_sign
from graphc.runtime.llvm.math.narrow import NARROW, narrow, widen
from graphc.runtime.llvm.registers import BITS, Reg, constant

Row = Callable[..., Reg]

# ---- arithmetic ----------------------------------------------------------------------------------


def add(f: Function, a: Reg, b: Reg) -> Reg:
    return f.fadd(a, b) if is_float(a) else f.add(a, b)


def subtract(f: Function, a: Reg, b: Reg) -> Reg:
    return f.fsub(a, b) if is_float(a) else f.sub(a, b)


def multiply(f: Function, a: Reg, b: Reg) -> Reg:
    return f.fmul(a, b) if is_float(a) else f.mul(a, b)


def divide(f: Function, a: Reg, b: Reg) -> Reg:
    return f.fdiv(a, b)


def negative(f: Function, x: Reg) -> Reg:
    return f.fneg(x) if is_float(x) else f.sub(f.const(0, x), x)


def absolute(f: Function, x: Reg) -> Reg:
    """|x|; INT_MIN stays as it is."""
    if is_float(x):
        return magnitude(f, x)
    if is_unsigned(x):
        return x
    return f.intrinsic("smax", x, f.sub(f.const(0, x), x))


@ieee
def sign(f: Function, x: Reg) -> Reg:
    """-1, 0 or 1; NaN for NaN, and 0.0 for -0.0 as NumPy has it."""
    zero, one = f.const(0, x), f.const(1, x)
    if is_unsigned(x):
        return f.intrinsic("umin", x, one)
    if not is_float(x):
        return f.intrinsic("smax", f.intrinsic("smin", x, one), f.const(-1, x))
    ordered = f.fcmp("one", x, zero)
    # x + 0.0 keeps NaN and makes -0.0 positive.
    return f.select(ordered, with_sign(f, one, x), f.fadd(x, zero))


def square(f: Function, x: Reg) -> Reg:
    return multiply(f, x, x)


def reciprocal(f: Function, x: Reg) -> Reg:
    return f.fdiv(f.const(1.0, x), x)


def same(f: Function, x: Reg) -> Reg:
    return x


def sqrt(f: Function, x: Reg) -> Reg:
    return f.intrinsic("sqrt", x)


def rsqrt(f: Function, x: Reg) -> Reg:
    return reciprocal(f, sqrt(f, x))


def _extremum(predicate: str, integers: str, logical: str) -> Row:
    def row(f: Function, a: Reg, b: Reg) -> Reg:
        if a.elem == "i1":
            return f.binary(logical, a, b)
        if not is_float(a):
            return f.intrinsic(("u" if is_unsigned(a) else "s") + integers, a, b)
        if is_constant(b):
            a, b = b, a
        # One instruction that gives b if either is NaN; the second select is for a NaN in a, and
        # folds away where a is a constant.
        chosen = f.select(f.fcmp(predicate, a, b), a, b)
        return f.select(f.fcmp("uno", a, a), a, chosen)

    return row


# ---- rounding and classifying --------------------------------------------------------------------


def _rounding(intrinsic: str) -> Row:
    return lambda f, x: f.intrinsic(intrinsic, x) if is_float(x) else x


def isnan(f: Function, x: Reg) -> Reg:
    return f.fcmp("uno", x, x)


def isinf(f: Function, x: Reg) -> Reg:
    return f.fcmp("oeq", magnitude(f, x), f.const(float("inf"), x))


def isfinite(f: Function, x: Reg) -> Reg:
    return f.fcmp("olt", magnitude(f, x), f.const(float("inf"), x))


# ---- comparing, choosing, logic ------------------------------------------------------------------


def _comparison(floats: str, integers: str, unsigned: str) -> Row:
    def row(f: Function, a: Reg, b: Reg) -> Reg:
        if is_float(a):
            return f.fcmp(floats, a, b)
        return f.icmp(unsigned if is_unsigned(a) else integers, a, b)

    return row


def where(f: Function, condition: Reg, a: Reg, b: Reg) -> Reg:
    return f.select(condition, a, b)


def left_shift(f: Function, x: Reg, count: Reg) -> Reg:
    """x << count; 0 where count is negative or not below the width."""
    width = f.const(BITS[x.elem], x)
    # Too large a shift is poison, which a select that does not choose it does not pass on.
    return f.select(f.icmp("ult", count, width), f.shl(x, count), f.const(0, x))


def right_shift(f: Function, x: Reg, count: Reg) -> Reg:
    """x >> count; 0 or -1, by the sign of x, where count is negative or not below the width."""
    if is_unsigned(x):
        width = f.const(BITS[x.elem], x)
        return f.select(f.icmp("ult", count, width), f.lshr(x, count), f.const(0, x))
    most = f.const(BITS[x.elem] - 1, x)
    return f.ashr(x, f.intrinsic("umin", count, most))


# ---- conversion ----------------------------------------------------------------------------------

ELEMS = {
    "f32": "float",
    "f64": "double",
    **{dtype: dtype for dtype in INTS},
    "f16": "f16",
    "bf16": "bf16",
    "bool": "i1",
    "tape": "i64",  # the address of its last record
}


def cast(f: Function, x: Reg, *, dtype: str) -> Reg:
    """x as another dtype, as NumPy converts on x86.

    A float becomes what it is towards zero, and INT_MIN where no i64, or for narrower integers no
    i32, is that; of what is found there, narrower integers are the low bits.
    """
    elem = ELEMS[dtype]
    if elem == x.elem:
        return x
    if x.elem in NARROW:
        return cast(f, widen(f, x), dtype=dtype)
    if elem in NARROW:
        return narrow(f, x, dtype=dtype)
    if elem == "i1":
        zero = f.const(0, x)
        return f.fcmp("une", x, zero) if is_float(x) else f.icmp("ne", x, zero)
    if is_float(x) and elem not in ("float", "double"):
        return _truncated(f, x, elem)
    if BITS[elem] == BITS[x.elem] and not is_float(x) and elem not in ("float", "double"):
        return x._replace(elem=elem)
    return f.convert(_conversion(x, elem), x, elem)


def _conversion(x: Reg, target: str) -> str:
    wider = BITS[target] > BITS[x.elem]
    if target in ("float", "double"):
        if is_float(x):
            return "fpext" if wider else "fptrunc"
        return "uitofp" if is_unsigned(x) else "sitofp"
    if not wider:
        return "trunc"
    return "zext" if is_unsigned(x) else "sext"


def _truncated(f: Function, x: Reg, elem: str) -> Reg:
    """Towards zero, in the word that NumPy converts in; of that the low bits."""
    if elem == "u64":
        return _truncated_to_u64(f, x)
    word = elem if elem in ("i32", "i64") else "i64" if elem == "u32" else "i32"
    whole = _truncated_to_word(f, x, word)
    return whole if word == elem else f.convert("trunc", whole, elem)


def _truncated_to_word(f: Function, x: Reg, elem: str) -> Reg:
    """The conversion is poison out of range; the select does not pass that on."""
    bound = f.const(2.0 ** (BITS[elem] - 1), x)
    # |x| < bound leaves out -bound, which is INT_MIN: what the other side gives.
    fits = f.fcmp("olt", magnitude(f, x), bound)
    converted = f.convert("fptosi", x, elem)
    smallest = constant(-(1 << (BITS[elem] - 1)), elem, x.lanes)
    return f.select(fits, converted, smallest)


def _truncated_to_u64(f: Function, x: Reg) -> Reg:
    """The upper half of the range is converted less 2**63, which the top bit then stands for."""
    half = f.const(2.0**63, x)
    is_upper = f.fcmp("oge", x, half)
    lower = f.select(is_upper, f.fsub(x, half), x)
    whole = _truncated_to_word(f, lower, "i64")
    top = f.select(is_upper, f.const(-(1 << 63), whole), f.const(0, whole))
    return f.xor(whole, top)._replace(elem="u64")


# ---- remainder of floats -------------------------------------------------------------------------


def _remainder(f: Function, x: Reg, y: Reg) -> Reg:
    """C's fmod, exactly: x minus an integer times y, with the sign of x (a zero may lose it).

    With n = trunc(x / y) rounded, x - n * y is a float as long as n < 2**(bits of a float): it is
    a multiple of the smaller ulp of x and y, and below |y|.  So one fused multiply-add finds it
    without error.  n may be one too large, which the sign of the rest then shows.
    """
    ratio = f.fdiv(x, y)
    n = f.intrinsic("trunc", ratio)
    rest = f.fma(f.fneg(n), y, x)
    far = f.fcmp("oge", magnitude(f, ratio), f.const(2.0 ** (layout(x).fraction_bits + 1), x))
    rest = replace_rare(f, far, rest, "remainder", [x, y], _remainder_of_far)
    wrong = f.fcmp("olt", f.fmul(rest, with_sign(f, f.const(1.0, x), x)), f.const(0.0, x))
    rest = f.select(wrong, f.fadd(rest, with_sign(f, y, x)), rest)
    # |x| < |y| = inf would be NaN above.
    return f.select(f.fcmp("olt", magnitude(f, x), magnitude(f, y)), x, rest)


RESCALING = {"float": (2.0**-110, 2.0**100), "double": (2.0**-1000, 2.0**900)}
"""Two scalings of a divisor bring any quotient into range; each leaves it above 1."""


def _remainder_of_far(f: Function, x: Reg, y: Reg) -> Reg:
    """x minus an integer times y, in (-|y|, |y|), for any x / y: long division.

    A step takes as many bits off the quotient as a float has.  It is exact by the argument above,
    where n is no integer but a multiple of its own ulp times the divisor.  Infinities and zero
    divisors become NaN in the first step, and end the loop.
    """
    shrink, grow = RESCALING[x.elem]

    def unfinished(rest: Reg) -> Reg:
        return f.fcmp("oge", magnitude(f, rest), magnitude(f, y))

    def step(rest: Reg) -> list[Reg]:
        small = f.fmul(magnitude(f, rest), f.const(shrink, rest))
        divisor = magnitude(f, y)
        for _ in range(2):  # a multiple of y, such that rest / divisor is finite
            grown = f.fmul(divisor, f.const(grow, divisor))
            divisor = f.select(f.fcmp("oge", small, divisor), grown, divisor)
        n = f.intrinsic("trunc", f.fdiv(rest, divisor))
        return [f.fma(f.fneg(n), divisor, rest)]

    return while_any(f, [x], unfinished, step)[0]


@ieee
def mod(f: Function, x: Reg, y: Reg) -> Reg:
    """x % y with the sign of y, as Python and NumPy: exact but for the rounding of rest + y."""
    return _divided(f, x, y)[1]


@ieee
def floor_divide(f: Function, x: Reg, y: Reg) -> Reg:
    """x // y, as Python and NumPy compute it: (x - x % y) / y, rounded to an integer."""
    quotient, _ = _divided(f, x, y)
    zero, one = f.const(0.0, x), f.const(1.0, x)
    down = f.intrinsic("floor", quotient)
    # The division may have rounded to just below the integer that it is.
    above = f.fcmp("ogt", f.fsub(quotient, down), f.const(0.5, x))
    down = f.select(above, f.fadd(down, one), down)
    ratio = f.fdiv(x, y)
    down = f.select(f.fcmp("oeq", quotient, zero), with_sign(f, zero, ratio), down)
    return f.select(f.fcmp("oeq", y, zero), ratio, down)


def _divided(f: Function, x: Reg, y: Reg) -> tuple[Reg, Reg]:
    """(quotient, remainder) before the quotient is rounded down."""
    rest = _remainder(f, x, y)
    zero = f.const(0.0, x)
    quotient = f.fdiv(f.fsub(x, rest), y)
    nonzero = f.fcmp("une", rest, zero)
    opposite = f.xor(f.fcmp("olt", rest, zero), f.fcmp("olt", y, zero))
    adjust = f.and_(nonzero, opposite)
    quotient = f.select(adjust, f.fsub(quotient, f.const(1.0, x)), quotient)
    signed = f.select(nonzero, rest, with_sign(f, zero, y))
    return quotient, f.select(adjust, f.fadd(rest, y), signed)


TABLE: dict[str, Row] = {
    "add": add,
    "subtract": subtract,
    "multiply": multiply,
    "divide": divide,
    "negative": negative,
    "abs": absolute,
    "sign": sign,
    "square": square,
    "reciprocal": reciprocal,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "stop_gradient": same,
    "maximum": _extremum("ogt", "max", "or"),
    "minimum": _extremum("olt", "min", "and"),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "round": _rounding("roundeven"),
    "trunc": _rounding("trunc"),
    "less": _comparison("olt", "slt", "ult"),
    "less_equal": _comparison("ole", "sle", "ule"),
    "greater": _comparison("ogt", "sgt", "ugt"),
    "greater_equal": _comparison("oge", "sge", "uge"),
    "equal": _comparison("oeq", "eq", "eq"),
    "not_equal": _comparison("une", "ne", "ne"),
    "logical_and": Function.and_,
    "logical_or": Function.or_,
    "logical_xor": Function.xor,
    "logical_not": Function.not_,
    "bitwise_and": Function.and_,
    "bitwise_or": Function.or_,
    "bitwise_xor": Function.xor,
    "bitwise_not": Function.not_,
    "left_shift": left_shift,
    "right_shift": right_shift,
    "isnan": isnan,
    "isinf": isinf,
    "isfinite": isfinite,
    "where": where,
    "cast": cast,
    "floor_divide": floor_divide,
    "mod": mod,
}
