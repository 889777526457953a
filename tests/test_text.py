"""The text form: exact round trips, names, and one pinned message for each parse error."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc.ops  # noqa: F401
from graphc import errors
from graphc.build import Builder, literal
from graphc.equal import structurally_equal
from graphc.ir import OPS, Dense, Eqn, Graph, Lit, Loc, Op, Type, Var, subgraphs
from graphc.text import layout, parse, print_graph
from graphc.text.parsing import MAX_DEPTH
from graphc.text.printing import COMMENT_COLUMN

F32 = Type("f32", (3,))
SCALAR = Type("f64")

STEP = """\
graph step(%x: f32[64,1000], %s: f32[]) {
  %p: bool[] = less(%s, 5.0)                            # model.py:12
  %y: f32[64,1000] = cond(%p, %x) then(%a: f32[64,1000]) {
    %b: f32[64,1000] = exp(%a)                          # model.py:13
    return %b
  } else(%c: f32[64,1000]) {
    return %c
  }
  return %y
}"""


def round_trip(graph: Graph) -> str:
    text = str(graph)
    parsed = parse(text)
    assert structurally_equal(parsed, graph)
    assert str(parsed) == text
    return text


def one_line(line: str) -> Graph:
    """A graph with the given equation, after parameters %x: f32[3], %s: f64[], %p: bool[]."""
    return parse(f"graph g(%x: f32[3], %s: f64[], %p: bool[]) {{\n  {line}\n  return\n}}")


# ---- printing and round trips --------------------------------------------------------------------


def test_the_documented_example_is_a_fixed_point() -> None:
    graph = parse(STEP)
    assert str(graph) == STEP
    assert graph.eqns[0].loc == Loc("model.py", 12)
    assert graph.eqns[0].ins[1] == Lit(5.0, Type("f32"))
    assert [label for label, _ in subgraphs(graph.eqns[1])] == ["then", "else"]


def test_updates_stand_in_the_return_line() -> None:
    b = Builder("sgd")
    w, g = b.param(F32, "w"), b.param(F32, "g")
    new = w - g * 0.1
    graph = b.finish([b.literal(0.5, SCALAR).atom, new.atom], updates=[(0, 1)])
    text = round_trip(graph)
    assert text.splitlines()[-2] == "  return 0.5:f64[], %w := %b"
    assert parse(text).updates == ((0, 1),)


def test_one_result_may_update_two_parameters() -> None:
    b = Builder("both")
    v, w = b.param(F32, "v"), b.param(F32, "w")
    text = round_trip(b.finish([(v + w).atom], updates=[(0, 0), (1, 0)]))
    assert "return %v := %w := %a" in text


def test_an_equation_without_outputs_has_no_equals_sign() -> None:
    text = """\
graph g(%i: i64[], %ok: bool[]) {
  check(%ok, %i, error="IndexError", message="index {value} of \\"x\\"")
  check(%ok, 3:i64[], error="ValueError", message="")   # a.py:2
  return
}"""
    assert round_trip(parse(text)) == text


def test_several_outputs() -> None:
    text = """\
