"""One LLVM module with the device functions of all kernels of a step."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import errors
from graphc.runtime.cuda.emit.kernel import KernelEmitter
from graphc.runtime.cuda.emit.launches import Settings
from graphc.runtime.cuda.emit.simt import PREFIX
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES, Launches, Limits
from graphc.runtime.cuda.plan.padded_rows import with_padded_rows
from graphc.runtime.cuda.plan.processor_kernels import why_processor
from graphc.runtime.cuda.plan.smaller_blocks import with_smaller_blocks
from graphc.runtime.cuda.plan.tensor_tiling import tensor_elems
from graphc.runtime.cuda.plan.vector_products import with_vectors_as_sums
from graphc.runtime.kernel import Kernel
from graphc.runtime.llvm.module import Module
from graphc.runtime.program import Root

ALIGNED = frozenset({"argument", "result", "constant", "arena"})
"""The kinds of memory that begin at a multiple of `VECTOR_BYTES`."""


class DeviceModule:
    """Collects the code of kernels; `text` is LLVM IR for `ptx.py` and for `emulated/module.py`.

    `flags` are the fast-math flags of the user's arithmetic, "" for IEEE.  With `has_status` the
    last argument of every function is the address of an i64: where that is not 0, because a check
    has failed, nothing is done.  With `atomics` threads add at computed positions as they come: the
    last bits of floats differ from run to run.  With `tensor_cores` products use them, which only
    devices of `tensor_simt.LEAST_CAPABILITY` have.
    """

    def __init__(
        self,
        flags: str = "",
        limits: Limits | None = None,
        has_status: bool = False,
        atomics: bool = False,
        tensor_cores: bool = True,
    ):
        self.module = Module()
        elems = tensor_elems(fast=bool(flags)) if tensor_cores else frozenset()
        limits = (limits or Limits())._replace(tensor_elems=elems)
        self.settings = Settings(flags, limits, has_status, atomics)
        self._known: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Launches] = {}

    def add(self, kernel: Kernel, roots: Sequence[Root]) -> Launches:
        """The launches that run `kernel` on this memory: one root for each of its buffers.

        Kernels that differ in nothing, on memory that overlaps in the same way, share their code.
        Raises `errors.DeviceOperationError` for what no device can run.
        """
        if why := why_processor(kernel):
            raise errors.DeviceOperationError(f"{why} is machine code of the processor alone")
        key = repr(kernel), alignments(roots), overlaps(roots)
        if key not in self._known:
            name = f"{kernel.name}_{len(self._known)}"
            changed = with_vectors_as_sums(with_smaller_blocks(kernel, self.settings.limits))
            named = with_padded_rows(changed, [b.size for b in kernel.buffers])._replace(name=name)
            emitter = KernelEmitter(self.module, named, roots, key[1], self.settings)
            self._known[key] = emitter.emit()
        return self._known[key]

    @property
    def uses_tensor_cores(self) -> bool:
        """Whether only devices of `tensor_simt.LEAST_CAPABILITY` run the code."""
        return any(name.startswith(f"{PREFIX}mma.") for name in self.module.declarations)

    @property
    def text(self) -> str:
        return f"{self.module}attributes #0 = {{ nounwind }}\n{self._block_sizes()}"

    def _block_sizes(self) -> str:
        """How many threads a block of each function has, and how many blocks are enough: without it
        the assembler may give a thread more registers than a device has for so many, or fewer."""
        notes: list[str] = []
        for kernel in (k for launches in self._known.values() for k in launches.kernels):
            said = {"maxntidx": kernel.block, "minctasm": kernel.at_once}
            notes += [f'ptr @{kernel.name}, !"{what}", i32 {n}' for what, n in said.items() if n]
        every = ", ".join(f"!{i}" for i in range(len(notes)))
        lines = [f"!{i} = !{{{note}}}" for i, note in enumerate(notes)]
        head = [f"!nvvm.annotations = !{{{every}}}"] if notes else []
        return "".join(line + "\n" for line in (*head, *lines))


def alignments(roots: Sequence[Root]) -> tuple[int, ...]:
    """Of how many bytes the address of each root is known to be a multiple."""
    return tuple(VECTOR_BYTES if root.kind in ALIGNED else 1 for root in roots)


def overlaps(roots: Sequence[Root]) -> tuple[int, ...]:
    """For each pair of roots: 0 if they never share memory, 2 if they are one, 1 if they may."""
    return tuple(
        2 if one is other else int(one.meets(other))
        for i, one in enumerate(roots)
        for other in roots[:i]
    )
