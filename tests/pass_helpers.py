"""What the tests of passes share: golden pairs, values to the bit, and random graphs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.build import Builder, Value
from graphc.equal import structurally_equal
from graphc.ir import FLOATS, INTS, OPS, Graph, Type, all_eqns
from graphc.passes.dce import eliminate_dead
from graphc.runtime.reference import evaluate
from graphc.text import parse
from graphc.verify import verify

GraphPass = Callable[[Graph], Graph]

FLOAT_VALUES = [0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 1e30, 1e-30, np.inf, -np.inf, np.nan, 3.0]
INT_VALUES = [0, 1, -1, 2, 7, -3, 2**31 - 1, -(2**31)]


def type_of(text: str) -> Type:
    """`f32[3]` as a `Type`."""
    return parse(f"graph g(%x: {text}) {{\n  return\n}}").params[0].type


def build(function: Callable[..., Any], *types: str) -> Graph:
    """The graph of a function of `Value`s."""
    builder = Builder("g")
    result = function(*(builder.param(type_of(text)) for text in types))
    results = result if isinstance(result, tuple) else (result,)
    return builder.finish([value.atom for value in results])


def rewrites(
    change: GraphPass,
    before: Callable[..., Any],
    after: Callable[..., Any],
    *types: str,
    ulps: int = 0,
) -> None:
    """`change` turns one function into exactly the other, and the values stay."""
    graph, expected = build(before, *types), build(after, *types)
    changed = eliminate_dead(change(graph))
    assert structurally_equal(changed, expected), f"\n{changed}\n{expected}"
    same_values(graph, changed, ulps=ulps)


def stays(change: GraphPass, function: Callable[..., Any], *types: str) -> None:
    """`change` leaves the function as it is."""
    rewrites(change, function, function, *types)


def op_names(graph: Graph) -> list[str]:
    return [eqn.op.name for eqn in all_eqns(graph)]


def arguments(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Arrays for the parameters, made of the numbers on which rewrites go wrong."""
    source = np.random.default_rng(seed)
    return [_values(source, param.type) for param in graph.params]


def _values(source: np.random.Generator, type: Type) -> np.ndarray:
    if type.dtype == "bool":
        return source.integers(0, 2, type.shape).astype(bool)
    values = FLOAT_VALUES if type.dtype in FLOATS else INT_VALUES
    return source.choice(np.array(values), type.shape).astype(type.numpy_dtype)


def same_values(graph: Graph, changed: Graph, seeds: int = 5, ulps: int = 0) -> None:
    """Both graphs are well formed and give the same results, to the bit unless `ulps` are given."""
    verify(changed)
    for seed in range(seeds):
        given = arguments(graph, seed)
        for a, b in zip(evaluate(graph, *given), evaluate(changed, *given), strict=True):
            assert_same(a, b, ulps)


def assert_same(a: np.ndarray, b: np.ndarray, ulps: int = 0) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.kind != "f":
        np.testing.assert_array_equal(a, b)
        return
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    a, b = np.nan_to_num(a, nan=1.0, posinf=np.inf, neginf=-np.inf), np.where(np.isnan(b), 1, b)
    if ulps and np.isfinite(a).all() and np.isfinite(b).all():
        np.testing.assert_array_max_ulp(a, b, ulps)
        return
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


# ---- random graphs -------------------------------------------------------------------------------

EXACT_OPS = {
    "float": "add subtract multiply divide negative abs square maximum minimum where equal less"
    " cast round sign reciprocal",
    "int": "add subtract multiply negative abs square maximum minimum where equal less cast"
    " bitwise_and bitwise_xor floor_divide mod",
    "bool": "logical_and logical_or logical_xor logical_not where equal cast",
}
SMALL = {"float": [0.0, -0.0, 1.0, -1.0, 2.0, 0.5], "int": [0, 1, -1, 2], "bool": [True, False]}
SHAPES = ["", "2,3", "1,3", "6"]


def random_graph(seed: int, size: int = 25, depth: int = 2) -> Graph:
    """A graph of ops that round the same way in whatever order they run."""
    return _Maker(random.Random(seed), depth).graph(size)


