"""graphc with a kernel for every equation, to show what fusion is worth."""

from __future__ import annotations

from typing import Any

import graphc as gc
from bench.contenders import graphc_fused
from bench.contenders.contender import Runner
from bench.workloads.workload import Workload
from graphc.compiled import Compiled
from graphc.specialised import Options


class Contender(graphc_fused.Contender):
    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        compiled = Compiled(workload.programs["graphc"](gc), Options(fusion=False))
        return Runner(compiled, arguments, workload.updates)
