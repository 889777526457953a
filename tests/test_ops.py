"""Every op of the registry: type rule against reference, reference against machine code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from running import assert_same, assert_ulps, assert_within, compiled, interpret
from specs import (
    ALL_SHAPED_CASES,
    CASES,
    COMPLEX,
    DECOMPOSITIONS,
    ELEMENTWISE,
    GROUPS,
    HELD,
    NO_GRADIENT,
    SPECIAL,
    Case,
    cases,
    finfo,
)

from graphc import errors
from graphc.build import Builder
from graphc.ir import COMPLEXES, DTYPE_NAMES, DTYPES, FLOATS, OPS, Graph, Type
from graphc.passes.lower import LOWERINGS
from graphc.runtime.llvm.math import SCALARS

ULPS = 4
"""Elementwise: the tolerance of the design."""

# ---- the registry --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPS)
def test_every_op_is_complete(name: str) -> None:
    op = OPS[name]
    assert callable(op.infer)
    assert callable(op.reference)
    assert (op.vjp is None) == (name in NO_GRADIENT), "a gradient, or a reason in NO_GRADIENT"
    assert name in HELD | DECOMPOSITIONS | SPECIAL | COMPLEX or cases(name), "a row in specs.py"
    in_code = SCALARS.keys() | LOWERINGS.keys() | COMPLEX
    assert not op.elementwise or name in in_code, "a row in the scalar table"


def test_the_tables_name_ops_only() -> None:
    assert OPS.keys() >= {*ELEMENTWISE, *NO_GRADIENT, *HELD, *DECOMPOSITIONS, *SPECIAL, *COMPLEX}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_specs_cover_the_dtypes_that_an_op_takes(name: str) -> None:
    arity = ELEMENTWISE[name][0]
    taken = set()
    for dtype in set(DTYPES) - COMPLEXES:  # test_complex_pairs.py has these
        try:
            OPS[name].infer(*[Type(dtype, (3,))] * arity)
        except errors.DTypeError:
            continue
        taken.add(dtype)
    assert {case.ins[0].dtype for case in cases(name)} == taken


# ---- values --------------------------------------------------------------------------------------


def joined(group: Sequence[Case]) -> Graph:
    """One graph with the op of every case, each on parameters of its own: one LLVM module."""
    builder = Builder("cases")
    outs = []
    for case in group:
        params = [builder.param(type).atom for type in case.ins]
        outs += [out.atom for out in builder.emit(OPS[case.op], params, dict(case.attrs))]
    return builder.finish(outs)


def check_values(group: Sequence[Case]) -> None:
    graph = joined(group)
    operands = [case.operands() for case in group]
    arrays = [array for own in operands for array in own]
    expected = iter(interpret(graph, arrays))
    got = iter(compiled(graph)(*arrays))
    for case, own in zip(group, operands, strict=True):
        if OPS[case.op].effect is None:
            check_value(case, own, next(got), next(expected))


def check_value(case: Case, ins: list[np.ndarray], got: np.ndarray, want: np.ndarray) -> None:
    if case.error == "ulp":
        assert_ulps(got, want, ULPS, case)
    elif case.error == "zeros":  # NumPy gives either zero of a tie of 0.0 and -0.0
        is_float = DTYPE_NAMES[got.dtype] in FLOATS
        assert_ulps(got, want, 0, case) if is_float else assert_same(got, want, case)
    elif case.error == "length":
        assert_within(got, want, length_bound(case, ins), case)
    else:
        assert_same(got, want, case)


def length_bound(case: Case, ins: list[np.ndarray]) -> np.ndarray:
    """How far two sums of the same terms can be apart: their length in roundings of their size."""
    magnitude = OPS[case.op].reference
    terms = [abs(array) if DTYPE_NAMES[array.dtype] in FLOATS else array for array in ins]
    unit = float(finfo(ins[0].dtype).eps)
    with np.errstate(over="ignore"):
        return 2 * case.length * unit * magnitude(*terms, **case.attrs)


CHUNK = 120


def chunks(group: Sequence[Case]) -> list[list[Case]]:
    return [list(group[at : at + CHUNK]) for at in range(0, len(group), CHUNK)]


PARAMETERS = [
    pytest.param(part, id=f"{name}-{i}")
    for name, group in GROUPS.items()
    for i, part in enumerate(chunks(group))
]


@pytest.mark.parametrize("part", PARAMETERS)
def test_machine_code_equals_the_reference(part: list[Case]) -> None:
    check_values(part)


@pytest.mark.slow
@pytest.mark.parametrize("part", chunks(ALL_SHAPED_CASES), ids=lambda part: str(part[0]))
def test_every_elementwise_op_on_every_shape(part: list[Case]) -> None:
    check_values(part)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_each_op_in_a_module_of_its_own(case: Case) -> None:
    check_values([case])
