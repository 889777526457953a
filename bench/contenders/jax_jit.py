"""JAX with `jax.jit`; states are donated."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")  # float64 stays float64
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

from bench import arrays
from bench.contenders.contender import Base, Runner
from bench.workloads.workload import Workload


class JaxRunner(Runner):
    """Every call is waited for, but for steps that pass a state on: only the last of these."""

    current: Any = None
    returns_one: bool = False

    def copied(self, leaf: Any) -> Any:
        return jax.numpy.copy(leaf)

    def reset(self) -> None:
        if self.updates:
            self.current = jax.block_until_ready(arrays.map_tree(self.copied, self.initial))

    def state(self) -> Any:
        return self.current

    def first(self) -> Any:
        if not self.updates:
            returned = jax.block_until_ready(self.call(*self.arguments))
            self.returns_one = isinstance(returned, jax.Array)
            return returned
        if self.current is None:
            self.reset()
        returned, self.current = self.call(self.current, *self.arguments[1:])
        jax.block_until_ready(self.current)
        return returned

    def repeat(self, calls: int) -> None:
        call, arguments = self.call, self.arguments
        if self.updates:
            self._repeat_updates(calls)
        elif self.returns_one:  # the method costs less than the function
            for _ in range(calls):
                call(*arguments).block_until_ready()
        else:
            for _ in range(calls):
                jax.block_until_ready(call(*arguments))

    def _repeat_updates(self, calls: int) -> None:
        call, state, data = self.call, self.current, self.arguments[1:]
        for _ in range(calls):
            _, state = call(state, *data)
        self.current = jax.block_until_ready(state)


class Contender(Base):
    version = jax.__version__

    def loaded(self, workload: Workload) -> tuple[Any, ...]:
        return arrays.map_tree(jax.device_put, workload.arguments())

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        donated = (0,) if workload.updates else ()
        step = jax.jit(workload.programs["jax"](jax), donate_argnums=donated)
        return JaxRunner(step, arguments, workload.updates)
