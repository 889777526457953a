"""Who takes part: graphc as it is and without fusion, and its peers."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A contender that can be started.

    module         where its class `Contender` is, imported in its own process only
    needs          the module that has to be installed
    distributions  what a user installs, for the size on disk; the dependencies are added
    is_graphc      graphc itself, which is compared with the others
    compiles       has rows in the table of cold and warm starts
    """

    title: str
    module: str
    needs: str
    distributions: tuple[str, ...]
    is_graphc: bool = False
    compiles: bool = True

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.needs) is not None


GRAPHC = "graphc"
UNFUSED = "graphc unfused"
_GRAPHC_NEEDS = ("numpy", "llvmlite", "numba", "networkx")

ENTRIES: dict[str, Entry] = {
    GRAPHC: Entry("graphc", "graphc_fused", "graphc", _GRAPHC_NEEDS, is_graphc=True),
    UNFUSED: Entry(
        "graphc, no fusion", "graphc_unfused", "graphc", _GRAPHC_NEEDS, True, compiles=False
    ),
    "numpy": Entry("NumPy", "numpy_eager", "numpy", ("numpy",), compiles=False),
    "torch": Entry("torch eager", "torch_eager", "torch", ("torch", "numpy"), compiles=False),
    "torch.compile": Entry("torch.compile", "torch_compiled", "torch", ("torch", "numpy")),
    "jax": Entry("JAX", "jax_jit", "jax", ("jax", "jaxlib")),
    "pytensor": Entry("PyTensor", "pytensor_function", "pytensor", ("pytensor",)),
}


def load(name: str, threads: int) -> Any:
    """The contender, which imports its framework."""
    module = importlib.import_module(f"bench.contenders.{ENTRIES[name].module}")
    return module.Contender(threads)
