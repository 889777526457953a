"""Complex values in graphs: each operation as pairs against NumPy's complex one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.build import Builder
from graphc.ir import COMPLEXES, OPS, Graph, Type, all_eqns
from graphc.ops.decompositions import OF_MATRICES
from graphc.passes.complex_boundary import places
from graphc.passes.complex_formulas import OF_EACH_PART, RULES
from graphc.passes.complex_pairs import complex_to_memory, complex_to_pairs, is_complex
from graphc.runtime.reference import evaluate
from graphc.text import parse
from graphc.verify import verify

RNG = np.random.default_rng(5)
C, F, B, N = (lambda *s, d=d: Type(d, s) for d in ("c128", "f64", "bool", "i64"))

CASES: dict[str, list[tuple[tuple[Type, ...], dict[str, Any]]]] = {
    "complex": [((F(3), F(3)), {})],
    "real": [((C(3),), {})],
    "imag": [((C(3),), {})],
    "reshape": [((C(2, 3),), {"shape": (3, 2)})],
    "transpose": [((C(2, 3),), {"axes": (1, 0)})],
    "broadcast": [((C(3),), {"shape": (2, 3), "axes": (1,)})],
    "slice": [((C(5),), {"starts": (1,), "sizes": (2,), "steps": (2,)})],
    "skew": [((C(5, 3),), {"axis": 0, "by": 1, "step": -1})],
    "update_slice": [((C(5), C(2)), {"starts": (1,), "steps": (2,)})],
    "concatenate": [((C(2), C(3)), {"axis": 0})],
    "pad": [((C(3),), {"low": (1,), "high": (2,), "value": 2.5})],
    "where": [((B(4), C(4), C(4)), {})],
    "stop_gradient": [((C(3),), {})],
    "add": [((C(3), C(3)), {})],
    "subtract": [((C(3), C(3)), {})],
    "negative": [((C(3),), {})],
    "multiply": [((C(3), C(3)), {})],
    "divide": [((C(9), C(9)), {})],
    "equal": [((C(3), C(3)), {})],
    "not_equal": [((C(3), C(3)), {})],
    "matmul": [((C(2, 3), C(3, 4)), {}), ((C(2, 2, 3), C(2, 3, 1)), {})],
    "sum": [((C(2, 3),), {"axes": (0,)}), ((C(2, 3),), {"axes": (0, 1)})],
    "prod": [
        ((C(7, 2),), {"axes": (0,)}),
        ((C(2, 3),), {"axes": (0, 1)}),
        ((C(0, 2),), {"axes": (0,)}),
    ],
    "cumsum": [((C(5),), {"axis": 0, "reverse": True})],
    "cumprod": [((C(5),), {"axis": 0, "reverse": r}) for r in (False, True)],
    "cast": [
        ((C(3),), {"dtype": "c64"}),
        ((F(3),), {"dtype": "c128"}),
        ((N(3),), {"dtype": "c64"}),
    ],
    "take": [((C(5), N(3)), {"axis": 0})],
    "pick": [((C(2, 5), N(2)), {"axis": 1})],
    "scatter_add": [((C(5), N(3), C(3)), {"axis": 0})],
    "put": [((C(5), N(1), C(1)), {"axis": 0})],
}


def drawn(type: Type) -> np.ndarray:
    if type.dtype == "i64":
        return RNG.integers(0, 2, type.shape)
    if type.dtype == "bool":
        return RNG.integers(0, 2, type.shape) > 0
    real = RNG.normal(size=type.shape)
    return real + 1j * RNG.normal(size=type.shape) if type.dtype in COMPLEXES else real


def graph_of(name: str, types: tuple[Type, ...], attrs: dict[str, Any]) -> Graph:
    builder = Builder(name)
    params = [builder.param(type).atom for type in types]
    return builder.finish([out.atom for out in builder.emit(OPS[name], params, attrs)])


def in_pairs(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [p for x in arrays for p in ((x.real, x.imag) if x.dtype.kind == "c" else (x,))]


def test_every_operation_on_complex_values_has_a_case() -> None:
    decompositions = {op.name for op in OF_MATRICES} - {"lu_diagonal"}
    assert CASES.keys() == (OF_EACH_PART | RULES.keys()) - decompositions
    assert decompositions <= RULES.keys()


@pytest.mark.parametrize(
    ("name", "types", "attrs"), [(n, *case) for n, own in CASES.items() for case in own]
)
def test_an_operation_as_pairs(name: str, types: tuple[Type, ...], attrs: dict[str, Any]) -> None:
    graph = graph_of(name, types, attrs)
    verify(graph)
    assert str(parse(str(graph))) == str(graph)
    arrays = [drawn(type) for type in types]
    expected = in_pairs(list(evaluate(graph, *arrays)))
    pairs = complex_to_pairs(graph)
    verify(pairs)
    assert not is_complex(pairs)
    for got, want in zip(evaluate(pairs, *in_pairs(arrays)), expected, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-6 if attrs.get("dtype") == "c64" else 1e-13)


def test_division_keeps_its_range_and_divides_by_zero_as_numpy() -> None:
    graph = graph_of("divide", (C(8), C(8)), {})
    x = np.array([1e300 + 1e300j, 1 + 2j, 0, 1, np.inf, 3, 1e-300j, -1 - 1j])
    y = np.array([1e300 - 1e300j, 1e-300j, 0, 0, 2 + 1j, np.inf, 1e-300, 4])
    with np.errstate(all="ignore"):
        got = evaluate(complex_to_pairs(graph), *in_pairs([x, y]))
        want = x / y
    np.testing.assert_allclose(got[0], want.real, rtol=1e-14)
    np.testing.assert_allclose(got[1], want.imag, rtol=1e-14)


def test_a_whole_graph_reads_and_writes_interleaved_memory() -> None:
    z = drawn(C(4))
    graph = complex_to_memory(gc.trace(lambda z, x: (z * x, x + 1), z, z.real))
    assert [str(type) for type in graph.in_types] == ["f64[4,2]", "f64[4]"]
    assert [str(type) for type in graph.out_types] == ["f64[4,2]", "f64[4]"]
    got = evaluate(graph, z.view(float).reshape(4, 2), z.real)
    np.testing.assert_allclose(got[0].view(complex)[:, 0], z * z.real)


def test_a_graph_of_real_values_stays_the_same_object() -> None:
    graph = gc.trace(lambda x: x * 2.0, np.zeros(3))
    assert complex_to_memory(graph) is graph


def test_places_of_pairs() -> None:
    assert places([F(1), C(1), F(1), C(1)], [1, 2, 3]) == [1, 2, 3, 4, 5]


def test_control_flow_holds_pairs() -> None:
    def f(z, n):
        total = z
        for i in range(n):
            if total.real > 1.0:
                total = total * 0.5j
            else:
                total = total * z + i
        return total

    graph = gc.trace(f, 1 + 1j, 10)
    assert is_complex(graph)
    pairs = complex_to_pairs(graph)
    verify(pairs)
    assert not any(out.type.dtype in COMPLEXES for eqn in all_eqns(pairs) for out in eqn.outs)


def test_what_takes_no_complex_values_says_so() -> None:
    builder = Builder("main")
    z = builder.param(C(3))
    (order,) = builder.emit(OPS["stop_gradient"], [z.atom])
    (real,) = builder.emit(OPS["real"], [order.atom])
    with pytest.raises(errors.DTypeError, match="no imaginary part"):
        builder.emit(OPS["cast"], [z.atom], {"dtype": "f64"})
    with pytest.raises(errors.DTypeError, match="exp takes"):
        builder.emit(OPS["exp"], [z.atom])
    assert real.dtype == "f64"
