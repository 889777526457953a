"""One signature of a compiled function: its graphs, its step, the native call of it."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.binding import bind, examples, is_symbolic
from graphc.calling import NativeCall, native_call
from graphc.collector import paused
from graphc.ir import Graph, Type, all_eqns, subgraphs
from graphc.ops.control import while_
from graphc.ops.linalg import matmul
from graphc.passes import pipeline
from graphc.questions import exemplified, hint
from graphc.recall import keep_later
from graphc.runtime.calling import MISS, Calling
from graphc.runtime.code import Code
from graphc.runtime.code import Options as StepOptions
from graphc.runtime.listing import log_kernels
from graphc.runtime.recalled import Record, recall
from graphc.runtime.shares import USUAL as DIVIDED
from graphc.runtime.step import Step, Steps
from graphc.runtime.threads import allowed_threads
from graphc.signature import kind_of, sharing_of
from graphc.symbolic import Symbolic
from graphc.trace import tree
from graphc.trace.trace import Traced

if TYPE_CHECKING:
    from graphc.runtime.cuda.step import CudaStep

SHORT_STEP = 20_000
"""Operations on elements that take less time than handing the GIL over and back (microseconds)."""


def work_of(graph: Graph) -> float:
    """About how many operations on elements a step takes; without end where a loop has none."""
    work: float = 0
    for eqn in graph.eqns:
        inner = hint(eqn.ins[0].type.shape[-1]) if eqn.op is matmul else 1
        times = math.inf if eqn.op is while_ else hint(eqn.attrs.get("length", 1))
        work += sum(hint(atom.type.size) for atom in (*eqn.ins, *eqn.outs)) * inner
        work += sum(times * (1 + work_of(held)) for _, held in subgraphs(eqn))
    return work


@dataclass(frozen=True)
class Options:
    """What `compile` was asked for."""

    target: str = "cpu"
    fastmath: bool = False
    threads: int | None = None
    donate: tuple[str, ...] = ()
    fusion: bool = True
    """Without it each equation is a kernel of its own, which shows what fusion is worth."""

    check_nan: bool = False

    @property
    def kernels(self) -> tuple[pipeline.Pass, ...]:
        """The passes that make kernels."""
        return pipeline.FUSE if self.fusion else pipeline.SEPARATE


USUAL = Options()


def make_step(graph: Graph, options: Options) -> Step | CudaStep:
    """The executable of a fused graph for the target that was asked for; of named sizes, for the
    example that they carry."""
    sizes = examples(graph) if is_symbolic(graph) else {}
    if options.target == "cuda":
        from graphc.runtime.cuda.step import CudaStep  # for who has a device

        return CudaStep(bind(graph, sizes) if sizes else graph, options.fastmath)
    if sizes:
        return make_steps(graph, options).at(sizes)
    return Step(graph, options.fastmath, options.threads or allowed_threads())


def step_options(options: Options) -> StepOptions:
    """How `make_step` makes a step for this machine."""
    return StepOptions(options.fastmath, options.threads or allowed_threads(), DIVIDED, None)


def make_steps(graph: Graph, options: Options) -> Steps:
    """The executables of a fused graph for all of its sizes, which share machine code."""
    return Steps(graph, options.fastmath, options.threads or allowed_threads())


@dataclass
class Specialised:
    """One traced signature: its graphs at each stage, and its step once it is needed."""

    names: list[str]
    structure: tree.Structure
    kinds: list[Any]
    sharing: tuple[int, ...] | None
    traced: Traced
    options: Options
    graphs: dict[str, Graph]
    pass_ms: dict[str, float]
    donated: tuple[int, ...] = ()
    """The arguments, by position among the leaves, that are donated."""
    symbolic: Symbolic | None = None
    """The trace for every size that this is one of, and which of them: `sizes`."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    """Why sizes that vary from call to call are fixed here."""
    key: str | None = None
    """Under which a record of the step is kept on disk; None where none is."""
    record: Record | None = None
    """The record that was found there: then `graphs` are made when they are asked for."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    compile_ms: float = 0.0
    step: Step | CudaStep | None = None
    fast: Callable[..., Any] | None = None
    """The native call, from the second call on, where there is one; it gives `MISS` for arguments
    that are not for it."""
    has_fast: bool = False
    """Whether `fast` is set; it may be set to None."""
    fast_for: object = None
    """The device that `fast` is for, where it is for one."""

    def ready(self) -> Step | CudaStep:
        """The step, compiled on first use, by one thread."""
        with self.lock:
            if self.step is None:
                start = time.perf_counter()
                with paused():
                    self.step = self._shared_step() or self._recalled_step() or self._made_step()
                self.compile_ms = (time.perf_counter() - start) * 1e3
                log_kernels(self.step)
            return self.step

    def _recalled_step(self) -> Step | None:
        """The step whose record was found; None if its code is not there any more."""
        if self.record is None:
            return None
        code = recall(self.record, lambda: self.graphs["fused"], step_options(self.options))
        return None if code is None else Step.of(code, {})

    def _made_step(self) -> Step | CudaStep:
        step = make_step(self.graphs["fused"], self.options)
        if self.key is not None and isinstance(step, Step) and isinstance(step.code, Code):
            keep_later(self.key, step.code, work_of(self.graphs["fused"]) < SHORT_STEP)
        return step

    @property
    def shares_code(self) -> bool:
        """Whether the step is one of several that share machine code."""
        return self.symbolic is not None and self.symbolic.steps is not None

    def _shared_step(self) -> Step | None:
        """The step for these sizes of those for every size; None where there are none such."""
        if self.symbolic is None or self.options.target != "cpu":
            return None
        return self.symbolic.step(self.sizes, lambda graph: make_steps(graph, self.options))

    def leaves_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any] | None:
        """The leaves of arguments that have this signature, None for others."""
        if self.is_flat and not kwargs and len(args) == len(self.kinds):
            leaves: Sequence[Any] = args
        else:
            found: list[Any] = []
            if not tree.gather(self.structure, (args, kwargs), found):
                return None
            leaves = found
        if [kind_of(leaf) for leaf in leaves] != self.kinds or sharing_of(leaves) != self.sharing:
            return None
        return leaves if self.holds_for(leaves) else None

    @functools.cached_property
    def result_types(self) -> tuple[Type, ...]:
        """The types of the results that are no updates, in order, as the step wants them."""
        return (self.traced if self.shares_code else self.known).result_types

    @functools.cached_property
    def known(self) -> Traced:
        """The trace with numbers for its sizes."""
        if self.symbolic is None:
            return self.traced
        return self.traced._replace(graph=self.graphs["traced"])

    @functools.cached_property
    def is_flat(self) -> bool:
        """Whether every argument is positional and a leaf."""
        flat = tree.flatten((tuple(0 for _ in self.kinds), {}))[1]
        return self.structure == flat

    @functools.cached_property
    def native(self) -> NativeCall | None:
        """What the native entry point takes and gives; None where there is none."""
        if self.donated:
            return None  # what is donated has to be marked
        if self.options.check_nan:
            return None
        if self.record is not None:
            parts = self.structure, self.kinds, self.sharing, self.traced
            return native_call(*parts, self.record.is_short)
        if self.symbolic is None or not self.shares_code:
            return self._native_of(self.known, self.graphs["fused"])
        shared = self.symbolic
        if not shared.has_call:
            with exemplified({name: 8 * size for name, size in self.sizes.items()}):
                shared.call = self._native_of(shared.traced, shared.graphs["fused"])
            shared.has_call = True
        return shared.call

    def _native_of(self, traced: Traced, fused: Graph) -> NativeCall | None:
        if any(eqn.op.effect in ("call", "print") for eqn in all_eqns(fused)):
            return None  # it would run a step that failed once more, to explain why
        is_short = work_of(fused) < SHORT_STEP
        return native_call(self.structure, self.kinds, self.sharing, traced, is_short)

    def make_fast(self) -> None:
        """Set `fast`; done on the second call, so that the first need not wait for the code of the
        entry point, nor a function that is called once for anything."""
        step = self.ready()
        with self.lock:
            if not self.has_fast:
                self.fast = self._native_call(step)
                self.has_fast = True

    def _native_call(self, step: Step | CudaStep) -> Callable[..., Any] | None:
        """The entry point, with what Python has to do before and after it."""
        native, returned = self.native, self.traced.structure
        fast = None if native is None else self._entry_point(step, native.calling)
        if fast is None or native is None or not (native.gathers or native.scatters):
            return fast
        by_leaves, structure = fast, self.structure

        def call(*args: Any, **kwargs: Any) -> Any:
            leaves: list[Any] = []
            if not native.gathers:
                results = by_leaves(*args, **kwargs)
            elif tree.gather(structure, (args, kwargs), leaves):
                results = by_leaves(*leaves)
            else:
                return MISS
            is_done = results is MISS or not native.scatters
            return results if is_done else tree.unflatten(returned, results)

        return call

    def _entry_point(self, step: Step | CudaStep, calling: Calling) -> Callable[..., Any] | None:
        if self.symbolic is not None and self.shares_code:
            return self.symbolic.entry_point(self.sizes, calling)
        return step.native(calling)

    def result_names(self) -> list[str]:
        """What to call each result of the step: where it is in what the function returns."""
        names: dict[int, str] = {}
        paths = tree.paths(self.traced.structure, "result")
        for path, result in zip(paths, self.traced.results, strict=True):
            if not result.is_argument:
                names.setdefault(result.index, path)
        return [names.get(i, f"result_{i}") for i in range(len(self.traced.result_types))]

    def holds_for(self, leaves: Sequence[Any]) -> bool:
        """Whether the arguments have the values that the trace was specialised to."""
        fixed_values = self.traced.specialisations
        return not fixed_values or all(leaves[i] == fixed.value for i, fixed in fixed_values)
