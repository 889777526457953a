"""From LLVM IR to PTX, the text that a CUDA driver takes, by LLVM alone."""

from __future__ import annotations

import functools
import threading
from typing import Any

import llvmlite.binding as llvm

POINTER_BYTES = 8
TRIPLE = "nvptx64-nvidia-cuda"
FULL = 3
FEW_BYTES, MANY = 4352, "+ptx81"
"""Parameters of a function beyond so many bytes need a newer version of PTX."""

_initialising = threading.Lock()


@functools.cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def ptx(text: str, architecture: str = "sm_80") -> str:
    """PTX for devices from `architecture` on, such as "sm_80" or "sm_90".

    `text` is that of a `DeviceModule`.
    """
    with _initialising:
        _initialise()
    context = llvm.create_context()
    try:
        module = llvm.parse_assembly(text, context)
        module.triple = TRIPLE
        module.verify()
        machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
            cpu=architecture, features=_features(module), opt=FULL
        )
        return str(machine.emit_assembly(module))
    finally:
        module.close()
        context.close()


def _features(module: Any) -> str:
    """What LLVM may write that the oldest version for the architecture does not have: "", or the
    version that has as many parameters as a kernel of hundreds of arrays needs."""
    counts = [sum(1 for _ in f.arguments) for f in module.functions if not f.is_declaration]
    return MANY if max(counts, default=0) * POINTER_BYTES > FEW_BYTES else ""
