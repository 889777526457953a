"""What every op is tested on: operand types, attributes, where operands are drawn from, tolerance.

`CASES` holds every case; `cases(op)` those of one op.  Adding an op means adding a row here.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from graphc.build import Builder
from graphc.ir import NUMPY_DTYPES, OPS, Dense, Graph, Type

WIDE = ("f32", "f64")
NARROW = ("f16", "bf16")
FLOAT = (*WIDE, *NARROW)
INT = ("i32", "i64", "i8", "i16", "u8", "u16", "u32", "u64")
NUMBER = (*FLOAT, *INT)
EVERY = (*NUMBER, "bool")

OFTEN = frozenset({"f32", "f64", "i32", "i64", "bool"})
"""The dtypes of which every case is run; of the others, those of one case in seven."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One op on operands of given types.

    `domains` names for each operand what its values are (`draw`).  `error` is "exact", "ulp" (the
    4 of the design) or "length" (each result combines `length` products or terms).
    """

    op: str
    ins: tuple[Type, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    error: str = "exact"
    length: int = 1

    def __str__(self) -> str:
        attrs = "".join(f",{key}={value}" for key, value in self.attrs.items())
        return f"{self.op}({','.join(map(str, self.ins))}{attrs})".replace(" ", "")

    def operands(self) -> list[np.ndarray]:
        """The same values in every run, different ones for each case."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        domains = self.domains or ("plain",) * len(self.ins)
        return [draw(t, domain, rng) for t, domain in zip(self.ins, domains, strict=True)]

    def graph(self) -> Graph:
        """The op by itself, on parameters."""
        builder = Builder(self.op)
        params = [builder.param(type).atom for type in self.ins]
        outs = builder.emit(OPS[self.op], params, dict(self.attrs))
        return builder.finish([out.atom for out in outs])


# ---- values --------------------------------------------------------------------------------------

RANGES = {
    "positive": (0.3, 3.0),
    "unit": (-0.9, 0.9),
    "above_one": (1.2, 4.0),
    "small": (-2.0, 2.0),
    "odd": (-1.3, 1.3),
}
"""Where a smooth op is differentiated: away from poles, kinks and the ends of its domain."""


def draw(type: Type, domain: str, rng: np.random.Generator) -> np.ndarray:
    """An array of `type`:

    plain     ordinary numbers of either sign, small integers
    special   NaN, infinities, zeros, extremes, and numbers of every magnitude
    nonzero   both signs, away from 0
    apart     no two equal
    tied      few different values, NaN among them
    increasing  sorted, with ties
    below:N   integers of which some are no position of an axis of size N
    exponent  integers from 0 to 9
    exponents whole numbers, as floats, that take every number to zero or infinity, or not
    true      every element holds
    positive, unit, above_one, small   see `RANGES`
    """
    name, _, bound = domain.partition(":")
    kind = type.numpy_dtype
    if name == "special":
        return _special(type, rng)
    if name == "below":
        least = -3 if kind.kind == "i" else 0
        return rng.integers(least, int(bound) + 3, type.shape).astype(kind)
    if name == "exponent":
        return rng.integers(0, 10, type.shape).astype(kind)
    if name == "true":
        return np.ones(type.shape, kind)
    if name in _DRAWN:
        return _DRAWN[name](type, rng)
    if name in RANGES:
        return np.asarray(rng.uniform(*RANGES[name], type.shape)).astype(kind)
    if type.dtype == "bool":
        return rng.integers(0, 2, type.shape).astype(kind)
    if type.dtype in INT:
        return rng.integers(-9, 10, type.shape).astype(kind)
    return np.asarray(rng.normal(0.0, 1.5, type.shape)).astype(kind)


def _apart(type: Type, rng: np.random.Generator) -> np.ndarray:
    values = rng.permutation(type.size) * 0.37 - 1.9
    return values.reshape(type.shape).astype(type.numpy_dtype)


