"""Loops over many arrays become several, and give the same values."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.ir import Lit, Type
from graphc.runtime.distribute import MOST_ARRAYS, distribute
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
)

TWO = Lit(2.0, Type("f32"))


def kernel(*groups: tuple[int, ...], accumulators: tuple[Accumulator, ...] = ()) -> Kernel:
    """A result of its own for each group: twice the product of the inputs with these numbers."""
    statements: list[Statement] = []
    inputs = sorted({i for group in groups for i in group})
    loaded = {i: Name(k, "f32") for k, i in enumerate(inputs)}
    statements += [Load(name, Access(i, 0, (1,))) for i, name in loaded.items()]
    count = len(inputs)
    for out, group in enumerate(groups):
        value = loaded[group[0]]
        for i in group[1:]:
            product = Name(count, "f32")
            statements.append(Compute(product, "multiply", (value, loaded[i])))
            value, count = product, count + 1
        statements.append(Compute(Name(count, "f32"), "multiply", (value, TWO)))
        statements.append(Store(Access(len(inputs) + out, 0, (1,)), Name(count, "f32")))
        count += 1
    buffers = [Buffer(f"x{i}", "f32", 64, "in") for i in inputs]
    buffers += [Buffer(f"y{i}", "f32", 64, "out") for i in range(len(groups))]
    loop = Loop((0,), True, tuple(statements), accumulators)
    return Kernel("kernel", (64,), tuple(buffers), (loop,))


def loops(kernel: Kernel) -> list[Loop]:
    return [statement for statement in kernel.body if isinstance(statement, Loop)]


def test_few_arrays_stay_together() -> None:
    few = kernel((0,), (1,), (2,), (3,))
    assert 2 * 4 == MOST_ARRAYS
    assert distribute(few) == few


def test_unconnected_work_is_divided() -> None:
    apart = distribute(kernel((0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)))
    stores = [[s.access.buffer for s in loop.body if isinstance(s, Store)] for loop in loops(apart)]
    assert stores == [[10, 11], [12, 13]]  # eight accesses, then six
    assert all(loop.axes == (0,) and loop.vector for loop in loops(apart))


def test_what_shares_an_input_stays_together() -> None:
    shared = kernel(*((0, i) for i in range(1, 10)))
    assert distribute(shared) == shared


def test_reductions_stay_together() -> None:
    total = (Accumulator(Name(99, "f32"), "sum", Name(0, "f32")),)
    reduced = kernel(*((i,) for i in range(9)), accumulators=total)
    assert distribute(reduced) == reduced


def test_statements_keep_their_order() -> None:
    whole = kernel(*((i,) for i in range(20)))
    (loop,) = loops(whole)
    for part in loops(distribute(whole)):
        assert list(part.body) == [s for s in loop.body if s in part.body]


def test_many_tensors_at_once() -> None:
    @gc.compile
    def step(params, grads, rate):  # type: ignore[no-untyped-def]
        for p, g in zip(params, grads):
            p -= rate * g / (np.sqrt(p) + 1.0)
        return [p + g for p, g in zip(params, grads)]

    rng = np.random.default_rng(0)
    params = [rng.random((30, 7)) for _ in range(12)]
    grads = [rng.random((30, 7)) for _ in range(12)]
    expected = [p - 0.1 * g / (np.sqrt(p) + 1.0) for p, g in zip(params, grads)]
    assert len(step.explain(params, grads, 0.1).kernels) == 1
    sums = step(params, grads, 0.1)
    for p, e, s, g in zip(params, expected, sums, grads):
        np.testing.assert_allclose(p, e, rtol=1e-14)
        np.testing.assert_allclose(s, e + g, rtol=1e-14)


def test_updates_that_read_each_other_see_the_old_values() -> None:
    @gc.compile
    def turn(values):  # type: ignore[no-untyped-def]
        old = [v * 1.0 for v in values]
        for i, v in enumerate(values):
            v[...] = old[i - 1] + 1.0

    values = [np.full(40, float(i)) for i in range(11)]
    turn(values)
    for i, v in enumerate(values):
        np.testing.assert_array_equal(v, np.full(40, float((i - 1) % 11) + 1.0))