graph g(%x: f32[3]) {
  %a: f32[3], %b: f32[3] = fused(%x, kind="loop") body(%c: f32[3]) {
    %d: f32[3] = exp(%c)
    return %c, %d
  }
  return %b, %a
}"""
    assert round_trip(parse(text)) == text


def test_region_names_are_printed_where_they_differ_from_the_label() -> None:
    text = STEP.replace("then(", "then warm(").replace("else(", 'else "<lambda>"(')
    graph = parse(text)
    assert [inner.name for _, inner in subgraphs(graph.eqns[1])] == ["warm", "<lambda>"]
    assert str(graph) == text


@pytest.mark.parametrize("name", ["step", "f.<locals>.g", "<lambda>", "шаг", "", "return", "a\nb"])
def test_graph_names(name: str) -> None:
    b = Builder(name)
    graph = b.finish([b.param(F32).atom])
    assert parse(round_trip(graph)).name == name


def test_hints_become_names_and_generated_names_leave_them_alone() -> None:
    hints = ["x", "x", "", "a", "x_1", "params['w1'][0]", "2nd", "é", "x", "return"]
    b = Builder("g")
    values = [b.param(F32, hint) for hint in hints]
    graph = b.finish([v.atom for v in values])
    names = layout(graph)[0]
    expected = "x x_2 b a x_1 params_w1_0 _2nd c x_3 return"
    assert " ".join(names[param] for param in graph.params) == expected
    round_trip(graph)


def test_generated_names_continue_after_z() -> None:
    b = Builder("g")
    names = layout(b.finish([b.param(F32).atom for _ in range(703)]))[0]
    listed = list(names.values())
    assert [listed[i] for i in (0, 25, 26, 701, 702)] == ["a", "z", "aa", "zz", "aaa"]


def test_names_are_unique_over_nested_graphs() -> None:
    text = round_trip(nested_cond(3))
    names = [word for word in text.replace("(", " ").split() if word.endswith(":")]
    assert len(names) == len(set(names)) == 2 + 3 * 5


def nested_cond(depth: int) -> Graph:
    """`depth` conditionals inside each other, every variable with the same hint."""
    b = Builder("then")
    p, x = b.param(Type("bool"), "v"), b.param(F32, "v")
    if depth == 0:
        return b.finish([x.atom])
    branches = {"then": nested_cond(depth - 1), "else": nested_cond(0)}
    y = b.emit(OPS["cond"], (p.atom, p.atom, x.atom), branches, hint="v")[0]
    return b.finish([y.atom])


def test_a_graph_held_twice_still_prints_unique_names() -> None:
    shared = parse("graph then(%a: f32[3]) {\n  return %a\n}")
    b = Builder("g")
    p, x = b.param(Type("bool"), "p"), b.param(F32, "x")
    y = b.emit(OPS["cond"], (p.atom, x.atom), {"then": shared, "else": shared})[0]
    text = str(b.finish([y.atom]))
    assert "then(%a: f32[3])" in text and "else then(%a_1: f32[3])" in text
    assert str(parse(text)) == text


def test_printing_a_broken_graph_does_not_raise() -> None:
    stray = Var(Type("f99", (-1,)), "stray")
    eqn = Eqn(OPS["exp"], (stray, 1.0), (Var(F32),), {"a": [1], "b": {1: 2}})  # type: ignore[arg-type]
    graph = Graph("g", (), (eqn,), (Lit(1e300, Type("f32")), Lit("x", F32)), ((5, 9),))  # type: ignore[arg-type]
    assert "exp(%stray, <float>, a=<list>, b=<dict>)" in str(graph)


# ---- literals and attributes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0.1, "f32", "0.1"),
        (0.1, "f64", "0.1"),
        (1 / 3, "f64", "0.3333333333333333"),
        (1 / 3, "f32", "0.33333334"),
        (16777217.0, "f32", "1.6777216e+07"),
        (1e30, "f32", "1e+30"),
        (1e-45, "f32", "1e-45"),
        (-0.0, "f32", "-0.0"),
        (math.nan, "f64", "nan"),
        (math.inf, "f32", "inf"),
        (-math.inf, "f64", "-inf"),
        (-7, "i32", "-7"),
        (-(2**63), "i64", "-9223372036854775808"),
        (True, "bool", "true"),
    ],
)
def test_literals(value: float, dtype: str, text: str) -> None:
    type = Type(dtype, (2,))
    b = Builder("g")
    y = b.param(type, "x")
    eqn = b.emit(OPS["equal"], (y.atom, literal(value, type)))[0]
    graph = b.finish([eqn.atom, literal(value, type)])
    assert f"equal(%x, {text})\n  return %a, {text}:{type}\n" in round_trip(graph)


@given(st.floats(width=32))
def test_every_f32_literal_reads_back(value: float) -> None:
    graph = Graph("g", (), (), (Lit(value, Type("f32")),))
    (out,) = parse(str(graph)).outs
    assert out == Lit(value, Type("f32"))


def test_an_integer_is_read_as_a_float_where_a_float_is_meant() -> None:
    (eqn,) = one_line("%y: bool[3] = less(%x, 5)").eqns
    assert eqn.ins[1] == Lit(5.0, F32)


ANYTHING = Op("anything", lambda *types, **attrs: (), lambda *arrays, **attrs: ())


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> Op:
    """An op that takes all inputs and attributes."""
    monkeypatch.setitem(OPS, "anything", ANYTHING)
    return ANYTHING


def holding(**attrs: Any) -> Graph:
    return Graph("g", (), (Eqn(ANYTHING, (), (), MappingProxyType(attrs)),), ())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "none"),
        (3, "3"),
        (10**100, str(10**100)),
        (3.0, "3.0"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("f32", '"f32"'),
        ('tab\t "quote" \\ line\n # no comment', r'"tab\u{9} \"quote\" \\ line\n # no comment"'),
        ("naïve 数 \ud83d\ude00", r'"naïve 数 \u{d83d}\u{de00}"'),
        ((), "()"),
        ((1,), "(1,)"),
        ((1, (2.5, ("a", None)), False), '(1, (2.5, ("a", none)), false)'),
    ],
)
def test_attribute_values(anything: Op, value: Any, text: str) -> None:
    assert f"anything(key={text})" in round_trip(holding(key=value))


def test_attribute_names_that_are_no_words_are_quoted(anything: Op) -> None:
    text = round_trip(holding(**{"ключ": 1, "true": 2, "return": 3, "a b": holding()}))
    assert 'anything("ключ"=1, true=2, "return"=3) "a b" g() {' in text


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, 0.1, -0.0, np.nan, np.inf], np.float32),
        np.array([[1, 2], [3, -(2**63)]]),
        np.array(0.1),
        np.array([True, False]),
        np.zeros((0, 5), np.int32),
        np.arange(17, dtype=np.float32) / 7,
        np.arange(1000).reshape(10, 100) % 3 == 0,
        np.array([0x7FC00001, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_dense_arrays(anything: Op, array: np.ndarray) -> None:
    graph = holding(value=(Dense(array),))
    text = round_trip(graph)
    (eqn,) = parse(text).eqns
    (back,) = eqn.attrs["value"]
    assert back.array.tobytes() == array.tobytes() and not back.array.flags.writeable


def test_small_arrays_are_readable(anything: Op) -> None:
    array = np.array([[1.0, 0.1]], np.float32)
    assert "value=dense(f32[1,2], [1.0, 0.1])" in str(holding(value=Dense(array)))


def test_a_nan_with_a_payload_is_kept_as_bytes(anything: Op) -> None:
    array = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert 'value=dense(f32[1], "AQDAfw==")' in str(holding(value=Dense(array)))


# ---- comments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "model.py",
        "my models/a b.py",
        "C:\\x\\m.py",
        "<ipython-input-3>",
        " a ",
        "",
        "#x:1",
        "x" * 99,
    ],
)
def test_source_lines(file: str) -> None:
    b = Builder("g")
    b.loc = Loc(file, 120)
    graph = b.finish([(b.param(F32) + 1.0).atom])
    line = round_trip(graph).splitlines()[1]
    assert line[COMMENT_COLUMN:] == f"# {file}:120"


def test_other_comments_are_ignored() -> None:
    text = """\
