"""One malformed graph for each rule of the verifier, with its message pinned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import graphc.ops  # noqa: F401
from graphc import errors
from graphc.build import Builder
from graphc.ir import OPS, Atom, Dense, Eqn, Graph, Lit, Loc, Op, Type, Var
from graphc.text import parse
from graphc.verify import verify

F32 = Type("f32", (3,))
BOOL = Type("bool")
LOC = Loc("model.py", 7)


def equation(name: str, *ins: Atom, out: Type = F32, **attrs: Any) -> Eqn:
    """An equation with one output, from line 7 of the user's file."""
    return Eqn(OPS[name], ins, (Var(out, "y"),), MappingProxyType(attrs), LOC)


def graph_of(*eqns: Eqn, params: tuple[Var, ...] = (), outs: tuple[Atom, ...] = ()) -> Graph:
    return Graph("g", params, eqns, outs)


def identity(name: str, *types: Type) -> Graph:
    """A graph that returns its last parameter."""
    params = tuple(Var(type, "z") for type in types)
    return Graph(name, params, (), params[-1:])


def x_and(*build: Callable[[Var], Eqn]) -> Graph:
    """A graph of the parameter %x: f32[3] and an equation for each function of it."""
    x = Var(F32, "x")
    return graph_of(*[make(x) for make in build], params=(x,))


def branches(then: Any, otherwise: Any) -> dict[str, Any]:
    return {"then": then, "else": otherwise}


def conditional(*ins: Type, out: Type = F32, **held: Any) -> Graph:
    """A graph that is one `cond` on parameters of the given types."""
    params = tuple(Var(type, "p") for type in ins)
    return graph_of(equation("cond", *params, out=out, **held), params=params)


# ---- variables -----------------------------------------------------------------------------------


def unbound() -> Graph:
    return x_and(lambda x: equation("exp", Var(F32, "stray")))


def too_early() -> Graph:
    x = Var(F32, "x")
    second = equation("exp", x)
    return graph_of(equation("sin", second.out), second, params=(x,))


def unbound_result() -> Graph:
    return graph_of(outs=(Var(F32, "stray"),))


def captured() -> Graph:
    x, p = Var(F32, "x"), Var(BOOL, "p")
    inner = Graph("then", (), (equation("exp", x),), (Lit(0.0, F32),))
    other = Graph("else", (), (), (Lit(0.0, F32),))
    eqn = equation("cond", p, **branches(inner, other))
    return graph_of(eqn, params=(p, x))


def parameter_twice() -> Graph:
    x = Var(F32, "x")
    return graph_of(params=(x, x))


def output_twice() -> Graph:
    x = Var(F32, "x")
    eqn = equation("exp", x)
    return graph_of(eqn, eqn, params=(x,))


def held_twice() -> Graph:
    branch = identity("then", F32)
    return conditional(BOOL, F32, **branches(branch, branch))


def not_an_atom() -> Graph:
    return x_and(lambda x: equation("add", x, 1.0))  # type: ignore[arg-type]


def builder_value() -> Graph:
    b = Builder("g")
    x = b.param(F32, "x")
    return b.finish([x])  # type: ignore[list-item]


# ---- equations -----------------------------------------------------------------------------------


def unknown_op() -> Graph:
    op = Op("expp", lambda x: (x,), np.exp)
    return x_and(lambda x: Eqn(op, (x,), (Var(F32),), loc=LOC))


def unknown_op_without_a_neighbour() -> Graph:
    op = Op("qqqqqq", lambda x: (x,), np.exp)
    return x_and(lambda x: Eqn(op, (x,), (Var(F32),), loc=LOC))


def impostor() -> Graph:
    op = dataclasses.replace(OPS["exp"])
    return x_and(lambda x: Eqn(op, (x,), (Var(F32),), loc=LOC))


