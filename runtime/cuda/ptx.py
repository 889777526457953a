"""From LLVM IR to PTX, the text that a CUDA driver takes, by LLVM alone."""

from __future__ import annotations

import functools
import threading

import llvmlite.binding as llvm

TRIPLE = "nvptx64-nvidia-cuda"
FULL = 3

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
        machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=architecture, opt=FULL)
        return str(machine.emit_assembly(module))
    finally:
        module.close()
        context.close()
