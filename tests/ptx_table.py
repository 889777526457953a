"""The table of instructions, and what those who add to it need.

An entry is a function from an instruction, as it is written, to what it does with all threads at
once.  It takes the instruction's parts one by one; a part that nobody takes is an error, so nothing
is run that is not understood.

    @does("popc")
    def popc(op: Op) -> Run:
        kind = op.kind("b32", "b64")
        source, target = op.source(1, kind), op.target(0, "u32")
        return lambda t, m: t.put(target, np.bitwise_count(t.rows[kind][source]), m)

`@does(..., warp=True)` is for those that the threads of a warp do together: it runs when all whom
the mask names have come (the operand `mask`, all where there is none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ptx_text import WIDTHS, Imm, Instruction, Name, Operand, PtxError, Reg, Several

if TYPE_CHECKING:
    from ptx_threads import Threads

Mask = Any
"""Which threads do it: True for all of them, else an array of booleans."""
Run = Callable[["Threads", Mask], None]

DTYPES: dict[str, str] = {
    "pred": "?",
    **{f"{kind}{n}": f"{kind.replace('s', 'i')}{n // 8}" for kind in "us" for n in (8, 16, 32, 64)},
    **{f"b{n}": f"u{n // 8}" for n in (8, 16, 32, 64)},
    "f16": "f2",
    "bf16": "u2",
    "f16x2": "u4",
    "bf16x2": "u4",
    "tf32": "u4",
    "f32": "f4",
    "f64": "f8",
}
"""NumPy's dtype for each type."""


class Place(NamedTuple):
    """A register, or a number: which row of which width."""

    row: int
    width: int


class Linker:
    """Registers as rows, and the addresses of variables."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {1: 0, 16: 0, 32: 0, 64: 0}
        """How many rows there are of each width."""
        self.numbers: dict[int, dict[int, int]] = {width: {} for width in self.rows}
        """The rows below 0: numbers that the code holds, and which."""
        self.places: dict[str, Place] = {}
        self.addresses: dict[str, int] = {}
        self.params: dict[str, int] = {}

    def add(self, name: str, kind: str) -> None:
        width = WIDTHS[kind]
        if width not in self.rows:
            raise PtxError(f"registers of {width} bits: {name}")
        self.places[name] = Place(self.rows[width], width)
        self.rows[width] += 1

    def number(self, bits: int, width: int) -> Place:
        known = self.numbers[width]
        return Place(known.setdefault(bits & ((1 << width) - 1), -1 - len(known)), width)


class Op:
    """An instruction that is being understood."""

    def __init__(self, instruction: Instruction, linker: Linker, function: str):
        self.instruction = instruction
        self.linker = linker
        self.function = function
        self._left = list(instruction.parts)

    @property
    def operands(self) -> tuple[Operand, ...]:
        return self.instruction.operands

    def wrong(self, why: str) -> PtxError:
        return PtxError(f"{why}: {self.instruction.text}")

    # ---- parts -----------------------------------------------------------------------------------

    def flag(self, part: str) -> bool:
        """Whether it says so."""
        if part in self._left:
            self._left.remove(part)
            return True
        return False

    def one_of(self, *parts: str) -> str:
        """Which of these it says, "" if none."""
        return next((part for part in parts if self.flag(part)), "")

    def some(self, *parts: str) -> str:
        found = self.one_of(*parts)
        if not found:
            raise self.wrong(f"says none of {', '.join(parts)}")
        return found

    def kind(self, *allowed: str) -> str:
        """Its type, which is the last part."""
        if not self._left or self._left[-1] not in (allowed or WIDTHS):
            raise self.wrong(f"a type that is not known here (of {', '.join(allowed)})")
        return self._left.pop()

    def finish(self) -> None:
        if self._left:
            raise self.wrong(f".{self._left[0]} is not known here")

    # ---- operands --------------------------------------------------------------------------------

    def place(self, operand: Operand | None, width: int, loose: bool = False) -> Place:
        """Where an operand is read.  With `loose` the register may be wider than is read of it."""
        match operand:
            case Reg(name):
                known = self.linker.places.get(name) or self.linker.places.get(
                    f"{self.function}:{name}"
                )
                if known is None:
                    raise self.wrong(f"no register {name}")
                if known.width != width and not (loose and known.width > width):
                    raise self.wrong(f"{name} has {known.width} bits, not {width}")
                return known
            case Imm():
                return self.linker.number(_bits(operand, width), max(width, 16) if width > 1 else 1)
            case Name(name, offset):
                found = self.linker.addresses.get(f"{self.function}:{name}")
                found = self.linker.addresses.get(name) if found is None else found
                if found is None:
                    raise self.wrong(f"{name} is nothing that has an address")
                return self.linker.number(found + offset, width)
        raise self.wrong(f"{operand} is no register and no number")

    def source(self, number: int, kind: str) -> int:
        """The row of an operand that is read as a `kind`."""
        return self.place(self.operands[number], WIDTHS[kind]).row

    def sources(self, kind: str, *numbers: int) -> tuple[int, ...]:
        return tuple(self.source(number, kind) for number in numbers)

    def target(self, number: int, kind: str) -> Target:
        return self.target_of(self.operands[number], kind)

    def target_of(self, operand: Operand | None, kind: str, loose: bool = False) -> Target:
        if not isinstance(operand, Reg):
            raise self.wrong("writes to what is no register")
        place = self.place(operand, WIDTHS[kind], loose)
        return Target(place.row, wider(kind, place.width))

    def several(self, operand: Operand) -> Sequence[Operand | None]:
        return operand.items if isinstance(operand, Several) else [operand]


class Target(NamedTuple):
    """A register that is written: its row, and as what."""

    row: int
    kind: str


def wider(kind: str, width: int) -> str:
    """The type of a register of this width that a `kind` is extended to."""
    if WIDTHS[kind] == width:
        return {"b": "u"}.get(kind[0], kind[0]) + kind[1:] if kind[1:].isdigit() else kind
    return ("s" if kind.startswith("s") else "u") + str(width)


def _bits(number: Imm, width: int) -> int:
    """A number as it is held in a register of so many bits."""
    if not number.is_float or number.width == width:
        return number.bits
    value = np.array(number.bits, f"u{number.width // 8}").view(f"f{number.width // 8}")
    return int(value.astype(f"f{width // 8}").view(f"u{width // 8}"))


class Entry(NamedTuple):
    understand: Callable[[Op], Run]
    is_warp: bool


TABLE: dict[str, Entry] = {}


def does(*names: str, warp: bool = False) -> Callable[..., Any]:
    def add(function: Callable[[Op], Run]) -> Callable[[Op], Run]:
        for name in names:
            TABLE[name] = Entry(function, warp)
        return function

    return add


def understood(op: Op) -> tuple[Run, bool]:
    """What an instruction does, and whether the threads of a warp do it together."""
    entry = TABLE.get(op.instruction.name)
    if entry is None:
        raise op.wrong(f"an instruction that is not known here, {op.instruction.name}")
    run = entry.understand(op)
    op.finish()
    return run, entry.is_warp
