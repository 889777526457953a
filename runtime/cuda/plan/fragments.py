"""What a tensor core multiplies, and which thread of a warp holds which element of it.

The 32 threads of a warp hold small matrices together: a fragment each, of a few elements.  Thread
`lane` is number `lane % 4` of group `lane // 4`, and where its elements are follows from the two
numbers.  The emitter and the emulated device both read these tables.
"""

from __future__ import annotations

from typing import NamedTuple


class Fragment(NamedTuple):
    """The elements of a matrix that one thread holds.

    Element i of thread t of group g is in row `row[0] * g + row[1] * t + steps[i][0]`, and its
    column is found in the same way.
    """

    row: tuple[int, int]
    column: tuple[int, int]
    steps: tuple[tuple[int, int], ...]

    def place(self, lane: int, number: int) -> tuple[int, int]:
        """The row and the column of an element of a thread.

        >>> MMA_16.out.place(5, 2)
        (9, 2)
        """
        group, thread = divmod(lane, 4)
        down, along = self.steps[number]
        return (
            self.row[0] * group + self.row[1] * thread + down,
            self.column[0] * group + self.column[1] * thread + along,
        )


class Mma(NamedTuple):
    """out += left @ right, of `rows` x `depth` and `depth` x `columns` elements, by one warp.

    `inputs` are the types of elements of graphc's that it multiplies; it adds up in `total`.
    """

    rows: int
    columns: int
    depth: int
    inputs: tuple[str, ...]
    total: str
    left: Fragment
    right: Fragment
    out: Fragment


MMA_16 = Mma(
    16,
    8,
    16,
    ("f16", "bf16"),
    "float",
    Fragment((1, 0), (0, 2), ((0, 0), (0, 1), (8, 0), (8, 1), (0, 8), (0, 9), (8, 8), (8, 9))),
    Fragment((0, 2), (1, 0), ((0, 0), (1, 0), (8, 0), (9, 0))),
    Fragment((1, 0), (0, 2), ((0, 0), (0, 1), (8, 0), (8, 1))),
)
"""Two elements of 16 bits in each register."""

MMA_32 = Mma(
    16,
    8,
    8,
    ("float",),
    "float",
    Fragment((1, 0), (0, 1), ((0, 0), (8, 0), (0, 4), (8, 4))),
    Fragment((0, 1), (1, 0), ((0, 0), (4, 0))),
    Fragment((1, 0), (0, 2), ((0, 0), (0, 1), (8, 0), (8, 1))),
)
"""Of each f32 the 10 leading bits of its fraction are multiplied (TF32)."""

MMA_64 = Mma(
    8,
    8,
    4,
    ("double",),
    "double",
    Fragment((1, 0), (0, 1), ((0, 0),)),
    Fragment((0, 1), (1, 0), ((0, 0),)),
    Fragment((1, 0), (0, 2), ((0, 0), (0, 1))),
)
"""Fused multiply-adds, each rounded as IEEE says."""
