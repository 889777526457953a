"""The formulas of complex arithmetic, on pairs of real values.

Each is the one by which NumPy computes: multiplication in parts, with the NaN that a product of
zero and infinity gives; division by Smith's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.build import Value
from graphc.ir import PARTS, WHOLES, Op
from graphc.ops import complex_decompositions as decompositions
from graphc.ops import complex_eigenvalues, complexes, cumulative, linalg, matrices, reduce, shape
from graphc.ops import elementwise as ew
from graphc.ops.complex_matrices import Matrix, in_parts

Pair = tuple[Value, Value]


def _multiply(x: Pair, y: Pair) -> Pair:
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _divide(x: Pair, y: Pair) -> Pair:
    """Smith's method: no square of a part of y overflows.  By zero, each part is divided by it."""
    sizes = [ew.abs(part) for part in y]
    by_real = ew.greater_equal(sizes[0], sizes[1])
    is_zero = ew.logical_and(ew.equal(sizes[0], 0.0), ew.equal(sizes[1], 0.0))
    large = ew.where(by_real, y[0], y[1])
    small = ew.where(by_real, y[1], y[0])
    safe = ew.where(is_zero, large.literal(1.0), large)
    ratio = small / safe
    scale = 1.0 / (safe + small * ratio)
    first = ew.where(by_real, x[0], x[1])
    second = ew.where(by_real, x[1], x[0])
    real = (first + second * ratio) * scale
    product = first * ratio
    imag = ew.where(by_real, second - product, product - second) * scale
    return ew.where(is_zero, x[0] / sizes[0], real), ew.where(is_zero, x[1] / sizes[0], imag)


def _equal(x: Pair, y: Pair) -> tuple[Value]:
    return (ew.logical_and(ew.equal(x[0], y[0]), ew.equal(x[1], y[1])),)


def _not_equal(x: Pair, y: Pair) -> tuple[Value]:
    return (ew.logical_or(ew.not_equal(x[0], y[0]), ew.not_equal(x[1], y[1])),)


def _matmul(x: Pair, y: Pair) -> Pair:
    products = [[linalg.matmul(a, b) for b in y] for a in x]
    return products[0][0] - products[1][1], products[0][1] + products[1][0]


def _cast(x: tuple[Value, ...], *, dtype: str) -> Pair:
    """To another complex dtype; a real number has the imaginary part 0."""
    real = ew.cast(x[0], dtype=PARTS[dtype])
    return real, ew.cast(x[1], dtype=PARTS[dtype]) if len(x) == 2 else real.literal(0.0)


def product(x: Pair, *, axes: tuple[int, ...]) -> Pair:
    """By halves: the first half times the second, until one factor is left."""
    kept = [i for i in range(len(x[0].shape)) if i not in axes]
    sizes = tuple(x[0].shape[i] for i in kept)
    count = math.prod(x[0].shape[axis] for axis in axes)
    first, second = (
        shape.reshape(shape.transpose(part, axes=(*axes, *kept)), shape=(count, *sizes))
        for part in x
    )
    pair = (first, second)
    while count > 1:
        half = count // 2
        low, high, rest = (
            (_rows(pair[0], start, size), _rows(pair[1], start, size))
            for start, size in ((0, half), (half, half), (2 * half, count % 2))
        )
        pair = _multiply(low, high)
        if count % 2:
            pair = (
                shape.concatenate(pair[0], rest[0], axis=0),
                shape.concatenate(pair[1], rest[1], axis=0),
            )
        count = half + count % 2
    if count:
        return shape.reshape(pair[0], shape=sizes), shape.reshape(pair[1], shape=sizes)
    builder, type = first.builder, first.type.with_shape(sizes)
    return builder.literal(1.0, type), builder.literal(0.0, type)


def _rows(x: Value, start: int, size: int) -> Value:
    rest = x.shape[1:]
    return shape.slice(
        x, starts=(start, *(0 for _ in rest)), sizes=(size, *rest), steps=(1,) * len(x.shape)
    )


