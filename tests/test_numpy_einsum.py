"""`np.einsum`: which products it becomes, and that they are those of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

RNG = np.random.default_rng(8)

AS_WANTED = [
    ("nchw,oc->nohw", (3, 5, 8, 8), (7, 5)),
    ("oc,nchw->nohw", (7, 5), (3, 5, 8, 8)),
    ("gnchw,goc->gnohw", (2, 2, 3, 8, 9), (2, 4, 3)),
    ("nchwk,opc->nophwk", (2, 3, 4, 4, 4), (2, 3, 3)),
    ("nmck,oc->nmok", (2, 3, 5, 64), (6, 5)),
    ("bik,jk->bji", (2, 70, 3), (5, 3)),
]
"""Letters of one operand on both sides of those of the other."""

OTHERS = [
    ("bik,jk->bji", (2, 6, 3), (5, 3)),  # too few columns for a product of their own
    ("nchw,oc->onhw", (3, 5, 8, 8), (7, 5)),
    ("nchw,oc->nhwo", (3, 5, 8, 8), (7, 5)),
    ("nchw,c->nhw", (3, 5, 8, 8), (5,)),
    ("nchw,oc->no", (3, 5, 8, 8), (7, 5)),
    ("nchw,gc->ngwh", (3, 5, 8, 9), (7, 5)),
    ("nchw,oc->nohw", (3, 0, 8, 8), (7, 0)),
    ("nchw,oc->nohw", (0, 5, 8, 8), (7, 5)),
]


@pytest.mark.parametrize(("text", "left", "right"), AS_WANTED + OTHERS)
def test_products_are_those_of_numpy(
    text: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    a, b = RNG.standard_normal(left), RNG.standard_normal(right)
    compiled = gc.compile(lambda a, b: np.einsum(text, a, b))
    expected = np.einsum(text, a, b)
    np.testing.assert_allclose(compiled(a, b), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("text", "left", "right"), AS_WANTED)
def test_a_product_lies_as_the_result_is_wanted(
    text: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    compiled = gc.compile(lambda a, b: np.einsum(text, a, b))
    (kernel,) = compiled.explain(np.ones(left), np.ones(right)).kernels
    assert "matmul" in kernel.ops


def test_three_operands_end_as_wanted() -> None:
    arrays = [RNG.standard_normal(s) for s in ((3, 5, 8, 8), (6, 5), (7, 6))]

    def chained(*arrays: Any) -> Any:
        return np.einsum("nchw,dc,od->nohw", *arrays)

    result = gc.compile(chained)(*arrays)
    np.testing.assert_allclose(result, chained(*arrays), rtol=1e-11, atol=1e-11)
