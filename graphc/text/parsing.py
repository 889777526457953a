"""Parsing the text form: recursive descent over the tokens."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from graphc import errors
from graphc.dims import Size
from graphc.ir import NO_ATTRS, OPS, Atom, Dense, Eqn, Graph, Lit, Op, Type, Var
from graphc.text.tokens import Tokens
from graphc.text.values import (
    CONSTANTS,
    LITERAL_WORDS,
    dense_of_bytes,
    dense_of_numbers,
    read_number,
    read_size,
    read_string,
)
from graphc.verify import verify

MAX_DEPTH = 200
"""How deep regions and tuples may nest in a text: an error comes before Python's own limit."""


def parse(text: str) -> Graph:
    """The graph that `text` describes, verified.

    Raises `errors.ParseError` where the text is not a graph, and what `verify` raises where the
    graph breaks a rule.
    """
    parser = _Parser(Tokens(text))
    try:
        graph = parser.document()
        verify(graph)
    except RecursionError:
        parser.fail(
            "the text nests too deeply for the Python stack", "nest less, or call higher up"
        )
    return graph


Scope = dict[str, Var]
Unread = tuple[int, Type | None]
"""A literal whose type may not be known yet: the index of its token, and the type written."""


class _Parser:
    def __init__(self, tokens: Tokens):
        self.tokens = tokens
        self.kinds = tokens.kinds
        self.texts = tokens.texts
        self.at = 0
        self.depth = 0
        self.scopes: list[Scope] = []
        self.types: dict[str, Type] = {}

    # -- tokens --

    def fail(self, problem: str, repair: str, at: int | None = None) -> NoReturn:
        self.tokens.fail_at(self.tokens.starts[self.at if at is None else at], problem, repair)

    def expected(self, what: str, repair: str) -> NoReturn:
        found = self.texts[self.at]
        found = found if len(found) <= 30 else found[:27] + "..."
        self.fail(f"expected {what}, found {found or 'the end of the text'}", repair)

    def accept(self, text: str) -> bool:
        if self.texts[self.at] == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str, repair: str) -> None:
        if not self.accept(text):
            self.expected(text, repair)

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} deep", "nest regions and tuples less")

    def word(self, what: str, repair: str) -> str:
        if self.kinds[self.at] == "string":
            return self.string()
        if self.kinds[self.at] != "word":
            self.expected(what, repair)
        self.at += 1
        return self.texts[self.at - 1]

    def string(self) -> str:
        try:
            text = read_string(self.texts[self.at])
        except ValueError as error:
            self.fail(f"bad string: {error}", 'the escapes are \\\\ \\" \\n and \\u{hex}')
        self.at += 1
        return text

    def type(self) -> Type:
        text = self.texts[self.at]
        if self.kinds[self.at] != "type":
            self.expected("a type", "write a dtype and a shape: f32[64,1000], bool[]")
        if text not in self.types:
            self.types[text] = self.new_type(text)
        self.at += 1
        return self.types[text]

    def new_type(self, text: str) -> Type:
        dtype, _, inside = text[:-1].partition("[")
        try:
            shape = tuple(map(read_size, inside.split(","))) if inside.strip() else ()
        except ValueError:
            self.fail(
                f"bad type {text[:40]}",
                "write whole numbers or symbolic sizes with commas between: f32[64,2*B+1]",
            )
        return Type(dtype, shape)

    # -- graphs --

    def document(self) -> Graph:
        self.expect("graph", "a text begins with graph name(%x: f32[3]) {")
        name = self.word("the graph's name", "write graph name(%x: f32[3]) {")
        graph = self.body(name, self.head())
        if self.kinds[self.at] != "end":
            self.expected("the end of the text", "a text holds one graph")
        return graph

    def head(self) -> Scope:
        """`(params) {`; the scope of the graph that begins, which holds its parameters."""
        scope: Scope = {}
        self.expect("(", "parameters stand in parentheses: (%x: f32[3])")
        if not self.accept(")"):
            for var, at in self.bindings():
                self.define(scope, var, at)
            self.expect(")", "separate parameters by commas and close the parenthesis")
        self.expect("{", "the equations stand in braces")
        return scope

    def body(self, name: str, scope: Scope) -> Graph:
        """From the first equation to the closing brace of the graph that `head` began."""
        self.enter()
        self.scopes.append(scope)
        params = tuple(scope.values())
        eqns = []
        while not self.accept("return"):
            eqns.append(self.eqn(scope))
        outs, updates = self.results(params)
        self.expect("}", "return is the last line of a graph; close the graph with }")
        self.scopes.pop()
        self.depth -= 1
        return Graph(name, params, tuple(eqns), outs, updates)

    def results(
        self, params: Sequence[Var]
    ) -> tuple[tuple[Atom, ...], tuple[tuple[int, int], ...]]:
        outs: list[Atom] = []
        updates = []
        while self.texts[self.at] != "}":
            while self.kinds[self.at] == "var" and self.texts[self.at + 1] == ":=":
                updates.append((self.updated(params), len(outs)))
            at = self.at
            atom = self.atom()
            if isinstance(atom, Var):
                outs.append(atom)
            elif atom[1] is None:
                self.fail("a returned number needs a type", "write it as 5.0:f32[3]", at)
            else:
                outs.append(self.literal(at, atom[1]))
            if not self.accept(","):
                break
        return tuple(outs), tuple(updates)

    def updated(self, params: Sequence[Var]) -> int:
        """`%w :=`; the index of the parameter."""
        name = self.texts[self.at][1:]
        for index, param in enumerate(params):
            if param.hint == name:
                self.at += 2
                return index
        self.fail(f"%{name} is not a parameter of this graph", "only parameters can be updated")

    def bindings(self) -> list[tuple[Var, int]]:
        """`%x: type, ...`: the variables and where they stand; they are not in scope yet."""
        found = []
        while True:
            at = self.at
            if self.kinds[at] != "var":
                self.expected("a variable", "write it with its type: %x: f32[3]")
            self.at += 1
            self.expect(":", f"give the variable its type: {self.texts[at]}: f32[3]")
            found.append((Var(self.type(), self.texts[at][1:]), at))
            if not self.accept(","):
                return found

    def define(self, scope: Scope, var: Var, at: int) -> None:
        if var.hint in scope:
            self.fail(f"%{var.hint} is defined twice", "give one of the two another name", at)
        scope[var.hint] = var

    # -- equations --

    def eqn(self, scope: Scope) -> Eqn:
        outs: list[tuple[Var, int]] = []
        if self.kinds[self.at] == "var":
            outs = self.bindings()
            self.expect("=", "an equation is %y: f32[3] = op(%x)")
        name = self.word("an equation or return", "an equation is %y: f32[3] = op(%x)")
        self.expect("(", "the inputs stand in parentheses: op(%x, %y)")
        ins, attrs = self.arguments()
        last = self.held(attrs)
        for var, at in outs:
            self.define(scope, var, at)
        frozen = MappingProxyType(attrs) if attrs else NO_ATTRS
        variables = tuple(var for var, _ in outs)
        return Eqn(_op(name), ins, variables, frozen, self.tokens.locs.get(last))

    def held(self, attrs: dict[str, Any]) -> int:
        """Read the held graphs into `attrs`; the last token of the equation's first line."""
        last = -1
        while self.begins_region():
            at = self.at
            label = self.word("a label", "a held graph is then(%x: f32[3]) {")
            name = (
                label
                if self.texts[self.at] == "("
                else self.word("a name", "a held graph is then name(%x: f32[3]) {")
            )
            if label in attrs:
                self.fail(f"{label} is given twice", "give each attribute once", at)
            scope = self.head()
            last = self.at - 1 if last < 0 else last
            attrs[label] = self.body(name, scope)
        return self.at - 1 if last < 0 else last

    def begins_region(self) -> bool:
        """Whether a held graph begins here, or else the next equation: `check(%ok)`."""
        if self.kinds[self.at] not in ("word", "string"):
            return False
        opening = self.at + 1 if self.texts[self.at + 1] == "(" else self.at + 2
        if self.texts[opening] != "(":
            return False
        try:
            return self.texts[self.texts.index(")", opening) + 1] == "{"
        except ValueError:
            return False

    def arguments(self) -> tuple[tuple[Atom, ...], dict[str, Any]]:
        """The inputs and attributes of an equation, with the closing parenthesis."""
        ins: list[Var | Unread] = []
        attrs: dict[str, Any] = {}
        while self.texts[self.at] != ")":
            if self.texts[self.at + 1] == "=":
                self.attribute(attrs)
            else:
                ins.append(self.atom())
            if not self.accept(","):
                break
        self.expect(")", "separate inputs by commas and close the parenthesis")
        implied = next((atom.type for atom in ins if isinstance(atom, Var)), None)
        return tuple(self.typed(atom, implied) for atom in ins), attrs

    def attribute(self, attrs: dict[str, Any]) -> None:
        at = self.at
        key = self.word("an attribute", "an attribute is name=value")
        if key in attrs:
            self.fail(f"{key} is given twice", "give each attribute once", at)
        self.expect("=", "an attribute is name=value")
        attrs[key] = self.value()

    def atom(self) -> Var | Unread:
        """A variable in scope, or a number, of which only the type is read here."""
        at = self.at
        self.at += 1
        if self.kinds[at] == "var":
            return self.scopes[-1].get(self.texts[at][1:]) or self.undefined(at)
        if self.kinds[at] == "number" or self.texts[at] in LITERAL_WORDS:
            return (at, self.type() if self.accept(":") else None)
        self.at = at
        self.expected("an input", "an input is a variable %x or a number")

    def undefined(self, at: int) -> NoReturn:
        name = self.texts[at]
        if any(name[1:] in scope for scope in self.scopes[:-1]):
            problem = f"{name} belongs to the graph around this one"
            self.fail(problem, "graphs are closed: pass it as an operand and a parameter", at)
        self.fail(f"{name} is not defined", "define it as a parameter or in an equation before", at)

    def typed(self, atom: Var | Unread, implied: Type | None) -> Atom:
        if isinstance(atom, Var):
            return atom
        at, type = atom[0], atom[1] or implied
        if type is None:
            self.fail("no variable gives this number its type", "write it as 5.0:f32[3]", at)
        return self.literal(at, type)

    def literal(self, at: int, type: Type) -> Lit:
        try:
            return Lit(read_number(self.texts[at], type.dtype), type)
        except ValueError as error:
            self.fail(f"bad number: {error}", "infinity is written inf", at)

    # -- attribute values --

    def value(self) -> Any:
        text, kind = self.texts[self.at], self.kinds[self.at]
        if kind == "string":
            return self.string()
        if text == "(":
            return self.tuple()
        if text == "dense":
            return self.dense()
        if kind == "size" or (text in self.size_names and text not in CONSTANTS):
            return self.size()
        if kind != "number" and text not in CONSTANTS:
            self.expected("a value", 'write a number, true, false, none, "text", dense or a tuple')
        try:
            value = read_number(text)
        except ValueError as error:
            self.fail(f"bad number: {error}", "infinity is written inf")
        self.at += 1
        return value

    @functools.cached_property
    def size_names(self) -> frozenset[str]:
        """The names of sizes in the types of the text: another word is no value."""
        types = (t for t, kind in zip(self.texts, self.kinds, strict=True) if kind == "type")
        inside = (text.partition("[")[2] for text in types)
        return frozenset(name for text in inside for name in re.findall("[A-Za-z_]\\w*", text))

    def size(self) -> Size:
        try:
            size = read_size(self.texts[self.at])
        except ValueError as error:
            self.fail(f"bad size: {error}", "write names and numbers with +, - and *: 2*B+1")
        self.at += 1
        return size

    def tuple(self) -> tuple[Any, ...]:
        self.enter()
        items: list[Any] = []
        self.at += 1
        while not self.accept(")"):
            items.append(self.value())
            if not self.accept(",") and self.texts[self.at] != ")":
                self.expected(", or )", "separate the items of a tuple by commas")
            if len(items) == 1 and self.texts[self.at - 1] != ",":
                self.expected(",", "a tuple of one item is written (1,)")
        self.depth -= 1
        return tuple(items)

    def dense(self) -> Dense:
        at = self.at
        self.at += 1
        self.expect("(", "an array is dense(f32[2], [1.0, 2.0])")
        type = self.type()
        self.expect(",", "an array is dense(f32[2], [1.0, 2.0])")
        try:
            if self.kinds[self.at] == "string":
                array = dense_of_bytes(self.string(), type)
            else:
                array = dense_of_numbers(self.numbers(), type)
        except (ValueError, OverflowError) as error:
            if isinstance(error, errors.ParseError):
                raise
            self.fail(f"bad array: {error}", "an array is dense(f32[2], [1.0, 2.0])", at)
        self.expect(")", "an array is dense(f32[2], [1.0, 2.0])")
        return array

    def numbers(self) -> list[str]:
        found = []
        self.expect("[", "elements stand in brackets, or as base64 in quotes")
        while not self.accept("]"):
            found.append(self.texts[self.at])
            if self.kinds[self.at] != "number" and found[-1] not in LITERAL_WORDS:
                self.expected("a number", "elements are numbers, true or false")
            self.at += 1
            if not self.accept(",") and self.texts[self.at] != "]":
                self.expected(", or ]", "separate elements by commas")
        return found


def _op(name: str) -> Op:
    """The op of that name, or one that is not registered: `verify` has the words for that."""
    return OPS.get(name) or Op(name, infer=lambda *types, **attrs: (), reference=lambda: ())
