"""Powers whose exponent is a known half: `x**1.5`, `x**-0.5`.

They are products and quotients of x and its square root: two or three roundings, each of half a
unit in the last place, in place of a logarithm and an exponential.  Infinities and zeros are those
of IEEE's `pow`, which has +0 and inf where the square root has -0 and NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg, constant

Rule = Callable[[Function, Reg, Reg], Reg]
"""(function, x, sqrt(x)) -> the power."""


def _one(f: Function, x: Reg) -> Reg:
    return f.const(1.0, x)


RULES: Mapping[float, Rule] = {
    0.5: lambda f, x, root: root,
    1.5: lambda f, x, root: f.fmul(x, root),
    2.5: lambda f, x, root: f.fmul(f.fmul(x, root), x),
    -0.5: lambda f, x, root: f.fdiv(_one(f, x), root),
    # x * root would overflow where the result is still a subnormal number.
    -1.5: lambda f, x, root: f.fdiv(f.fdiv(_one(f, x), x), root),
}


def half_power(f: Function, x: Reg, y: Reg) -> Reg | None:
    """x**y where y is a constant that `RULES` holds, else None.  Error 1.5 / 1.5 ULP."""
    for exponent, rule in RULES.items():
        if y == constant(exponent, y.elem, y.lanes):
            base = f.fadd(x, f.const(0.0, x))  # -0.0 + 0.0 is 0.0; nothing else changes
            infinite = f.fcmp("oeq", x, f.const(-math.inf, x))
            end = f.const(math.inf if exponent > 0 else 0.0, x)
            return f.select(infinite, end, rule(f, base, f.intrinsic("sqrt", base)))
    return None
