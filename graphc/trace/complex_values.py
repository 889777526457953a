"""Complex values between a transform or a factor 1j and what is real again: two real arrays.

graphc has no complex dtype.  What `np.fft` or `x * 1j` gives is a `Complex`, whose arithmetic is
written out in its real and its imaginary part, so that it fuses and has gradients like any other.
It cannot be an argument or a result of a compiled function: those take its parts, or its absolute
value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from graphc import errors
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer


class Complex(NDArrayOperatorsMixin):
    """real + imag * 1j, of one shape and dtype."""

    __graphc_leaf__ = True
    __array_priority__ = 1002
    __hash__ = None  # type: ignore[assignment]  # as ndarray

    def __init__(self, real: Any, imag: Any):
        self.real = real
        self.imag = imag

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.real.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(self.real.size)

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(self.real.dtype, np.complex64)

    @property
    def T(self) -> Complex:
        return self.each(lambda part: part.T)

    def each(self, function: Callable[[Any], Any]) -> Complex:
        """Something done to both parts alike."""
        return Complex(function(self.real), function(self.imag))

    def __len__(self) -> int:
        return len(self.real)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Traced({self.dtype}{list(self.shape)})"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise refused("this use of a complex value")

    def __getitem__(self, index: Any) -> Complex:
        return self.each(lambda part: part[index])

    def __setitem__(self, index: Any, new: Any) -> None:
        real, imag = parts(new)
        self.real[index] = real
        self.imag[index] = 0.0 if imag is None else imag

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        result = complex_ufunc(ufunc, method, inputs, kwargs)
        if out is None:
            return result
        if out[0] is not self or not isinstance(result, Complex) or result.shape != self.shape:
            raise refused(f"np.{ufunc.__name__} with out=")
        self[...] = result
        return self

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from graphc.trace import fourier

        entry = fourier.FUNCTIONS.get(func) or _FUNCTIONS.get(func)
        if entry is not None:
            return entry(*args, **kwargs)
        if func in _OF_EACH_PART and isinstance(args[0], Complex):
            return args[0].each(lambda part: func(part, *args[1:], **kwargs))
        raise refused(f"np.{func.__name__}")

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *args, **kwargs: self.each(
                lambda part: getattr(part, name)(*args, **kwargs)
            )
        if name.startswith("__"):
            raise AttributeError(name)
        raise refused(f"the attribute .{name}")

    def conj(self) -> Complex:
        return Complex(self.real, -self.imag)

    conjugate = conj

    def __abs__(self) -> Any:
        return np.hypot(self.real, self.imag)


def refused(what: str) -> errors.DTypeError:
    return errors.DTypeError(
        f"{what} cannot be traced on complex values, which exist only between np.fft or 1j and what"
        " makes them real: use .real, .imag, np.abs, arithmetic, indexing and sums",
        user_loc(),
    )


def is_complex_constant(x: Any) -> bool:
    """Whether this is a complex number or an ordinary array of them."""
    return isinstance(x, (complex, np.ndarray)) and np.iscomplexobj(x)


def complex_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc of which one operand at least is complex."""
    if method != "__call__" or ufunc not in _UFUNCS or kwargs:
        raise refused(f"np.{ufunc.__name__}")
    return _UFUNCS[ufunc](*map(parts, inputs))


def parts(x: Any) -> tuple[Any, Any]:
    """The real part and the imaginary one, None for real numbers."""
    if isinstance(x, Complex):
        return x.real, x.imag
    if isinstance(x, complex) and not isinstance(x, np.generic):
        return x.real, x.imag
    if not isinstance(x, Tracer) and np.iscomplexobj(x):
        return np.real(x), np.imag(x)
    return x, None


# ---- arithmetic ----------------------------------------------------------------------------------

Parts = tuple[Any, Any]


def _add(x: Parts, y: Parts) -> Complex:
    real = np.add(x[0], y[0])
    if x[1] is None or y[1] is None:
        return _spread(real, y[1] if x[1] is None else x[1])
    return Complex(real, np.add(x[1], y[1]))


def _spread(real: Any, imag: Any) -> Complex:
    shape = np.broadcast_shapes(np.shape(real), np.shape(imag))
    imag = np.broadcast_to(imag, shape).astype(real.dtype)
    return Complex(real, np.copy(imag))


def _negative(x: Parts) -> Complex:
    return Complex(np.negative(x[0]), np.negative(x[1]))


def _subtract(x: Parts, y: Parts) -> Complex:
    return _add(x, (-y[0], None if y[1] is None else -y[1]))


def _multiply(x: Parts, y: Parts) -> Complex:
    if y[1] is None:
        return Complex(np.multiply(x[0], y[0]), np.multiply(x[1], y[0]))
    if x[1] is None:
        return Complex(np.multiply(x[0], y[0]), np.multiply(x[0], y[1]))
    real = np.subtract(np.multiply(x[0], y[0]), np.multiply(x[1], y[1]))
    return Complex(real, np.add(np.multiply(x[0], y[1]), np.multiply(x[1], y[0])))


def _divide(x: Parts, y: Parts) -> Complex:
    if y[1] is None:
        return Complex(np.true_divide(x[0], y[0]), np.true_divide(x[1], y[0]))
    # By operators: the parts of a Python number stay Python's, which leave float32 as it is.
    size = y[0] * y[0] + y[1] * y[1]
    if isinstance(size, float) and size == 0.0:
        size = np.float64(size)  # NumPy's division by zero, not Python's
    return _multiply(x, (y[0] / size, -y[1] / size))


def _exp(x: Parts) -> Complex:
    size = np.exp(x[0])
    return Complex(size * np.cos(x[1]), size * np.sin(x[1]))


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.negative: _negative,
    np.positive: lambda x: Complex(*x),
    np.square: lambda x: _multiply(x, x),
    np.conjugate: lambda x: Complex(x[0], np.negative(x[1])),
    np.absolute: lambda x: np.hypot(*x),
    np.exp: _exp,
}
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.real: lambda val: val.real,
    np.imag: lambda val: val.imag,
    np.angle: lambda z, deg=False: np.arctan2(z.imag, z.real) * (180 / np.pi if deg else 1),
    np.iscomplexobj: lambda x: True,
    np.isrealobj: lambda x: False,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: a.size,
}
_OF_EACH_PART = frozenset(
    {np.sum, np.mean, np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.roll}
    | {np.flip, np.squeeze, np.expand_dims, np.copy, np.tile, np.repeat, np.take, np.diff}
    | {np.cumsum, np.pad}
)
_METHODS = frozenset("sum mean reshape ravel flatten transpose swapaxes copy squeeze".split())
