"""Linear recurrences and products of floats along few long columns, by a thread for each piece.

y[k] = a[k] * y[k-1] + b[k]; of a product b is 0.  What a piece makes of the value y above it is
A * y + B, where A is the product of its factors and B what it makes of 0.  So three launches do:
A and B of each piece; the values at the ends of pieces, one after the other; and each piece from
the value above it.

A * y + B is what the rows one after the other give, but for rounding, only if nothing on the way
becomes too large or too small for the dtype: y * A can be 1 where A is infinite.  So a piece also
says how large and how small the products of its first factors are, and where the value that comes
to it makes too much or too little of that, the second launch goes through the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir import FLOATS, NUMPY_DTYPES
from graphc.runtime.cuda.emit_scan import ONE, ZERO, Columns, Scanner, Thread
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import Reg, constant

INFINITY = float("inf")


class Float(NamedTuple):
    """Numbers of a dtype."""

    large: float
    """The sum of two numbers up to here, and of their sum with another, is finite."""
    small: float
    """Below, a number has lost digits."""
    part: float
    """What is smaller than a number by this factor changes its last digit at most."""


def float_of(dtype: str) -> Float:
    info = np.finfo(NUMPY_DTYPES[dtype])
    return Float(float(info.max) / 4, float(info.smallest_normal), float(info.eps) / 4)


class Inside(NamedTuple):
    """What a thread knows of the rows of a piece so far.

    `scale` and `term` are A and B; `most` and `least` the extremes of |A| so far, of which the
    latter leaves out what comes after a factor 0; `most_term` is that of |B|.
    """

    scale: Reg
    term: Reg
    most: Reg
    least: Reg
    most_term: Reg
    has_zero: Reg
    grows: Reg
    """Whether a factor is larger than 1."""
    is_finite: Reg
    """Whether all factors are."""


class AffineScanner(Scanner):
    """Writes the launches of a recurrence, or of a product."""

    def emit(self) -> None:
        scan, elem = self.scan, self.memory(self.scan.target).elem
        sources = [self.memory(access) for access in scan.sources]
        self.has_terms = len(sources) > 1
        self.is_float = scan.dtype in FLOATS
        self.factors, self.terms = sources[0], sources[-1]
        pieces = -(-scan.rows // scan.piece)
        known = [self.spare(elem, pieces) for _ in range(5 if self.is_float else 2)]
        ends = self.spare(elem, pieces)
        self.launcher.reserve(self.stop)
        self.launch(scan.rows, scan.piece, lambda thread: self.describe(thread, known))
        self.launch(pieces, pieces, lambda thread: self.connect(thread, known, ends))
        self.launch(scan.rows, scan.piece, lambda thread: self.follow_from(thread, ends))

    # ---- rows ------------------------------------------------------------------------------------

    def number(self, value: float) -> Reg:
        return constant(value if self.is_float else int(value), self.factors.elem)

    @property
    def first(self) -> Reg:
        """What stands above the first row: -0.0 * 0 + b is b, also if that is -0.0."""
        return self.number(-0.0 if self.has_terms else 1.0)

    def row(self, thread: Thread, row: Reg) -> tuple[Reg, Reg | None]:
        """The factor and the term of a row; the first term stands alone, so its factor is 0."""
        f, factor = thread.f, self.factors.load(thread, row)
        if not self.has_terms:
            return factor, None
        is_first = f.icmp("eq", row, ZERO)
        factor = f.select(is_first, self.number(0.0), factor)
        return factor, self.terms.load(thread, row)

    def next(self, f: Function, value: Reg, factor: Reg, term: Reg | None) -> Reg:
        product = SCALARS["multiply"](f, factor, value)
        return product if term is None else SCALARS["add"](f, product, term)

    def through(self, thread: Thread, value: Reg, target: Columns | None) -> Reg:
        """Row after row of the piece of a thread."""

        def advance(row: Reg, before: list[Reg]) -> list[Reg]:
            value = self.next(thread.f, before[0], *self.row(thread, row))
            if target is not None:
                target.store(thread, row, value)
            return [value]

        return thread.walk(thread.low, [value], advance)[0]

    # ---- the first launch ------------------------------------------------------------------------

    def describe(self, thread: Thread, known: Sequence[Columns]) -> None:
        f, one, zero = thread.f, self.number(1.0), self.number(0.0)
        if not self.is_float:

            def advance(row: Reg, before: list[Reg]) -> list[Reg]:
                factor, term = self.row(thread, row)
                scale = SCALARS["multiply"](f, factor, before[0])
                return [scale, self.next(f, before[1], factor, term)]

            found = thread.walk(thread.low, [one, zero], advance)
        else:
            no, yes = constant(0, "i1"), constant(1, "i1")
            start = Inside(one, self.number(-0.0), zero, self.number(INFINITY), zero, no, no, yes)
            walked = thread.walk(
                thread.low, start, lambda row, before: self.inside(thread, row, Inside(*before))
            )
            found = self.summary(f, Inside(*walked))
        for column, value in zip(known, found, strict=True):
            column.store(thread, thread.piece, value)

    def inside(self, thread: Thread, row: Reg, before: Inside) -> Inside:
        f = thread.f
        factor, term = self.row(thread, row)
        size = f.intrinsic("fabs", factor)
        has_zero = f.or_(before.has_zero, f.fcmp("oeq", factor, self.number(0.0)))
        product = f.intrinsic("fabs", SCALARS["multiply"](f, factor, before.scale))
        product = f.select(has_zero, self.number(0.0), product)
        sign = f.intrinsic("copysign", self.number(1.0), before.scale)
        scale = f.intrinsic("copysign", product, SCALARS["multiply"](f, factor, sign))
        least = f.select(f.fcmp("olt", product, before.least), product, before.least)
        value, most_term = before.term, before.most_term
        if term is not None:
            moved = SCALARS["multiply"](f, factor, value)
            value = SCALARS["add"](f, moved, term)
            most_term = _larger(f, _larger(f, most_term, moved), value)
        return Inside(
            scale,
            value,
            _larger(f, before.most, product),
            f.select(has_zero, before.least, least),
            most_term,
            has_zero,
            f.or_(before.grows, f.fcmp("ogt", size, self.number(1.0))),
            f.and_(before.is_finite, f.fcmp("olt", size, self.number(INFINITY))),
        )

    def summary(self, f: Function, piece: Inside) -> list[Reg]:
        """A, B, the most and the least |A| on the way, and what may be left of a value of which the
        product is too small for the dtype.

        `most` is NaN where the piece has to be gone through whatever comes to it.  An infinite A is
        never used but for its sign.
        """
        limits = float_of(self.scan.dtype)
        is_sound = f.fcmp("ole", piece.most_term, self.number(limits.large))
        is_sound = f.and_(is_sound, piece.is_finite)
        most = f.select(is_sound, piece.most, self.number(float("nan")))
        size = f.intrinsic("fabs", piece.scale)
        is_usable = f.fcmp("olt", size, self.number(INFINITY))
        sign = f.intrinsic("copysign", self.number(1.0), piece.scale)
        return [
            f.select(is_usable, piece.scale, sign),
            piece.term,
            most,
            f.select(piece.has_zero, self.number(INFINITY), piece.least),
            f.select(piece.grows, self.number(INFINITY), self.number(limits.small)),
        ]

    # ---- the second launch -----------------------------------------------------------------------

    def connect(self, thread: Thread, known: Sequence[Columns], ends: Columns) -> None:
        """The value at the end of each piece, one after the other."""
        f, size = thread.f, self.scan.piece
        rows = constant(self.scan.rows, "i64")

        def advance(piece: Reg, before: list[Reg]) -> list[Reg]:
            (value,) = before
            numbers = [column.load(thread, piece) for column in known]
            found = self.next(f, value, numbers[0], numbers[1] if self.has_terms else None)
            if self.is_float:
                low = f.mul(piece, constant(size, "i64"))
                high = f.intrinsic("smin", f.add(low, constant(size, "i64")), rows)
                within = thread._replace(low=low, high=high)
                is_safe = self.is_safe(f, value, numbers)
                (found,) = f.carried_if(
                    f.not_(is_safe), [found], lambda: [self.through(within, value, None)]
                )
            ends.store(thread, piece, found)
            return [found]

        thread.walk(ZERO, [self.first], advance)

    def is_safe(self, f: Function, value: Reg, numbers: Sequence[Reg]) -> Reg:
        """Whether the rows one after the other would give the same but for rounding."""
        limits = float_of(self.scan.dtype)
        _, term, most, least, left = numbers
        size = f.intrinsic("fabs", value)
        is_sound = f.fcmp("ord", most, most)
        fits = f.fcmp("ole", SCALARS["multiply"](f, size, most), self.number(limits.large))
        smallest = SCALARS["multiply"](f, size, least)
        is_whole = f.fcmp("oge", smallest, self.number(limits.small))
        share = SCALARS["multiply"](f, f.intrinsic("fabs", term), self.number(limits.part))
        is_lost = f.fcmp("ole", SCALARS["multiply"](f, size, left), share)
        safe = f.and_(fits, f.or_(is_whole, is_lost))
        safe = f.or_(safe, f.and_(is_sound, f.fcmp("oeq", value, self.number(0.0))))
        if not self.has_terms:  # what is infinite stays so, unless it is multiplied by 0
            stays = f.fcmp("oge", least, self.number(limits.small))
            stays = f.and_(stays, f.fcmp("oeq", size, self.number(INFINITY)))
            safe = f.or_(safe, f.and_(is_sound, stays))
        return f.or_(safe, f.fcmp("uno", value, value))

    # ---- the third launch ------------------------------------------------------------------------

    def follow_from(self, thread: Thread, ends: Columns) -> None:
        """Each piece from the value at the end of the one above."""
        f = thread.f

        def above() -> list[Reg]:
            return [ends.load(thread, f.sub(thread.piece, ONE))]

        (start,) = f.carried_if(f.icmp("sgt", thread.piece, ZERO), [self.first], above)
        self.through(thread, start, self.memory(self.scan.target))


def _larger(f: Function, most: Reg, value: Reg) -> Reg:
    """The larger magnitude; NaN if the value is."""
    size = f.intrinsic("fabs", value)
    return f.select(f.fcmp("ole", size, most), most, size)
