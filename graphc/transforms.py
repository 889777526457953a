"""Functions of functions: gradients, and the explicit form of the conditional.

Inside a traced function they add equations to the trace.  On their own they compile and run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc import errors
from graphc.compiled import Compiled
from graphc.ir import COMPLEXES, FLOATS, INEXACT
from graphc.ops import elementwise
from graphc.trace import branches, control, tree
from graphc.trace.scope import current, hide_own_frames, is_tracing, user_loc
from graphc.trace.trace import Inner, trace_inner
from graphc.trace.tracer import Tracer, lift, wrap


class Transform:
    """A function derived from another; outside of a trace it compiles itself on first use."""

    __graphc_transform__ = True

    def __init__(self, function: Callable[..., Any], inline: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self._inline = inline
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_tracing():
            return self._inline(args, kwargs)
        if self._compiled is None:
            self._compiled = Compiled(self)
        try:
            return self._compiled(*args, **kwargs)
        except Exception as error:
            hide_own_frames(error)
            raise


def value_and_grad(
    fn: Callable[..., Any],
    argnums: ArgNums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that gives `fn`'s value and its gradient, `(value, gradient)`.

    fn       returns a floating-point scalar; with `has_aux`, a pair of it and anything else
    argnums  which arguments to differentiate by: a position, a name, or a tuple of these, for which
             the gradient is a tuple.  Such an argument is an array of floats or a tree of them;
             its gradient has the same structure, shapes and dtypes.
    holomorphic  the value is complex and so are the arguments: the gradient is the derivative of a
                 holomorphic function

    By a complex argument z = x + iy the gradient of a real value L is dL/dx - i dL/dy: `z` goes
    downhill along its conjugate.

    At a kink a cotangent is shared: `np.maximum(x, y)` gives each operand half where they tie,
    a reduction with `max` divides it among the elements that tie, and `abs` has slope 0 at 0.

    Raises `graphc.errors.GradientError` if the value is not a floating-point scalar or an argument
    is not floating point.

    >>> import numpy as np, graphc as gc
    >>> gc.value_and_grad(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """

    return _derived(fn, argnums, has_aux, True, holomorphic)


