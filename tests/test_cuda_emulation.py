"""The device on a processor: threads that wait, exchange registers and share memory."""

from __future__ import annotations

import numpy as np
import pytest

from graphc import errors
from graphc.runtime.cuda.emit import simt
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant

OUT = Reg("%out", "ptr")


def kernel(write) -> str:  # type: ignore[no-untyped-def]
    """The text of a device function `k(out)` whose body `write` appends."""
    module = Module()
    f = Function(module, "k", [OUT], linkage="ptx_kernel")
    write(f)
    f.line("ret void")
    module.add(f)
    return f"{module}attributes #0 = {{ nounwind }}\n"


def run(write, out: np.ndarray, grid: int = 1, block: int = 64, backwards: bool = False) -> None:  # type: ignore[no-untyped-def]
    code = EmulatedModule(kernel(write), backwards)
    start = out.ctypes.data
    code.launch(DeviceKernel("k", grid, block, ()), [start], [(start, out.nbytes)])


def put(f: Function, value: Reg, number: Reg) -> None:
    f.store(value, f.offset(OUT, value.elem, number))


def number_of(f: Function, block: int = 64) -> Reg:
    first = f.mul(simt.place_in(f, "block"), constant(block, "i64"))
    return f.add(first, simt.place_in(f, "thread"))


BOTH_WAYS = pytest.mark.parametrize("backwards", [False, True])


@BOTH_WAYS
def test_threads_know_who_they_are(backwards: bool) -> None:
    out = np.full(192, -1)
    run(lambda f: put(f, number_of(f), number_of(f)), out, grid=3, backwards=backwards)
    np.testing.assert_array_equal(out, np.arange(192))


@BOTH_WAYS
def test_shared_memory_after_a_barrier(backwards: bool) -> None:
    def reverse(f: Function) -> None:
        shared, thread = simt.shared_array(f.module, "s", 64 * 8), simt.place_in(f, "thread")
        f.store(thread, f.offset(shared, "i64", thread))
        simt.wait_for_block(f)
        mirrored = f.sub(constant(63, "i64"), thread)
        put(f, f.load(f.offset(shared, "i64", mirrored), "i64"), number_of(f))

    out = np.full(128, -1)
    run(reverse, out, grid=2, backwards=backwards)
    np.testing.assert_array_equal(out, [*range(63, -1, -1)] * 2)


@BOTH_WAYS
def test_without_the_barrier_the_order_shows(backwards: bool) -> None:
    def reverse(f: Function) -> None:
        shared, thread = simt.shared_array(f.module, "s", 64 * 8), simt.place_in(f, "thread")
        f.store(thread, f.offset(shared, "i64", thread))
        put(f, f.load(f.offset(shared, "i64", f.xor(thread, constant(1, "i64"))), "i64"), thread)

    out = np.full(64, -2)
    run(reverse, out, backwards=backwards)
    assert (out == -1).sum() == 32  # what a block's memory is full of where it begins


@BOTH_WAYS
@pytest.mark.parametrize("elem, dtype", [("float", "f4"), ("double", "f8"), ("i64", "i8")])
def test_neighbours_exchange_registers(elem: str, dtype: str, backwards: bool) -> None:
    def add(f: Function) -> None:
        value = simt.place_in(f, "thread")
        if elem != "i64":
            value = f.convert("sitofp", value, elem)
        for distance in (16, 8, 4, 2, 1):
            other = simt.from_neighbour(f, value, distance)
            value = f.add(value, other) if elem == "i64" else f.fadd(value, other)
        put(f, simt.from_first(f, value), simt.place_in(f, "thread"))

    out = np.zeros(64, dtype)
    run(add, out, backwards=backwards)
    np.testing.assert_array_equal(out, [sum(range(32))] * 32 + [sum(range(32, 64))] * 32)


def test_memory_outside_is_an_error() -> None:
    out = np.zeros(63, np.int64)
    with pytest.raises(errors.DeviceFaultError, match="which lies in no memory"):
        run(lambda f: put(f, number_of(f), number_of(f)), out)


def test_threads_that_wait_for_nobody_are_an_error() -> None:
    def half(f: Function) -> None:
        first = f.icmp("slt", simt.place_in(f, "thread"), constant(32, "i64"))
        f.branch_if(first, "some", "rest")
        f.label("some")
        simt.wait_for_block(f)
        f.branch("rest")
        f.label("rest")

    with pytest.raises(errors.DeviceFaultError, match="never come"):
        run(half, np.zeros(1))


def test_after_an_error_the_next_launch_is_right() -> None:
    with pytest.raises(errors.DeviceFaultError):
        run(lambda f: put(f, number_of(f), number_of(f)), np.zeros(1))
    out = np.zeros(64, np.int64)
    run(lambda f: put(f, number_of(f), number_of(f)), out)
    assert out.sum() == sum(range(64))
