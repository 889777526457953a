"""`while_loop` and `scan`: loops over trees of values, spelled out.

In a traced function each becomes one loop of the graph.  Outside of one they are Python loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.custom import checkpoint
from graphc.dims import same
from graphc.ir import Graph, Type, Var
from graphc.ops import control as ops
from graphc.trace import control, tree
from graphc.trace.branches import truth
from graphc.trace.promotion import cast_to
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.sizes import as_size
from graphc.trace.trace import Inner, trace_inner
from graphc.trace.tracer import Tracer, lift, wrap


def while_loop(
    test: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    keep_every: int | None = None,
) -> Any:
    """`state = init`, then `state = body(state)` while `test(state)`; the last state.

    The explicit spelling of what a `while` on traced values becomes.  A state is a tree of arrays
    and numbers; `body` returns one of the same structure, shapes and dtypes.  A Python number in
    `init` takes the dtype that `body` gives it.

    Reverse mode keeps what it needs of each iteration, in memory that grows while the loop runs.
    With `keep_every=k` it keeps the state of every k-th iteration, and computes the others again.

    Raises `graphc.errors.CarriedTypeError` if `body` returns a state of another structure or type.

    >>> import numpy as np, graphc as gc
    >>> halve = lambda x: gc.while_loop(lambda x: np.max(x) > 1.0, lambda x: x / 2, x)
    >>> gc.compile(halve)(np.array([4.0, 2.0]))
    array([1. , 0.5])
    """
    test, body = control.converted(test), control.converted(body)
    if not is_tracing():
        state = _copied(init)
        while test(state):
            state = body(state)
        return state
    if keep_every is not None:
        return _sparse_while(test, body, init, _expect_period(keep_every))
    start = _State.of(init, "while_loop: init")

    def step(copies: list[Tracer]) -> Any:
        return body(start.tree_of(copies))

    inner = _until_stable(start, [], step, "while_loop: body")
    inputs = start.inputs()
    tested = trace_inner("test", inputs, lambda copies: _predicate(test(start.tree_of(copies))))
    _refuse_writes(inner, "while_loop: body")
    _refuse_writes(tested, "while_loop: test")
    count = len(inputs)
    constants = _constants([inner, tested], count)
    attrs = {
        "carried": count,
        "test": _with_constants(tested, count, 1, constants),
        "body": _with_constants(inner, count, count, constants),
    }
    operands = [*(x.value() for x in inputs), *constants]
    outs = current().builder.emit(ops.while_, [value.atom for value in operands], attrs)
    return start.tree_of(start.results(outs))


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    keep_every: int | str | None = None,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each x along the first axis of `xs`; the last carry, all ys.

    init     the first carry, a tree of arrays and numbers; `f` returns one of the same structure,
             shapes and dtypes.  A Python number takes the dtype that `f` gives it.
    xs       a tree of arrays with first axes of one length, or None: then `length` says how often
             `f` runs, with None for x
    reverse  from the last x to the first; the ys lie in the order of the xs all the same

    The ys, trees of one structure and of equal types, are stacked along a new first axis.

    Reverse mode keeps what it needs of each iteration.  With `keep_every=k` it keeps the carry of
    every k-th iteration, and computes the others again, k at a time; with `keep_every="sqrt"` k is
    about the square root of the length, which takes the least memory.  `explain` says how much.

    Raises `graphc.errors.CarriedTypeError` if `f` returns a carry of another structure or type, and
    `graphc.errors.ArgumentError` if the lengths differ or none is given.

    >>> import numpy as np, graphc as gc
    >>> total, sums = gc.scan(lambda s, x: (s + x, s + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(total), sums
    (6.0, array([1., 3., 6.]))
    """
    leaves, structure = tree.flatten(xs)
    count = _length_of(leaves, length)
    f = control.converted(f)
    if not is_tracing():
        return _scan_now(f, init, (leaves, structure), count, reverse)
    if keep_every is not None:
        period = math.isqrt(count) if keep_every == "sqrt" else _expect_period(keep_every)
        if 1 < period < count:
            return _sparse_scan(f, init, xs, count, reverse, period)
    start = _State.of(init, "scan: init")
    sequences = [lift(leaf) for leaf in leaves]
    slices = [_placeholder(Type(x.dtype_name, x.shape[1:])) for x in sequences]
    returned: list[tree.Structure] = []

    def step(copies: list[Tracer]) -> Any:
        carry = start.tree_of(copies[1 : 1 + len(start.leaves)])
        x = tree.unflatten(structure, copies[1 + len(start.leaves) :])
        following, y = _pair(f(carry, x))
        returned[:] = [tree.flatten(y)[1]]
        return _Both(following, y)

    index = _placeholder(Type("i64"))
    inner = _until_stable(start, slices, step, "scan: f", index)
    _refuse_writes(inner, "scan: f")
    inputs = start.inputs()
    given = 1 + len(inputs) + len(slices)
    constants = _constants([inner], given)
    results = len(inner.graph.outs) - len(inner.changed)
    attrs = {
        "carried": len(inputs),
        "sequences": len(sequences),
        "length": count,
        "reverse": bool(reverse),
        "body": _with_constants(inner, given, results, constants),
    }
    operands = [*(x.value() for x in (*inputs, *sequences)), *constants]
    outs = current().builder.emit(ops.scan, [value.atom for value in operands], attrs)
    carry = start.tree_of(start.results(outs))
    return carry, tree.unflatten(returned[0], [wrap(out) for out in outs[len(inputs) :]])


