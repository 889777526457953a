"""Graphs as networkx, DOT and JSON."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import networkx  # type: ignore[import-untyped, unused-ignore]
import numpy as np

import graphc.ops  # noqa: F401
from graphc.draw import to_dot, to_json, to_networkx
from graphc.ir import OPS, Dense, Eqn, Graph, Loc, Type, Var
from graphc.text import parse

STEP = parse(
    """\
graph step(%w: f32[3], %s: f32[]) {
  %p: bool[] = less(%s, 5.0)                            # model.py:12
  %y: f32[3] = cond(%p, %w) then(%a: f32[3]) {          # model.py:13
    %b: f32[3] = multiply(%a, %a)                       # model.py:14
    return %b
  } else(%c: f32[3]) {
    return %c
  }
  return 2.5:f32[], %w := %y
}"""
)


# ---- networkx ------------------------------------------------------------------------------------


def test_nodes_are_parameters_equations_and_results() -> None:
    network = to_networkx(STEP)
    assert network.graph["name"] == "step"
    assert list(network) == ["param:0", "param:1", "eqn:0", "eqn:1", "result:0", "result:1"]
    node = dict(network.nodes["eqn:0"])
    assert node == {
        "kind": "eqn",
        "op": "less",
        "label": "less(5.0:f32[])",
        "type": "bool[]",
        "loc": "model.py:12",
        "regions": {},
    }
    labels = [network.nodes[key]["label"] for key in ("param:0", "result:0", "result:1")]
    assert labels == ["%w: f32[3]", "2.5:f32[]", "%w := %y"]


def test_edges_are_values() -> None:
    network = STEP.to_networkx()
    edges = {(u, v): data["value"] for u, v, data in network.edges(data=True)}
    assert edges == {
        ("param:1", "eqn:0"): "s",
        ("eqn:0", "eqn:1"): "p",
        ("param:0", "eqn:1"): "w",
        ("eqn:1", "result:1"): "y",
    }
    assert network.edges["param:0", "eqn:1", 0] == {
        "value": "w",
        "type": "f32[3]",
        "output": 0,
        "input": 1,
    }


def test_a_value_that_is_read_twice_is_two_edges() -> None:
    regions = to_networkx(STEP).nodes["eqn:1"]["regions"]
    assert list(regions) == ["then", "else"]
    edges = regions["then"].get_edge_data("param:0", "eqn:0")
    assert [edge["input"] for edge in edges.values()] == [0, 1]


def test_several_outputs_are_told_apart() -> None:
    graph = parse(
        """\
graph g(%x: f32[]) {
  %a: f32[], %b: f32[] = fused(%x, kind="loop") body(%c: f32[]) {
    return %c, %c
  }
  return %b
}"""
    )
    network = to_networkx(graph)
    assert network.nodes["eqn:0"]["type"] == "f32[], f32[]"
    assert network.nodes["eqn:0"]["label"] == 'fused(kind="loop")'
    assert network.edges["eqn:0", "result:0", 0]["output"] == 1


def test_a_graph_is_acyclic() -> None:
    assert networkx.is_directed_acyclic_graph(to_networkx(STEP))


def test_importing_the_module_does_not_import_networkx() -> None:
    code = "import sys, graphc.draw; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- DOT -----------------------------------------------------------------------------------------


def test_dot() -> None:
    expected = """\
