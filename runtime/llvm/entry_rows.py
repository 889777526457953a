"""What the entry point knows of each choice of sizes, where these have names.

A plan is then for all sizes, and what depends on them is in a row for each choice that has been
used before: a table of `row_mask` + 1 rows, each at the place that `place_of` says or at the next
free one.  A row is free where its first word, a size, is 0.  Sizes that have no row are sent to the
slow path, after which they get one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphc.runtime.llvm.entry_layout import FIELD

ROW_NAMES = (
    "constant_table",  # as in the header; the last constant is the table of sizes
    "types",
    "handler",
    "step",
)
ROW = {name: place for place, name in enumerate(ROW_NAMES)}
"""Field of a row -> its place behind the sizes."""

SPREAD = 0x9E3779B97F4A7C15
"""An odd number whose multiples are far apart: 2**64 by the golden ratio."""


def place_of(sizes: Sequence[int], mask: int) -> int:
    """Where to look for the row of these sizes first; as `@find_row`."""
    hashed = 0
    for size in sizes:
        hashed = ((hashed ^ size) * SPREAD) % 2**64
    return hashed >> 32 & mask


ROWS_TEXT = f"""
; The row for some sizes; null where they have not been used before.
define internal ptr @find_row(ptr %plan, ptr %sizes, i64 %symbols) #0 {{
entry:
  %rows.at = getelementptr i64, ptr %plan, i64 {FIELD["rows"]}
  %rows = load ptr, ptr %rows.at
  %mask.at = getelementptr i64, ptr %plan, i64 {FIELD["row_mask"]}
  %mask = load i64, ptr %mask.at
  %width = add i64 %symbols, {len(ROW)}
  br label %hash
hash:
  %h = phi i64 [0, %entry], [%h.next, %mix]
  %i = phi i64 [0, %entry], [%i.next, %mix]
  %hashed = icmp eq i64 %i, %symbols
  br i1 %hashed, label %begin, label %mix
mix:
  %size.at = getelementptr i64, ptr %sizes, i64 %i
  %size = load i64, ptr %size.at
  %mixed = xor i64 %h, %size
  %h.next = mul i64 %mixed, {SPREAD - 2**64}
  %i.next = add i64 %i, 1
  br label %hash
begin:
  %high = lshr i64 %h, 32
  br label %look
look:
  %at = phi i64 [%high, %begin], [%at.next, %other]
  %place = and i64 %at, %mask
  %start = mul i64 %place, %width
  %row = getelementptr i64, ptr %rows, i64 %start
  %at.next = add i64 %at, 1
  %first = load i64, ptr %row
  %is_free = icmp eq i64 %first, 0
  br i1 %is_free, label %none, label %compare
compare:
  %j = phi i64 [0, %look], [%j.next, %one]
  %all = icmp eq i64 %j, %symbols
  br i1 %all, label %found, label %one
one:
  %here.at = getelementptr i64, ptr %row, i64 %j
  %here = load i64, ptr %here.at
  %wanted.at = getelementptr i64, ptr %sizes, i64 %j
  %wanted = load i64, ptr %wanted.at
  %j.next = add i64 %j, 1
  %agrees = icmp eq i64 %here, %wanted
  br i1 %agrees, label %compare, label %other
other:
  br label %look
found:
  %fields = getelementptr i64, ptr %row, i64 %symbols
  ret ptr %fields
none:
  ret ptr null
}}
"""


class Rows:
    """The rows of a plan, for sizes of some number of names."""

    def __init__(self, symbols: int):
        self.width = symbols + len(ROW)
        self.count = 0
        self.table = np.zeros((2, self.width), np.int64)
        self.outgrown: list[np.ndarray] = []
        """Former tables: another thread may have been looking at a row when it grew."""

    def add(self, sizes: Sequence[int], fields: Mapping[str, int]) -> None:
        """A row for sizes that have none."""
        if 2 * (self.count + 1) > len(self.table):
            old, self.table = self.table, np.zeros((2 * len(self.table), self.width), np.int64)
            self.outgrown.append(old)
            for row in old[old[:, 0] > 0]:
                self._put(row)
        self._put(np.array([*sizes, *(fields[name] for name in ROW_NAMES)], np.int64))
        self.count += 1

    def _put(self, row: np.ndarray) -> None:
        mask = len(self.table) - 1
        place = place_of([int(size) for size in row[: -len(ROW)]], mask)
        while self.table[place, 0]:
            place = (place + 1) & mask
        self.table[place] = row

    def words(self) -> dict[str, int]:
        """The fields of the plan's header that say where the rows are."""
        return {"rows": self.table.ctypes.data, "row_mask": len(self.table) - 1}
