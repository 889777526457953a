"""PyTensor in its default mode (numba); states are shared variables with updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor
import pytensor.tensor
import pytensor.tensor.special

from bench import arrays
from bench.contenders.contender import Base, Runner
from bench.workloads.workload import Workload


class PyTensorRunner(Runner):
    """`shared` is the tree of shared variables that holds the state."""

    def __init__(self, call: Any, arguments: tuple[Any, ...], updates: bool, shared: Any):
        self.shared = shared
        super().__init__(call, arguments, updates)
        # What the function itself takes is flat, and without the state.
        self.arguments = tuple(arrays.leaves(arguments[1:] if updates else arguments))

    def state(self) -> Any:
        return arrays.map_tree(lambda variable: variable.get_value(), self.shared)

    def reset(self) -> None:
        if self.updates:
            pairs = zip(arrays.leaves(self.shared), arrays.leaves(self.initial), strict=True)
            for variable, initial in pairs:
                variable.set_value(initial)


class Contender(Base):
    version = pytensor.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        float_x = np.dtype(workload.dtype).name
        with pytensor.config.change_flags(floatX=float_x):
            return _compiled(workload, arguments)


def _compiled(workload: Workload, arguments: tuple[Any, ...]) -> Runner:
    program = workload.programs["pytensor"](pytensor)
    data = arguments[1:] if workload.updates else arguments
    symbols = arrays.map_tree(_symbol, data)
    inputs = [pytensor.In(symbol, borrow=True) for symbol in arrays.leaves(symbols)]
    if workload.updates:
        shared = arrays.map_tree(pytensor.shared, arguments[0])
        returned, new = program(shared, *symbols)
        updates = list(zip(arrays.leaves(shared), arrays.leaves(new), strict=True))
    else:
        shared, returned, updates = None, program(*symbols), []
    outputs = [pytensor.Out(output, borrow=True) for output in arrays.leaves(returned)]
    call = pytensor.function(inputs, outputs, updates=updates, on_unused_input="ignore")
    call.trust_input = True
    return PyTensorRunner(call, arguments, workload.updates, shared)


def _symbol(leaf: np.ndarray) -> Any:
    return pytensor.tensor.tensor(dtype=leaf.dtype.name, shape=leaf.shape)
