"""Object code that is linked into this process."""

from __future__ import annotations

import ctypes

from graphc.runtime.llvm.jit import Machine, compile_text, object_code

TEXT = "define i64 @seven() #0 {\n  ret i64 7\n}\n"


def test_linking_compiles_nothing() -> None:
    machine = Machine(object_code(TEXT))
    assert not machine._engine._modules  # what an engine would still compile
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(machine.address("seven"))() == 7


def test_variables_have_addresses() -> None:
    machine = compile_text("@kept = global i64 5\n" + TEXT)
    assert ctypes.c_int64.from_address(machine.global_address("kept")).value == 5
