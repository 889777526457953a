"""How panels of a product lie in shared memory: decisions alone, no code."""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.llvm.registers import BITS


class Panel(NamedTuple):
    """`outer` x `depth` elements: lines along the depth, or lines along the other axis."""

    outer: int
    depth: int
    along_depth: bool
    elem: str

    @property
    def lines(self) -> int:
        return self.outer if self.along_depth else self.depth

    @property
    def length(self) -> int:
        return self.depth if self.along_depth else self.outer

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return BITS[self.elem] // 8

    @property
    def pitch(self) -> int:
        """Elements from one line to the next.

        A fragment of elements of 32 bits is 8 groups by 4 threads: the eight are 4 or 20 banks
        apart where they are lines, and the four 8 where these are.  Of elements of 64 bits 16
        threads read at once, 4 groups by 4, whose lines are 32 bytes apart in the banks.
        """
        padding = {"float": 4 if self.along_depth else 8, "double": 4}.get(self.elem, 0)
        return self.length + padding

    @property
    def nbytes(self) -> int:
        return self.lines * self.pitch * self.size
