"""Axis maps: how axes are numbered, and what reductions and broadcasts do to the numbers."""

from __future__ import annotations

from running import build, op

from graphc.axis_maps import natural_domain, natural_map, operand_map, result_map
from graphc.ir import Type

X = Type("f64", (8, 1, 5))


def test_axes_of_size_one_have_no_number() -> None:
    assert natural_map(X) == (0, None, 1)
    assert natural_domain(X) == (8, 5)
    assert natural_map(Type("f64")) == ()


def test_maps_of_operands_and_results() -> None:
    graph = build(
        [Type("f64", (8, 5))],
        lambda x: op("broadcast")(op("sum")(x, axes=(0,)), shape=(8, 5), axes=(1,)),
    )
    total, back = graph.eqns
    assert result_map(total, (0, 1)) == (1,)
    assert operand_map(back, (0, 1), total.out.type) == (1,)
