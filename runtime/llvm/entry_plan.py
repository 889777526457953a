"""The plan of a step for the native entry point: how it is called, as `entry_layout` says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim, Size
from graphc.ir import Type
from graphc.runtime.calling import (
    MISS,
    Calling,
    Fixed,
    Leaf,
    Output,
    Pattern,
    Result,
    container_kind,
)
from graphc.runtime.llvm import result_memory
from graphc.runtime.llvm.entry_layout import FIELD, Build, Match

_KINDS = {
    "tuple": Match.TUPLE,
    "list": Match.LIST,
    "dict": Match.DICT,
    "fields": Match.FIELDS,
}
"""Kind of container -> how the entry point walks it."""


class Plan:
    """The programs of a plan as words, and the objects whose addresses are in them.

    `names` are those of sizes without a number, in the order of a row.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names
        self.objects: list[Any] = []
        self.leaves = 0
        self.held = 0

    def address(self, known: Any) -> int:
        self.objects.append(known)
        return id(known)

    def match(self, pattern: Pattern) -> list[int]:
        if isinstance(pattern, Leaf):
            self.leaves += 1
            return self.leaf(pattern)
        if isinstance(pattern, Fixed):
            known = self.address(pattern.value)
            is_text = type(pattern.value) is str
            return [Match.EQUAL, id(str), known] if is_text else [Match.FIXED, known]
        kind = _KINDS[container_kind(pattern.kind)]
        self.held += len(pattern.parts)
        words = [kind, self.address(pattern.kind), len(pattern.parts)]
        for key, part in zip(pattern.keys, pattern.parts, strict=True):
            words += [self.address(key)] if kind in (Match.DICT, Match.FIELDS) else []
            words += self.match(part)
        return words

    def leaf(self, leaf: Leaf) -> list[int]:
        kind = self.address(leaf.kind)
        if leaf.same is not None:
            return [Match.SAME, kind, leaf.same]
        if leaf.kind is np.ndarray:
            return [Match.ARRAY, kind, *self.type(leaf.type)]
        if leaf.value is not None:
            return [Match.KNOWN, kind, self.address(leaf.value)]
        return [Match.INT if leaf.kind is int else Match.NUMBER, kind]

    def type(self, type: Type) -> list[int]:
        return [self.address(type.numpy_dtype), type.rank, *map(self.size, type.shape)]

    def size(self, size: Size) -> int:
        return -1 - self.names.index(str(size)) if isinstance(size, Dim) else size

    def build(self, output: Output, results: Sequence[Type]) -> list[int]:
        if isinstance(output, Fixed):
            return [Build.FIXED, self.address(output.value)]
        if isinstance(output, Result):
            if output.is_argument:
                return [Build.ARGUMENT, output.number]
            type = results[output.number]
            if type.shape:
                return [Build.RESULT, output.number]
            return [Build.SCALAR, output.number, self.address(type.numpy_dtype)]
        kinds = {tuple: Build.TUPLE, list: Build.LIST, dict: Build.DICT}
        count = len(output.parts)
        if output.kind in kinds:
            words = [kinds[output.kind], count]
        else:
            words = [Build.CALL, self.address(output.kind), count]
        for key, part in zip(output.keys, output.parts, strict=True):
            words += [self.address(key)] if output.kind is dict else []
            words += self.build(part, results)
        return words


def plan_words(
    calling: Calling,
    results: Sequence[Type],
    constants: Sequence[np.ndarray],
    step: int,
    arena: np.ndarray,
    names: Sequence[str] = (),
) -> tuple[np.ndarray, list[Any]]:
    """The plan of a step, and what must live as long as it does."""
    plan = Plan(names)
    patterns = [*calling.positional, *(pattern for _, pattern in calling.keywords)]
    programs = {
        "match": [word for pattern in patterns for word in plan.match(pattern)],
        "types": [word for type in results if not names for word in plan.type(type)],
        "build": plan.build(calling.returns, results),
        "keyword_names": [plan.address(name) for name, _ in calling.keywords],
        "constant_table": [array.ctypes.data for array in constants],
    }
    header = {
        "step": step,
        "arena": arena.ctypes.data,
        "busy": 0,
        "keeps_gil": int(calling.keeps_gil),
        "positional": len(calling.positional),
        "keywords": len(calling.keywords),
        "leaves": plan.leaves,
        "held": plan.held,
        "results": len(results),
        "constants": len(constants),
        "symbols": len(names),
        "miss": id(MISS),
        "ndarray": id(np.ndarray),
        **memory_words([] if names else results),
    }
    words = np.zeros(len(FIELD) + sum(map(len, programs.values())), np.int64)
    place = len(FIELD)
    for name, program in programs.items():
        words[place : place + len(program)] = program
        header[name] = words.ctypes.data + 8 * place
        place += len(program)
    for name, value in header.items():
        words[FIELD[name]] = value
    return words, [*plan.objects, *constants, arena]


def memory_words(results: Sequence[Type]) -> dict[str, int]:
    if not any(map(result_memory.is_large, results)):
        return {}
    memory = result_memory.load()
    return {"handler": id(memory.handler), "usual_handler": id(memory.usual)}
