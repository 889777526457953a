"""What code is generated for: this machine, unless a test says otherwise.

Everything that depends on the machine asks a `HostTarget`: the width of a vector, how many vector
registers there are (and with that the tiles of matrix products), and whether there are fused
multiply-adds and roundings in hardware.  Where those are missing they are made of other
instructions (`builder.py`): no generated code calls the C library for an element.
"""

from __future__ import annotations

import functools
import itertools
import threading
from contextlib import suppress
from typing import NamedTuple

import llvmlite.binding as llvm

_initialising = threading.Lock()


class HostTarget(NamedTuple):
    """A machine, as LLVM knows it, and what code generation needs to know of it."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool = True
    """Fused multiply-adds are instructions."""
    has_rounding: bool = True
    """Rounding a float to a whole one is an instruction."""
    has_half: bool = True
    """So is the conversion between f16 and f32."""
    last_cache: int = 0
    """The bytes of the last cache, if vectors can be written past it."""

    @property
    def is_arm(self) -> bool:
        return self.triple.startswith(("aarch64", "arm64"))

    @property
    def vector_registers(self) -> int:
        return 32 if self.vector_bytes == 64 or self.is_arm else 16


X86_LEVELS = {"x86-64": 16, "x86-64-v2": 16, "x86-64-v3": 32, "x86-64-v4": 64}
"""The levels of x86-64 that compilers agree on, and the bytes of their vectors."""


def x86_target(level: str) -> HostTarget:
    """Any x86-64 machine of a level: "x86-64" has SSE2, v2 roundings, v3 AVX2 and FMA, v4 AVX-512.

    Raises KeyError for another level.
    """
    triple = "x86_64-unknown-linux-gnu"
    if llvm.get_default_triple().startswith("x86_64"):
        triple = llvm.get_default_triple()
    newer = level in ("x86-64-v3", "x86-64-v4")
    return HostTarget(triple, level, "", X86_LEVELS[level], newer, level != "x86-64", newer)


def neon_target() -> HostTarget:
    """Any 64-bit ARM machine with Linux: NEON is part of the architecture."""
    return HostTarget("aarch64-unknown-linux-gnu", "generic", "+neon", 16)


def host_target() -> HostTarget:
    """This machine, asked of LLVM once in a process."""
    with _initialising:
        return _host_target()


@functools.cache
def _host_target() -> HostTarget:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    features = llvm.get_host_cpu_features()
    triple, cpu, text = llvm.get_default_triple(), llvm.get_host_cpu_name(), features.flatten()
    if not triple.startswith(("x86_64", "i686")):
        return HostTarget(triple, cpu, text, 16)
    has = {name for name, on in features.items() if on}
    vector_bytes = 64 if "avx512f" in has else 32 if "avx2" in has else 16
    units = "fma" in has, "sse4.1" in has, "f16c" in has
    return HostTarget(triple, cpu, text, vector_bytes, *units, last_cache_bytes())


USUAL_LAST_CACHE = 32 << 20
"""Where the system does not say how large the last cache is."""


def last_cache_bytes(folder: str = "/sys/devices/system/cpu/cpu0/cache") -> int:
    """The size of the largest cache that Linux lists in a folder: "size" is "32768K".

    The first step of a process waits for this: no patterns, neither of names nor of texts.
    """
    sizes = []
    with suppress(OSError):  # of the one after the last
        for number in itertools.count():
            with open(f"{folder}/index{number}/size") as file:
                sizes.append(_bytes(file.read().strip()))
    return max(sizes, default=USUAL_LAST_CACHE)


UNITS = {"K": 10, "M": 20, "G": 30}


def _bytes(text: str) -> int:
    shift = UNITS.get(text[-1:], 0)
    digits = text[:-1] if shift else text
    return int(digits) << shift if digits.isdecimal() else USUAL_LAST_CACHE
