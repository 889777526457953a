"""Loop nests of the operations that move elements."""

from __future__ import annotations

from running import build, fused, op

from graphc.ir import Lit, Type
from graphc.runtime.kernel import Kernel, Loop
from graphc.runtime.layout import Layout, contiguous
from graphc.runtime.moves import schedule_copy
from graphc.runtime.planner import make_program

X = Type("f64", (6, 4))


def kernel(make, *types: Type) -> Kernel:  # type: ignore[no-untyped-def]
    (call,) = make_program(fused(build(types, make))).items
    return call.kernel


def test_a_copy_between_contiguous_places_is_one_loop() -> None:
    nest = schedule_copy("copy", contiguous((4, 5, 6)), "f32", contiguous((4, 5, 6)))
    assert nest.domain == (120,)
    assert [b.role for b in nest.buffers] == ["in", "out"]


def test_a_copy_of_a_view_keeps_its_strides() -> None:
    text = str(schedule_copy("copy", Layout((4, 5), (1, 4)), "f32", contiguous((4, 5))))
    assert "load x0[i0 + i1*4]" in text
    assert "store y1[i0*5 + i1]" in text


def test_a_literal_needs_no_buffer() -> None:
    nest = schedule_copy("copy", Lit(2.5, Type("f64", (7,))), "f64", contiguous((7,)))
    assert [b.role for b in nest.buffers] == ["out"]
    assert "store y0[i0] = 2.5" in str(nest)


def test_concatenate_is_one_nest_for_each_part() -> None:
    nest = kernel(lambda x, y: op("concatenate")(x, y, x, axis=0), X, X)
    assert [loop.axes for loop in nest.body] == [(0,), (1,), (2,)]
    assert len(nest.buffers) == 3  # the part that comes twice is read from one buffer


def test_pad_fills_first() -> None:
    text = str(kernel(lambda x: op("pad")(x, low=(1, 0), high=(0, 2), value=-1.0), X))
    assert text.index("= -1.0") < text.index("load")


def test_positions_are_clamped_before_use() -> None:
    make = lambda x, at: op("take")(x, at, axis=0)
    lines = str(kernel(make, X, Type("i32", (3,)))).splitlines()
    ops = [line.split(" = ")[1].split("(")[0] for line in lines if "(" in line and " = " in line]
    assert ops == ["cast", "maximum", "minimum"]
    assert any("minimum(t" in line and ", 5)" in line for line in lines)


def test_scatter_uses_no_vectors_where_lanes_may_meet() -> None:
    def innermost(*shape: int) -> Loop:
        types = Type("f64", shape), Type("i64", (9,)), Type("f64", (9, *shape[1:]))
        nest = kernel(lambda x, at, v: op("scatter_add")(x, at, v, axis=0), *types)
        loop = nest.body[-1]
        while isinstance(loop.body[0], Loop):
            loop = loop.body[0]
        return loop

    assert not innermost(6).vector
    assert innermost(6, 8).vector


def test_update_slice_over_its_operand_copies_only_the_window() -> None:
    graph = build(
        [X, Type("f64", (2, 4))],
        lambda x, v: op("update_slice")(x, v, starts=(1, 0), steps=(2, 1)),
    ).replace(updates=((0, 0),))
    (call,) = make_program(fused(graph)).items
    assert len(call.kernel.body) == 1
    assert call.kernel.domain == (2, 4)
