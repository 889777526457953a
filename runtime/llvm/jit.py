"""From LLVM IR text to callable machine code, in this process.

Text becomes object files, which are kept on disk (`runtime/disk_cache.py`), and are linked into the
process.  A long text is compiled in parts (`split.py`), side by side.  Each text is compiled and
linked in LLVM contexts and an engine of its own, so that threads may compile, run and drop code at
once, and two texts may use the same names.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar

import llvmlite.binding as llvm

from graphc.runtime.background import A_MOMENT, Background
from graphc.runtime.disk_cache import current_cache, key_of
from graphc.runtime.llvm.split import Part, shared_functions, split
from graphc.runtime.llvm.target import HostTarget, host_target

FULL = 2
QUICK = 0
"""LLVM's levels of effort.  `QUICK` compiles four times as fast and is for code without loops.

What was tried in the place of `FULL`, on Zen 5: level 1 takes a tenth less time to compile, and the
scheduling of no processor in particular ("tune-cpu") 8 % less; both make steps slower (a small net
by a tenth, Black-Scholes by 3 %).  What LLVM compiles first in a process takes 3 ms more than what
follows: to compile something of no use in a thread beside the trace gains half of that where a
processor is idle, and costs 4 ms where none is.
"""

_CODE_MODEL = "jitdefault"


def make_target_machine(effort: int = FULL, target: HostTarget | None = None) -> llvm.TargetMachine:
    target = target or host_target()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=effort, codemodel=_CODE_MODEL, jit=True
    )


class Machine:
    """Linked object code: addresses by name, good for as long as this object lives.

    `from_disk` says whether the code was found in the disk cache, and `key` where it is in it.
    """

    def __init__(self, code: bytes, from_disk: bool = False, key: str | None = None):
        self.from_disk, self.key = from_disk, key
        self._context = llvm.create_context()
        empty = llvm.parse_assembly("", self._context)
        empty.triple = host_target().triple
        self._engine = llvm.create_mcjit_compiler(empty, make_target_machine())
        # An engine begins with a module, which it would compile, though it is empty.
        self._engine.remove_module(empty)
        empty.close()
        for part in _unpacked(code):
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(part))
        self._engine.finalize_object()

    def __del__(self) -> None:
        if sys.is_finalizing():
            return  # what closes an engine may be gone already
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
    """The attributes that every generated function carries, as group `#0` or `#1`.

    The second is for what runs once in a step, straight through: see `split`.
    """
    group = f'"target-cpu"="{target.cpu}" "prefer-vector-width"="{target.vector_bytes * 8}"'
    return "".join(f"attributes #{i} = {{ nounwind {group} }}\n" for i in (0, 1))


def nothing() -> None:
    """What need not be done."""


def compile_text(
    text: str,
    effort: int = FULL,
    target: HostTarget | None = None,
    before_linking: Callable[[], object] = nothing,
) -> Machine:
    """Compile LLVM IR text; every non-internal function in it can be called by address.

    The text must not hold addresses of this process: another one may be given the same code.
    `target` is this machine, or one whose code it can run.  `before_linking` makes known to the
    linker what the text declares.
    """
    target = target or host_target()
    cache = current_cache()
    key = None if cache is None else _key(text, effort, target)
    found = None if key is None else load_code(key, before_linking)
    if found is not None:
        return found
    code = object_code(text, effort, target, _known_functions(text, effort, target))
    is_kept = cache is not None and key is not None and cache.store(key, code)
    before_linking()
    return Machine(code, key=key if is_kept else None)


def load_code(key: str, before_linking: Callable[[], object]) -> Machine | None:
    """The code that the disk cache has under a key."""
    cache = current_cache()
    code = None if cache is None else cache.load(key)
    if code is None:
        return None
    before_linking()
    return Machine(code, from_disk=True, key=key)


def _key(text: str, effort: int, target: HostTarget) -> str:
    """What object code depends on: the text, and for whom and by whom it is compiled."""
    version = ".".join(map(str, llvm.llvm_version_info))
    settings = f"LLVM {version}, effort {effort}, code model {_CODE_MODEL}"
    return key_of(text, attributes(target), target.triple, target.cpu, target.features, settings)


def _known_functions(text: str, effort: int, target: HostTarget) -> dict[str, bytes]:
    """The object files of those functions that other steps had, too, and that are on disk; the
    others are noted for `keep_functions`."""
    cache = current_cache()
    known: dict[str, bytes] = {}
    if cache is None:
        return known
    for name, own in shared_functions(text).items():
        code = cache.load(_key(own, effort, target))
        if code is None:
            _Unkept.texts[own] = effort, target
        else:
            (known[name],) = _unpacked(code)
    return known


class _Unkept:
    """Functions that steps share and that have been compiled as parts of a step only: their texts,
    each with its level of effort and target."""

    texts: ClassVar[dict[str, tuple[int, HostTarget]]] = {}


def keep_functions() -> None:
    """Compile functions that steps share by themselves, and keep them on disk for other steps.

    Done once on a machine, which is not urgent: beside whatever this thread does next.
    """
    if _Unkept.texts:
        _keeping.begin()


def _keep_functions() -> None:
    while _Unkept.texts:
        text, (effort, target) = _Unkept.texts.popitem()
        cache = current_cache()
        code = _packed([_emitted(text, effort, target)])
        if cache is None or not cache.store(_key(text, effort, target), code):
            _Unkept.texts.clear()  # the folder takes nothing


_keeping = Background("graphc functions", _keep_functions, A_MOMENT)


def object_code(
    text: str,
    effort: int = FULL,
    target: HostTarget | None = None,
    known: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """The object files for a machine, this one unless told otherwise, in one string of bytes.

    `known` are those of functions in the text, by name, which need not be compiled.

    No LLVM pass runs before code generation: our text is vectorised and tidy as it is written, and
    passes were measured to cost compile time without changing the code.
    """
    target = target or host_target()
    first, *others = split(text, min(processors(), PARTS), known)
    codes: list[bytes | None] = [None] * (1 + len(others))

    def made(part: Part) -> bytes:
        return _emitted(part.text, QUICK if part.is_quick else effort, target)

    def emit(place: int, part: Part) -> None:
        with suppress(RuntimeError):  # which comes again below, where it is seen
            codes[place] = made(part)

    threads = [threading.Thread(target=emit, args=item) for item in enumerate(others, start=1)]
    for thread in threads:
        with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down
            thread.start()
    emit(0, first)
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    # What a thread has not done is done here, and if it cannot be done, says so.
    parts = zip(codes, (first, *others), strict=True)
    return _packed([*(code or made(part) for code, part in parts), *known.values()])


PARTS = 4
"""The most parts that a text is compiled in."""


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _emitted(text: str, effort: int, target: HostTarget) -> bytes:
    """One object file."""
    context = llvm.create_context()
    module = _module(text, context, target)
    machine = make_target_machine(effort, target)
    library, emit = llvm.ffi.lib, _unlocked("LLVMPY_TargetMachineEmitToMemory")
    message = ctypes.c_char_p()
    buffer = emit(machine, module, 1, ctypes.byref(message))
    if not buffer:
        raise RuntimeError(f"LLVM cannot compile this: {message.value!r}")
    try:
        size = library.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), size)
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked(name: str) -> Any:
    """A function of llvmlite's library, called without its lock.

    llvmlite lets one thread at a time into LLVM, which would have the parts of a text wait for each
    other.  Modules of different contexts may be read and compiled at once.
    """
    locked = getattr(llvm.ffi.lib, name)
    if not hasattr(llvm.ffi.lib, "_name"):  # nothing that llvmlite promises
        return locked
    function = getattr(ctypes.CDLL(llvm.ffi.lib._name), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


def _packed(codes: Sequence[bytes]) -> bytes:
    """Object files one after the other, each behind its length."""
    return b"".join(len(code).to_bytes(8, "little") + code for code in codes)


def _unpacked(packed: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(packed):
        size = int.from_bytes(packed[place : place + 8], "little")
        yield packed[place + 8 : place + 8 + size]
        place += 8 + size


def assembly(text: str, target: HostTarget | None = None) -> str:
    """The assembly for LLVM IR text: what `compile_text` makes of it, to read."""
    context = llvm.create_context()
    module = _module(text, context, target or host_target())
    return str(make_target_machine(target=target).emit_assembly(module))


def _module(text: str, context: llvm.ContextRef, target: HostTarget) -> llvm.ModuleRef:
    source = (text + attributes(target)).encode()
    with llvm.ffi.OutputString() as problem:
        parsed = _unlocked("LLVMPY_ParseAssembly")(context, source, problem)
        module = llvm.ModuleRef(parsed, context)
        if problem:
            module.close()
            raise RuntimeError(f"LLVM cannot read this: {problem}")
    module.triple = target.triple
    with llvm.ffi.OutputString() as problem:
        if _unlocked("LLVMPY_VerifyModule")(module, problem):
            raise RuntimeError(f"LLVM does not accept this: {problem}")
    return module
