"""Signatures that differ in sizes alone: which sizes vary, and one trace for all of them.

The first call of a function fixes all sizes.  When a second one differs in sizes alone, those that
differ become symbolic, the ones that vary together by one name, and the function is traced once
more, for every size.  `Family` remembers what was seen; `Symbolic` is such a trace with its graphs.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc import errors
from graphc.binding import bind, read_sizes, symbol_names
from graphc.calling import NativeCall
from graphc.dims import Dim, Size, dim, substitute, symbols_of
from graphc.ir import Graph, all_eqns, size_text
from graphc.ops.effects import FOREIGN
from graphc.passes import pipeline
from graphc.polynomials import SMALLEST
from graphc.questions import Question, doubting, hint
from graphc.runtime.calling import Calling
from graphc.runtime.step import NativeSteps, Step, Steps
from graphc.trace.trace import Spec, Traced
from graphc.verify import verify

HISTORY = 16
"""So many signatures of a family are compared to see which sizes vary together."""

ENTRIES = 8
"""So many symbolic traces of a family are made; after that each signature is traced by itself."""

Shapes = tuple[tuple[Any, ...] | None, ...]
"""The shape of each leaf of the arguments, None for what has none."""


@dataclass(eq=False)
class Symbolic:
    """A function traced for every size, and its graphs by stage as far as passes got with them.

    Its machine code is made once, too, for all sizes.
    """

    traced: Traced
    graphs: Mapping[str, Graph]
    names: Sequence[str]
    pass_ms: Mapping[str, float] = field(default_factory=dict)
    undecided: str = ""
    """Why the graphs of later stages are made for each size anew; "" where they are not."""
    alone: str = ""
    """Why machine code is made for each size anew; "" where it is not."""
    steps: Steps | None = None
    """The steps for all sizes, once one is needed."""
    call: NativeCall | None = None
    """How they are called natively; `has_call` says whether it is set, maybe to None."""
    has_call: bool = False
    native: NativeSteps | None = None
    """Their entry point, from the second call on; `has_native` says whether it is set."""
    has_native: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_for(self, shapes: Shapes, leaves: Sequence[Any]) -> bool:
        """Whether this trace is right for such arguments."""
        try:
            sizes = self.sizes_in(shapes)
        except errors.ShapeError:
            return False
        return all(guard.fits(sizes) for guard in self.traced.guards) and all(
            leaves[i] == fixed.value for i, fixed in self.traced.specialisations
        )

    def sizes_in(self, shapes: Shapes) -> dict[str, int]:
        """The symbolic sizes in arguments.  Raises `errors.ShapeError` for those of others."""
        given = [() if shape is None else shape for shape in shapes]
        return read_sizes(self.traced.graph.in_types, given)

    def step(self, sizes: Mapping[str, int], make: Callable[[Graph], Steps]) -> Step | None:
        """The step for known sizes, one of those that share code; None where they cannot."""
        if self.alone:
            return None
        try:
            with self.lock:
                if self.steps is None and self._can_share(sizes):
                    self.steps = make(self.graphs["fused"])
            return None if self.steps is None else self.steps.at(sizes)
        except Exception as error:  # noqa: BLE001 - whatever it stumbles over, known sizes go on
            self.steps, self.alone = None, f"{type(error).__name__}: {error}"
            return None

    def _can_share(self, sizes: Mapping[str, int]) -> bool:
        """Functions outside of the step are called for arrays of known sizes."""
        return (
            bool(sizes)
            and "fused" in self.graphs
            and not any(
                eqn.op in FOREIGN
                and symbols_of(size for a in (*eqn.ins, *eqn.outs) for size in a.type.shape)
                for eqn in all_eqns(self.graphs["fused"])
            )
        )

    def entry_point(self, sizes: Mapping[str, int], calling: Calling) -> Callable[..., Any] | None:
        """The native call for all sizes, which takes these from now on; None if there is none."""
        with self.lock:
            if not self.has_native:
                assert self.steps is not None
                self.native = self.steps.native(calling)
                self.has_native = True
        learnt = self.native is not None and self.native.learn(sizes)
        return self.native.function if self.native is not None and learnt else None

    def examples(self) -> dict[str, int]:
        shapes = (type.shape for type in self.traced.graph.in_types)
        return {s.name: s.example for s in symbols_of(itertools.chain.from_iterable(shapes))}

    def verify(self, sizes: Mapping[str, int]) -> None:
        """Raises `errors.VerifyError` where the trace means nothing for known sizes.

        What the rules say of every size was found out once; here it is about the rest.
        """
        if any(doubt.holds(sizes) for doubt in self._doubts):
            bind_known(self.traced.graph, sizes)

    @functools.cached_property
    def _doubts(self) -> frozenset[Question]:
        """What the rules of verification leave to the numbers."""
        with doubting() as doubts:
            verify(self.traced.graph)
        return frozenset(doubts)

    def described(self) -> Iterator[str]:
        """Which sizes are symbolic, for people: `n = x.shape[0], y.shape[0]`."""
        for name in self.examples():
            places: dict[Size, list[str]] = {}
            for leaf, type in zip(self.names, self.traced.graph.in_types, strict=True):
                for axis, size in enumerate(type.shape):
                    if isinstance(size, Dim) and name in (s.name for s in size.symbols):
                        places.setdefault(size, []).append(f"{leaf}.shape[{axis}]")
            shown = (f"{size_text(size)} = {', '.join(where)}" for size, where in places.items())
            yield f"{'; '.join(shown)}: any {name} from {SMALLEST} upwards"

    def conditions(self) -> Iterator[str]:
        """What else the sizes have to be, for people."""
        yield from map(str, self.traced.fixed)
        yield from map(str, self.traced.guards)


def bind_known(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """The graph with those of the sizes that it has."""
    names = symbol_names(graph)
    return bind(graph, {name: size for name, size in sizes.items() if name in names})


class BoundGraphs(dict[str, Graph]):
    """The graphs of a symbolic trace by stage, for known sizes, each made when it is asked for."""

    def __init__(
        self,
        symbolic: Symbolic,
        sizes: Mapping[str, int],
        kernels: Sequence[pipeline.Pass],
    ):
        super().__init__()
        self.symbolic = symbolic
        self.sizes = sizes
        self.kernels = kernels

    def __missing__(self, stage: str) -> Graph:
        whole = self.symbolic.graphs.get(stage)
        if whole is not None:
            self[stage] = bind_known(whole, self.sizes)
        elif stage == "optimized":
            self[stage] = pipeline.run(self["traced"], pipeline.OPTIMIZE)[0]
        else:
            self[stage] = pipeline.run(self["optimized"], self.kernels)[0]
        return self[stage]


@dataclass
class Family:
    """The signatures that differ in sizes alone, and the symbolic traces that were made of them."""

    seen: list[Shapes] = field(default_factory=list)
    entries: list[Symbolic] = field(default_factory=list)
    attempts: int = 0
    reasons: list[str] = field(default_factory=list)
    """Why sizes that vary are fixed all the same."""

    def find(self, shapes: Shapes, leaves: Sequence[Any]) -> Symbolic | None:
        """The symbolic trace for these arguments."""
        return next((entry for entry in self.entries if entry.is_for(shapes, leaves)), None)

    def add_reasons(self, reasons: Iterable[str]) -> None:
        self.reasons += (reason for reason in reasons if reason not in self.reasons)

    def remember(self, shapes: Shapes) -> None:
        if shapes not in self.seen:
            self.seen = [*self.seen[1 - HISTORY :], shapes]

    def generalised(self, shapes: Shapes, is_multiple: bool = False) -> Shapes | None:
        """The shapes with symbols for what varies; None where that was of no use, or nothing does.

        Sizes of 0 and 1 have rules of their own, and stay what they are.  With `is_multiple` the
        symbols are multiplied by what divides all that was seen, and there has to be such a number.
        """
        if not self.seen or self.attempts >= ENTRIES:
            return None
        names: dict[tuple[int, ...], Dim] = {}
        general = tuple(
            None
            if shape is None
            else tuple(self._symbol(i, axis, size, names) for axis, size in enumerate(shape))
            for i, shape in enumerate(shapes)
        )
        if not is_multiple:
            return general if names else None
        steps = {size: math.gcd(*column) for column, size in names.items()}
        multiples: dict[str, Size] = {
            str(size): step * dim(str(size), hint(size) // step)
            for size, step in steps.items()
            if step > 1 and hint(size) >= step * SMALLEST
        }
        return with_sizes(general, multiples) if multiples else None

    def _symbol(
        self, leaf: int, axis: int, size: int, names: dict[tuple[int, ...], Dim]
    ) -> int | Dim:
        column = tuple(shapes[leaf][axis] for shapes in self.seen)  # type: ignore[index]
        if all(other == size for other in column) or size < SMALLEST:
            return size
        if all(other < SMALLEST for other in column if other != size):
            return size
        name = f"n{len(names) or ''}"
        return names.setdefault((*column, size), dim(name, size))


def with_sizes(shapes: Shapes, sizes: Mapping[str, Size]) -> Shapes:
    """The shapes with other sizes in the place of symbols."""
    return tuple(
        None if shape is None else tuple(substitute(size, sizes) for size in shape)
        for shape in shapes
    )


def symbolic_leaves(leaves: Sequence[Any], shapes: Shapes, dtypes: Sequence[Any]) -> list[Any]:
    """The arguments with `Spec`s in the place of arrays that have symbolic sizes."""
    return [
        leaf if shape is None or not symbols_of(shape) else Spec(shape, dtype)
        for leaf, shape, dtype in zip(leaves, shapes, dtypes, strict=True)
    ]


def optimised(
    traced: Traced, kernels: Sequence[pipeline.Pass], names: Sequence[str]
) -> tuple[Symbolic, dict[str, float]]:
    """The trace with its graphs at each stage, and the milliseconds of the passes.

    What no pass can decide for every size is left to be done for each size.
    """
    graphs = {"traced": traced.graph}
    milliseconds: dict[str, float] = {}
    for stage, passes in (("optimized", pipeline.OPTIMIZE), ("fused", kernels)):
        try:
            graph, spent = pipeline.run(list(graphs.values())[-1], passes)
        except Exception as error:  # noqa: BLE001 - whatever it stumbles over, known sizes go on
            return Symbolic(traced, graphs, names, undecided=str(error)), milliseconds
        graphs[stage] = graph
        milliseconds |= spent
    return Symbolic(traced, graphs, names), milliseconds
