"""Footprints hold every element that a kernel touches."""

from __future__ import annotations

from graphc.runtime.footprints import Footprint, footprints
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Buffer,
    Kernel,
    Load,
    Loop,
    Name,
    Native,
    Product,
    Store,
)

X, AT = Name(0, "f64"), Name(1, "i64")
BUFFERS = tuple(Buffer(f"b{i}", "f64", 100, role) for i, role in enumerate(("in", "in", "out")))


def touched(*body, domain=(4, 5)) -> Kernel:
    return Kernel("k", domain, BUFFERS, (Loop((0, 1), True, body),))


def test_steps_of_either_sign():
    kernel = touched(Load(X, Access(0, 90, (-20, 1))), Store(Access(2, 3, (10, 2)), X))
    whole = {Footprint(0, False, 30, 95), Footprint(2, True, 3, 3 + 30 + 8 + 1)}
    assert set(footprints(kernel)) == whole
    second = {Footprint(0, False, 70, 75), Footprint(2, True, 13, 13 + 8 + 1)}
    assert set(footprints(kernel, 0, (1, 2))) == second


def test_places_known_at_run_time_are_anywhere():
    kernel = touched(
        Load(AT, Access(1, 0, (5, 1))),
        Load(X, Access(0, 0, (1, 0)), AT, 5),
        AddAt(Access(2, 0, (1, 0)), AT, 5, X),
    )
    anywhere = {Footprint(0, False, 0, 100), Footprint(2, True, 0, 100)}
    assert set(footprints(kernel, 0, (2, 3))) == anywhere | {Footprint(1, False, 10, 15)}


def test_products():
    product = Product(
        X, Access(0, 0, (0, 0)), Access(1, 0, (0, 0)), 4, 3, 5, (3, 1), (5, 1), 0, 1,
        (Store(Access(2, 0, (5, 1)), X),),
    )  # fmt: skip
    kernel = Kernel("k", (4, 5), BUFFERS, (product,))
    rows = {Footprint(0, False, 3, 6), Footprint(1, False, 0, 15), Footprint(2, True, 5, 10)}
    assert set(footprints(kernel, 0, (1, 2))) == rows
    columns = {Footprint(0, False, 0, 12), Footprint(1, False, 1, 13), Footprint(2, True, 1, 18)}
    assert set(footprints(kernel, 1, (1, 3))) == columns


def test_a_routine_touches_what_lies_between_its_places_or_all_of_a_buffer():
    kernel = touched(Native("searchsorted", "f64", (Access(0, 0, (0, 0)), Access(2, 1, (5, 0)), 5)))
    assert set(footprints(kernel)) == {Footprint(0, False, 0, 100), Footprint(2, True, 1, 21)}
    second = {Footprint(0, False, 0, 100), Footprint(2, True, 6, 11)}
    assert set(footprints(kernel, 0, (1, 2))) == second


def test_products_in_blocks_of_rows():
    product = Product(
        X, Access(0, 0, (3, 0)), Access(1, 0, (0, 0)), 2, 3, 5, (3, 1), (5, 1), 0, 1,
        (Store(Access(2, 0, (5, 1)), X),),
    )  # fmt: skip
    kernel = Kernel("k", (4, 5), BUFFERS, (Blocks(0, 2, (product,)),))
    rows = {Footprint(0, False, 6, 12), Footprint(1, False, 0, 15), Footprint(2, True, 10, 20)}
    assert set(footprints(kernel, 0, (2, 4))) == rows