RULES: list[tuple[Callable[[], Graph], type[errors.VerifyError], str]] = [
    (
        unbound,
        errors.UnboundVariableError,
        (
            "model.py:7: %stray is defined by no equation or parameter of this graph; add one, or read"
            " another value"
        ),
    ),
    (
        too_early,
        errors.UnboundVariableError,
        "model.py:7: %y_1 is read before the equation that defines it; put that equation first",
    ),
    (
        unbound_result,
        errors.UnboundVariableError,
        (
            "%stray is defined by no equation or parameter of this graph; add one, or read another"
            " value"
        ),
    ),
    (
        captured,
        errors.CapturedVariableError,
        (
            "model.py:7: %x belongs to the graph around this one; graphs are closed: make it an operand"
            " of the equation and a parameter of the graph that it holds"
        ),
    ),
    (
        parameter_twice,
        errors.ReboundVariableError,
        (
            "%x is defined twice; a variable belongs to one place of one graph (graphc.build.fresh"
            " copies a graph that is held twice)"
        ),
    ),
    (
        output_twice,
        errors.ReboundVariableError,
        (
            "model.py:7: %y is defined twice; a variable belongs to one place of one graph"
            " (graphc.build.fresh copies a graph that is held twice)"
        ),
    ),
    (
        held_twice,
        errors.ReboundVariableError,
        (
            "%z_1 is defined twice; a variable belongs to one place of one graph (graphc.build.fresh"
            " copies a graph that is held twice)"
        ),
    ),
    (
        not_an_atom,
        errors.AtomKindError,
        "model.py:7: a float stands where a Var or a Lit belongs; of a Value, take .atom",
    ),
    (
        builder_value,
        errors.AtomKindError,
        "a Value stands where a Var or a Lit belongs; of a Value, take .atom",
    ),
    (
        unknown_op,
        errors.UnknownOpError,
        "model.py:7: op expp is not registered; did you mean exp?",
    ),
    (
        unknown_op_without_a_neighbour,
        errors.UnknownOpError,
        "model.py:7: op qqqqqq is not registered; graphc.ir.register makes an op known",
    ),
    (
        impostor,
        errors.UnknownOpError,
        "model.py:7: op exp is not registered; another op of that name is, use graphc.ir.OPS",
    ),
    (
        lambda: x_and(lambda x: equation("add", x)),
        errors.InputCountError,
        "model.py:7: add takes 2 operand(s), not 1; pass what it takes",
    ),
    (
        lambda: x_and(lambda x: equation("reshape", x, x, shape=(3,))),
        errors.InputCountError,
        "model.py:7: reshape takes 1 operand(s), not 2; pass what it takes",
    ),
    (
        lambda: graph_of(equation("cast", dtype="f32")),
        errors.InputCountError,
        "model.py:7: cast takes 1 operand(s), not 0; pass what it takes",
    ),
    (
        lambda: x_and(lambda x: equation("sum", x)),
        errors.AttributeNameError,
        "model.py:7: sum needs the attribute(s) axes; add axes=...",
    ),
    (
        lambda: x_and(lambda x: equation("exp", x, fast=True)),
        errors.AttributeNameError,
        "model.py:7: exp has no attribute(s) fast; leave out what it does not know",
    ),
    (
        lambda: x_and(lambda x: equation("sum", x, axes=(5,))),
        errors.TypeRuleError,
        "model.py:7: the type rule of sum refuses this: sum: (5,) are not increasing axes of f32[3]",
    ),
    (
        lambda: x_and(lambda x: equation("sum", x, axes=0)),
        errors.TypeRuleError,
        (
            "model.py:7: the type rule of sum cannot read this: TypeError: 'int' object is not"
            " iterable; look at its attributes"
        ),
    ),
    (
        lambda: x_and(lambda x: equation("exp", x, out=Type("f64", (3,)))),
        errors.OutputTypeError,
        (
            "model.py:7: exp gives (f32[3]) here, but its outputs are declared (f64[3]); declare what"
            " it gives, or change its inputs"
        ),
    ),
    (
        lambda: x_and(lambda x: equation("exp", x).replace(outs=())),
        errors.OutputTypeError,
        (
            "model.py:7: exp gives (f32[3]) here, but its outputs are declared (); declare what it"
            " gives, or change its inputs"
        ),
    ),
    (
        lambda: x_and(lambda x: equation("add", x, Lit(1.0, Type("f32")))),
        errors.ElementwiseShapeError,
        (
            "model.py:7: add is elementwise and its operands differ in shape: f32[3], f32[]; broadcast"
            " them first"
        ),
    ),
    (
        lambda: x_and(lambda x: equation("sum", x, axes=[0])),
        errors.AttributeKindError,
        (
            "model.py:7: attribute axes holds a list; attributes are bool, int, float, str, None,"
            " a size, Dense, a Graph, or tuples of the first seven"
        ),
    ),
    (
        lambda: x_and(lambda x: equation("sum", x, axes=(np.int64(0),))),
        errors.AttributeKindError,
        (
            "model.py:7: attribute axes holds a int64; attributes are bool, int, float, str, None,"
            " a size, Dense, a Graph, or tuples of the first seven"
        ),
    ),
    (
        lambda: graph_of(equation("constant", value=Dense(np.zeros(3, "M8[s]")))),
        errors.AttributeKindError,
        (
            "model.py:7: attribute value holds a Dense of datetime64[s]; attributes are bool, int,"
            " float, str, None, a size, Dense, a Graph, or tuples of the first seven"
        ),
    ),
    # ---- cond ----
    (
        lambda: conditional(F32, F32, **branches(identity("t", F32), identity("e", F32))),
        errors.CondPredicateError,
        "model.py:7: the predicate of cond, its first input, is f32[3]; it must be bool[]",
    ),
    (
        lambda: conditional(**branches(identity("t", F32), identity("e", F32))),
        errors.CondPredicateError,
        "model.py:7: the predicate of cond, its first input, is missing; it must be bool[]",
    ),
    (
        lambda: conditional(BOOL, F32, then=identity("then", F32)),
        errors.AttributeNameError,
        "model.py:7: cond needs the attribute(s) else; add else=...",
    ),
    (
        lambda: conditional(BOOL, F32, **branches(identity("then", F32), None)),
        errors.AttributeKindError,
        "model.py:7: attribute else of cond holds a NoneType; it must be a Graph",
    ),
    (
        lambda: conditional(BOOL, F32, **branches(identity("t", F32, F32), identity("e", F32))),
        errors.CondRegionError,
        (
            "model.py:7: branch then of cond takes (f32[3], f32[3]), the operands are (f32[3]); give"
            " the branch one parameter for each operand"
        ),
    ),
    (
        lambda: conditional(
            BOOL, F32, BOOL, out=BOOL, **branches(identity("t", F32, BOOL), take_first())
        ),
        errors.CondRegionError,
        (
            "model.py:7: branch else of cond returns (f32[3]), the results of cond are (bool[]); make"
            " both branches return those types"
        ),
    ),
    # ---- updates ----
    (
        lambda: updating((1, 0)),
        errors.UpdateIndexError,
        (
            "the update (1, 0) says that result 0 updates parameter 1; the graph has 1 parameter(s)"
            " and 2 result(s)"
        ),
    ),
    (
        lambda: updating((0, -1)),
        errors.UpdateIndexError,
        (
            "the update (0, -1) says that result -1 updates parameter 0; the graph has 1 parameter(s)"
            " and 2 result(s)"
        ),
    ),
    (
        lambda: updating((0, 1)),
        errors.UpdateTypeError,
        "%x is f32[3] and its update is f64[]; cast or reshape the new value",
    ),
    (
        lambda: updating((0, 0), (0, 0)),
        errors.DuplicateUpdateError,
        "%x is updated twice; keep the last update only",
    ),
    # ---- types and literals ----
    (
        lambda: graph_of(params=(Var(Type("f8", (3,)), "x"),)),
        errors.UnknownDTypeError,
        "f8[3] has no known dtype; choose from f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32,"
        " u64, bool, c64, c128",
    ),
    (
        lambda: graph_of(params=(Var(Type("f32", (2, -1)), "x"),)),
        errors.DimensionError,
        "f32[2,-1] has the dimension -1; a dimension is an int from 0 upwards, or a symbolic size",
    ),
    (
        lambda: graph_of(params=(Var(Type("f32", (2.0,)), "x"),)),  # type: ignore[arg-type]
        errors.DimensionError,
        "f32[2.0] has the dimension 2.0; a dimension is an int from 0 upwards, or a symbolic size",
    ),
    (
        lambda: graph_of(params=(Var(Type("tape"), "x"),)),
        errors.TapeBoundaryError,
        "a graph takes or returns a tape; tapes live inside of one",
    ),
]


