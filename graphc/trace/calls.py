"""Calls in a converted function that NumPy's protocols do not reach.

`np.array([a, b])`, `np.take(table, i)`, `max(a, b)` and `math.sqrt(a)` would ask a traced value for
a number.  Converted functions ask `stand_in` for what to call instead.  Arrays that the function
makes with `np.zeros` and its like are traced, so that it can assign traced values into them.
"""

from __future__ import annotations

import functools
import math
import operator
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import DTYPE_NAMES, NUMPY_DTYPES
from graphc.trace import (
    distributions,
    iterables,
    masks,
    numpy_api,
    numpy_making,
    python_math,
    python_numbers,
    quantifiers,
    scipy_table,
    texts,
)
from graphc.trace.scope import current, user_loc
from graphc.trace.sizes import as_size
from graphc.trace.tracer import Tracer, holds_tracer, lift
from graphc.trace.ufuncs import UFUNCS


def stand_in(function: Any) -> Callable[..., Any] | None:
    """What to call in place of `function` while tracing, None for the function itself."""
    row = _STAND_INS.get(id(function)) or _made(function)
    if row is not None:
        return row[1]
    if isinstance(function, np.vectorize):
        return VECTORIZED[0](function)
    traced = (
        distributions.method_of_scipy(function)
        or scipy_table.function_of_scipy(function)
        or _method_of_arrays(function)
    )
    if traced is not None:
        return _if_traced(function, traced)
    _refuse_generators(function)
    return None


def _method_of_arrays(function: Any) -> Callable[..., Any] | None:
    """`np.ndarray.sum(x)` is `x.sum()`."""
    if not isinstance(function, types.MethodDescriptorType):
        return None
    is_arrays = function.__objclass__ is np.ndarray and function.__name__ in numpy_api.METHODS
    return _calling(function.__name__) if is_arrays else None


def _calling(name: str) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


VECTORIZED: list[Callable[[Any], Callable[..., Any]]] = []
"""What makes the stand-in of a `np.vectorize` object: `graphc.vectorize`, which knows batches."""


def _refuse_generators(function: Any) -> None:
    """A number drawn while tracing would be the same in every run: an error, not a constant."""
    if isinstance(getattr(function, "__self__", None), _GENERATORS):
        name = getattr(function, "__name__", "a method")
        raise errors.RandomStateError(
            f"{name}() draws from a generator with a state of its own, which a graph has not: the"
            " numbers would be drawn once, while tracing; pass a key as an argument and use"
            " gc.random (uniform, normal, ...), or draw outside and pass the array",
            user_loc(),
        )


_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


# ---- arrays made in the function -----------------------------------------------------------------


def _filled(function: Callable[..., Any], fill: int) -> Callable[..., Any]:
    def make(shape: Any, dtype: Any = None, *more: Any, **rest: Any) -> Any:
        if more == ("C",) or more == ("F",):  # the order in memory is nobody's to see
            more = ()
        if rest.get("order") in ("C", "F"):
            rest = {key: value for key, value in rest.items() if key != "order"}
        if _is_untraced(dtype) or not _are_sizes(shape) or more or rest:
            return masks.made(function(shape, dtype, *more, **rest))
        return numpy_making.full(shape, fill, np.float64 if dtype is None else dtype)

    return make


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **rest: Any) -> Any:
    is_number = isinstance(fill_value, (Tracer, int, float, complex, np.number))
    if not is_number or _is_untraced(dtype) or not _are_sizes(shape) or rest:
        return masks.made(np.full(shape, fill_value, dtype, **rest))
    return numpy_making.full(shape, fill_value, dtype)


def _identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """`np.eye` and `np.identity`, which programs go on to fill."""

    def make(*args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Dim):
            return numpy_making.eye(*args, **kwargs)
        args = tuple(operator.index(x) if isinstance(x, Tracer) else x for x in args)
        made = function(*args, **kwargs)
        return masks.made(made) if _is_untraced(made.dtype) else numpy_making.copy(made)

    return make


