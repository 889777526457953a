"""A module of LLVM IR as text, while it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.llvm.builder import Function
    from graphc.runtime.sizes import Sizing


class Module:
    """LLVM IR text under construction: constant tables, declarations, functions.

    `emulations` are what stands for intrinsics that the target has no instruction for, `sizing`
    says where in the table of sizes a number stands that is not known.
    """

    def __init__(
        self,
        emulations: Mapping[str, Callable[..., Reg]] | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self.emulations = emulations or {}
        self.sizing = sizing
        self.declarations: dict[str, str] = {}
        self.tables: dict[str, str] = {}
        self.functions: dict[str, str] = {}

    def declare(self, name: str, result: str, parameters: Sequence[str]) -> None:
        self.declarations.setdefault(name, f"declare {result} @{name}({', '.join(parameters)})")

    def table(self, name: str, elem: str, values: Sequence[int | float]) -> Reg:
        """A constant array in memory; the pointer to its first element."""
        if name not in self.tables:
            items = ", ".join(f"{elem} {constant(v, elem).text}" for v in values)
            self.tables[name] = (
                f"@{name} = private constant [{len(values)} x {elem}] [{items}], align 64"
            )
        return Reg(f"@{name}", "ptr")

    def add(self, function: Function) -> None:
        self.functions[function.name] = function.finish()

    def __str__(self) -> str:
        parts = (self.tables, self.declarations, self.functions)
        return "\n".join(text for part in parts for text in part.values()) + "\n"
