"""Object code that is linked into this process."""

from __future__ import annotations

import ctypes

import pytest

from graphc.runtime.llvm.jit import Machine, compile_text, object_code

TEXT = "define i64 @seven() #0 {\n  ret i64 7\n}\n"


def test_linking_compiles_nothing() -> None:
    machine = Machine(object_code(TEXT))
    assert not machine._engine._modules  # what an engine would still compile
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(machine.address("seven"))() == 7


def test_variables_have_addresses() -> None:
    machine = compile_text("@kept = global i64 5\n" + TEXT)
    assert ctypes.c_int64.from_address(machine.global_address("kept")).value == 5


@pytest.mark.parametrize(
    "text", ["define i64 @seven() #0 {\n", "define i64 @f() #0 {\n ret i32 1\n}\n"]
)
def test_text_that_llvm_cannot_read_is_an_error(text: str) -> None:
    with pytest.raises(RuntimeError, match="LLVM cannot read this"):
        object_code(text)


def test_code_that_llvm_does_not_accept_is_an_error() -> None:
    later = "  %a = add i64 %b, 1\n  %b = add i64 1, 2\n  ret i64 %a\n"
    with pytest.raises(RuntimeError, match=r"LLVM does not accept this: .*dominate"):
        object_code(f"define i64 @f() #0 {{\n{later}}}\n")
