"""Finding faults: the program in plain NumPy, and the equation that made a NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import errors
from graphc.ir import DTYPE_NAMES, INEXACT, Eqn, Graph
from graphc.runtime.reference import evaluate
from graphc.switches import SWITCHES
from graphc.trace import tree

if TYPE_CHECKING:
    from graphc.specialised import Specialised

SHOWN = 8
"""So many elements of an array are shown; of a larger one its range."""


class disable_compile:  # noqa: N801 - called like a function
    """Run compiled functions as the plain NumPy that they are, so that a debugger steps through.

    As a context for the time of its block; called on its own, for good (in the whole process).
    Gradients, which have no plain form, run in the interpreter, equation by equation.

    >>> import numpy as np, graphc as gc
    >>> @gc.compile
    ... def f(x):
    ...     return type(x).__name__
    >>> with gc.disable_compile():
    ...     f(np.zeros(2))
    'ndarray'
    """

    def __init__(self) -> None:
        self._before = SWITCHES.compiles
        SWITCHES.compiles = False

    def __enter__(self) -> disable_compile:
        return self

    def __exit__(self, *error: object) -> None:
        SWITCHES.compiles = self._before


# ---- the interpreter in place of a step ----------------------------------------------------------


def run_interpreted(entry: Specialised, leaves: Sequence[Any]) -> Any:
    """The result for leaves of the entry's signature, from its graph as it was traced."""
    graph = entry.known.graph
    outs = evaluate(graph, *_arrays(graph, leaves))
    for i, j in graph.updates:
        leaves[i][...] = outs[j]
    returned = [
        leaves[r.index] if r.is_argument else outs[r.index][()] for r in entry.traced.results
    ]
    return tree.unflatten(entry.traced.structure, returned)


def _arrays(graph: Graph, leaves: Sequence[Any]) -> list[np.ndarray]:
    pairs = zip(leaves, graph.params, strict=True)
    return [np.asarray(leaf, param.type.numpy_dtype) for leaf, param in pairs]


def _in_memory(graph: Graph, leaves: Sequence[Any]) -> list[np.ndarray]:
    """The arguments of an optimized graph, for which a complex number is a pair."""
    pairs = zip(leaves, graph.params, strict=True)
    arrays = [(np.ascontiguousarray(leaf).reshape(np.shape(leaf)), param) for leaf, param in pairs]
    return [
        array.view(array.real.dtype).reshape(param.type.shape)
        if array.dtype.kind == "c"
        else array.astype(param.type.numpy_dtype)
        for array, param in arrays
    ]


# ---- check_nan -----------------------------------------------------------------------------------


def run_checked(
    entry: Specialised, leaves: Sequence[Any], run: Callable[[Specialised, Sequence[Any]], Any]
) -> Any:
    """`run(entry, leaves)`, which may not give NaN or infinity where it was given numbers.

    Where it does, the graph runs once more in the interpreter, up to the equation that is to blame.
    """
    before = [np.copy(leaf) if hasattr(leaf, "shape") else leaf for leaf in leaves]
    result = run(entry, leaves)
    updated = [leaves[i] for i, _ in entry.traced.graph.updates]
    if all(map(is_finite, [*tree.flatten(result)[0], *updated])):
        return result
    for leaf, name in zip(before, entry.names, strict=True):
        if not is_finite(leaf):
            raise errors.NonFiniteError(
                f"check_nan: the argument {name} holds {_kind(np.asarray(leaf))} already", None
            )
    graph = entry.graphs["optimized"]
    evaluate(graph, *_in_memory(graph, before), observe=_expect_finite)
    return result  # an infinity of another order of summation: the interpreter makes none


def is_finite(value: Any) -> bool:
    array = np.asarray(value)
    is_inexact = DTYPE_NAMES.get(array.dtype) in INEXACT
    return not is_inexact or bool(np.isfinite(array).all())


def _expect_finite(eqn: Eqn, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
    if all(map(is_finite, outs)) or not all(map(is_finite, ins)):
        return
    bad = next(out for out in outs if not is_finite(out))
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(bad))[0])
    where = f" at {list(place)}" if place else ""
    operands = ", ".join(_shown(x, place if x.shape == bad.shape else ()) for x in ins)
    raise errors.NonFiniteError(
        f"check_nan: {eqn.op.name} makes {_kind(bad)}{where}, from {operands or 'nothing'}", eqn.loc
    )


def _kind(array: np.ndarray) -> str:
    return "NaN" if np.isnan(array).any() else "infinity"


def _shown(x: np.ndarray, place: tuple[int, ...]) -> str:
    if place or not x.shape:
        return str(x[place])
    if x.size <= SHOWN:
        return np.array2string(x, separator=", ").replace("\n", "")
    return f"an array of shape {x.shape} from {x.min()} to {x.max()}"
