"""Functions whose gradient is not taken as it comes: recomputed, or given by the user."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphc import errors
from graphc.build import Builder, Value, zero_of
from graphc.ir import INEXACT, Graph, Type, Var
from graphc.ops import control as ops
from graphc.trace import control, tree
from graphc.trace.promotion import cast_to
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.trace import Inner, trace_inner
from graphc.trace.tracer import Tracer, lift, wrap

# ---- checkpoint ----------------------------------------------------------------------------------


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, of which a gradient keeps the arguments alone and computes the rest once more.

    For less memory, at the price of running `fn` twice.  As the body of a loop, it has the loop
    keep what it carries and nothing else.

    >>> import numpy as np, graphc as gc
    >>> layer = gc.checkpoint(lambda x, w: np.tanh(x @ w))
    >>> gc.grad(lambda x, w: np.sum(layer(layer(x, w), w)))(np.zeros(2), np.eye(2))
    array([1., 1.])
    """

    @functools.wraps(fn)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not is_tracing():
            return fn(*args, **kwargs)
        leaves, structure = tree.flatten((args, kwargs))
        inputs = [lift(leaf) for leaf in leaves]

        def run(copies: list[Tracer]) -> Any:
            given_args, given_kwargs = tree.unflatten(structure, copies)
            return control.converted(fn)(*given_args, **given_kwargs)

        inner = trace_inner(getattr(fn, "__name__", "function"), inputs, run)
        outs = current().builder.emit(
            ops.checkpoint, [value.atom for value in inner.operands], {"body": inner.graph}
        )
        return _results(inner, inputs, [wrap(out) for out in outs])

    return checkpointed


def _results(inner: Inner, inputs: Sequence[Tracer], values: list[Tracer]) -> Any:
    """What a traced function returned, after what it assigned to has been assigned to here."""
    first_changed = len(values) - len(inner.changed)
    first_write = first_changed - len(inner.writes)
    for storage, x in zip(inner.writes, values[first_write:first_changed], strict=True):
        current().write(storage, x.value())
    for i, x in zip(inner.changed, values[first_changed:], strict=True):
        inputs[i].store(x.value())
    return tree.unflatten(inner.structure, values[:first_write])


# ---- custom_vjp ----------------------------------------------------------------------------------


class custom_vjp:  # noqa: N801 - used like a function
    """`fn` with a gradient that you give.

    forward    `forward(*args)` gives a pair: what `fn` gives, and a tree of values for `backward`
    backward   `backward(kept, cotangent)` gives a tuple with the cotangent of each argument, in its
               structure; None for one that has none (integers)

    Both may also be given afterwards, by `f.defvjp(forward, backward)`.  Arguments are positional.
    Values that `forward` and `backward` read from functions around them are constants to gradients.
    Forward mode (`gc.jvp`, `gc.hessian`) does not go through it.

    Raises `graphc.errors.GradientError` where cotangents do not fit the arguments.

    >>> import numpy as np, graphc as gc
    >>> @gc.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda kept, g: (np.clip(g, -1.0, 1.0),))
    >>> gc.grad(lambda x: 5.0 * clipped(x))(2.0)
    np.float64(1.0)
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        forward: Callable[..., Any] | None = None,
        backward: Callable[..., Any] | None = None,
    ):
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.forward = forward
        self.backward = backward

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set both halves of the gradient."""
        self.forward, self.backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        if not is_tracing():
            return self.fn(*args)
        if self.forward is None or self.backward is None:
            raise errors.GradientError(
                f"{self._name} has no gradient yet; give it one with"
                f" {self._name}.defvjp(forward, backward)",
                user_loc(),
            )
        return _Custom(self, args).result()

    @property
    def _name(self) -> str:
        return getattr(self.fn, "__name__", "the function")


