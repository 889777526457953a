"""How a graph leaves the compiler: as a networkx graph, as DOT, as JSON.

All three read one list of nodes and edges (`_chart`), and name variables as the text form does.
A node is a parameter (`param:0`), an equation (`eqn:0`) or a result (`result:0`); an edge a value
that goes from the node that defines it to one that reads it.  Literals are no nodes: they stand in
the label of the node that reads them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphc.dims import Dim
from graphc.ir import Atom, Dense, Eqn, Graph, Lit, Loc, Type, Var, size_text, subgraphs
from graphc.text import layout, literal_text, value_text

Names = Mapping[Var, str]

MAX_LABEL = 60
"""A longer attribute (a constant array) is cut in labels, never in JSON."""


@dataclass(frozen=True)
class _Node:
    key: str
    kind: str
    op: str | None
    label: str
    type: tuple[Type, ...]
    loc: Loc | None
    eqn: Eqn | None = None


@dataclass(frozen=True)
class _Edge:
    source: str
    target: str
    value: Var
    output: int
    input: int


def _chart(graph: Graph, names: Names) -> tuple[list[_Node], list[_Edge]]:
    """The nodes, in the order in which they run, and the edges of `graph`, without held graphs."""
    nodes: list[_Node] = []
    edges: list[_Edge] = []
    origin: dict[Var, tuple[str, int]] = {}

    def add(node: _Node, ins: tuple[Atom, ...], outs: tuple[Var, ...]) -> None:
        nodes.append(node)
        for position, atom in enumerate(ins):
            if isinstance(atom, Var) and atom in origin:
                source, output = origin[atom]
                edges.append(_Edge(source, node.key, atom, output, position))
        origin.update({out: (node.key, index) for index, out in enumerate(outs)})

    for i, param in enumerate(graph.params):
        label = f"%{names[param]}: {param.type}"
        add(_Node(f"param:{i}", "param", None, label, (param.type,), None), (), (param,))
    for i, eqn in enumerate(graph.eqns):
        add(_eqn_node(f"eqn:{i}", eqn), eqn.ins, eqn.outs)
    for i, atom in enumerate(graph.outs):
        key, label = f"result:{i}", _result_label(graph, i, names)
        add(_Node(key, "result", None, label, (atom.type,), None), (atom,), ())
    return nodes, edges


def _eqn_node(key: str, eqn: Eqn) -> _Node:
    literals = [literal_text(atom) for atom in eqn.ins if isinstance(atom, Lit)]
    attrs = [f"{k}={_cut(value_text(v))}" for k, v in eqn.attrs.items() if not isinstance(v, Graph)]
    inside = ", ".join(literals + attrs)
    label = f"{eqn.op.name}({inside})" if inside else eqn.op.name
    return _Node(key, "eqn", eqn.op.name, label, tuple(o.type for o in eqn.outs), eqn.loc, eqn)


def _result_label(graph: Graph, index: int, names: Names) -> str:
    updated = [f"%{names[graph.params[i]]} := " for i, j in graph.updates if j == index]
    return "".join(updated) + _atom_text(graph.outs[index], names)


def _atom_text(atom: Atom, names: Names) -> str:
    return literal_text(atom) if isinstance(atom, Lit) else f"%{names[atom]}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 3] + "..."


# ---- networkx ------------------------------------------------------------------------------------


def to_networkx(graph: Graph) -> Any:
    """`graph` as a `networkx.MultiDiGraph`, one node an equation, one edge a value.

    Nodes, in the order in which they run, have `kind` ("param", "eqn", "result"), `op` (None for
    the other two kinds), `label`, `type` (its outputs: "f32[3]", several with commas), `loc`
    ("model.py:12" or None) and `regions` (each held graph by attribute name, converted likewise).
    Edges have `value` (the variable's name), `type`, `output` and `input` (positions at the source
    and at the target).  The graph itself has `name`.
    """
    return _network(graph, layout(graph)[0])


def _network(graph: Graph, names: Names) -> Any:
    # Here, because `import graphc` must stay quick.
    import networkx  # type: ignore[import-untyped, unused-ignore]

    network = networkx.MultiDiGraph(name=graph.name)
    nodes, edges = _chart(graph, names)
    for node in nodes:
        network.add_node(
            node.key,
            kind=node.kind,
            op=node.op,
            label=node.label,
            type=_type_text(node),
            loc=str(node.loc) if node.loc else None,
            regions={label: _network(inner, names) for label, inner in _held(node)},
        )
    for edge in edges:
        network.add_edge(
            edge.source,
            edge.target,
            value=names[edge.value],
            type=str(edge.value.type),
            output=edge.output,
            input=edge.input,
        )
    return network


def _type_text(node: _Node) -> str:
    return ", ".join(map(str, node.type))


def _held(node: _Node) -> Iterator[tuple[str, Graph]]:
    return subgraphs(node.eqn) if node.eqn else iter(())


# ---- DOT -----------------------------------------------------------------------------------------


def to_dot(graph: Graph) -> str:
    """`graph` in Graphviz's DOT language; a held graph is a box, entered by dashed edges."""
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  node [shape=box, style=rounded, fontname=Helvetica];",
        "  edge [fontname=Helvetica, fontsize=10];",
        *_dot_lines(graph, layout(graph)[0], "", "  "),
        "}",
    ]
    return "\n".join(lines)


