"""`x[mask]` for a traced mask: as many elements as the mask has true ones, a number not known.

The selection keeps the whole array and the mask.  Functions of single elements act on the whole
array, reductions count the selected elements, and assigning it back under the same mask writes
them: `x[m] = f(x[m])`, `x[m] += v` and `x[m].mean()` have shapes that are known.  Everything else
would depend on the number of elements, and is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from graphc import errors
from graphc.build import Value
from graphc.ir import DTYPE_NAMES, FLOATS, Atom, Eqn, Lit, Loc, Var
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import numpy_reductions as reductions
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.promotion import cast_to
from graphc.trace.scope import current, user_loc
from graphc.trace.tracer import Tracer, lift, wrap


class Selection(NDArrayOperatorsMixin):
    """The elements of `array` whose leading indices are true in `mask`."""

    __graphc_leaf__ = True
    __array_priority__ = 1001

    def __init__(self, array: Tracer, mask: Tracer):
        self.array = array
        self.mask = mask
        self.loc = user_loc()

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def real(self) -> Selection:
        return Selection(self.array.real, self.mask)

    @property
    def imag(self) -> Selection:
        return Selection(self.array.imag, self.mask)

    @property
    def ndim(self) -> int:
        return self.array.ndim - self.mask.ndim + 1

    @property
    def rest(self) -> tuple[int, ...]:
        """The shape of one selected element."""
        return self.array.shape[self.mask.ndim :]

    def full_mask(self) -> Tracer:
        """The mask in the shape of the array."""
        return spread_mask(self.mask, self.array.shape)

    def __repr__(self) -> str:
        return f"Selected({self.array.type} where {self.mask.type})"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        # Perhaps as a result, when the function has ended: the line is that of the selection.
        raise unknown_size("this use of x[mask]", self.loc)

    def __len__(self) -> int:
        raise unknown_size("len(x[mask])")

    def __iter__(self) -> Any:
        raise unknown_size("iterating over x[mask]")

    def __getitem__(self, index: Any) -> Any:
        raise unknown_size("x[mask][...]")

    def __setitem__(self, index: Any, new: Any) -> None:
        raise unknown_size("x[mask][...] = v, which changes a copy of x; write x[mask] = v;")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if method == "reduce" and ufunc in _REDUCE:
            return _REDUCE[ufunc](inputs[0], **kwargs)
        if method != "__call__" or (out is not None and out[0] is not self):
            raise unknown_size(f"np.{ufunc.__name__} of x[mask]")
        result = apply_elementwise(ufunc, list(inputs), kwargs)
        if out is None:
            return result
        assert isinstance(result, Selection)
        self.array = result.array.astype(self.dtype)
        return self

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in _ELEMENTWISE and "out" not in kwargs:
            return apply_elementwise(func, list(args), kwargs)
        entry = _FUNCTIONS.get(func)
        if entry is None or not isinstance(args[0], Selection):
            raise unknown_size(f"np.{func.__name__} of x[mask]")
        return entry(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *args, **kwargs: _METHODS[name](self, *args, **kwargs)
        if name.startswith("__"):
            raise AttributeError(name)
        raise unknown_size(f"x[mask].{name}")


def unknown_size(what: str, loc: Loc | None = None) -> errors.DataDependentShapeError:
    return errors.DataDependentShapeError(
        f"{what} depends on how many elements the mask selects, which is not known while tracing;"
        " use np.where(mask, x, 0), whose shape is known, np.count_nonzero(mask) for the number,"
        " or what x[mask] has: elementwise functions, reductions, and assigning it back to x[mask]",
        loc or user_loc(),
    )


def spread_mask(mask: Tracer, shape: tuple[int, ...]) -> Tracer:
    """A mask over leading axes, repeated over the others."""
    value = mask.value()
    if mask.shape == shape:
        return mask
    return wrap(shape_ops.broadcast(value, shape=shape, axes=tuple(range(mask.ndim))))


# ---- elementwise ---------------------------------------------------------------------------------


def apply_elementwise(ufunc: Any, inputs: list[Any], kwargs: dict[str, Any]) -> Any:
    """A ufunc of selections by one mask and of values that are the same for each element."""
    first = next(x for x in inputs if isinstance(x, Selection))
    arrays = [_as_whole(x, first) for x in inputs]
    result = ufunc(*arrays, **kwargs)
    if isinstance(result, tuple):
        return tuple(Selection(part, first.mask) for part in result)
    return Selection(result, first.mask)


def _as_whole(x: Any, like: Selection) -> Any:
    if isinstance(x, Selection):
        if not same_value(x.mask, like.mask) or x.array.ndim != like.array.ndim:
            raise unknown_size("combining elements that two masks select")
        return x.array
    if np.ndim(x) > len(like.rest):
        raise unknown_size("combining x[mask] with an array")
    return x


def same_value(a: Tracer, b: Tracer) -> bool:
    """Whether two traced values are computed in the same way from the same values."""
    first, second = a.value().atom, b.value().atom
    if first is second:
        return True
    eqns = {out: eqn for eqn in current().builder.eqns for out in eqn.outs}
    return _same(first, second, eqns)


def _same(a: Atom, b: Atom, eqns: dict[Var, Eqn]) -> bool:
    if a is b or (isinstance(a, Lit) and a == b):
        return True
    if isinstance(a, Lit) or isinstance(b, Lit) or a not in eqns or b not in eqns:
        return False
    one, other = eqns[a], eqns[b]
    alike = one.op is other.op and len(one.outs) == 1 and dict(one.attrs) == dict(other.attrs)
    return (
        alike
        and one.op.effect is None
        and all(_same(x, y, eqns) for x, y in zip(one.ins, other.ins, strict=True))
    )


# ---- reductions ----------------------------------------------------------------------------------


def _axes(selection: Selection, axis: Any) -> tuple[int, ...] | None:
    """Axes of the selection as axes of the whole array; its first stands for those of the mask."""
    if axis is None:
        return None
    covered = selection.mask.ndim
    given = reductions.normalise_axes(axis, selection.ndim)
    if 0 not in given:
        raise unknown_size("a reduction of x[mask] that keeps its first axis")
    return (*range(covered), *(a - 1 + covered for a in given[1:]))


def _reduction(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def apply(a: Selection, axis: Any = None, **options: Any) -> Any:
        _expect_options(options, ("dtype", "ddof", "correction"))
        return reduce(a.array, _axes(a, axis), where=a.full_mask(), **options)

    return apply


def _expect_options(options: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise errors.UnsupportedFunctionError(
            f"a reduction of x[mask] cannot be traced with {', '.join(unknown)}=; leave it out",
            user_loc(),
        )


def _extremum(reduce: Callable[..., Any], is_max: bool) -> Callable[..., Any]:
    """NumPy has no extremum of no elements, and neither has the step."""

    def apply(a: Selection, axis: Any = None, **options: Any) -> Any:
        _expect_options(options, ())
        _expect_some(a, "a maximum or minimum")
        return reduce(a.array, _axes(a, axis), initial=worst(a.dtype, is_max), where=a.full_mask())

    return apply


def worst(dtype: np.dtype, is_max: bool) -> Any:
    if dtype.kind == "c":
        raise errors.UnsupportedFunctionError(
            "an extremum of some complex numbers cannot be traced; use np.abs or .real", user_loc()
        )
    if DTYPE_NAMES[dtype] in FLOATS:
        return -np.inf if is_max else np.inf
    if dtype.kind == "b":
        return not is_max
    limits = np.iinfo(dtype)
    return limits.min if is_max else limits.max


def _expect_some(a: Selection, what: str) -> None:
    found = reductions.any(a.mask).value()
    index_ops.check(
        found,
        cast_to(found, "i64"),
        error="ValueError",
        message=f"{what} of x[mask], of which the mask selects no element",
    )


def _median(a: Selection, axis: Any = None) -> Any:
    """NaN stands for what is not selected; of a NaN that is, the median is NaN."""
    whole = a.array if DTYPE_NAMES[a.dtype] in FLOATS else a.array.astype(np.float64)
    mask = a.full_mask()
    axes = _axes(a, axis)
    result = np.nanmedian(np.where(mask, whole, np.nan), axes)
    has_nan = reductions.any(np.logical_and(mask, np.isnan(whole)), axes)
    return np.where(has_nan, np.nan, result)


def _count_nonzero(a: Selection) -> Any:
    return reductions.count_nonzero(np.where(a.full_mask(), a.array, np.zeros((), a.dtype)))


def _norm(x: Selection) -> Any:
    return np.sqrt(_METHODS["sum"](np.square(np.absolute(x))))


def _dot(a: Any, b: Any) -> Any:
    if not (isinstance(a, Selection) and isinstance(b, Selection) and a.ndim == b.ndim == 1):
        raise unknown_size("a product of x[mask] with an array")
    return _METHODS["sum"](a * b)


def _ptp(a: Selection) -> Any:
    return _METHODS["max"](a) - _METHODS["min"](a)


def _astype(a: Selection, dtype: Any, copy: bool = True) -> Selection:
    return Selection(a.array.astype(dtype), a.mask)


def _copy(a: Selection, order: str = "K") -> Selection:
    return Selection(a.array, a.mask)


def _clip(a: Selection, low: Any = None, high: Any = None, **ends: Any) -> Selection:
    return Selection(np.clip(a.array, low, high, **ends), a.mask)


_METHODS: dict[str, Callable[..., Any]] = {
    "sum": _reduction(reductions.sum),
    "prod": _reduction(reductions.prod),
    "mean": _reduction(reductions.mean),
    "var": _reduction(reductions.var),
    "std": _reduction(reductions.std),
    "any": _reduction(reductions.any),
    "all": _reduction(reductions.all),
    "max": _extremum(reductions.max, True),
    "min": _extremum(reductions.min, False),
    "dot": _dot,
    "astype": _astype,
    "copy": _copy,
    "conj": np.conjugate,
    "conjugate": np.conjugate,
    "clip": _clip,
}
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): method for name, method in _METHODS.items() if hasattr(np, name)},
    np.amax: _METHODS["max"],
    np.amin: _METHODS["min"],
    np.ptp: _ptp,
    np.median: _median,
    np.count_nonzero: _count_nonzero,
    np.linalg.norm: _norm,
}
_ELEMENTWISE = frozenset(
    {np.where, np.clip, np.sinc, np.nan_to_num, np.round, np.around, np.fix, np.isclose, np.i0}
    | {
        np.isposinf,
        np.isneginf,
        np.angle,
        np.real,
        np.imag,
        np.real_if_close,
        np.isreal,
        np.iscomplex,
    }
)
"""Functions of single elements that are no ufuncs."""
_REDUCE: dict[Any, Callable[..., Any]] = {
    np.add: _METHODS["sum"],
    np.multiply: _METHODS["prod"],
    np.maximum: _METHODS["max"],
    np.minimum: _METHODS["min"],
    np.logical_and: _METHODS["all"],
    np.logical_or: _METHODS["any"],
}


# ---- assigning -----------------------------------------------------------------------------------


def assign(x: Tracer, mask: Tracer, new: Any, before: int = 0) -> None:
    """`x[:, ..., mask] = new`, for a mask behind `before` whole axes."""
    if mask.shape != x.shape[before : before + mask.ndim]:
        raise errors.ShapeError(
            f"the mask {mask.type} does not fit the axes of {x.type} that it indexes", user_loc()
        )
    axes = tuple(range(before, before + mask.ndim))
    chosen = wrap(shape_ops.broadcast(mask.value(), shape=x.shape, axes=axes))
    whole = _assigned(x, mask, new, before)
    x.store(ew.where(chosen.value(), whole, x.value()))


def _assigned(x: Tracer, mask: Tracer, new: Any, before: int) -> Value:
    """The values of all elements of x, those that the mask does not select included."""
    if isinstance(new, Selection):
        if before or not same_value(new.mask, mask) or new.array.ndim > x.ndim:
            raise unknown_size("assigning elements that another mask selects")
        return broadcast_to(_converted(new.array, x), x.shape)
    value = lift(new)
    behind = x.ndim - before - mask.ndim
    if value.ndim > behind and value.shape[value.ndim - behind - 1] == 1:  # one row for all
        shape = value.shape[: value.ndim - behind - 1] + (1,) * mask.ndim
        value = value.reshape(shape + value.shape[value.ndim - behind :])
    elif value.ndim > behind:
        return _in_order(x, mask, value, before)
    return broadcast_to(_converted(value, x), x.shape)


def _in_order(x: Tracer, mask: Tracer, value: Tracer, before: int) -> Value:
    """As many values as there are true elements: each gets the next one.  Checked by the step."""
    rest = x.shape[mask.ndim :]
    if before or value.shape[1:] != rest:
        raise unknown_size(f"assigning {value.type} under a mask")
    total = reductions.count_nonzero(mask).value()
    size = value.shape[0]
    index_ops.check(
        ew.equal(total, size),
        total,
        error="ValueError",
        message=f"cannot assign {size} input values to the {{value}} elements of the mask",
    )
    if not size:
        return x.value()
    place = np.cumsum(mask.ravel()) - 1
    taken = value[np.clip(place, 0, size - 1)]
    return _converted(taken.reshape(x.shape), x)


def _converted(value: Tracer, x: Tracer) -> Value:
    from graphc.trace.indexing import cast_assigned

    return cast_assigned(value, x)
