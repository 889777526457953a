"""From LLVM IR text to callable machine code, in this process.

Text becomes an object file, which is kept on disk (`runtime/disk_cache.py`), and is linked into the
process.  Each text is compiled and linked in an LLVM context and engine of its own, so that threads
may compile, run and drop code at once, and two texts may use the same names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import llvmlite.binding as llvm

from graphc.runtime.disk_cache import current_cache, key_of
from graphc.runtime.llvm.target import HostTarget, host_target

FULL = 2
QUICK = 0
"""LLVM's levels of effort.  `QUICK` compiles four times as fast and is for code without loops."""

_CODE_MODEL = "jitdefault"


def make_target_machine(effort: int = FULL, target: HostTarget | None = None) -> llvm.TargetMachine:
    target = target or host_target()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=effort, codemodel=_CODE_MODEL, jit=True
    )


class Machine:
    """Linked object code: addresses by name, good for as long as this object lives.

    `from_disk` says whether the code was found in the disk cache.
    """

    def __init__(self, code: bytes, from_disk: bool = False):
        self.from_disk = from_disk
        self._context = llvm.create_context()
        empty = llvm.parse_assembly("", self._context)
        empty.triple = host_target().triple
        self._engine = llvm.create_mcjit_compiler(empty, make_target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def __del__(self) -> None:
        if sys.is_finalizing():
            return  # what closes an engine may be gone already
        # The engine owns the module, which lives in the context: the order matters.
        if hasattr(self, "_engine"):
            self._engine.close()
        if hasattr(self, "_context"):
            self._context.close()

    def address(self, name: str) -> int:
        return int(self._engine.get_function_address(name))

    def global_address(self, name: str) -> int:
        """Where a global variable lies."""
        return int(self._engine.get_global_value_address(name))


def add_symbols(addresses: Mapping[str, int]) -> None:
    """Tell the linker where functions are that it would not find by their name."""
    host_target()  # initialises LLVM
    for name, address in addresses.items():
        llvm.add_symbol(name, address)


def attributes(target: HostTarget) -> str:
    """The attribute group `#0` that every generated function carries."""
    return (
        f'attributes #0 = {{ nounwind "target-cpu"="{target.cpu}" '
        f'"prefer-vector-width"="{target.vector_bytes * 8}" }}\n'
    )


def compile_text(text: str, effort: int = FULL, target: HostTarget | None = None) -> Machine:
    """Compile LLVM IR text; every non-internal function in it can be called by address.

    The text must not hold addresses of this process: another one may be given the same code.
    `target` is this machine, or one whose code it can run.
    """
    target = target or host_target()
    cache = current_cache()
    if cache is None:
        return Machine(object_code(text, effort, target))
    key = _key(text, effort, target)
    code = cache.load(key)
    if code is not None:
        return Machine(code, from_disk=True)
    code = object_code(text, effort, target)
    cache.store(key, code)
    return Machine(code)


def _key(text: str, effort: int, target: HostTarget) -> str:
    """What object code depends on: the text, and for whom and by whom it is compiled."""
    version = ".".join(map(str, llvm.llvm_version_info))
    settings = f"LLVM {version}, effort {effort}, code model {_CODE_MODEL}"
    return key_of(text, attributes(target), target.triple, target.cpu, target.features, settings)


def object_code(text: str, effort: int = FULL, target: HostTarget | None = None) -> bytes:
    """An object file for a machine, this one unless told otherwise.

    No LLVM pass runs before code generation: our text is vectorised and tidy as it is written, and
    passes were measured to cost compile time without changing the code.
    """
    context = llvm.create_context()
    module = _module(text, context, target or host_target())
    return bytes(make_target_machine(effort, target).emit_object(module))


def assembly(text: str, target: HostTarget | None = None) -> str:
    """The assembly for LLVM IR text: what `compile_text` makes of it, to read."""
    context = llvm.create_context()
    module = _module(text, context, target or host_target())
    return str(make_target_machine(target=target).emit_assembly(module))


def _module(text: str, context: llvm.ContextRef, target: HostTarget) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text + attributes(target), context)
    module.triple = target.triple
    module.verify()
    return module
