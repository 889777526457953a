"""Texts in parts: what is divided and what is not, and that the parts are the whole."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.llvm import jit
from graphc.runtime.llvm.split import SHORT, WORTH, Part, shared_functions, split

pytestmark = pytest.mark.cpu_only("its machine code in parts")

PADDING = "  %unused{i} = add i64 %x, {i}\n"


def function(name: str, body: str, linkage: str = "internal ") -> str:
    padding = "".join(PADDING.format(i=i) for i in range(WORTH))
    return f"define {linkage}i64 @{name}(i64 %x) #0 {{\nentry:\n{padding}{body}\n}}\n"


TABLE = "@table = private constant [2 x i64] [i64 10, i64 20], align 64\n"
READ = "  %at = getelementptr i64, ptr @table, i64 1\n  %y = load i64, ptr %at\n  ret i64 %y"
CALLS = (
    "  %f = select i1 true, ptr @reads, ptr @other\n"
    "  %a = call i64 %f(i64 %x)\n  %b = call i64 @other(i64 %a)\n  ret i64 %b"
)
OTHER = "  %y = call i64 @llvm.smax.i64(i64 %x, i64 7)\n  ret i64 %y"
DECLARED = "declare i64 @llvm.smax.i64(i64, i64)\n"
TEXT = (
    TABLE
    + DECLARED
    + function("reads", READ)
    + function("other", OTHER)
    + function("main", CALLS, linkage="")
)


def defined(text: str) -> list[str]:
    return re.findall(r"^define .*@(\w+)\(", text, re.MULTILINE)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_each_function_is_in_one_part(count: int) -> None:
    parts = [part.text for part in split(TEXT, count)]
    assert len(parts) == min(count, 3)
    assert sorted(name for part in parts for name in defined(part)) == ["main", "other", "reads"]
    assert max(map(len, parts)) < len(TEXT)


def test_parts_that_call_each_other_are_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "processors", lambda: 3)
    code = jit.object_code(TEXT)
    assert len(list(jit._unpacked(code))) == 3
    machine = jit.Machine(code)
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.address("main"))
    assert run(1) == 20


@pytest.mark.parametrize(
    "text",
    [
        TABLE + DECLARED + "define i64 @short(i64 %x) #0 {\nentry:\n  ret i64 %x\n}\n",
        "".join(f"declare void @f{i}()\n" for i in range(SHORT // 15))
        + "define i64 @a() #0 {\nentry:\n  ret i64 1\n}\n"
        + "define i64 @b() #0 {\nentry:\n  ret i64 2\n}\n",
        TEXT.replace("private constant", "internal global"),
        function("alone", "  ret i64 %x", linkage=""),
        "%pair = type { i64, i64 }\n" + TEXT,
    ],
    ids=["short", "of light functions", "variable", "one function", "types"],
)
def test_what_stays_whole(text: str) -> None:
    assert split(text, 4) == [Part(text)]


STRAIGHT = TEXT.replace(function("main", CALLS, linkage=""), "") + function(
    "main", CALLS, linkage=""
).replace("#0", "#1")


@pytest.mark.parametrize("count", [1, 2])
def test_straight_code_is_a_part_of_its_own(count: int) -> None:
    parts = split(STRAIGHT, count)
    assert [defined(part.text) for part in parts if part.is_quick] == [["main"]]
    assert sum(not part.is_quick for part in parts) == count


def test_a_little_straight_code_is_not() -> None:
    text = function("other", "  ret i64 %x") + "define i64 @f() #1 {\nentry:\n  ret i64 0\n}\n"
    assert split(text, 1) == [Part(text)]


def test_straight_code_is_linked_with_the_rest() -> None:
    machine = jit.Machine(jit.object_code(STRAIGHT))
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.address("main"))
    assert run(1) == 20


def test_a_step_without_loops_is_straight_and_one_with_them_is_not() -> None:
    def text_of(fn: Any, *more: Any) -> str:
        step = gc.compile(fn)
        step(np.ones(3), *more)
        return step._latest.step.text

    def updating(x: Any, y: Any) -> None:
        x += y

    def growing(x: Any) -> Any:
        n = x[0]
        while n < 100.0:
            n = n * 2.0
        return n

    assert re.search(r"@step\(.*\) #1 {", text_of(lambda x: np.sort(np.exp(x))))
    assert re.search(r"@step\(.*\) #1 {", text_of(updating, np.ones(3)))
    assert re.search(r"@step\(.*\) #0 {", text_of(growing))


def test_one_processor_compiles_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "processors", lambda: 1)
    assert len(list(jit._unpacked(jit.object_code(TEXT)))) == 1


def test_an_error_in_a_part_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "processors", lambda: 3)
    with pytest.raises(RuntimeError, match="nowhere"):
        jit.object_code(TEXT.replace("ptr @table", "ptr @nowhere"))


def network(params: Any, x: Any) -> Any:
    hidden = np.tanh(x @ params["w1"] + params["b1"])
    return np.mean((hidden @ params["w2"]) ** 2)


def test_a_training_step_in_parts_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    params = {"w1": random.random((20, 30)), "b1": random.random(30), "w2": random.random((30, 7))}
    x = random.random((33, 20))
    before = gc.cache_dir()
    gc.cache_dir(None)
    try:
        results = []
        for count in (1, 4):
            monkeypatch.setattr(jit, "processors", lambda count=count: count)
            step = gc.compile(lambda p, x: gc.value_and_grad(network)(p, x))
            results.append(step(params, x))
            text = step._latest.step.text
            assert sum(not part.is_quick for part in split(text, count)) == count
    finally:
        gc.cache_dir(before)
    (value, grads), (again, grads_again) = results
    assert value == again
    for key, grad in grads.items():
        np.testing.assert_array_equal(grad, grads_again[key])


SHARED = (
    "declare i64 @llvm.smax.i64(i64, i64)\n"
    + TABLE
    + function("matmul_first", "  %y = call i64 @matmul_second(i64 %x)\n  ret i64 %y")
    + function("matmul_second", READ)
    + function("matmul_own", "  %y = call i64 @kernel(i64 %x)\n  ret i64 %y")
    + function("kernel", OTHER)
    + function("main", "  %y = call i64 @matmul_first(i64 %x)\n  ret i64 %y", "")
)


def test_functions_that_steps_share_are_texts_of_their_own() -> None:
    shared = shared_functions(SHARED)
    assert list(shared) == ["matmul_first", "matmul_second"]  # the other one calls a kernel
    assert "declare i64 @matmul_second(i64)" in shared["matmul_first"]
    assert "@table =" in shared["matmul_second"] and "smax" not in shared["matmul_second"]
    assert shared_functions(SHARED + "@counter = global i64 0\n") == {}
    assert shared_functions(TEXT) == {}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("names", [["matmul_first"], ["matmul_second"], None])
def test_what_is_known_is_linked(
    names: list[str] | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "processors", lambda: count)
    shared = shared_functions(SHARED)
    known = {}
    for name in names or shared:
        (known[name],) = jit._unpacked(jit.object_code(shared[name]))
    machine = jit.Machine(jit.object_code(SHARED, known=known))
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.address("main"))
    assert run(1) == 20
