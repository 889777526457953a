"""Every operation of the language, each defined once: type rule, NumPy reference, gradient.

Importing this package fills `graphc.ir.OPS`.
"""

from graphc.ops import (
    bits,
    complex_decompositions,
    complex_eigenvalues,
    complexes,
    control,
    cumulative,
    decompositions,
    effects,
    elementwise,
    external,
    index,
    linalg,
    narrow,
    random,
    reduce,
    shape,
    sorting,
    special,
    tape,
)

__all__ = [
    "bits",
    "complex_decompositions",
    "complex_eigenvalues",
    "complexes",
    "control",
    "cumulative",
    "decompositions",
    "effects",
    "elementwise",
    "external",
    "index",
    "linalg",
    "narrow",
    "random",
    "reduce",
    "shape",
    "sorting",
    "special",
    "tape",
]