def _nonzero(type: Type, rng: np.random.Generator) -> np.ndarray:
    sign = rng.choice([-1.0, 1.0], type.shape)
    return np.asarray(sign * rng.uniform(0.5, 3.0, type.shape)).astype(type.numpy_dtype)


def _tied(type: Type, rng: np.random.Generator) -> np.ndarray:
    values = rng.integers(-4, 5, type.shape).astype(type.numpy_dtype)
    if type.dtype in FLOAT:
        values = np.where(values == 4, np.nan, values)
    return values.astype(type.numpy_dtype)


_DRAWN = {
    "apart": _apart,
    "nonzero": _nonzero,
    "tied": _tied,
    "exponents": lambda type, rng: rng.integers(-2200, 2200, type.shape).astype(type.numpy_dtype),
    "increasing": lambda type, rng: np.sort(
        rng.integers(-4, 5, type.shape).astype(type.numpy_dtype)
    ),
}


def _special(type: Type, rng: np.random.Generator) -> np.ndarray:
    values = specials(type.dtype)
    return values[rng.integers(0, len(values), type.shape)].reshape(type.shape)


def finfo(kind: np.dtype) -> Any:
    """NumPy's, or that of ml_dtypes for bf16."""
    return np.finfo(kind) if kind.kind == "f" else ml_dtypes.finfo(kind)


def specials(dtype: str) -> np.ndarray:
    kind = NUMPY_DTYPES[dtype]
    if dtype == "bool":
        return np.array([False, True])
    if dtype in INT:
        info = np.iinfo(kind)
        whole = [info.min, info.min + 1, -7, -2, -1, 0, 1, 2, 3, 10, info.max]
        return np.array([number for number in whole if number >= info.min], kind)
    info = finfo(kind)
    ends = [0.0, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, info.eps]
    plain = [1, 2, 0.5, 0.1, 1.5, 2.5, 3.25, 10, 88.5, 1e-3, 1e5, 1e9, 0.7, 0.99, 20]
    positive = np.array(ends + plain, kind)
    return np.concatenate([positive, -positive])


# ---- elementwise ops -----------------------------------------------------------------------------

