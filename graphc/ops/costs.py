"""What one element of an operation costs, in additions: roughly, to weigh it against memory."""

from __future__ import annotations

COSTLY = {"divide": 5, "sqrt": 5, "rsqrt": 8, "reciprocal": 5, "mod": 8, "floor_divide": 8}
CHEAP = {
    *("add", "subtract", "multiply", "negative", "abs", "square", "maximum", "minimum", "where"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "cast", "sign"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite"),
    *("floor", "ceil", "round", "trunc", "bitwise_and", "bitwise_or", "bitwise_xor"),
    *("bitwise_not", "left_shift", "right_shift", "broadcast", "reshape", "iota", "dimension"),
}


def cost(op_name: str) -> int:
    """About how many additions one element of an operation takes."""
    return 1 if op_name in CHEAP else COSTLY.get(op_name, 15)