# file.py:1
graph g(%x: f32[3]) {   # head.py:1
  # alone.py:2
  %y: f32[3] = exp(%x)  # a note, not a line: 3
  %z: f32[3] = exp(
     %y)#z.py:4
  return %z  # end.py:5
} # x.py:6"""
    graph = parse(text)
    assert [eqn.loc for eqn in graph.eqns] == [None, Loc("z.py", 4)]


def test_layout_of_the_text_is_free() -> None:
    squeezed = "".join(line.split("#")[0].strip() + " " for line in STEP.splitlines())
    spread = STEP.replace("(", "\r\n(\t").replace("f32[64,1000]", "f32[ 64 ,\n 1000]")
    plain = parse("\n".join(line.split("#")[0] for line in STEP.splitlines()))
    assert structurally_equal(parse(squeezed), plain)
    assert structurally_equal(parse(spread), parse(STEP))


# ---- size and depth ------------------------------------------------------------------------------


def test_five_thousand_equations() -> None:
    b = Builder("long")
    x = b.param(Type("f32", (64, 1000)), "x")
    for i in range(5000):
        b.loc = Loc("model.py", i)
        x = x * (i / 7)
    graph = b.finish([x.atom])
    text = round_trip(graph)
    assert len(text.splitlines()) == 5003
    assert len(parse(text).eqns) == 5000


def nested_text(depth: int) -> str:
    opening = '%y: f32[] = fused(%x, kind="") body(%x: f32[]) {\n' * depth
    closing = "return %x }\n" * depth
    return f"graph g(%x: f32[]) {{ {opening}{closing} return %x }}"


def test_deep_regions_round_trip() -> None:
    round_trip(parse(nested_text(MAX_DEPTH - 1)))


@pytest.mark.parametrize(
    "text",
    [
        nested_text(MAX_DEPTH),
        nested_text(20_000),
        f"graph g() {{ constant(value={'(' * 100_000}1) return }}",
    ],
    ids=["regions", "many regions", "tuples"],
)
def test_deeper_ones_are_an_error(text: str) -> None:
    with pytest.raises(errors.ParseError, match="nested more than 200 deep"):
        parse(text)


