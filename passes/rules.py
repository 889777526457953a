"""The algebra of `simplify`: identities of elementwise ops, each with what makes it sound.

Floats are IEEE: an identity holds for NaN, both infinities and both zeros, to the bit, or says how
far off it is.  (The sign and payload of a NaN are not part of its value.)  Integers wrap around,
so they are a ring modulo 2**n, and every identity of rings holds.

Not in the table, because they are wrong for some value:
  x + 0.0 = x, 0.0 - x = -x   -0.0 + 0.0 is 0.0, and so is 0.0 - 0.0
  x - x = 0.0, x * 0.0 = 0.0  NaN and infinity
  -(x - y) = y - x            the zero at x == y has the other sign
  power(x, 0.5) = sqrt(x)     power(-0.0, 0.5) is 0.0 and power(-inf, 0.5) is inf
  power(x, -2) = 1 / (x * x)  x * x overflows where the result is a subnormal number
  exp(log(x)) = x             negative x; and the roundings of the two do not cancel
  (x * a) * b = x * (a * b)   for floats: roundings, overflow
  not (x < y) = (x >= y)      for floats: NaN
"""

from __future__ import annotations

import math

import numpy as np

from graphc.build import literal
from graphc.ir import FLOATS, INTS, NUMPY_DTYPES, SIGNED, Atom, Eqn, Lit
from graphc.ops import elementwise as ops
from graphc.passes.rewrite import Pattern, Result, Rewriter, Rule, Term, function, identity

BOOL = frozenset({"bool"})

x, y, z = Term(), Term(), Term()
"""Any value."""
s = Term(dtypes=FLOATS | SIGNED)
"""A number with a sign."""
i, j = Term(dtypes=INTS), Term(dtypes=INTS)
"""Integers."""
e, f = Term(dtypes=INTS | BOOL), Term(dtypes=INTS | BOOL)
"""Values that are equal to themselves: integers and bools."""
p = Term(dtypes=BOOL)
c, d = Term(is_literal=True), Term(is_literal=True)
"""Literals: arithmetic on them is done at once, by the folding rules."""

absolute, negative, square = function("abs"), function("negative"), function("square")
power = function("power")
reciprocal, floor_divide, mod = function("reciprocal"), function("floor_divide"), function("mod")
maximum, minimum, where = function("maximum"), function("minimum"), function("where")
equal, not_equal = function("equal"), function("not_equal")
less, less_equal = function("less"), function("less_equal")
greater, greater_equal = function("greater"), function("greater_equal")
both, either = function("logical_and"), function("logical_or")
differ, negated = function("logical_xor"), function("logical_not")
bit_and, bit_or = function("bitwise_and"), function("bitwise_or")
bit_xor, bit_not = function("bitwise_xor"), function("bitwise_not")
left_shift, right_shift = function("left_shift"), function("right_shift")

