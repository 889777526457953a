"""Random graphs on the emulated device: launched, recorded, replayed as the interpreter has it."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from ptx_device import PtxModule
from random_graphs import Recipe, arguments, random_graph
from running import all_results, fused, interpret
from test_random_graphs import assert_equal, outcome, random_graphs, sized

from graphc import errors
from graphc.ir import Graph
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.emulated import host
from graphc.runtime.cuda.emulated.host import HostDevice
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.step import CudaStep

SMALL = Limits(threads=64, most_blocks=3, most_workspace=1 << 12)
"""So few threads that small arrays need several turns."""


def check_on_device(graph: Graph) -> None:
    try:
        step = CudaStep(fused(graph), limits=SMALL)
    except errors.DeviceOperationError:
        return

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(result) for result in step(arrays)]

    with use(HostDevice()):
        for seed in (1, 1, 1, 3):
            arrays = arguments(graph, seed)
            expected = outcome(interpret, graph, arrays)
            got = outcome(all_results, run, graph, arrays)
            if isinstance(expected, Exception):
                assert (type(got), str(got)) == (type(expected), str(expected))
            else:
                for a, b in zip(got, expected, strict=True):
                    assert_equal(a, b, graph)


@sized(30)
@random_graphs
def test_a_device_gives_what_the_interpreter_gives(
    params: list[int], recipe: Recipe, outs: list[int]
) -> None:
    check_on_device(random_graph(params, recipe, outs))


@pytest.mark.slow
@sized(600)
@random_graphs
def test_many_more_graphs(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    check_on_device(random_graph(params, recipe, outs))


@pytest.mark.slow
@sized(200)
@random_graphs
def test_ptx_gives_what_the_interpreter_gives(
    params: list[int], recipe: Recipe, outs: list[int]
) -> None:
    with mock.patch.object(host, "EmulatedModule", PtxModule):
        check_on_device(random_graph(params, recipe, outs))