# ---- structural equality -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("graph step", "graph other"),
        ("5.0", "5.5"),
        ("model.py:13", "model.py:14"),
        ("  # model.py:12", ""),
        ("= exp(", "= sin("),
        ("return %c", "%d: f32[64,1000] = exp(%c)\n return %c"),
        ("then(", "then other("),
        ("return %y", "return %x"),
        ("return %y", "return %x := %y"),
        ("return %y", "return %y, %y"),
        ("%s: f32[])", "%s: f32[], %t: f32[])"),
        ("%s: f32[]", "%s: f64[]"),
    ],
)
def test_what_makes_graphs_differ(old: str, new: str) -> None:
    assert structurally_equal(parse(STEP), parse(STEP))
    assert not structurally_equal(parse(STEP), parse(STEP.replace(old, new, 1)))


def test_names_do_not_make_graphs_differ() -> None:
    assert structurally_equal(parse(STEP), parse(STEP.replace("%a", "%renamed")))


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1.0), (1, True), (0.0, -0.0), ((1,), (1, 1)), ("a", "b"), (None, False), ((1,), (1.0,))],
)
def test_attribute_values_that_differ(a: Any, b: Any) -> None:
    assert not structurally_equal(holding(k=a), holding(k=b))
    assert not structurally_equal(holding(k=a), holding(j=a))
    assert structurally_equal(holding(k=(a, math.nan)), holding(k=(a, math.nan)))


# ---- random graphs -------------------------------------------------------------------------------

HINTS = st.sampled_from(["", "x", "x_1", "a", "w[0]", "é", "return", "_", "9"])
LOCS = st.none() | st.builds(Loc, st.sampled_from(["m.py", "a b:c.py", ""]), st.integers(0, 10**6))
NUMBERS = st.floats() | st.sampled_from([-0.0, math.nan, math.inf, -math.inf, 0.1])
UNARY = ["exp", "negative", "tanh"]
BINARY = ["add", "multiply", "maximum"]


@st.composite
def graphs(draw: st.DrawFn, types: tuple[Type, ...] = (), name: str = "", depth: int = 2) -> Graph:
    """A graph with parameters `types` that returns one f32[3]."""
    b = Builder(name or draw(st.sampled_from(["g", "<lambda>", "body"])))
    params = [b.param(type, draw(HINTS)) for type in types or (Type("bool"), F32, SCALAR)]
    vectors = [value for value in params if value.type == F32]
    for _ in range(draw(st.integers(0, 4))):
        b.loc = draw(LOCS)
        x, y = draw(st.sampled_from(vectors)), draw(st.sampled_from(vectors))
        number = literal(draw(NUMBERS), F32)
        op = draw(st.sampled_from([*UNARY, *BINARY, "cond"] if depth else [*UNARY, *BINARY]))
        attrs: dict[str, Graph] = {}
        if op == "cond":
            ins = [params[0].atom, params[0].atom, x.atom]
            held = (params[0].type, F32)
            for label in ("then", "else"):
                attrs[label] = draw(graphs(held, draw(st.sampled_from([label, "f"])), depth - 1))
        elif op in UNARY:
            ins = [x.atom]
        else:
            ins = draw(st.permutations([x.atom, draw(st.sampled_from([y.atom, number]))]))
        vectors.append(b.emit(OPS[op], ins, attrs, hint=draw(HINTS))[0])
    outs = [draw(st.sampled_from(vectors)).atom]
    return b.finish(outs, draw(_updates(params, outs)) if not types else ())


def _updates(params: list[Any], outs: list[Any]) -> st.SearchStrategy[list[tuple[int, int]]]:
    fitting = [i for i, param in enumerate(params) if param.type == outs[0].type]
    return st.lists(st.sampled_from([(i, 0) for i in fitting]), unique=True)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_random_graphs_round_trip(graph: Graph) -> None:
    round_trip(graph)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_text_raises_graphc_errors_only(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([STEP, DAMAGED_SEED]))
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 12)))
    pieces = st.sampled_from(
        ['"', "%", "(", ")", "{", "}", "[", "-1", "1e999", "nan", "f32[2]", ":="]
    )
    middle = data.draw(pieces | st.text(max_size=5))
    check_garbage(text[:begin] + middle + text[end:])


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text(alphabet='%ax:=(){}[],"\\\n#-1.e f32return graph'))
def test_garbage_raises_graphc_errors_only(text: str) -> None:
    check_garbage(text)
    check_garbage("graph g(%a: f32[2]) {" + text)


