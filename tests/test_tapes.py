"""Tapes: what they mean, what they refuse, and that their memory is bounded and given back."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from running import compiled, fused, interpret

import graphc as gc
from graphc import errors
from graphc.ir import Graph
from graphc.runtime.planner import make_program
from graphc.runtime.program import Repeat
from graphc.text import parse

ROUND_TRIP = """
graph f(%x: f64[3], %n: i64[]) {
  %t: tape[] = empty_tape()
  %e: bool[] = is_empty(%t)
  %u: tape[] = push(%t, %x, %n)
  %y: f64[3] = exp(%x)
  %v: tape[] = push(%u, %y, 7:i64[])
  %f: bool[] = is_empty(%v)
  %b: tape[], %c: f64[3], %d: i64[] = pop(%v, dtypes=("f64", "i64"), shapes=((3,), ()))
  %g: tape[], %h: f64[3], %i: i64[] = pop(%u, dtypes=("f64", "i64"), shapes=((3,), ()))
  %j: tape[], %k: f64[3], %l: i64[] = pop(%b, dtypes=("f64", "i64"), shapes=((3,), ()))
  %m: bool[] = is_empty(%j)
  return %e, %f, %c, %d, %h, %i, %k, %l, %m
}
"""


def test_a_tape_is_a_value_that_keeps_what_lies_below() -> None:
    x, n = np.arange(3.0), np.array(5)
    graph = parse(ROUND_TRIP)
    expected = [True, False, np.exp(x), 7, x, 5, x, 5, True]
    for got in (interpret(graph, [x, n]), compiled(graph)(x, n)):
        for a, b in zip(got, expected):
            np.testing.assert_allclose(a, b, rtol=1e-15)


@pytest.mark.parametrize(
    "wrong",
    [
        ROUND_TRIP.replace("pop(%b", "pop(%t"),
        ROUND_TRIP.replace('pop(%b, dtypes=("f64"', 'pop(%b, dtypes=("f32"')
        .replace("%k: f64[3], %l", "%k: f32[3], %l"),
    ],
    ids=["empty", "of another type"],
)  # fmt: skip
def test_a_record_that_is_not_there_is_an_error(wrong: str) -> None:
    arguments = [np.arange(3.0), np.array(5)]
    graph = parse(wrong)
    with pytest.raises(errors.TapeError):
        interpret(graph, arguments)
    with pytest.raises(errors.TapeError):
        compiled(graph)(*arguments)


def test_a_tape_stays_inside_of_its_graph() -> None:
    with pytest.raises(errors.TapeBoundaryError):
        parse("graph f() {\n  %t: tape[] = empty_tape()\n  return %t\n}")


# ---- memory --------------------------------------------------------------------------------------


def doubled_until(x: Any, bound: Any) -> Any:
    return gc.while_loop(lambda s: s < bound, lambda s: s + np.sin(s) * 1e-3 + 2e-3, x)


def repeats(graph: Graph) -> list[Repeat]:
    return [item for item in make_program(fused(graph)).items if isinstance(item, Repeat)]


@pytest.mark.cpu_only("the memory of the process")
def test_an_iteration_gives_back_what_it_alone_has_kept() -> None:
    """A training loop: each step has a loop of unknown length, and its gradient, in it."""

    def train(x: Any) -> Any:
        slope = gc.grad(doubled_until)
        return gc.scan(lambda x, _: (x - 1e-6 * slope(x, 2.0), None), x, length=2000)[0]

    step = gc.compile(train)
    (loop,) = repeats(gc.trace(train, 1.0))
    assert loop.is_forgetful
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step(1.0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # 6000 loops of some 400 iterations keep 75 MB, and one of them 12 kB.
    assert grown < 30_000, "kB"


@pytest.mark.cpu_only("the memory of the process")
def test_a_tape_grows_by_chunks() -> None:
    fn = gc.compile(gc.value_and_grad(doubled_until))
    value, slope = fn(0.1, 100.0)
    x, by_hand = 0.1, 1.0
    while x < 100.0:
        by_hand *= 1 + np.cos(x) * 1e-3
        x += np.sin(x) * 1e-3 + 2e-3
    assert value == pytest.approx(x, rel=1e-9) and slope == pytest.approx(by_hand, rel=1e-6)


def test_a_check_that_fails_with_a_tape_open() -> None:
    def fn(x: Any, i: Any) -> Any:
        body = lambda s: (s[0] * x[s[1]], s[1] + 1)
        return gc.while_loop(lambda s: s[1] < i, body, (1.0, 0))[0]

    fn = gc.compile(gc.grad(fn))
    np.testing.assert_array_equal(fn(np.full(3, 2.0), 3), [4.0, 4.0, 4.0])
    for _ in range(3):
        with pytest.raises(IndexError):
            fn(np.ones(3), 4)


LIMITED = """
import resource
import numpy as np
import graphc as gc

fn = gc.compile(gc.grad(lambda x: gc.while_loop(lambda s: s < 2.0, np.cos, x)))
fn(3.0)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20),) * 2)
for _ in range(2):
    try:
        fn(1.0)
    except MemoryError as error:
        assert "gc.checkpoint" in str(error)
    else:
        raise SystemExit("a loop without end has kept all its iterations")
assert fn(3.0) == 1.0
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs to know its own size")
def test_a_tape_without_end_is_a_memory_error() -> None:
    """A loop that never ends, in a process with 300 MB left."""
    subprocess.run([sys.executable, "-c", LIMITED], check=True, timeout=60)
