"""The engine under `simplify`, `fold_constants` and `lower`: one walk over a table of rules.

Before:  b = multiply(a, 1.0); c = exp(b)        with the rule  x * 1.0 = x
After:   c = exp(a)

The walk goes forward, so that an equation's operands are already rewritten when a rule looks at
it; what a rule emits goes through the table again.  Each rule looks at a bounded neighbourhood,
so the whole walk is linear.  Equations that lose their last reader stay for `eliminate_dead`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import graphc.ops  # noqa: F401 - fills OPS
from graphc import errors
from graphc.build import Builder, Value, literal, rename, renamed
from graphc.ir import NO_ATTRS, OPS, Atom, Eqn, Graph, Lit, Op, Type, Var, map_labelled
from graphc.ops.control import held_operands

Result = Atom | tuple[Atom, ...] | None
"""What a rule puts in the place of an equation's outputs; None where it does not apply."""

Rule = Callable[["Rewriter", Eqn], Result]
Rules = Mapping[str, Sequence[Rule]]
"""The rules to try on an equation, in order, by the name of its op."""

COMMUTATIVE = frozenset(
    {
        *("add", "multiply", "equal", "not_equal"),
        *("logical_and", "logical_or", "logical_xor"),
        *("bitwise_and", "bitwise_or", "bitwise_xor"),
    }
)
"""Ops whose two operands may change places, bit for bit.

Not maximum and minimum: of 0.0 and -0.0 they may return either.
"""


def rewrite(
    graph: Graph,
    rules: Rules,
    known: Mapping[Var, Lit] = MappingProxyType({}),
    required: bool = False,
) -> Graph:
    """`graph` after one walk over its equations, with the parameters in `known` as literals.

    A rule that asks what depends on a symbolic size does not apply; `required` ones raise
    `errors.UndecidedSizeError`.
    """
    at = Rewriter(graph.name, rules, required)
    at.params = list(graph.params)
    at.names.update(known)
    for eqn in graph.eqns:
        at.visit(eqn)
    return at.finish([rename(out, at.names) for out in graph.outs], graph.updates)


def table(rows: Iterable[tuple[str, Rule]]) -> Rules:
    """Rows of (op name, rule) as `Rules`, in the order of the rows."""
    rules: dict[str, list[Rule]] = {}
    for name, rule in rows:
        rules.setdefault(name, []).append(rule)
    return rules


class Rewriter(Builder):
    """A builder that sends every equation through the rules before it keeps it.

    Rules emit through it, in the language of the ops or by `make`, and read definitions from it.
    """

    def __init__(self, name: str, rules: Rules, required: bool = False):
        super().__init__(name)
        self.rules = rules
        self.required = required
        self.names: dict[Var, Atom] = {}
        self.made: dict[Var, Eqn] = {}
        self.hint = ""

    def visit(self, eqn: Eqn) -> None:
        """Take over an equation of the old graph."""
        self.loc = eqn.loc
        self.hint = eqn.outs[0].hint if eqn.outs else ""
        eqn = renamed(eqn, self.names)
        if eqn.attrs:
            held = eqn

            def enter(label: str, graph: Graph) -> Graph:
                return self.enter(graph, held_operands(held, label))

            eqn = map_labelled(enter, eqn)
        self.names.update(zip(eqn.outs, self.add(eqn), strict=True))

    def enter(self, graph: Graph, operands: tuple[Atom | None, ...]) -> Graph:
        """Rewrite a held graph, which knows those of its operands that are literals."""
        pairs = zip(graph.params, operands, strict=True)
        known = {p: atom for p, atom in pairs if isinstance(atom, Lit)}
        return rewrite(graph, self.rules, known, self.required)

    def add(self, eqn: Eqn) -> tuple[Atom, ...]:
        """The values of `eqn`: what the first rule that applies gives, or the equation's own."""
        for rule in self.rules.get(eqn.op.name, ()):
            try:
                result = rule(self, eqn)
            except errors.UndecidedSizeError:
                if self.required:
                    raise
                continue  # what the rule may have emitted has no reader
            if result is not None:
                return result if isinstance(result, tuple) else (result,)
        self.eqns.append(eqn)
        for out in eqn.outs:
            self.made[out] = eqn
        return eqn.outs

    def emit(
        self, op: Op, ins: Sequence[Atom], attrs: Mapping[str, Any] | None = None, hint: str = ""
    ) -> tuple[Value, ...]:
        types = op.infer(*(atom.type for atom in ins), **(attrs or {}))
        outs = tuple(Var(type, hint or self.hint) for type in types)
        frozen = MappingProxyType(dict(attrs)) if attrs else NO_ATTRS
        atoms = self.add(Eqn(op, tuple(ins), outs, frozen, self.loc))
        return tuple(Value(self, atom) for atom in atoms)

    def make(self, op: Op, *ins: Atom, **attrs: Any) -> Atom:
        """Emit an op with one output."""
        (out,) = self.emit(op, ins, attrs)
        return out.atom

    def splice(self, graph: Graph, args: Sequence[Atom]) -> tuple[Atom, ...]:
        """Continue with the equations of `graph`, which must not be kept elsewhere."""
        self.names.update(zip(graph.params, args, strict=True))
        for eqn in graph.eqns:
            self.visit(eqn)
        return tuple(rename(out, self.names) for out in graph.outs)

    def definition(self, atom: Atom, op: Op) -> Eqn | None:
        """The equation that computes `atom`, if its op is `op`."""
        eqn = self.made.get(atom) if isinstance(atom, Var) else None
        return eqn if eqn is not None and eqn.op is op else None


