"""Compiled functions: a cache of steps by signature, and the way from call to step and back."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphc import errors
from graphc.bound import BoundMethod, global_name
from graphc.collector import paused
from graphc.donation import DONATED, donated, mark, refuse_donated
from graphc.ir import Eqn, Graph
from graphc.passes import pipeline
from graphc.recall import LaterGraphs, find, keep_steps, key_of_step
from graphc.runtime.calling import MISS
from graphc.runtime.llvm.entry import prepare
from graphc.runtime.llvm.jit import keep_functions
from graphc.runtime.step import Step
from graphc.runtime.threads import expect_pool
from graphc.signature import (
    Arguments,
    are_large,
    donated_leaves,
    first_of_each,
    kind_of,
    leaf_names,
    names_sizes,
    sharing_of,
)
from graphc.slow_call import run_slowly
from graphc.specialised import USUAL, Options, Specialised
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
    from graphc.runtime.native_function import NativeFunction

STAGES = ("traced", "optimized", "fused")


class Compiled:
    """A function that runs as machine code; made by `graphc.compile`."""

    def __init__(self, function: Callable[..., Any], options: Options = USUAL):
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
        if entry is not None and leaves is not None:
            return self._run(entry, leaves)
        leaves, structure = tree.flatten((args, kwargs))
        returned = self._run(self._of(leaves, structure, args, kwargs), leaves)
        prepare()  # the next call wants it, and this one need not share the processors with it
        keep_functions()
        keep_steps()
        return returned

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
        entry = self._of(leaves, structure, args, kwargs)
        returned = self._run(entry, leaves)
        for i in entry.donated:
            mark(leaves[i])
        keep_functions()
        keep_steps()
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
        if self._options.target == "cpu" and are_large(leaves):
            expect_pool(self._options.threads)
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
        symbolic = family.find(given.shapes, given.leaves) or self._generalised(family, given)
        if symbolic is None:
            return None
        try:
            return self._of_symbolic(symbolic, symbolic.sizes_in(given.shapes), given)
        except errors.VerifyError as error:
            family.reasons.append(f"what was traced for every size does not hold here: {error}")
            return None

    def _generalised(self, family: Family, given: Arguments) -> Symbolic | None:
        """A new trace with symbols for the sizes that vary: as many as stay symbols.

        If all had to be fixed, as by a division, it is tried with multiples of what divides them.
        """
        symbolic, is_tried = None, False
        for is_multiple in (False, True):
            general = family.generalised(given.shapes, is_multiple)
            if general is None:
                break
            is_tried = True
            leaves = symbolic_leaves(given.leaves, general, given.dtypes)
            try:
                symbolic = self._trace_symbolic(given, leaves, by_example=True)
            except Exception as error:  # noqa: BLE001 - fixed sizes show it, if it is the user's
                family.add_reasons([f"it could not be traced for every size: {error}"])
                break
            family.add_reasons(map(str, symbolic.traced.fixed))
            if symbolic.examples():
                break
        is_useful = symbolic is not None and bool(symbolic.examples())
        family.attempts += is_tried * (1 if is_useful else ENTRIES // 2)  # so that it ends soon
        if symbolic is not None:
            family.entries.append(symbolic)
        return symbolic

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
        key = key_of_step(traced.graph, self._options)
        record = None if key is None else find(key)
        if record is not None:
            spent = {"trace": trace_ms}
            later = LaterGraphs(traced.graph, self._options.kernels, spent)
            found = {"reasons": reasons, "key": key, "record": record}
            return self._specialised(given, traced, later, spent, **found)
        checked: set[Eqn] = set()
        optimized, optimize_ms = pipeline.run(traced.graph, pipeline.OPTIMIZE, checked=checked)
        fused, fuse_ms = pipeline.run(optimized, self._options.kernels, checked=checked)
        graphs = {"traced": traced.graph, "optimized": optimized, "fused": fused}
        pass_ms = {"trace": trace_ms} | optimize_ms | fuse_ms
        return self._specialised(given, traced, graphs, pass_ms, reasons=reasons, key=key)

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
