"""Who takes part: graphc as it is and without fusion, and its peers."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A contender that can be started.

    module         where its class `Contender` is, imported in its own process only; "" for who runs
                   on a GPU only
    needs          the module that has to be installed
    distributions  what a user installs, for the size on disk; the dependencies are added
    is_graphc      graphc itself, which is compared with the others
    compiles       has rows in the table of cold and warm starts
    cuda           the module for `--target cuda`, "" for who does not run there
    """

    title: str
    module: str
    needs: str
    distributions: tuple[str, ...]
    is_graphc: bool = False
    compiles: bool = True
    cuda: str = ""

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.needs) is not None


GRAPHC = "graphc"
UNFUSED = "graphc unfused"
_GRAPHC_NEEDS = ("numpy", "llvmlite", "numba", "networkx")
_TORCH = ("torch", "numpy")

ENTRIES: dict[str, Entry] = {
    GRAPHC: Entry(
        "graphc", "graphc_fused", "graphc", _GRAPHC_NEEDS, is_graphc=True, cuda="graphc_cuda"
    ),
    UNFUSED: Entry(
        "graphc, no fusion", "graphc_unfused", "graphc", _GRAPHC_NEEDS, True, compiles=False
    ),
    "numpy": Entry("NumPy", "numpy_eager", "numpy", ("numpy",), compiles=False),
    "torch": Entry(
        "torch eager", "torch_eager", "torch", _TORCH, compiles=False, cuda="torch_cuda"
    ),
    "torch.compile": Entry(
        "torch.compile", "torch_compiled", "torch", _TORCH, cuda="torch_cuda_compiled"
    ),
    "torch reduce-overhead": Entry(
        "torch.compile, reduce-overhead", "", "torch", _TORCH, cuda="torch_cuda_graphs"
    ),
    "jax": Entry("JAX", "jax_jit", "jax", ("jax", "jaxlib"), cuda="jax_cuda"),
    "cupy": Entry("CuPy", "", "cupy", ("cupy",), compiles=False, cuda="cupy_eager"),
    "pytensor": Entry("PyTensor", "pytensor_function", "pytensor", ("pytensor",)),
}


def on_target(target: str) -> list[str]:
    """Who runs there."""
    return [name for name, entry in ENTRIES.items() if module_of(entry, target)]


def module_of(entry: Entry, target: str) -> str:
    return entry.cuda if target == "cuda" else entry.module


def load(name: str, threads: int, target: str = "cpu") -> Any:
    """The contender, which imports its framework."""
    module = importlib.import_module(f"bench.contenders.{module_of(ENTRIES[name], target)}")
    return module.Contender(threads)
