"""What the worker asks of a contender."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from bench import arrays
from bench.workloads.workload import Workload


class Runner:
    """A step that is ready: a function, and the arguments it is called with again and again.

    The first argument of a workload that updates is a state, which `reset` sets back.
    """

    def __init__(self, call: Callable[..., Any], arguments: tuple[Any, ...], updates: bool):
        self.call = call
        self.arguments = arguments
        self.updates = updates
        self.initial = arrays.map_tree(self.copied, arguments[0]) if updates else None

    # ---- what frameworks with other arrays replace -----------------------------------------------

    def copied(self, leaf: Any) -> Any:
        return leaf.copy()

    def restore(self, leaf: Any, initial: Any) -> None:
        leaf[...] = initial

    def to_numpy(self, leaf: Any) -> np.ndarray:
        return np.asarray(leaf)

    # ---- what the worker calls -------------------------------------------------------------------

    def repeat(self, calls: int) -> None:
        """Call the step so many times, and wait until all is done."""
        call, arguments = self.call, self.arguments
        for _ in range(calls):
            call(*arguments)

    def seconds(self, calls: int) -> float:
        """How long so many calls take."""
        start = time.perf_counter()
        self.repeat(calls)
        return time.perf_counter() - start

    def first(self) -> Any:
        """Call the step once and wait: what it returns."""
        return self.call(*self.arguments)

    def state(self) -> Any:
        return self.arguments[0]

    def reset(self) -> None:
        """Set the state back to what it was at the start."""
        if self.updates:
            leaves = zip(arrays.leaves(self.state()), arrays.leaves(self.initial), strict=True)
            for leaf, initial in leaves:
                self.restore(leaf, initial)

    def results(self) -> list[np.ndarray]:
        """The leaves of what one step from the initial state returns, and of its new state."""
        self.reset()
        returned = [np.array(self.to_numpy(leaf)) for leaf in arrays.leaves(self.first())]
        state = arrays.leaves(self.state()) if self.updates else []
        return [*returned, *(self.to_numpy(leaf) for leaf in state)]


class Contending(Protocol):
    """A framework, imported."""

    threads: int
    version: str

    def loaded(self, workload: Workload) -> tuple[Any, ...]:
        """The workload's arguments as the framework's own arrays."""
        ...

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        """The step, compiled at the latest by its first call."""
        ...

    def kernels(self, runner: Runner) -> int | None:
        """How many kernels a step has, where the framework says so."""
        ...


class Base:
    """What most contenders share: NumPy's arrays, and no count of kernels."""

    version = ""

    def __init__(self, threads: int):
        self.threads = threads

    def loaded(self, workload: Workload) -> tuple[Any, ...]:
        return workload.arguments()

    def kernels(self, runner: Runner) -> int | None:
        return None
