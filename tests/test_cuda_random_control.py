"""Random programs of conditionals and loops on data, on a device that decides and with the host."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.emulated.host import HostDevice

VALUES = (
    "{v}",
    "{v} * 0.5 + {w}",
    "np.sort({v})",
    "np.cumsum({v}) * 0.3",
    "np.tanh({v}) - {w}",
    "{v}[::-1] * 1.0",
    "np.maximum({v}, {w})",
    "{v}.reshape(2, -1).T.reshape(-1) * 0.9",
    "np.concatenate([{v}[:3], {w}[3:]])",
)
CONDITIONS = ("{v}[{i}] > {x:.2f}", "{v}.sum() > {x:.2f}")


class Program:
    """The source of a function of a few arrays, whose loops end."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.names = "abcd"[: self.random.randint(2, 4)]
        self.loops = 0
        body = self.block(1, 3)
        results = ", ".join(self.name() for _ in range(self.random.randint(1, 4)))
        head = ["import numpy as np", f"def function({', '.join(self.names)}):"]
        self.text = "\n".join([*head, *body, f"    return ({results},)"]) + "\n"

    def name(self) -> str:
        return self.random.choice(self.names)

    def value(self) -> str:
        return self.random.choice(VALUES).format(v=self.name(), w=self.name())

    def condition(self) -> str:
        number, place = self.random.uniform(-2, 2), self.random.randint(0, 5)
        return self.random.choice(CONDITIONS).format(v=self.name(), i=place, x=number)

    def block(self, indent: int, depth: int) -> list[str]:
        kinds = [self.assignment, self.exchange]
        kinds += [self.conditional, self.conditional, self.repetition, self.counted] * (depth > 0)
        made = [self.random.choice(kinds)(depth - 1) for _ in range(self.random.randint(1, 3))]
        return ["    " * (indent > 0) + line for lines in made for line in lines]

    def assignment(self, depth: int) -> list[str]:
        return [f"{self.name()} = {self.value()}"]

    def exchange(self, depth: int) -> list[str]:
        first, second = self.random.sample(self.names, 2)
        return [f"{first}, {second} = {second}, {self.value()}"]

    def conditional(self, depth: int) -> list[str]:
        lines = [f"if {self.condition()}:", *self.block(1, depth)]
        if self.random.random() < 0.3:
            lines += [f"elif {self.condition()}:", *self.block(1, depth)]
        if self.random.random() < 0.6:
            lines += ["else:", *self.block(1, depth)]
        return lines

    def repetition(self, depth: int) -> list[str]:
        self.loops += 1
        turn, most = f"i{self.loops}", self.random.randint(1, 4)
        head = [f"{turn} = 0", f"while {turn} < {most} and {self.condition()}:"]
        return [*head, *self.block(1, depth), f"    {turn} = {turn} + 1"]

    def counted(self, depth: int) -> list[str]:
        """A loop that the trace unrolls, or one that stays a loop."""
        return [f"for _ in range({self.random.choice((2, 3, 12))}):", *self.block(1, depth)]


def function_of(text, path):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.function


MORE = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 60)]


@pytest.mark.parametrize("seed", [*range(12), *MORE])
def test_whoever_decides_the_values_are_the_same(seed, tmp_path):
    program = Program(seed)
    function = function_of(program.text, tmp_path / f"random_{seed}.py")
    rng = np.random.default_rng(seed)
    size = (6, 24)[seed % 2]  # small results pass through boxes, large ones do not
    given = [[rng.standard_normal(size) for _ in program.names] for _ in range(3)]
    wanted = [function(*arrays) for arrays in given]
    for decides in (True, False):
        step, kept = gc.compile(function, target="cuda"), []
        with use(HostDevice(decides=decides)):
            for turn in range(4):
                for arrays, right in zip(given, wanted, strict=True):
                    got = step(*(map(gc.to_device, arrays) if turn % 2 else arrays))
                    if seed % 3 == 0:
                        kept.append(got)
                    for mine, value in zip(got, right, strict=True):
                        np.testing.assert_allclose(np.asarray(mine), value, rtol=1e-9, atol=1e-12)
