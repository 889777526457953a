"""From LLVM IR text to callable machine code, in this process.

The target machine and the engine are process-wide caches: both are made once, on first use.
"""

from __future__ import annotations

import functools
import threading
from typing import NamedTuple

import llvmlite.binding as llvm

from graphc.runtime.llvm.entry import c_symbols

_lock = threading.Lock()


class HostTarget(NamedTuple):
    """What code generation needs to know of this machine."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    masks: bool
    """Whether masked loads and stores are single instructions (AVX-512, AVX2 for 4 and 8 bytes)."""


@functools.cache
def host_target() -> HostTarget:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    has = {name for name, on in features.items() if on}
    vector_bytes = 64 if "avx512f" in has else 32 if "avx2" in has else 16
    return HostTarget(
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        features.flatten(),
        vector_bytes,
        "avx512vl" in has or "avx2" in has,
    )


def make_target_machine() -> llvm.TargetMachine:
    host = host_target()
    return llvm.Target.from_triple(host.triple).create_target_machine(
        cpu=host.cpu, features=host.features, opt=2, codemodel="jitdefault", jit=True
    )


@functools.cache
def _engine() -> llvm.ExecutionEngine:
    host_target()
    for name, address in c_symbols().items():
        llvm.add_symbol(name, address)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), make_target_machine())


class Machine:
    """Compiled code; keeps the module alive, gives addresses by function name."""

    def __init__(self, module: llvm.ModuleRef):
        self._module = module

    def address(self, name: str) -> int:
        return int(_engine().get_function_address(name))

    def global_address(self, name: str) -> int:
        """Where a global variable of the module lies."""
        return int(_engine().get_global_value_address(name))

    def __del__(self) -> None:
        try:
            with _lock:
                _engine().remove_module(self._module)
        except Exception:  # noqa: BLE001 - interpreter shutdown: the engine may be gone already
            return


def attributes() -> str:
    """The attribute group `#0` that every generated function carries."""
    host = host_target()
    return (
        f'attributes #0 = {{ nounwind "target-cpu"="{host.cpu}" '
        f'"prefer-vector-width"="{host.vector_bytes * 8}" }}\n'
    )


def compile_text(text: str) -> Machine:
    """Compile LLVM IR text; every non-internal function in it can be called by address.

    No LLVM pass runs before code generation: our text is vectorised and tidy as it is written, and
    passes were measured to cost compile time without changing the code.
    """
    engine = _engine()
    with _lock:
        module = _module(text)
        engine.add_module(module)
        engine.finalize_object()
    return Machine(module)


def assembly(text: str) -> str:
    """The assembly of this machine for LLVM IR text: what `compile_text` makes of it, to read."""
    with _lock:
        return str(make_target_machine().emit_assembly(_module(text)))


def _module(text: str) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text + attributes())
    module.triple = host_target().triple
    module.verify()
    return module
