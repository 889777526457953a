"""The pipeline: the passes in the order in which they run, each timed.

A graph is verified as it comes and as it leaves; in the tests and with GRAPHC_DEBUG after every
pass that changed it, which takes an eighth of a compilation more and names the pass.

Stages: `traced` is what the tracer made, `optimized` what it looks like after `OPTIMIZE`, `fused`
what the code generator reads, after `FUSE`.

With GRAPHC_DEBUG=1 in the environment each pass prints a line on stderr, with 2 the last graph is
printed too, with 3 the graph after each pass that changed it, with 4 the kernels as well.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphc.ir import Eqn, Graph, all_eqns
from graphc.passes.complex_pairs import complex_to_memory
from graphc.passes.cse import eliminate_common
from graphc.passes.dce import eliminate_dead
from graphc.passes.fold import fold_constants
from graphc.passes.fuse import fuse, separate
from graphc.passes.join import join
from graphc.passes.loops import simplify_loops
from graphc.passes.lower import lower
from graphc.passes.narrow import keep_wide, narrow_arithmetic
from graphc.passes.reciprocals import multiply_by_reciprocals
from graphc.passes.recompute import recompute
from graphc.passes.repeat_small import repeat_small
from graphc.passes.row_blocks import fuse_rows
from graphc.passes.simplify import simplify
from graphc.passes.stabilize import stabilize
from graphc.verify import verify


class Pass(NamedTuple):
    """A named step from a graph to an equal graph."""

    name: str
    run: Callable[[Graph], Graph]


OPTIMIZE: tuple[Pass, ...] = (
    Pass("dead: traced", eliminate_dead),  # what nobody reads costs the others no time
    Pass("complex", complex_to_memory),  # the other passes know real values
    Pass("fold", fold_constants),  # known branches are taken before the rest is looked at
    Pass("common", eliminate_common),  # rules that need equal operands find them
    Pass("stabilize", stabilize),  # before `simplify` gives its formulas another spelling
    Pass("simplify", simplify),
    Pass("reciprocals", multiply_by_reciprocals),
    Pass("common: simplified", eliminate_common),
    Pass("loops", simplify_loops),
    Pass("dead", eliminate_dead),
)

LOWER: tuple[Pass, ...] = (
    Pass("narrow", narrow_arithmetic),  # what follows knows arithmetic in f32 and f64 alone
    Pass("lower", lower),
    Pass("common: lowered", eliminate_common),
    Pass("dead: lowered", eliminate_dead),
)

FUSE: tuple[Pass, ...] = (
    *LOWER,
    Pass("repeat", repeat_small),  # after `common`, which undoes it
    Pass("fuse", fuse),  # the passes above do not see kernels
    Pass("recompute", recompute),
    Pass("rows", fuse_rows),
    Pass("join", join),
    Pass("wide", keep_wide),  # when it is known what is in one kernel
)

SEPARATE: tuple[Pass, ...] = (*LOWER, Pass("separate", separate))
"""In place of `FUSE`: each equation a kernel of its own, to see what fusion does."""

PIPELINE = OPTIMIZE + FUSE

Observer = Callable[[str, Graph], None]
"""Called with the name of a pass and the graph after it."""


def optimize(graph: Graph) -> Graph:
    """`graph` at the stage `optimized`."""
    return run(graph, OPTIMIZE)[0]


class EachPass:
    """Whether graphs are verified after every pass: set by the tests."""

    is_verified = False


def is_watched() -> bool:
    """Whether somebody wants to see each pass run."""
    return EachPass.is_verified or _debug_level() > 0


def run(
    graph: Graph,
    passes: Sequence[Pass] = PIPELINE,
    observe: Observer | None = None,
    checked: set[Eqn] | None = None,
) -> tuple[Graph, dict[str, float]]:
    """The graph after `passes`, and the milliseconds that each of them took.

    `checked` are equations that have been verified, where this graph comes from another run.
    """
    milliseconds: dict[str, float] = {}
    debug = _debug_level()
    is_due = is_new = not checked
    checked = set() if checked is None else checked
    everywhere = EachPass.is_verified or debug > 0
    for step in passes:
        before = graph
        start = time.perf_counter()
        graph = step.run(before)
        milliseconds[step.name] = 1e3 * (time.perf_counter() - start)
        is_due = is_due or not _is_same(before, graph)
        is_end = step is passes[-1] or (is_new and step is passes[0])
        if is_due and (everywhere or is_end):
            verify(graph, checked)
            is_due = False
        if debug:
            _log(step.name, before, graph, milliseconds[step.name], debug)
        if observe is not None:
            observe(step.name, graph)
    if debug == 2:
        print(graph, file=sys.stderr)
    return graph, milliseconds


def _is_same(before: Graph, after: Graph) -> bool:
    """Whether a pass found nothing to do: the very same parts, which have been verified."""
    return (before.params, before.eqns, before.outs, before.updates) == (
        after.params,
        after.eqns,
        after.outs,
        after.updates,
    )


def _debug_level() -> int:
    level = os.environ.get("GRAPHC_DEBUG", "")
    return int(level) if level.isdigit() else 0


def _log(name: str, before: Graph, after: Graph, milliseconds: float, debug: int) -> None:
    text = str(after)
    is_changed = text != str(before)
    counts = f"{_count(before)} -> {_count(after)} equations" if is_changed else "(unchanged)"
    print(f"{after.name}: {name:20} {milliseconds:8.2f} ms  {counts}", file=sys.stderr)
    if debug >= 3 and is_changed:
        print(text, file=sys.stderr)


def _count(graph: Graph) -> int:
    return sum(1 for _ in all_eqns(graph))
