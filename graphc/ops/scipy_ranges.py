"""What scipy's functions may be given: beyond it some never end, or write where they must not.

Operands outside of it are replaced by harmless ones, and the result is NaN.  Spheroidal functions
are not among graphc's at all: scipy's destroy memory for many operands.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from graphc.build import Value
from graphc.ops.elementwise import greater_equal, less_equal, logical_and, where

Range = tuple[float, float, float]
"""The least and the greatest, and a number in between."""

_PLACE = (-1e6, 1e6, 0.5)
_MATHIEU = ((0.0, 500.0, 1.0), (-1e4, 1e4, 1.0), _PLACE)
_CYLINDER = ((-1e4, 1e4, 1.0), _PLACE)

_COUNT = (-1e5, 1e5, 1.0)
_POLYNOMIALS = {
    **dict.fromkeys("chebyc chebys chebyt chebyu legendre laguerre".split(), 1),
    **dict.fromkeys(("sh_chebyt", "sh_chebyu", "sh_legendre"), 1),
    **dict.fromkeys(("gegenbauer", "genlaguerre"), 2),
    **dict.fromkeys(("jacobi", "sh_jacobi"), 3),
}
"""Those of complex numbers, and how many operands stand before the number."""

RANGES: dict[str, tuple[Range, ...]] = {
    **dict.fromkeys(("mathieu_a", "mathieu_b"), _MATHIEU[:2]),
    **dict.fromkeys("mathieu_cem mathieu_modcem1 mathieu_modcem2".split(), _MATHIEU),
    **dict.fromkeys("mathieu_sem mathieu_modsem1 mathieu_modsem2".split(), _MATHIEU),
    **dict.fromkeys(("pbdv", "pbvv", "pbwa"), _CYLINDER),
    **{f"complex eval_{name}": (_COUNT, _COUNT, _COUNT)[:n] for name, n in _POLYNOMIALS.items()},
    "complex hyp2f1": (_COUNT, _COUNT, _COUNT),
    "yn": ((-1e6, 1e6, 1.0),),
    "lpmv": ((-1e4, 1e4, 0.0), (-1e6, 1e6, 1.0)),
    "hyp1f1": ((-1e300, 1e300, 1.0), (-1e300, 1e300, 1.0), (-math.inf, 1e300, 1.0)),
    "nctdtrinc": ((1e-3, 1e6, 1.0), (1e-12, 1.0 - 1e-12, 0.5), (-1e4, 1e4, 1.0)),
}
"""Function -> the ranges of its first operands; `complex` ones count the degree down."""


def within(name: str, values: Sequence[Value]) -> tuple[list[Value], Value | None]:
    """The operands that the function is called with, and where they are those given."""
    ranges = RANGES.get(name)
    if ranges is None:
        return list(values), None
    limited = list(zip(values, ranges, strict=False))
    tests = [
        test
        for x, (low, high, _) in limited
        for test in (greater_equal(x, low), less_equal(x, high))
    ]
    inside: Value = functools.reduce(logical_and, tests)
    chosen = [where(inside, x, harmless) for x, (_, _, harmless) in limited]
    return [*chosen, *values[len(chosen) :]], inside