IDENTITIES: tuple[tuple[Term, Pattern], ...] = (
    # Multiplying or dividing by one rounds nothing.
    (x * 1.0, x),
    (x * 1, x),
    (x / 1.0, x),
    (floor_divide(x, 1), x),
    (mod(x, 1), 0),
    # A sign is a bit of its own: it moves through products and quotients without rounding.
    # For integers this is the ring (-INT_MIN is INT_MIN on both sides).
    (x * -1.0, -x),
    (x * -1, -x),
    (x / -1.0, -x),
    (negative(negative(x)), x),
    (-x * -y, x * y),
    (-x / -y, x / y),
    (-(x * c), x * -c),
    (-x * c, x * -c),
    # IEEE defines a - b as a + (-b).
    (x + -y, x - y),
    (x - -y, x + y),
    # -0.0 is the neutral element of IEEE addition, and so 0.0 that of subtraction.
    (x + -0.0, x),
    (x - 0.0, x),
    (-0.0 - x, -x),
    # Integers: the ring.
    (i + 0, i),
    (i - 0, i),
    (0 - i, -i),
    (i - i, 0),
    (i * 0, 0),
    ((i + c) + d, i + (c + d)),
    ((i * c) * d, i * (c * d)),
    # Both are one rounded product; one spelling lets `eliminate_common` see them.
    (x * x, square(x)),
    # |x| and x**2 do not see the sign; for INT_MIN both sides are the same wrapped value.
    (square(-x), square(x)),
    (square(absolute(x)), square(x)),
    (absolute(-s), absolute(s)),
    (absolute(absolute(x)), absolute(x)),
    # Powers.  IEEE and NumPy: power(x, 0) is 1 for every x, NaN included.
    (power(x, 0.0), 1.0),
    (power(x, 1.0), x),
    (power(x, 2.0), square(x)),
    # Two roundings, so within 2 ULP; x * x underflows or overflows only where the cube does.
    (power(x, 3.0), x * x * x),
    # Within 3 ULP: squaring doubles the error of the first rounding.
    (power(x, 4.0), square(square(x))),
    # One correct rounding; signed zeros and infinities agree.
    (power(x, -1.0), reciprocal(x)),
    # For integers these are products of the ring.
    (power(i, 0), 1),
    (power(i, 1), i),
    (power(i, 2), square(i)),
    (power(i, 3), i * i * i),
    (power(i, 4), square(square(i))),
    # Choices.  No arithmetic, only which value is read.
    (maximum(x, x), x),
    (minimum(x, x), x),
    (where(p, x, x), x),
    (where(p, True, False), p),
    (where(p, False, True), negated(p)),
    (where(negated(p), x, y), where(p, y, x)),
    (where(p, where(p, x, y), z), where(p, x, z)),
    (where(p, x, where(p, y, z)), where(p, x, z)),
    # Logic.
    (negated(negated(p)), p),
    (both(p, True), p),
    (both(p, False), False),
    (both(p, p), p),
    (either(p, False), p),
    (either(p, True), True),
    (either(p, p), p),
    (differ(p, False), p),
    (differ(p, True), negated(p)),
    (differ(p, p), False),
    # x != x is defined as not (x == x), for NaN too.
    (negated(equal(x, y)), not_equal(x, y)),
    (negated(not_equal(x, y)), equal(x, y)),
    # Total orders have complements; floats, with NaN, are not totally ordered.
    (negated(less(e, f)), greater_equal(e, f)),
    (negated(less_equal(e, f)), greater(e, f)),
    (negated(greater(e, f)), less_equal(e, f)),
    (negated(greater_equal(e, f)), less(e, f)),
    # Integers and bools equal themselves, NaN does not.  Nothing is less than itself.
    (equal(e, e), True),
    (less_equal(e, e), True),
    (greater_equal(e, e), True),
    (not_equal(e, e), False),
    (less(x, x), False),
    (greater(x, x), False),
    # Bits.
    (bit_not(bit_not(x)), x),
    (bit_and(x, x), x),
    (bit_and(x, -1), x),
    (bit_and(x, 0), 0),
    (bit_or(x, x), x),
    (bit_or(x, 0), x),
    (bit_xor(i, i), 0),
    (bit_xor(x, 0), x),
    (left_shift(x, 0), x),
    (right_shift(x, 0), x),
)


def divide_by_power_of_two(at: Rewriter, eqn: Eqn) -> Result:
    """x / c = x * (1 / c): where 1 / c is a number, both round the same quotient once."""
    factor = _exact_reciprocal(eqn.ins[1])
    return None if factor is None else at.make(ops.multiply, eqn.ins[0], factor)


def _exact_reciprocal(divisor: Atom) -> Lit | None:
    if not isinstance(divisor, Lit) or abs(math.frexp(divisor.value)[0]) != 0.5:
        return None
    factor = literal(1.0 / divisor.value, divisor.type)
    return factor if math.isfinite(factor.value) and factor.value else None


LOSSLESS = {
    source: frozenset(
        target
        for target, wide in NUMPY_DTYPES.items()
        if np.can_cast(kind, wide) and (source, target) not in {("i64", "f64"), ("u64", "f64")}
    )
    for source, kind in NUMPY_DTYPES.items()
} | {"bf16": frozenset({"bf16", "f32", "f64"})}
"""The dtypes that hold every value of a dtype."""


def cast_to_own(at: Rewriter, eqn: Eqn) -> Result:
    """cast(x, dtype of x) = x."""
    return eqn.ins[0] if eqn.ins[0].type == eqn.out.type else None


def cast_of_cast(at: Rewriter, eqn: Eqn) -> Result:
    """cast(cast(x, wide), dtype) = cast(x, dtype): the first cast changed no value.

    Not from float to integer, nor through a float to an integer that cannot hold every value:
    there, what lies outside the integers depends on the width.
    """
    inner = at.definition(eqn.ins[0], ops.cast)
    if inner is None:
        return None
    source, dtype = inner.ins[0], eqn.attrs["dtype"]
    lossless = LOSSLESS[source.type.dtype]
    through_float = inner.attrs["dtype"] in FLOATS and dtype in INTS
    if inner.attrs["dtype"] not in lossless or (through_float and dtype not in lossless):
        return None
    return at.make(ops.cast, source, dtype=dtype)


def nothing_left_to_stop(at: Rewriter, eqn: Eqn) -> Result:
    """stop_gradient(x) = x: derivatives were taken before the graph is simplified."""
    return eqn.ins[0]


ALGEBRA: tuple[tuple[str, Rule], ...] = (
    *(identity(left, right) for left, right in IDENTITIES),
    ("divide", divide_by_power_of_two),
    ("cast", cast_to_own),
    ("cast", cast_of_cast),
    ("stop_gradient", nothing_left_to_stop),
)