def _cumprod(x: Pair, *, axis: int, reverse: bool) -> Pair:
    """By doubling: after k rounds each element is the product of the last 2**k up to it."""
    step, pair = 1, x
    while step < x[0].shape[axis]:
        before = (
            _moved(pair[0], axis, step, reverse, 1.0),
            _moved(pair[1], axis, step, reverse, 0.0),
        )
        pair = _multiply(before, pair)
        step *= 2
    return pair


def _moved(x: Value, axis: int, step: int, reverse: bool, fill: float) -> Value:
    """`x` moved by some places along an axis; what comes in is `fill`."""
    zeros = (0,) * len(x.shape)
    steps = tuple(step if i == axis else 0 for i in range(len(x.shape)))
    sizes = tuple(n - k for n, k in zip(x.shape, steps, strict=True))
    kept = shape.slice(x, starts=steps if reverse else zeros, sizes=sizes, steps=(1,) * len(zeros))
    low, high = (zeros, steps) if reverse else (steps, zeros)
    return shape.pad(kept, low=low, high=high, value=fill)


def _pad(x: Pair, *, low: Any, high: Any, value: Any) -> Pair:
    return (
        shape.pad(x[0], low=low, high=high, value=value),
        shape.pad(x[1], low=low, high=high, value=0.0),
    )


# ---- decompositions ------------------------------------------------------------------------------


def _decomposed(op: Op) -> Callable[..., tuple[Value, ...]]:
    """A decomposition by the op for pairs of numbers that lie in memory; its complex results are
    split again, its real ones are as they are."""

    def rule(*operands: tuple[Value, ...], **attrs: Any) -> tuple[Value, ...]:
        memory = [Matrix(*parts).memory() for parts in operands]
        outs = matrices.emit_all(op, *memory, **attrs)
        plain = PLAIN_RESULTS.get(op.name, ())
        parts: list[Value] = []
        for i, out in enumerate(outs):
            parts += (out,) if i in plain or out.dtype not in WHOLES else in_parts(out)
        return tuple(parts)

    return rule


PLAIN_RESULTS = {
    "complex_eigh": (0,),
    "complex_svd": (1,),
    "complex_singular_values": (0,),
    "complex_slogdet": (1,),
}
"""Which results of a decomposition are real."""


def _eig(a: tuple[Value, ...]) -> tuple[Value, ...]:
    """Of a real matrix LAPACK finds eigenvalues that come in conjugate pairs."""
    if len(a) == 2:
        return _decomposed(complex_eigenvalues.eig)(a)
    w, v, info = matrices.emit_all(complex_eigenvalues.real_eig, a[0])
    return (*in_parts(w), *in_parts(v), info)


def _det(a: Pair) -> Pair:
    """From its logarithm's parts no digit is lost but those of the size."""
    sign, log = matrices.emit_all(decompositions.slogdet, Matrix(*a).memory())
    size = ew.exp(log)
    real, imag = in_parts(sign)
    return real * size, imag * size


OF_EACH_PART = frozenset(
    "reshape transpose broadcast slice skew update_slice concatenate where stop_gradient add"
    " subtract negative sum cumsum take pick scatter_add put".split()
)
"""Operations that do the same to both parts."""

RULES: dict[str, Callable[..., tuple[Value, ...]]] = {
    complexes.complex.name: lambda real, imag: (*real, *imag),
    complexes.real.name: lambda x: (x[0],),
    complexes.imag.name: lambda x: (x[1],),
    ew.multiply.name: _multiply,
    ew.divide.name: _divide,
    ew.equal.name: _equal,
    ew.not_equal.name: _not_equal,
    linalg.matmul.name: _matmul,
    reduce.prod.name: product,
    cumulative.cumprod.name: _cumprod,
    shape.pad.name: _pad,
    ew.cast.name: _cast,
    "det": _det,
    "eig": _eig,
    "eigh": _decomposed(complex_eigenvalues.eigh),
    **{
        name: _decomposed(getattr(decompositions, name))
        for name in "solve slogdet cholesky qr svd singular_values pinv".split()
    },
}
"""Operations whose parts depend on each other: name -> a function of the parts of the operands."""