def grad(
    fn: Callable[..., Any],
    argnums: ArgNums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that gives the gradient of `fn`; see `value_and_grad`.

    With `has_aux`, it gives `(gradient, aux)`.

    >>> import numpy as np, graphc as gc
    >>> gc.grad(gc.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """

    return _derived(fn, argnums, has_aux, False, holomorphic)


def _derived(
    fn: Callable[..., Any], argnums: ArgNums, has_aux: bool, with_value: bool, holomorphic: bool
) -> Callable[..., Any]:
    """The derived function: the same object for the same function, so that it compiles once."""
    key = tuple(argnums) if isinstance(argnums, list) else argnums
    try:
        return _remembered(fn, key, has_aux, with_value, holomorphic)
    except TypeError:  # a callable or argnums that cannot be hashed
        return _derive(fn, argnums, has_aux, with_value, holomorphic)


def _derive(
    fn: Callable[..., Any], argnums: Any, has_aux: bool, with_value: bool, holomorphic: bool
) -> Callable[..., Any]:
    def inline(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value, gradient = _differentiate(fn, argnums, has_aux, holomorphic, args, kwargs)
        if with_value:
            return value, gradient
        return (gradient, value[1]) if has_aux else gradient

    return Transform(fn, inline)


_remembered = functools.lru_cache(maxsize=256, typed=True)(_derive)
"""A cache: the derived functions that were asked for last.  (Typed: argnums=1.0 is an error.)"""


def _differentiate(
    fn: Callable[..., Any],
    argnums: ArgNums,
    has_aux: bool,
    holomorphic: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    keys = chosen_arguments(fn, argnums, args, kwargs)
    chosen = [args[key] if isinstance(key, int) else kwargs[key] for key in keys]
    leaves, structure = tree.flatten(chosen)
    inputs = [as_input(leaf) for leaf in leaves]
    if holomorphic:
        _expect_complex(inputs)

    def run(copies: list[Tracer]) -> Any:
        given, named = with_arguments(keys, tree.unflatten(structure, copies), args, kwargs)
        return _loss_first(control.converted(fn)(*given, **named), has_aux, holomorphic)

    inner = trace_inner(getattr(fn, "__name__", "function"), inputs, run)
    values, gradients = _inline_gradient(inner, inputs)
    result = tree.unflatten(inner.structure, values)
    trees = tree.unflatten(structure, gradients)
    value = tuple(result) if has_aux else result[0]
    return value, (trees[0] if isinstance(argnums, (int, str)) else tuple(trees))


ArgNums = int | str | Sequence[int | str]
"""Arguments to differentiate by: positions, names, or several of them."""


def chosen_arguments(
    fn: Callable[..., Any], argnums: ArgNums, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[int | str]:
    """The arguments that `argnums` names, each by its place in `args` or its name in `kwargs`.

    Raises `errors.ArgumentError` for one that the function was not called with, or named twice.
    """
    given: list[Any] = list(argnums) if isinstance(argnums, (tuple, list)) else [argnums]
    keys = [_argument(fn, entry, argnums, args, kwargs) for entry in given]
    if len(set(keys)) != len(keys):
        raise errors.ArgumentError(
            f"argnums={argnums!r} names an argument twice; name each once", user_loc()
        )
    return keys


def _argument(
    fn: Callable[..., Any], entry: Any, argnums: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> int | str:
    if isinstance(entry, str):
        if entry in kwargs:
            return entry
        names = _positional_names(fn)
        if entry in names[: len(args)]:
            return names.index(entry)
    elif isinstance(entry, int) and -len(args) <= entry < len(args):
        return entry % len(args)
    raise errors.ArgumentError(
        f"argnums={argnums!r}: the function was called with {len(args)} positional arguments,"
        f" numbered from 0, and the names {', '.join(kwargs) or 'none'}; give a position or the"
        " name of an argument that is passed",
        user_loc(),
    )


def _positional_names(fn: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (ValueError, TypeError):
        return []


def with_arguments(
    keys: Sequence[int | str],
    values: Sequence[Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """`args` and `kwargs` with other values for the arguments named by `keys`."""
    replaced = dict(zip(keys, values, strict=True))
    return (
        [replaced.get(i, arg) for i, arg in enumerate(args)],
        {name: replaced.get(name, value) for name, value in kwargs.items()},
    )


def as_input(leaf: Any) -> Tracer:
    x = lift(leaf)
    if x.dtype_name not in INEXACT:
        raise errors.GradientError(
            f"gradients exist for floating-point arguments, not for {x.type}; convert it with"
            " .astype, or leave it out of argnums",
            user_loc(),
        )
    return x


def _expect_complex(inputs: Sequence[Tracer]) -> None:
    for x in inputs:
        if x.dtype_name not in COMPLEXES:
            raise errors.GradientError(
                f"holomorphic=True is for complex arguments, not for {x.type}; leave it out",
                user_loc(),
            )


def _loss_first(returned: Any, has_aux: bool, holomorphic: bool) -> Any:
    """What the function returned as a tree whose first leaf is the loss."""
    if has_aux and not (isinstance(returned, tuple) and len(returned) == 2):
        raise errors.GradientError(
            "with has_aux=True the function returns a pair (value, aux)", user_loc()
        )
    loss, aux = returned if has_aux else (returned, None)
    if not tree.is_leaf(loss):
        raise errors.GradientError(
            f"the gradient needs a function that returns a number, not a {type(loss).__name__};"
            " for further results use has_aux=True",
            user_loc(),
        )
    x = lift(loss)
    if not x.shape and x.dtype_name in COMPLEXES:
        if holomorphic:
            return [x, aux] if has_aux else [x]
        raise errors.GradientError(
            f"the gradient needs a real scalar, the function returns {x.type}; make it real (.real,"
            " np.abs), or, if it is a holomorphic function, say holomorphic=True",
            user_loc(),
        )
    if x.shape or x.dtype_name not in FLOATS:
        raise errors.GradientError(
            f"the gradient needs a floating-point scalar, the function returns {x.type};"
            " reduce it first (np.sum, np.mean)",
            user_loc(),
        )
    return [x, aux] if has_aux else [x]


def _inline_gradient(inner: Inner, inputs: Sequence[Tracer]) -> tuple[list[Tracer], list[Tracer]]:
    """The results of the traced function, and the gradients by `inputs`."""
    from graphc.passes.autodiff import gradient  # lazily: `import graphc` is quick

    graph = gradient(inner.graph, range(len(inputs)))
    scope = current()
    outs = scope.builder.inline(graph, [value.atom for value in inner.operands])
    values = [scope.builder.value(atom) for atom in outs]
    first_grad = len(values) - len(inputs)
    first_changed = first_grad - len(inner.changed)
    first_write = first_changed - len(inner.writes)
    for storage, value in zip(inner.writes, values[first_write:first_changed], strict=True):
        scope.write(storage, value)
    for i, value in zip(inner.changed, values[first_changed:first_grad], strict=True):
        inputs[i].store(value)
    return (
        [wrap(value) for value in values[:first_write]],
        [wrap(value) for value in values[first_grad:]],
    )


def cond(pred: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """`then(*operands) if pred else otherwise(*operands)`, as one conditional of the graph.

    The explicit spelling of what an `if` on a traced value becomes.  Both functions return trees of
    the same structure, shapes and dtypes; only the one that is taken runs, and only its gradient.
    With an ordinary `pred` it is ordinary Python.

    Raises `graphc.errors.BranchMismatchError` if the results differ in structure or type.

    >>> import numpy as np, graphc as gc
    >>> f = gc.compile(lambda x: gc.cond(x > 0, np.sqrt, np.negative, x))
    >>> f(4.0), f(-4.0)
    (np.float64(2.0), np.float64(4.0))
    """
    if not isinstance(pred, Tracer):
        return then(*operands) if pred else otherwise(*operands)
    first, second = control.converted(then), control.converted(otherwise)
    return branches.choose(pred, lambda: first(*operands), lambda: second(*operands))


def stop_gradient(value: Any) -> Any:
    """`value`, a tree of arrays, as a constant to every gradient that is taken around it.

    Outside of a traced function there is nothing to stop: it returns `value` itself.

    >>> import numpy as np, graphc as gc
    >>> gc.grad(lambda x: x * gc.stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    if not is_tracing():
        return value
    leaves, structure = tree.flatten(value)
    stopped = [_stopped(leaf) if isinstance(leaf, Tracer) else leaf for leaf in leaves]
    return tree.unflatten(structure, stopped)


def _stopped(x: Tracer) -> Tracer:
    return wrap(elementwise.stop_gradient(x.value()), x.weak)
