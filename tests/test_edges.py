"""Loops divided where conditions on their index change: pads, rolls and joins read without them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.ir import Lit, Type
from graphc.runtime.kernel import Access, Compute, Index, Load, Name
from graphc.runtime.llvm.edges import Line, edges, pieces
from graphc.runtime.step import Step

I64 = Type("i64")
POSITION, SCALED, MOVED, BELOW, FROM, BOTH = (Name(i, "i64" if i < 3 else "bool") for i in range(6))


def body(scale: int, offset: int, limit: int) -> list[Index | Compute]:
    """Conditions on index * scale + offset, both ways round, and both at once."""
    return [
        Index(POSITION, 0),
        Compute(SCALED, "multiply", (POSITION, Lit(scale, I64))),
        Compute(MOVED, "add", (Lit(offset, I64), SCALED)),
        Compute(BELOW, "less", (MOVED, Lit(limit, I64))),
        Compute(FROM, "greater_equal", (MOVED, Lit(limit, I64))),
        Compute(BOTH, "logical_and", (BELOW, FROM)),
    ]


@given(st.integers(-3, 3), st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 20))
def test_between_edges_each_condition_has_one_answer(
    scale: int, offset: int, limit: int, size: int
) -> None:
    statements = body(scale, offset, limit)
    found = edges(statements, 0, size)
    for first, end in pieces(size, found, 1):
        line = Line({0: (first, end)})
        for statement in statements:
            line.learn(statement)
        answers = {index * scale + offset < limit for index in range(first, end)}
        assert len(answers) == 1
        assert {line.known(BELOW)} == answers
        assert line.known(FROM) == (not line.known(BELOW))
        assert line.known(BOTH) is False


def test_a_range_with_an_edge_inside_has_no_answer() -> None:
    line = Line({0: (0, 9)})
    for statement in body(1, 0, 4):
        assert line.learn(statement) is None or statement.out == BOTH
    assert line.known(BELOW) is None and line.known(None) is None


def test_other_axes_have_no_edges() -> None:
    assert edges(body(1, 0, 4), 1, 9) == ()
    assert edges([Load(POSITION, Access(0, 0, (1,)))], 0, 9) == ()


@given(st.integers(1, 100), st.lists(st.integers(1, 99), max_size=4), st.sampled_from([1, 4, 8]))
def test_pieces_are_whole_steps_and_mixed_ones_single(
    steps: int, found: list[int], step: int
) -> None:
    size = steps * step
    cuts = [edge for edge in found if edge < size]
    parts = pieces(size, cuts, step)
    assert [end for _, end in parts[:-1]] == [start for start, _ in parts[1:]]
    assert parts[0][0] == 0 and parts[-1][1] == size
    for start, end in parts:
        assert start < end and (end - start) % step == 0
        if any(start < edge < end for edge in cuts):
            assert end - start == step


# ---- in kernels ----------------------------------------------------------------------------------


def blocks_with(text: str, *, without: str) -> int:
    """How many basic blocks of the first kernel load vectors, and nothing by the other way."""
    kernel = text[text.index("@kernel_0") :]
    blocks = re.split(r"^\w+:", kernel, flags=re.MULTILINE)
    return sum("load <" in block and without not in block for block in blocks)


@pytest.mark.parametrize("shape", [(1024,), (40, 256)], ids=str)
def test_the_middle_of_a_roll_has_no_masks(shape: tuple[int, ...]) -> None:
    def around(x):  # type: ignore[no-untyped-def]
        return np.roll(x, 1, -1) + np.roll(x, -1, -1) - 2 * x

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    compiled = gc.compile(around)
    np.testing.assert_array_equal(compiled(x), around(x))
    step = Step(compiled.graph(x, stage="fused"))
    assert blocks_with(step.text, without="masked.load") == 1


SHAPES = st.tuples(st.sampled_from([3, 9, 17, 40]), st.sampled_from([5, 33, 128, 130, 257]))


@st.composite
def readers(draw: st.DrawFn):  # type: ignore[no-untyped-def]
    """A function of an array that reads it at other places, by NumPy's functions for that."""
    steps = draw(
        st.lists(
            st.sampled_from(
                [
                    lambda x: np.roll(x, 3, 1),
                    lambda x: np.roll(x, -2, 0),
                    lambda x: np.pad(x, ((1, 2), (0, 3)), constant_values=2.0)[:-3, 3:],
                    lambda x: np.concatenate([x[:, -40:], 2 * x], axis=1)[:, : x.shape[1]],
                    lambda x: np.concatenate([x[1:], x[:1] + 1.0]),
                    lambda x: np.flip(np.roll(x, 1, 1), 1),
                    lambda x: x * x + 1.0,
                ]
            ),
            min_size=1,
            max_size=3,
        )
    )
    ends = draw(
        st.sampled_from([lambda x: x, lambda x: x.sum(axis=1), lambda x: x.max(), lambda x: x.T])
    )

    def read(x):  # type: ignore[no-untyped-def]
        total = x
        for step in steps:
            total = total + step(x)
        return ends(total)

    return read


@pytest.mark.parametrize("threads", [1, 2])
def test_values(threads: int) -> None:
    @given(readers(), SHAPES)
    def agrees(read, shape: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
        x = np.random.default_rng(0).normal(size=shape)
        value = gc.compile(read, threads=threads)(x)
        np.testing.assert_allclose(value, read(x), rtol=1e-12, atol=1e-12)

    agrees()


@pytest.mark.parametrize("threads", [1, 2])
def test_large_arrays_in_shares(threads: int) -> None:
    x = np.random.default_rng(0).normal(size=(300, 1000))

    def read(x):  # type: ignore[no-untyped-def]
        around = np.roll(x, 1, 0) + np.roll(x, -1, 1) + np.pad(x, 1)[2:, :-2]
        return np.tanh(around), np.concatenate([x.ravel(), 2 * x.ravel()[::-1]])

    for value, expected in zip(gc.compile(read, threads=threads)(x), read(x), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)
