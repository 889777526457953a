"""From LLVM IR text to callable machine code, in this process.

The target machine and the engine are process-wide caches: both are made once, on first use.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

import llvmlite.binding as llvm

_lock = threading.Lock()


@dataclass(frozen=True)
class HostTarget:
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
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), make_target_machine())


class Machine:
    """Compiled code; keeps the module alive, gives addresses by function name."""

    def __init__(self, module: llvm.ModuleRef):
        self._module = module

    def address(self, name: str) -> int:
        return _engine().get_function_address(name)

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
    """Compile LLVM IR text; every non-internal function in it can be called by address."""
    engine = _engine()
    with _lock:
        module = llvm.parse_assembly(text + attributes())
        module.triple = host_target().triple
        module.verify()
        optimise(module)
        engine.add_module(module)
        engine.finalize_object()
    return Machine(module)


def optimise(module: llvm.ModuleRef) -> None:
    """The few LLVM passes that pay: our code is vectorised and tidy as it is written."""
    builder = llvm.create_pass_builder(make_target_machine(), llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_function_pass_manager()
    passes.add_instruction_combine_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