ELEMENTWISE: dict[str, tuple[int, tuple[str, ...], str, tuple[str, ...]]] = {
    # op: operands, dtypes, error, domains in which it is differentiated (none: it has no gradient)
    "add": (2, NUMBER, "exact", ("plain", "plain")),
    "subtract": (2, NUMBER, "exact", ("plain", "plain")),
    "multiply": (2, NUMBER, "exact", ("plain", "plain")),
    "divide": (2, FLOAT, "exact", ("plain", "nonzero")),
    "power": (2, FLOAT, "ulp", ("positive", "small")),
    "floor_divide": (2, NUMBER, "exact", ()),
    "mod": (2, NUMBER, "exact", ("above_one", "unit")),
    "negative": (1, NUMBER, "exact", ("plain",)),
    "abs": (1, NUMBER, "exact", ("nonzero",)),
    "sign": (1, NUMBER, "exact", ()),
    "stop_gradient": (1, EVERY, "exact", ()),
    "square": (1, NUMBER, "exact", ("plain",)),
    "reciprocal": (1, FLOAT, "exact", ("nonzero",)),
    "sqrt": (1, FLOAT, "exact", ("positive",)),
    "rsqrt": (1, FLOAT, "ulp", ("positive",)),
    "cbrt": (1, FLOAT, "ulp", ("positive",)),
    "less": (2, EVERY, "exact", ()),
    "less_equal": (2, EVERY, "exact", ()),
    "greater": (2, EVERY, "exact", ()),
    "greater_equal": (2, EVERY, "exact", ()),
    "equal": (2, EVERY, "exact", ()),
    "not_equal": (2, EVERY, "exact", ()),
    "maximum": (2, EVERY, "zeros", ("plain", "plain")),
    "minimum": (2, EVERY, "zeros", ("plain", "plain")),
    "exp": (1, FLOAT, "ulp", ("small",)),
    "exp2": (1, FLOAT, "ulp", ("small",)),
    "expm1": (1, FLOAT, "ulp", ("small",)),
    "log": (1, FLOAT, "ulp", ("positive",)),
    "log1p": (1, FLOAT, "ulp", ("positive",)),
    "log2": (1, FLOAT, "ulp", ("positive",)),
    "log10": (1, FLOAT, "ulp", ("positive",)),
    "erf": (1, FLOAT, "ulp", ("small",)),
    "sigmoid": (1, FLOAT, "ulp", ("small",)),
    "softplus": (1, FLOAT, "ulp", ("small",)),
    "hypot": (2, FLOAT, "ulp", ("nonzero", "nonzero")),
    "sin": (1, FLOAT, "ulp", ("small",)),
    "cos": (1, FLOAT, "ulp", ("small",)),
    "tan": (1, FLOAT, "ulp", ("odd",)),
    "arcsin": (1, FLOAT, "ulp", ("unit",)),
    "arccos": (1, FLOAT, "ulp", ("unit",)),
    "arctan": (1, FLOAT, "ulp", ("small",)),
    "arctan2": (2, FLOAT, "ulp", ("nonzero", "nonzero")),
    "sinh": (1, FLOAT, "ulp", ("small",)),
    "cosh": (1, FLOAT, "ulp", ("small",)),
    "tanh": (1, FLOAT, "ulp", ("small",)),
    "arcsinh": (1, FLOAT, "ulp", ("small",)),
    "arccosh": (1, FLOAT, "ulp", ("above_one",)),
    "arctanh": (1, FLOAT, "ulp", ("unit",)),
    "signbit": (1, FLOAT, "exact", ()),
    "copysign": (2, FLOAT, "exact", ("nonzero", "nonzero")),
    "nextafter": (2, WIDE, "exact", ("plain", "plain")),
    "frexp_exponent": (1, FLOAT, "exact", ()),
    "gcd": (2, INT, "exact", ()),
    "floor": (1, NUMBER, "exact", ()),
    "ceil": (1, NUMBER, "exact", ()),
    "round": (1, NUMBER, "exact", ()),
    "trunc": (1, NUMBER, "exact", ()),
    "isnan": (1, FLOAT, "exact", ()),
    "isinf": (1, FLOAT, "exact", ()),
    "isfinite": (1, FLOAT, "exact", ()),
    "logical_and": (2, ("bool",), "exact", ()),
    "logical_or": (2, ("bool",), "exact", ()),
    "logical_xor": (2, ("bool",), "exact", ()),
    "logical_not": (1, ("bool",), "exact", ()),
    "bitwise_and": (2, (*INT, "bool"), "exact", ()),
    "bitwise_or": (2, (*INT, "bool"), "exact", ()),
    "bitwise_xor": (2, (*INT, "bool"), "exact", ()),
    "bitwise_not": (1, (*INT, "bool"), "exact", ()),
    "left_shift": (2, INT, "exact", ()),
    "right_shift": (2, INT, "exact", ()),
}

SHAPES: tuple[Shape, ...] = (
    (), (1,), (0,), (5,), (16,), (67,), (1, 7), (7, 1), (3, 5), (2, 0, 3), (2, 3, 17), (1, 1, 1),
)  # fmt: skip
"""No axes, axes of size 1 and 0, whole vectors and tails of them."""

LONG = (1009,)


def _elementwise_on(shape: Shape, domain: str) -> Iterator[Case]:
    for name, (arity, dtypes, error, _) in ELEMENTWISE.items():
        for dtype in dtypes:
            yield Case(name, (Type(dtype, shape),) * arity, {}, (domain,) * arity, error)
    for dtype in INT:
        yield Case("power", (Type(dtype, shape),) * 2, {}, (domain, "exponent"))
    for attrs in ({"domain": 0, "draw": 0}, {"domain": 7, "draw": 1}):
        yield Case("philox", (Type("i64", shape),) * 3, attrs, (domain,) * 3)
    for dtype in FLOAT:
        yield Case("ldexp", (Type(dtype, shape),) * 2, {}, (domain, "exponents"))
    for dtype in NARROW:
        yield Case("widen", (Type(dtype, shape),), {}, (domain,))
        yield Case("narrow", (Type("f32", shape),), {"dtype": dtype}, (domain,))
    for dtype in EVERY:
        condition = Type("bool", shape)
        yield Case("where", (condition, Type(dtype, shape), Type(dtype, shape)), {}, (domain,) * 3)
        for target in EVERY:
            small = domain if target in FLOAT or dtype not in FLOAT else "plain"
            yield Case("cast", (Type(dtype, shape),), {"dtype": target}, (small,))


