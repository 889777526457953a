"""Which scratch rows lie where a result will be, and that results stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import softmax
from running import build, fused, interpret, op

import graphc as gc
from graphc.ir import Lit, Type
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    AddAt,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
    inner,
)
from graphc.runtime.llvm.emit_step import kernels
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Root
from graphc.runtime.result_rows import homes_of, with_result_rows
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step

X, E, S = (Name(i, "f32") for i in range(3))
IN, ROW, OUT = Access(0, 0, (100, 1)), Access(1, 0, (0, 1)), Access(2, 0, (100, 1))
BUFFERS = (
    Buffer("x", "f32", 6400, "in"),
    Buffer("row", "f32", 100, "scratch"),
    Buffer("y", "f32", 6400, "out"),
)
KEEP = Loop(
    (1,),
    True,
    (Load(X, IN), Compute(E, "exp", (X,)), Store(ROW, E)),
    (Accumulator(S, "sum", E),),
)
WRITE: tuple[Statement, ...] = (Load(E, ROW), Compute(X, "divide", (E, S)), Store(OUT, X))


def kernel(*loops: Loop, buffers: tuple[Buffer, ...] = BUFFERS) -> Kernel:
    return Kernel("kernel", (64, 100), buffers, (Loop((0,), False, loops),))


def home(*loops: Loop, buffers: tuple[Buffer, ...] = BUFFERS) -> Access | None:
    return homes_of(kernel(*loops, buffers=buffers), {2}).get(1)


def test_the_last_loop_reads_the_row_and_writes_the_result() -> None:
    assert home(KEEP, Loop((1,), True, WRITE)) == OUT


def test_memory_that_another_buffer_lies_in_is_not_free() -> None:
    assert homes_of(kernel(KEEP, Loop((1,), True, WRITE)), set()) == {}


def test_a_row_that_is_read_behind_the_result() -> None:
    assert home(KEEP, Loop((1,), True, (*WRITE, Load(X, ROW)))) is None
    reads = Loop((1,), True, (Load(X, ROW),), (Accumulator(S, "sum", X),))
    assert home(KEEP, Loop((1,), True, WRITE), reads) is None


def test_a_row_in_which_elements_are_looked_for() -> None:
    position = Name(7, "i64")
    looks = (Load(E, ROW, position, 1), *WRITE[1:])
    assert home(KEEP, Loop((1,), True, looks)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "f64"},
        {"role": "in"},
        {"streams": True},
    ],
)
def test_results_that_are_no_home(change: dict[str, Any]) -> None:
    buffers = (*BUFFERS[:2], BUFFERS[2]._replace(**change))
    assert home(KEEP, Loop((1,), True, WRITE), buffers=buffers) is None


@pytest.mark.parametrize("strides", [(0, 1), (50, 1), (1, 64), (-100, 1)])
def test_rows_of_the_result_that_are_not_apart_or_not_in_order(strides: tuple[int, int]) -> None:
    writes = (*WRITE[:2], Store(OUT._replace(strides=strides), X))
    assert home(KEEP, Loop((1,), True, writes)) is None


def test_a_result_that_is_read_or_written_elsewhere() -> None:
    again = Loop((1,), True, (Store(OUT, E),))
    assert home(KEEP, again, Loop((1,), True, WRITE)) is None


def test_two_rows_have_one_home() -> None:
    buffers = (*BUFFERS, Buffer("other", "f32", 100, "scratch"))
    other = Access(3, 0, (0, 1))
    keeps = KEEP._replace(body=(*KEEP.body, Store(other, X)))
    writes = (Load(X, other), Compute(X, "add", (X, S)), *WRITE)
    homes = homes_of(kernel(keeps, Loop((1,), True, writes), buffers=buffers), {2})
    assert len(homes) == 1
    assert set(homes.values()) == {OUT}


def test_other_statements_find_their_buffers_where_they_are_then() -> None:
    buffers = (*BUFFERS, Buffer("at", "i64", 64, "in"), Buffer("sums", "f32", 9, "out"))
    position, one = Name(8, "i64"), Lit(1.0, Type("f32"))
    adds = Load(position, Access(3, 0, (1, 0))), AddAt(Access(4, 0, (0, 0)), position, 1, one)
    rows = kernel(KEEP, Loop((1,), True, WRITE), buffers=buffers)
    both = rows._replace(body=(*rows.body, Loop((0,), False, adds)))
    kinds = ("argument", "arena", "result", "argument", "result")
    roots = tuple(Root(kind, i, b.dtype, 4) for i, (kind, b) in enumerate(zip(kinds, buffers)))
    program = make_program(fused(build([Type("f32", (64, 100))], softmax)))
    program = program._replace(items=(Call(both, roots, scratch=roots[1:2]),))
    (call,) = with_result_rows(program).items
    assert isinstance(call, Call)
    assert call.roots == (roots[0], *roots[2:])
    assert call.scratch == ()
    names = [buffer.name for buffer in call.kernel.buffers]
    assert names == ["x", "y", "at", "sums"]
    (added,) = (s for s in inner(call.kernel.body) if isinstance(s, AddAt))
    assert names[added.access.buffer] == "sums"
    read = [names[s.access.buffer] for s in inner(call.kernel.body) if isinstance(s, Load)]
    assert read == ["x", "y", "at"]


def test_a_softmax_has_no_scratch_row() -> None:
    step = Step(fused(build([Type("f32", (64, 100))], softmax)))
    (kernel,) = kernels(step.program.items)
    assert [buffer.role for buffer in kernel.buffers] == ["in", "out"]
    assert step.arena.nbytes == 0


def gradient(x: Any) -> Any:
    along = op("sum")(softmax(x) * x, axes=(1,))
    return softmax(x) * (x - op("broadcast")(along, shape=x.type.shape, axes=(0,)))


CASES = {
    "softmax": softmax,
    "and its rows' totals": lambda x: (softmax(x), op("sum")(softmax(x), axes=(1,))),
    "and totals of its columns": lambda x: (softmax(x), op("sum")(softmax(x), axes=(0,))),
    "two results": lambda x: (softmax(x), softmax(x) * 2.0),
    "a gradient": gradient,
}


@pytest.mark.parametrize("shape", [(64, 100), (5, 1003), (1, 4000), (300, 7)])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_values(make: Any, threads: int, shape: tuple[int, int]) -> None:
    graph = build([Type("f32", shape)], make)
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    step = Step(fused(graph), threads=threads, thresholds=ALWAYS)
    for got, want in zip(step([x]), interpret(graph, [x]), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_are_overwritten(threads: int) -> None:
    def exact(x: Any) -> Any:
        exps = np.exp(x - np.max(x, axis=1, keepdims=True))
        return exps / np.sum(exps, axis=1, keepdims=True) * x

    def update(x: Any) -> None:
        x[...] = exact(x)

    x = np.random.default_rng(0).normal(size=(64, 100)).astype("f4")
    want = exact(x.astype("f8"))
    gc.compile(update, threads=threads)(x)
    np.testing.assert_allclose(x, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", range(0, 100, 9))
def test_a_nan_is_the_maximum_wherever_it_is(at: int) -> None:
    x = np.random.default_rng(0).normal(size=(5, 100)).astype("f4")
    x[2, at] = np.nan
    largest = gc.compile(lambda x: (np.max(x, axis=1), np.min(x, axis=1)))
    for got, want in zip(largest(x), (np.max(x, axis=1), np.min(x, axis=1)), strict=True):
        np.testing.assert_array_equal(got, want)
