"""The text form of a graph: `print_graph` and `parse`, an exact round trip.

    graph      = "graph" region
    region     = name "(" [ binding { "," binding } ] ")" "{" { equation } "return" [ results ] "}"
    binding    = "%name" ":" type
    equation   = [ binding { "," binding } "=" ] op "(" [ argument { "," argument } ] ")" { held }
    argument   = atom | key "=" value
    held       = label [ name ] "(" ... as a region, whose name is the label where none is given
    atom       = "%name" | number [ ":" type ]
    results    = { "%parameter" ":=" } atom { "," ... }      ":=" marks an update of the parameter
    value      = number | "true" | "false" | "none" | string | dense | "(" values ")"
    dense      = "dense" "(" type "," ( "[" numbers "]" | string of base64 ) ")"

Names of graphs, ops and attributes that are not plain words are quoted.  A number without a type
has the type of the first variable among its equation's inputs.  A comment `# file:line` at the end
of the line on which an equation begins is the user's source line; other comments are ignored.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from graphc import errors
from graphc.ir import (
    DTYPE_NAMES,
    FLOATS,
    NO_ATTRS,
    NUMPY_DTYPES,
    OPS,
    Atom,
    Dense,
    Eqn,
    Graph,
    Lit,
    Loc,
    Op,
    Type,
    Var,
    all_eqns,
    subgraphs,
)
from graphc.verify import holds, nearest_f32, same_float, verify

COMMENT_COLUMN = 56
READABLE_ELEMENTS = 16
"""Arrays of up to this many elements are printed as numbers, larger ones as base64."""

MAX_DEPTH = 200
"""How deep regions and tuples may nest in a text: an error comes before Python's own limit."""

MAX_DIGITS = 400
"""How long a number may be: Python refuses to print integers of a few thousand digits."""

# ---- printing --------------------------------------------------------------------------------------


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
        self.region(f"graph {_word(graph.name)}", graph, "", None)
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
            name = "" if graph.name == label else " " + _word(graph.name)
            self.region(f"{opening} {_word(label)}{name}", graph, indent, loc)
            opening, loc = indent + "}", None
        self.line(opening, loc)
        return self.lines[at].strip()

    def call(self, eqn: Eqn) -> str:
        outs = ", ".join([self.declare(out) for out in eqn.outs])
        implied = next((atom.type for atom in eqn.ins if isinstance(atom, Var)), None)
        args = [self.atom(atom, implied) for atom in eqn.ins]
        for key, value in eqn.attrs.items():
            if not isinstance(value, Graph):
                args.append(f"{_word(key)}={value_text(value)}")
        return f"{outs} = {_op_call(eqn.op, args)}" if outs else _op_call(eqn.op, args)

    def results(self, graph: Graph) -> str:
        texts = [self.atom(atom, None) for atom in graph.outs]
        for i, j in reversed(graph.updates):  # each is written before those that follow it
            if 0 <= j < len(texts) and 0 <= i < len(graph.params):
                texts[j] = f"{self.atom(graph.params[i], None)} := {texts[j]}"
        return " ".join(["return", ", ".join(texts)]).strip()

    def declare(self, var: Var) -> str:
        """Name a variable where it is defined.  A graph held twice gets new names the second time."""
        names = self.scopes[-1]
        if var not in names:
            names[var] = self.all_names[var] = self.free.take(var.hint)
        return f"%{names[var]}: {var.type}"

    def atom(self, atom: Atom, implied: Type | None) -> str:
        if isinstance(atom, Var):
            return f"%{self.name(atom)}"
        return literal_text(atom, implied) if isinstance(atom, Lit) else _opaque(atom)

    def name(self, var: Var) -> str:
        for names in reversed(self.scopes):
            if var in names:
                return names[var]
        # Read before its definition, or never defined: it still needs a name in messages.
        name = self.scopes[-1][var] = self.all_names[var] = self.free.take(var.hint)
        return name


def _op_call(op: Op, args: Sequence[str]) -> str:
    return f"{_word(op.name)}({', '.join(args)})"


def _hints(graph: Graph) -> Iterator[str]:
    yield from (param.hint for param in graph.params)
    for eqn in all_eqns(graph):
        yield from (out.hint for out in eqn.outs)
        for _, inner in subgraphs(eqn):
            yield from (param.hint for param in inner.params)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


class _FreeNames:
    """Names not yet used in the text.  A name that is some variable's hint is left to that variable."""

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


# ---- values as text ----------------------------------------------------------------------------------


def literal_text(literal: Lit, implied: Type | None = None) -> str:
    """`0.5:f32[3]`, or `0.5` where the type is implied by the context."""
    number = _number_text(literal.value, literal.type.dtype)
    return number if literal.type == implied else f"{number}:{literal.type}"


