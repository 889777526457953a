"""Every workload of the benchmark, in the order of the table."""

from __future__ import annotations

import re

from bench.workloads import adam, elementwise, products, rows, training, transformer
from bench.workloads.workload import Workload

WORKLOADS: tuple[Workload, ...] = (
    *elementwise.WORKLOADS,
    *rows.WORKLOADS,
    *products.WORKLOADS,
    *training.WORKLOADS,
    *adam.WORKLOADS,
    *transformer.WORKLOADS,
)


def named(name: str) -> Workload:
    """The workload of this name.  Raises `KeyError` where there is none."""
    return {workload.name: workload for workload in WORKLOADS}[name]


def matching(pattern: str) -> list[Workload]:
    """The workloads in whose name the regular expression is found, in any case."""
    return [w for w in WORKLOADS if re.search(pattern, w.name, re.IGNORECASE)]
