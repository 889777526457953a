"""The GPU: whether there is one, what it can do, and device events.

None of this has been run on a GPU yet.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from bench.machine import Limits
from graphc.errors import GraphcError
from graphc.runtime.cuda.driver import DEFAULT_STREAM, CudaDevice, open_device

WORKING_SETS = (1 << 22, 1 << 26, 1 << 30)
"""Bytes that are copied: within the second cache, around it, in memory."""
ROUNDS = 10
LANES = 128
"""Single-precision multiply-adds of a multiprocessor in a cycle; half as many in capability 8.0."""
DOUBLES = {(8, 0): 0.5, (9, 0): 0.5, (10, 0): 0.5}
"""What share of them can be of double precision, by capability; elsewhere a 64th."""


@functools.cache
def device() -> CudaDevice:
    return open_device()


def expect() -> None:
    """Leave with a message where there is no GPU."""
    try:
        device()
    except GraphcError as error:
        sys.exit(f"bench: {error}")


def name() -> str:
    return device().name


def seconds(work: Callable[[], Any]) -> float:
    """How long work on the default stream takes, by two events of the device."""
    gpu = device()
    gpu._enter()
    start, end = (gpu._do("cuEventCreate", 0) for _ in range(2))
    try:
        gpu._do("cuEventRecord", start, DEFAULT_STREAM)
        work()
        gpu._do("cuEventRecord", end, DEFAULT_STREAM)
        gpu._do("cuEventSynchronize", end)
        return float(gpu._do("cuEventElapsedTime", start, end)) / 1e3
    finally:
        for event in (start, end):
            gpu._do("cuEventDestroy", event)


def measure() -> Limits:
    """What the device can do: copies are measured, the peak is worked out from its clock."""
    copy = {size: _bandwidth(size) for size in WORKING_SETS}
    single = _peak()
    double = single * DOUBLES.get(device().capability, 1 / 64)
    return Limits(1, copy, copy, {"f4": single, "f8": double})


def _bandwidth(size: int) -> float:
    """Bytes per second, read and written, of a copy within the device."""
    gpu = device()
    source, target = gpu.allocate(size // 2), gpu.allocate(size // 2)
    try:
        gpu.copy(target, source, size // 2)
        times = [seconds(lambda: gpu.copy(target, source, size // 2)) for _ in range(ROUNDS)]
        return size / min(times)
    finally:
        gpu.free(source)
        gpu.free(target)


def _peak() -> float:
    """Floating-point operations per second in single precision, without tensor cores."""
    gpu = device()
    attributes = gpu._driver.CUdevice_attribute
    count = gpu._attribute(attributes.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    kilohertz = gpu._attribute(attributes.CU_DEVICE_ATTRIBUTE_CLOCK_RATE)
    lanes = LANES // 2 if gpu.capability == (8, 0) else LANES
    return 2.0 * lanes * count * kilohertz * 1e3