def check_garbage(text: str) -> None:
    try:
        graph = parse(text)
    except errors.GraphcError:
        return
    round_trip(graph)


DAMAGED_SEED = """\
graph g(%x: f32[3,4], %i: i64[], %p: bool[]) {
  %a: f32[3] = sum(%x, axes=(1,))
  %b: f32[12] = reshape(%x, shape=(12,))
  %c: f32[2] = constant(value=dense(f32[2], [1.0, nan]))
  %d: f32[2,2] = slice(%x, starts=(0, 1), sizes=(2, 2), steps=(1, 2))
  %e: bool[2] = constant(value=dense(bool[2], "AQA="))
  check(%p, %i, error="IndexError", message="\\u{3b1} \\n")
  %f: f64[3] = cast(%a, dtype="f64")
  return %f, %x := %x, 2.5:f64[]
}"""


def test_the_seed_of_the_damage_is_sound() -> None:
    round_trip(parse(DAMAGED_SEED))


# ---- messages ------------------------------------------------------------------------------------

HEAD = "graph g(%x: f32[3], %p: bool[]) {"


# fmt: off
PARSE_ERRORS = [
    ("", 1, 1, "expected graph, found the end of the text; a text begins with graph name("),
    ("graph 5", 1, 7, "expected the graph's name, found 5; write graph name("),
    ("graph g[", 1, 8, "expected (, found [; parameters stand in parentheses"),
    ("graph g(x", 1, 9, "expected a variable, found x; write it with its type: %x: f32[3]"),
    ("graph g(%x)", 1, 11, "expected :, found ); give the variable its type: %x: f32[3]"),
    ("graph g(%x: f32)", 1, 13, "expected a type, found f32; write a dtype and a shape"),
    ("graph g(%x: f32[1,,2])", 1, 13, "bad type f32[1,,2]; write whole numbers"),
    ("graph g(%x: f32[] %y", 1, 19, "expected ), found %y; separate parameters by commas"),
    ("graph g(%x: f32[], %x: f32[]) {", 1, 20, "%x is defined twice; give one of the two"),
    ("graph g() 5", 1, 11, "expected {, found 5; the equations stand in braces"),
    ("graph g() {", 1, 12, "expected an equation or return, found the end of the text"),
    ("graph g() { return", 1, 19, "expected an input, found the end of the text"),
    ("graph g() { return } 5", 1, 22, "expected the end of the text, found 5; a text holds one"),
    ('graph "g() {\n', 1, 7, "this string does not end; close it with"),
    ("graph g(% x)", 1, 9, "% without a name; write a variable as %x"),
    ("graph g(%x: f32[]) ?", 1, 20, "unexpected character '?'; remove it"),
    (f"{HEAD}\n %y: f32[3] exp(%x)", 2, 13, "expected =, found exp; an equation is"),
    (f"{HEAD}\n %y: f32[3] = 5", 2, 15, "expected an equation or return, found 5"),
    (f"{HEAD}\n %y: f32[3] = exp %x", 2, 19, "expected (, found %x; the inputs stand in"),
    (f"{HEAD}\n %y: f32[3] = exp(%q)", 2, 19, "%q is not defined; define it as a parameter"),
    (f"{HEAD}\n %y: f32[3] = exp(%y)", 2, 19, "%y is not defined; define it as a parameter"),
    (f"{HEAD}\n %y: f32[3] = exp(x)", 2, 19, "expected an input, found x; an input is"),
    (f"{HEAD}\n %y: f32[3] = exp(%x %x)", 2, 22, "expected ), found %x; separate inputs"),
    (f"{HEAD}\n %y: f32[3] = exp(5.0)", 2, 19, "no variable gives this number its type; write"),
    (f"{HEAD}\n %y: f32[3] = add(%x, 1e999)", 2, 23, "bad number: 1e999 is beyond f64; infinity"),
    (f"{HEAD}\n a(b={'1' * 500})", 2, 6, "bad number: more than 400 digits; infinity"),
    (f"{HEAD}\n %x: f32[3] = exp(%x)", 2, 2, "%x is defined twice; give one of the two"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, a=)", 2, 25, "expected a value, found ); write a number"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, a=1e999)", 2, 25, "bad number: 1e999 is beyond f64"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, a=1, a=2)", 2, 28, "a is given twice; give each attribute"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, 5=2)", 2, 23, "expected an attribute, found 5; an attrib"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, a=(1))", 2, 27, "expected ,, found ); a tuple of one item"),
    (f"{HEAD}\n %y: f32[3] = exp(%x, a=(1 2))", 2, 28, "expected , or ), found 2; separate"),
    (f'{HEAD}\n %y: f32[3] = exp(%x, a="\\q")', 2, 25, "bad string: no escape \\q; the escapes"),
    (f'{HEAD}\n %y: f32[3] = exp(%x, a="\\u{{110000}}")', 2, 25, "bad string: chr() arg not in"),
    (f"{HEAD}\n a(b=dense(f32[2], [1]))", 2, 6, "bad array: f32[2] has 2 elements, the text 1"),
    (f"{HEAD}\n a(b=dense(i32[1], [1.5]))", 2, 6, "bad array: 1.5 is not a value of i32; an"),
    (f"{HEAD}\n a(b=dense(f32[-1], [1]))", 2, 6, "bad array: f32[-1] has -1 elements, the text"),
    (f"{HEAD}\n a(b=dense(f99[1], [1]))", 2, 6, "bad array: no dtype f99; choose from f32, f64"),
    (f'{HEAD}\n a(b=dense(f32[2], "AA=="))', 2, 6, "bad array: f32[2] has 8 bytes, the text 1"),
    (f'{HEAD}\n a(b=dense(f32[2], "?"))', 2, 6, "bad array: "),
    (f'{HEAD}\n a(b=dense(bool[1], "Ag=="))', 2, 6, "bad array: a byte of a bool array is 0 or"),
    (f"{HEAD}\n a(b=dense(f32[2], [x]))", 2, 21, "expected a number, found x; elements are"),
    (f"{HEAD}\n a(b=dense(f32[2], [1 2]))", 2, 23, "expected , or ], found 2; separate"),
    (f"{HEAD}\n return 5.0", 2, 9, "a returned number needs a type; write it as 5.0:f32[3]"),
    (f"{HEAD}\n return %y := %x", 2, 9, "%y is not a parameter of this graph; only parameters"),
    (f"{HEAD}\n return %x %x", 2, 12, "expected }, found %x; return is the last line"),
    (f"{HEAD}\n a() b() {{ return }} b() {{ return }}", 2, 21, "b is given twice; give each"),
    (f"{HEAD}\n a(%x) b(%x) {{", 2, 12, "expected :, found ); give the variable its type: %x"),
    (f"{HEAD}\n a() b() {{ a(%x) return }}", 2, 14, "%x belongs to the graph around this one; g"),
]
# fmt: on


