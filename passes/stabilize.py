"""Stable forms: formulas that lose digits or overflow, replaced by ones that do not.

Before:  a = exp(x); b = add(a, 1.0); y = log(b)
After:   y = softplus(x)

Sound as mathematics, not to the bit: both sides are the same real function, and the right one is
within a few units in the last place of it wherever the left one is, and beyond.  Where the left
side gives infinity or NaN only because a step between overflowed, the right one gives the value.

Gradients are taken of the stable forms: `autodiff` runs this pass first.  The `stop_gradient` of a
maximum that was subtracted and added again is sound because its two contributions cancel.
"""

from __future__ import annotations

from graphc.build import Value
from graphc.ir import FLOATS, OPS, Atom, Eqn, Graph, Op, Var, all_eqns
from graphc.ops import elementwise as ops
from graphc.ops import index, reduce, shape
from graphc.passes.rewrite import (
    Pattern,
    Result,
    Rewriter,
    Term,
    function,
    identity,
    rewrite,
    table,
)

Ints = tuple[int, ...]


CONCERNED = frozenset({"exp", "log", "log1p", "sigmoid", "cos", "sqrt"})
"""Each formula of the table has one of these in it."""


def is_concerned(graph: Graph) -> bool:
    """Whether `stabilize` may have something to do."""
    return any(eqn.op.name in CONCERNED for eqn in all_eqns(graph))


def stabilize(graph: Graph) -> Graph:
    """`graph` by the table below; common subexpressions are to be merged before."""
    return rewrite(graph, STABLE) if is_concerned(graph) else graph


# ---- elementwise formulas ------------------------------------------------------------------------

x, y = Term(dtypes=FLOATS), Term(dtypes=FLOATS)
exp, expm1 = function("exp"), function("expm1")
log, log1p = function("log"), function("log1p")
sigmoid, softplus = function("sigmoid"), function("softplus")
negative, reciprocal, divide = function("negative"), function("reciprocal"), function("divide")
sqrt, square, power = function("sqrt"), function("square"), function("power")
sin, cos, hypot = function("sin"), function("cos"), function("hypot")

FORMULAS: tuple[tuple[Term, Pattern], ...] = (
    # One spelling, so that the rows below need no other.
    (x * x, square(x)),
    (power(x, 2.0), square(x)),
    (negative(negative(x)), x),
    # The sigmoid: exp(x) may overflow, its quotient never does; 1 - s keeps the small side.
    (divide(1.0, exp(x) + 1.0), sigmoid(-x)),
    (reciprocal(exp(x) + 1.0), sigmoid(-x)),
    (exp(x) / (exp(x) + 1.0), sigmoid(x)),
    (1.0 - sigmoid(x), sigmoid(-x)),
    # Logarithms: beside 1 a small exp(x) is lost, a large one overflows.
    (log(exp(x) + 1.0), softplus(x)),
    (log1p(exp(x)), softplus(x)),
    (log(sigmoid(x)), -softplus(-x)),
    (log(exp(x)), x),
    # 1 + x and 1 - x round away the digits of a small x.
    (log(x + 1.0), log1p(x)),
    (log(1.0 - x), log1p(-x)),
    # Differences of nearly equal numbers.
    (exp(x) - 1.0, expm1(x)),
    (exp(x) + -1.0, expm1(x)),
    (1.0 - exp(x), -expm1(x)),
    (1.0 - cos(x), square(sin(x * 0.5)) * 2.0),
    # Squares overflow (underflow) long before their root does.
    (sqrt(square(x) + square(y)), hypot(x, y)),
)

# ---- formulas with sums --------------------------------------------------------------------------


def log_of_sum_of_exp(at: Rewriter, eqn: Eqn) -> Result:
    """log(sum(exp(x))) = m + log(sum(exp(x - m))), m the largest x along the summed axes.

    Not where x is a difference from its maximum already: its largest exp is 1.  An infinite m
    would make x - m NaN; 0 in its place leaves the infinity to exp and log.
    """
    total = at.definition(_unit_reshaped(at, eqn.ins[0]), reduce.sum)
    source = None if total is None else at.definition(total.ins[0], ops.exp)
    if total is None or source is None or not total.attrs["axes"]:
        return None
    exponent, axes = source.ins[0], total.attrs["axes"]
    if 0 in exponent.type.shape or _is_below_its_maximum(at, exponent, axes):
        return None
    value = at.value(exponent)
    largest: Value = ops.stop_gradient(reduce.max(value, axes=axes))
    shift: Value = ops.where(ops.isfinite(largest), largest, 0.0)
    shifted = value - reduce.spread(shift, value, axes)
    result: Value = shift + ops.log(reduce.sum(ops.exp(shifted), axes=axes))
    return _in_shape(result, eqn).atom


def _unit_reshaped(at: Rewriter, atom: Atom) -> Atom:
    """What `atom` is a copy of with axes of size 1 added or dropped (`keepdims`)."""
    reshaped = at.definition(atom, shape.reshape)
    if reshaped is None or _without_ones(reshaped.ins[0]) != _without_ones(atom):
        return atom
    return reshaped.ins[0]


