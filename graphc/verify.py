"""The rules that every graph keeps, checked in one pass; each has its own error class.

A graph is closed and in order; every variable is defined once (over the whole graph, so that a
pass may keep one table of variables); every equation's output types are what its op infers.
Nothing is printed unless a rule is broken: checks raise a `_Fault`, and `_Verifier.graph`, which
knows the position, turns it into a message.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

import graphc.ops  # noqa: F401 - fills OPS
from graphc import errors
from graphc.dims import Dim, surely_less
from graphc.ir import (
    COMPLEXES,
    DTYPE_NAMES,
    DTYPES,
    FLOATS,
    INT_RANGES,
    INTS,
    OPS,
    TAPE,
    Atom,
    Dense,
    Eqn,
    Graph,
    Lit,
    Type,
    Var,
    subgraphs,
)
from graphc.rounding import nearest, same_float

NEIGHBOURS = 3
"""How many equations before and after the offending one a message shows."""

BOOL = Type("bool")
NOT_DENSE = COMPLEXES | {None}
"""What no array constant is of: a complex one is two of them."""
PLAIN_KINDS = frozenset({bool, int, float, str, Dim, type(None)})


def verify(graph: Graph, checked: set[Eqn] | None = None) -> None:
    """Check every rule; raises a subclass of `errors.VerifyError` at the first that is broken.

    `checked` are equations that were found to keep the rules that concern them alone (equations
    never change), and those of this graph are added to it.  A pass leaves most equations as they
    were, so that a pipeline that hands the same set on takes half the time to verify.
    """
    _Verifier(graph, set() if checked is None else checked).graph(graph)


class _Fault(Exception):
    """A broken rule, before its variables have names and its equation has a position."""

    def __init__(self, kind: type[errors.VerifyError], *parts: object):
        self.kind = kind
        self.parts = parts
        super().__init__(kind, parts)


class _Verifier:
    def __init__(self, root: Graph, checked: set[Eqn]):
        self.root = root
        self.checked = checked
        self.bound: set[Var] = set()
        self.enclosing: list[set[Var]] = []

    def graph(self, graph: Graph) -> None:
        known: set[Var] = set()
        step = 0
        try:
            for param in graph.params:
                _check_type(param.type)
            self.bind(graph.params, known)
            if graph is self.root:
                _check_boundary(graph)
            for step, eqn in enumerate(graph.eqns, start=1):  # noqa: B007 - read in the report
                self.eqn(eqn, graph, known)
            step = len(graph.eqns) + 1
            self.read(graph.outs, graph, known)
            _check_literals(graph.outs)
            _check_updates(graph)
        except _Fault as fault:
            raise self.report(fault, graph, step) from None

    def eqn(self, eqn: Eqn, graph: Graph, known: set[Var]) -> None:
        is_new = eqn not in self.checked
        if is_new and OPS.get(eqn.op.name) is not eqn.op:
            raise _unknown_op(eqn.op.name)
        self.read(eqn.ins, graph, known)
        if is_new:
            _check_literals(eqn.ins)
            _check_attrs(eqn)
        self.enclosing.append(known)
        for _, inner in subgraphs(eqn):
            self.graph(inner)
        self.enclosing.pop()
        if is_new:
            _check_types(eqn)
        self.bind(eqn.outs, known)
        self.checked.add(eqn)

    def bind(self, variables: Sequence[Var], known: set[Var]) -> None:
        for var in variables:
            if var in self.bound:
                raise _Fault(
                    errors.ReboundVariableError,
                    var,
                    " is defined twice; a variable belongs to one place of one graph"
                    " (graphc.build.fresh copies a graph that is held twice)",
                )
            self.bound.add(var)
            known.add(var)

    def read(self, atoms: Sequence[Atom], graph: Graph, known: set[Var]) -> None:
        for atom in atoms:
            if atom.__class__ is Var:
                if atom not in known:
                    raise self.unknown(atom, graph)
            elif atom.__class__ is not Lit:  # the verifier is for what should not be
                kind = type(atom).__name__
                raise _Fault(
                    errors.AtomKindError,
                    f"a {kind} stands where a Var or a Lit belongs; of a Value, take .atom",
                )

    def unknown(self, var: Var, graph: Graph) -> _Fault:
        if any(var in known for known in self.enclosing):
            return _Fault(
                errors.CapturedVariableError,
                var,
                " belongs to the graph around this one; graphs are closed: make it an operand"
                " of the equation and a parameter of the graph that it holds",
            )
        if any(var in eqn.outs for eqn in graph.eqns):
            return _Fault(
                errors.UnboundVariableError,
                var,
                " is read before the equation that defines it; put that equation first",
            )
        return _Fault(
            errors.UnboundVariableError,
            var,
            " is defined by no equation or parameter of this graph; add one, or read another value",
        )

    def report(self, fault: _Fault, graph: Graph, step: int) -> errors.VerifyError:
        """The error with names, the user's line, and the equations around it."""
        from graphc.text import layout  # here, because graphc.text needs this module

        names, outlines = layout(self.root)
        message = "".join(
            f"%{names[part]}" if isinstance(part, Var) else str(part) for part in fault.parts
        )
        lines = outlines[graph]
        first = max(0, step - NEIGHBOURS)
        shown = [
            f"\n  {'>' if i == step else ' '} {line}"
            for i, line in enumerate(lines[first : step + NEIGHBOURS + 1], start=first)
        ]
        loc = graph.eqns[step - 1].loc if 0 < step <= len(graph.eqns) else None
        return fault.kind(message, loc, lines[step], "".join(shown))


