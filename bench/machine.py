"""The machine's limits, measured in the run that they are compared with.

Copy and triad bandwidth by the size of the working set, and the peak of fused multiply-adds, for
each dtype, on the threads that the contenders have.  The loops are LLVM code, so that they are
neither NumPy's nor a contender's.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

WORKING_SETS = (16 * 2**10, 512 * 2**10, 8 * 2**20, 256 * 2**20)
"""Bytes for each thread: in the first cache, the second, the third, in memory."""

ROUNDS = 7
ROUND_SECONDS = 0.03
VECTOR_BYTES = 64
CHAINS = 16
"""Independent multiply-adds in flight: more than latency times throughput asks for."""


@dataclass(frozen=True)
class Limits:
    """What the machine can do.

    copy, triad  bytes for each thread -> bytes per second of all threads, read and written
    peak         dtype -> floating-point operations per second of all threads
    """

    threads: int
    copy: dict[int, float]
    triad: dict[int, float]
    peak: dict[str, float]

    def bandwidth(self, moved: float) -> float:
        """Of work that moves so many bytes: that of the smallest measured set which holds them."""
        fitting = [size for size in self.copy if size * self.threads >= moved]
        size = min(fitting, default=max(self.copy))
        return max(self.copy[size], self.triad[size])

    def seconds(self, moved: float, flops: float, dtype: str) -> tuple[float, str]:
        """The least time that work can take, and which limit that is: `bytes` or `flops`."""
        by_bytes = moved / self.bandwidth(moved)
        by_flops = flops / self.peak[dtype]
        return (by_bytes, "bytes") if by_bytes >= by_flops else (by_flops, "flops")


def measure(threads: int, working_sets: tuple[int, ...] = WORKING_SETS) -> Limits:
    """Measure the limits; takes some seconds."""
    loops = _Loops()
    copy = {size: _bandwidth(loops.copy, size, threads, 2) for size in working_sets}
    triad = {size: _bandwidth(loops.triad, size, threads, 3) for size in working_sets}
    peak = {dtype: _peak(loops.multiply_add[dtype], dtype, threads) for dtype in ("f4", "f8")}
    return Limits(threads, copy, triad, peak)


def _bandwidth(loop: Any, size: int, threads: int, arrays: int) -> float:
    """The best rate at which `threads` loops over `arrays` arrays of `size` bytes in all."""
    length = size // arrays // VECTOR_BYTES * VECTOR_BYTES
    memory = [[_aligned(length) for _ in range(arrays)] for _ in range(threads)]
    addresses = [[part.ctypes.data for part in parts] for parts in memory]

    def one(thread: int, times: int) -> None:
        loop(*addresses[thread], length // VECTOR_BYTES, times)

    return arrays * length * threads / _seconds(one, threads)


def _peak(loop: Any, dtype: str, threads: int) -> float:
    sink = [_aligned(CHAINS * VECTOR_BYTES) for _ in range(threads)]
    times_inside = 10_000

    def one(thread: int, times: int) -> None:
        loop(sink[thread].ctypes.data, times_inside * times)

    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    return 2.0 * lanes * CHAINS * times_inside * threads / _seconds(one, threads)


def _aligned(size: int) -> np.ndarray:
    memory = np.zeros(size + VECTOR_BYTES, "u1")
    start = -memory.ctypes.data % VECTOR_BYTES
    return memory[start : start + size]


def _seconds(one: Callable[[int, int], None], threads: int) -> float:
    """The least time that one repetition takes on all threads at once."""
    times = 1
    while (spent := _together(one, threads, times)) < ROUND_SECONDS:
        times = max(2 * times, int(times * ROUND_SECONDS / max(spent, 1e-6)))
    return min(_together(one, threads, times) for _ in range(ROUNDS)) / times


def _together(one: Callable[[int, int], None], threads: int, times: int) -> float:
    """Seconds from the start of the first thread's work to the end of the last one's."""
    ready = threading.Barrier(threads)
    spans: list[tuple[float, float]] = []

    def run(thread: int) -> None:
        ready.wait()
        start = time.perf_counter()
        one(thread, times)
        spans.append((start, time.perf_counter()))

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


# ---- the loops, in LLVM code ---------------------------------------------------------------------

COPY = """
define void @copy(ptr %a, ptr %b, i64 %count, i64 %times) {
entry: br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t1, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %i1, %loop ]
  %from = getelementptr <16 x float>, ptr %a, i64 %i
  %to = getelementptr <16 x float>, ptr %b, i64 %i
  %x = load <16 x float>, ptr %from, align 64
  store <16 x float> %x, ptr %to, align 64
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %count
  br i1 %more, label %loop, label %done
