"""Printing a graph: names for its values, and a line for each equation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphc.ir import Atom, Eqn, Graph, Lit, Loc, Op, Type, Var, all_eqns, subgraphs
from graphc.text.values import literal_text, opaque_text, value_text, word_text

COMMENT_COLUMN = 56


def print_graph(graph: Graph) -> str:
    """`graph` as text, without a final newline.  Never raises, even where `verify` would."""
    return "\n".join(_Printer(graph).lines)


def layout(graph: Graph) -> tuple[Mapping[Var, str], Mapping[Graph, Sequence[str]]]:
    """How `graph` prints: the name of each variable, and the lines of each graph in it.

    A graph's lines are its head, the first line of each equation, and its return, unindented.
    """
    printer = _Printer(graph)
    return printer.all_names, printer.outlines


class _Printer:
    def __init__(self, graph: Graph):
        self.free = _FreeNames(_hints(graph))
        self.scopes: list[dict[Var, str]] = []
        self.all_names: dict[Var, str] = {}
        self.lines: list[str] = []
        self.outlines: dict[Graph, list[str]] = {}
        self.region(f"graph {word_text(graph.name)}", graph, "", None)
        self.lines.append("}")

    def region(self, opening: str, graph: Graph, indent: str, loc: Loc | None) -> None:
        """All lines of a graph except its closing brace, which may open the next region."""
        self.scopes.append({})
        outline = self.outlines[graph] = []
        head = f"{opening}({', '.join(map(self.declare, graph.params))}) {{"
        outline.append(self.line(head, loc))
        for eqn in graph.eqns:
            outline.append(self.eqn(eqn, indent + "  "))
        outline.append(self.line(f"{indent}  {self.results(graph)}", None))
        self.scopes.pop()

    def line(self, line: str, loc: Loc | None) -> str:
        if loc is not None:
            line = f"{line:<{COMMENT_COLUMN - 2}}  # {loc}"
        self.lines.append(line)
        return line.strip()

    def eqn(self, eqn: Eqn, indent: str) -> str:
        """Print an equation with the graphs that it holds; its first line."""
        opening = indent + self.call(eqn)
        at = len(self.lines)
        loc = eqn.loc
        for label, graph in subgraphs(eqn):
            name = "" if graph.name == label else " " + word_text(graph.name)
            self.region(f"{opening} {word_text(label)}{name}", graph, indent, loc)
            opening, loc = indent + "}", None
        self.line(opening, loc)
        return self.lines[at].strip()

    def call(self, eqn: Eqn) -> str:
        outs = ", ".join([self.declare(out) for out in eqn.outs])
        implied = next((atom.type for atom in eqn.ins if isinstance(atom, Var)), None)
        args = [self.atom(atom, implied) for atom in eqn.ins]
        for key, value in eqn.attrs.items():
            if not isinstance(value, Graph):
                args.append(f"{word_text(key)}={value_text(value)}")
        return f"{outs} = {_op_call(eqn.op, args)}" if outs else _op_call(eqn.op, args)

    def results(self, graph: Graph) -> str:
        texts = [self.atom(atom, None) for atom in graph.outs]
        for i, j in reversed(graph.updates):  # each is written before those that follow it
            if 0 <= j < len(texts) and 0 <= i < len(graph.params):
                texts[j] = f"{self.atom(graph.params[i], None)} := {texts[j]}"
        return " ".join(["return", ", ".join(texts)]).strip()

    def declare(self, var: Var) -> str:
        """Name a variable where it is defined.  A graph held twice gets new names."""
        names = self.scopes[-1]
        if var not in names:
            names[var] = self.all_names[var] = self.free.take(var.hint)
        return f"%{names[var]}: {var.type}"

    def atom(self, atom: Atom, implied: Type | None) -> str:
        if isinstance(atom, Var):
            return f"%{self.name(atom)}"
        return literal_text(atom, implied) if isinstance(atom, Lit) else opaque_text(atom)

    def name(self, var: Var) -> str:
        for names in reversed(self.scopes):
            if var in names:
                return names[var]
        # Read before its definition, or never defined: it still needs a name in messages.
        name = self.scopes[-1][var] = self.all_names[var] = self.free.take(var.hint)
        return name


def _op_call(op: Op, args: Sequence[str]) -> str:
    return f"{word_text(op.name)}({', '.join(args)})"


def _hints(graph: Graph) -> Iterator[str]:
    yield from (param.hint for param in graph.params)
    for eqn in all_eqns(graph):
        yield from (out.hint for out in eqn.outs)
        for _, inner in subgraphs(eqn):
            yield from (param.hint for param in inner.params)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _FreeNames:
    """Names not yet used in the text.  A variable's hint is left to that variable."""

    def __init__(self, hints: Iterable[str]):
        self.reserved = {_clean(hint) for hint in hints}
        self.used: set[str] = set()
        self.numbers: dict[str, int] = {}

    def take(self, hint: str) -> str:
        name = _clean(hint)
        if not name or name in self.used:
            name = self.next(re.sub(r"_[0-9]+$", "", name))
        self.used.add(name)
        return name

    def next(self, stem: str) -> str:
        """The next free of stem_1, stem_2, ..., or of a, b, ..., z, aa, ab, ... without a stem."""
        number = self.numbers.get(stem, 0)
        while True:
            number += 1
            name = f"{stem}_{number}" if stem else _letters(number)
            if name not in self.used and name not in self.reserved:
                self.numbers[stem] = number
                return name


def _clean(hint: str) -> str:
    """`hint` as a name; empty if nothing is left of it.  A name stays what it is."""
    if _NAME.fullmatch(hint):
        return hint
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", hint).strip("_")
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def _letters(number: int) -> str:
    text = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