def _check_boundary(graph: Graph) -> None:
    if any(atom.type.dtype == TAPE.dtype for atom in (*graph.params, *graph.outs)):
        text = "a graph takes or returns a tape; tapes live inside of one"
        raise _Fault(errors.TapeBoundaryError, text)


# ---- types and literals --------------------------------------------------------------------------


def _check_type(type: Type) -> None:
    if type.dtype not in DTYPES and type.dtype != TAPE.dtype:
        choices = ", ".join(DTYPES)
        raise _Fault(errors.UnknownDTypeError, f"{type} has no known dtype; choose from {choices}")
    for size in type.shape:
        if size.__class__ not in (int, Dim) or surely_less(size, 0):
            raise _Fault(
                errors.DimensionError,
                f"{type} has the dimension {size!r}; a dimension is an int from 0 upwards, or a"
                " symbolic size",
            )


def _check_literals(atoms: Sequence[Atom]) -> None:
    for atom in atoms:
        if isinstance(atom, Lit):
            _check_literal(atom)


def _check_literal(literal: Lit) -> None:
    _check_type(literal.type)
    dtype, value = literal.type.dtype, literal.value
    if not holds(dtype, value):
        raise _Fault(
            errors.LiteralValueError,
            f"the literal {value!r} is not a value of {dtype}; graphc.build.literal rounds and"
            " converts a number",
        )


def holds(dtype: str, value: object) -> bool:
    """Whether `value` is of the Python kind that stands for `dtype`, and exact in it."""
    if dtype in FLOATS:
        return type(value) is float and same_float(nearest(value, dtype), value)
    if dtype in INTS:
        least, most = INT_RANGES[dtype]
        return type(value) is int and least <= value <= most
    return dtype == "bool" and type(value) is bool


# ---- attributes ----------------------------------------------------------------------------------


def _check_attrs(eqn: Eqn) -> None:
    for name, value in eqn.attrs.items():
        if value.__class__ not in PLAIN_KINDS and not isinstance(value, Graph):
            _check_attr(name, value)


def _check_attr(name: str, value: Any) -> None:
    """Kinds are compared exactly: a NumPy float or an enum would not come back from the text."""
    if type(value) is tuple:
        for item in value:
            _check_attr(name, item)
        return
    known_dense = isinstance(value, Dense) and DTYPE_NAMES.get(value.array.dtype) not in NOT_DENSE
    if not known_dense and type(value) not in PLAIN_KINDS:
        raise _Fault(
            errors.AttributeKindError,
            f"attribute {name} holds a {_kind(value)}; attributes are bool, int, float, str, None,"
            " a size, Dense, a Graph, or tuples of the first seven",
        )


def _kind(value: Any) -> str:
    return f"Dense of {value.array.dtype}" if isinstance(value, Dense) else type(value).__name__


# ---- equations -----------------------------------------------------------------------------------


def _unknown_op(name: str) -> _Fault:
    near = difflib.get_close_matches(name, OPS, n=1)
    repair = f"; did you mean {near[0]}?" if near else "; graphc.ir.register makes an op known"
    if name in OPS:
        repair = "; another op of that name is, use graphc.ir.OPS"
    return _Fault(errors.UnknownOpError, f"op {name} is not registered{repair}")


def _check_types(eqn: Eqn) -> None:
    if eqn.op.name == "cond":
        _check_cond(eqn)
    elif eqn.op.elementwise and len({atom.type.shape for atom in eqn.ins}) > 1:
        listed = ", ".join(str(atom.type) for atom in eqn.ins)
        raise _Fault(
            errors.ElementwiseShapeError,
            f"{eqn.op.name} is elementwise and its operands differ in shape: {listed};"
            " broadcast them first",
        )
    for out in eqn.outs:
        _check_type(out.type)
    inferred = _infer(eqn)
    given = tuple(out.type for out in eqn.outs)
    if inferred != given:
        raise _Fault(
            errors.OutputTypeError,
            f"{eqn.op.name} gives {_listed(inferred)} here, but its outputs are declared"
            f" {_listed(given)}; declare what it gives, or change its inputs",
        )


