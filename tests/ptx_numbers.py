"""The arithmetic of PTX where NumPy's is not the same: one rounding, other roundings, other errors.

Everything is exact as the PTX ISA asks for it, but for the approximations: they are wrong by as
much as they may be, so that nothing relies on a device that happens to be better.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

NAN32 = np.uint32(0x7FFFFFFF)
"""The NaN that arithmetic in f32 gives, whatever it was given."""


@functools.cache
def _fused() -> tuple[object, Callable[..., None]]:
    """x * y + z of f64 with one rounding, for arrays, in machine code."""
    text = """
    declare double @llvm.fma.f64(double, double, double)
    define void @fused(ptr %x, ptr %y, ptr %z, ptr %out, i64 %n) {
    entry:
      br label %loop
    loop:
      %i = phi i64 [0, %entry], [%next, %loop]
      %px = getelementptr double, ptr %x, i64 %i
      %py = getelementptr double, ptr %y, i64 %i
      %pz = getelementptr double, ptr %z, i64 %i
      %po = getelementptr double, ptr %out, i64 %i
      %a = load double, ptr %px
      %b = load double, ptr %py
      %c = load double, ptr %pz
      %d = call double @llvm.fma.f64(double %a, double %b, double %c)
      store double %d, ptr %po
      %next = add i64 %i, 1
      %more = icmp slt i64 %next, %n
      br i1 %more, label %loop, label %done
    done:
      ret void
    }"""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten()
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    pointer = ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, pointer, ctypes.c_int64)
    return engine, kind(engine.get_function_address("fused"))


def fma64(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    arrays = [np.ascontiguousarray(a) for a in np.broadcast_arrays(x, y, z)]
    out = np.empty(arrays[0].shape)
    if out.size:
        _fused()[1](*(a.ctypes.data for a in (*arrays, out)), out.size)
    return out


def sum_to_odd(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y of f64; what lies between two numbers becomes the odd one of them.

    Rounded once more, to a type with a few bits less, that is the sum with a single rounding.
    """
    total = x + y
    back = total - x
    error = (x - (total - back)) + (y - back)
    bits = total.view(np.int64)
    is_between = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
    # Towards the exact sum: away from zero if the error has the sign of the total.
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(is_between, bits + step, bits).view(np.float64)


def odd_fma32(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z of f32 or f16 in f64, odd where it is not exact."""
    product, wide = np.broadcast_arrays(x.astype(np.float64) * y, z.astype(np.float64))
    return sum_to_odd(np.ascontiguousarray(product), np.ascontiguousarray(wide))


def fma32(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return odd_fma32(x, y, z).astype(np.float32)


def fma16(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return odd_fma32(x, y, z).astype(np.float16)


def canonical(value: np.ndarray) -> np.ndarray:
    """f32 or f16 with the NaN that a device gives."""
    is_nan = np.isnan(value)
    if is_nan.any():
        bits = NAN32 if value.dtype == np.float32 else np.uint16(0x7FFF)
        value = np.where(is_nan, bits.view(value.dtype), value)
    return value


def smallest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of a number and a NaN the number, of two zeros the negative one."""
    found = np.fmin(x, y)
    both_zero = (x == 0) & (y == 0)
    return np.where(both_zero & (np.signbit(x) | np.signbit(y)), np.negative(abs(found)), found)


def largest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    found = np.fmax(x, y)
    both_zero = (x == 0) & (y == 0)
    return np.where(both_zero & ~(np.signbit(x) & np.signbit(y)), abs(found), found)


# ---- conversions ---------------------------------------------------------------------------------


def to_integral(value: np.ndarray, mode: str) -> np.ndarray:
    """To the integer that `mode` says: "rni", "rzi", "rmi" or "rpi"."""
    return {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode](value)


def float_to_int(value: np.ndarray, mode: str, kind: np.dtype) -> np.ndarray:
    """What lies outside becomes the nearest there is; a NaN 0, with 64 bits on a side the sign."""
    wide = value.astype(np.float64)
    whole = to_integral(wide, mode)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    inside = (whole > float(low) - 1) & (whole < float(high) + (0 if high > 1 << 53 else 1))
    made = np.where(inside, whole, 0.0).astype(kind)
    made = np.where(whole >= float(high), np.array(high, kind), made)
    made = np.where(whole <= float(low), np.array(low, kind), made)
    is_long = value.dtype == np.float64 or kind.itemsize == 8
    nothing = (1 << (8 * kind.itemsize - 1)) if is_long else 0
    odd = np.array(nothing, f"u{kind.itemsize}").view(kind)
    return np.where(np.isnan(wide), odd, made)


def narrowed(value: np.ndarray, mode: str, kind: np.dtype) -> np.ndarray:
    """f64 in a narrower type, rounded as `mode` says: "rn", "rz", "rm" or "rp"."""
    with np.errstate(over="ignore"):
        near = value.astype(kind)
    if mode == "rn":
        return near
    back = near.astype(np.float64)
    towards = {"rz": 0.0, "rm": -np.inf, "rp": np.inf}[mode]
    is_wrong = {
        "rz": abs(back) > abs(value),
        "rm": back > value,
        "rp": back < value,
    }[mode]
    moved = np.nextafter(near, np.array(towards, kind))
    return np.where(is_wrong, moved, near)


def to_bf16(value: np.ndarray, mode: str = "rn") -> np.ndarray:
    """The bits of f32 values as bf16."""
    bits = value.astype(np.float32).view(np.uint32)
    if mode == "rn":
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    made = (bits >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(value), np.uint16(0x7FFF), made)


def to_bf16_exactly(odd: np.ndarray) -> np.ndarray:
    """The same of f64 that is odd where it is not exact: by way of f32 that is, too."""
    near = narrowed(odd, "rz", np.dtype("f4"))
    bits = near.view(np.uint32)
    is_between = (near != odd) & np.isfinite(odd)
    return to_bf16(np.where(is_between, bits | np.uint32(1), bits).view(np.float32))


def to_tf32(bits: np.ndarray) -> np.ndarray:
    """f32 (its bits) to the nearest with 10 bits of a fraction, from halfway on away from zero."""
    near = bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)
    is_finite = bits & np.uint32(0x7F800000) != 0x7F800000
    return np.where(is_finite, near, bits)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