# ---- reductions ----------------------------------------------------------------------------------

REDUCED: tuple[Shape, ...] = (
    (), (1,), (7,), (67,), (300,), (5, 17), (40, 3), (3, 4, 21), (3, 1, 5), (2, 3, 4, 5),
)  # fmt: skip
EMPTY: tuple[Shape, ...] = ((0,), (0, 4), (4, 0), (2, 0, 3))
REDUCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "sum": (NUMBER, "length"),
    "prod": (NUMBER, "length"),
    "max": (EVERY, "zeros"),
    "min": (EVERY, "zeros"),
    "any": (("bool",), "exact"),
    "all": (("bool",), "exact"),
}


def subsets(rank: int) -> Iterator[tuple[int, ...]]:
    for count in range(rank + 1):
        yield from itertools.combinations(range(rank), count)


def _reductions() -> Iterator[Case]:
    for name, (dtypes, error) in REDUCTIONS.items():
        for dtype, shape in itertools.product(dtypes, REDUCED + EMPTY):
            for axes in subsets(len(shape)):
                length = int(np.prod([shape[i] for i in axes], initial=1))
                if length == 0 and name in ("max", "min"):
                    continue
                inexact = dtype in FLOAT or error != "length"
                yield Case(
                    name,
                    (Type(dtype, shape),),
                    {"axes": axes},
                    ("nonzero" if name == "prod" and dtype in FLOAT else "plain",),
                    error if inexact else "exact",
                    length,
                )
    for name, dtype in itertools.product(("argmax", "argmin"), EVERY):
        for shape in ((1,), (9,), (67,), (5, 17), (3, 4, 21), (4, 0, 2)):
            for axis in range(len(shape)):
                if shape[axis]:
                    yield Case(name, (Type(dtype, shape),), {"axis": axis}, ("special",))


# ---- moving elements -----------------------------------------------------------------------------