def _without_ones(atom: Atom) -> Ints:
    return tuple(size for size in atom.type.shape if size != 1)


def _in_shape(value: Value, eqn: Eqn) -> Value:
    sizes = eqn.out.type.shape
    return value if value.shape == sizes else shape.reshape(value, shape=sizes)


def _is_below_its_maximum(at: Rewriter, atom: Atom, axes: Ints) -> bool:
    """Whether `atom` is x - max(x), the maximum taken along `axes`."""
    difference = at.definition(atom, ops.subtract)
    if difference is None:
        return False
    spread = _repeated(at, difference.ins[1])
    if spread is None:
        return False
    largest = at.definition(_bare_maximum(at, spread[0]), reduce.max)
    if largest is None or largest.ins[0] != difference.ins[0]:
        return False
    taken, summed = (_longer_than_one(atom, a) for a in (largest.attrs["axes"], axes))
    return taken == summed == spread[1]


def _longer_than_one(atom: Atom, axes: Ints) -> Ints:
    return tuple(axis for axis in axes if atom.type.shape[axis] != 1)


def _bare_maximum(at: Rewriter, atom: Atom) -> Atom:
    """Without the guard and the `stop_gradient` that `log_of_sum_of_exp` puts around it."""
    guarded = at.definition(atom, ops.where)
    atom = atom if guarded is None else guarded.ins[1]
    stopped = at.definition(atom, ops.stop_gradient)
    return atom if stopped is None else stopped.ins[0]


def _repeated(at: Rewriter, atom: Atom) -> tuple[Atom, Ints] | None:
    """The value that a broadcast repeats, and the axes along which it does."""
    spread = at.definition(atom, shape.broadcast)
    if spread is None:
        return None
    source, axes = spread.ins[0], spread.attrs["axes"]
    kept = {
        axis
        for axis, size in zip(axes, source.type.shape, strict=True)
        if size == atom.type.shape[axis] and size != 1
    }
    repeated = tuple(
        axis for axis, size in enumerate(atom.type.shape) if axis not in kept and size != 1
    )
    return _unit_reshaped(at, source), repeated


def log_of_softmax(at: Rewriter, eqn: Eqn) -> Result:
    """log(exp(x) / sum(exp(x))) = x - log(sum(exp(x))): the quotient may underflow, x does not."""
    found = _softmax(at, at.definition(eqn.ins[0], ops.divide))
    if found is None:
        return None
    exponent, total, axes = found
    value = at.value(exponent)
    logarithm: Value = ops.log(at.value(total))
    return (value - reduce.spread(logarithm, value, axes)).atom


def _softmax(at: Rewriter, quotient: Eqn | None) -> tuple[Atom, Atom, Ints] | None:
    """x, sum(exp(x)) and the summed axes, of exp(x) / sum(exp(x))."""
    above = None if quotient is None else at.definition(quotient.ins[0], ops.exp)
    spread = None if quotient is None else _repeated(at, quotient.ins[1])
    if quotient is None or above is None or spread is None:
        return None
    total = at.definition(spread[0], reduce.sum)
    if total is None or total.ins[0] != quotient.ins[0]:
        return None
    axes = total.attrs["axes"]
    is_along = _longer_than_one(quotient.out, axes) == spread[1]
    return (above.ins[0], total.out, axes) if is_along else None


MOVES: tuple[Op, ...] = (shape.reshape, shape.transpose, shape.slice, shape.skew, index.take)
"""Ops that only read elements of their first operand."""


def log_of_moved_softmax(at: Rewriter, eqn: Eqn) -> Result:
    """log(softmax(x)[i]) = log(softmax(x))[i]: what is chosen from it, the form above makes."""
    chain: list[Eqn] = []
    atom = eqn.ins[0]
    while isinstance(atom, Var) and (moved := at.made.get(atom)) and moved.op in MOVES:
        chain.append(moved)
        atom = moved.ins[0]
    if not chain or _softmax(at, at.definition(atom, ops.divide)) is None:
        return None
    result = at.make(ops.log, atom)
    for moved in reversed(chain):
        result = at.make(moved.op, result, *moved.ins[1:], **moved.attrs)
    return result


def root_of_sum_of_squares(at: Rewriter, eqn: Eqn) -> Result:
    """sqrt(sum(x**2)) where the sum is not 0, else 0: the same value, with slope 0 at x = 0.

    A norm has a kink there; the quotient 0 / 0 of the chain rule would be NaN.
    """
    total = at.definition(_unit_reshaped(at, eqn.ins[0]), reduce.sum)
    if total is None or at.definition(total.ins[0], ops.square) is None:
        return None
    value = at.value(eqn.ins[0])
    is_zero = ops.equal(value, 0.0)
    safe = at.value(ops.where(is_zero, value.literal(1.0), value).atom)
    root = at.emit(OPS["sqrt"], (safe.atom,))[0]
    return ops.where(is_zero, value.literal(0.0), root).atom


STABLE = table(
    (
        *(identity(left, right) for left, right in FORMULAS),
        ("log", log_of_sum_of_exp),
        ("log", log_of_softmax),
        ("log", log_of_moved_softmax),
        ("sqrt", root_of_sum_of_squares),
    )
)
