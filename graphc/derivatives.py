"""Derivatives beyond the gradient of a scalar: vjp, jvp, jacobian, hessian, hvp.

Inside a traced function they add equations to the trace.  On their own they compile and run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc import errors
from graphc.compiled import Compiled
from graphc.ir import COMPLEXES, INEXACT, Graph, Type
from graphc.ops import elementwise as ew
from graphc.ops import shape as shape_ops
from graphc.trace import control, tree
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.trace import trace_inner
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.transforms import (
    ArgNums,
    Transform,
    as_input,
    chosen_arguments,
    grad,
    with_arguments,
)
from graphc.vectorize import vmap

# ---- products with the Jacobian ------------------------------------------------------------------


def vjp(fn: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """`(fn(*args), pullback)`: reverse mode for any cotangent of the result.

    `pullback(cotangent)`, the cotangent in the structure of the result, gives a tuple with the
    cotangent of each argument, in its structure: the product with the transposed Jacobian.

    Raises `graphc.errors.GradientError` if an argument is not floating point or the cotangent does
    not fit the result.

    >>> import numpy as np, graphc as gc
    >>> y, pullback = gc.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    if is_tracing():
        result: tuple[Any, Callable[[Any], tuple[Any, ...]]] = _traced_vjp(fn, args)
        return result
    value, pull, _ = _alone(fn)
    return value(args), lambda cotangent: pull(args, cotangent)


def _compile_alone(fn: Callable[..., Any]) -> tuple[Compiled, Compiled, Compiled]:
    """What `vjp` and `jvp` call outside of a trace: the value, the pullback, the pushforward."""
    return (
        Compiled(lambda args: control.converted(fn)(*args)),
        Compiled(lambda args, cotangent: _traced_vjp(fn, args)[1](cotangent)),
        Compiled(lambda args, tangents: _traced_jvp(fn, args, tangents)),
    )


_remembered = functools.lru_cache(maxsize=256)(_compile_alone)
"""A cache: what was compiled for the functions that were differentiated last."""


def _alone(fn: Callable[..., Any]) -> tuple[Compiled, Compiled, Compiled]:
    try:
        return _remembered(fn)
    except TypeError:  # a callable that cannot be hashed
        return _compile_alone(fn)


