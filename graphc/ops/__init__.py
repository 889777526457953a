"""Every operation of the language, each defined once: type rule, NumPy reference, gradient.

Importing this package fills `graphc.ir.OPS`.
"""

from graphc.ops import control, elementwise, index, linalg, reduce, shape

__all__ = ["control", "elementwise", "index", "linalg", "reduce", "shape"]
