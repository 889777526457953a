"""Simplification: every equation replaced by an equal one that costs less.

Before:  b = multiply(x, 1.0); c = reshape(b, (1, 8)); d = broadcast(c, (64, 8)); e = power(d, 2.0)
After:   d = broadcast(x, (64, 8)); e = square(d)

Sound row by row: `rules.py` holds the algebra, `movement.py` the rules of views and windows, and
below are those of conditionals.  Results are equal to the bit except where a row says otherwise.
"""

from __future__ import annotations

from types import MappingProxyType

from graphc.ir import Atom, Eqn, Graph, Lit, Var, has_effect
from graphc.ops import elementwise, shape
from graphc.passes.fold import FOLDING
from graphc.passes.movement import MOVEMENT
from graphc.passes.products import PRODUCTS
from graphc.passes.reshaped_products import RESHAPED_PRODUCTS
from graphc.passes.rewrite import Result, Rewriter, Rule, rewrite, table
from graphc.passes.rules import ALGEBRA
from graphc.passes.window_sums import WINDOW_SUMS


def simplify(graph: Graph) -> Graph:
    """`graph` by the rules of the table; what they make literal is folded on the way."""
    return rewrite(graph, RULES)


# ---- conditionals --------------------------------------------------------------------------------

Choice = tuple[Atom, Atom]
"""What a result of a conditional is if the predicate holds and if not, in terms of its operands."""


def select_instead_of_branch(at: Rewriter, eqn: Eqn) -> Result:
    """Results of a `cond` that no branch computes leave it.

    Before:  y, z = cond(p, x) then(a) { return a, exp(a) } else(b) { return 0.0, b }
    After:   z = cond(p, x) then(a) { return exp(a) } else(b) { return b }; y = where(p, x, 0.0)

    Sound because nothing is computed in a branch, so nothing is moved out of one.  Two different
    operands stay: a branch that chooses between two arrays copies one, `where` reads both.
    """
    then, otherwise = (_as_operands(eqn, eqn.attrs[name]) for name in ("then", "else"))
    choices = [_choice(*pair) for pair in zip(then, otherwise, strict=True)]
    if all(choice is None for choice in choices):
        return None
    stay = [i for i, choice in enumerate(choices) if choice is None]
    rest = dict(zip(stay, _with_results(at, eqn, stay), strict=True))
    results = []
    for i, choice in enumerate(choices):
        at.hint = eqn.outs[i].hint
        results.append(rest[i] if choice is None else _select(at, eqn.ins[0], choice))
    return tuple(results)


def _as_operands(eqn: Eqn, branch: Graph) -> list[Atom | None]:
    """Each result of a branch as an operand of `eqn` or a literal; None where it is computed."""
    operands = dict(zip(branch.params, eqn.ins[1:], strict=True))
    return [operands.get(out) if isinstance(out, Var) else out for out in branch.outs]


def _choice(then: Atom | None, otherwise: Atom | None) -> Choice | None:
    if then is None or otherwise is None:
        return None
    is_cheap = then == otherwise or isinstance(then, Lit) or isinstance(otherwise, Lit)
    return (then, otherwise) if is_cheap else None


def _with_results(at: Rewriter, eqn: Eqn, positions: list[int]) -> tuple[Atom, ...]:
    """The conditional with fewer results, or none at all if nothing is left for it to do."""
    if not positions and not has_effect(eqn):
        return ()
    branches = {
        name: eqn.attrs[name].replace(outs=tuple(eqn.attrs[name].outs[i] for i in positions))
        for name in ("then", "else")
    }
    outs = tuple(eqn.outs[i] for i in positions)
    return at.add(eqn.replace(outs=outs, attrs=MappingProxyType(branches)))


def _select(at: Rewriter, predicate: Atom, choice: Choice) -> Atom:
    type = choice[0].type
    mask = at.make(shape.broadcast, predicate, shape=type.shape, axes=())
    return at.make(elementwise.where, mask, *choice)


CONDITIONALS: tuple[tuple[str, Rule], ...] = (("cond", select_instead_of_branch),)

RULES = table(
    (*FOLDING, *ALGEBRA, *MOVEMENT, *PRODUCTS, *RESHAPED_PRODUCTS, *WINDOW_SUMS, *CONDITIONALS)
)