def _traced_vjp(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return _vjp_of(_traced(fn, args))


def _vjp_of(traced: _Traced) -> Any:
    values = traced.inlined(traced.graph, [])
    results = [i for i, value in enumerate(values) if value.dtype_name in INEXACT]

    def pull(cotangent: Any) -> tuple[Any, ...]:
        given = _fitting("cotangent", cotangent, traced.result, values)
        from graphc.passes.autodiff import pullback  # lazily: `import graphc` is quick

        graph = pullback(traced.graph, range(len(traced.inputs)), results)
        grads = traced.inlined(graph, [given[i] for i in results])
        return tuple(tree.unflatten(traced.structure, grads))

    return tree.unflatten(traced.result, values), pull


def jvp(fn: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`(fn(*args), tangent)`: forward mode, the product of the Jacobian with `tangents`.

    `tangents` has the structure, shapes and dtypes of `args`; the tangent those of the result,
    zero where a result is no float.

    Raises `graphc.errors.GradientError` if an argument is not floating point or a tangent does not
    fit its argument.

    >>> import numpy as np, graphc as gc
    >>> gc.jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    if is_tracing():
        return _traced_jvp(fn, tuple(args), tuple(tangents))
    result: tuple[Any, Any] = _alone(fn)[2](tuple(args), tuple(tangents))
    return result


def _traced_jvp(
    fn: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    return _jvp_of(_traced(fn, args), tangents)


def _jvp_of(traced: _Traced, tangents: Any) -> tuple[Any, Any]:
    given = _fitting("tangent", tangents, traced.structure, traced.inputs)
    from graphc.passes.forward import pushforward  # lazily: `import graphc` is quick

    graph = pushforward(traced.graph, range(len(traced.inputs)))
    outs = traced.inlined(graph, given)
    values = outs[: len(traced.graph.outs)]
    moved = iter(outs[len(values) :])
    changes = [next(moved) if x.dtype_name in INEXACT else np.zeros(x.shape) for x in values]
    return tree.unflatten(traced.result, values), tree.unflatten(traced.result, changes)


class _Traced(NamedTuple):
    """A function traced to be differentiated: its graph, and what it is a graph of.

    The graph's parameters are `operands`: the inputs, then what the function reads from outside.
    `structure` is that of the inputs, `result` that of the results.
    """

    graph: Graph
    operands: tuple[Tracer, ...]
    inputs: tuple[Tracer, ...]
    structure: tree.Structure
    result: tree.Structure

    def inlined(self, graph: Graph, more: Sequence[Tracer]) -> list[Tracer]:
        """The results of a graph of the operands and `more`, in the scope that is current now."""
        builder = current().builder
        given = [x.value().atom for x in (*self.operands, *more)]
        return [wrap(builder.value(atom)) for atom in builder.inline(graph, given)]


def _traced(fn: Callable[..., Any], args: tuple[Any, ...]) -> _Traced:
    """`fn` traced on copies of its arguments' leaves, the inputs to differentiate by."""
    leaves, structure = tree.flatten(args)
    inputs = [as_input(leaf) for leaf in leaves]

    def run(copies: list[Tracer]) -> Any:
        return control.converted(fn)(*tree.unflatten(structure, copies))

    inner = trace_inner(getattr(fn, "__name__", "function"), inputs, run)
    if inner.writes or inner.changed:
        raise errors.GradientError(
            "a function that is differentiated here may not assign to arrays that it was given;"
            " assign to a copy",
            user_loc(),
        )
    # The values that the inputs have now: they may be assigned to before the graph is used again.
    operands = tuple(wrap(value) for value in inner.operands)
    return _Traced(inner.graph, operands, tuple(inputs), structure, inner.structure)


def _fitting(
    what: str, given: Any, structure: tree.Structure, like: Sequence[Tracer]
) -> list[Tracer]:
    """The leaves of `given`, each of the type of what it goes with."""
    leaves, own = tree.flatten(given)
    if own != structure:
        raise errors.GradientError(
            f"the {what} has not the structure of what it goes with: {len(leaves)} leaves for"
            f" {len(like)}; give one {what} for each of them, in the same tree",
            user_loc(),
        )
    fitted = []
    for leaf, x in zip(leaves, like, strict=True):
        value = lift(leaf)
        if value.shape != x.shape:
            raise errors.GradientError(
                f"a {what} {value.type} does not fit {x.type}; pass one of the shape {x.shape}",
                user_loc(),
            )
        fitted.append(value if value.dtype_name == x.dtype_name else value.astype(x.dtype))
    return fitted


# ---- whole Jacobians -----------------------------------------------------------------------------


def jacobian(
    fn: Callable[..., Any], argnums: ArgNums = 0, holomorphic: bool = False
) -> Callable[..., Any]:
    """A function that gives the derivative of each element of `fn`'s result by each of an argument.

    For a result of shape s and an argument of shape t it has the shape s + t; for trees of results,
    or arguments, a tree of these.  The products with all unit vectors are one batch: by reverse
    mode where the result has fewer elements than the argument, else by forward mode.

    argnums      as in `graphc.grad`
    holomorphic  of complex results by complex arguments there is one derivative only where the
                 function is holomorphic: say so.  A real function of complex ones has gradients
                 as its rows (`graphc.grad`), a complex one of real arguments needs nothing said.

    >>> import numpy as np, graphc as gc
    >>> gc.jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def inline(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        keys = chosen_arguments(fn, argnums, args, kwargs)

        def of_chosen(*values: Any) -> Any:
            given, named = with_arguments(keys, values, args, kwargs)
            return control.converted(fn)(*given, **named)

        chosen = tuple(args[key] if isinstance(key, int) else kwargs[key] for key in keys)
        is_single = isinstance(argnums, (int, str))
        return _jacobian(of_chosen, chosen, is_single, holomorphic)

    return Transform(fn, inline)


def _jacobian(
    fn: Callable[..., Any], args: tuple[Any, ...], is_single: bool, holomorphic: bool
) -> Any:
    traced = _traced(fn, args)
    outs = [out.type for out in traced.graph.outs]
    if any(type.dtype not in INEXACT for type in outs):
        raise errors.GradientError(
            "a Jacobian exists for floating-point results; leave the others out", user_loc()
        )
    columns, rows = sum(x.size for x in traced.inputs), sum(type.size for type in outs)
    mode = _mode(traced.inputs, outs, holomorphic) or (_by_rows if rows < columns else _by_columns)
    if not columns or not rows:
        blocks = [[_zeros(type.shape, x) for x in traced.inputs] for type in outs]
    else:
        blocks = mode(traced, outs)
    of_result = [tree.unflatten(traced.structure, own) for own in blocks]
    return tree.unflatten(traced.result, [row[0] if is_single else row for row in of_result])


Blocks = list[list[Any]]
"""The derivative of each result (outer) by each input (inner)."""


def _mode(
    inputs: Sequence[Tracer], outs: Sequence[Type], holomorphic: bool
) -> Callable[..., Blocks] | None:
    """Reverse or forward mode, where one of them alone gives the derivative; None for either.

    Reverse mode gives the gradients of real results, which for complex arguments are no tangents;
    forward mode gives the tangents of complex results of real arguments.
    """
    of_complex = [x.dtype_name in COMPLEXES for x in inputs]
    are_complex = [type.dtype in COMPLEXES for type in outs]
    if holomorphic or not any((*of_complex, *are_complex)):
        return None
    if not any(are_complex):
        return _by_rows
    if not any(of_complex):
        return _by_columns
    raise errors.GradientError(
        "a complex function of complex arguments has a Jacobian where it is holomorphic; if it is,"
        " say so by holomorphic=True, else take gc.jacobian of its .real and .imag",
        user_loc(),
    )


def _by_rows(traced: _Traced, outs: Sequence[Type]) -> Blocks:
    """Reverse mode: a batch of cotangents, one unit vector for each element of the results."""
    unit = _unit_vectors([(type.dtype, type.shape) for type in outs])
    _, pull = _vjp_of(traced)
    rows = tree.flatten(vmap(pull)(tree.unflatten(traced.result, unit)))[0]
    starts = np.cumsum([0, *(type.size for type in outs)])
    pairs = list(zip(rows, traced.inputs, strict=True))
    return [
        [row[low:high].reshape(type.shape + x.shape) for row, x in pairs]
        for type, low, high in zip(outs, starts[:-1], starts[1:], strict=True)
    ]


def _by_columns(traced: _Traced, outs: Sequence[Type]) -> Blocks:
    """Forward mode: a batch of tangents, one unit vector for each element of the inputs."""
    unit = _unit_vectors([(x.dtype_name, x.shape) for x in traced.inputs])
    push = vmap(lambda tangents: _jvp_of(traced, tangents)[1])
    columns = tree.flatten(push(tree.unflatten(traced.structure, unit)))[0]
    starts = np.cumsum([0, *(x.size for x in traced.inputs)])
    return [
        [
            np.moveaxis(column[low:high], 0, -1).reshape(type.shape + x.shape)
            for x, low, high in zip(traced.inputs, starts[:-1], starts[1:], strict=True)
        ]
        for type, column in zip(outs, columns, strict=True)
    ]


def _zeros(shape: tuple[int, ...], x: Tracer) -> np.ndarray:
    return np.zeros(shape + x.shape, x.dtype)


def _unit_vectors(kinds: Sequence[tuple[str, tuple[int, ...]]]) -> list[Tracer]:
    """The rows of the identity, one for each element of all values, cut into the values' shapes."""
    sizes = [math.prod(shape) for _, shape in kinds]
    total = sum(sizes)
    builder = current().builder
    vectors, start = [], 0
    for (dtype, shape), size in zip(kinds, sizes, strict=True):
        row, column = (
            builder.emit(shape_ops.iota, (), {"shape": (total, size), "axis": axis, "dtype": "i64"})
            for axis in (0, 1)
        )
        hit = ew.cast(ew.equal(row[0], column[0] + start), dtype=dtype)
        vectors.append(wrap(shape_ops.reshape(hit, shape=(total, *shape))))
        start += size
    return vectors


def hessian(fn: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function that gives the matrix of second derivatives of the scalar function `fn`.

    argnums  as in `graphc.grad`; of a tuple, the blocks are a tuple of tuples

    >>> import numpy as np, graphc as gc
    >>> gc.hessian(lambda x: x[0] * x[1])(np.array([3.0, 4.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    return jacobian(grad(fn, argnums), argnums)


def hvp(fn: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of the scalar function `fn` at `args`, applied to `tangents`.

    Forward mode over reverse mode: it costs a few gradients, and no Hessian is made.  For one
    argument the product is in its structure, for several it is a tuple.

    >>> import numpy as np, graphc as gc
    >>> gc.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),))
    array([ 6., 12.])
    """
    by = 0 if len(args) == 1 else tuple(range(len(args)))
    return jvp(grad(fn, by), args, tangents)[1]