MOVES: dict[str, list[tuple[tuple[Shape, ...], dict[str, Any]]]] = {
    "reshape": [
        (((),), {"shape": (1, 1)}),
        (((12,),), {"shape": (3, 4)}),
        (((3, 4),), {"shape": (2, 6)}),
        (((3, 4),), {"shape": (1, 12, 1)}),
        (((2, 3, 5),), {"shape": (6, 5)}),
        (((0, 3),), {"shape": (5, 0)}),
        (((1, 1),), {"shape": ()}),
    ],
    "transpose": [
        (((),), {"axes": ()}),
        (((5, 7),), {"axes": (1, 0)}),
        (((5, 1),), {"axes": (1, 0)}),
        (((2, 3, 17),), {"axes": (2, 0, 1)}),
        (((2, 3, 17),), {"axes": (0, 2, 1)}),
        (((2, 3, 4, 5),), {"axes": (3, 1, 0, 2)}),
        (((0, 3),), {"axes": (1, 0)}),
    ],
    "broadcast": [
        (((),), {"shape": (), "axes": ()}),
        (((),), {"shape": (3, 17), "axes": ()}),
        (((17,),), {"shape": (3, 17), "axes": (1,)}),
        (((3,),), {"shape": (3, 17), "axes": (0,)}),
        (((3, 1),), {"shape": (3, 17), "axes": (0, 1)}),
        (((1, 17),), {"shape": (3, 17), "axes": (0, 1)}),
        (((1, 1),), {"shape": (3, 17), "axes": (0, 1)}),
        (((4,),), {"shape": (3, 4, 5), "axes": (1,)}),
        (((3, 5),), {"shape": (3, 4, 5), "axes": (0, 2)}),
        (((1,),), {"shape": (0,), "axes": (0,)}),
        (((),), {"shape": (2, 0), "axes": ()}),
    ],
    "slice": [
        (((),), {"starts": (), "sizes": (), "steps": ()}),
        (((19,),), {"starts": (2,), "sizes": (17,), "steps": (1,)}),
        (((19,),), {"starts": (18,), "sizes": (19,), "steps": (-1,)}),
        (((19,),), {"starts": (1,), "sizes": (6,), "steps": (3,)}),
        (((19,),), {"starts": (17,), "sizes": (6,), "steps": (-3,)}),
        (((19,),), {"starts": (4,), "sizes": (0,), "steps": (1,)}),
        (((19,),), {"starts": (0,), "sizes": (0,), "steps": (-2,)}),
        (((5, 7),), {"starts": (4, 1), "sizes": (3, 5), "steps": (-2, 1)}),
        (((5, 7),), {"starts": (0, 6), "sizes": (5, 7), "steps": (1, -1)}),
        (((3, 4, 5),), {"starts": (2, 0, 1), "sizes": (1, 4, 2), "steps": (1, 1, 2)}),
    ],
    "skew": [
        (((19, 3),), {"axis": 0, "by": 1, "step": 1}),
        (((3, 19),), {"axis": 1, "by": 0, "step": -1}),
        (((19, 3),), {"axis": 0, "by": 1, "step": -4}),
        (((3, 4, 19),), {"axis": 2, "by": 1, "step": 2}),
        (((5, 1),), {"axis": 0, "by": 1, "step": 3}),
        (((4, 5),), {"axis": 0, "by": 1, "step": 1}),
        (((6, 0, 2),), {"axis": 0, "by": 2, "step": 5}),
    ],
    "update_slice": [
        (((), ()), {"starts": (), "steps": ()}),
        (((19,), (5,)), {"starts": (3,), "steps": (2,)}),
        (((19,), (19,)), {"starts": (18,), "steps": (-1,)}),
        (((19,), (0,)), {"starts": (3,), "steps": (1,)}),
        (((5, 7), (2, 7)), {"starts": (1, 0), "steps": (2, 1)}),
        (((5, 7), (5, 1)), {"starts": (0, 3), "steps": (1, 1)}),
        (((5, 7), (3, 4)), {"starts": (4, 6), "steps": (-2, -2)}),
        (((3, 4, 5), (1, 4, 3)), {"starts": (2, 0, 1), "steps": (1, 1, 1)}),
        (((0, 3), (0, 3)), {"starts": (0, 0), "steps": (1, 1)}),
    ],
    "pad": [
        (((),), {"low": (), "high": ()}),
        (((17,),), {"low": (3,), "high": (2,)}),
        (((0,),), {"low": (2,), "high": (1,)}),
        (((0,),), {"low": (0,), "high": (0,)}),
        (((5, 7),), {"low": (0, 2), "high": (1, 0)}),
        (((3, 1, 5),), {"low": (1, 1, 1), "high": (0, 2, 1)}),
    ],
    "concatenate": [
        (((4,),), {"axis": 0}),
        (((4,), (13,)), {"axis": 0}),
        (((4,), (0,), (3,)), {"axis": 0}),
        (((2, 7), (1, 7), (4, 7)), {"axis": 0}),
        (((5, 2), (5, 1), (5, 3), (5, 17)), {"axis": 1}),
        (((2, 3, 4), (2, 5, 4)), {"axis": 1}),
        (((1, 1), (1, 1)), {"axis": 1}),
    ],
}


