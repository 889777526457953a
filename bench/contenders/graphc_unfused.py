"""graphc with a kernel for every equation, to show what fusion is worth."""

from __future__ import annotations

from typing import Any

from bench.contenders import graphc_fused
from bench.contenders.contender import Runner
from bench.workloads.workload import Workload
from graphc.ir import Atom, Graph, Lit, Var
from graphc.passes import pipeline
from graphc.passes.fuse import fuse


class Contender(graphc_fused.Contender):
    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        runner = super().built(workload, arguments)
        # There is no public option for this: the stage that the code generator reads is replaced
        # before the first call compiles it.
        graphs = runner.call._entry(arguments, {}).graphs
        graphs["fused"] = _one_by_one(graphs["optimized"])
        return runner


def _one_by_one(optimized: Graph) -> Graph:
    """The graph lowered, and each of its equations fused alone."""
    lowered, _ = pipeline.run(optimized, [p for p in pipeline.FUSE if p.name != "fuse"])
    alone = [
        Graph("one", tuple(dict.fromkeys(filter(_is_variable, eqn.ins))), (eqn,), eqn.outs)
        for eqn in lowered.eqns
    ]
    return lowered.replace(eqns=tuple(eqn for graph in alone for eqn in fuse(graph).eqns))


def _is_variable(atom: Atom) -> bool:
    assert isinstance(atom, Var | Lit)
    return isinstance(atom, Var)