# ---- approximations ------------------------------------------------------------------------------


def _share(value: np.ndarray) -> np.ndarray:
    """Of each f32 a number between -1 and 1, the same every time, unlike that of its neighbours."""
    dice = np.asarray(value, np.float32).view(np.uint32) * np.uint32(2654435761)
    return (dice >> np.uint32(8)).astype(np.float64) / (1 << 23) - 1.0


def _scattered(exact: np.ndarray, relative: float) -> np.ndarray:
    """Values (f64) as f32, wrong by up to `relative`, differently for each."""
    near = exact.astype(np.float32)
    moved = (exact * (1 + _share(near) * (relative - 2.0**-24))).astype(np.float32)
    return np.where(np.isfinite(near) & (near != 0), moved, near)


def _quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wide = _scattered(x.astype(np.float64) / y, 2.0**-22)
    huge = (abs(y) > np.float32(2.0**126)) & np.isfinite(y)
    return np.where(huge, np.where(np.isinf(x), np.float32(np.nan), x * np.float32(0)), wide)


def _bounded(
    function: Callable[[np.ndarray], np.ndarray], absolute: float
) -> Callable[..., np.ndarray]:
    """Approximations whose error is bounded in absolute terms."""

    def made(x: np.ndarray) -> np.ndarray:
        return np.asarray(function(x.astype(np.float64)) + _share(x) * absolute, np.float32)

    return made


APPROXIMATE: dict[str, Callable[..., np.ndarray]] = {
    "ex2": lambda x: _scattered(np.exp2(x.astype(np.float64)), 2.0**-22.5),
    "rcp": lambda x: _scattered(1.0 / x.astype(np.float64), 2.0**-23),
    "sqrt": lambda x: _scattered(np.sqrt(x.astype(np.float64)), 2.0**-23),
    "rsqrt": lambda x: _scattered(1.0 / np.sqrt(x.astype(np.float64)), 2.0**-22.9),
    "lg2": lambda x: _scattered(np.log2(x.astype(np.float64)), 2.0**-22),
    "tanh": lambda x: _scattered(np.tanh(x.astype(np.float64)), 2.0**-11),
    "sin": _bounded(np.sin, 2.0**-20.5),
    "cos": _bounded(np.cos, 2.0**-20.5),
    "div": _quotient,
}
"""What `.approx` gives for f32, with the errors that the PTX ISA allows."""


def flushed(value: np.ndarray) -> np.ndarray:
    """`.ftz`: no f32 between 0 and the smallest normal one."""
    return np.where(abs(value) < np.float32(2.0**-126), value * np.float32(0), value)
