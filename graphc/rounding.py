"""Python numbers rounded to the floats of a graph.

In Python's own arithmetic: no other package is needed, and nothing is rounded twice.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import NamedTuple


class Format(NamedTuple):
    """A binary floating-point format."""

    digits: int
    """Bits of the significand, the first one included."""
    lowest: int
    """The exponent of the smallest normal number."""
    largest: float


FORMATS = {
    "bf16": Format(8, -126, (2 - 2.0**-7) * 2.0**127),
    "f16": Format(11, -14, 65504.0),
    "f32": Format(24, -126, (2 - 2.0**-23) * 2.0**127),
    "f64": Format(53, -1022, sys.float_info.max),
}


def nearest(value: float, dtype: str) -> float:
    """`value` rounded to a float dtype; infinite where it is beyond the largest.

    >>> nearest(0.1, "f16"), nearest(0.1, "bf16"), nearest(70000.0, "f16")
    (0.0999755859375, 0.10009765625, inf)
    """
    if dtype == "f64" or value == 0 or not math.isfinite(value):
        return value
    digits, lowest, largest = FORMATS[dtype]
    exponent = max(math.frexp(value)[1] - 1, lowest)
    unit = math.ldexp(1.0, exponent - digits + 1)
    rounded = round(value / unit) * unit  # Python rounds to even
    return math.copysign(rounded if abs(rounded) <= largest else math.inf, value)


def narrow_bits(value: float, dtype: str) -> int:
    """The 16 bits of `value` rounded to f16 or bf16."""
    rounded = nearest(value, dtype)
    if dtype == "f16":
        return int.from_bytes(struct.pack("<e", rounded), "little")
    return int.from_bytes(struct.pack("<f", rounded), "little") >> 16


def same_float(a: float, b: float) -> bool:
    """Equal, or both NaN."""
    return a == b or (math.isnan(a) and math.isnan(b))
