"""A module of PTX as something that runs: instructions understood, names as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import ptx_accesses
import ptx_choices
import ptx_floats
import ptx_moves
import ptx_tensor
import ptx_whole
from ptx_table import Linker, Mask, Op, Run, understood
from ptx_text import (
    WIDTHS,
    Function,
    Imm,
    Instruction,
    Name,
    PtxError,
    Reg,
    Several,
    Text,
    Variable,
)
from ptx_threads import SPECIAL, Threads

TABLES = (ptx_accesses, ptx_choices, ptx_floats, ptx_moves, ptx_tensor, ptx_whole)
"""The files whose entries are known; whoever writes another one adds it."""

Outside = Mapping[str, Callable[..., None]]

SHARED_START = 1024
"""Where shared memory begins: devices keep what is below it to themselves."""


class Step(NamedTuple):
    """One instruction."""

    kind: str
    """"plain", "warp", or what it does with the threads themselves: "branch", "switch", "call",
    "return", "barrier", "trap"."""
    text: str
    run: Run | None = None
    guard: int | None = None
    """The row of the predicate that it runs under."""
    guard_is: bool = True
    jump: tuple[int, ...] = ()
    """Where a branch or a call goes."""
    row: int = 0
    """Of a switch, which register says where to; of what a warp does together, whose mask."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Of a call, which parameters are copied into which; of a return, the results."""
    takes: tuple[tuple[str, str], ...] = ()


class Variables:
    """The variables of a module in memory of this machine."""

    def __init__(self, text: Text):
        self.addresses: dict[str, int] = {}
        self.ranges: list[tuple[int, int]] = []
        self._held: list[np.ndarray] = []
        for variable in text.variables:
            if variable.space in ("global", "const"):
                self._put(variable)
            elif variable.space != "shared":
                raise PtxError(f"a variable of .{variable.space} outside of functions")

    def _put(self, variable: Variable) -> None:
        align = max(variable.align, 16)
        data = np.zeros(variable.nbytes + align, np.uint8)
        start = -data.ctypes.data % align
        data[start : start + len(variable.initial)] = np.frombuffer(variable.initial, np.uint8)
        self._held.append(data)
        self.addresses[variable.name] = data.ctypes.data + start
        self.ranges.append((data.ctypes.data + start, variable.nbytes))


