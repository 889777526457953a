"""`np.fft`: transforms as products with small matrices of roots of unity (Cooley and Tukey, 1965).

A transform of n1 * n2 elements is one of n1 for each of n2 columns, a rotation of each element, and
one of n2 for each of n1 rows.  Lengths without factors are multiplied by the whole matrix, and long
ones become convolutions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES, FLOATS, NARROW
from graphc.trace.complex_parts import joined
from graphc.trace.numpy_products import matmul
from graphc.trace.numpy_reductions import normalise_axis
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift, wrap

DENSE = 32
"""Up to this length the matrix is multiplied with as a whole."""
LONGEST_DENSE = 512
"""Longer lengths without factors become convolutions."""


def _roots(rows: np.ndarray, columns: np.ndarray, size: int, dtype: Any) -> tuple[Any, Any]:
    """exp(-2 pi i rows columns / size), with the angle reduced first so that it is exact."""
    angles = 2 * np.pi * ((rows[:, None] * columns[None, :]) % size) / size
    return np.cos(angles).astype(dtype), -np.sin(angles).astype(dtype)


def _factor(size: int) -> int:
    """The factor of `size` nearest to its root from below, 1 for primes."""
    return max(k for k in range(1, int(size**0.5) + 1) if size % k == 0)


def _transform(real: Any, imag: Any) -> tuple[Any, Any]:
    """Along the last axis; `imag` is None for real numbers."""
    size, dtype = real.shape[-1], real.dtype
    first = _factor(size)
    if size <= DENSE or first == 1:
        if size > LONGEST_DENSE:
            return _by_convolution(real, imag)
        places = np.arange(size)
        return _multiplied(real, imag, *_roots(places, places, size, dtype))
    second = size // first
    batch = real.shape[:-1]

    def columns(x: Any) -> Any:
        return np.swapaxes(np.reshape(x, (*batch, first, second)), -1, -2)

    re, im = _transform(columns(real), None if imag is None else columns(imag))
    cosine, sine = _roots(np.arange(second), np.arange(first), size, dtype)
    re, im = re * cosine - im * sine, re * sine + im * cosine
    re, im = _transform(np.swapaxes(re, -1, -2), np.swapaxes(im, -1, -2))
    order = [np.reshape(np.swapaxes(x, -1, -2), (*batch, size)) for x in (re, im)]
    return order[0], order[1]


def _by_convolution(real: Any, imag: Any) -> tuple[Any, Any]:
    """With jk = (j² + k² - (k - j)²) / 2, a transform of any length is a convolution, and that is
    three transforms of a length that has factors (Bluestein, 1970)."""
    size, dtype = real.shape[-1], real.dtype
    whole = 1 << (2 * size - 2).bit_length()
    turns = np.exp(-1j * np.pi * ((np.arange(size) ** 2) % (2 * size)) / size)
    kernel = np.zeros(whole, complex)
    kernel[:size] = np.conj(turns)
    kernel[whole - size + 1 :] = np.conj(turns[:0:-1])
    chirp, response = turns.astype(_complex_of(dtype)), np.fft.fft(kernel)
    re, im = _turned(real, imag, chirp)
    re, im = _transform(_resized(re, whole, re.ndim - 1), _resized(im, whole, im.ndim - 1))
    re, im = _turned(re, im, (response / whole).astype(_complex_of(dtype)))
    re, im = _transform(re, -im)  # the conjugate of the inverse
    re, im = re[..., :size], -im[..., :size]
    return _turned(re, im, chirp)


def _complex_of(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)


def _turned(real: Any, imag: Any, by: np.ndarray) -> tuple[Any, Any]:
    if imag is None:
        return real * by.real, real * by.imag
    return real * by.real - imag * by.imag, real * by.imag + imag * by.real


def _multiplied(real: Any, imag: Any, cosine: Any, sine: Any) -> tuple[Any, Any]:
    if imag is None:
        return matmul(real, cosine), matmul(real, sine)
    products: list[Any] = [matmul(x, y) for x in (real, imag) for y in (cosine, sine)]
    return products[0] - products[3], products[1] + products[2]


# ---- NumPy's functions ---------------------------------------------------------------------------


def _given(a: Any) -> tuple[Any, Any]:
    x = lift(a)
    if x.dtype_name in COMPLEXES:
        return wrap(x.real.value()), wrap(x.imag.value())
    if x.dtype_name in NARROW:
        return x.astype(np.float32), None
    return (x if x.dtype_name in FLOATS else x.astype(np.float64)), None


def _resized(x: Any, size: int, axis: int) -> Any:
    have = x.shape[axis]
    if size < have:
        return x[(slice(None),) * axis + (slice(size),)]
    if size == have:
        return x
    widths = [(0, size - have if i == axis else 0) for i in range(x.ndim)]
    return np.pad(x, widths)


def _scale(size: int, norm: Any, inverse: bool) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise errors.AttributeValueError(
            f"Invalid norm value {norm}; should be 'backward', 'ortho' or 'forward'", user_loc()
        )
    if norm == "ortho":
        return float(1 / np.sqrt(size))
    return 1.0 / size if (norm == "forward") != inverse else 1.0


def _along(a: Any, n: Any, axis: Any, norm: Any, inverse: bool) -> Any:
    real, imag = _given(a)
    along = normalise_axis(axis, real.ndim)
    size = operator.index(real.shape[along] if n is None else n)
    if size < 1:
        raise errors.ShapeError(f"Invalid number of FFT data points ({size}) specified", user_loc())
    real = np.moveaxis(_resized(real, size, along), along, -1)
    if imag is not None:
        imag = np.moveaxis(_resized(imag, size, along), along, -1)
        imag = -imag if inverse else imag  # the inverse is the conjugate of the conjugate's
    re, im = _transform(real, imag)
    scale = _scale(size, norm, inverse)
    re, im = (np.moveaxis(x if scale == 1.0 else x * scale, -1, along) for x in (re, im))
    return np.copy(joined(re, -im if inverse else im))


def fft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return _along(a, n, axis, norm, False)


def ifft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return _along(a, n, axis, norm, True)


def rfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    whole = _along(_real(a), n, axis, norm, False)
    along = normalise_axis(axis, whole.ndim)
    half = slice(whole.shape[along] // 2 + 1)
    return np.copy(whole[(slice(None),) * along + (half,)])


def _real(a: Any) -> Any:
    x = lift(a)
    if x.dtype_name in COMPLEXES:
        raise errors.DTypeError("rfft takes real input; use fft, or .real", user_loc())
    return x


def irfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    """The other half of the spectrum is the conjugate of the one that is given."""
    real, imag = _given(a)
    along = normalise_axis(axis, real.ndim)
    size = operator.index(2 * (real.shape[along] - 1) if n is None else n)
    if size < 1:
        raise errors.ShapeError(f"Invalid number of FFT data points ({size}) specified", user_loc())
    half = size // 2 + 1
    mirrored = np.arange(size - half, 0, -1)
    before = (slice(None),) * along
    wholes = []
    for part, sign in ((real, 1.0), (np.zeros_like(real) if imag is None else imag, -1.0)):
        kept = _resized(part, half, along)
        wholes.append(np.concatenate([kept, sign * kept[(*before, mirrored)]], along))
    result = np.copy(ifft(joined(*wholes), None, axis, norm).real)
    return result.astype(lift(a).dtype) if lift(a).dtype_name in NARROW else result


def hfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    """The real transform of what is the conjugate of itself read backwards."""
    return irfft(np.conjugate(a), n, axis, _SWAPPED.get(norm, norm))


def ihfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return np.conjugate(rfft(a, n, axis, _SWAPPED.get(norm, norm)))


_SWAPPED = {None: "forward", "backward": "forward", "forward": "backward"}
"""Which of two directions is scaled, seen from the other one."""


def _of_axes(one: Callable[..., Any], count: int | None) -> Callable[..., Any]:
    """A transform along several axes, the last first."""

    def apply(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        rank = len(np.shape(a))
        if axes is None:
            chosen = range(rank) if s is None else range(rank - len(s), rank)
            axes = list(chosen)[-count:] if count else list(chosen)
        sizes: Sequence[Any] = [None] * len(axes) if s is None else s
        for axis, size in reversed(list(zip(axes, sizes, strict=True))):
            a = one(a, size, axis, norm)
        return a

    return apply


def _of_real(last: Callable[..., Any], rest: Callable[..., Any], count: int | None) -> Any:
    """A transform of real numbers along the last of several axes, and of complex ones along the
    others; `last` comes first if it is `rfft`, and last if it is `irfft`."""

    def apply(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        rank = len(np.shape(a))
        if axes is None:
            chosen = range(rank) if s is None else range(rank - len(s), rank)
            axes = list(chosen)[-count:] if count else list(chosen)
        sizes: Sequence[Any] = [None] * len(axes) if s is None else s
        steps = [(rest, axis, n) for axis, n in zip(axes, sizes, strict=True)]
        steps[-1] = (last, *steps[-1][1:])
        for one, axis, n in reversed(steps) if last is rfft else steps:
            a = one(a, n, axis, norm)
        return a

    return apply


def _shifted(x: Any, axes: Any, sign: int) -> Any:
    rank = len(np.shape(x))
    chosen = range(rank) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    shape = np.shape(x)
    shift = [sign * (shape[axis] // 2) for axis in chosen]
    return np.roll(x, shift, list(chosen))


def fftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, 1)


def ifftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, -1)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.fft.fft: fft,
    np.fft.ifft: ifft,
    np.fft.rfft: rfft,
    np.fft.irfft: irfft,
    np.fft.fft2: _of_axes(fft, 2),
    np.fft.ifft2: _of_axes(ifft, 2),
    np.fft.fftn: _of_axes(fft, None),
    np.fft.ifftn: _of_axes(ifft, None),
    np.fft.rfft2: _of_real(rfft, fft, 2),
    np.fft.irfft2: _of_real(irfft, ifft, 2),
    np.fft.rfftn: _of_real(rfft, fft, None),
    np.fft.irfftn: _of_real(irfft, ifft, None),
    np.fft.hfft: hfft,
    np.fft.ihfft: ihfft,
    np.fft.fftshift: fftshift,
    np.fft.ifftshift: ifftshift,
}
"""`np.fft`'s functions."""