def value_text(value: Any) -> str:
    """The text of an attribute's value that is not a graph."""
    if value is None:
        return "none"
    if type(value) is str:
        return _quote(value)
    if type(value) is tuple:
        items = ", ".join(map(value_text, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, Dense) and value.array.dtype in DTYPE_NAMES:
        return _dense_text(value)
    return _number_text(value, "f64") if type(value) in (bool, int, float) else _opaque(value)


def _opaque(value: object) -> str:
    """Stands for what no graph may hold; `parse` refuses it."""
    return f"<{type(value).__name__}>"


def _number_text(value: float, dtype: str) -> str:
    """The shortest text that reads back as `value` in `dtype`."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and dtype == "f32":
        rounded = nearest_f32(value)
        short = str(np.float32(rounded))
        # Not so for a value that is no f32 at all, or if NumPy's print options shorten it.
        if same_float(rounded, value) and same_float(nearest_f32(float(short)), value):
            return short
    return repr(float(value) if isinstance(value, float) else value)


def _dense_text(dense: Dense) -> str:
    array = dense.array
    if array.size <= READABLE_ELEMENTS:
        numbers = [_number_text(item, dense.type.dtype) for item in array.reshape(-1).tolist()]
        # NaN has many bit patterns and one spelling: the others go into base64.
        if _dense_of_numbers(numbers, dense.type) == dense:
            return f"dense({dense.type}, [{', '.join(numbers)}])"
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return f'dense({dense.type}, "{base64.b64encode(data).decode()}")'


def _dense_of_numbers(numbers: Sequence[str], type: Type) -> Dense:
    values = [_number(text, type.dtype) for text in numbers]
    _expect_elements(type, len(values))
    for text, value in zip(numbers, values, strict=True):
        if not holds(type.dtype, value):
            raise ValueError(f"{text} is not a value of {type.dtype}")
    return Dense(np.array(values, type.numpy_dtype).reshape(type.shape))


def _dense_of_bytes(text: str, type: Type) -> Dense:
    data = base64.b64decode(text, validate=True)
    _expect_elements(type, len(data), of_bytes=True)
    if type.dtype == "bool" and data.strip(b"\0\1"):
        raise ValueError("a byte of a bool array is 0 or 1")
    stored = type.numpy_dtype.newbyteorder("<")
    return Dense(np.frombuffer(data, stored).astype(type.numpy_dtype).reshape(type.shape))


def _expect_elements(type: Type, count: int, of_bytes: bool = False) -> None:
    """Checked before NumPy sees the shape, to which -1 means another thing."""
    if type.dtype not in NUMPY_DTYPES:
        raise ValueError(f"no dtype {type.dtype}; choose from {', '.join(NUMPY_DTYPES)}")
    needed = type.nbytes if of_bytes else type.size
    if needed != count or any(size < 0 for size in type.shape):
        unit = "bytes" if of_bytes else "elements"
        raise ValueError(f"{type} has {needed} {unit}, the text {count}")


_CONSTANTS: Mapping[str, bool | float | None] = MappingProxyType(
    {"true": True, "false": False, "none": None, "nan": float("nan"), "inf": float("inf")}
)
_LITERAL_WORDS = frozenset({"true", "false", "nan", "inf"})


def _number(text: str, dtype: str | None = None) -> Any:
    """The value of a number or word of `_CONSTANTS`, rounded to `dtype` if that is a float dtype.

    A value that `dtype` cannot hold stays what it is, and `verify` says so.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    is_int = text.lstrip("-").isdigit()
    if is_int and dtype not in FLOATS:
        return int(text)
    value = float(text)
    if value in (float("inf"), -float("inf")) and not text.endswith("inf"):
        raise ValueError(f"{text} is beyond f64")
    rounded = nearest_f32(value) if dtype == "f32" else value
    return rounded if abs(rounded) != float("inf") else value


def _dimension(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    return int(text)


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_UNESCAPES = {written: char for char, written in _ESCAPES.items()}


def _quote(text: str) -> str:
    """In double quotes; what is not printable as `\\u{hex}`, so that a string is one line."""
    chars = (_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)
    return f'"{"".join(chars)}"'


def _unquote(token: str) -> str:
    return re.sub(r"\\(?:u\{([0-9a-f]{1,6})\}|.)", _unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    if match[0] not in _UNESCAPES:
        raise ValueError(f"no escape {match[0]}")
    return _UNESCAPES[match[0]]


def _word(name: str) -> str:
    """The name of a graph, op or attribute: bare if it is a plain word, else quoted."""
    return name if _PLAIN_WORD.fullmatch(name) and name != "return" else _quote(name)


# ---- tokens ------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*+ (?:
      (?P<var>     % [A-Za-z_][A-Za-z0-9_]* )
    | (?P<type>    [A-Za-z_][A-Za-z0-9_]* \[ [-0-9,\s]* \] )
    | (?P<number>  -? [0-9]+ (?: \.[0-9]* )? (?: [eE][-+]?[0-9]+ )? | -inf\b )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_.]* )
    | (?P<string>  " [^"\\\n]*+ (?: \\[^\n] [^"\\\n]*+ )*+ " )
    | (?P<comment> \# [^\n]* )
    | (?P<mark>    := | [(){}\[\],:=] )
    | (?P<end>     \Z )
    | (?P<bad>     . ) )""",
    re.VERBOSE | re.DOTALL,
)
_SOURCE_LINE = re.compile(r"# ?(.*):([0-9]{1,18})\s*", re.DOTALL)
LOOKAHEAD = 3


class _Tokens:
    """The tokens of a text as parallel lists, ending in as many `end` as a parser looks ahead."""

    def __init__(self, text: str):
        self.text = text
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.starts: list[int] = []
        self.locs: dict[int, Loc] = {}
        """The source line in the comment behind a token on the same line, by the token's index."""
        end = 0
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "bad"
            start = match.start(kind)
            if kind == "comment":
                self.comment(match["comment"], same_line="\n" not in text[end:start])
                continue
            if kind == "bad":
                self.fail_at(start, *_bad_character(match[kind]))
            self.append(kind, match[kind], start)
            end = match.end()
        for _ in range(LOOKAHEAD):
            self.append("end", "", len(text))

    def append(self, kind: str, token: str, start: int) -> None:
        self.kinds.append(kind)
        self.texts.append(token)
        self.starts.append(start)

    def comment(self, comment: str, same_line: bool) -> None:
        match = _SOURCE_LINE.fullmatch(comment)
        if match and same_line and self.kinds:
            self.locs[len(self.kinds) - 1] = Loc(match[1], int(match[2]))

    def fail_at(self, position: int, problem: str, repair: str) -> NoReturn:
        line = self.text.count("\n", 0, position) + 1
        begin = self.text.rfind("\n", 0, position) + 1
        stop = self.text.find("\n", position)
        source = self.text[begin : stop if stop >= 0 else len(self.text)]
        column = position - begin + 1
        # A line may hold megabytes of base64: show what is near.
        cut = max(0, column - 70)
        shown = f"    {source[cut : cut + 100]}\n    {' ' * (column - 1 - cut)}^"
        raise errors.ParseError(
            f"line {line}, column {column}: {problem}; {repair}\n{shown}",
            line=line,
            column=column,
            source=source,
        )


def _bad_character(char: str) -> tuple[str, str]:
    if char == '"':
        return "this string does not end", 'close it with " on the same line'
    if char == "%":
        return "% without a name", "write a variable as %x"
    return f"unexpected character {char!r}", "remove it"


# ---- parsing -----------------------------------------------------------------------------------------


def parse(text: str) -> Graph:
    """The graph that `text` describes, verified.

    Raises `errors.ParseError` where the text is not a graph, and what `verify` raises where the
    graph breaks a rule.
    """
    parser = _Parser(_Tokens(text))
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
    def __init__(self, tokens: _Tokens):
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
            text = _unquote(self.texts[self.at])
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
            shape = tuple(map(_dimension, inside.split(","))) if inside.strip() else ()
        except ValueError:
            self.fail(
                f"bad type {text[:40]}", "write whole numbers with commas between: f32[64,1000]"
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
        """Read the held graphs into `attrs`; the last token of the line on which the equation begins."""
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
        if self.kinds[at] == "number" or self.texts[at] in _LITERAL_WORDS:
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
            return Lit(_number(self.texts[at], type.dtype), type)
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
        if kind != "number" and text not in _CONSTANTS:
            self.expected("a value", 'write a number, true, false, none, "text", dense or a tuple')
        try:
            value = _number(text)
        except ValueError as error:
            self.fail(f"bad number: {error}", "infinity is written inf")
        self.at += 1
        return value

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
                array = _dense_of_bytes(self.string(), type)
            else:
                array = _dense_of_numbers(self.numbers(), type)
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
            if self.kinds[self.at] != "number" and found[-1] not in _LITERAL_WORDS:
                self.expected("a number", "elements are numbers, true or false")
            self.at += 1
            if not self.accept(",") and self.texts[self.at] != "]":
                self.expected(", or ]", "separate elements by commas")
        return found


def _op(name: str) -> Op:
    """The op of that name, or one that is not registered: `verify` has the words for that."""
    return OPS.get(name) or Op(name, infer=lambda *types, **attrs: (), reference=lambda: ())