def take_first() -> Graph:
    params = (Var(F32), Var(BOOL))
    return Graph("e", params, (), params[:1])


def updating(*updates: tuple[int, int]) -> Graph:
    x = Var(F32, "x")
    return Graph("g", (x,), (), (x, Lit(0.0, Type("f64"))), updates)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    RULES,
    ids=[f"{i}-{rule[1].__name__}" for i, rule in enumerate(RULES)],
)
def test_rule(build: Callable[[], Graph], kind: type[errors.VerifyError], message: str) -> None:
    with pytest.raises(errors.VerifyError) as caught:
        verify(build())
    error = caught.value
    assert type(error) is kind
    assert str(error).split("\n")[0] == message
    assert f"\n  > {error.equation}" in str(error)
    assert (error.loc is not None) == message.startswith("model.py:7: ")


def test_every_rule_has_its_malformed_graph() -> None:
    kinds = set(errors.VerifyError.__subclasses__())
    assert kinds == {rule[1] for rule in RULES} | {errors.LiteralValueError}


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (0.1, "f32"),
        (1e300, "f32"),
        (1, "f64"),
        (True, "f32"),
        (np.float64(0.5), "f64"),
        (1.0, "i32"),
        (True, "i64"),
        (2**31, "i32"),
        (-(2**63) - 1, "i64"),
        (1, "bool"),
        ("1", "bool"),
    ],
)
def test_literals_that_do_not_fit(value: Any, dtype: str) -> None:
    with pytest.raises(errors.LiteralValueError) as caught:
        verify(graph_of(outs=(Lit(value, Type(dtype)),)))
    assert str(caught.value).split("\n")[0] == (
        f"the literal {value!r} is not a value of {dtype}; graphc.build.literal rounds and converts"
        " a number"
    )


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (0.5, "f32"),
        (float("nan"), "f32"),
        (float("-inf"), "f32"),
        (1e300, "f64"),
        (2**31 - 1, "i32"),
        (-(2**63), "i64"),
        (False, "bool"),
    ],
)
def test_literals_that_fit(value: Any, dtype: str) -> None:
    verify(graph_of(outs=(Lit(value, Type(dtype)),)))


