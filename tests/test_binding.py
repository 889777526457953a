"""Symbolic sizes in graphs: text, type rules, numbers in their place, sizes read off arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest
from running import assert_same

import graphc as gc
from graphc import errors
from graphc.binding import read_sizes, symbol_names
from graphc.dims import dim
from graphc.draw import to_dot, to_json
from graphc.equal import structurally_equal
from graphc.ir import Type, Var
from graphc.verify import verify

TEXT = """\
graph f(%x: f32[B,784], %w: f32[784,10], %z: f32[2*B+1]) {
  %y: f32[B,10] = matmul(%x, %w)
  %s: f32[10] = sum(%y, axes=(0,))
  %n: i64[] = dimension(size=2*B+1)
  %r: f32[784*B] = reshape(%x, shape=(784*B,))
  %u: f32[B,3] = slice(%x, starts=(0, 0), sizes=(B, 3), steps=(1, 1))
  %v: f32[B-1] = slice(%z, starts=(1,), sizes=(B-1,), steps=(1,))
  %t: f32[B,3] = scan(%u, carried=0, sequences=1, length=B, reverse=false) body(BODY) {
    return %a
  }
  return %s, %n, %r, %v, %t
}""".replace("BODY", "%i: i64[], %a: f32[3]")
GRAPH = gc.parse(TEXT)
B, N = dim("B"), dim("N")


def test_round_trip() -> None:
    assert str(GRAPH) == TEXT
    assert structurally_equal(gc.parse(str(GRAPH)), GRAPH)


def test_a_size_named_like_a_value_of_the_text() -> None:
    size = dim("inf")
    graph = gc.parse("graph f(%x: f32[inf,3]) {\n  return %x\n}")
    assert graph.params[0].type.shape == (size, 3)
    text = "graph f(%x: f32[inf,3]) {\n  %n: i64[] = dimension(size=1*inf)\n  return %n\n}"
    assert gc.parse(text).eqns[0].attrs["size"] == size
    assert str(gc.parse(text)) == text


def test_only_names_of_sizes_are_values() -> None:
    with pytest.raises(errors.ParseError, match="expected a value, found C"):
        gc.parse(TEXT.replace("size=2*B+1", "size=C"))


@pytest.mark.parametrize("size", ["B+", "2**B", "B/2", "B B", "9" * 500])
def test_bad_sizes_in_types(size: str) -> None:
    with pytest.raises(errors.ParseError):
        gc.parse(TEXT.replace("%z: f32[2*B+1]", f"%z: f32[{size}]"))


def test_drawings_show_sizes() -> None:
    assert "f32[B,784]" in to_dot(GRAPH)
    assert {"size": "2*B+1"} == to_json(GRAPH)["eqns"][2]["attrs"]["size"]
    assert json.dumps(to_json(GRAPH), allow_nan=False)
    assert GRAPH.to_networkx().nodes["eqn:5"]["type"] == "f32[B-1]"


# ---- type rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%r: f32[784*B] = reshape(%x, shape=(784*B,))", "%r: f32[B] = reshape(%x, shape=(B,))"),
        ("sizes=(B-1,)", "sizes=(3*B,)"),
        ("length=B", "length=B-1"),
        ("size=2*B+1", "size=0.5"),
        ("%w: f32[784,10]", "%w: f32[B,10]"),
    ],
)
def test_what_holds_for_no_size_is_refused(old: str, new: str) -> None:
    with pytest.raises(errors.TypeRuleError):
        gc.parse(TEXT.replace(old, new))


def test_a_negative_size_is_refused() -> None:
    x = Var(Type("f32", (1 - B,)), "x")
    with pytest.raises(errors.DimensionError):
        verify(GRAPH.replace(params=(*GRAPH.params, x)))


# ---- binding -------------------------------------------------------------------------------------


def test_bind() -> None:
    bound = GRAPH.bind(B=3)
    assert symbol_names(GRAPH) == ("B",) and symbol_names(bound) == ()
    expected = gc.parse(
        TEXT.replace("  %n: i64[] = dimension(size=2*B+1)\n", "")
        .replace("return %s, %n", "return %s, 7:i64[]")
        .replace("784*B", "2352")
        .replace("2*B+1", "7")
        .replace("B-1", "2")
        .replace("[B,", "[3,")
        .replace("sizes=(B, 3)", "sizes=(3, 3)")
        .replace("length=B", "length=3")
    )
    assert structurally_equal(bound, expected)


def test_bind_a_part_of_the_sizes() -> None:
    graph = gc.parse("graph f(%x: f32[B,N], %y: f32[B*N+1]) {\n  return %x, %y\n}")
    assert graph.bind(N=4).params[1].type.shape == (4 * B + 1,)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"C": 3}, "f has no size C; its sizes are B"),
        ({"B": 1}, "B=1: a named size is an int from 2 upwards"),
        ({"B": 2.0}, r"B=2\.0: a named size is an int"),
    ],
)
def test_bad_sizes(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        GRAPH.bind(**sizes)


def test_a_graph_that_has_no_meaning_for_a_number() -> None:
    graph = gc.parse("""\
graph f(%x: f32[B]) {
  %y: f32[B-3] = slice(%x, starts=(3,), sizes=(B-3,), steps=(1,))
  return %y
}""")
    assert graph.bind(B=3).outs[0].type.shape == (0,)
    with pytest.raises(errors.VerifyError):
        graph.bind(B=2)


# ---- arguments -----------------------------------------------------------------------------------


def test_evaluate_reads_the_sizes_off_its_arguments() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 5, 64):
        x, w, z = (
            rng.standard_normal(shape, np.float32)
            for shape in ((count, 784), (784, 10), (2 * count + 1,))
        )
        s, n, r, v, t = gc.evaluate(GRAPH, x, w, z)
        assert_same(s, (x @ w).sum(0))
        assert n == 2 * count + 1
        assert_same(r, x.reshape(-1))
        assert_same(v, z[1:count])
        assert_same(t, x[:, :3])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 784), (784, 10), (8,)), r"argument 2 has shape \(8,\), not \(2\*B\+1,\) with B = 4"),
        (((1, 784), (784, 10), (3,)), r"shape \(1, 784\), not \(B, 784\); B is a whole number"),
        (((4, 783), (784, 10), (9,)), r"argument 0 has shape \(4, 783\), not \(B, 784\)"),
        (((4, 784, 1), (784, 10), (9,)), r"argument 0 has shape \(4, 784, 1\), not \(B, 784\)"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(errors.ShapeError, match=message):
        gc.evaluate(GRAPH, *(np.zeros(shape, np.float32) for shape in shapes))


def test_sizes_are_solved_in_any_order() -> None:
    types = [Type("f32", (B * N,)), Type("f32", (2 * N + B,)), Type("f32", (3 * B - 1,))]
    assert read_sizes(types, [(20,), (14,), (11,)]) == {"B": 4, "N": 5}
    with pytest.raises(errors.ShapeError, match=r"sizes in f32\[B\*N\] cannot be told"):
        read_sizes(types[:1], [(20,)])


# ---- specs ---------------------------------------------------------------------------------------


def test_specs_name_sizes() -> None:
    spec = gc.Spec(("B", "2*B + 1", 3), "f32")
    assert spec.shape == (B, 2 * B + 1, 3) and repr(spec) == "Spec('f32[B,2*B+1,3]')"
    with pytest.raises(errors.ShapeError, match="is no size"):
        gc.Spec(("B/2",), "f32")
