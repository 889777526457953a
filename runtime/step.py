"""The repeated executable: a compiled step, called with arrays again and again."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.binding import examples
from graphc.ir import Eqn, Graph, Type
from graphc.runtime.arenas import new_arena
from graphc.runtime.calling import Calling
from graphc.runtime.code import Code, Options, numbered
from graphc.runtime.failures import failure
from graphc.runtime.llvm.entry import RESERVED, native_step
from graphc.runtime.llvm.entry_sizes import Machined, SizedFunction, sized_function
from graphc.runtime.llvm.result_memory import empty_arrays
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.plan import Arena
from graphc.runtime.program import Call, Program
from graphc.runtime.shares import USUAL, Thresholds
from graphc.runtime.sizes import Guard, Sizes

if TYPE_CHECKING:
    from graphc.runtime.native_function import NativeFunction
    from graphc.runtime.recalled import RecalledCode

_Native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Step:
    """Machine code for a fused graph, divided among at most `threads` where that pays.

    Calling it with the arguments in order gives the results that are not updates, in order, as
    fresh arrays; updated arguments are written in place.  Several threads may call it at once, and
    the GIL is released while it runs.  `target` is this machine, or an older one whose code it can
    run.  For graphs whose sizes have names there is `Steps`.
    """

    def __init__(
        self,
        graph: Graph,
        fastmath: bool = False,
        threads: int = 1,
        thresholds: Thresholds = USUAL,
        target: HostTarget | None = None,
    ):
        self._use(Code(graph, {}, Options(fastmath, threads, thresholds, target)), {})

    @classmethod
    def of(cls, code: Code | RecalledCode, sizes: Sizes) -> Step:
        """The step of code that is there, for these sizes."""
        step = cls.__new__(cls)
        step._use(code, sizes)
        return step

    def _use(self, code: Code | RecalledCode, sizes: Sizes) -> None:
        self._code, self._sizes = code, sizes
        self._types, self.nbytes, self._constants = code.needs(sizes)
        self._native = _Native(code.address)

    @property
    def code(self) -> Code | RecalledCode:
        """Its code."""
        return self._code

    @property
    def updated(self) -> frozenset[int]:
        """The arguments that it writes."""
        return self._code.updated

    @property
    def program(self) -> Program:
        """Which kernels run, on which memory."""
        return self._code.program

    @property
    def arena(self) -> Arena:
        """Where temporaries lie; of several sizes, for the first that the code was used for."""
        return self._code.arena

    @property
    def text(self) -> str:
        """The machine code as LLVM IR."""
        return self._code.text

    @property
    def stage_ms(self) -> dict[str, float]:
        """The milliseconds of each stage of making the code."""
        return self._code.stage_ms

    @property
    def from_disk(self) -> bool:
        """Whether the machine code was found in the disk cache."""
        return self._code.machine.from_disk

    def __call__(
        self, arguments: Sequence[np.ndarray], types: Sequence[Type] | None = None
    ) -> list[np.ndarray]:
        """Run the step on contiguous arrays of the graph's types (of which nothing is checked).

        types  what the results are arrays of, if not of the graph's types: complex numbers are
               pairs to the graph
        """
        results = empty_arrays(self._types if types is None else self._numbered(types))
        arrays = (*arguments, *results, *self._constants)
        table = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
        arena = self._code.arenas.take(self.nbytes)
        start = arena.ctypes.data
        status = self._native(ctypes.addressof(table), start + RESERVED, start)
        value = int(arena[:8].view(np.int64)[0])
        self._code.arenas.give(arena)
        if status:
            raise failure(self.program, status, value, self._sizes)
        return results

    def native(self, calling: Calling) -> Callable[..., Any] | None:
        """The step as a built-in function that is called as `calling` says, if this Python allows
        one: see `graphc.runtime.llvm.entry`."""
        return native_step(
            calling,
            self._numbered(calling.results),
            self._constants,
            self._code.address,
            new_arena(self.nbytes),
            self._code.machine,
        )

    def export(
        self, arguments: Sequence[tuple[str, Type]], results: Sequence[tuple[str, Type]]
    ) -> NativeFunction:
        """The step as a C function; its arguments and results have names, and types of NumPy."""
        from graphc.runtime.native_function import export  # few need it

        return export(
            self._code.address,
            self.program,
            arguments,
            results,
            self._constants,
            new_arena(self.nbytes),
            self._code.machine,
        )

    def _numbered(self, types: Sequence[Type]) -> Sequence[Type]:
        """The types with the numbers of their sizes."""
        return [numbered(type, self._sizes) for type in types] if self._sizes else types

    def conditions(self) -> list[Guard]:
        """What its code relies on, of sizes that have names."""
        return self._code.sizing.conditions()

    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]:
        """Each kernel that the step calls: its function's name, its equation, the call."""
        return self._code.kernel_names()

    def machined(self, results: Sequence[Type]) -> Machined:
        """What an entry point for all sizes has to know of this one."""
        code, types = self._code, self._numbered(results)
        return Machined(code.address, types, self._constants, self.nbytes, code.machine)


class Steps:
    """The steps of a fused graph whose sizes have names: one machine code for all of them.

    Where the code relies on something that other sizes do not fulfil (`conditions`), the graph is
    planned and compiled again for these.
    """

    def __init__(
        self,
        graph: Graph,
        fastmath: bool = False,
        threads: int = 1,
        thresholds: Thresholds = USUAL,
        target: HostTarget | None = None,
    ):
        self._graph = graph
        self._options = Options(fastmath, threads, thresholds, target)
        self._codes = [Code(graph, examples(graph), self._options)]
        self._steps: dict[tuple[tuple[str, int], ...], Step] = {}
        self._lock = threading.Lock()

    def at(self, sizes: Sizes) -> Step:
        """The step for these values of the names, each of which is at least 2."""
        key = tuple(sorted(sizes.items()))
        found = self._steps.get(key)
        if found is None:
            with self._lock:
                found = self._steps.get(key) or self._make(sizes)
                self._steps[key] = found
        return found

    def _make(self, sizes: Sizes) -> Step:
        for code in self._codes:
            known = code.sizing.complete(sizes)
            if known is not None:
                return Step.of(code, known)
        code = Code(self._graph, sizes, self._options)
        self._codes.append(code)
        return Step.of(code, code.sizing.example)

    def native(self, calling: Calling) -> NativeSteps | None:
        """The steps as one built-in function that is called as `calling` says, where sizes may
        have names; None if this Python allows none, or the arguments do not tell the sizes."""
        names = tuple(examples(self._graph))
        constants = len(self._codes[0].program.constants) + 1
        function = sized_function(calling, names, constants)
        return None if function is None else NativeSteps(self, calling, names, function)

    @property
    def compilations(self) -> int:
        """How many times the graph has been compiled."""
        return len(self._codes)

    def conditions(self) -> list[Guard]:
        """What the first code relies on."""
        return self._codes[0].sizing.conditions()


class NativeSteps:
    """The steps of all sizes as one built-in function: `MISS` for sizes that it has not learnt."""

    def __init__(
        self, steps: Steps, calling: Calling, names: tuple[str, ...], function: SizedFunction
    ):
        self._steps, self._names, self._sized = steps, names, function
        self._results = calling.results
        self.function = function.function

    def learn(self, sizes: Sizes) -> bool:
        """Let the function take these sizes from now on; false where it cannot just now."""
        key = tuple(sizes[name] for name in self._names)
        return self._sized.learn(key, self._steps.at(sizes).machined(self._results))
