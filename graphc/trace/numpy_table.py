"""The table of NumPy's functions: which traced function stands for each.

Each entry has the signature of the NumPy function that it stands for, restricted to the parameters
that graphc honours; a call with any other parameter is an error that names it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace import fourier, special_functions
from graphc.trace import numpy_choosing as choosing
from graphc.trace import numpy_counting as counting
from graphc.trace import numpy_einsum as einsums
from graphc.trace import numpy_indices as indices
from graphc.trace import numpy_joining as joining
from graphc.trace import numpy_linalg as linalg
from graphc.trace import numpy_logic as logic
from graphc.trace import numpy_making as making
from graphc.trace import numpy_padding as padding
from graphc.trace import numpy_polynomials as polynomials
from graphc.trace import numpy_products as products
from graphc.trace import numpy_quantiles as quantiles
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_running as running
from graphc.trace import numpy_shapes as shapes
from graphc.trace import numpy_sorting as sorting
from graphc.trace import numpy_statistics as statistics
from graphc.trace.numpy_ufuncs import OF_MATRICES, SEVERAL_RESULTS
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift
from graphc.trace.ufuncs import UFUNCS

Entry = Callable[..., Any]


def _no_static_shape(name: str, instead: str) -> Entry:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise errors.DataDependentShapeError(
            f"{name} has a result whose shape depends on the data; {instead}", user_loc()
        )

    return refuse


def _named(module: Any, names: str, source: Any = np) -> dict[Any, Entry]:
    """The functions of a module that have NumPy's own names."""
    return {getattr(source, name): getattr(module, name) for name in names.split()}


_REDUCTIONS = _named(
    reductions,
    "sum prod max min any all mean average var std ptp count_nonzero nansum nanmean argmax argmin",
)
_SHAPES: dict[Any, Entry] = {
    **_named(
        shapes,
        "reshape ravel transpose matrix_transpose swapaxes moveaxis rollaxis expand_dims squeeze"
        " broadcast_arrays flip rot90",
    ),
    np.broadcast_to: shapes.np_broadcast_to,
    np.lib.stride_tricks.sliding_window_view: shapes.sliding_window_view,
    np.flipud: lambda m: shapes.flip(m, 0),
    np.fliplr: lambda m: shapes.flip(m, 1),
    np.atleast_1d: shapes.each(shapes.atleast_1d),
    np.atleast_2d: shapes.each(shapes.atleast_2d),
    np.atleast_3d: shapes.each(shapes.atleast_3d),
    np.shape: shapes.shape_of,
    np.ndim: lambda a: lift(a).ndim,
    np.size: lambda a, axis=None: math.prod(
        lift(a).shape[i] for i in reductions.normalise_axes(axis, lift(a).ndim)
    ),
}
_JOINING = _named(
    joining,
    "concatenate stack vstack hstack dstack column_stack block append split array_split"
    " apply_along_axis apply_over_axes hsplit vsplit dsplit tile repeat roll diff insert delete"
    " resize",
)
_PRODUCTS: dict[Any, Entry] = {
    **_named(products, "dot inner outer vdot tensordot kron cross"),
    np.einsum: einsums.einsum,
}
_CHOOSING = _named(
    choosing,
    "where select piecewise choose clip take take_along_axis put_along_axis compress extract isin"
    " diag diagflat diagonal fill_diagonal trace triu tril isclose allclose array_equal"
    " nan_to_num",
)
_RUNNING = _named(running, "cumsum cumprod nancumsum nancumprod ediff1d gradient trapezoid")
_SORTING = _named(
    sorting,
    "sort sort_complex argsort partition argpartition lexsort searchsorted digitize interp",
)
_QUANTILES = _named(quantiles, "median nanmedian quantile nanquantile percentile nanpercentile")
_COUNTING = _named(counting, "bincount histogram histogram_bin_edges histogram2d histogramdd")
_INDICES = _named(
    indices,
    "diag_indices_from tril_indices_from triu_indices_from einsum_path ix_ ravel_multi_index"
    " unravel_index put putmask place",
)
_STATISTICS = _named(
    statistics,
    "nanprod nanmax nanmin nanargmax nanargmin nanvar nanstd cov corrcoef convolve correlate",
)
_POLYNOMIALS = _named(
    polynomials, "polyval polyadd polysub polymul polyder polyint polyfit poly roots"
)
_LOGIC = _named(
    logic,
    "isposinf isneginf fix sinc angle real imag real_if_close iscomplex isreal iscomplexobj"
    " isrealobj array_equiv unwrap",
)
_MAKING: dict[Any, Entry] = {
    **_named(making, "full_like linspace logspace geomspace meshgrid vander copy copyto astype"),
    np.zeros_like: making.like(0),
    np.ones_like: making.like(1),
    np.empty_like: making.like(0),
    np.round: making.np_round,
    np.around: making.np_round,
    np.result_type: making.result_type,
    np.can_cast: making.can_cast,
    np.shares_memory: making.shares_memory,
    np.may_share_memory: making.shares_memory,
    np.i0: special_functions.np_i0,
    np.pad: padding.pad,
}