def _moves() -> Iterator[Case]:
    for name, rows in MOVES.items():
        for dtype, (shapes, attrs) in itertools.product(EVERY, rows):
            if name == "pad":
                fill: Any = {"bool": True, "i64": 2**40}.get(dtype, 7 if dtype in INT else -0.0)
                attrs = {**attrs, "value": fill}
            ins = tuple(Type(dtype, shape) for shape in shapes)
            yield Case(name, ins, attrs, ("special",) * len(ins))
    for dtype, shape in itertools.product(NUMBER, ((1,), (0,), (67,), (3, 5), (2, 1, 19))):
        for axis in range(len(shape)):
            yield Case("iota", (), {"shape": shape, "axis": axis, "dtype": dtype})
    for dtype, shape in itertools.product(EVERY, ((), (0,), (1,), (3, 7))):
        value = draw(Type(dtype, shape), "special", np.random.default_rng(3))
        yield Case("constant", (), {"value": Dense(value)})
    for size in (0, 1, 2**40):
        yield Case("dimension", (), {"size": size})


TAKEN: tuple[tuple[Shape, Shape, int], ...] = (
    # operand, positions, axis
    ((9,), (), 0),
    ((9,), (20,), 0),
    ((1,), (4,), 0),
    ((9,), (0,), 0),
    ((0,), (0,), 0),
    ((9,), (2, 17), 0),
    ((6, 5), (7,), 0),
    ((6, 5), (7,), 1),
    ((6, 5), (), 0),
    ((6, 5), (), 1),
    ((6, 19), (3, 2), 0),
    ((3, 6, 5), (4,), 1),
    ((3, 6, 5), (2, 2), 2),
    ((3, 6, 1), (2,), 1),
)


def _indexed() -> Iterator[Case]:
    for dtype, index, (shape, positions, axis) in itertools.product(EVERY, INT, TAKEN):
        x, at = Type(dtype, shape), Type(index, positions)
        result = x.with_shape(shape[:axis] + positions + shape[axis + 1 :])
        below = f"below:{shape[axis]}"
        yield Case("take", (x, at), {"axis": axis}, ("special", below))
        if shape[axis]:
            rows = at.with_shape(shape[:axis] + shape[axis + 1 :])
            yield Case("pick", (x, rows), {"axis": axis}, ("special", below))
        if dtype in NUMBER:
            length = max(at.size, 1) + 1
            error = "length" if dtype in FLOAT else "exact"
            domains = ("plain", below, "plain")
            yield Case("scatter_add", (x, at, result), {"axis": axis}, domains, error, length)
        if at.size == 1 and shape[axis]:
            yield Case("put", (x, at, result), {"axis": axis}, ("special", below, "special"))


# ---- products ------------------------------------------------------------------------------------

