"""Complex matrices in the language of gradient rules: pairs of real values.

As operands and results of decompositions they lie in memory as NumPy has them: real arrays with one
more axis, of size 2.  A cotangent holds the derivatives by the parts, as g = dL/dx + i dL/dy; so
the rules of real matrices hold, with conjugate transposes in the place of transposes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphc.build import Value
from graphc.ops import elementwise as ew
from graphc.ops import matrices
from graphc.ops.linalg import matmul
from graphc.ops.reduce import sum as reduce_sum
from graphc.ops.shape import concatenate, reshape
from graphc.ops.shape import slice as window


class Matrix(NamedTuple):
    """A complex matrix, or any other complex value, by its parts."""

    real: Value
    imag: Value

    @property
    def conj(self) -> Matrix:
        return Matrix(self.real, -self.imag)

    @property
    def adjoint(self) -> Matrix:
        """The conjugate transpose."""
        return Matrix(matrices.swapped(self.real), -matrices.swapped(self.imag))

    def __matmul__(self, other: Matrix) -> Matrix:
        (a, b), (c, d) = self, other
        return Matrix(matmul(a, c) - matmul(b, d), matmul(a, d) + matmul(b, c))

    def plus(self, other: Matrix) -> Matrix:
        return Matrix(self.real + other.real, self.imag + other.imag)

    def minus(self, other: Matrix) -> Matrix:
        return Matrix(self.real - other.real, self.imag - other.imag)

    def times(self, other: Matrix) -> Matrix:
        """Element by element."""
        (a, b), (c, d) = self, other
        return Matrix(a * c - b * d, a * d + b * c)

    def scaled(self, factor: Any) -> Matrix:
        """Times real numbers, element by element, or one number."""
        return Matrix(self.real * factor, self.imag * factor)

    def columns_scaled(self, factors: Value) -> Matrix:
        return Matrix(*(matrices.columns_scaled(part, factors) for part in self))

    def memory(self) -> Value:
        """The parts of each number side by side."""
        lifted = [reshape(part, shape=(*part.shape, 1)) for part in self]
        return concatenate(*lifted, axis=len(self.real.shape))


def in_parts(memory: Value) -> Matrix:
    """What lies in memory as pairs of numbers."""
    inner, rank = memory.shape[:-1], len(memory.shape)

    def part(which: int) -> Value:
        starts = (*(0 for _ in inner), which)
        own = window(memory, starts=starts, sizes=(*inner, 1), steps=(1,) * rank)
        return reshape(own, shape=inner)

    return Matrix(part(0), part(1))


def real_matrix(x: Value) -> Matrix:
    return Matrix(x, x.literal(0.0))


def lower_triangle(x: Matrix, diagonal: float) -> Matrix:
    """The lower triangle, its diagonal real and times a number."""
    return Matrix(matrices.lower_triangle(x.real, diagonal), matrices.lower_triangle(x.imag, 0.0))


def identity_like(x: Matrix) -> Matrix:
    return real_matrix(matrices.identity_like(x.real))


def gap_inverses(values: Matrix) -> Matrix:
    """1 / conj(values[j] - values[i]) as matrices, 0 where two are equal."""
    gaps = Matrix(matrices.gaps(values.real), matrices.gaps(values.imag))
    size = ew.square(gaps.real) + ew.square(gaps.imag)
    return gaps.scaled(matrices.inverse_or_zero(size))


def diagonal_matrices(x: Matrix) -> Matrix:
    return Matrix(*(matrices.diagonal_matrices(part) for part in x))


def diagonal_of(x: Value) -> Value:
    """The diagonals of real matrices."""
    kept = x * matrices.identity_like(x)
    return reduce_sum(kept, axes=(len(x.shape) - 2,))