def _dot_lines(graph: Graph, names: Names, prefix: str, indent: str) -> Iterator[str]:
    """The statements for `graph`, whose nodes are called `prefix` and their key."""
    nodes, edges = _chart(graph, names)
    for node in nodes:
        yield f"{indent}{_quoted(prefix + node.key)} [{_dot_style(node)}];"
        for label, inner in _held(node):
            yield from _dot_cluster(node, label, inner, names, prefix, indent)
    for edge in edges:
        label = _quoted(f"%{names[edge.value]}: {edge.value.type}")
        ends = f"{_quoted(prefix + edge.source)} -> {_quoted(prefix + edge.target)}"
        yield f"{indent}{ends} [label={label}];"


def _dot_cluster(
    node: _Node, label: str, inner: Graph, names: Names, prefix: str, indent: str
) -> Iterator[str]:
    inside = f"{prefix}{node.key}/{label}/"
    yield f"{indent}subgraph {_quoted('cluster ' + inside)} {{"
    yield f"{indent}  label={_quoted(label)};"
    yield from _dot_lines(inner, names, inside, indent + "  ")
    yield f"{indent}}}"
    for i in range(len(inner.params)):
        ends = f"{_quoted(prefix + node.key)} -> {_quoted(f'{inside}param:{i}')}"
        yield f"{indent}{ends} [style=dashed];"


def _dot_style(node: _Node) -> str:
    text = f"{node.label}\n{node.loc}" if node.loc else node.label
    shape = {"param": ", shape=ellipse", "result": ", shape=ellipse, penwidth=2"}
    return f"label={_quoted(text)}{shape.get(node.kind, '')}"


def _quoted(text: str) -> str:
    """A DOT string that shows exactly `text`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# ---- JSON ----------------------------------------------------------------------------------------


def to_json(graph: Graph) -> dict[str, Any]:
    """`graph` as a dictionary that `json.dumps` takes, also with `allow_nan=False`.

    graph     name, params: [variable], eqns: [equation], results: [atom],
              updates: [[parameter, result]] as positions
    variable  name, type ("f32[3]")
    equation  op, ins: [atom], outs: [variable], attrs: {name: value}, regions: {name: graph},
              loc: {file, line} or None
    atom      {"var": name} or {"literal": text, "type": type}, the text as in the text form
    value     a bool, int, string, None or finite float as it is; {"float": "nan", "inf" or "-inf"};
              a list for a tuple; {"size": text} for a symbolic size;
              {"dense": type, "base64": little-endian bytes}
    """
    return _json_graph(graph, layout(graph)[0])


def _json_graph(graph: Graph, names: Names) -> dict[str, Any]:
    return {
        "name": graph.name,
        "params": [_json_var(param, names) for param in graph.params],
        "eqns": [_json_eqn(eqn, names) for eqn in graph.eqns],
        "results": [_json_atom(atom, names) for atom in graph.outs],
        "updates": [[i, j] for i, j in graph.updates],
    }


def _json_eqn(eqn: Eqn, names: Names) -> dict[str, Any]:
    attrs = {k: _json_value(v) for k, v in eqn.attrs.items() if not isinstance(v, Graph)}
    return {
        "op": eqn.op.name,
        "ins": [_json_atom(atom, names) for atom in eqn.ins],
        "outs": [_json_var(out, names) for out in eqn.outs],
        "attrs": attrs,
        "regions": {label: _json_graph(inner, names) for label, inner in subgraphs(eqn)},
        "loc": {"file": eqn.loc.file, "line": eqn.loc.line} if eqn.loc else None,
    }


def _json_var(var: Var, names: Names) -> dict[str, Any]:
    return {"name": names[var], "type": str(var.type)}


def _json_atom(atom: Atom, names: Names) -> dict[str, Any]:
    if isinstance(atom, Var):
        return {"var": names[atom]}
    text, _, type = literal_text(atom).partition(":")
    return {"literal": text, "type": type}


def _json_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, Dim):
        return {"size": size_text(value)}
    if isinstance(value, Dense):
        array = value.array
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return {"dense": str(value.type), "base64": base64.b64encode(data).decode()}
    return value