# ---- loops that keep less for their gradient -----------------------------------------------------


def _expect_period(keep_every: Any) -> int:
    if isinstance(keep_every, bool) or not isinstance(keep_every, int) or keep_every < 1:
        raise errors.ArgumentError(
            f"keep_every={keep_every!r}: a number of iterations from 1 upwards, or, for a scan,"
            ' "sqrt"',
            user_loc(),
        )
    return keep_every


def _sparse_while(
    test: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, period: int
) -> Any:
    """A loop of loops of at most `period` iterations, each of which is computed again."""

    def block(state: Any) -> Any:
        more = lambda s: np.logical_and(s[0] < period, test(s[1]))  # noqa: E731
        step = lambda s: (s[0] + 1, body(s[1]))  # noqa: E731
        return while_loop(more, step, (0, state))[1]

    return while_loop(test, checkpoint(block), init)


def _sparse_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int,
    reverse: bool,
    period: int,
) -> tuple[Any, Any]:
    """A scan of scans of `period` iterations, each of which is computed again.

    The iterations that are left over come last: at the end, or, in reverse, at the beginning.
    """
    rest = length % period
    blocks, first = (length - rest) // period, rest if reverse else 0
    main = tree.map_leaves(
        lambda x: lift(x)[first : first + length - rest].reshape((blocks, period, *x.shape[1:])), xs
    )
    block = checkpoint(lambda carry, x: scan(f, carry, x, length=period, reverse=reverse))
    carry, ys = scan(block, init, main, length=blocks, reverse=reverse)
    ys = tree.map_leaves(lambda y: y.reshape((length - rest, *y.shape[2:])), ys)
    if not rest:
        return carry, ys
    left = tree.map_leaves(lambda x: lift(x)[:rest] if reverse else lift(x)[length - rest :], xs)
    tail = checkpoint(lambda carry, x: scan(f, carry, x, length=rest, reverse=reverse))
    carry, last = tail(carry, left)
    parts = zip(tree.flatten(ys)[0], tree.flatten(last)[0], strict=True)
    joined = [np.concatenate(pair[::-1] if reverse else pair) for pair in parts]
    return carry, tree.unflatten(tree.flatten(ys)[1], joined)


# ---- outside of a trace --------------------------------------------------------------------------


def _copied(value: Any) -> Any:
    """The tree with its arrays copied: a body may assign to the state in place."""
    return tree.map_leaves(lambda x: x.copy() if isinstance(x, np.ndarray) else x, value)


def _scan_now(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: tuple[list[Any], tree.Structure],
    length: int,
    reverse: bool,
) -> tuple[Any, Any]:
    leaves = [np.asarray(leaf) for leaf in xs[0]]
    carry = _copied(init)
    rows: list[list[Any]] = []
    structure: tree.Structure = tree.flatten(None)[1]
    for i in reversed(range(length)) if reverse else range(length):
        carry, y = _pair(f(carry, tree.unflatten(xs[1], [leaf[i] for leaf in leaves])))
        row, structure = tree.flatten(y)
        rows.append([np.array(leaf) for leaf in row])
    if reverse:
        rows.reverse()
    return carry, tree.unflatten(
        structure, [np.stack(column) for column in zip(*rows, strict=True)]
    )


# ---- what is carried -----------------------------------------------------------------------------


