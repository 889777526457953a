"""PTX as data: what NVIDIA's assembler would read, read into functions and instructions.

Only the grammar is here.  What an instruction does, the table of `ptx_table.py` says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

WIDTHS = {"pred": 1, "b8": 8, "b16": 16, "b32": 32, "b64": 64, "b128": 128}
WIDTHS |= {f"{kind}{n}": n for kind in "us" for n in (8, 16, 32, 64)}
WIDTHS |= {"f16": 16, "bf16": 16, "f16x2": 32, "bf16x2": 32, "tf32": 32, "f32": 32, "f64": 64}
"""Bits of each type."""


class PtxError(Exception):
    """Text that is no PTX, or PTX that nobody here knows how to run."""


class Variable(NamedTuple):
    """Memory with a name: of a module, a function, or a call."""

    name: str
    space: str
    align: int
    nbytes: int
    """0 for an array without a size, which is as large as the launch says."""
    initial: bytes = b""


class Reg(NamedTuple):
    name: str


class Imm(NamedTuple):
    """A number as it is written: an int, or the bits of a float."""

    bits: int
    is_float: bool = False
    width: int = 64


class Name(NamedTuple):
    """A variable, a label or a function, and a distance from it."""

    name: str
    offset: int = 0


class Address(NamedTuple):
    base: Reg | Name | Imm
    offset: int = 0


class Several(NamedTuple):
    """Operands in braces or parentheses; None is one that is thrown away."""

    items: tuple[Operand | None, ...]


class Both(NamedTuple):
    """`p|q`: a result and another one."""

    first: Operand | None
    second: Operand | None


Operand = Reg | Imm | Name | Address | Several | Both


class Instruction(NamedTuple):
    name: str
    """Up to the first dot: "ld"."""
    parts: tuple[str, ...]
    """What comes after it: ("global", "v2", "f32")."""
    operands: tuple[Operand, ...]
    guard: str = ""
    """The predicate that it runs under, "" for none."""
    guard_is: bool = True
    text: str = ""


class Function(NamedTuple):
    name: str
    is_entry: bool
    params: tuple[Variable, ...]
    results: tuple[Variable, ...]
    directives: dict[str, int]
    """Such as "maxntid": the product of what is written behind it."""
    registers: dict[str, str]
    """The type of each."""
    variables: tuple[Variable, ...]
    code: tuple[Instruction, ...]
    labels: dict[str, int]
    """Before which instruction each is."""
    tables: dict[str, tuple[str, ...]]
    """Lists of labels to jump to."""


class Text(NamedTuple):
    version: tuple[int, int]
    target: str
    variables: tuple[Variable, ...]
    functions: dict[str, Function]

    def entry(self, name: str) -> Function | None:
        found = self.functions.get(name)
        return found if found is not None and found.is_entry else None


def read(text: str) -> Text:
    """Raises `PtxError` for what it does not know."""
    plain = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    head = dict(re.findall(r"^\.(version|target|address_size)\s+(\S+)", plain, re.MULTILINE))
    if "version" not in head or "target" not in head:
        raise PtxError("a module begins with .version and .target")
    if head.get("address_size") != "64":
        raise PtxError("addresses of 64 bits are all that is known here")
    major, _, minor = head["version"].partition(".")
    body = re.sub(r"^\.(version|target|address_size)[^\n]*", "", plain, flags=re.MULTILINE)
    variables: list[Variable] = []
    functions: dict[str, Function] = {}
    for header, inside in _declarations(body):
        if re.search(r"\.(entry|func)\b", header):
            if inside is not None:  # else it is told of only
                made = _function(header, inside)
                functions[made.name] = made
        else:
            variables.append(_variable(header))
    return Text((int(major), int(minor)), head["target"].rstrip(","), tuple(variables), functions)


def _declarations(body: str) -> Iterator[tuple[str, str | None]]:
    """What is declared in a module: a header, and what a function has between its braces."""
    at = _after_space(body, 0)
    while at < len(body):
        is_function = re.compile(r"[^;{=]*\.(entry|func)\b").match(body, at)
        end = re.compile(r"[;{]" if is_function else ";")
        found = end.search(body, at)
        if found is None:
            raise PtxError(f"nothing ends this: {body[at : at + 60]!r}")
        header, at = body[at : found.start()].strip(), found.end()
        if found[0] == ";":
            yield header, None
            at = _after_space(body, at)
            continue
        start, depth = at, 1
        while depth:
            brace = re.compile("[{}]").search(body, at)
            if brace is None:
                raise PtxError(f"no }} ends {header[:60]!r}")
            depth += 1 if brace[0] == "{" else -1
            at = brace.end()
        yield header, body[start : at - 1]
        at = _after_space(body, at)


_VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak)\s+)*\.(?P<space>global|const|shared|local|param)\s+"
    r"(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+"
    r"(?:\.ptr(?:\s+\.(?:global|shared|const|local))?(?:\s+\.align\s+\d+)?\s+)?"
    r"(?P<name>[\w$%.]+)\s*(?P<sizes>(?:\[\d*\])*)\s*(?:=\s*(?P<value>.*))?$",
    re.DOTALL,
)


def _variable(text: str) -> Variable:
    found = _VARIABLE.match(text.strip())
    if found is None or found["type"] not in WIDTHS:
        raise PtxError(f"no declaration that is known here: {text.strip()[:90]!r}")
    element = WIDTHS[found["type"]] // 8
    nbytes = element
    for size in re.findall(r"\[(\d*)\]", found["sizes"]):
        nbytes *= int(size or 0)
    initial = _initial(found["value"], element) if found["value"] else b""
    align = int(found["align"] or element)
    return Variable(found["name"], found["space"], align, nbytes, initial)


def _initial(text: str, element: int) -> bytes:
    words = re.findall(r"[^\s{},]+", text)
    return b"".join(
        (_literal(word).bits & ((1 << 8 * element) - 1)).to_bytes(element, "little")
        for word in words
    )


_HEADER = re.compile(
    r"(?:\.(?:visible|extern|weak)\s+)*\.(?P<kind>entry|func)\s*(?:\((?P<results>[^)]*)\))?\s*"
    r"(?P<name>[\w$]+)\s*(?:\((?P<params>[^)]*)\))?(?P<rest>.*)$",
    re.DOTALL,
)


def _function(header: str, inside: str) -> Function:
    found = _HEADER.match(header)
    if found is None:
        raise PtxError(f"no function that is known here: {header[:90]!r}")
    directives = {}
    for name, numbers in re.findall(r"\.(\w+)((?:\s+\d+\s*,?)*)", found["rest"]):
        directives[name] = 1
        for number in re.findall(r"\d+", numbers):
            directives[name] *= int(number)
    params, results = (
        tuple(_variable(one) for one in (found[which] or "").split(",") if one.strip())
        for which in ("params", "results")
    )
    body = _Body()
    body.read(inside)
    return Function(
        found["name"],
        found["kind"] == "entry",
        params,
        results,
        directives,
        body.registers,
        tuple(body.variables),
        tuple(body.code),
        body.labels,
        body.tables,
    )


_SPACE = re.compile(r"\s*")
_LABEL = re.compile(r"([\w$]+)\s*:(?!:)")
_BRANCHES = re.compile(r"\s*\.branchtargets\s+([^;]*);")


class _Body:
    """What lies between the braces of a function.  Names of an inner scope are made different from
    those of others: calls declare `param0` again and again."""

    def __init__(self) -> None:
        self.registers: dict[str, str] = {}
        self.variables: list[Variable] = []
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.tables: dict[str, tuple[str, ...]] = {}
        self._scopes: list[dict[str, str]] = [{}]
        self._count = 0

    def read(self, text: str) -> None:
        at = _after_space(text, 0)
        while at < len(text):
            if text[at] in "{}":
                self._scope(text[at] == "{")
                at += 1
            elif label := _LABEL.match(text, at):
                self.labels[label[1]] = len(self.code)
                at = label.end()
                if table := _BRANCHES.match(text, at):
                    self.tables[label[1]] = tuple(re.findall(r"[\w$]+", table[1]))
                    at = table.end()
            else:
                end = text.find(";", at)
                if end < 0:
                    raise PtxError(f"nothing ends this: {text[at : at + 60]!r}")
                self._statement(text[at:end].strip())
                at = end + 1
            at = _after_space(text, at)

    def _scope(self, begins: bool) -> None:
        if begins:
            self._scopes.append({})
        else:
            self._scopes.pop()

    def _declared(self, name: str) -> str:
        """What a name is called here: itself, outside of inner scopes."""
        if len(self._scopes) == 1:
            return name
        self._count += 1
        self._scopes[-1][name] = f"{name}@{self._count}"
        return self._scopes[-1][name]

    def _known(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), name)

    def _statement(self, text: str) -> None:
        if text.startswith(".reg"):
            self._registers(text)
        elif re.match(r"\.(pragma|loc|file)\b", text):
            pass
        elif text.startswith("."):
            made = _variable(text)
            self.variables.append(made._replace(name=self._declared(made.name)))
        elif text:
            self.code.append(self._instruction(text))

    def _registers(self, text: str) -> None:
        found = re.match(r"\.reg\s+\.(\w+)\s+(.*)$", text, re.DOTALL)
        if found is None or found[1] not in WIDTHS:
            raise PtxError(f"no registers that are known here: {text!r}")
        for name in found[2].split(","):
            several = re.match(r"\s*([\w%$]+)<(\d+)>\s*$", name)
            if several:
                names = [f"{several[1]}{i}" for i in range(int(several[2]))]
            else:
                names = [name.strip()]
            for one in names:
                self.registers[self._declared(one)] = found[1]

    def _instruction(self, text: str) -> Instruction:
        found = re.match(r"(?:@(!?)\s*([\w%$]+)\s+)?([\w.:]+)\s*(.*)$", text, re.DOTALL)
        if found is None:
            raise PtxError(f"no instruction: {text!r}")
        name, *parts = found[3].split(".")
        operands = tuple(self._operand(word) for word in _split(found[4]))
        if None in operands:
            raise PtxError(f"_ is no operand of its own: {text!r}")
        known: tuple[Operand, ...] = tuple(o for o in operands if o is not None)
        guard = self._known(found[2]) if found[2] else ""
        return Instruction(name, tuple(parts), known, guard, not found[1], " ".join(text.split()))

    def _operand(self, word: str) -> Operand | None:
        word = word.strip()
        if word == "_":
            return None
        if word[0] in "{(":
            return Several(tuple(self._operand(one) for one in _split(word[1:-1])))
        if word[0] == "[":
            return self._address(word[1:-1])
        if "|" in word:
            first, _, second = word.partition("|")
            return Both(self._operand(first), self._operand(second))
        if word[0].isdigit() or word[0] in "-+":
            return _literal(word)
        name, plus, offset = word.partition("+")
        known = self._known(name.strip())
        if known in self.registers or known.startswith("%"):
            return Reg(known)
        return Name(known, int(offset, 0) if plus else 0)

    def _address(self, text: str) -> Address:
        base, plus, offset = text.partition("+")
        operand = self._operand(base)
        if not isinstance(operand, (Reg, Name, Imm)):
            raise PtxError(f"no address: {text!r}")
        return Address(operand, int(offset, 0) if plus else 0)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _split(text: str) -> list[str]:
    """Operands between the commas that are in no braces."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "{([") - (letter in "})]")
        if letter == "," and not depth:
            parts.append(text[start:i])
            start = i + 1
    return [part for part in (*parts, text[start:]) if part.strip()]


def _literal(word: str) -> Imm:
    lower = word.lower()
    if lower.startswith("0f"):
        return Imm(_of_digits(lower[2:]), True, 32)
    if lower.startswith("0d"):
        return Imm(_of_digits(lower[2:]), True, 64)
    if "." in lower or ("e" in lower and not lower.startswith("0x")):
        return Imm(int.from_bytes(struct.pack("<d", float(lower)), "little"), True, 64)
    return Imm(int(lower.rstrip("u"), 0))


def _of_digits(digits: str) -> int:
    return int.from_bytes(bytes.fromhex(digits), "big")
