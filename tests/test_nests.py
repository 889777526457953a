"""A kernel with several loop nests is taken apart where no value passes between them."""

from __future__ import annotations

from graphc.ir import Lit, Type
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Store,
)
from graphc.runtime.nests import nests
from graphc.runtime.program import Root

F64 = Type("f64")
FACTOR, X, Y, TOTAL = (Name(i, "f64") for i in range(4))


def buffers(*roles: str) -> tuple[Buffer, ...]:
    return tuple(Buffer(f"b{i}", "f64", 8, role) for i, role in enumerate(roles))


def roots(count: int) -> list[Root]:
    return [Root("argument", i, "f64", 64) for i in range(count)]


def scaled(source: int, target: int, axis: int, factor: Name) -> Loop:
    """target[i] = source[i] * factor"""
    strides = tuple(int(i == axis) for i in range(2))
    load = Load(X, Access(source, 0, strides))
    product = Compute(Y, "multiply", (X, factor))
    return Loop((axis,), True, (load, product, Store(Access(target, 0, strides), Y)))


SHARED = Load(FACTOR, Access(0, 0, (0, 0)))


def kernel(*body, roles=("in", "in", "out", "out")) -> Kernel:
    return Kernel("both", (8, 4), buffers(*roles), body)


def test_each_nest_gets_its_axes_its_buffers_and_what_it_needs():
    whole = kernel(SHARED, scaled(1, 2, 0, FACTOR), scaled(1, 3, 1, FACTOR))
    first, second = nests(whole, roots(4))
    assert (first.buffers, second.buffers) == ((0, 1, 2), (0, 1, 3))
    assert (first.kernel.domain, second.kernel.domain) == ((8,), (4,))
    assert (
        str(first.kernel)
        == """\
kernel both(in b0: f64[8], in b1: f64[8], out b2: f64[8]) {
  t0 = load b0[0]
  vector for i0 < 8 {
    t1 = load b1[i0]
    t2 = multiply(t1, t0)
    store b2[i0] = t2
  }
}"""
    )


def test_equal_nests_become_equal_kernels():
    whole = Kernel(
        "both", (8, 8), buffers("in", "in", "out", "out"),
        (SHARED, scaled(1, 2, 0, FACTOR), scaled(1, 3, 1, FACTOR)),
    )  # fmt: skip
    first, second = nests(whole, roots(4))
    assert first.kernel == second.kernel


def test_a_value_from_memory_that_a_nest_writes_keeps_the_kernel_whole():
    whole = kernel(SHARED, scaled(1, 2, 0, FACTOR), scaled(1, 3, 1, FACTOR))
    same = roots(4)
    same[3] = same[0]
    assert [nest.kernel for nest in nests(whole, same)] == [whole]


def test_a_total_keeps_the_kernel_whole():
    load = Load(X, Access(1, 0, (1, 0)))
    total = Loop((0,), True, (load,), (Accumulator(TOTAL, "sum", X),))
    whole = kernel(total, scaled(1, 3, 1, TOTAL))
    assert [nest.kernel for nest in nests(whole, roots(4))] == [whole]


def test_a_scratch_buffer_of_two_nests_keeps_the_kernel_whole():
    factor = Compute(FACTOR, "abs", (Lit(2.0, F64),))
    body = (factor, scaled(0, 1, 0, FACTOR), scaled(1, 2, 1, FACTOR))
    assert len(nests(kernel(*body), roots(4))) == 2
    whole = kernel(*body, roles=("in", "scratch", "out", "out"))
    assert [nest.kernel for nest in nests(whole, roots(4))] == [whole]
