"""Every op as a device runs it: emulated and as PTX, beside the reference; and assembled."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from emulated_device import SMALL, Emulated, assemble, device_module
from running import fused, interpret
from specs import CASES, Case
from test_ops import check_value, chunks, joined

from graphc.ir import OPS
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits

ARCHITECTURES = ("sm_80", "sm_90")
SAMPLE = 11
"""Of so many cases the ordinary suite takes one."""


def check(
    group: Sequence[Case], limits: Limits | None, backwards: bool = False, as_ptx: bool = False
) -> None:
    graph = joined(group)
    operands = [case.operands() for case in group]
    arrays = [array for own in operands for array in own]
    expected = iter(interpret(graph, arrays))
    got = iter(Emulated(fused(graph), limits, backwards, as_ptx=as_ptx)(arrays))
    for case, own in zip(group, operands, strict=True):
        if OPS[case.op].effect is None:
            check_value(case, own, next(got), next(expected))


def check_text(group: Sequence[Case], limits: Limits | None = None) -> None:
    text = device_module(fused(joined(group)), limits=limits).text
    for architecture in ARCHITECTURES:
        assemble(ptx(text, architecture), architecture)


FIRST = {case.op: i for i, case in reversed(list(enumerate(CASES)))}
FEW = [CASES[i] for i in sorted(FIRST.values())[::4]]
SAMPLED = chunks([CASES[i] for i in sorted({*FIRST.values(), *range(0, len(CASES), SAMPLE)})])
ALL = chunks(CASES)


@pytest.mark.parametrize("part", SAMPLED, ids=lambda part: str(part[0].op))
@pytest.mark.parametrize("limits, backwards", [(None, False), (SMALL, True)], ids=["", "small"])
def test_emulated_kernels_equal_the_reference(part, limits, backwards) -> None:  # type: ignore[no-untyped-def]
    check(part, limits, backwards)


@pytest.mark.parametrize("part", SAMPLED, ids=lambda part: str(part[0].op))
def test_kernels_are_ptx(part: list[Case]) -> None:
    check_text(part)


def test_ptx_gives_what_the_reference_does() -> None:
    check(FEW, SMALL, as_ptx=True)


@pytest.mark.slow
@pytest.mark.parametrize("part", ALL, ids=lambda part: str(part[0].op))
@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
def test_all_ptx_gives_what_the_reference_does(part, limits) -> None:  # type: ignore[no-untyped-def]
    check(part, limits, as_ptx=True)


@pytest.mark.slow
@pytest.mark.parametrize("part", ALL, ids=lambda part: str(part[0].op))
@pytest.mark.parametrize("limits, backwards", [(None, True), (SMALL, False)], ids=["", "small"])
def test_all_emulated_kernels_equal_the_reference(part, limits, backwards) -> None:  # type: ignore[no-untyped-def]
    check(part, limits, backwards)


@pytest.mark.slow
@pytest.mark.parametrize("part", ALL, ids=lambda part: str(part[0].op))
def test_all_kernels_are_ptx(part: list[Case]) -> None:
    check_text(part)
