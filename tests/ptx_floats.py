"""What PTX computes with floats; and sums and products, which whole numbers have, too."""

from __future__ import annotations

import numpy as np
import ptx_numbers as numbers
from ptx_plain import FLOATS, INTS, Function, plain
from ptx_table import DTYPES, Op, Run, does, wider
from ptx_text import WIDTHS
from ptx_whole import int_product, quotient


def rounded(op: Op, kind: str, function: Function, exact: Function | None = None) -> Function:
    """`function` with what the parts say of its result; `exact` gives f64 that is odd where it is
    not exact, for the other roundings."""
    mode = op.one_of("rn", "rz", "rm", "rp") or "rn"
    if mode != "rn":
        if exact is None or kind != "f32":
            raise op.wrong(f".{mode} is not known here")
        odd = exact
        function = lambda *xs: numbers.narrowed(odd(*xs), mode, np.dtype("f4"))
    if kind != "f64":
        inner = function
        function = lambda *xs: numbers.canonical(inner(*xs))
    if op.flag("ftz"):
        before = function
        function = lambda *xs: numbers.flushed(before(*map(numbers.flushed, xs)))
    if op.flag("sat"):
        free = function
        function = lambda *xs: np.fmin(np.fmax(free(*xs), 0), 1)
    return function


def odd_sum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wide = np.broadcast_arrays(x.astype("f8"), y.astype("f8"))
    return numbers.sum_to_odd(*(np.ascontiguousarray(one) for one in wide))


def pairs(function: Function) -> Function:
    """A function of f16 for two of them in a register."""

    def both(*xs: np.ndarray) -> np.ndarray:
        low, high = (
            function(*((x >> np.uint32(s)).astype("u2").view("f2") for x in xs)) for s in (0, 16)
        )
        bits = [half.astype("f2").view("u2").astype("u4") for half in (low, high)]
        return bits[0] | bits[1] << np.uint32(16)

    return both


ADDS: dict[str, tuple[np.ufunc, Function]] = {
    "add": (np.add, odd_sum),
    "sub": (np.subtract, lambda x, y: odd_sum(x, -y)),
    "mul": (np.multiply, lambda x, y: x.astype("f8") * y),
}


@does("add", "sub")
def add(op: Op) -> Run:
    kind = op.kind(*INTS, *FLOATS, "f16x2")
    function, exact = ADDS[op.instruction.name]
    if kind in INTS:
        if op.flag("sat"):
            raise op.wrong("sums that saturate are not known here")
        return plain(op, kind, function, 2)
    if kind == "f16x2":
        return plain(op, kind, pairs(rounded(op, "f16", function)), 2)
    return plain(op, kind, rounded(op, kind, function, exact), 2)


@does("mul")
def mul(op: Op) -> Run:
    kind = op.kind(*INTS, *FLOATS, "f16x2")
    if kind in INTS:
        return int_product(op, kind)
    if kind == "f16x2":
        return plain(op, kind, pairs(rounded(op, "f16", np.multiply)), 2)
    return plain(op, kind, rounded(op, kind, *ADDS["mul"]), 2)


@does("fma")
def fma(op: Op) -> Run:
    kind = op.kind(*FLOATS, "f16x2", "bf16", "bf16x2")
    if kind == "bf16":
        op.some("rn")
        return plain(op, kind, _fma_bf16, 3)
    if kind in ("f16x2", "bf16x2"):
        if kind == "bf16x2":
            raise op.wrong("pairs of bf16 are not known here")
        return plain(op, kind, pairs(rounded(op, "f16", numbers.fma16)), 3)
    function = {"f16": numbers.fma16, "f32": numbers.fma32, "f64": numbers.fma64}[kind]
    return plain(op, kind, rounded(op, kind, function, numbers.odd_fma32), 3)


def _fma_bf16(*xs: np.ndarray) -> np.ndarray:
    odd = numbers.odd_fma32(*map(numbers.from_bf16, xs))
    return numbers.to_bf16_exactly(odd)


@does("div")
def div(op: Op) -> Run:
    kind = op.kind(*INTS, "f32", "f64")
    if kind in INTS:
        return plain(op, kind, quotient, 2)
    if op.one_of("approx", "full"):
        return plain(op, kind, rounded(op, kind, numbers.APPROXIMATE["div"]), 2)
    return plain(op, kind, rounded(op, kind, np.divide), 2)


@does("sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh")
def approximated(op: Op) -> Run:
    name, kind = op.instruction.name, op.kind("f32", "f64")
    if op.flag("approx"):
        if kind != "f32":
            raise op.wrong("approximations of f64 are not known here")
        return plain(op, kind, rounded(op, kind, numbers.APPROXIMATE[name]), 1)
    exact = {"sqrt": np.sqrt, "rcp": lambda x: (1 / x).astype(x.dtype)}.get(name)
    if exact is None:
        raise op.wrong("only its approximation is known here")
    return plain(op, kind, rounded(op, kind, exact), 1)


@does("min", "max")
def extremum(op: Op) -> Run:
    kind, is_min = op.kind(*INTS, *FLOATS), op.instruction.name == "min"
    if kind in INTS:
        return plain(op, kind, np.minimum if is_min else np.maximum, 2)
    with_nan = op.flag("NaN")
    function = numbers.smallest if is_min else numbers.largest

    def kept(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(x) | np.isnan(y), x + y, function(x, y))

    return plain(op, kind, rounded(op, kind, kept if with_nan else function), 2)


@does("abs", "neg")
def sign(op: Op) -> Run:
    kind = op.kind(*INTS, *FLOATS, "bf16", "f16x2")
    is_abs = op.instruction.name == "abs"
    if kind in INTS:
        return plain(op, kind, np.absolute if is_abs else np.negative, 1)
    ftz = op.flag("ftz")
    width, bits = WIDTHS[kind], wider("b8", WIDTHS[kind])
    signs = 0x80008000 if kind == "f16x2" else 1 << (width - 1)
    mask = np.array(signs, DTYPES[bits])
    function: Function = (lambda x: x & ~mask) if is_abs else (lambda x: x ^ mask)
    if ftz:
        inner = function
        function = lambda x: numbers.flushed(inner(x).view("f4")).view("u4")
    return plain(op, bits, function, 1)


@does("copysign")
def copysign(op: Op) -> Run:
    return plain(op, op.kind("f32", "f64"), lambda x, y: np.copysign(y, x), 2)
