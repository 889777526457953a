"""NumPy's functions and methods on traced arrays: the entry points of NumPy's protocols.

Functions are looked up in `numpy_table`, ufuncs in `ufuncs` and `numpy_ufuncs`, methods here.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace import numpy_choosing as choosing
from graphc.trace import numpy_joining as joining
from graphc.trace import numpy_making as making
from graphc.trace import numpy_products as products
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_running as running
from graphc.trace import numpy_shapes as shapes
from graphc.trace import numpy_sorting as sorting
from graphc.trace import python_numbers
from graphc.trace.numpy_table import FUNCTIONS, TAKES_OUT, qualified_name
from graphc.trace.numpy_ufuncs import call, call_ufunc, store_into, unsupported
from graphc.trace.scope import user_loc
from graphc.trace.selection import Selection
from graphc.trace.tracer import Tracer

__all__ = ["FUNCTIONS", "METHODS", "call_function", "call_method", "call_ufunc", "qualified_name"]


def call_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A NumPy function that is not a ufunc, by the table."""
    selected = next((x for x in args if isinstance(x, Selection)), None)
    if selected is not None:
        return selected.__array_function__(func, (), args, kwargs)
    name = qualified_name(func)
    if func not in FUNCTIONS:
        raise unsupported(name)
    out = None
    if func in TAKES_OUT:
        args, out = _without_out(args, kwargs, _place_of_out(func))
    result = call(name, FUNCTIONS[func], args, kwargs)
    return result if out is None else store_into(out, result)


def call_method(name: str, x: Tracer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.name(*args, **kwargs)`"""
    out = None
    if name in _PLACE_OF_OUT:
        args, out = _without_out(args, kwargs, _PLACE_OF_OUT[name])
    result = call(f".{name}()", METHODS[name], (x, *args), kwargs)
    return result if out is None else store_into(out, result)


def _without_out(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: int
) -> tuple[tuple[Any, ...], Any]:
    """The positional arguments without the one at `place`, which is `out`, and that.

    The functions of the tables do not have it; what stands behind it moves up.
    """
    if len(args) <= place:
        return args, kwargs.pop("out", None)
    return args[:place] + args[place + 1 :], args[place]


@functools.cache
def _place_of_out(func: Any) -> int:
    """Where `out` stands among the positional parameters of a NumPy function, if it does."""
    for place, parameter in enumerate(inspect.signature(func).parameters.values()):
        if parameter.name == "out" and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            return place
    return sys.maxsize


# ---- methods -------------------------------------------------------------------------------------


def _reshape_method(x: Tracer, *shape: Any, order: str = "C") -> Tracer:
    return shapes.reshape(x, shape[0] if len(shape) == 1 else shape, order)


def _transpose_method(x: Tracer, *axes: Any) -> Tracer:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return shapes.transpose(x, axes[0])
    return shapes.transpose(x, axes or None)


def _fill(x: Tracer, value: Any) -> None:
    x[...] = value


def _partition(x: Tracer, kth: Any, axis: Any = -1) -> None:
    x.store(sorting.partition(x, kth, axis).value())


def _put(x: Tracer, indices: Any, values: Any) -> None:
    flat = shapes.reshape(x, -1)
    if flat.storage is not x.storage:
        raise errors.UnsupportedFunctionError(
            ".put() can be traced on a contiguous array; assign by an index array", user_loc()
        )
    flat[indices] = values


METHODS: dict[str, Callable[..., Any]] = {
    "sum": reductions.sum,
    "prod": reductions.prod,
    "max": reductions.max,
    "min": reductions.min,
    "any": reductions.any,
    "all": reductions.all,
    "mean": reductions.mean,
    "var": reductions.var,
    "std": reductions.std,
    "ptp": reductions.ptp,
    "cumsum": running.cumsum,
    "cumprod": running.cumprod,
    "sort": sorting.sort_method,
    "argsort": sorting.argsort,
    "partition": _partition,
    "argpartition": sorting.argpartition,
    "searchsorted": sorting.searchsorted,
    "choose": choosing.choose,
    "compress": lambda a, condition, axis=None: choosing.compress(condition, a, axis),
    "put": _put,
    "argmax": reductions.argmax,
    "argmin": reductions.argmin,
    "reshape": _reshape_method,
    "transpose": _transpose_method,
    "ravel": shapes.ravel,
    "view": shapes.view,
    "flatten": lambda a, order="C": making.copy(shapes.ravel(a, order)),
    "swapaxes": shapes.swapaxes,
    "squeeze": shapes.squeeze,
    "repeat": joining.repeat,
    "astype": making.astype,
    "copy": making.copy,
    "clip": choosing.clip,
    "round": making.np_round,
    "dot": products.dot,
    "take": choosing.take,
    "trace": choosing.trace,
    "diagonal": choosing.diagonal,
    "conj": lambda a: np.conjugate(a),
    "conjugate": lambda a: np.conjugate(a),
    "fill": _fill,
    "item": python_numbers.item,
    "tolist": python_numbers.tolist,
    "nonzero": FUNCTIONS[np.nonzero],
}
"""ndarray method -> its traced form; the first argument is the array."""

_PLACE_OF_OUT = {
    **dict.fromkeys("max min any all argmax argmin ptp choose".split(), 1),
    **dict.fromkeys("sum prod mean var std cumsum cumprod clip take compress".split(), 2),
    "dot": 1,
    "trace": 4,
}
"""ndarray method that can write into an array -> where that stands among its arguments."""
