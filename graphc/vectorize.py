"""`vmap`: a function of one example, applied to a batch of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import Loc
from graphc.trace import calls, control, tree
from graphc.trace.scope import LoopNote, current, user_loc
from graphc.trace.trace import Inner, trace_inner
from graphc.trace.tracer import Tracer, holds_tracer, lift, strong, wrap
from graphc.transforms import Transform

Axis = int | None
"""The axis along which examples lie, or None for a value that all of them share."""


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`fn` for a batch of examples at once: a function of arrays with one more axis.

    in_axes   the axis of the examples in each positional argument: an int for all, or a tuple with
              an entry for each, itself an int, None (the argument is the same for all examples) or
              a tree of these in the argument's structure.  Keyword arguments are the same for all.
    out_axes  where that axis goes in the results: an int or a tree of ints in their structure

    `fn` is traced once, for one example.  Each of its operations becomes one operation on the whole
    batch.  An `if` whose condition is the same for all examples stays one; where it differs, both
    branches are computed and the right one chosen, or, if a branch has effects, loops or products
    in it, a loop over the examples runs the branch that each takes.

    Raises `graphc.errors.ArgumentError` if axes do not fit the arguments, or sizes differ.

    >>> import numpy as np, graphc as gc
    >>> gc.vmap(lambda x, y: np.dot(x, y))(np.ones((3, 4)), np.ones((3, 4)))
    array([4., 4., 4.])
    >>> gc.vmap(np.add, in_axes=(0, None))(np.arange(3.0), 1.0)
    array([1., 2., 3.])
    """

    def inline(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _map(fn, in_axes, out_axes, args, kwargs)

    return Transform(fn, inline)


def _map(
    fn: Callable[..., Any],
    in_axes: Any,
    out_axes: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    leaves, structure = tree.flatten(args)
    axes = _axes_of_arguments(in_axes, args)
    inputs = [
        lift(leaf) if axis is not None else leaf for leaf, axis in zip(leaves, axes, strict=True)
    ]
    mapped = [i for i, axis in enumerate(axes) if axis is not None]
    size = _batch_size([inputs[i] for i in mapped], [axes[i] for i in mapped])
    fronted = [_moved(inputs[i], axes[i], 0) for i in mapped]

    def run(examples: list[Tracer]) -> Any:
        given = list(inputs)
        for i, example in zip(mapped, examples, strict=True):
            given[i] = example
        return control.converted(fn)(*tree.unflatten(structure, given), **kwargs)

    inner = trace_inner(getattr(fn, "__name__", "function"), [_example(x) for x in fronted], run)
    _refuse_writes(inner)
    results = _run_batched(inner, fronted, size)
    outs = results[: len(results) - len(inner.changed)]
    for i, value in zip(inner.changed, results[len(outs) :], strict=True):
        target = inputs[mapped[i]]
        target.store(_moved(value, 0, axes[mapped[i]]).value())
    return _placed(inner, outs, out_axes)


def _run_batched(inner: Inner, fronted: Sequence[Tracer], size: int) -> list[Tracer]:
    """The results of the traced function for all examples, each with the batch in front."""
    flags = [i < len(fronted) for i in range(len(inner.operands))]
    from graphc.passes.vmap import batch  # lazily: `import graphc` is quick

    graph, batched = batch(inner.graph, flags, size, _remember)
    given = [x.value().atom for x in fronted] + [v.atom for v in inner.operands[len(fronted) :]]
    builder = current().builder
    outs = [wrap(builder.value(atom)) for atom in builder.inline(graph, given)]
    return [x if flag else _repeated(x, size) for x, flag in zip(outs, batched, strict=True)]


def _remember(loc: Loc | None, form: str, reason: str) -> None:
    """For `explain`."""
    if loc is not None:
        current().session.loops[loc] = LoopNote(loc, form, reason)


def _repeated(x: Any, size: int) -> Tracer:
    every: Any = np.broadcast_to(x, (size, *x.shape))
    result: Tracer = every
    return result


def _example(batched: Tracer) -> Tracer:
    """What one example of `batched` looks like: it is only looked at for its type."""
    first: Tracer = batched[0]
    return first


def _refuse_writes(inner: Inner) -> None:
    if inner.writes:
        raise errors.ArgumentError(
            "vmap: the function assigns to an array that is none of its mapped arguments; what each"
            " example would leave in it differs. Return the value instead",
            user_loc(),
        )


# ---- axes ----------------------------------------------------------------------------------------


def _axes_of_arguments(in_axes: Any, args: tuple[Any, ...]) -> list[Axis]:
    per_argument = [in_axes] * len(args) if _is_axis(in_axes) else in_axes
    if not isinstance(per_argument, (tuple, list)) or len(per_argument) != len(args):
        raise errors.ArgumentError(
            f"vmap: in_axes={in_axes!r} does not fit {len(args)} positional argument(s); give an"
            " int, or a tuple with an entry for each of them",
            user_loc(),
        )
    axes = [axis for own, arg in zip(per_argument, args, strict=True) for axis in _spread(own, arg)]
    if all(axis is None for axis in axes):
        raise errors.ArgumentError(
            f"vmap: in_axes={in_axes!r} maps over no argument; give at least one an axis",
            user_loc(),
        )
    return axes


def _is_axis(axes: Any) -> bool:
    return axes is None or (isinstance(axes, int) and not isinstance(axes, bool))


def _spread(axes: Any, value: Any) -> list[Axis]:
    """One axis for each leaf of `value`; an axis in place of a tree is that of all its leaves."""
    if _is_axis(axes):
        return [axes] * len(tree.flatten(value)[0])
    if isinstance(axes, dict) and isinstance(value, dict) and axes.keys() == value.keys():
        return [axis for name in value for axis in _spread(axes[name], value[name])]
    is_sequence = isinstance(axes, (tuple, list)) and isinstance(value, (tuple, list))
    if is_sequence and len(axes) == len(value):
        return [axis for own, part in zip(axes, value, strict=True) for axis in _spread(own, part)]
    raise errors.ArgumentError(
        f"vmap: axes {axes!r} do not have the structure of the value that they are for; give an"
        " int, None, or a tree of them",
        user_loc(),
    )


def _batch_size(arrays: Sequence[Tracer], axes: Sequence[Any]) -> int:
    sizes: list[int] = []
    for x, axis in zip(arrays, axes, strict=True):
        if not -x.ndim <= operator.index(axis) < x.ndim:
            raise errors.ArgumentError(
                f"vmap: an argument {x.type} has no axis {axis} to map over; give it an axis from"
                " in_axes, or None if it is the same for all examples",
                user_loc(),
            )
        sizes.append(x.shape[axis])
    if len(set(sizes)) > 1:
        raise errors.ArgumentError(
            f"vmap: the mapped axes have the sizes {', '.join(map(str, sizes))}; make them equal",
            user_loc(),
        )
    if sizes[0] == 0:
        raise errors.ArgumentError("vmap: there are no examples: the axis has size 0", user_loc())
    return sizes[0]


def _moved(x: Any, source: Any, target: Any) -> Any:
    return x if source == target else np.moveaxis(x, source, target)


def _placed(inner: Inner, outs: Sequence[Tracer], out_axes: Any) -> Any:
    axes = _spread(out_axes, tree.unflatten(inner.structure, list(outs)))
    if None in axes:
        raise errors.ArgumentError(
            "vmap: out_axes must say where the axis of the examples goes in each result", user_loc()
        )
    moved = [_moved(x, 0, axis) for x, axis in zip(outs, axes, strict=True)]
    return tree.unflatten(inner.structure, moved)


# ---- np.vectorize --------------------------------------------------------------------------------


def vectorized(function: np.vectorize) -> Callable[..., Any]:
    """What to call in place of a `np.vectorize` object: one graph for all elements."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not holds_tracer((*args, *kwargs.values())):
            return function(*args, **kwargs)
        if function.signature is not None or kwargs or function.excluded:
            raise errors.UnsupportedFunctionError(
                "np.vectorize can be traced without signature=, excluded= and keyword arguments;"
                " gc.vmap maps functions of arrays",
                user_loc(),
            )
        arrays = np.broadcast_arrays(*map(strong, args))
        shape = np.shape(arrays[0])
        flat = [np.reshape(x, -1) for x in arrays]
        if not np.size(flat[0]):
            raise errors.ShapeError("np.vectorize of no elements cannot be traced", user_loc())
        results = vmap(function.pyfunc)(*flat)
        parts = results if isinstance(results, tuple) else (results,)
        types = function.otypes if function.otypes is not None else [None] * len(parts)
        shaped = tuple(
            np.reshape(x if kind is None else x.astype(np.dtype(kind)), shape)
            for x, kind in zip(parts, types, strict=True)
        )
        return shaped if isinstance(results, tuple) else shaped[0]

    return call


calls.VECTORIZED.append(vectorized)
