"""PTX, kept on disk like the machine code of the processor."""

from __future__ import annotations

import llvmlite.binding as llvm

from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.disk_cache import current_cache, key_of

ARCHITECTURES = (70, 75, 80, 86, 89, 90)
"""What PTX is made for: a newer device runs the PTX of an older one."""
DEFAULT = "sm_80"
"""For looking at, where there is no device."""


def architecture_for(capability: tuple[int, int]) -> str | None:
    """The newest architecture whose PTX a device of this compute capability runs."""
    number = 10 * capability[0] + capability[1]
    fitting = [a for a in ARCHITECTURES if a <= number]
    return f"sm_{fitting[-1]}" if fitting else None


def cached_ptx(text: str, architecture: str) -> str:
    """`ptx(text, architecture)`, made at most once for a folder."""
    cache = current_cache()
    if cache is None:
        return ptx(text, architecture)
    version = ".".join(map(str, llvm.llvm_version_info))
    key = key_of("ptx", text, architecture, f"LLVM {version}")
    known = cache.load(key)
    if known is not None:
        return known.decode()
    made = ptx(text, architecture)
    cache.store(key, made.encode())
    return made