@dataclass
class _State:
    """The values that a loop carries, and the structure in which the user sees them."""

    leaves: list[Tracer]
    structure: tree.Structure
    what: str

    @classmethod
    def of(cls, init: Any, what: str) -> _State:
        leaves, structure = tree.flatten(init)
        return cls([lift(leaf) for leaf in leaves], structure, what)

    def tree_of(self, leaves: Sequence[Any]) -> Any:
        return tree.unflatten(self.structure, list(leaves))

    def inputs(self) -> list[Tracer]:
        return self.leaves

    def results(self, outs: Sequence[Value]) -> list[Tracer]:
        return [wrap(out, x.weak) for out, x in zip(outs, self.leaves, strict=False)]

    def grown(self, after: Sequence[Tracer]) -> bool:
        """Give Python numbers the dtypes that an iteration left; whether any changed."""
        changed = False
        for i, (before, new) in enumerate(zip(self.leaves, after, strict=True)):
            if not before.weak or (new.dtype_name == before.dtype_name and new.weak):
                continue
            if new.shape == before.shape:
                self.leaves[i] = wrap(cast_to(before.value(), new.dtype_name), new.weak)
                changed = True
        return changed

    def expect(self, after: Sequence[Tracer], what: str) -> None:
        for before, new in zip(self.leaves, after, strict=True):
            if before.type != new.type:
                raise errors.CarriedTypeError(
                    f"{what} turns a carried value of {before.type} into {new.type}; a carried"
                    " value keeps its shape and dtype: convert one of them (.astype, .reshape)",
                    user_loc(),
                )


class _Both(tuple[Any, Any]):
    """A state and further results, as an iteration returns them."""

    def __new__(cls, state: Any, rest: Any) -> _Both:
        return super().__new__(cls, (state, rest))


def _until_stable(
    start: _State,
    slices: list[Tracer],
    step: Callable[[list[Tracer]], Any],
    what: str,
    index: Tracer | None = None,
) -> Inner:
    """The body, traced again while the dtypes of Python numbers in the state grow."""

    def run(copies: list[Tracer]) -> list[Tracer]:
        returned = step(copies)
        state, rest = returned if isinstance(returned, _Both) else (returned, None)
        leaves, structure = tree.flatten(state)
        if structure != start.structure:
            raise errors.CarriedTypeError(
                f"{what} returns a state of another structure than it is given; return"
                " the same containers, with the same keys",
                user_loc(),
            )
        after[:] = [lift(leaf) for leaf in leaves]
        return [*after, *(lift(leaf) for leaf in tree.flatten(rest)[0])]

    after: list[Tracer] = []
    first = [] if index is None else [index]
    inner = trace_inner("body", [*first, *start.leaves, *slices], run)
    while start.grown(after):
        inner = trace_inner("body", [*first, *start.leaves, *slices], run)
    start.expect(after, what)
    return inner


def _placeholder(type: Type) -> Tracer:
    """Something of a type, to trace with."""
    zero = False if type.dtype == "bool" else 0
    return wrap(current().builder.literal(zero, type))


def _predicate(value: Any) -> Tracer:
    x = lift(value)
    return wrap(truth(x))


def _pair(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise errors.ArgumentError(
            "scan: f returns a pair (carry, y); where there is no y, return (carry, None)",
            user_loc(),
        )
    return returned


def _length_of(leaves: Sequence[Any], length: Any) -> Any:
    shapes = [np.shape(leaf) for leaf in leaves]
    if any(not shape for shape in shapes):
        raise errors.ArgumentError(
            "scan: xs holds a number; its leaves are arrays, read along their first axis",
            user_loc(),
        )
    given = [shape[0] for shape in shapes] + ([] if length is None else [length])
    lengths = [as_size(size) for size in given]
    if not lengths or not all(same(size, lengths[0]) for size in lengths):
        found = f"lengths {sorted(set(lengths))}" if lengths else "neither xs nor length"
        raise errors.ArgumentError(
            f"scan: got {found}; give xs whose first axes are equal (and equal to length)",
            user_loc(),
        )
    return lengths[0]


def _refuse_writes(inner: Inner, what: str) -> None:
    if inner.writes:
        raise errors.ArgumentError(
            f"{what} assigns to an array of the function around it; make it part of the state and"
            " return it",
            user_loc(),
        )


# ---- closed graphs -------------------------------------------------------------------------------


def _constants(parts: Sequence[Inner], given: int) -> list[Value]:
    """What the traced parts read beside their first `given` parameters, each once."""
    atoms = {value.atom: value for inner in parts for value in inner.operands[given:]}
    return list(atoms.values())


def _with_constants(inner: Inner, given: int, results: int, constants: Sequence[Value]) -> Graph:
    """The graph with a parameter for each of `constants`, and its first `results` results."""
    own = dict(
        zip(
            (value.atom for value in inner.operands[given:]),
            inner.graph.params[given:],
            strict=True,
        )
    )
    params = [own.get(value.atom) or Var(value.type) for value in constants]
    return inner.graph.replace(
        params=(*inner.graph.params[:given], *params), outs=inner.graph.outs[:results]
    )