@pytest.mark.parametrize(("text", "line", "column", "message"), PARSE_ERRORS)
def test_parse_errors(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(errors.ParseError) as caught:
        parse(text)
    error = caught.value
    assert str(error).startswith(f"line {line}, column {column}: {message}")
    assert "; " in str(error).splitlines()[0]
    assert (error.line, error.column) == (line, column)
    assert error.source == (text.splitlines()[line - 1] if text else "")
    assert isinstance(error, ValueError)


def test_a_parse_error_shows_the_line_with_a_caret() -> None:
    with pytest.raises(errors.ParseError) as caught:
        parse(STEP.replace("less(%s", "less(%t"))
    assert str(caught.value) == (
        "line 2, column 21: %t is not defined; define it as a parameter or in an equation before\n"
        "      %p: bool[] = less(%t, 5.0)                            # model.py:12\n"
        "                        ^"
    )


def test_a_very_long_line_is_cut() -> None:
    with pytest.raises(errors.ParseError) as caught:
        parse(f'{HEAD} constant(value="{"A" * 10_000_000}") ?')
    assert len(str(caught.value)) < 400


def test_the_python_stack_is_respected() -> None:
    def deep(frames: int) -> None:
        if frames:
            deep(frames - 1)
        else:
            parse(nested_text(MAX_DEPTH - 1))

    with pytest.raises(errors.ParseError, match="nests too deeply for the Python stack; nest less"):
        deep(700)


def test_a_bad_graph_is_refused_by_the_verifier() -> None:
    with pytest.raises(errors.UnknownOpError, match="op lesss is not registered; did you mean"):
        parse(STEP.replace("less(", "lesss("))


def test_str_is_print_graph() -> None:
    assert print_graph(parse(STEP)) == STEP
