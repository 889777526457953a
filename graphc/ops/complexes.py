"""Complex values and their parts.

A traced graph has complex values; `passes/complex_pairs.py` makes pairs of real ones of them before
it is differentiated, vectorised or compiled.  So these operations have no gradient of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir import COMPLEXES, FLOATS, PARTS, WHOLES, Op, Type, register
from graphc.ops.elementwise import expect_arity, expect_dtype, expect_same


def _infer_complex(*types: Type) -> tuple[Type, ...]:
    expect_arity("complex", 2, types)
    expect_same("complex", types)
    expect_dtype("complex", types[0], FLOATS & WHOLES.keys())
    return (types[0].with_dtype(WHOLES[types[0].dtype]),)


def joined(real: np.ndarray, imag: np.ndarray) -> Any:
    result = np.empty(np.shape(real), np.result_type(real, np.complex64))
    result.real, result.imag = real, imag
    return result


complex = register(
    Op(
        "complex",
        _infer_complex,
        joined,
        elementwise=True,
        doc="The complex number real + imag j.",
    )
)


def _part(name: str, reference: Any) -> Op:
    def infer(*types: Type) -> tuple[Type, ...]:
        expect_arity(name, 1, types)
        expect_dtype(name, types[0], COMPLEXES)
        return (types[0].with_dtype(PARTS[types[0].dtype]),)

    return register(Op(name, infer, reference, elementwise=True))


real = _part("real", np.real)
imag = _part("imag", np.imag)