def _is_untraced(dtype: Any) -> bool:
    """Masks stay ordinary arrays, which may index; so does what graphc has no dtype for."""
    if dtype is None:
        return False
    try:
        name = DTYPE_NAMES.get(np.dtype(dtype))
    except TypeError:
        return True
    return name is None or (name == "bool" and not masks.is_to_be_traced())


def _are_sizes(shape: Any) -> bool:
    """Whether this is a shape; what is wrong with another one, NumPy says."""
    if isinstance(shape, np.ndarray):
        return bool(shape.dtype.kind in "iu" and (shape >= 0).all())
    extents = shape if isinstance(shape, (tuple, list)) else (shape,)
    return all(hasattr(n, "__index__") and as_size(n) >= 0 for n in extents)


def _arange(*args: Any, **kwargs: Any) -> Any:
    if any(isinstance(x, Dim) for x in args):
        return numpy_making.arange(*args, **kwargs)
    if all(not isinstance(x, Tracer) or x.dtype_name in ("i32", "i64") for x in args):
        args = tuple(operator.index(x) if isinstance(x, Tracer) else x for x in args)
    return np.arange(*args, **kwargs)


def _length(x: Any) -> Any:
    """`len`, where Python would make a number of it."""
    sized = isinstance(x, Tracer) and x.shape and isinstance(x.shape[0], Dim)
    return x.shape[0] if sized else len(x)


def _prod(a: Any, *args: Any, **kwargs: Any) -> Any:
    """`np.prod` of a shape is a size."""
    sizes = isinstance(a, (tuple, list)) and all(isinstance(n, (int, Dim)) for n in a)
    if sizes and not args and kwargs.keys() <= {"dtype"}:
        return math.prod(a)
    return numpy_api.call_function(np.prod, (a, *args), kwargs)


def _of_size(function: Callable[..., Any]) -> Callable[..., Any]:
    """A window of a length that must be known."""
    return lambda M: function(operator.index(M))  # noqa: N803 - NumPy's name


# ---- conversions ---------------------------------------------------------------------------------


def _converter(scalar: type) -> Callable[..., Any]:
    return lambda x: numpy_making.astype(x, scalar)


# ---- questions about types -----------------------------------------------------------------------


def _isinstance(x: Any, kinds: Any) -> bool:
    """`isinstance` of the array or number that a traced value stands for."""
    return isinstance(x, kinds) or (isinstance(x, Tracer) and isinstance(_example(x), kinds))


def _example(x: Any) -> Any:
    if isinstance(x, Dim):
        return 0
    if x.weak:
        return x.stand_in()
    return x.dtype.type(0) if x.is_scalar else np.empty((0,), x.dtype)


# ---- the table -----------------------------------------------------------------------------------


def _if_traced(function: Any, traced: Callable[..., Any]) -> Callable[..., Any]:
    """`traced` where an argument is or holds a traced value, else `function`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = traced if holds_tracer((*args, *kwargs.values())) else function
        return chosen(*args, **kwargs)

    return call


def _kept_in_mind(function: Any, traced: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a function that makes arrays: an ordinary one may turn out to be assigned to."""
    choose = _if_traced(function, traced)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = choose(*args, **kwargs)
        if type(result) is not np.ndarray or any(result is x for x in args):
            return result
        is_new = result.flags.owndata or function is np.linspace  # which views its own memory
        if not is_new or result.dtype not in DTYPE_NAMES:
            return result
        return numpy_making.copy(result) if masks.is_to_be_traced() else masks.made(result)

    return call