digraph "step" {
  node [shape=box, style=rounded, fontname=Helvetica];
  edge [fontname=Helvetica, fontsize=10];
  "param:0" [label="%w: f32[3]", shape=ellipse];
  "param:1" [label="%s: f32[]", shape=ellipse];
  "eqn:0" [label="less(5.0:f32[])\\nmodel.py:12"];
  "eqn:1" [label="cond\\nmodel.py:13"];
  subgraph "cluster eqn:1/then/" {
    label="then";
    "eqn:1/then/param:0" [label="%a: f32[3]", shape=ellipse];
    "eqn:1/then/eqn:0" [label="multiply\\nmodel.py:14"];
    "eqn:1/then/result:0" [label="%b", shape=ellipse, penwidth=2];
    "eqn:1/then/param:0" -> "eqn:1/then/eqn:0" [label="%a: f32[3]"];
    "eqn:1/then/param:0" -> "eqn:1/then/eqn:0" [label="%a: f32[3]"];
    "eqn:1/then/eqn:0" -> "eqn:1/then/result:0" [label="%b: f32[3]"];
  }
  "eqn:1" -> "eqn:1/then/param:0" [style=dashed];
  subgraph "cluster eqn:1/else/" {
    label="else";
    "eqn:1/else/param:0" [label="%c: f32[3]", shape=ellipse];
    "eqn:1/else/result:0" [label="%c", shape=ellipse, penwidth=2];
    "eqn:1/else/param:0" -> "eqn:1/else/result:0" [label="%c: f32[3]"];
  }
  "eqn:1" -> "eqn:1/else/param:0" [style=dashed];
  "result:0" [label="2.5:f32[]", shape=ellipse, penwidth=2];
  "result:1" [label="%w := %y", shape=ellipse, penwidth=2];
  "param:1" -> "eqn:0" [label="%s: f32[]"];
  "eqn:0" -> "eqn:1" [label="%p: bool[]"];
  "param:0" -> "eqn:1" [label="%w: f32[3]"];
  "eqn:1" -> "result:1" [label="%y: f32[3]"];
}"""
    assert to_dot(STEP) == expected


def holding(name: str = "g", loc: Loc | None = None, **attrs: Any) -> Graph:
    """A graph of one `constant` with the given attributes, which need not be sound."""
    eqn = Eqn(OPS["constant"], (), (Var(Type("f32")),), MappingProxyType(attrs), loc)
    return Graph(name, (), (eqn,), ())


def test_labels_are_escaped() -> None:
    dot = to_dot(holding('<a "b"\\', Loc('C:\\x "y".py', 3), text='say "hi"\\\n{x}'))
    first, *_ = dot.splitlines()
    assert first == r'digraph "<a \"b\"\\" {'
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", dot)
    assert '"' not in outside and "\\" not in outside
    assert outside.count("{") == outside.count("}") == 1
    assert r"\nC:\\x \"y\".py:3" in dot


def test_long_attributes_are_cut() -> None:
    label = to_networkx(holding(value=Dense(np.arange(1000.0)))).nodes["eqn:0"]["label"]
    assert label.startswith('constant(value=dense(f64[1000], "AAAA') and label.endswith("...)")
    assert len(label) < 80


# ---- JSON ----------------------------------------------------------------------------------------


def test_json_of_a_graph() -> None:
    data = to_json(STEP)
    assert json.loads(json.dumps(data)) == data
    assert list(data) == ["name", "params", "eqns", "results", "updates"]
    assert data["name"] == "step"
    assert data["params"] == [{"name": "w", "type": "f32[3]"}, {"name": "s", "type": "f32[]"}]
    assert data["results"] == [{"literal": "2.5", "type": "f32[]"}, {"var": "y"}]
    assert data["updates"] == [[0, 1]]
    less, cond = data["eqns"]
    assert less == {
        "op": "less",
        "ins": [{"var": "s"}, {"literal": "5.0", "type": "f32[]"}],
        "outs": [{"name": "p", "type": "bool[]"}],
        "attrs": {},
        "regions": {},
        "loc": {"file": "model.py", "line": 12},
    }
    assert list(cond["regions"]) == ["then", "else"]
    assert cond["regions"]["then"]["eqns"][0]["ins"] == [{"var": "a"}, {"var": "a"}]


def test_json_of_attributes() -> None:
    array = np.array([1.0, 2.0], np.float32)
    graph = holding(
        a=True, b=1, c=0.5, d="é\n", e=None, f=(1, (2.5,)), g=math.nan, h=-math.inf, i=Dense(array)
    )
    (eqn,) = json.loads(json.dumps(to_json(graph), allow_nan=False))["eqns"]
    encoded = base64.b64encode(array.tobytes()).decode()
    assert eqn["attrs"] == {
        "a": True,
        "b": 1,
        "c": 0.5,
        "d": "é\n",
        "e": None,
        "f": [1, [2.5]],
        "g": {"float": "nan"},
        "h": {"float": "-inf"},
        "i": {"dense": "f32[2]", "base64": encoded},
    }
    assert eqn["loc"] is None
