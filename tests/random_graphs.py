"""Random graphs over every op, for property tests.

A graph is made from a list of numbers, a few for each instruction, so that hypothesis can shrink
it.  Interpreter and machine code must agree bit for bit on most values: sums and products of
floats are of small whole numbers, where rounding cannot depend on the order, and what is only
right within some ULP (`rough`) is moved around and returned, but not computed with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from running import op
from specs import ELEMENTWISE, INT, draw
from specs import WIDE as FLOAT

from graphc.build import Builder, Value
from graphc.ir import OPS, Graph, Type
from graphc.ops import elementwise as ew
from graphc.runtime.sizes import is_symbolic, same

EVERY = (*FLOAT, *INT, "bool")
"""Not the floats of 16 bits, of which a kernel rounds fewer than an interpreter."""

MAX_SIZE = 400

Recipe = list[tuple[int, int, int]]
"""One instruction: which, on what, and how."""

NUMBERS = st.integers(0, 2**16)
INSTRUCTIONS = st.tuples(NUMBERS, NUMBERS, NUMBERS)


@st.composite
def recipes(draw: Callable, longest: int = 16) -> Recipe:
    return draw(st.lists(INSTRUCTIONS, min_size=1, max_size=longest))


SHAPES = [(), (1,), (7,), (17,), (3, 5), (1, 17), (17, 1), (4, 4), (2, 3, 5), (0,), (2, 0), (33,)]


def types(numbers: Sequence[int], shapes: Sequence[Any] = SHAPES) -> list[Type]:
    """Parameter types; equal types are common, so that values meet."""
    return [Type(EVERY[n % len(EVERY)], shapes[n // len(EVERY) % len(shapes)]) for n in numbers]


@dataclass
class Pool:
    """The values of one graph under construction."""

    builder: Builder
    values: list[Value] = field(default_factory=list)
    rough: set[object] = field(default_factory=set)

    def add(self, value: Value, *sources: Value) -> Value:
        self.values.append(value)
        if any(source.atom in self.rough for source in sources):
            self.rough.add(value.atom)
        return value

    def pick(self, number: int, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """A value that fits; late ones are as likely as early ones."""
        found = [value for value in self.values if accept(value)]
        return found[number % len(found)] if found else None

    def partner(self, value: Value, number: int) -> Value:
        """A value of the same type and exactness, or a literal."""
        other = self.pick(number, lambda v: v.type == value.type and not self.is_rough(v))
        if other is not None and number % 4:
            return other
        floats, ints = [0.5, -2.0, 3.0, 0.0], [3, -1, 0, 7]
        kind = floats if value.dtype in FLOAT else ints if value.dtype in INT else [True, False]
        return value.literal(kind[number % len(kind)])

    def is_rough(self, value: Value) -> bool:
        return value.atom in self.rough

    def exact(self, number: int, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        return self.pick(number, lambda v: accept(v) and not self.is_rough(v))


def random_graph(
    param_numbers: Sequence[int],
    recipe: Recipe,
    out_numbers: Sequence[int],
    updates: bool = True,
    shapes: Sequence[Any] = SHAPES,
) -> Graph:
    """Parameters, the recipe's equations, and some of the values as results."""
    builder = Builder("random")
    pool = Pool(builder, [builder.param(type) for type in types(param_numbers, shapes)])
    params = list(pool.values)
    run_recipe(pool, recipe)
    outs = [pool.values[-1], *(pool.values[n % len(pool.values)] for n in out_numbers)]
    if out_numbers and out_numbers[0] % 5 == 0:
        outs.append(outs[0].literal(1))
    pairs = _updates(params, outs) if updates else ()
    return builder.finish([out.atom for out in outs], pairs)


def _updates(params: list[Value], outs: list[Value]) -> list[tuple[int, int]]:
    """Some results update parameters of their type, each at most once."""
    pairs = []
    free = set(range(len(params)))
    for j, out in enumerate(outs):
        fits = [i for i in sorted(free) if params[i].type == out.type]
        if fits and j % 2 == 0:
            pairs.append((fits[j % len(fits)], j))
            free.discard(fits[j % len(fits)])
    return pairs