_CREATORS = frozenset(
    {np.array, np.asarray, np.copy, np.arange, np.linspace}
    | {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
)
"""Functions whose ordinary results programs go on to assign traced values into."""


def _dispatched(function: Any) -> Callable[..., Any]:
    """A NumPy function, also where a traced value is an argument that it does not dispatch on."""
    return lambda *args, **kwargs: numpy_api.call_function(function, args, kwargs)


def _dispatched_ufunc(ufunc: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > ufunc.nin:
            kwargs["out"] = args[ufunc.nin :]
        return numpy_api.call_ufunc(ufunc, "__call__", args[: ufunc.nin], kwargs)

    return call


_ON_TRACED: tuple[tuple[Any, Callable[..., Any]], ...] = (
    *((ufunc, _dispatched_ufunc(ufunc)) for ufunc in (*UFUNCS, np.matmul)),
    *((function, _dispatched(function)) for function in numpy_api.FUNCTIONS),
    *python_math.FUNCTIONS.items(),
    *((dtype.type, _converter(dtype.type)) for dtype in NUMPY_DTYPES.values()),
    (complex, numpy_making.complex_number),
    (np.array, numpy_making.array),
    (np.asarray, numpy_making.asarray),
    (np.asanyarray, numpy_making.asarray),
    (np.ascontiguousarray, numpy_making.asarray),
    (np.asfortranarray, numpy_making.asarray),
    (np.asarray_chkfinite, numpy_making.asarray_chkfinite),
    (np.require, numpy_making.require),
    *((window, _of_size(window)) for window in (np.hanning, np.hamming, np.blackman, np.bartlett)),
    (np.arange, _arange),
    (np.isscalar, lambda element: lift(element).is_scalar),
    (isinstance, _isinstance),
    (len, _length),
    (bool, python_numbers.bool_),
    (int, python_numbers.int_),
    (float, python_numbers.float_),
    (np.prod, _prod),
    (range, iterables.range_),
)


def _made(function: Any) -> tuple[Any, Callable[..., Any]] | None:
    """The row for a function of `_ON_TRACED`, made when it is first asked for: a program uses few
    of these hundreds."""
    traced = _TRACED.get(id(function))
    if traced is None:
        return None
    choice = _kept_in_mind if function in _CREATORS else _if_traced
    chosen = functools.wraps(function)(choice(function, traced))
    return _STAND_INS.setdefault(id(function), (function, chosen))


def _each(function: Any, *iterables: Any) -> Any:
    """`map`: what it calls is looked at as any other function that is called."""
    from graphc.trace import control

    return map(control.call(function), *iterables)


def _reduced(function: Any, iterable: Any, *initial: Any) -> Any:
    from graphc.trace import control

    return functools.reduce(control.call(function), iterable, *initial)


def _next(iterator: Any, *default: Any) -> Any:
    """`next`; how far a generator has come cannot be seen, nor be put back after a branch."""
    if isinstance(iterator, types.GeneratorType) and current().parent is not None:
        raise errors.UnrestorableError(
            "next() of a generator in a branch or loop over traced values changes a generator while"
            " it is traced, however often it runs; call next() outside, or make a list of it",
            user_loc(),
        )
    return next(iterator, *default)


def _text_of(function: Any, conversion: str) -> Callable[..., Any]:
    traced = texts.of_value(conversion)
    return lambda *args, **kwargs: (traced if len(args) == 1 and not kwargs else function)(
        *args, **kwargs
    )


_TRACED = {id(function): traced for function, traced in _ON_TRACED}

_STAND_INS: dict[int, tuple[Any, Callable[..., Any]]] = {
    **{
        id(function): (function, quantifiers.drawn(function, traced))
        for function, traced in (
            (max, quantifiers.extreme("max", operator.gt)),
            (min, quantifiers.extreme("min", operator.lt)),
            (sorted, quantifiers.sorted_),
        )
    },
    id(any): (any, quantifiers.any_),
    id(all): (all, quantifiers.all_),
    id(next): (next, _next),
    id(map): (map, _each),
    id(functools.reduce): (functools.reduce, _reduced),
    id(print): (print, texts.print_),
    id(str): (str, _text_of(str, "s")),
    id(repr): (repr, _text_of(repr, "r")),
    id(format): (format, texts.formatted),
    id(enumerate): (enumerate, iterables.enumerate_),
    id(zip): (zip, iterables.zip_),
    id(reversed): (reversed, iterables.reversed_),
    id(np.zeros): (np.zeros, _filled(np.zeros, 0)),
    id(np.ones): (np.ones, _filled(np.ones, 1)),
    id(np.empty): (np.empty, _filled(np.empty, 0)),
    id(np.ndarray): (np.ndarray, _filled(np.ndarray, 0)),
    id(np.eye): (np.eye, _identity(np.eye)),
    id(np.identity): (np.identity, _identity(np.identity)),
    id(np.full): (np.full, _full),
}
"""Identity of a function -> the function, and what is called in its place."""
