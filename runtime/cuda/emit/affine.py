"""Linear recurrences and products of floats along few long columns, by a thread for each piece.

y[k] = a[k] * y[k-1] + b[k]; of a product b is 0.  What a piece makes of the value y above it is
A * y + B, where A is the product of its factors and B what it makes of 0.  So three launches do:
A and B of each piece; the values at the ends of pieces, one after the other; and each piece from
the value above it.

A * y + B is what the rows one after the other give, but for rounding, only if nothing on the way
becomes too large or too small for the dtype: y * A can be 1 where A is infinite.  So a piece also
says how large and how small the products of its first factors are, and where the value that comes
to it makes too much or too little of that, the second launch goes through the rows.  Too little
does no harm where it is nothing beside B, as in everything that forgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir import FLOATS, NUMPY_DTYPES
from graphc.runtime.cuda.emit.scan import ONE, ZERO, Columns, Scanner, Thread
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
    unit: float
    """Products are kept between this and its reciprocal, and how often it was taken out of them."""


def float_of(dtype: str) -> Float:
    info = np.finfo(NUMPY_DTYPES[dtype])
    unit = 2.0 ** (info.minexp // 2 + 1)
    return Float(float(info.max) / 4, float(info.smallest_normal), float(info.eps) / 4, unit)


class Inside(NamedTuple):
    """What a thread knows of the rows of a piece so far.

    `scale` and `term` are A and B; `most` and `least` the extremes of |A| so far, of which the
    latter leaves out what comes after a factor 0; `most_term` is that of |B|.
    """

    scale: Reg
    """With `Float.unit` taken out of it `exponent` times."""
    exponent: Reg
    term: Reg
    most: Reg
    least: Reg
    most_term: Reg
    has_zero: Reg
    is_lost: Reg
    """Whether the product was too small all the same."""
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
            term, least = self.number(-0.0), self.number(INFINITY)
            start = Inside(one, ZERO, term, zero, least, zero, no, no, yes)
            walked = thread.walk(
                thread.low, start, lambda row, before: self.inside(thread, row, Inside(*before))
            )
            found = self.summary(f, Inside(*walked))
        for column, value in zip(known, found, strict=True):
            column.store(thread, thread.piece, value)

    def inside(self, thread: Thread, row: Reg, before: Inside) -> Inside:
        """What is known after one more row."""
        f = thread.f
        factor, term = self.row(thread, row)
        has_zero = f.or_(before.has_zero, f.fcmp("oeq", factor, self.number(0.0)))
        scale, exponent, is_small = self.scaled(f, factor, before, has_zero)
        size = self.size(f, scale, exponent)
        least = f.select(f.fcmp("olt", size, before.least), size, before.least)
        value, most_term = before.term, before.most_term
        if term is not None:
            moved = SCALARS["multiply"](f, factor, value)
            value = SCALARS["add"](f, moved, term)
            most_term = _larger(f, _larger(f, most_term, moved), value)
        is_finite = f.fcmp("olt", f.intrinsic("fabs", factor), self.number(INFINITY))
        return Inside(
            scale,
            exponent,
            value,
            _larger(f, before.most, size),
            f.select(has_zero, before.least, least),
            most_term,
            has_zero,
            f.or_(before.is_lost, is_small),
            f.and_(before.is_finite, is_finite),
        )

    def scaled(
        self, f: Function, factor: Reg, before: Inside, has_zero: Reg
    ) -> tuple[Reg, Reg, Reg]:
        """The product with one more factor, how often the unit is taken out of it, and whether it
        was too small before that.  Signs are those of all factors, also of what is 0."""
        limits, zero = float_of(self.scan.dtype), self.number(0.0)
        unit, whole = self.number(limits.unit), self.number(1 / limits.unit)
        multiply = SCALARS["multiply"]
        product = f.intrinsic("fabs", multiply(f, factor, before.scale))
        product = f.select(has_zero, zero, product)
        goes_on = f.not_(has_zero)
        takes = f.and_(goes_on, f.fcmp("olt", product, unit))
        gives = f.and_(f.fcmp("ogt", product, whole), f.icmp("sgt", before.exponent, ZERO))
        is_small = f.and_(takes, f.fcmp("olt", product, self.number(limits.small)))
        product = f.select(takes, multiply(f, product, whole), product)
        product = f.select(gives, multiply(f, product, unit), product)
        exponent = f.add(before.exponent, f.convert("zext", takes, "i64"))
        exponent = f.sub(exponent, f.convert("zext", gives, "i64"))
        sign = f.intrinsic("copysign", self.number(1.0), before.scale)
        return f.intrinsic("copysign", product, multiply(f, factor, sign)), exponent, is_small

    def size(self, f: Function, scale: Reg, exponent: Reg) -> Reg:
        """|A| as a number, 0 where it is too small for that."""
        unit, power = float_of(self.scan.dtype).unit, self.number(0.0)
        for times in (2, 1, 0):
            is_it = f.icmp("eq", exponent, constant(times, "i64"))
            power = f.select(is_it, self.number(unit**times), power)
        return SCALARS["multiply"](f, f.intrinsic("fabs", scale), power)

    def summary(self, f: Function, piece: Inside) -> list[Reg]:
        """A, B, the most and the least |A| on the way, and the most that |A| may be in truth.

        `most` is NaN where the piece has to be gone through whatever comes to it.  An infinite A is
        never used but for its sign.
        """
        limits, infinite = float_of(self.scan.dtype), self.number(INFINITY)
        is_sound = f.fcmp("ole", piece.most_term, self.number(limits.large))
        is_sound = f.and_(is_sound, piece.is_finite)
        most = f.select(is_sound, piece.most, self.number(float("nan")))
        size = self.size(f, piece.scale, piece.exponent)
        size_used = f.select(f.fcmp("olt", size, infinite), size, self.number(1.0))
        least_known = self.number(limits.unit**2)
        bound = f.select(f.fcmp("ogt", size, least_known), size, least_known)
        return [
            f.intrinsic("copysign", size_used, piece.scale),
            piece.term,
            most,
            f.select(piece.has_zero, infinite, piece.least),
            f.select(piece.is_lost, infinite, bound),
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
        _, term, most, least, bound = numbers
        size = f.intrinsic("fabs", value)
        is_sound = f.fcmp("ord", most, most)
        fits = f.fcmp("ole", SCALARS["multiply"](f, size, most), self.number(limits.large))
        smallest = SCALARS["multiply"](f, size, least)
        is_whole = f.fcmp("oge", smallest, self.number(limits.small))
        share = SCALARS["multiply"](f, f.intrinsic("fabs", term), self.number(limits.part))
        is_nothing = f.fcmp("ole", SCALARS["multiply"](f, size, bound), share)
        safe = f.and_(fits, f.or_(is_whole, is_nothing))
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
    """The larger magnitude; NaN if one of them is."""
    size = f.intrinsic("fabs", value)
    stays = f.or_(f.fcmp("ole", size, most), f.fcmp("uno", most, most))
    return f.select(stays, most, size)
