"""Compiled functions: a cache of steps by signature, and the way from call to step and back."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graphc import errors
from graphc.bound import BoundMethod, global_name
from graphc.calling import NativeCall, native_call
from graphc.collector import paused
from graphc.dims import exemplified, hint
from graphc.donation import DONATED, donated, mark, refuse_donated
from graphc.ir import Eqn, Graph, Type, all_eqns, subgraphs
from graphc.ops.control import while_
from graphc.ops.linalg import matmul
from graphc.passes import pipeline
from graphc.runtime.calling import MISS, Calling
from graphc.runtime.listing import log_kernels
from graphc.runtime.llvm.entry import prepare
from graphc.runtime.step import Step, Steps
from graphc.runtime.threads import allowed_threads, expect_threads
from graphc.signature import (
    Arguments,
    donated_leaves,
    first_of_each,
    kind_of,
    leaf_names,
    names_sizes,
    sharing_of,
)
from graphc.slow_call import run_slowly
from graphc.switches import SWITCHES
from graphc.symbolic import ENTRIES, BoundGraphs, Family, Symbolic, optimised, symbolic_leaves
from graphc.trace import calls as _calls  # noqa: F401 - the first trace needs it
from graphc.trace import numpy_api as _numpy_api  # noqa: F401 - the first trace needs it
from graphc.trace import tree
from graphc.trace.control import converted
from graphc.trace.scope import OPEN, hide_own_frames, is_tracing, user_loc, with_user_frames
from graphc.trace.trace import Traced, trace

if TYPE_CHECKING:
    from graphc.report import Report
    from graphc.runtime.cuda.step import CudaStep
    from graphc.runtime.native_function import NativeFunction

STAGES = ("traced", "optimized", "fused")


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


def make_step(graph: Graph, options: Options) -> Step | CudaStep:
    """The executable of a fused graph for the target that was asked for."""
    if options.target == "cuda":
        from graphc.runtime.cuda.step import CudaStep  # for who has a device

        return CudaStep(graph, options.fastmath)
    return Step(graph, options.fastmath, options.threads or allowed_threads())


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
    lock: threading.Lock = field(default_factory=threading.Lock)
    compile_ms: float = 0.0
    step: Step | CudaStep | None = None
    fast: Callable[..., Any] | None = None
    """The native call, from the second call on, where there is one; it gives `MISS` for arguments
    that are not for it."""
    has_fast: bool = False
    """Whether `fast` is set; it may be set to None."""

    def ready(self) -> Step | CudaStep:
        """The step, compiled on first use, by one thread."""
        with self.lock:
            if self.step is None:
                start = time.perf_counter()
                with paused():
                    self.step = self._shared_step() or make_step(self.graphs["fused"], self.options)
                self.compile_ms = (time.perf_counter() - start) * 1e3
                log_kernels(self.step)
            return self.step

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


class Compiled:
    """A function that runs as machine code; made by `graphc.compile`."""

    def __init__(self, function: Callable[..., Any], options: Options = Options()):
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options
        self._cache: dict[Any, list[Specialised]] = {}
        self._families: dict[Any, Family] = {}
        self._latest: Specialised | None = None
        self._fast: Callable[..., Any] | None = None
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # What a call of a small step costs is these lines: names are looked up, not called.
        fast = self._fast
        if fast is not None and not OPEN and not DONATED and SWITCHES.compiles:
            returned = fast(*args, **kwargs) if kwargs else fast(*args)
            if returned is not MISS:
                return returned
        if is_tracing():
            return converted(self._function)(*args, **kwargs)
        if not SWITCHES.compiles:
            return self._call_plainly(args, kwargs)
        try:
            return self._call_slowly(args, kwargs)
        except Exception as error:
            hide_own_frames(error)
            raise

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if DONATED:
            self._refuse_donated(args, kwargs)
        if self._options.donate:
            return self._call_donating(args, kwargs)
        entry = self._latest
        if entry is not None and self._fast is None:
            if not entry.has_fast:
                entry.make_fast()
            self._fast = entry.fast
            returned = MISS if self._fast is None else self._fast(*args, **kwargs)
            if returned is not MISS:
                return returned
        leaves = None if entry is None else entry.leaves_of(args, kwargs)
        if entry is None or leaves is None:
            prepare(expect_threads)
            leaves, structure = tree.flatten((args, kwargs))
            entry = self._of(leaves, structure, args, kwargs)
        return self._run(entry, leaves)

    def _of(
        self,
        leaves: list[Any],
        structure: tree.Structure,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Specialised:
        """What was compiled for these arguments, which the next call is expected to fit, too."""
        self._latest = entry = self._lookup(leaves, structure, args, kwargs)
        if entry.symbolic is not None and entry.symbolic.has_native and not entry.has_fast:
            entry.make_fast()  # the entry point is there, and takes one more size
        self._fast = entry.fast
        return entry

    def _run(self, entry: Specialised, leaves: Sequence[Any]) -> Any:
        if not self._options.check_nan:
            return run_slowly(entry, leaves)
        from graphc.debugging import run_checked  # here, for who debugs

        return run_checked(entry, leaves, run_slowly)

    def _refuse_donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves = tree.flatten((args, kwargs))[0]
        refuse_donated(leaves, lambda: leaf_names(self._function, args, kwargs))

    def _call_donating(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, structure = tree.flatten((args, kwargs))
        prepare(expect_threads)
        entry = self._of(leaves, structure, args, kwargs)
        returned = self._run(entry, leaves)
        for i in entry.donated:
            mark(leaves[i])
        return returned

    def _call_plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function itself; of a gradient and its like, which need a trace, the interpreter."""
        from graphc.debugging import run_interpreted

        if not hasattr(self._function, "__graphc_transform__"):
            return self._function(*args, **kwargs)
        leaves, structure = tree.flatten((args, kwargs))
        return run_interpreted(self._lookup(leaves, structure, args, kwargs), leaves)

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else BoundMethod(self, instance)

    def __repr__(self) -> str:
        return f"<compiled function {getattr(self, '__qualname__', repr(self._function))}>"

    def __reduce__(self) -> Any:
        """Pickled where the plain function can be: by its name, or around it.

        The code is not part of it: the other side compiles, or finds the code on disk.
        """
        return global_name(self) or (type(self), (self._function, self._options))

    def __copy__(self) -> Compiled:
        return self  # as of any function

    def __deepcopy__(self, memo: Any) -> Compiled:
        return self

    @with_user_frames
    def graph(self, *args: Any, stage: str = "optimized", **kwargs: Any) -> Graph:
        """The graph for these arguments (arrays or `Spec`s) at a stage of the pipeline.

        stage  "traced", "optimized" or "fused"

        With named sizes in a `Spec` it is the graph for all of them, and calls use it, too.

        Raises `graphc.errors.ArgumentError` for another stage, and `UndecidedSizeError` where the
        function or a pass depends on the number that a named size stands for.
        """
        if stage not in STAGES:
            raise errors.ArgumentError(
                f"no stage {stage!r}; choose from {', '.join(STAGES)}", user_loc()
            )
        entry = self._entry(args, kwargs)
        if entry.symbolic is None or not names_sizes(tree.flatten((args, kwargs))[0]):
            return entry.graphs[stage]
        if stage not in entry.symbolic.graphs:
            raise errors.UndecidedSizeError(entry.symbolic.undecided, user_loc())
        return entry.symbolic.graphs[stage]

    @with_user_frames
    def explain(self, *args: Any, **kwargs: Any) -> Report:
        """What the compiler does with these arguments (arrays or `Spec`s): see `Report`.

        Compiles, but does not run.  With named sizes in a `Spec` the function is traced for all of
        them, and the figures are those of an example.
        """
        from graphc.report import make_report  # here, because graphc.report reads this module

        return make_report(self._entry(args, kwargs))

    @with_user_frames
    def address(self, *args: Any, **kwargs: Any) -> NativeFunction:
        """The step for these arguments (arrays or `Spec`s) as a C function: see `NativeFunction`.

        Compiles, but does not run.

        >>> import numpy as np, graphc as gc
        >>> double = gc.compile(lambda x: x * 2.0).address(gc.Spec((3,), "f64"))
        >>> x, y = np.ones(3), np.empty(3)
        >>> double([x], [y])
        0
        >>> y
        array([2., 2., 2.])
        """
        if names_sizes(tree.flatten((args, kwargs))[0]):
            raise errors.ArgumentError(
                "a C function has fixed sizes; give numbers in the place of named ones", user_loc()
            )
        entry = self._entry(args, kwargs)
        step = entry.ready()
        assert isinstance(step, Step)
        types = entry.known.graph.in_types
        return step.export(
            list(zip(entry.names, types, strict=True)),
            list(zip(entry.result_names(), entry.known.result_types, strict=True)),
        )

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Specialised:
        leaves, structure = tree.flatten((args, kwargs))
        return self._lookup(leaves, structure, args, kwargs)

    # ---- the cache -------------------------------------------------------------------------------

    def _lookup(
        self,
        leaves: list[Any],
        structure: tree.Structure,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Specialised:
        kinds, sharing = [kind_of(leaf) for leaf in leaves], sharing_of(leaves)
        key = (structure, tuple(kinds), sharing)
        for entry in self._cache.get(key, ()):
            if entry.holds_for(leaves):
                return entry
        with self._lock:
            for entry in self._cache.get(key, ()):
                if entry.holds_for(leaves):
                    return entry
            with paused():
                entry = self._specialise(leaves, structure, args, kwargs)
            self._cache.setdefault(key, []).append(entry)
            return entry

    def _specialise(
        self,
        leaves: list[Any],
        structure: tree.Structure,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Specialised:
        given = Arguments(leaves, structure, leaf_names(self._function, args, kwargs))
        family = self._families.setdefault(given.family, Family())
        if names_sizes(leaves):
            symbolic = self._trace_symbolic(given, leaves, by_example=False)
            family.entries.insert(0, symbolic)
            return self._of_symbolic(symbolic, symbolic.examples(), given)
        entry = self._of_family(family, given)
        family.remember(given.shapes)
        return entry or self._fixed(given, tuple(family.reasons))

    def _of_family(self, family: Family, given: Arguments) -> Specialised | None:
        """What is traced for every size, for the sizes at hand; None where it is for none."""
        found = family.find(given.shapes, given.leaves)
        if found is None:
            general = family.generalised(given.shapes)
            if general is None:
                return None
            family.attempts += 1  # more where it was of no use, so that it ends soon
            leaves = symbolic_leaves(given.leaves, general, given.dtypes)
            try:
                symbolic = self._trace_symbolic(given, leaves, by_example=True)
            except Exception as error:  # noqa: BLE001 - fixed sizes show it, if it is the user's
                family.reasons.append(f"it could not be traced for every size: {error}")
                return None
            family.reasons += map(str, symbolic.traced.fixed)
            family.entries.append(symbolic)
            found = symbolic, symbolic.examples()
            family.attempts += 0 if found[1] else ENTRIES // 2
        try:
            return self._of_symbolic(*found, given)
        except errors.VerifyError as error:
            family.reasons.append(f"what was traced for every size does not hold here: {error}")
            return None

    def _trace_symbolic(self, given: Arguments, leaves: list[Any], by_example: bool) -> Symbolic:
        traced, trace_ms = self._traced(given, leaves, by_example)
        symbolic, pass_ms = optimised(traced, self._options.kernels, given.names)
        return replace(symbolic, pass_ms={"trace": trace_ms, **pass_ms})

    def _traced(
        self, given: Arguments, leaves: list[Any], by_example: bool = False
    ) -> tuple[Traced, float]:
        """The trace, and the milliseconds that it took."""
        start = time.perf_counter()
        args, kwargs = tree.unflatten(given.structure, leaves)
        aliases = first_of_each(given.leaves)
        traced = trace(self._function, args, kwargs, given.names, aliases, by_example)
        positions = self._donated(given)
        traced = donated(traced, positions) if positions else traced
        return traced, (time.perf_counter() - start) * 1e3

    def _donated(self, given: Arguments) -> tuple[int, ...]:
        return donated_leaves(given.names, given.leaves, self._options.donate)

    def _of_symbolic(
        self, symbolic: Symbolic, sizes: Mapping[str, int], given: Arguments
    ) -> Specialised:
        symbolic.verify(sizes)
        graphs = BoundGraphs(symbolic, sizes, self._options.kernels)
        return self._specialised(
            given, symbolic.traced, graphs, dict(symbolic.pass_ms), symbolic=symbolic, sizes=sizes
        )

    def _fixed(self, given: Arguments, reasons: tuple[str, ...]) -> Specialised:
        """Traced for these sizes alone."""
        traced, trace_ms = self._traced(given, given.leaves)
        checked: set[Eqn] = set()
        optimized, optimize_ms = pipeline.run(traced.graph, pipeline.OPTIMIZE, checked=checked)
        fused, fuse_ms = pipeline.run(optimized, self._options.kernels, checked=checked)
        graphs = {"traced": traced.graph, "optimized": optimized, "fused": fused}
        pass_ms = {"trace": trace_ms} | optimize_ms | fuse_ms
        return self._specialised(given, traced, graphs, pass_ms, reasons=reasons)

    def _specialised(
        self,
        given: Arguments,
        traced: Traced,
        graphs: dict[str, Graph],
        pass_ms: dict[str, float],
        **rest: Any,
    ) -> Specialised:
        return Specialised(
            given.names,
            given.structure,
            [kind_of(leaf) for leaf in given.leaves],
            sharing_of(given.leaves),
            traced,
            self._options,
            graphs,
            pass_ms,
            donated=self._donated(given),
            **rest,
        )
