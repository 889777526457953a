"""Run a graph both ways, interpreted and compiled, and compare the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc.ops  # noqa: F401 - fills OPS
from graphc.build import Builder, Value
from graphc.equal import structurally_equal
from graphc.ir import DTYPE_NAMES, FLOATS, OPS, Eqn, Graph, Type, subgraphs
from graphc.passes.fuse import fuse
from graphc.passes.join import join
from graphc.passes.lower import lower
from graphc.passes.narrow import keep_wide, narrow_arithmetic
from graphc.passes.row_blocks import fuse_rows
from graphc.runtime.reference import evaluate
from graphc.runtime.step import Step
from graphc.text import parse
from graphc.verify import verify

Arrays = Sequence[np.ndarray]


def op(name: str) -> Any:
    """An op by name, to be called on values."""
    return OPS[name]


def build(types: Sequence[Type], make: Callable[..., Any], name: str = "main") -> Graph:
    """The graph of `make`, a function of values that returns a value or a tuple of them."""
    builder = Builder(name)
    made = make(*(builder.param(type) for type in types))
    outs = made if isinstance(made, (tuple, list)) else (made,)
    return builder.finish([out.atom for out in outs])


def branch(types: Sequence[Type], make: Callable[..., Any]) -> Graph:
    return build(types, make, "branch")


def cond(
    predicate: Value,
    operands: Sequence[Value],
    then: Callable[..., Any],
    otherwise: Callable[..., Any],
) -> Any:
    """A conditional whose branches are functions of the operands."""
    types = [operand.type for operand in operands]
    branches = {"then": branch(types, then), "else": branch(types, otherwise)}
    return predicate.builder.apply(OPS["cond"], (predicate, *operands), branches)


def fused(graph: Graph) -> Graph:
    """The graph as the runtime gets it, with the text round trip and every rule checked."""
    result = keep_wide(join(fuse_rows(fuse(lower(narrow_arithmetic(graph))))))
    verify(result)
    assert structurally_equal(parse(str(result)), result)
    return result


def compiled(graph: Graph) -> Callable[..., list[np.ndarray]]:
    """Machine code: all results of `graph` for arguments, which are copied first."""
    step = make_step(fused(graph))
    return lambda *arrays: all_results(step, graph, arrays)


def make_step(graph: Graph) -> Step:
    """The executable of a fused graph; with `--target cuda`, one for the device."""
    return Step(graph)


def all_results(step: Step, graph: Graph, arrays: Arrays) -> list[np.ndarray]:
    """The results in order, those that update a parameter among them."""
    own = [np.array(array, order="C") for array in arrays]
    fresh = iter(step(own))
    updates = {result: param for param, result in graph.updates}
    for param, result in graph.updates:  # one result may be the new value of several parameters
        assert_same(own[param], own[updates[result]])
    return [own[updates[j]] if j in updates else next(fresh) for j in range(len(graph.outs))]


def kernels(graph: Graph) -> list[Eqn]:
    """The fused equations of a graph, those in branches too."""
    found = []
    for eqn in graph.eqns:
        if eqn.op is OPS["fused"]:
            found.append(eqn)
        else:
            for _, inner in subgraphs(eqn):
                found += kernels(inner)
    return found


def interpret(graph: Graph, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return evaluate(graph, *arrays)


# ---- comparing -----------------------------------------------------------------------------------


def assert_same(got: np.ndarray, expected: np.ndarray, what: object = "") -> None:
    """Equal bit for bit, with every NaN equal to every other."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    same = got == expected
    if DTYPE_NAMES[got.dtype] in FLOATS:
        same = same & (np.signbit(got) == np.signbit(expected)) | np.isnan(got) & np.isnan(expected)
    _explain(same, got, expected, what)


def assert_ulps(got: np.ndarray, expected: np.ndarray, ulps: float, what: object = "") -> None:
    """Within `ulps` units in the last place; zeros, infinities and NaN in the same places."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(got), np.abs(expected)))
        same = (np.abs(got - expected) <= ulps * unit) | (got == expected)
    same |= np.isnan(got) & np.isnan(expected)
    _explain(same, got, expected, what)


def assert_within(
    got: np.ndarray, expected: np.ndarray, bound: np.ndarray, what: object = ""
) -> None:
    """Within an absolute bound for each element; equal where one is not finite."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    with np.errstate(all="ignore"):
        same = (np.abs(got - expected) <= bound) | (got == expected)
    same |= np.isnan(got) & np.isnan(expected)
    _explain(same, got, expected, what)


def _explain(same: np.ndarray, got: np.ndarray, expected: np.ndarray, what: object) -> None:
    if np.all(same):
        return
    wrong = np.argwhere(~np.asarray(same))
    shown = [(tuple(map(int, i)), got[tuple(i)], expected[tuple(i)]) for i in wrong[:4]]
    raise AssertionError(f"{what}: {len(wrong)} of {got.size} differ (at, got, expected): {shown}")