def arguments(graph: Graph, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [draw(param.type, "special" if seed % 3 else "plain", rng) for param in graph.params]


def is_rough(graph: Graph) -> bool:
    """Whether machine code may differ from the interpreter in the last places."""
    names = {name for name, row in ELEMENTWISE.items() if row[2] == "ulp"}
    return any(name in str(graph) for name in names)


# ---- instructions --------------------------------------------------------------------------------


def run_recipe(pool: Pool, recipe: Recipe, depth: int = 0) -> None:
    for which, a, b in recipe:
        STEPS[which % len(STEPS)](pool, a, b, depth)


def _elementwise(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a)
    if x is None:
        return
    names = [name for name in ELEMENTWISE if _takes(name, x.dtype)]
    name = names[b % len(names)]
    arity, _, error, _ = ELEMENTWISE[name]
    ins = [x, pool.partner(x, b // 7)][:arity]
    if b % 2:
        ins.reverse()
    if name == "power":
        ins[-1] = ins[-1].literal(b % 4)
    out = op(name)(*ins)
    if error == "zeros" and x.dtype in FLOAT:  # either zero may come: leave one
        out = out + 0.0
    pool.add(out)
    if error == "ulp":
        pool.rough.add(out.atom)


def _takes(name: str, dtype: str) -> bool:
    return dtype in ELEMENTWISE[name][1] or (name == "power" and dtype in INT)


def _where(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a)
    if x is not None:
        y = pool.partner(x, b)
        pool.add(ew.where(ew.less(x, pool.partner(x, a + b)), x, y), x, y)


def _cast(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a)
    if x is not None:
        dtype = EVERY[b % len(EVERY)]
        # Of a float that no u32 is, NumPy makes one thing in short arrays and another in long ones.
        pool.add(ew.cast(x, dtype="u64" if dtype == "u32" and x.dtype in FLOAT else dtype))


def _tame(x: Value) -> Value:
    """Whole numbers from -2 to 2: sums of them are exact."""
    whole = x if x.dtype in INT else op("round")(x)
    return ew.minimum(ew.maximum(whole, -2), 2) + 0


def _reduce(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a, lambda v: len(v.shape) > 0)
    if x is None:
        return
    names = ["any", "all", "max", "min"] if x.dtype == "bool" else ["sum", "prod", "max", "min"]
    name = names[b % 4]
    axes = tuple(i for i in range(len(x.shape)) if b >> (2 + i) & 1)
    if name in ("max", "min") and any(x.shape[i] == 0 for i in axes):
        return
    if name in ("sum", "prod") and x.dtype in FLOAT:
        x = ew.sign(x) if name == "prod" else _tame(x)
    out = op(name)(x, axes=axes)
    if out.dtype in FLOAT:
        out = out + 0.0
    pool.add(out)


def _position(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a, lambda v: 0 not in v.shape and len(v.shape) > 0)
    if x is not None:
        pool.add(op(("argmax", "argmin")[b % 2])(x, axis=b // 2 % len(x.shape)))


def _normalise(pool: Pool, a: int, b: int, depth: int) -> None:
    """A row minus its maximum: the beginning of a softmax."""
    x = pool.exact(a, lambda v: 0 not in v.shape and len(v.shape) > 0 and v.dtype in FLOAT)
    if x is None:
        return
    axis = b % len(x.shape)
    kept = tuple(i for i in range(len(x.shape)) if i != axis)
    top = op("max")(x, axes=(axis,)) + 0.0
    moved = x - op("broadcast")(top, shape=x.shape, axes=kept)
    pool.add(moved)
    pool.rough.add(pool.add(ew.exp(moved)).atom)


def _transpose(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a)
    rank = len(x.shape)
    axes = tuple(np.roll(np.arange(rank), b % max(rank, 1)).tolist())
    pool.add(op("transpose")(x, axes=axes), x)


def _reshape(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a)
    size = x.type.size
    choices = [(size,), (1, *x.shape), (*x.shape, 1), tuple(n for n in x.shape if not same(n, 1))]
    if isinstance(size, int):  # a symbolic one has no such factors
        choices += [(n, size // n) for n in (2, 3, 5) if size % n == 0]
    pool.add(op("reshape")(x, shape=choices[b % len(choices)]), x)


def _broadcast(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a)
    size, rank = (3, 1, 8, 2)[b % 4], len(x.shape)
    if x.type.size * size > MAX_SIZE:
        return
    at = b // 4 % (rank + 1)
    shape = (*x.shape[:at], size, *x.shape[at:])
    axes = tuple(i + (i >= at) for i in range(rank))
    pool.add(op("broadcast")(x, shape=shape, axes=axes), x)


def _window(shape: tuple[int, ...], b: int) -> tuple[tuple[int, ...], ...]:
    """Starts, sizes and steps of a part of each axis."""
    rows = []
    for i, n in enumerate(shape):
        choices = [(0, n, 1), (n - 1, n, -1)]
        if isinstance(n, int):
            choices += [(0, (n + 1) // 2, 2), (n - 1, (n + 1) // 2, -2)]
        choices += [(1, n - 1, 1), (0, n - 1, 1)] if n > 1 else []
        rows.append(choices[(b >> 2 * i) % len(choices)] if n else (0, 0, 1))
    starts, sizes, steps = zip(*rows, strict=True) if rows else ((), (), ())
    return starts, sizes, steps


def _slice(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a)
    starts, sizes, steps = _window(x.shape, b)
    pool.add(op("slice")(x, starts=starts, sizes=sizes, steps=steps), x)


def _skew(pool: Pool, a: int, b: int, depth: int) -> None:
    """Windows along an axis, or along the other way what was repeated for it."""
    x = pool.pick(a, lambda v: len(v.shape) > 0 and v.type.size * 3 <= MAX_SIZE)
    if x is None:
        return
    axis = b % len(x.shape)
    size = 1 + b // 3 % 3
    if not isinstance(x.shape[axis], int) or x.shape[axis] < size:
        return
    rank = len(x.shape)
    repeated = op("broadcast")(x, shape=(*x.shape, size), axes=tuple(range(rank)))
    pool.add(op("skew")(repeated, axis=axis, by=rank, step=-1 if b & 64 else 1), x)


def _update_slice(pool: Pool, a: int, b: int, depth: int) -> None:
    """Part of one value goes to another place of a second."""
    x = pool.pick(a)
    y = pool.partner(x, b // 3) if not pool.is_rough(x) else x
    starts, sizes, steps = _window(x.shape, b)
    other = tuple(n - size if step == 1 else 0 for n, size, step in zip(x.shape, sizes, steps))
    ones = (1,) * len(sizes)
    part = op("slice")(
        y,
        starts=tuple(min(s, n - k) for s, n, k in zip(other, x.shape, sizes)),
        sizes=sizes,
        steps=ones,
    )
    pool.add(op("update_slice")(x, part, starts=starts, steps=steps), x, y)


def _pad(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a)
    low = tuple(b >> i & 1 for i in range(len(x.shape)))
    high = tuple(b >> i & 1 for i in range(3, 3 + len(x.shape)))
    value = 1.5 if x.dtype in FLOAT else 4 if x.dtype in INT else True
    if x.type.size * 4 <= MAX_SIZE:
        pool.add(op("pad")(x, low=low, high=high, value=value), x)


def _concatenate(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a, lambda v: len(v.shape) > 0 and v.type.size * 3 <= MAX_SIZE)
    if x is not None:
        parts = [x, pool.partner(x, b), x][: 1 + b % 3]
        pool.add(op("concatenate")(*parts, axis=b // 3 % len(x.shape)))


def _take(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.pick(a, lambda v: 0 not in v.shape and len(v.shape) > 0)
    at = pool.pick(b, lambda v: v.dtype in INT and len(v.shape) < 3)
    if x is None or at is None:
        return
    axis = b % len(x.shape)
    if x.type.size // x.shape[axis] * at.type.size <= MAX_SIZE:
        pool.add(op("take")(x, at, axis=axis), x)


def _pick(pool: Pool, a: int, b: int, depth: int) -> None:
    """One element of each row, at positions that may lie anywhere."""
    x = pool.pick(a, lambda v: 0 not in v.shape and len(v.shape) > 0)
    if x is None:
        return
    axis = b % len(x.shape)
    rows = (*x.shape[:axis], *x.shape[axis + 1 :])
    at = pool.pick(b, lambda v: v.dtype in INT and v.shape == rows)
    if at is None:
        emit, last = pool.builder.emit, len(rows) - 1
        at = pool.builder.literal(b % 3, Type("i64", rows))
        if rows:
            at = emit(op("iota"), (), {"shape": rows, "axis": last, "dtype": "i64"})[0]
    pool.add(op("pick")(x, at, axis=axis), x)


def _scatter(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a, lambda v: 0 not in v.shape and len(v.shape) > 0 and v.dtype != "bool")
    at = pool.pick(b, lambda v: v.dtype in INT and len(v.shape) < 3)
    if x is None or at is None:
        return
    axis = b % len(x.shape)
    if x.type.size // x.shape[axis] * at.type.size <= MAX_SIZE:
        values = op("take")(_tame(x), at, axis=axis)
        pool.add(op("scatter_add")(_tame(x), at, values, axis=axis))


def _iota(pool: Pool, a: int, b: int, depth: int) -> None:
    shape = pool.pick(a).shape or (3,)
    attrs = {"shape": shape, "axis": b % len(shape), "dtype": (*INT, *FLOAT)[b // 3 % 4]}
    (value,) = pool.builder.emit(OPS["iota"], (), attrs)
    pool.add(value)


def _constant(pool: Pool, a: int, b: int, depth: int) -> None:
    type = pool.pick(a).type
    if is_symbolic(type.shape):
        return
    pool.add(pool.builder.constant(draw(type, "plain", np.random.default_rng(b))))


def _matmul(pool: Pool, a: int, b: int, depth: int) -> None:
    x = pool.exact(a, lambda v: len(v.shape) >= 2 and v.dtype != "bool")
    if x is None or x.type.size * x.shape[-2] > MAX_SIZE * 4:
        return
    x = _tame(x)
    rank = len(x.shape)
    turned = op("transpose")(x, axes=(*range(rank - 2), rank - 1, rank - 2))
    other = turned.literal(2) if b % 5 == 0 else turned
    product = op("matmul")(x, other)
    pool.add(ew.maximum(product, 1) + 0 if b % 2 else product)


def _check(pool: Pool, a: int, b: int, depth: int) -> None:
    """A check that holds for most arguments, but not for all."""
    x = pool.exact(a, lambda v: v.dtype in INT)
    if x is None or b % 3:
        return
    value = ew.cast(x, dtype="i64")
    error = ("IndexError", "ValueError")[a % 2]
    op("check")(ew.less(value, (9, 10**9)[b % 2]), value, error=error, message="no {value}")


def _cond(pool: Pool, a: int, b: int, depth: int) -> None:
    """A conditional over some values, whose branches are recipes of their own."""
    x = pool.exact(a)
    if x is None or depth > 2:
        return
    counted = op("sum")(ew.cast(x, dtype="i64"), axes=tuple(range(len(x.shape))))
    predicate = ew.less(counted, b % 3 - 1) if b % 11 else counted.builder.literal(True, BOOL)
    operands = [x, *(pool.values[(a * i + b) % len(pool.values)] for i in (1, 2))]
    rough = any(pool.is_rough(operand) for operand in operands)
    then = _branch(operands, _derived(a, b), None, depth + 1)
    wanted = [out.type for out in then.outs]
    otherwise = _branch(operands, _derived(b, a + 1), wanted, depth + 1)
    branches = {"then": then, "else": otherwise}
    outs = pool.builder.emit(OPS["cond"], [v.atom for v in (predicate, *operands)], branches)
    for out in outs:
        pool.add(out)
        if rough or is_rough(then) or is_rough(otherwise):
            pool.rough.add(out.atom)


BOOL = Type("bool")


def _derived(a: int, b: int) -> Recipe:
    rng = np.random.default_rng(a * 2**17 + b)
    return [tuple(map(int, rng.integers(0, 2**16, 3))) for _ in range(rng.integers(0, 6))]


def _branch(
    operands: Sequence[Value], recipe: Recipe, wanted: list[Type] | None, depth: int
) -> Graph:
    """A closed graph with two results, of the types that are wanted."""
    pool = Pool(Builder("branch"))
    pool.values = [pool.builder.param(operand.type) for operand in operands]
    run_recipe(pool, recipe, depth)
    if wanted is None:
        outs = [pool.values[-1], pool.values[len(pool.values) // 2]]
    else:
        outs = [_of_type(pool, type, i) for i, type in enumerate(wanted)]
    return pool.builder.finish([out.atom for out in outs])


def _of_type(pool: Pool, type: Type, number: int) -> Value:
    found = [value for value in pool.values if value.type == type]
    return found[-1 - number % len(found)] if found else pool.builder.literal(number, type)


STEPS = [
    _elementwise, _elementwise, _elementwise, _elementwise, _where, _cast, _reduce, _reduce,
    _normalise, _position, _transpose, _reshape, _broadcast, _broadcast, _slice, _skew,
    _update_slice, _pad, _concatenate, _take, _pick, _scatter, _iota, _constant, _matmul, _check,
    _cond, _cond,
]  # fmt: skip
