"""Kernels that differ in numbers are one function, and what cannot be given as a number stays."""

from __future__ import annotations

import ctypes
import itertools
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.llvm import emit_step
from graphc.runtime.llvm.alike import merge_alike
from graphc.runtime.llvm.jit import compile_text


def kernel(name: str, *numbers: int, last: str = "ret i64 %b") -> str:
    first, second, third = numbers
    return (
        f"define internal i64 @{name}(ptr %p, i64 %x) #0 {{\nentry:\n"
        f"  %a = mul i64 %x, {first}\n"
        f"  %q = getelementptr i64, ptr %p, i64 {second}\n"
        f"  %s = sub i64 {third}, %a\n"
        f"  %m = call i64 @llvm.smax.i64(i64 %s, i64 {first})\n"
        "  store i64 %m, ptr %q, align 8\n"
        f"  %b = add i64 %m, {second}\n  {last}\n}}\n"
    )


STEP = ("define void @step(ptr %p, i64 %x) #1 {{\nentry:\n{calls}  ret void\n}}\n").format
DECLARED = "declare i64 @llvm.smax.i64(i64, i64)\n"


def void(text: str) -> str:
    return text.replace("internal i64", "internal void").replace("ret i64 %b", "ret void")


def calls(*names: str) -> str:
    return "".join(f"  call void @{name}(ptr %p, i64 %x)\n" for name in names)


def run(functions: dict[str, str], x: int) -> list[int]:
    machine = compile_text(DECLARED + "".join(functions.values()))
    memory = (ctypes.c_int64 * 8)()
    step = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(machine.address("step"))
    step(ctypes.addressof(memory), x)
    return list(memory)


def example() -> dict[str, str]:
    return {
        "k0": void(kernel("k0", 3, 0, 100)),
        "k1": void(kernel("k1", 5, 1, 100)),
        "k2": void(kernel("k2", -7, 2, 100)),
        "step": STEP(calls=calls("k0", "k1", "k2", "k1")),
    }


def test_kernels_that_differ_in_numbers_become_one():
    functions = example()
    assert merge_alike(functions, ["k0", "k1", "k2"]) == {"k1": "k0", "k2": "k0"}
    assert list(functions) == ["k0", "step"]
    # Numbers that are the same in all stay; those that differ in the same way are one parameter.
    assert "(ptr %p, i64 %x, i64 %number.0, i64 %number.1) #0 {" in functions["k0"]
    assert "sub i64 100, %a" in functions["k0"] and functions["k0"].count("%number.1") == 3
    assert "call void @k0(ptr %p, i64 %x, i64 -7, i64 2)" in functions["step"]
    for x in (-4, 0, 9):
        assert run(functions, x) == run(example(), x)


def test_a_number_that_must_be_a_constant_keeps_kernels_apart():
    functions = example()
    functions["k1"] = functions["k1"].replace("align 8", "align 4")
    functions["k2"] = functions["k2"].replace(
        "ret void", "%v = add <2 x i64> splat (i64 1), splat (i64 2)\n  ret void"
    )
    before = dict(functions)
    assert merge_alike(functions, ["k0", "k1", "k2"]) == {}
    assert functions == before


def test_other_functions_are_not_merged():
    functions = example()
    assert merge_alike(functions, ["k0"]) == {}


def deep(params: Any, x: Any) -> Any:
    for w, b in params:
        x = np.tanh(x @ w + b)
    return np.sum(x * x)


@pytest.mark.cpu_only("its functions")
def test_layers_of_different_sizes_share_code_and_give_the_same_bits(monkeypatch):
    rng = np.random.default_rng(0)
    sizes = [64, 96, 128, 160, 192]
    params = [
        (rng.normal(size=pair).astype("f4") / 10, rng.normal(size=pair[1]).astype("f4"))
        for pair in itertools.pairwise(sizes)
    ]
    x = rng.normal(size=(48, 64)).astype("f4")

    def result() -> tuple[Any, int]:
        step = gc.compile(gc.value_and_grad(deep))
        value, grads = step(params, x)
        defined = re.findall(r"^define .*@kernel_\d+\(", step._latest.step.text, re.MULTILINE)
        return (value, grads), len(defined)

    (value, grads), few = result()
    monkeypatch.setattr(emit_step, "merge_alike", lambda functions, kernels: {})
    (expected, expected_grads), many = result()
    assert few < many
    assert value == expected
    for pair, wanted in zip(grads, expected_grads, strict=True):
        for got, want in zip(pair, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
