"""The kernel IR, printed."""

from __future__ import annotations

from graphc.ir import Lit, Type
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
    Product,
    Store,
    accesses,
    is_plain,
    reads,
)

ROW = Access(0, 2, (5, 1))
OUT = Access(1, 0, (1, 0))
X, Y, TOTAL, POSITION = Name(1, "f64"), Name(2, "f64"), Name(3, "f64"), Name(4, "i64")
INNER = Loop(
    (1,),
    True,
    (Load(X, ROW), Compute(Y, "multiply", (X, Lit(2.0, Type("f64"))))),
    (Accumulator(TOTAL, "sum", Y),),
)
KERNEL = Kernel(
    "rows",
    (4, 3),
    (Buffer("x", "f64", 22, "in"), Buffer("y", "f64", 4, "out")),
    (
        Loop((0,), False, (INNER, Store(OUT, TOTAL))),
        Loop((0,), False, (Index(POSITION, 0), AddAt(OUT, POSITION, 1, Lit(1.0, Type("f64"))))),
    ),
)

TEXT = """\
kernel rows(in x: f64[22], out y: f64[4]) {
  for i0 < 4 {
    t3 = sum over:
    vector for i1 < 3 {
      t1 = load x[i0*5 + i1 + 2]
      t2 = multiply(t1, 2.0)
      t3 <- t2
    }
    store y[i0] = t3
  }
  for i0 < 4 {
    t4 = i0
    add y[i0] + t4*1 += 1.0
  }
}"""


def test_a_kernel_reads_like_its_loops() -> None:
    assert str(KERNEL) == TEXT


def test_casts_and_gathers_show_all_they_depend_on() -> None:
    """Kernels are told apart by their text."""
    body = (Load(X, OUT, POSITION, 7), Compute(Y, "cast", (X,), (("dtype", "f64"),)), Store(ROW, Y))
    text = str(Kernel("k", (4, 3), KERNEL.buffers, body))
    assert "t1 = load y[i0] + t4*7" in text
    assert "t2 = cast(t1, dtype=f64)" in text


def test_accesses_of_all_statements() -> None:
    product = Product(TOTAL, ROW, OUT, 1, 2, 3, (2, 1), (3, 1), None, 1, (Store(OUT, TOTAL),))
    assert list(accesses(KERNEL.body)) == [ROW, OUT, OUT]
    assert list(accesses((product,))) == [ROW, OUT, OUT]
    text = str(Kernel("k", (4, 3), KERNEL.buffers, (product,)))
    assert "tiles of x[i0*5 + i1 + 2] @ y[i0] (1 x 2 x 3, strides (2, 1) and (3, 1)) {" in text


def test_values_that_statements_read_themselves() -> None:
    held = Name(9, "bool")
    assert list(reads(Compute(Y, "multiply", (X, Lit(2.0, Type("f64")))))) == [X]
    assert list(reads(Load(X, ROW, POSITION, 5, held))) == [POSITION, held]
    assert list(reads(Store(OUT, Y))) == [Y]
    assert list(reads(AddAt(OUT, POSITION, 1, Y))) == [POSITION, Y]
    assert list(reads(INNER)) == [a.value for a in INNER.accumulators]
    assert list(reads(Index(POSITION, 0))) == []


def test_what_is_at_its_access_wherever_it_stands() -> None:
    assert is_plain(Load(X, ROW)) and is_plain(Store(OUT, Y))
    assert not is_plain(Load(X, ROW, POSITION, 5))
    assert not is_plain(Load(X, ROW, guard=Name(9, "bool")))