class Code:
    """The instructions of an entry and of the functions that it calls, one after the other."""

    def __init__(self, text: Text, entry: str, addresses: dict[str, int], outside: Outside):
        self.text = text
        self.outside = outside
        self.functions = [text.functions[name] for name in reached(text, entry)]
        self.linker = Linker()
        self.linker.addresses.update(addresses)
        for name in SPECIAL:
            self.linker.add(name, "u32")
        self.starts: dict[str, int] = {}
        self.steps: list[Step] = []
        self.local_bytes = 0
        self.shared_bytes = SHARED_START
        """To the end of what the code declares."""
        self.granule = 8
        """Bytes of the narrowest access."""
        for variable in text.variables:
            if variable.space == "shared":
                self._put_shared(variable.name, variable)
        for function in self.functions:
            self._declare(function)
        for function in self.functions:
            self.starts[function.name] = len(self.steps)
            self.steps += [Step("trap", "")] * (len(function.code) + 1)
        for function in self.functions:
            self._link(function)

    # ---- variables -------------------------------------------------------------------------------

    def _put_shared(self, name: str, variable: Variable) -> None:
        start = -(-self.shared_bytes // variable.align) * variable.align
        self.linker.addresses[name] = start
        self.shared_bytes = start + variable.nbytes

    def _declare(self, function: Function) -> None:
        scope = f"{function.name}:"
        for register, kind in function.registers.items():
            self.linker.add(scope + register, kind)
        for variable in (*function.params, *function.results):
            name = variable.name if function.is_entry else scope + variable.name
            self.linker.params[name] = variable.nbytes
        for variable in function.variables:
            name = scope + variable.name
            if variable.space == "shared":
                self._put_shared(name, variable)
            elif variable.space == "local":
                start = -(-self.local_bytes // variable.align) * variable.align
                self.linker.addresses[name] = start
                self.local_bytes = start + variable.nbytes
            elif variable.space == "param":
                self.linker.params[name] = variable.nbytes
            else:
                raise PtxError(f"{variable.name}: a variable of .{variable.space} in a function")

    # ---- instructions ----------------------------------------------------------------------------

    def _link(self, function: Function) -> None:
        start = self.starts[function.name]
        for i, instruction in enumerate(function.code):
            self.steps[start + i] = self._step(function, instruction)
        end = start + len(function.code)
        self.steps[end] = self._return(function, "the end of the function")

    def _step(self, function: Function, instruction: Instruction) -> Step:
        special = CONTROL.get(instruction.name)
        if special is not None:
            step = special(self, function, instruction)
        else:
            op = Op(instruction, self.linker, function.name)
            self._look_at(instruction)
            run, is_warp = understood(op)
            step = Step("warp" if is_warp else "plain", instruction.text, run)
            if is_warp:
                step = step._replace(row=self._mask(op))
        if instruction.guard:
            op = Op(instruction, self.linker, function.name)
            guard = op.place(Reg(instruction.guard), 1).row
            step = step._replace(guard=guard, guard_is=instruction.guard_is)
        return step

    def _look_at(self, instruction: Instruction) -> None:
        if instruction.name in ("cp", "ldmatrix"):
            self.granule = min(self.granule, 4)
        elif instruction.name in ("ld", "st", "atom", "red") and "param" not in instruction.parts:
            width = WIDTHS.get(instruction.parts[-1], 8) // 8
            self.granule = min(self.granule, width)

    def _mask(self, op: Op) -> int:
        """The row of the mask of an instruction of a warp: its last operand, if it has one."""
        if op.instruction.name in WHOLE_WARP:
            return self.linker.number(0xFFFFFFFF, 32).row
        return op.place(op.operands[-1], 32).row

    # ---- control ---------------------------------------------------------------------------------

    def _target(self, function: Function, label: str) -> int:
        if label not in function.labels:
            raise PtxError(f"no label {label} in {function.name}")
        return self.starts[function.name] + function.labels[label]

    def branch(self, function: Function, instruction: Instruction) -> Step:
        match instruction.operands:
            case (Name(label),) if instruction.parts in ((), ("uni",)):
                jump = (self._target(function, label),)
                return Step("branch", instruction.text, jump=jump)
        raise PtxError(f"a branch that is not known here: {instruction.text}")

    def switch(self, function: Function, instruction: Instruction) -> Step:
        match instruction.operands:
            case (register, Name(table)) if table in function.tables:
                row = Op(instruction, self.linker, function.name).place(register, 32).row
                jump = tuple(self._target(function, label) for label in function.tables[table])
                return Step("switch", instruction.text, row=row, jump=jump)
        raise PtxError(f"a branch that is not known here: {instruction.text}")

    def call(self, function: Function, instruction: Instruction) -> Step:
        results, name, given = _call_operands(instruction)
        if name in self.outside and not results:
            names = [f"{function.name}:{one}" for one in given]
            return Step("plain", instruction.text, _told_outside(self.outside[name], names))
        called = self.text.functions.get(name)
        if called is None or called.is_entry or len(given) != len(called.params):
            raise PtxError(f"a call that is not known here: {instruction.text}")
        scope, inner = f"{function.name}:", f"{name}:"
        pairs = [(scope + one, inner + p.name) for one, p in zip(given, called.params, strict=True)]
        back = [(inner + p.name, scope + one) for one, p in zip(results, called.results)]
        for one, other in (*pairs, *back):
            if self.linker.params[one] != self.linker.params[other]:
                raise PtxError(f"parameters of different sizes: {instruction.text}")
        jump = (self.starts[name],)
        return Step("call", instruction.text, jump=jump, pairs=tuple(pairs), takes=tuple(back))

    def _return(self, function: Function, text: str) -> Step:
        return Step("exit" if function.is_entry else "return", text)

    def barrier(self, function: Function, instruction: Instruction) -> Step:
        parts = [p for p in instruction.parts if p not in ("cta", "aligned", "sync")]
        match instruction.operands:
            case (Imm(),) if not parts and "sync" in instruction.parts:
                return Step("barrier", instruction.text)
            case (mask,) if parts == ["warp"] and "sync" in instruction.parts:
                row = Op(instruction, self.linker, function.name).place(mask, 32).row
                return Step("warp", instruction.text, _wait_for_warp, row=row)
        raise PtxError(f"a barrier that is not known here: {instruction.text}")


def reached(text: Text, entry: str) -> list[str]:
    """A function and those that it calls, in the order of the text."""
    seen, left = {entry}, [entry]
    while left:
        for instruction in text.functions[left.pop()].code:
            if instruction.name == "call":
                _, name, _ = _call_operands(instruction)
                if name in text.functions and name not in seen:
                    seen.add(name)
                    left.append(name)
    return [name for name in text.functions if name in seen]


WHOLE_WARP = {"mma", "ldmatrix"}
"""What all threads of a warp do together without saying so."""


def _told_outside(function: Callable[..., None], names: list[str]) -> Run:
    """Have this machine do something for each thread, with its parameters."""

    def run(t: Threads, m: Mask) -> None:
        for lane in t.lane if m is True else np.flatnonzero(m):
            function(*(int.from_bytes(t.frames[name][lane].tobytes(), "little") for name in names))

    return run


def _wait_for_warp(t: Threads, m: Mask) -> None:
    t.waited(m)


def _call_operands(instruction: Instruction) -> tuple[list[str], str, list[str]]:
    """The variables of the results, the function, those of the arguments."""
    lists: list[list[str]] = [[]]
    name = ""
    for operand in instruction.operands:
        if isinstance(operand, Several):
            lists.append([one.name for one in operand.items if isinstance(one, Name)])
        elif isinstance(operand, Name) and not name:
            name = operand.name
            lists.append([])
        else:
            raise PtxError(f"a call that is not known here: {instruction.text}")
    at = 1 if isinstance(instruction.operands[0], Several) else 0
    results = lists[1] if at else []
    return results, name, lists[-1]


Control = Callable[[Code, Function, Instruction], Step]
CONTROL: dict[str, Control] = {
    "bra": Code.branch,
    "brx": Code.switch,
    "call": Code.call,
    "ret": lambda code, function, i: code._return(function, i.text),
    "exit": lambda code, function, i: Step("exit", i.text),
    "bar": Code.barrier,
    "barrier": Code.barrier,
    "trap": lambda code, function, i: Step("trap", i.text),
}
"""What threads do with themselves, by name."""