def _infer(eqn: Eqn) -> tuple[Type, ...]:
    name = eqn.op.name
    try:
        return tuple(eqn.op.infer(*[atom.type for atom in eqn.ins], **eqn.attrs))
    except errors.ArityError as error:
        raise _Fault(errors.InputCountError, f"{error}; pass what it takes") from None
    except errors.GraphcError as error:
        raise _Fault(
            errors.TypeRuleError, f"the type rule of {name} refuses this: {error}"
        ) from None
    # A type rule meets attributes of any kind here, and may stumble over them in any way.
    except Exception as error:  # noqa: BLE001
        fault = _signature_fault(eqn) or _Fault(
            errors.TypeRuleError,
            f"the type rule of {name} cannot read this: {type(error).__name__}: {error};"
            " look at its attributes",
        )
        raise fault from None


def _signature_fault(eqn: Eqn) -> _Fault | None:
    """What is wrong with the number of inputs or the attribute names, by the signature of infer."""
    parameters = inspect.signature(eqn.op.infer).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    few = len(eqn.ins) < len(positional)
    if few or (len(eqn.ins) > len(positional) and not variadic):
        takes = f"{len(positional)}{' or more' if variadic else ''} operand(s)"
        return _Fault(
            errors.InputCountError,
            f"{eqn.op.name} takes {takes}, not {len(eqn.ins)}; pass what it takes",
        )
    needed = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    return _attribute_name_fault(eqn, needed)


def _attribute_name_fault(eqn: Eqn, needed: set[str]) -> _Fault | None:
    missing = ", ".join(sorted(needed - eqn.attrs.keys()))
    surplus = ", ".join(sorted(map(str, eqn.attrs.keys() - needed)))
    if missing:
        text = f"{eqn.op.name} needs the attribute(s) {missing}; add {missing}=..."
        return _Fault(errors.AttributeNameError, text)
    if surplus:
        text = f"{eqn.op.name} has no attribute(s) {surplus}; leave out what it does not know"
        return _Fault(errors.AttributeNameError, text)
    return None


def _check_cond(eqn: Eqn) -> None:
    fault = _attribute_name_fault(eqn, {"then", "else"})
    if fault is not None:
        raise fault
    if not eqn.ins or eqn.ins[0].type != BOOL:
        found = eqn.ins[0].type if eqn.ins else "missing"
        raise _Fault(
            errors.CondPredicateError,
            f"the predicate of cond, its first input, is {found}; it must be bool[]",
        )
    operands = tuple(atom.type for atom in eqn.ins[1:])
    results = tuple(out.type for out in eqn.outs)
    for label in ("then", "else"):
        _check_branch(label, eqn.attrs[label], operands, results)


def _check_branch(
    label: str, branch: Any, operands: tuple[Type, ...], results: tuple[Type, ...]
) -> None:
    if not isinstance(branch, Graph):
        text = f"attribute {label} of cond holds a {_kind(branch)}; it must be a Graph"
        raise _Fault(errors.AttributeKindError, text)
    if branch.in_types != operands:
        raise _Fault(
            errors.CondRegionError,
            f"branch {label} of cond takes {_listed(branch.in_types)}, the operands are"
            f" {_listed(operands)}; give the branch one parameter for each operand",
        )
    if branch.out_types != results:
        raise _Fault(
            errors.CondRegionError,
            f"branch {label} of cond returns {_listed(branch.out_types)}, the results of cond are"
            f" {_listed(results)}; make both branches return those types",
        )


def _listed(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"


# ---- updates -------------------------------------------------------------------------------------


def _check_updates(graph: Graph) -> None:
    seen: set[int] = set()
    for i, j in graph.updates:
        if not (0 <= i < len(graph.params) and 0 <= j < len(graph.outs)):
            raise _Fault(
                errors.UpdateIndexError,
                f"the update ({i}, {j}) says that result {j} updates parameter {i}; the graph has"
                f" {len(graph.params)} parameter(s) and {len(graph.outs)} result(s)",
            )
        param, result = graph.params[i], graph.outs[j]
        if param.type != result.type:
            raise _Fault(
                errors.UpdateTypeError,
                param,
                f" is {param.type} and its update is {result.type}; cast or reshape the new value",
            )
        if i in seen:
            raise _Fault(
                errors.DuplicateUpdateError, param, " is updated twice; keep the last update only"
            )
        seen.add(i)
