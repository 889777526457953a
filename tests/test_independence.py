"""A kernel is divided only along axes where no share sees what another does."""

from __future__ import annotations

from graphc.ir import Lit, Type
from graphc.runtime.independence import is_independent, looped_axes
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    AddAt,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
)
from graphc.runtime.program import Root

X, Y, AT, TOTAL = Name(0, "f64"), Name(1, "f64"), Name(2, "i64"), Name(3, "f64")
ONE = Lit(1.0, Type("f64"))
ROWS, COLUMNS = 4, 6


def kernel(*body: Statement, roles: str = "in out scratch") -> Kernel:
    """A kernel over 4 x 6, with a buffer for each of the roles."""
    buffers = tuple(Buffer(f"b{i}", "f64", 24, role) for i, role in enumerate(roles.split()))
    return Kernel("k", (ROWS, COLUMNS), buffers, body)


def roots(*numbers: int) -> list[Root]:
    """Memory for each buffer; the same for equal numbers."""
    made = {n: Root("argument", n, "f64", 192) for n in numbers}
    return [made[n] for n in numbers]


def axes(whole: Kernel, memory: list[Root]) -> list[int]:
    cuts = {0: (0, 2, ROWS), 1: (0, 3, COLUMNS)}
    return [a for a in looped_axes(whole) if is_independent(whole, memory, a, cuts[a])]


def nest(*body: Statement) -> Loop:
    return Loop((0,), False, (Loop((1,), True, body),))


HERE, TURNED = (COLUMNS, 1), (1, ROWS)
COPY = (Load(X, Access(0, 0, HERE)), Store(Access(1, 0, HERE), X))


def test_elementwise_along_both_axes_in_place_too():
    assert axes(kernel(nest(*COPY)), roots(0, 1, 2)) == [0, 1]
    assert axes(kernel(nest(*COPY)), roots(0, 0, 2)) == [0, 1]


def test_what_is_read_elsewhere_than_it_is_written():
    turned = Load(X, Access(0, 0, TURNED)), Store(Access(1, 0, HERE), X)
    assert axes(kernel(nest(*turned)), roots(0, 1, 2)) == [0, 1]
    assert axes(kernel(nest(*turned)), roots(0, 0, 2)) == []


def test_rows_that_are_read_in_another_order():
    """Within its row, each turn may read what it likes; another column is another share's."""
    flipped = Load(X, Access(0, COLUMNS - 1, (COLUMNS, -1))), Store(Access(1, 0, HERE), X)
    assert axes(kernel(nest(*flipped)), roots(0, 0, 2)) == [0]


def test_a_reduction_along_its_kept_axis():
    row = Loop((1,), True, (COPY[0],), (Accumulator(TOTAL, "sum", X),))
    whole = kernel(Loop((0,), False, (row, Store(Access(1, 0, (1, 0)), TOTAL))))
    assert axes(whole, roots(0, 1, 2)) == [0]


def test_scratch_memory_is_used_within_the_loop():
    row = (Load(X, Access(0, 0, HERE)), Store(Access(2, 0, (0, 1)), X))
    again = (Load(Y, Access(2, 0, (0, 1))), Store(Access(1, 0, HERE), Y))
    inside = kernel(Loop((0,), False, (Loop((1,), True, row), Loop((1,), True, again))))
    assert axes(inside, roots(0, 1, 2)) == [0, 1]
    outside = kernel(Loop((1,), True, row), nest(*again))
    assert axes(outside, roots(0, 1, 2)) == [1]


def test_additions_move_along_the_axis():
    at = Load(AT, Access(0, 0, (0, 1)))
    whole = kernel(nest(at, AddAt(Access(1, 0, (COLUMNS, 0)), AT, 1, ONE)))
    assert axes(whole, roots(0, 1, 2)) == [0]


def test_all_shares_may_store_the_same_number():
    same = (Compute(Y, "abs", (ONE,)), Store(Access(1, 0, (0, 0)), Y))
    assert axes(kernel(nest(*same)), roots(0, 1, 2)) == [0, 1]
    different = (Index(AT, 0), Store(Access(1, 0, (0, 0)), AT))
    assert axes(kernel(nest(*different)), roots(0, 1, 2)) == [1]


def test_a_number_is_not_made_from_its_old_value_twice():
    counted = (Load(X, Access(0, 0, (0, 0))), Compute(Y, "add", (X, ONE)))
    whole = kernel(*counted, nest(*COPY[:1]), Store(Access(1, 0, (0, 0)), Y))
    assert axes(whole, roots(0, 1, 2)) == [0, 1]
    assert axes(whole, roots(0, 0, 2)) == []
