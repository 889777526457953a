"""The programs of `programs.py` on a device: values, updates, gradients, control flow.

On the emulated device, and on a GPU where there is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import programs_loops  # noqa: F401 - adds to PROGRAMS
import pytest
from programs import PROGRAMS, Program
from test_programs import assert_same, copies, prepare, run_plain

import graphc as gc
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.trace import tree

EVERY = 8
"""One in so many runs always, the others with --slow."""


def sampled(programs: list[Program]) -> pytest.MarkDecorator:
    cases = [
        pytest.param(p, id=str(p), marks=[pytest.mark.slow] if i % EVERY else [])
        for i, p in enumerate(programs)
    ]
    return pytest.mark.parametrize("program", cases)


def on_host(value: Any) -> Any:
    return tree.map_leaves(lambda x: np.asarray(x)[()] if isinstance(x, DeviceArray) else x, value)


@sampled(PROGRAMS)
def test_values_and_updates(program: Program, device: Any) -> None:
    compiled = gc.compile(program.function, target="cuda")
    for case in program.cases:
        plain = copies(case)
        wanted = run_plain(program.function, plain)
        for _ in range(3):  # launched, recorded, replayed
            given = copies(case)
            assert_same(on_host(compiled(*given)), wanted)
            assert_same(given, plain)


@sampled([p for p in PROGRAMS if p.grad])
def test_gradients(program: Program, device: Any) -> None:
    for case in program.cases:
        loss, args = prepare(program, case)
        gradient = gc.grad(loss, argnums=program.grad)
        wanted = gradient(*copies(args))
        assert_same(on_host(gc.compile(gradient, target="cuda")(*copies(args))), wanted)
