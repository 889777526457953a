"""Operands of a product on their way to panels in shared memory.

Where rows or columns begin at multiples of 4, 8 or 16 bytes, and lie one after the other, copies of
that size run while other panels are multiplied.  Anything else is read and written element by
element: views of any strides, those whose rows overlap too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.panels import place_in_panel
from graphc.runtime.cuda.emit.tensor_simt import COPY_BYTES, copy_ahead
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.plan.panel_shapes import Panel
from graphc.runtime.kernel import Access
from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.team_work import TeamEmitter


I32 = "i32"
"""Enough for what is left of a side: see `tensor_tiling.MOST_SIDE`."""


class Operand(NamedTuple):
    """A matrix in memory: rows of the left or columns of the right operand (`outer`), and the
    terms of inner products (`depth`); sizes, and elements from one to the next."""

    access: Access
    outer: int
    outer_step: int
    depth: int
    depth_step: int


class _Copy(NamedTuple):
    """What a thread copies of each panel: where to, from where in the first panel, how many bytes
    (i32) are not beyond the end of rows or columns, and how many terms there are from where they
    begin in the first panel (i32); None where all are there."""

    target: Reg
    source: Reg
    valid: Reg | None
    terms: Reg | None


class PanelCopies:
    """Fills a panel, again and again, from `first` rows or columns on."""

    def __init__(
        self, emitter: TeamEmitter, threads: int, panel: Panel, operand: Operand, first: Reg
    ):
        self.emitter = emitter
        self.f = emitter.f
        self.threads = threads
        self.panel = panel
        self.operand = operand
        self.first = first
        self.pointer = emitter.address(operand.access)
        self.nbytes = self._access_bytes()
        self.width = self.nbytes // panel.size
        self.count = panel.lines * panel.length // self.width
        self.outer_fits = operand.outer % panel.outer == 0
        self.depth_fits = operand.depth % panel.depth == 0
        self.runs_beside = self.nbytes in COPY_BYTES and operand.access.buffer not in emitter.shared
        self.copies = self._prepared() if self.runs_beside else []

    def _access_bytes(self) -> int:
        """How many bytes are copied at once: an element, where no more are aligned together."""
        own, size = self.operand, self.panel.size
        step, across = own.depth_step, own.outer_step
        if not self.panel.along_depth:
            step, across = across, step
        if step != 1:
            return size
        known = self.emitter.alignment(own.access, VECTOR_BYTES // size)
        known = math.gcd(known, across * size, VECTOR_BYTES)
        return max(known, size)

    # ---- copies that run beside other work -------------------------------------------------------

    def _prepared(self) -> list[_Copy]:
        """What this thread copies; threads beyond the last piece have one that they leave out."""
        turns = -(-self.count // self.threads)
        rank = self.emitter.team.rank
        return [self._copy(self.f.add(rank, constant(i * self.threads, I64))) for i in range(turns)]

    def _copy(self, number: Reg) -> _Copy:
        f, panel, own = self.f, self.panel, self.operand
        line, piece = digits(f, number, [panel.lines, panel.length // self.width])
        position = f.mul(piece, constant(self.width, I64))
        outer, depth = (line, position) if panel.along_depth else (position, line)
        target = place_in_panel(f, panel, outer, depth)
        at, valid, terms = f.add(self.first, outer), None, None
        if not self.outer_fits:
            left = f.convert("trunc", f.sub(constant(own.outer, I64), at), I32)
            valid = self._bytes_of(left, own.outer, is_run=not panel.along_depth)
            at = f.select(f.icmp("sgt", valid, constant(0, I32)), at, constant(0, I64))
        if not self.depth_fits:
            terms = f.convert("trunc", f.sub(constant(own.depth, I64), depth), I32)
        place = f.mul(at, constant(own.outer_step, I64))
        place = f.add(place, f.mul(depth, constant(own.depth_step, I64)))
        return _Copy(target, f.offset(self.pointer, panel.elem, place), valid, terms)

    def _bytes_of(self, left: Reg, size: int, is_run: bool) -> Reg:
        """How many bytes of a copy are there where so many elements of `size` are left: of a run of
        them, or of one with all that lies beside it."""
        f, all_bytes = self.f, constant(self.nbytes, I32)
        if not is_run or size % self.width == 0:  # all or nothing
            return f.select(f.icmp("sgt", left, constant(0, I32)), all_bytes, constant(0, I32))
        nbytes = f.mul(f.intrinsic("smax", left, constant(0, I32)), constant(self.panel.size, I32))
        return f.intrinsic("smin", nbytes, all_bytes)

    def fill(self, target: Reg, start: Reg) -> None:
        """Begin to fill the panel at an address with the terms from `start` on."""
        if not self.runs_beside:
            self._fill_by_element(target, start)
            return
        f = self.f
        if self.count < self.threads:
            with only_if(f, f.icmp("slt", self.emitter.team.rank, constant(self.count, I64))):
                self._begin(target, start)
        else:
            self._begin(target, start)

    def _begin(self, target: Reg, start: Reg) -> None:
        f, own = self.f, self.operand
        further = f.mul(start, constant(own.depth_step, I64))
        passed = f.convert("trunc", start, I32)
        for copy in self.copies:
            source, valid = f.offset(copy.source, self.panel.elem, further), copy.valid
            if copy.terms is not None:
                left = f.sub(copy.terms, passed)
                inside = self._bytes_of(left, own.depth, is_run=self.panel.along_depth)
                valid = inside if valid is None else f.intrinsic("smin", valid, inside)
            copy_ahead(f, f.offset(target, "i8", copy.target), source, self.nbytes, valid)

    # ---- element by element ----------------------------------------------------------------------

    def _fill_by_element(self, target: Reg, start: Reg) -> None:
        f, panel, own = self.f, self.panel, self.operand

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            line, position = digits(f, number, [panel.lines, panel.length])
            outer, depth = (line, position) if panel.along_depth else (position, line)
            at = f.add(self.first, outer), f.add(start, depth)
            sizes = own.outer, own.depth
            fits = [f.icmp("slt", x, constant(n, I64)) for x, n in zip(at, sizes, strict=True)]
            here = f.and_(*fits)
            steps = own.outer_step, own.depth_step
            terms = [f.mul(x, constant(s, I64)) for x, s in zip(at, steps, strict=True)]
            place = f.select(here, f.add(*terms), constant(0, I64))
            value = f.load(f.offset(self.pointer, panel.elem, place), panel.elem)
            value = f.select(here, value, f.const(0, value))
            f.store(value, f.offset(target, "i8", place_in_panel(f, panel, outer, depth)))
            return carried

        in_turns(f, self.emitter.team.rank, panel.lines * panel.length, self.threads, [], run)