def _in_memory(name: str, instead: str) -> Entry:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise errors.UnsupportedFunctionError(
            f"{name} depends on how an array lies in memory, which a traced one does not say;"
            f" {instead}",
            user_loc(),
        )

    return refuse


_REFUSED: dict[Any, Entry] = {
    np.lib.stride_tricks.as_strided: _in_memory(
        "np.lib.stride_tricks.as_strided", "use sliding_window_view, reshape or an index array"
    ),
    np.frombuffer: _in_memory("np.frombuffer", "use x.view(dtype)"),
    np.nonzero: _no_static_shape(
        "np.nonzero", "use np.where(condition, x, y), or gc.nonzero(x, size)"
    ),
    np.unique: _no_static_shape("np.unique", "use np.sort(x), or gc.unique(x, size)"),
    **{
        getattr(np, name): _no_static_shape(f"np.{name}", "use gc.unique(x, size)")
        for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values")
        if hasattr(np, name)
    },
    np.flatnonzero: _no_static_shape(
        "np.flatnonzero", "use np.where(condition, x, y), or gc.nonzero(x, size)"
    ),
    np.argwhere: _no_static_shape(
        "np.argwhere", "use np.where(condition, x, y), or gc.nonzero(x, size)"
    ),
    np.union1d: _no_static_shape("np.union1d", "use np.concatenate and np.sort"),
    np.intersect1d: _no_static_shape("np.intersect1d", "use np.isin, whose shape is known"),
    np.setdiff1d: _no_static_shape("np.setdiff1d", "use np.isin, whose shape is known"),
    np.setxor1d: _no_static_shape("np.setxor1d", "use np.isin, whose shape is known"),
    np.trim_zeros: _no_static_shape("np.trim_zeros", "use np.where(condition, x, y)"),
}

FUNCTIONS: dict[Any, Entry] = {
    **_REDUCTIONS,
    **_SHAPES,
    **_JOINING,
    **_PRODUCTS,
    **_CHOOSING,
    **_RUNNING,
    **_SORTING,
    **_QUANTILES,
    **_COUNTING,
    **_INDICES,
    **_STATISTICS,
    **_POLYNOMIALS,
    **_LOGIC,
    **_MAKING,
    **linalg.FUNCTIONS,
    **fourier.FUNCTIONS,
    **_REFUSED,
}
"""NumPy function -> its traced form."""

FUNCTIONS[np.amax], FUNCTIONS[np.amin] = reductions.max, reductions.min

for _name, _entry in (  # of NumPy 2.1 and later
    ("cumulative_sum", running.cumulative_sum),
    ("cumulative_prod", running.cumulative_prod),
    ("unstack", joining.unstack),
):
    if hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = _entry

TAKES_OUT = frozenset(
    {getattr(np, name) for name in ("cumulative_sum", "cumulative_prod") if hasattr(np, name)}
    | {np.linalg.multi_dot}
    | {np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.any, np.all, np.mean, np.var, np.std}
    | {np.argmax, np.argmin, np.concatenate, np.stack, np.clip, np.dot, np.take, np.ptp}
    | {np.cumsum, np.cumprod, np.median, np.quantile, np.percentile, np.einsum, np.trace}
    | {np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.choose}
    | {np.outer, np.compress, np.nanmedian, np.nan_to_num, np.fix}
    | {np.nanquantile, np.nanpercentile, np.isposinf, np.isneginf, np.choose, np.nanargmax}
    | {np.nanargmin, np.nancumsum, np.nancumprod, np.vstack, np.hstack}
)
"""Functions whose result may go into an array that `out=` names."""


# ---- what stands for what cannot be traced -------------------------------------------------------

_INSTEAD = {
    "np.add.reduceat": "use np.sum of slices",
}
"""NumPy function that cannot be traced -> what does the same, where names are no guide."""


def qualified_name(func: Any) -> str:
    """How a user writes a NumPy function: `np.sum`, `np.linalg.norm`."""
    module = str(getattr(func, "__module__", "numpy")).replace("numpy", "np", 1)
    return f"{module}.{func.__name__}"


def instead_of(name: str) -> str:
    """What to use in place of a function that is not in the tables."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    known = [qualified_name(f) for f in FUNCTIONS if f not in _REFUSED]
    known += [f"np.{ufunc.__name__}" for ufunc in (*UFUNCS, *OF_MATRICES, *SEVERAL_RESULTS)]
    near = difflib.get_close_matches(name, known, 1, 0.6)
    return f"the nearest that can is {near[0]}" if near else "write it with functions that can"
