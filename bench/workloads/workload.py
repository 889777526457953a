"""What a workload is: its arrays, its float64 reference, and how each contender writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import arrays
from bench.goals import Family

Program = Callable[..., Any]
Build = Callable[[Any], Program]
"""From the module of a framework to the program: none is imported before its turn."""

ELEMENTARY = 20
"""Operations that an elementary function (exp, tanh, erf ...) is counted as."""


@dataclass(frozen=True)
class Workload:
    """A row of the table.

    make       a random generator -> the arguments, each an array or a tree (dict, list) of arrays
    programs   contender -> its program; `numpy` is also the reference, on float64 copies
    updates    the first argument is a state that the step changes.  Programs change it in place and
               return the rest, but for those of JAX and PyTensor, which return (rest, new state)
    flops      arithmetic operations that the work takes at least
    tolerance  largest difference from the reference, as a share of the reference's largest element
    kernels    how many kernels graphc should need at most, None where there is no goal
    from_cold  whether it has a row in the table of cold and warm starts
    tried      what has been tried where the row misses its goal, for the report
    """

    name: str
    family: Family
    make: Callable[[np.random.Generator], tuple[Any, ...]]
    programs: Mapping[str, Build]
    flops: float
    tolerance: float = 2e-5
    updates: bool = False
    kernels: int | None = None
    from_cold: bool = False
    tried: str = ""

    def arguments(self) -> tuple[Any, ...]:
        """The same arrays in every process."""
        return self.make(np.random.default_rng(0))

    def reference(self) -> list[np.ndarray]:
        """The leaves of what the step returns, then of its new state, by NumPy in float64."""
        exact = arrays.map_tree(_in_float64, self.arguments())
        returned = self.programs["numpy"](np)(*exact)
        return arrays.leaves((returned, exact[0])) if self.updates else arrays.leaves(returned)

    def least_bytes(self, reference: list[np.ndarray]) -> int:
        """What has to be moved: every argument read once, every result and new state written."""
        read = sum(leaf.nbytes for leaf in arrays.leaves(self.arguments()))
        return read + self.dtype.itemsize * sum(np.size(leaf) for leaf in reference)

    @property
    def dtype(self) -> np.dtype:
        """The floating-point type that the work is done in."""
        return next(a.dtype for a in arrays.leaves(self.arguments()) if a.dtype.kind == "f")


def _in_float64(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype("f8") if leaf.dtype.kind == "f" else leaf


def normal(rng: np.random.Generator, *shape: int, dtype: str = "f4", scale: float = 1.0) -> Any:
    """Normally distributed numbers of a shape and dtype."""
    return (scale * rng.normal(size=shape)).astype(dtype)
