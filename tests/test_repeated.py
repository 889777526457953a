"""Loops of a kernel that are one function: which are, and that they do the same."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.repeated import share_loops

ADDS = """\
  %v{n} = load double, ptr %a{n}
  %w{n} = fadd double %v{n}, %scale
  %x{n} = fmul double %w{n}, 2.0
  %y{n} = fsub double %x{n}, 1.0
  %z{n} = fadd double %y{n}, %y{n}
"""


def loop(n: int, before: str, memory: str, end: str = "4", inside: str = ADDS) -> str:
    return f"""\
  br label %loop{n}
loop{n}:
  %i{n} = phi i64 [0, %{before}], [%j{n}, %loop{n}]
  %a{n} = getelementptr double, ptr {memory}, i64 %i{n}
{inside.format(n=n)}  store double %z{n}, ptr %a{n}
  %j{n} = add i64 %i{n}, 1
  %m{n} = icmp slt i64 %j{n}, {end}
  br i1 %m{n}, label %loop{n}, label %after{n}
after{n}:
"""


def kernel(*loops: str, rest: str = "  ret void\n") -> dict[str, str]:
    head = "define void @kernel(ptr %b0, ptr %b1, i64 %count) #0 {\nentry:\n"
    return {"kernel": f"{head}  %scale = load double, ptr %b1\n{''.join(loops)}{rest}}}\n"}


def shared(functions: dict[str, str]) -> dict[str, str]:
    changed = dict(functions)
    share_loops(changed, ["kernel"])
    return changed


def run(functions: dict[str, str]) -> list[float]:
    memory = [np.arange(8.0), np.arange(8.0) + 0.5]
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    machine = compile_text("\n".join(functions.values()))
    call(machine.address("kernel"))(memory[0].ctypes.data, memory[1].ctypes.data, 3)
    return [*memory[0], *memory[1]]


def test_loops_on_other_memory_and_of_other_lengths_are_one_function() -> None:
    plain = kernel(loop(1, "entry", "%b0"), loop(2, "after1", "%b1", "7"), loop(3, "after2", "%b0"))
    changed = shared(plain)
    own = [name for name in changed if name != "kernel"]
    assert len(own) == 1 and changed["kernel"].count(f"call void @{own[0]}(") == 3
    assert "phi" not in changed["kernel"] and run(changed) == run(plain)


def test_the_end_of_a_range_may_be_a_value() -> None:
    plain = kernel(loop(1, "entry", "%b0", "%count"), loop(2, "after1", "%b1", "%count"))
    assert len(shared(plain)) == 2 and run(shared(plain)) == run(plain)


OTHER = ADDS.replace("fsub", "fdiv")
SHORT = "  %z{n} = load double, ptr %a{n}\n"
READ = "  store double %z1, ptr %b1\n  ret void\n"


@pytest.mark.parametrize(
    "functions",
    [
        kernel(loop(1, "entry", "%b0")),
        kernel(loop(1, "entry", "%b0"), loop(2, "after1", "%b1", inside=OTHER)),
        kernel(*(loop(n, "entry", "%b0", inside=SHORT) for n in (1, 2))),
        kernel(loop(1, "entry", "%b0"), loop(2, "after1", "%b1"), rest=READ),
        kernel(loop(1, "entry", "%b0"), loop(2, "after1", "%b1").replace("[0,", "[1,")),
    ],
    ids=["one", "other instructions", "short", "read outside", "another start"],
)
def test_what_is_not_repeated_or_not_worth_it_stays(functions: dict[str, str]) -> None:
    assert shared(functions) == functions


def test_loops_inside_of_others_stay() -> None:
    inner = loop(2, "loop1", "%b0") + loop(3, "after2", "%b1")
    outer = (
        "  br label %loop1\nloop1:\n  %i1 = phi i64 [0, %entry], [%j1, %after3]\n"
        f"{inner}  %j1 = add i64 %i1, 1\n  %m1 = icmp slt i64 %j1, 2\n"
        "  br i1 %m1, label %loop1, label %after1\nafter1:\n"
    )
    assert shared(kernel(outer)) == kernel(outer)


@pytest.mark.cpu_only("the loops of its machine code")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_of_many_tensors_has_one_loop(threads: int) -> None:
    def update(weights: list[Any], gradients: list[Any], rate: Any) -> None:
        for weight, gradient in zip(weights, gradients, strict=True):
            scaled = np.sqrt(weight * weight + 0.25) / (gradient * gradient + 2.0)
            weight -= rate * (gradient + 0.5 * weight) * scaled

    weights = [np.linspace(-1.0, k, 256) for k in range(9)]
    gradients = [np.linspace(k, 1.0, 256) for k in range(9)]
    expected = [weight.copy() for weight in weights]
    step = gc.compile(update, threads=threads)
    for _ in range(3):
        step(weights, gradients, 0.1)
        update(expected, gradients, 0.1)
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-13)
    text = step._latest.step.text
    assert len(re.findall(r"call void @kernel_\d+_loop", text)) > 2
    assert len(re.findall(r"define internal void @kernel_\d+_loop", text)) == 1