done:
  call void asm sideeffect "", "~{memory}"()
  %t1 = add i64 %t, 1
  %again1 = icmp ult i64 %t1, %times
  br i1 %again1, label %again, label %end
end: ret void
}
"""

TRIAD = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @triad(ptr %a, ptr %b, ptr %c, i64 %count, i64 %times) {
entry: br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t1, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %i1, %loop ]
  %pa = getelementptr <16 x float>, ptr %a, i64 %i
  %pb = getelementptr <16 x float>, ptr %b, i64 %i
  %pc = getelementptr <16 x float>, ptr %c, i64 %i
  %x = load <16 x float>, ptr %pa, align 64
  %y = load <16 x float>, ptr %pb, align 64
  %z = call <16 x float> @llvm.fma.v16f32(<16 x float> %x, <16 x float> %x, <16 x float> %y)
  store <16 x float> %z, ptr %pc, align 64
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %count
  br i1 %more, label %loop, label %done
done:
  call void asm sideeffect "", "~{memory}"()
  %t1 = add i64 %t, 1
  %again1 = icmp ult i64 %t1, %times
  br i1 %again1, label %again, label %end
end: ret void
}
"""


def _multiply_add_loop(dtype: str) -> str:
    """`CHAINS` accumulators, each multiplied and added to in every repetition."""
    element, lanes = {"f4": ("float", 16), "f8": ("double", 8)}[dtype]
    vector = f"<{lanes} x {element}>"
    function = f"@llvm.fma.v{lanes}f{32 if dtype == 'f4' else 64}"
    chains = range(CHAINS)
    phis = "\n".join(f"  %s{k} = phi {vector} [ %x, %entry ], [ %n{k}, %loop ]" for k in chains)
    steps = "\n".join(
        f"  %n{k} = call {vector} {function}({vector} %s{k}, {vector} %x, {vector} %x)"
        for k in chains
    )
    stores = "\n".join(
        f"  %p{k} = getelementptr {vector}, ptr %out, i64 {k}\n"
        f"  store {vector} %n{k}, ptr %p{k}, align 64"
        for k in chains
    )
    return f"""
declare {vector} {function}({vector}, {vector}, {vector})
define void @multiply_add_{dtype}(ptr %out, i64 %times) {{
entry:
  %x = load {vector}, ptr %out, align 64
  br label %loop
loop:
  %t = phi i64 [ 0, %entry ], [ %t1, %loop ]
{phis}
{steps}
  %t1 = add i64 %t, 1
  %more = icmp ult i64 %t1, %times
  br i1 %more, label %loop, label %end
end:
{stores}
  ret void
}}
"""


class _Loops:
    """The compiled loops; calling one releases the GIL."""

    def __init__(self) -> None:
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        texts = (COPY, TRIAD)
        texts += tuple(_multiply_add_loop(dtype) for dtype in ("f4", "f8"))
        self._engines = []
        for text in texts:
            machine = binding.Target.from_default_triple().create_target_machine(
                cpu=binding.get_host_cpu_name(),
                features=binding.get_host_cpu_features().flatten(),
                opt=2,
            )  # one for each engine, which takes it over
            engine = binding.create_mcjit_compiler(binding.parse_assembly(text), machine)
            engine.finalize_object()
            self._engines.append(engine)
        self.copy = self._function(0, "copy", 4)
        self.triad = self._function(1, "triad", 5)
        self.multiply_add = {
            dtype: self._function(2 + i, f"multiply_add_{dtype}", 2)
            for i, dtype in enumerate(("f4", "f8"))
        }

    def _function(self, engine: int, name: str, arguments: int) -> Any:
        address = self._engines[engine].get_function_address(name)
        return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(address)
