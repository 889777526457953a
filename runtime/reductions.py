"""How a reduction begins, and combines two values."""

from __future__ import annotations

from graphc.ir import INT_RANGES, INTS

COMBINE = {
    "sum": "add",
    "prod": "multiply",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}
"""Reduction -> the row of the scalar table that combines two values."""

INFINITY = float("inf")
IDENTITY: dict[str, dict[str, bool | int | float | None]] = {
    "sum": {"f": 0.0, "i": 0, "b": False},  # as NumPy: a sum of negative zeros is 0.0
    "prod": {"f": 1.0, "i": 1, "b": True},
    "max": {"f": -INFINITY, "i": None, "b": False},
    "min": {"f": INFINITY, "i": None, "b": True},
    "any": {"b": False},
    "all": {"b": True},
}


def identity(combine: str, dtype: str) -> bool | int | float:
    """What a reduction starts from."""
    if dtype in INTS and combine in ("max", "min"):
        return INT_RANGES[dtype][combine == "min"]
    value = IDENTITY[combine]["i" if dtype in INTS else dtype[0]]
    assert value is not None
    return value
