"""The steps of all sizes as one built-in function, which learns each choice of sizes in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.dims import Dim
from graphc.ir import Type
from graphc.runtime.arenas import new_arena
from graphc.runtime.calling import Calling, Fixed, Leaf, Pattern
from graphc.runtime.llvm.entry import built_in, is_supported
from graphc.runtime.llvm.entry_layout import FIELD, RESERVED
from graphc.runtime.llvm.entry_plan import Plan, memory_words, plan_words
from graphc.runtime.llvm.entry_rows import Rows


class SizedFunction:
    """The steps of all sizes as one Python function, for those sizes that it has learnt.

    `names` are those of the sizes, in the order of `learn`; `constants` counts the constant arrays
    of each step.
    """

    def __init__(self, calling: Calling, names: Sequence[str], constants: int):
        self._calling, self._constants = calling, constants
        nothing = np.empty(0, np.uint8)
        self._arenas = [nothing]
        self._rows = Rows(len(names))
        none = [nothing] * constants
        self._words, self._objects = plan_words(calling, calling.results, none, 0, nothing, names)
        self._show(self._rows.words())
        self._learnt: set[tuple[int, ...]] = set()
        self.function = built_in(self._words, (self._objects, self._rows, self._arenas))

    def learn(self, sizes: tuple[int, ...], step: Machined) -> bool:
        """Take the step for some sizes.

        False where that cannot be done now, because another thread is in a step.  No thread can
        enter one meanwhile: it would need the GIL.
        """
        if sizes in self._learnt:
            return True
        if self._words[FIELD["busy"]] or len(step.constants) != self._constants:
            return False
        plan, memory = Plan(), memory_words(step.types)
        types = np.array([word for type in step.types for word in plan.type(type)], np.int64)
        addresses = np.array([array.ctypes.data for array in step.constants], np.int64)
        self._objects += [*plan.objects, types, addresses, *step.constants, step.keep]
        if step.nbytes + RESERVED > self._arenas[0].nbytes:
            self._arenas[0] = new_arena(step.nbytes)
            self._show({"arena": self._arenas[0].ctypes.data})
        self._rows.add(
            sizes,
            {
                "constant_table": addresses.ctypes.data,
                "types": types.ctypes.data,
                "handler": memory.get("handler", 0),
                "step": step.address,
            },
        )
        usual = {key: word for key, word in memory.items() if key == "usual_handler"}
        self._show({**usual, **self._rows.words()})
        self._learnt.add(sizes)
        return True

    def _show(self, fields: Mapping[str, int]) -> None:
        for name, value in fields.items():
            self._words[FIELD[name]] = value


class Machined(NamedTuple):
    """A step of known sizes as machine code: what it gives and needs, what the code belongs to."""

    address: int
    types: Sequence[Type]
    constants: Sequence[np.ndarray]
    nbytes: int
    keep: Any


def sized_function(calling: Calling, names: Sequence[str], constants: int) -> SizedFunction | None:
    """The function for steps of all sizes that are called as `calling` says.

    None where Python is not supported, or a size cannot be read off an argument: each name must be
    the size of an axis, and no axis have another size without a number.
    """
    found: set[Dim] = set()
    for leaf in _leaves([*calling.positional, *(pattern for _, pattern in calling.keywords)]):
        found.update(size for size in leaf.type.shape if isinstance(size, Dim))
    if not is_supported() or {str(size) for size in found} != set(names):
        return None
    return SizedFunction(calling, names, constants)


def _leaves(patterns: Sequence[Pattern]) -> Iterator[Leaf]:
    for pattern in patterns:
        if isinstance(pattern, Leaf):
            yield pattern
        elif not isinstance(pattern, Fixed):
            yield from _leaves(pattern.parts)
