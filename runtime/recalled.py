"""Machine code that another process made, found on disk by the graph that was traced.

A `Record` is what calling a step takes beside its machine code, which is an entry of its own: other
graphs may share it.  What only a person wants to know (kernels, the text of the code) is not
recorded: `RecalledCode` makes it anew when it is asked for, by way of the graph.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import DTYPE_NAMES, NUMPY_DTYPES, Eqn, Graph, Type
from graphc.runtime.arenas import Arenas
from graphc.runtime.code import STEP, Code, Needs, Options
from graphc.runtime.disk_cache import current_cache
from graphc.runtime.llvm.jit import Machine, load_code
from graphc.runtime.llvm.routines import lapack
from graphc.runtime.plan import Arena
from graphc.runtime.program import Call, Program
from graphc.runtime.sizes import Sizes, Sizing
from graphc.runtime.threads import start_pool

MOST_CONSTANTS = 16 << 20
"""Bytes of constants that are worth a record."""


class Record(NamedTuple):
    """What calling a step takes.

    code      the key of its machine code
    needs     the types of its results, its working memory, its constants
    updated   the arguments that it writes
    threads   whether it calls others of the pool
    routines  the names of the LAPACK routines that it calls, as text
    is_short  what the caller wants to know of it: see `graphc.specialised`
    compiler  what the caller knows the compiler by that made it
    """

    code: str
    needs: Needs
    updated: frozenset[int]
    threads: bool
    routines: str
    is_short: bool
    compiler: str


def keep(key: str, code: Code, is_short: bool, compiler: str) -> None:
    """Record code of fixed sizes under a key, if its machine code is kept, too."""
    cache, machine_key = current_cache(), code.machine.key
    if cache is None or machine_key is None:
        return
    needs = code.needs({})
    if sum(array.nbytes for array in needs.constants) > MOST_CONSTANTS:
        return
    routines = " ".join(sorted(set(re.findall(r"graphc_lapack_\w+", code.text))))
    header = {
        "code": machine_key,
        "types": [(type.dtype, type.shape) for type in needs.types],
        "nbytes": needs.nbytes,
        "constants": [(DTYPE_NAMES[a.dtype], a.shape) for a in needs.constants],
        "updated": sorted(code.updated),
        "threads": code.program.shares > 1,
        "routines": routines,
        "is_short": is_short,
        "compiler": compiler,
    }
    text = json.dumps(header).encode()
    constants = b"".join(array.tobytes() for array in needs.constants)
    cache.store(key, len(text).to_bytes(8, "little") + text + constants)


def load(key: str) -> Record | None:
    """The record under a key."""
    cache = current_cache()
    content = None if cache is None else cache.load(key)
    if content is None:
        return None
    end = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:end])
    constants = []
    for dtype, shape in header["constants"]:
        array = np.frombuffer(content, NUMPY_DTYPES[dtype], int(np.prod(shape)), end)
        constants.append(array.reshape(shape).copy())  # whose memory is aligned
        end += array.nbytes
    types = [Type(dtype, tuple(shape)) for dtype, shape in header["types"]]
    return Record(
        header["code"],
        Needs(types, header["nbytes"], constants),
        frozenset(header["updated"]),
        header["threads"],
        header["routines"],
        header["is_short"],
        header["compiler"],
    )


def recall(record: Record, graph: Callable[[], Graph], options: Options) -> RecalledCode | None:
    """The code of a record, None where that is no longer on disk.

    `graph` gives the fused graph that it was made for, which takes a while.
    """

    def link() -> None:
        lapack.provide(record.routines)
        if record.threads:
            start_pool()

    machine = load_code(record.code, link)
    return None if machine is None else RecalledCode(record, machine, graph, options)


class RecalledCode:
    """What `graphc.runtime.code.Code` is, for code that was found by its record."""

    is_fixed = True

    def __init__(
        self, record: Record, machine: Machine, graph: Callable[[], Graph], options: Options
    ):
        self._record, self._graph, self._options = record, graph, options
        self.machine = machine
        self.address = machine.address(STEP)
        self.arenas = Arenas()

    def needs(self, sizes: Sizes) -> Needs:
        return self._record.needs

    @property
    def updated(self) -> frozenset[int]:
        return self._record.updated

    # ---- what nobody needs for a call ------------------------------------------------------------

    @functools.cached_property
    def whole(self) -> Code:
        """The code, made once more: its machine code is found by its text."""
        return Code(self._graph(), {}, self._options)

    @property
    def program(self) -> Program:
        return self.whole.program

    @property
    def arena(self) -> Arena:
        return self.whole.arena

    @property
    def text(self) -> str:
        return self.whole.text

    @property
    def stage_ms(self) -> dict[str, float]:
        return self.whole.stage_ms

    @property
    def sizing(self) -> Sizing:
        return self.whole.sizing

    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]:
        return self.whole.kernel_names()
