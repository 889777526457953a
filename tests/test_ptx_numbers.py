"""What the instructions of PTX compute, beside exact arithmetic."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import ptx_numbers as numbers
import pytest
from test_ptx_machine import kernel, launch

MANTISSA = {"f16": (11, -14), "f32": (24, -126), "f64": (53, -1022)}
"""Bits of a number, and the lowest exponent."""
DTYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


def rounded(exact: Fraction, kind: str, mode: str = "rn") -> float:
    """The number of a type that is nearest to an exact one, or the next one in a direction."""
    bits, lowest = MANTISSA[kind]
    if not exact:
        return 0.0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, lowest) - bits + 1)
    steps = exact / unit
    whole = {"rn": round, "rz": math.trunc, "rm": math.floor, "rp": math.ceil}[mode](steps)
    made = whole * unit
    largest = (2 - Fraction(2) ** (1 - bits)) * Fraction(2) ** (1 - lowest)
    if abs(made) > largest:
        is_outwards = mode == "rn" or mode == ("rp" if made > 0 else "rm")
        return math.copysign(math.inf if is_outwards else float(largest), made)
    return math.copysign(float(made), exact)


def values(kind: str, count: int, seed: int = 0) -> np.ndarray:
    """Numbers of all sizes, such that sums of their products are often halfway between two."""
    rng = np.random.default_rng(seed)
    bits, lowest = MANTISSA[kind]
    sizes = rng.integers(lowest // 2 - bits, -lowest // 2, count)
    sizes[: count // 2] = rng.integers(-4, 5, count // 2)
    whole = rng.integers(-(1 << bits) + 1, 1 << bits, count) >> rng.integers(0, bits - 1, count)
    return np.ldexp(whole.astype("f8"), sizes - bits // 2).astype(DTYPES[kind])


def computed(code: str, kind: str, *operands: np.ndarray) -> np.ndarray:
    """`code` with {d} as the result and {a}, {b}, {c} as operands, for a thread each."""
    width = DTYPES[kind](0).itemsize
    lanes = len(operands[0])
    memory = np.zeros((len(operands) + 1) * lanes, DTYPES[kind])
    memory[lanes:] = np.concatenate(operands)
    name = {2: "%rs", 4: "%r", 8: "%rd"}[width]
    names = {letter: f"{name}{i}" for letter, i in zip("dabc", (5, 6, 7, 8))}
    body = f"mul.wide.u32 %rd2, %r1, {width}; add.s64 %rd2, %rd1, %rd2;"
    for i, letter in enumerate("abc"[: len(operands)]):
        body += f"ld.global.b{8 * width} {names[letter]}, [%rd2+{(i + 1) * lanes * width}];"
    body += f"{code.format(**names)} st.global.b{8 * width} [%rd2], {names['d']};"
    launch(kernel(body), memory, block=lanes)
    return memory[:lanes]


def assert_exact(found: np.ndarray, wanted: list[float], *operands: np.ndarray) -> None:
    for got, expected, *given in zip(found.tolist(), wanted, *(o.tolist() for o in operands)):
        assert got == expected, given


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_fused_products_have_one_rounding(kind: str) -> None:
    x, y, z = (values(kind, 1000, seed) for seed in range(3))
    near = x[500:750].astype("f8") * y[500:750] * 0.999  # what the product is taken off
    z[500:750] = np.where(abs(near) < np.finfo(DTYPES[kind]).max, near, 0)
    exact = [
        Fraction(a) * Fraction(b) + Fraction(c)
        for a, b, c in zip(*map(np.ndarray.tolist, (x, y, z)))
    ]
    found = computed(f"fma.rn.{kind} {{d}}, {{a}}, {{b}}, {{c}};", kind, x, y, z)
    assert_exact(found, [rounded(e, kind) for e in exact], x, y, z)


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("name, exact", [("add", lambda a, b: a + b), ("mul", lambda a, b: a * b)])
def test_sums_and_products_in_every_direction(
    name: str, exact: Callable[[Fraction, Fraction], Fraction], mode: str
) -> None:
    x, y = values("f32", 600, 3), values("f32", 600, 4)
    y[:200] = x[:200] * np.float32(2.0**-24)
    found = computed(f"{name}.{mode}.f32 {{d}}, {{a}}, {{b}};", "f32", x, y)
    wanted = [
        rounded(exact(Fraction(a), Fraction(b)), "f32", mode)
        for a, b in zip(x.tolist(), y.tolist())
    ]
    assert_exact(found, wanted, x, y)


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_quotients_and_roots(kind: str) -> None:
    x, y = values(kind, 500, 5), values(kind, 500, 6)
    y[y == 0] = 3
    wanted = [rounded(Fraction(a) / Fraction(b), kind) for a, b in zip(x.tolist(), y.tolist())]
    assert_exact(computed(f"div.rn.{kind} {{d}}, {{a}}, {{b}};", kind, x, y), wanted, x, y)
    inverse = [rounded(1 / Fraction(b), kind) for b in y.tolist()]
    assert_exact(computed(f"rcp.rn.{kind} {{d}}, {{a}};", kind, y), inverse, y)


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("source, target", [("f64", "f32"), ("f32", "f16")])
def test_conversions_to_less(source: str, target: str, mode: str) -> None:
    x = np.concatenate([values(source, 400, 7), values(target, 100, 8).astype(DTYPES[source])])
    found = numbers.narrowed(x.astype("f8"), mode, np.dtype(DTYPES[target]))
    assert_exact(found, [rounded(Fraction(a), target, mode) for a in x.tolist()], x)


def test_bf16() -> None:
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3e38, np.inf, np.nan, 2**-130], "f4")
    made = numbers.from_bf16(numbers.to_bf16(x))
    wanted = [1, 1, 1 + 2**-6, -1, 3e38, np.inf, np.nan, 2**-130]
    np.testing.assert_allclose(made, wanted, rtol=4e-3)
    np.testing.assert_array_equal(made[:4], wanted[:4])


@pytest.mark.parametrize(
    "code, given, wanted",
    [
        ("cvt.rzi.s32.f32", [1.9, -1.9, 3e9, -3e9, math.nan], [1, -1, 2**31 - 1, -(2**31), 0]),
        ("cvt.rni.s32.f32", [0.5, 1.5, -2.5, 2.5, 1e30], [0, 2, -2, 2, 2**31 - 1]),
        ("cvt.rmi.s32.f32", [-0.5, 1.5, -2.0, -0.0, 7.0], [-1, 1, -2, 0, 7]),
        ("cvt.rpi.u32.f32", [0.5, -1.5, 2.0, 5e9, -1e30], [1, 0, 2, 2**32 - 1, 0]),
    ],
)
def test_floats_become_integers_within_their_limits(code, given, wanted) -> None:  # type: ignore[no-untyped-def]
    found = computed(f"{code} {{d}}, {{a}};", "f32", np.array(given, "f4"))
    kind = "u4" if ".u32" in code else "i4"
    assert found.view(kind).tolist() == wanted


def of_ints(code: str, width: int, *operands: list[int]) -> list[int]:
    """Whole numbers by way of registers that hold floats."""
    kind = {32: "f32", 64: "f64"}[width]
    bits = [np.array([x % (1 << width) for x in own], f"u{width // 8}") for own in operands]
    found = computed(code, kind, *(b.view(DTYPES[kind]) for b in bits))
    return [int(x) for x in found.view(f"u{width // 8}")]


def ints(width: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    few = [0, 1, 2, 31, 32, 33, 63, 64, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1]
    many = [int.from_bytes(rng.bytes(width // 8), "little") for _ in range(40)]
    drawn = few * 4 + many
    rng.shuffle(drawn)
    return drawn


def signed(x: int, width: int) -> int:
    return x - (1 << width) if x >> (width - 1) else x


WHOLE: dict[str, Callable[[int, int, int, int], int]] = {
    "mul.hi.u{w}": lambda a, b, c, w: a * b >> w,
    "mul.hi.s{w}": lambda a, b, c, w: signed(a, w) * signed(b, w) >> w,
    "mul.lo.s{w}": lambda a, b, c, w: a * b,
    "div.s{w}": lambda a, b, c, w: _quotient(signed(a, w), signed(b, w)),
    "rem.s{w}": lambda a, b, c, w: (
        signed(a, w) - _quotient(signed(a, w), signed(b, w)) * signed(b, w)
    ),
    "div.u{w}": lambda a, b, c, w: a // b,
    "rem.u{w}": lambda a, b, c, w: a % b,
    "min.s{w}": lambda a, b, c, w: min(signed(a, w), signed(b, w)),
    "max.u{w}": lambda a, b, c, w: max(a, b),
    "mad.lo.s{w}": lambda a, b, c, w: a * b + c,
    "mad.hi.u{w}": lambda a, b, c, w: (a * b >> w) + c,
    "xor.b{w}": lambda a, b, c, w: a ^ b,
}


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str, width: int) -> None:
    x, y, z = (ints(width, seed) for seed in (1, 2, 3))
    if name.startswith(("div", "rem")):
        y = [b or 7 for b in y]
    three = name.startswith("mad")
    code = f"{name.format(w=width)} {{d}}, {{a}}, {{b}}{', {c}' if three else ''};"
    found = of_ints(code, width, *((x, y, z) if three else (x, y)))
    wanted = [WHOLE[name](a, b, c, width) % (1 << width) for a, b, c in zip(x, y, z)]
    assert found == wanted


BY_WORD: dict[str, Callable[[int, int], int]] = {
    "shl.b32 {d}, {a}, {b}": lambda a, b: a << b if b < 32 else 0,
    "shr.u32 {d}, {a}, {b}": lambda a, b: a >> b if b < 32 else 0,
    "shr.s32 {d}, {a}, {b}": lambda a, b: signed(a, 32) >> min(b, 31),
    "bfe.u32 {d}, {a}, {b}, 5": lambda a, b: (a >> (b & 255)) & 31,
    "bfe.s32 {d}, {a}, 3, 5": lambda a, b: signed((a >> 3 & 31) << 27, 32) >> 27,
    "bfi.b32 {d}, {a}, {b}, 4, 8": lambda a, b: b & ~0xFF0 | (a & 0xFF) << 4,
    "popc.b32 {d}, {a}": lambda a, b: a.bit_count(),
    "clz.b32 {d}, {a}": lambda a, b: 32 - a.bit_length(),
    "brev.b32 {d}, {a}": lambda a, b: int(f"{a:032b}"[::-1], 2),
    "shf.l.wrap.b32 {d}, {a}, {b}, 9": lambda a, b: ((b << 32 | a) << 9) >> 32,
    "shf.r.wrap.b32 {d}, {a}, {b}, 9": lambda a, b: (b << 32 | a) >> 9,
    "prmt.b32 {d}, {a}, {b}, 0x5410": lambda a, b: a & 0xFFFF | b << 16,
    "prmt.b32 {d}, {a}, {b}, 0x7A31": lambda a, b: (
        a >> 8 & 0xFF | (a >> 24) << 8 | (0xFF if a >> 23 & 1 else 0) << 16 | (b >> 24) << 24
    ),
}


@pytest.mark.parametrize("code", BY_WORD)
def test_bits_of_words(code: str) -> None:
    x, y = ints(32, 4), ints(32, 5)
    wanted = [BY_WORD[code](a, b) % (1 << 32) for a, b in zip(x, y)]
    assert of_ints(f"{code};", 32, x, y) == wanted


def test_comparisons_of_nan() -> None:
    x = np.array([1, 2, 3, math.nan], "f4")
    y = np.array([2, 2, 2, 2], "f4")
    for how, wanted in {
        "lt": [1, 0, 0, 0],
        "ltu": [1, 0, 0, 1],
        "ne": [1, 0, 1, 0],
        "neu": [1, 0, 1, 1],
        "equ": [0, 1, 0, 1],
        "geu": [0, 1, 1, 1],
        "num": [1, 1, 1, 0],
        "nan": [0, 0, 0, 1],
    }.items():
        code = f"setp.{how}.f32 %p1, {{a}}, {{b}}; selp.f32 {{d}}, 0f3F800000, 0f00000000, %p1;"
        assert computed(code, "f32", x, y).tolist() == wanted, how


def test_extrema_of_zeros_and_nan() -> None:
    x = np.array([0.0, -0.0, math.nan, 1.0, math.nan], "f4")
    y = np.array([-0.0, 0.0, 2.0, math.nan, math.nan], "f4")
    low = computed("min.f32 {d}, {a}, {b};", "f32", x, y)
    high = computed("max.f32 {d}, {a}, {b};", "f32", x, y)
    np.testing.assert_array_equal(np.signbit(low[:2]), [True, True])
    np.testing.assert_array_equal(np.signbit(high[:2]), [False, False])
    np.testing.assert_array_equal(low[2:], [2, 1, math.nan])
    with_nan = computed("max.NaN.f32 {d}, {a}, {b};", "f32", x, y)
    np.testing.assert_array_equal(np.isnan(with_nan), [False, False, True, True, True])


def test_a_nan_of_f32_is_the_one_that_devices_give() -> None:
    found = computed("sub.rn.f32 {d}, {a}, {a};", "f32", np.array([math.inf, -math.nan], "f4"))
    assert found.view("u4").tolist() == [0x7FFFFFFF] * 2


def test_subnormal_numbers_are_kept_unless_they_are_not_wanted() -> None:
    x = np.array([2.0**-126, 2.0**-140], "f4")
    assert computed("mul.rn.f32 {d}, {a}, 0f3F000000;", "f32", x).tolist() == [2.0**-127, 2.0**-141]
    assert computed("mul.rn.ftz.f32 {d}, {a}, 0f3F000000;", "f32", x).tolist() == [0, 0]


@pytest.mark.parametrize(
    "name, function, bound",
    [
        ("ex2", np.exp2, 2.0**-22.5),
        ("rcp", np.reciprocal, 2.0**-23),
        ("sqrt", np.sqrt, 2.0**-23),
        ("rsqrt", lambda x: 1 / np.sqrt(x), 2.0**-22.9),
    ],
)
def test_approximations_are_as_wrong_as_they_may_be(name, function, bound) -> None:  # type: ignore[no-untyped-def]
    x = np.random.default_rng(9).uniform(0.1, 20, 1000).astype("f4")
    found = computed(f"{name}.approx.f32 {{d}}, {{a}};", "f32", x)
    exact = function(x.astype("f8"))
    wrong = abs(found / exact - 1)
    assert bound / 2 < wrong.max() <= bound
    assert (found != exact.astype("f4")).mean() > 0.3


def test_pairs_of_halves() -> None:
    def packed(low: float, high: float) -> int:
        return int.from_bytes(struct.pack("<ee", low, high), "little")

    x, y = [packed(1.5, -2.0)], [packed(0.25, 4.0)]
    assert of_ints("add.rn.f16x2 {d}, {a}, {b};", 32, x, y) == [packed(1.75, 2.0)]
    assert of_ints("fma.rn.f16x2 {d}, {a}, {b}, {b};", 32, x, y) == [packed(0.625, -4.0)]
    ones = [struct.unpack("<I", struct.pack("<f", v))[0] for v in (1.0, -3.0)]
    code = "cvt.rn.f16x2.f32 {d}, {a}, {b};"
    assert of_ints(code, 32, [ones[0]], [ones[1]]) == [packed(-3.0, 1.0)]