# ---- patterns: rules that read like maths --------------------------------------------------------

Number = bool | int | float


@dataclass(frozen=True, eq=False)
class Term:
    """A pattern: an op applied to patterns, or, without an op, a variable.

    A variable stands for any value, or for one of `dtypes`, or for a literal only.  A number among
    the parts matches a literal of its own kind: 1.0 floats, 1 integers, True bools.
    """

    op: str = ""
    parts: tuple[Term | Number, ...] = ()
    dtypes: frozenset[str] | None = None
    is_literal: bool = False

    def admits(self, atom: Atom) -> bool:
        """Whether this variable may stand for `atom`."""
        fits = self.dtypes is None or atom.type.dtype in self.dtypes
        return fits and (isinstance(atom, Lit) or not self.is_literal)

    def __add__(self, other: Term | Number) -> Term:
        return Term("add", (self, other))

    def __sub__(self, other: Term | Number) -> Term:
        return Term("subtract", (self, other))

    def __rsub__(self, other: Number) -> Term:
        return Term("subtract", (other, self))

    def __mul__(self, other: Term | Number) -> Term:
        return Term("multiply", (self, other))

    def __truediv__(self, other: Term | Number) -> Term:
        return Term("divide", (self, other))

    def __neg__(self) -> Term:
        return Term("negative", (self,))


Pattern = Term | Number
Found = dict[Term, Atom]


def function(op: str) -> Callable[..., Term]:
    """`op` as a function of patterns."""
    return lambda *parts: Term(op, parts)


def identity(left: Term, right: Pattern) -> tuple[str, Rule]:
    """The row of the table that replaces `left` by `right`."""

    def rule(at: Rewriter, eqn: Eqn) -> Result:
        found = _match_parts(at, left, eqn, {})
        return None if found is None else _build(at, right, found, eqn.out.type)

    return left.op, rule


def _match(at: Rewriter, pattern: Pattern, atom: Atom, found: Found) -> Found | None:
    """`found` with the variables of `pattern` that make it `atom`, or None."""
    if not isinstance(pattern, Term):
        return found if is_number(atom, pattern) else None
    if not pattern.op:
        known = found.get(pattern)
        if known is None:
            return {**found, pattern: atom} if pattern.admits(atom) else None
        return found if known == atom else None
    eqn = at.definition(atom, OPS[pattern.op])
    return None if eqn is None else _match_parts(at, pattern, eqn, found)


def _match_parts(at: Rewriter, term: Term, eqn: Eqn, found: Found) -> Found | None:
    result = _match_in_order(at, term.parts, eqn.ins, found)
    if result is None and term.op in COMMUTATIVE:
        result = _match_in_order(at, term.parts, eqn.ins[::-1], found)
    return result


def _match_in_order(
    at: Rewriter, parts: Sequence[Pattern], ins: Sequence[Atom], found: Found | None
) -> Found | None:
    if not _may_match(at, parts, ins):
        return None
    for part, atom in zip(parts, ins, strict=True):
        if found is None:
            return None
        found = _match(at, part, atom, found)
    return found


def _may_match(at: Rewriter, parts: Sequence[Pattern], ins: Sequence[Atom]) -> bool:
    """A short look at literals and ops before anything is noted: most patterns do not match."""
    for part, atom in zip(parts, ins, strict=True):
        if not isinstance(part, Term):
            if not isinstance(atom, Lit):
                return False
        elif part.op:
            eqn = at.made.get(atom) if isinstance(atom, Var) else None
            if eqn is None or eqn.op.name != part.op:
                return False
    return True


def _build(at: Rewriter, pattern: Pattern, found: Found, type: Type) -> Atom:
    """The value of `pattern`; a number, which stands alone, has the given type."""
    if not isinstance(pattern, Term):
        return literal(pattern, type)
    if not pattern.op:
        return found[pattern]
    return at.make(OPS[pattern.op], *(_build(at, part, found, type) for part in pattern.parts))


def is_number(atom: Atom, number: Number) -> bool:
    """Whether `atom` is the literal `number`: 0.0 is neither 0 nor -0.0."""
    return isinstance(atom, Lit) and same_number(atom.value, number)


def same_number(a: Number, b: Number) -> bool:
    """Equality of numbers by kind and bits."""
    if type(a) is not type(b):
        return False
    return a.hex() == b.hex() if isinstance(a, float) and isinstance(b, float) else a == b
