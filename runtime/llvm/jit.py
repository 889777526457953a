"""From LLVM IR text to callable machine code, in this process.

Each text is compiled in an LLVM context and engine of its own, so that threads may compile, run and
drop code at once, and two texts may use the same names.
"""

from __future__ import annotations

import functools
import threading
from typing import NamedTuple

import llvmlite.binding as llvm

from graphc.runtime.llvm.entry import c_symbols

_initialising = threading.Lock()


class HostTarget(NamedTuple):
    """What code generation needs to know of this machine."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int


def host_target() -> HostTarget:
    """This machine, asked of LLVM once in a process."""
    with _initialising:
        return _host_target()


@functools.cache
def _host_target() -> HostTarget:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name, address in c_symbols().items():
        llvm.add_symbol(name, address)
    features = llvm.get_host_cpu_features()
    has = {name for name, on in features.items() if on}
    vector_bytes = 64 if "avx512f" in has else 32 if "avx2" in has else 16
    return HostTarget(
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        features.flatten(),
        vector_bytes,
    )


def make_target_machine() -> llvm.TargetMachine:
    host = host_target()
    return llvm.Target.from_triple(host.triple).create_target_machine(
        cpu=host.cpu, features=host.features, opt=2, codemodel="jitdefault", jit=True
    )


class Machine:
    """Compiled code: addresses by name, good for as long as this object lives."""

    def __init__(self, text: str):
        self._context = llvm.create_context()
        module = _module(text, self._context)
        self._engine = llvm.create_mcjit_compiler(module, make_target_machine())
        self._engine.finalize_object()

    def __del__(self) -> None:
        # The engine owns the module, which lives in the context: the order matters.
        if hasattr(self, "_engine"):
            self._engine.close()
        self._context.close()

    def address(self, name: str) -> int:
        return int(self._engine.get_function_address(name))

    def global_address(self, name: str) -> int:
        """Where a global variable lies."""
        return int(self._engine.get_global_value_address(name))


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
    return Machine(text)


def assembly(text: str) -> str:
    """The assembly of this machine for LLVM IR text: what `compile_text` makes of it, to read."""
    context = llvm.create_context()
    return str(make_target_machine().emit_assembly(_module(text, context)))


def _module(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text + attributes(), context)
    module.triple = host_target().triple
    module.verify()
    return module