PRODUCTS: tuple[tuple[Shape, Shape], ...] = (
    ((1, 1), (1, 1)),
    ((3, 5), (5, 7)),
    ((1, 67), (67, 1)),
    ((67, 1), (1, 67)),
    ((1, 33), (33, 40)),
    ((40, 33), (33, 1)),
    ((17, 31), (31, 29)),
    ((64, 100), (100, 10)),
    ((2, 3, 5), (2, 5, 4)),
    ((2, 1, 9, 8), (2, 1, 8, 7)),
    ((3, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((0, 3, 2), (0, 2, 3)),
)


def _products() -> Iterator[Case]:
    for dtype, (a, b) in itertools.product(NUMBER, PRODUCTS):
        error = "length" if dtype in FLOAT else "exact"
        yield Case("matmul", (Type(dtype, a), Type(dtype, b)), {}, (), error, a[-1])


# ---- routines ------------------------------------------------------------------------------------

RUNNING: tuple[tuple[Shape, int], ...] = (
    ((1,), 0), ((0,), 0), ((67,), 0), ((3, 1), 0), ((5, 19), 0), ((5, 19), 1), ((3, 4, 9), 1),
    ((2, 0, 3), 0),
)  # fmt: skip
SORTED: tuple[Shape, ...] = (
    (1,), (0,), (2,), (7,), (64,), (129,), (3, 5), (2, 3, 17), (4, 0), (256,), (2, 300),
)  # fmt: skip


def _routines() -> Iterator[Case]:
    for dtype, (shape, axis) in itertools.product(NUMBER, RUNNING):
        x = Type(dtype, shape)
        error = "length" if dtype in FLOAT else "exact"
        for reverse in (False, True):
            attrs = {"axis": axis, "reverse": reverse}
            for name in ("cumsum", "cumprod"):
                yield Case(name, (x,), attrs, ("unit",), error, shape[axis])
            for name in ("cummax", "cummin"):
                yield Case(name, (x,), attrs, ("apart",))
            yield Case("recurrence", (x, x), attrs, ("unit", "plain"), error, shape[axis])
    for dtype, shape in itertools.product(NUMBER, SORTED):
        yield Case("sort", (Type(dtype, shape),), {}, ("tied",))
        yield Case("argsort", (Type(dtype, shape),), {}, ("special",))
    for dtype, size, side in itertools.product(NUMBER, (0, 1, 2, 9, 64), ("left", "right")):
        types = (Type(dtype, (size,)), Type(dtype, (3, 7)))
        yield Case("searchsorted", types, {"side": side}, ("increasing", "tied"))
    for size, count in itertools.product((0, 1, 5, 40), (0, 1, 7, 90)):
        at = (f"below:{count}",)
        yield Case("last_writer", (Type("i64", (size,)),), {"count": count}, at)


# ---- checks --------------------------------------------------------------------------------------


def _checks() -> Iterator[Case]:
    attrs = {"error": "IndexError", "message": "index {value} is out of range"}
    for shape in ((), (1,), (0,), (67,), (3, 5)):
        types = (Type("bool", shape), Type("i64", shape))
        yield Case("check", types, attrs, ("true", "special"))


def _thinned(group: Iterator[Case]) -> Iterator[Case]:
    for number, case in enumerate(group):
        if number % 7 == 0 or OFTEN.issuperset(type.dtype for type in case.ins):
            yield case


ELEMENTWISE_CASES = tuple(_elementwise_on(LONG, "special"))
SHAPED_CASES = tuple(
    case
    for number, shape in enumerate(SHAPES)
    for case in list(_elementwise_on(shape, "special"))[number :: len(SHAPES)]
)
"""Every elementwise op on some of the shapes."""
ALL_SHAPED_CASES = tuple(case for shape in SHAPES for case in _elementwise_on(shape, "special"))
REDUCTION_CASES = tuple(_thinned(_reductions()))
MOVE_CASES = tuple(_thinned(_moves()))
INDEX_CASES = tuple(_thinned(_indexed()))
PRODUCT_CASES = tuple(_thinned(_products()))
ROUTINE_CASES = tuple(_thinned(_routines()))
CHECK_CASES = tuple(_checks())

GROUPS: Mapping[str, Sequence[Case]] = {
    "elementwise": ELEMENTWISE_CASES,
    "shapes": SHAPED_CASES,
    "reductions": REDUCTION_CASES,
    "moves": MOVE_CASES,
    "indices": INDEX_CASES,
    "products": PRODUCT_CASES,
    "routines": ROUTINE_CASES,
    "checks": CHECK_CASES,
}
CASES = tuple(case for group in GROUPS.values() for case in group)

FOREIGN = ("call", "pure_call", "scalar_call")
"""Ops that name functions of one process: `test_external` is theirs."""
TEXT = ("print", "describe")
"""Ops that make text: `test_effects` and `test_texts` are theirs."""
HELD = frozenset(
    {
        *("cond", "while", "scan", "fused", "fail_if"),
        *("checkpoint", "again", "custom"),
        *("empty_tape", "push", "pop", "is_empty"),
        *FOREIGN,
        *TEXT,
    }
)
"""Ops that hold graphs, or only lowering or differentiation makes: other files test them."""


DECOMPOSITIONS = frozenset(
    "solve det slogdet lu_diagonal cholesky qr eigh eig svd singular_values pinv real_eig geev"
    " complex_solve complex_slogdet complex_lu_diagonal complex_cholesky complex_qr complex_eigh"
    " complex_eig complex_svd complex_singular_values complex_pinv".split()
)
"""Ops of `test_decompositions` and `test_complex_decompositions`, whose results are compared up to
rounding and to signs."""


SPECIAL = frozenset("erfc erfcx erfinv zeta digamma gammaln gamma i0e i1e log_ndtr".split())
"""Ops of `test_special`, which measures their errors."""


COMPLEX = frozenset({"complex", "real", "imag"})
"""Ops of `test_complex_pairs`, which no kernel has."""


def cases(name: str) -> list[Case]:
    return [case for case in CASES if case.op == name]


# ---- where each op is differentiated -------------------------------------------------------------


def _smooth_elementwise() -> Iterator[Case]:
    x = Type("f64", (2, 3))
    for name, (arity, _, _, domains) in ELEMENTWISE.items():
        if domains:
            yield Case(name, (x,) * arity, {}, domains)
    yield Case("where", (x.with_dtype("bool"), x, x))
    yield Case("cast", (x,), {"dtype": "f64"})
    for name, domain in (("sum", "plain"), ("prod", "nonzero"), ("max", "apart"), ("min", "apart")):
        for axes in subsets(2):
            yield Case(name, (x,), {"axes": axes}, (domain,))


def _smooth_structured() -> Iterator[Case]:
    for case in (*MOVE_CASES, *INDEX_CASES, *PRODUCT_CASES, *ROUTINE_CASES):
        floats = [type.dtype for type in case.ins if type.dtype not in INT]
        small = sum(type.size for type in case.ins) <= 130
        if (
            OPS[case.op].vjp
            and set(floats) == {"f64"}
            and {type.dtype for type in case.ins} <= {"f64", "i64", "bool"}
            and small
        ):
            kept = ("below", "apart", "unit")
            domains = (d if d.startswith(kept) else "plain" for d in case.domains)
            yield Case(case.op, case.ins, case.attrs, tuple(domains))


SMOOTH_CASES = (*_smooth_elementwise(), *_smooth_structured())
"""In f64, small and away from kinks: for finite differences."""

NO_GRADIENT = {
    "eig": "is one of the operations below before it is differentiated",
    "geev": "is what real_eig is made of after that",
    "complex_lu_diagonal": "is what determinants are made of after that",
    "complex": "is a pair of real values before it is differentiated",
    "real": "is a pair of real values before it is differentiated",
    "imag": "is a pair of real values before it is differentiated",
    "call": "gc.custom_vjp gives it one",
    "pure_call": "gc.custom_vjp gives it one",
    "print": "has no result",
    "describe": "has no result",
    "stop_gradient": "is a constant for differentiation",
    "constant": "has no operands",
    "iota": "has no operands",
    "dimension": "has no operands",
    "empty_tape": "has no operands",
    "is_empty": "gives a bool",
    "floor_divide": "is constant between jumps",
    "floor": "is constant between jumps",
    "ceil": "is constant between jumps",
    "round": "is constant between jumps",
    "trunc": "is constant between jumps",
    "sign": "is constant between jumps",
    "lu_diagonal": "is what a determinant is lowered to",
    "argsort": "gives positions",
    "last_writer": "gives positions",
    "signbit": "gives truth values",
    "frexp_exponent": "is constant between jumps",
    "gcd": "takes no floats",
    "searchsorted": "gives positions",
    "philox": "gives integers",
    "argmax": "gives positions",
    "argmin": "gives positions",
    "check": "has no result",
    "fail_if": "has no result",
    "cond": "autodiff differentiates its branches",
    "while": "autodiff differentiates its body",
    "scan": "autodiff differentiates its body",
    "checkpoint": "autodiff differentiates its body",
    "again": "autodiff differentiates its body",
    "custom": "autodiff takes the backward that it holds",
    "fused": "autodiff comes before fusion",
    **dict.fromkeys(
        "less less_equal greater greater_equal equal not_equal isnan isinf isfinite".split(),
        "gives truth values",
    ),
    **dict.fromkeys(
        "any all logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor"
        " bitwise_not left_shift right_shift".split(),
        "takes no floats",
    ),
}
"""Every op without a gradient, and why."""