class _Custom:
    """One call of a function with a gradient of its own, while tracing."""

    def __init__(self, function: custom_vjp, args: tuple[Any, ...]):
        self.function = function
        leaves, self.structure = tree.flatten(args)
        self.inputs = [lift(leaf) for leaf in leaves]
        self.count = len(self.inputs)

    def result(self) -> Any:
        body = self._trace(self.function.fn, "body")
        kept: list[tree.Structure] = []
        forward = self._trace(self._forward(body, kept), "forward")
        backward = self._backward(body, forward, kept[0])
        own = [inner.operands[given:] for inner, given in self._parts(body, forward, backward)]
        constants = list({value.atom: value for values in own for value in values}.values())
        attrs = _closed(body, forward, backward, self.count, constants)
        operands = [value.atom for value in (*body.operands[: self.count], *constants)]
        outs = current().builder.emit(ops.custom, operands, attrs)
        return tree.unflatten(body.structure, [wrap(out) for out in outs])

    def _parts(self, body: Inner, forward: Inner, backward: Inner) -> list[tuple[Inner, int]]:
        given = len(forward.graph.outs)
        return [(body, self.count), (forward, self.count), (backward, given)]

    def _trace(self, fn: Callable[..., Any], name: str) -> Inner:
        def run(copies: list[Tracer]) -> Any:
            return control.converted(fn)(*tree.unflatten(self.structure, copies))

        return _pure(trace_inner(name, self.inputs, run))

    def _forward(self, body: Inner, kept: list[tree.Structure]) -> Callable[..., Any]:
        target = control.converted(self.function.forward)

        def forward(*args: Any) -> Any:
            returned = target(*args)
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise errors.GradientError(
                    "custom_vjp: forward returns a pair (result, kept); where nothing is kept,"
                    " (result, None)",
                    user_loc(),
                )
            leaves, structure = tree.flatten(returned[0])
            types = tuple(lift(leaf).type for leaf in leaves)
            if structure != body.structure or types != body.graph.out_types:
                raise errors.GradientError(
                    "custom_vjp: the first value that forward returns has another structure or"
                    f" type than {self.function._name} gives: {_listed(types)}, not"
                    f" {_listed(body.graph.out_types)}",
                    user_loc(),
                )
            values, kept_structure = tree.flatten(returned[1])
            kept.append(kept_structure)
            return [*leaves, *values]

        return forward

    def _backward(self, body: Inner, forward: Inner, kept: tree.Structure) -> Inner:
        """The backward traced on what the forward keeps, then the cotangents of the results."""
        results = len(body.graph.outs)
        types = [*forward.graph.out_types[results:], *body.graph.out_types]
        given = [_placeholder(type) for type in types]
        split_at = len(types) - results

        def run(copies: list[Tracer]) -> Any:
            cotangent = tree.unflatten(body.structure, copies[split_at:])
            values = tree.unflatten(kept, copies[:split_at])
            returned = control.converted(self.function.backward)(values, cotangent)
            return self._cotangents(returned)

        return _pure(trace_inner("backward", given, run))

    def _cotangents(self, returned: Any) -> list[Tracer]:
        """One cotangent for each leaf of the arguments."""
        args = tree.unflatten(self.structure, self.inputs)
        if not isinstance(returned, tuple) or len(returned) != len(args):
            count = len(returned) if isinstance(returned, tuple) else "no tuple of"
            raise errors.GradientError(
                f"custom_vjp: backward returns a tuple with one cotangent for each of the"
                f" {len(args)} argument(s), not {count}",
                user_loc(),
            )
        cotangents = []
        for i, (arg, own) in enumerate(zip(args, returned, strict=True)):
            cotangents += self._of_argument(i, arg, own)
        return cotangents

    def _of_argument(self, i: int, arg: Any, own: Any) -> list[Tracer]:
        leaves, structure = tree.flatten(arg)
        if own is None:
            return [_placeholder(leaf.type) for leaf in leaves]
        given, found = tree.flatten(own)
        values = [lift(value) for value in given]
        if found != structure or any(
            x.shape != leaf.shape for x, leaf in zip(values, leaves, strict=True)
        ):
            raise errors.GradientError(
                f"custom_vjp: the cotangent of argument {i} is"
                f" {_listed([x.type for x in values])}, the argument"
                f" {_listed([leaf.type for leaf in leaves])}; they have one structure and shape",
                user_loc(),
            )
        pairs = zip(values, leaves, strict=True)
        return [
            wrap(cast_to(x.value(), leaf.dtype_name))
            if leaf.dtype_name in INEXACT
            else _placeholder(leaf.type)
            for x, leaf in pairs
        ]


def _pure(inner: Inner) -> Inner:
    """A traced part; it may assign to its own copies of the arguments only."""
    if inner.writes or inner.changed:
        raise errors.GradientError(
            "custom_vjp: the function assigns to an array that it was given or that lies around"
            " it; return the new value instead",
            user_loc(),
        )
    return inner


def _placeholder(type: Type) -> Tracer:
    """Zero of a type: to trace with, and the cotangent of what has none."""
    builder = current().builder
    return wrap(builder.literal(zero_of(type.dtype), type))


def _listed(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"


def _closed(
    body: Inner, forward: Inner, backward: Inner, count: int, constants: Sequence[Value]
) -> dict[str, Graph]:
    """The three graphs over arguments and constants.

    What the backward reads from around it, the forward keeps for it.
    """
    results = len(body.graph.outs)
    given = len(forward.graph.outs)
    kept = given - results
    whole = _with_constants(forward, count, constants)
    whole = whole.replace(outs=(*whole.outs, *whole.params[count:]))
    back = backward.graph
    own = dict(zip((v.atom for v in backward.operands[given:]), back.params[given:], strict=True))
    read = [own.get(value.atom) or Var(value.type) for value in constants]
    params = (*back.params[:kept], *read, *back.params[kept:given])
    zeros = Builder("zeros")
    cotangents = [zeros.literal(zero_of(value.dtype), value.type).atom for value in constants]
    return {
        "body": _with_constants(body, count, constants),
        "forward": whole,
        "backward": back.replace(
            params=params, eqns=(*back.eqns, *zeros.eqns), outs=(*back.outs, *cotangents)
        ),
    }


def _with_constants(inner: Inner, count: int, constants: Sequence[Value]) -> Graph:
    """The graph with a parameter for each of `constants` after its own `count`."""
    graph = inner.graph
    own = dict(zip((v.atom for v in inner.operands[count:]), graph.params[count:], strict=True))
    params = [own.get(value.atom) or Var(value.type) for value in constants]
    return graph.replace(params=(*graph.params[:count], *params))
