"""The operators of a traced array: each is the ufunc that NumPy has for it.

Beside numbers of Python they follow Python: what two weak numbers give is weak again, and an int to
a negative power is a float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.ir import INEXACT, INTS
from graphc.trace.arguments import Argument, Derived, Sources, derived
from graphc.trace.promotion import is_python_scalar
from graphc.trace.scope import Storage


class Operators:
    """What `Tracer` has its operators from: `x + y`, `x @ y`, `x < y`, `x += y`, `round(x)`."""

    __slots__ = ()
    argument: Argument | Derived | None
    dtype_name: str
    shape: tuple[Any, ...]
    storage: Storage
    weak: bool

    @property
    def is_scalar(self) -> bool:
        """Whether NumPy or Python would have a scalar here, which assignment does not change."""
        return not self.shape and not self.storage.mutable

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def __round__(self: Any, digits: int | None = None) -> Any:
        if digits is None:
            return _python_result(self, self, np.round(self).astype(int))
        return _python_result(self, self, np.round(self, digits))


def _python_result(left: Any, right: Any, result: Any, ufunc: Any = None) -> Any:
    """Python numbers stay weakly typed under operators: `2 * n + 1` promotes nothing."""
    weak = all(is_python_scalar(x) or (isinstance(x, Operators) and x.weak) for x in (left, right))
    if weak and result.dtype_name != "bool":
        result.weak = True
        fixed = derived(ufunc, _known_number(left), _known_number(right))
        if fixed is not None:
            result.argument = fixed
    return result


def _known_number(x: Any) -> tuple[Any, Sources]:
    """A number's value, None where it is not known, and the arguments that it comes from."""
    if not isinstance(x, Operators):
        return (None if type(x) is bool else x), ()
    argument = x.argument
    if argument is None or not x.is_scalar:
        return None, ()
    is_int = type(argument.value) is int
    if not is_int and not isinstance(argument, Derived):  # a float argument is not fixed
        return None, ()
    return argument.value, argument.sources


def _binary(ufunc: Any, swapped: bool = False) -> Callable[[Operators, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        if ufunc is np.power and _is_inverse_power(left, right):
            left = np.multiply(left, 1.0)
        if ufunc is np.power and _is_square_root(left, right):
            return np.sqrt(left)
        return _python_result(left, right, ufunc(left, right), ufunc)

    return apply


def _is_inverse_power(left: Any, right: Any) -> bool:
    """Whether Python, unlike NumPy, gives a float: `n ** -1` for ints of its own."""
    number = isinstance(left, Operators) and left.weak and left.dtype_name in INTS
    return number and type(right) is int and right < 0


def _is_square_root(left: Any, right: Any) -> bool:
    """Whether `x ** 0.5` is the square root, as it is for arrays: -0.0 and -inf tell them apart."""
    is_array = isinstance(left, Operators) and bool(left.shape) and left.dtype_name in INEXACT
    return is_array and type(right) is float and right == 0.5


def _is_operand(x: Any) -> bool:
    return isinstance(x, _OPERANDS)


_OPERANDS = (Operators, Dim, np.ndarray, np.generic, bool, int, float, complex, list, tuple)


def _in_place(ufunc: Any) -> Callable[[Operators, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        if self.is_scalar:
            return _python_result(self, other, ufunc(self, other))
        return ufunc(self, other, out=self)

    return apply


def _unary(ufunc: Any) -> Callable[[Operators], Any]:
    return lambda self: _python_result(self, self, ufunc(self), ufunc)


_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_COMPARE = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}

for _name, _ufunc in _BINARY.items():
    setattr(Operators, f"__{_name}__", _binary(_ufunc))
    setattr(Operators, f"__r{_name}__", _binary(_ufunc, swapped=True))
    setattr(Operators, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in _COMPARE.items():
    setattr(Operators, f"__{_name}__", _binary(_ufunc))
for _name, _ufunc in _UNARY.items():
    setattr(Operators, f"__{_name}__", _unary(_ufunc))
