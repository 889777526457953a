"""Who multiplies matrices, a library or generated code, and what `explain` says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulated_device import calls
from running import build, fused, op

import graphc as gc
from graphc.ir import Type
from graphc.runtime.cuda.plan.products import LEAST_INNER, Decision, decided
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.plan.tensor_tiling import tensor_elems
from graphc.runtime.planner import make_program

SIZE = 512


def decision(dtype: str, inner: int, activates: bool, **options: bool) -> Decision:
    def make(a: Any, b: Any) -> Any:
        product = op("matmul")(a, b)
        return op("maximum")(product, product - product) if activates else product

    graph = fused(build([Type(dtype, (SIZE, inner)), Type(dtype, (inner, SIZE))], make))
    (call,) = calls(rejoined(make_program(graph)))
    elems = tensor_elems(options.get("fast", False)) if options.get("tensor", True) else frozenset()
    return decided(call.kernel, call.roots, False, elems)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64", "f32"])
def test_a_product_alone_is_the_librarys(dtype: str) -> None:
    parts, why = decision(dtype, 64, activates=False)
    assert parts is not None and parts.rest is None
    assert "all of it" in why


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_with_an_epilogue_long_inner_products_are(dtype: str) -> None:
    least = LEAST_INNER[dtype]
    parts, why = decision(dtype, least, activates=True)
    assert parts is not None and parts.rest is not None
    assert f"{least} terms take longer" in why
    parts, why = decision(dtype, least - 8, activates=True)
    assert parts is None
    assert f"longer than {least - 8} terms" in why


@pytest.mark.parametrize("dtype, options", [("f32", {}), ("f16", {"tensor": False})])
def test_plain_arithmetic_is_slower_than_the_library(dtype: str, options: dict[str, bool]) -> None:
    parts, _ = decision(dtype, 64, activates=True, **options)
    assert parts is not None and parts.rest is not None


def test_under_fast_math_f32_is_generated() -> None:
    parts, why = decision("f32", 2048, activates=False, fast=True)
    assert parts is None and "TF32" in why


def test_small_products_are_generated() -> None:
    parts, why = decision("f16", 2, activates=False)
    assert parts is None and "million" in why


def test_kernels_without_products_have_no_reason() -> None:
    graph = fused(build([Type("f32", (8, 8))], lambda x: x + x))
    (call,) = calls(make_program(graph))
    assert decided(call.kernel, call.roots, False, frozenset()) == (None, "")


def explained(dtype: str, rows: int, fastmath: bool = False) -> str:
    step = gc.compile(lambda a, b: a @ b, target="cuda", fastmath=fastmath)
    a = np.ones((rows, 512), dtype)
    return str(step.explain(a, np.ones((512, 1024), dtype)))


def test_explain_says_who_multiplies_and_why() -> None:
    text = explained("f2", 1024)
    assert "tiles of 128 x 64 on tensor cores: f16, added up in f32" in text
    assert "where cuBLASLt is installed: its product instead; a product with" in text
    text = explained("f4", 1024)
    assert "in plain arithmetic: f32 in full, which tensor cores round to TF32" in text
    text = explained("f4", 1024, fastmath=True)
    assert "on tensor cores: f32, as TF32, added up in f32" in text
    assert "not cuBLASLt's: under fastmath" in text
    text = explained("f8", 4)
    assert "in plain arithmetic: fewer than 8 rows" in text