def test_the_types_of_literals_are_checked() -> None:
    with pytest.raises(errors.UnknownDTypeError):
        verify(graph_of(outs=(Lit(1.0, Type("f8")),)))


# ---- the message as a whole ----------------------------------------------------------------------

CHAIN = """\
graph chain(%x: f32[3]) {
  %a: f32[3] = exp(%x)                                  # model.py:1
  %b: f32[3] = sin(%a)                                  # model.py:2
  %c: f32[3] = cos(%b)
  %d: f32[3] = tanh(%c)                                 # model.py:4
  %e: bool[3] = log(%d)                                 # model.py:5
  %f: f32[3] = sqrt(%x)
  %g: f32[3] = abs(%f)
  %h: f32[3] = sign(%g)
  %i: f32[3] = floor(%h)
  return %i
}"""


def test_a_message_shows_three_equations_on_either_side() -> None:
    with pytest.raises(errors.OutputTypeError) as caught:
        parse(CHAIN)
    expected = """\
model.py:5: log gives (f32[3]) here, but its outputs are declared (bool[3]); declare what it gives, \
or change its inputs
    %b: f32[3] = sin(%a)                                  # model.py:2
    %c: f32[3] = cos(%b)
    %d: f32[3] = tanh(%c)                                 # model.py:4
  > %e: bool[3] = log(%d)                                 # model.py:5
    %f: f32[3] = sqrt(%x)
    %g: f32[3] = abs(%f)
    %h: f32[3] = sign(%g)"""
    assert str(caught.value) == expected
    assert caught.value.loc == Loc("model.py", 5)
    assert caught.value.equation.startswith("%e: bool[3] = log(%d) ")


def test_a_fault_in_a_branch_is_shown_inside_that_branch() -> None:
    with pytest.raises(errors.UnknownOpError) as caught:
        parse("""\
graph g(%p: bool[], %x: f32[]) {
  %y: f32[] = cond(%p, %x) then(%a: f32[]) {            # m.py:1
    return %a
  } else(%b: f32[]) {
    %c: f32[] = exq(%b)                                 # m.py:4
    return %c
  }
  return %y
}""")
    expected = """\
m.py:4: op exq is not registered; did you mean exp?
    } else(%b: f32[]) {
  > %c: f32[] = exq(%b)                                 # m.py:4
    return %c"""
    assert str(caught.value) == expected


def test_verify_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="is defined by no equation"):
        verify(unbound())


def test_sound_graphs_pass() -> None:
    verify(graph_of())
    verify(updating((0, 0)))
    verify(conditional(BOOL, F32, **branches(identity("t", F32), identity("e", F32))))


# ---- what is known already -----------------------------------------------------------------------


def test_checked_equations_are_checked_for_their_place_alone() -> None:
    good = x_and(lambda x: equation("exp", x))
    (eqn,) = good.eqns
    checked: set[Eqn] = set()
    verify(good, checked)
    assert checked == {eqn}
    with pytest.raises(errors.UnboundVariableError):
        verify(good.replace(params=()), checked)
    with pytest.raises(errors.ReboundVariableError):
        verify(good.replace(eqns=(eqn, eqn)), checked)
    with pytest.raises(errors.OutputTypeError):
        verify(good.replace(eqns=(eqn.replace(outs=(Var(BOOL, "y"),)),)), checked)