class _Maker:
    def __init__(self, source: random.Random, depth: int):
        self.source = source
        self.depth = depth

    def graph(self, size: int) -> Graph:
        builder = Builder("g")
        types = [type_of(f"{d}[{s}]") for d in ("f32", "f64", "i32", "i64", "bool") for s in SHAPES]
        values = [builder.param(type) for type in self.source.sample(types, 7)]
        values.append(builder.param(Type("bool")))
        self.grow(values, size)
        outs = self.source.sample(values, min(12, len(values)))
        return builder.finish([value.atom for value in outs])

    def grow(self, values: list[Value], size: int) -> None:
        for _ in range(size):
            pick = self.source.random()
            if pick < 0.15:
                made = self.moved(self.source.choice(values))
            elif pick < 0.25 and self.depth:
                made = self.conditional(values)
            else:
                made = self.elementwise(values)
            values.extend(made)

    def operand(self, values: list[Value], type: Type) -> Value:
        fitting = [value for value in values if value.type == type]
        if fitting and self.source.random() < 0.75:
            return self.source.choice(fitting)
        return values[0].builder.literal(self.source.choice(SMALL[_kind(type)]), type)

    def elementwise(self, values: list[Value]) -> list[Value]:
        x = self.source.choice(values)
        name = self.source.choice(EXACT_OPS[_kind(x.type)].split())
        unary = {"negative", "abs", "square", "round", "sign", "reciprocal", "logical_not"}
        if name == "cast":
            targets = ["f32", "f64", "bool"] if x.dtype in FLOATS else ["i32", "i64", "f64", "bool"]
            return [OPS["cast"](x, dtype=self.source.choice(targets))]
        if name == "where":
            mask = self.operand(values, x.type.with_dtype("bool"))
            return [OPS["where"](mask, x, self.operand(values, x.type))]
        if name in unary:
            return [OPS[name](x)]
        return [OPS[name](x, self.operand(values, x.type))]

    def moved(self, x: Value) -> list[Value]:
        rank = len(x.shape)
        choice = self.source.randrange(5)
        if choice == 0:
            return [OPS["reshape"](x, shape=self.source.choice(_same_size(x.type)))]
        if choice == 1:
            axes = tuple(self.source.sample(range(rank), rank))
            return [OPS["transpose"](x, axes=axes)]
        if choice == 2:
            shape = (2, *x.shape)
            spread = OPS["broadcast"](x, shape=shape, axes=tuple(range(1, rank + 1)))
            reduction = "all" if x.dtype == "bool" else "max"
            return [OPS[reduction](spread, axes=(0,))]
        if choice == 3 and rank:
            sizes = tuple(self.source.randint(1, n) for n in x.shape)
            window = {"starts": (0,) * rank, "sizes": sizes, "steps": (1,) * rank}
            part = OPS["slice"](x, **window)
            return [OPS["pad"](part, low=(0,) * rank, high=_gap(x.shape, sizes), value=_zero(x))]
        reduction = "any" if x.dtype == "bool" else "min"
        return [OPS[reduction](x, axes=tuple(range(rank)))]

    def conditional(self, values: list[Value]) -> list[Value]:
        operands = self.source.sample(values, min(4, len(values)))
        operands = [*operands, self.operand(values, Type("f64", (6,)))]
        wanted = [self.source.choice(operands).type for _ in range(3)]
        branches = {name: self.branch(operands, wanted) for name in ("then", "else")}
        predicate = self.operand(values, Type("bool"))
        atoms = [value.atom for value in (predicate, *operands)]
        return list(values[0].builder.emit(OPS["cond"], atoms, branches))

    def branch(self, operands: Sequence[Value], wanted: Sequence[Type]) -> Graph:
        builder = Builder("branch")
        values = [builder.param(operand.type) for operand in operands]
        inner = _Maker(self.source, self.depth - 1)
        inner.grow(values, 4)
        return builder.finish([inner.operand(values, type).atom for type in wanted])


def _kind(type: Type) -> str:
    return "float" if type.dtype in FLOATS else "int" if type.dtype in INTS else "bool"


def _zero(x: Value) -> Any:
    return SMALL[_kind(x.type)][0] if x.dtype != "bool" else False


def _gap(shape: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(n - size for n, size in zip(shape, sizes, strict=True))


def _same_size(type: Type) -> list[tuple[int, ...]]:
    n = type.size
    return [(n,), (1, n), (n, 1), type.shape, (1, *type.shape)]
