"""Compiled functions: what makes a new trace, what arrives as it was given, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.arange(6.0).reshape(2, 3)


class Counter:
    """A function that counts how often it is traced."""

    def __init__(self, function: Any):
        self.traces = 0
        self.function = function
        self.compiled = gc.compile(self.run)

    def run(self, *args: Any) -> Any:
        self.traces += 1
        return self.function(*args)

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)


# ---- signatures ----------------------------------------------------------------------------------


def test_numbers_are_inputs() -> None:
    f = Counter(lambda x, n, s: x * n + s)
    for n, s in ((1, 2.0), (3, -1.0), (-7, np.inf)):
        np.testing.assert_array_equal(f(X, n, s), X * n + s)
    assert f.traces == 1
    f(X, 1.0, 1.0)
    f(X, np.float64(1), 1.0)
    assert f.traces == 3
    assert f(X.astype(np.float32), 2, 1.5).dtype == np.float32
    assert f(X.astype(np.float32), np.float64(2), 1.5).dtype == np.float64


def test_shapes_dtypes_structures_and_static_values_are_the_signature() -> None:
    f = Counter(lambda x, kind: x * 2 if kind else x)
    calls = [
        (X, True),
        (X, False),
        (X[:1], True),
        (X.astype(int), True),
        (X, "s"),
        (X, None),
        (X, []),
    ]
    for _ in range(2):
        for x, kind in calls:
            np.testing.assert_array_equal(f(x, kind), x * 2 if kind else x)
    assert f.traces == len(calls)


def test_an_integer_is_fixed_where_the_trace_needs_it() -> None:
    f = Counter(lambda x, n, m: x.sum(axis=n) * m)
    for n, m in ((0, 2), (1, 2), (0, 5), (1, 7)):
        np.testing.assert_array_equal(f(X, n, m), X.sum(n) * m)
    assert f.traces == 2
    report = f.compiled.explain(X, 1, 9)
    (fixed,) = report.specialisations
    assert str(fixed).startswith("args[1] = 1: the integer value was needed while tracing at ")
    assert "test_compiled.py:" in str(fixed)


def test_a_number_computed_from_integers_fixes_all_of_them() -> None:
    f = Counter(lambda x, n, m, k: x.ravel()[n * (m + 1) - 1] * k)
    for n, m, k in ((1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 2)):
        assert f(X, n, m, k) == X.ravel()[n * (m + 1) - 1] * k
    assert f.traces == 1  # an element is read at a traced position
    g = Counter(lambda x, n, m, k: x.ravel()[: n * (m + 1) - 1] * k)
    for n, m, k in ((1, 1, 2), (1, 1, 3), (2, 1, 2), (1, 2, 2)):
        np.testing.assert_array_equal(g(X, n, m, k), X.ravel()[: n * (m + 1) - 1] * k)
    assert g.traces == 3
    assert len(g.compiled.explain(X, 1, 1, 1).specialisations) == 2


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, n: x.reshape(n, -1), (1, 2, 3)),
        (lambda x, n: np.zeros(n), (1, 2)),
        (lambda x, n: sum(x[0, i] for i in range(n)), (1, 3)),
        (lambda x, n: x[:n], (0, 1)),
        (lambda x, n: np.arange(n), (2, 4)),
        (lambda x, n: np.roll(x, n), (1, -1)),
        (lambda x, n: [x, -x][n], (0, 1)),
        (lambda x, n: x[: n - 1], (1, 2)),
        (lambda x, n: np.zeros(2 * n + 1), (1, 2)),
        (lambda x, n: x.ravel()[: int(n / 2) % 3], (2, 4)),
        (lambda x, n: x.reshape(n**2 - n, -1), (2, 3)),
    ],
)
def test_uses_that_fix_an_integer(function: Any, expected: tuple[int, ...]) -> None:
    f = Counter(function)
    for _ in range(2):
        for n in expected:
            np.testing.assert_array_equal(f(X, n), function(X, n))
    assert f.traces == len(expected)


def test_signatures_in_turn() -> None:
    """The path for the latest signature must not take arguments of another one."""
    f = gc.compile(lambda x, o: (x * o["s"], o["k"]))
    for _ in range(2):
        for x in (
            X,
            X[:, :2],
            X.T,
            X.astype(np.float32),
            3,
            2.5,
            np.float32(2),
            X > 1,
            np.array(2.0),
        ):
            for o in ({"s": 2, "k": None}, {"s": 2.5, "k": "t"}, {"k": True, "s": X[0, 0]}):
                got, k = f(x, o)
                wanted = x * o["s"]
                np.testing.assert_array_equal(got, wanted)
                assert np.asarray(got).dtype == np.asarray(wanted).dtype
                assert k is o["k"]


def test_keyword_arguments_and_defaults() -> None:
    def f(x, y=2.0, *, scale=1.0):
        return (x - y) * scale

    compiled = gc.compile(f)
    assert compiled(5.0) == 3.0
    assert compiled(5.0, 1.0) == compiled(5.0, y=1.0) == compiled(y=1.0, x=5.0) == 4.0
    assert compiled(5.0, scale=2.0) == 6.0


# ---- arguments -----------------------------------------------------------------------------------


def test_an_argument_returned_is_the_same_object() -> None:
    def f(x, y):
        y += 1
        return y, x, x[:], (y,)

    x, y = X.copy(), X.copy()
    a, b, c, (d,) = gc.compile(f)(x, y)
    assert a is y and b is x and d is y
    assert np.shares_memory(c, x)
    np.testing.assert_array_equal(y, X + 1)


def test_results_are_fresh() -> None:
    f = gc.compile(lambda x: (x[1:], x + 0, np.zeros(2), x.T, x.reshape(-1)))
    first, second = f(X), f(X)
    for a, b in zip(first, second, strict=True):
        assert not np.shares_memory(a, b)
        assert not np.shares_memory(a, X)
        a += 1


def test_updated_arguments_of_any_layout() -> None:
    def f(x):
        x[0] = 5
        x *= 2

    for make in (
        lambda: X.copy(),
        lambda: X.copy().T,
        lambda: np.asfortranarray(X),
        lambda: np.tile(X, (2, 2))[::2, ::2],
        lambda: X.copy()[::-1, ::-1],
        lambda: np.frombuffer(bytearray(b"\0" + X.tobytes()), np.float64, 6, 1).reshape(2, 3),
    ):
        x, plain = make(), make()
        gc.compile(f)(x)
        f(plain)
        np.testing.assert_array_equal(x, plain)


def test_the_same_array_twice() -> None:
    def f(x, y):
        x += 1
        y *= 2
        return x + y

    compiled = gc.compile(f)
    a = np.ones(3)
    np.testing.assert_array_equal(compiled(a, a), [8, 8, 8])
    np.testing.assert_array_equal(a, [4, 4, 4])
    b, c = np.ones(3), np.ones(3)
    np.testing.assert_array_equal(compiled(b, c), [4, 4, 4])
    np.testing.assert_array_equal(b, [2, 2, 2])


def test_overlapping_arguments() -> None:
    def f(x, y):
        x += y

    compiled = gc.compile(f)
    memory = np.arange(6.0)
    compiled(memory[:3], memory[3:])
    np.testing.assert_array_equal(memory, [3, 5, 7, 3, 4, 5])
    with pytest.raises(errors.OverlapError, match=r"shares memory .*; pass a copy"):
        compiled(memory[:3], memory[1:4])
    np.testing.assert_array_equal(memory, [3, 5, 7, 3, 4, 5])
    memory[:3] += 0
    np.testing.assert_array_equal(
        gc.compile(lambda x, y: x + y)(memory[:3], memory[1:4]), [8, 12, 10]
    )


def test_read_only_arguments() -> None:
    def f(x):
        x += 1

    frozen = X.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(gc.compile(lambda x: x + 1)(frozen), X + 1)
    with pytest.raises(errors.ReadOnlyError, match="read-only; pass a copy"):
        gc.compile(f)(frozen)
    np.testing.assert_array_equal(frozen, X)


def test_a_failed_check_leaves_no_argument_half_written() -> None:
    def f(x, i):
        x += 1
        return x[i]

    compiled = gc.compile(f)
    x = np.zeros(3)
    with pytest.raises(IndexError):
        compiled(x, np.array(7))
    assert set(x) in ({0.0}, {1.0})


def test_subclasses_and_strange_byte_orders() -> None:
    swapped = X.astype(">f8")
    with pytest.raises(errors.DTypeError, match="argument x has dtype >f8"):
        gc.compile(lambda x: x)(swapped)


@pytest.mark.parametrize(
    "value",
    [np.zeros(2, np.clongdouble), np.array(["a"]), np.array([None]), np.zeros(2, np.longdouble)],
)
def test_dtypes_that_graphc_lacks(value: np.ndarray) -> None:
    with pytest.raises(
        errors.DTypeError, match=r"argument p\['w'\] has dtype .*; graphc takes float32"
    ):
        gc.compile(lambda p: p["w"])({"w": value})


def test_wrong_arguments() -> None:
    def f(x, y):
        return x

    compiled = gc.compile(f)
    for args, kwargs in (((1.0,), {}), ((1.0, 2.0, 3.0), {}), ((1.0,), {"z": 2.0})):
        with pytest.raises(errors.ArgumentError, match=r"f\(x, y\): .*; call it with") as raised:
            compiled(*args, **kwargs)
        assert "test_compiled.py:" in str(raised.value)


# ---- the rest ------------------------------------------------------------------------------------


def test_methods_and_nested_compiled_functions() -> None:
    class Model:
        def __init__(self, w):
            self.w = w

        @gc.compile
        def predict(self, x):
            return x * self.w if x > 0 else -x

    @gc.compile
    def outer(x):
        return Model(3.0).predict(x) + 1

    model = Model(2.0)
    assert model.predict(4.0) == 8.0
    assert model.predict(-4.0) == 4.0
    assert Model.predict(model, 1.0) == 2.0
    assert outer(2.0) == 7.0


def test_stages_and_reports() -> None:
    f = gc.compile(lambda x: np.exp(x) * 2 + 0)
    assert f.graph(gc.Spec((3,), "f64"), stage="traced").name == "main"
    with pytest.raises(errors.ArgumentError, match="no stage 'final'; choose from traced"):
        f.graph(X, stage="final")
    with pytest.raises(errors.ArgumentError, match="call the function with arrays"):
        f(gc.Spec((2, 3), "f64"))
    assert len(f.explain(X).kernels) == 1


def test_a_failed_trace_leaves_the_function_usable() -> None:
    def f(x, bad):
        return x.nonsense if bad else x + 1

    compiled = gc.compile(f)
    with pytest.raises(errors.UnsupportedAttributeError):
        compiled(X, True)
    np.testing.assert_array_equal(compiled(X, False), X + 1)
    assert not np.any(gc.compile(lambda x: x * 0)(X))


def test_names_and_docstrings() -> None:
    def f(x):
        """What f does."""
        return x

    compiled = gc.compile(f)
    assert (compiled.__name__, compiled.__doc__) == ("f", "What f does.")
