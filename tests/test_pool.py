"""The pool: regions run by a team, barriers that hold everybody."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import llvmlite.binding as llvm
import pytest

from graphc.runtime import threads
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.pool import LIMIT, RUN, pool_text

pytestmark = pytest.mark.cpu_only("its threads")

if not threads.has_pool():
    pytest.skip("no POSIX threads here", allow_module_level=True)

TURNS = 300

# data: errors, size of the team, visits, then a slot for each member (64 words at most).
# Everybody writes the turn into its slot, and after a barrier looks at its neighbour's.
BODY = f"""
declare void @graphc_barrier(i64)

define void @body(ptr %data, i64 %member, i64 %team) {{
entry:
  %visits = getelementptr i64, ptr %data, i64 2
  atomicrmw add ptr %visits, i64 1 seq_cst
  %size = getelementptr i64, ptr %data, i64 1
  store atomic i64 %team, ptr %size monotonic, align 8
  %slots = getelementptr i64, ptr %data, i64 3
  %own = getelementptr i64, ptr %slots, i64 %member
  %after = add i64 %member, 1
  %neighbour = urem i64 %after, %team
  %other = getelementptr i64, ptr %slots, i64 %neighbour
  br label %turn
turn:
  %i = phi i64 [0, %entry], [%next, %turn]
  store i64 %i, ptr %own
  call void @graphc_barrier(i64 %team)
  %seen = load i64, ptr %other
  %wrong = icmp ne i64 %seen, %i
  %error = zext i1 %wrong to i64
  atomicrmw add ptr %data, i64 %error monotonic
  call void @graphc_barrier(i64 %team)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, {TURNS}
  br i1 %more, label %turn, label %done
done:
  ret void
}}
"""

PATIENT = 10_000_000
"""Looks at the door: until everybody is there."""


class Region:
    def __init__(self) -> None:
        threads.start_pool()
        self.code = compile_text(BODY)
        parameters = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
        self.enter = ctypes.CFUNCTYPE(None, *parameters)(threads._pool().address(RUN))

    def run(self, wanted: int, patience: int = PATIENT) -> tuple[int, int]:
        """The size of the team, and how many came."""
        data = (ctypes.c_int64 * 70)()
        self.enter(self.code.address("body"), ctypes.addressof(data), wanted, patience)
        assert data[0] == 0  # nobody was ahead
        return data[1], data[2]


@pytest.fixture(scope="module")
def region() -> Region:
    return Region()


@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
def test_everybody_comes_and_waits(region, wanted):
    teams = []
    while teams.count((wanted, wanted)) < 3 and len(teams) < 100:  # a busy machine keeps some away
        teams.append(region.run(wanted))
        assert teams[-1][0] == teams[-1][1] <= wanted
    assert (wanted, wanted) in teams


def test_who_is_not_waited_for_does_not_come(region):
    for _ in range(50):
        team, visits = region.run(3, patience=0)
        assert team == visits <= 3


def test_a_limit_holds_for_larger_wishes(region):
    limit = ctypes.CFUNCTYPE(None, ctypes.c_int64)(threads._pool().address(LIMIT))
    try:
        limit(2)
        team, visits = region.run(4)
        assert team == visits <= 2
    finally:
        limit(threads.MOST)


def test_one_region_at_a_time(region):
    """Who finds the pool taken runs alone."""
    teams: list[tuple[int, int]] = []

    def run() -> None:
        teams.extend(region.run(3) for _ in range(8))

    callers = [threading.Thread(target=run) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(teams) == 24
    assert all(team == visits and team in (1, 2, 3) for team, visits in teams)


@pytest.mark.parametrize("triple", ["x86_64-linux-gnu", "aarch64-linux-gnu", "riscv64-linux-gnu"])
def test_the_text_is_llvm_for_every_machine(triple):
    module = llvm.parse_assembly(pool_text(triple) + "attributes #0 = { nounwind }")
    module.verify()


@pytest.mark.skipif(not threads.has_pool(), reason="no pool here")
def test_the_pool_is_begun_beside_the_trace_of_large_arguments():
    program = (
        "import numpy as np, graphc as gc\n"
        "from graphc.runtime.threads import _Starting\n"
        "seen = []\n"
        "def f(x):\n"
        "    seen.append(_Starting.thread is not None)\n"
        "    return np.tanh(x)\n"
        "for size, count in ((9, 2), (99_999, 1), (99_999, 2)):\n"
        "    x = np.linspace(-1.0, 1.0, size)\n"
        "    np.testing.assert_allclose(gc.compile(f, threads=count)(x), np.tanh(x), rtol=1e-14)\n"
        "assert seen == [False, False, True], seen\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
