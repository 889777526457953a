"""The native entry point: a built-in function, made of our own machine code, that runs a step.

It takes the leaves of the arguments.  It compares each with what the step was compiled for (an
ndarray's class, dtype, rank, shape and flags; a number's class), makes the result arrays, releases
the GIL, runs the step and returns the results, without Python in between: a few hundred
nanoseconds.  Whatever does not fit gives `MISS`, and the caller takes the slow path, which converts
or explains.

The layout of NumPy's array object is part of its binary interface; it is checked on real arrays
before it is relied on.  Where it differs there is no entry point: every call takes the slow path.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import Type
from graphc.runtime.llvm.builder import Function, Module, Reg, constant

ENTRY = "python_entry"

MISS = NotImplemented
"""What the entry point gives for arguments that are not for it, and for a step that failed."""

RESERVED = 64
"""Bytes before the arena proper; the first eight hold the value of a failed check."""

_METH_FASTCALL = 0x80
_PYTHON_API = (
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyLong_AsLongLongAndOverflow",
    "PyTuple_New",
    "PyTuple_SetItem",
    "Py_IncRef",
    "Py_DecRef",
)
_NUMPY_API = {"PyArray_NewFromDescr": 94, "PyArray_Scalar": 60}
"""NumPy's C functions by their place in its table, which is the same in every version."""

_DATA, _RANK, _SHAPE, _STRIDES, _DTYPE, _FLAGS = 16, 24, 32, 40, 56, 64
"""Offsets of the fields of an array object (PyArrayObject)."""
_CLASS = 8
"""Offset of the class in any object."""
_NUMBER = 16
"""Where a Python float and NumPy's scalars keep their number (ob_fval, obval)."""
_CARRAY = 0x0501
"""Flags of an array in row-major order, aligned and writable."""


class Leaf(NamedTuple):
    """What the entry point expects of an argument: an object of exactly this class and type."""

    kind: type
    type: Type


class Calling(NamedTuple):
    """How a step is called: its arguments, and what it returns.

    `returns` are results by number, or, where the flag is set, arguments that are given back;
    `alone` returns the only one itself rather than in a tuple.  With `keeps_gil`, no other Python
    thread runs meanwhile: for steps that take less time than handing the GIL over and back.
    """

    arguments: tuple[Leaf, ...]
    returns: tuple[tuple[int, bool], ...]
    alone: bool
    keeps_gil: bool = False


@functools.cache
def is_supported() -> bool:
    """Whether objects are laid out as this file assumes."""
    arrays: list[np.ndarray] = [
        np.empty((2, 3, 5), np.float32)[:, 1:],
        np.empty((7, 2), np.int64),
        np.empty(4, np.bool_),
        np.empty((1, 1, 3, 2))[..., ::2],
    ]
    scalars = [np.float32(0.1), np.float64(0.1), np.int32(7), np.int64(7), np.bool_(True), 0.1]
    return all(_is_laid_out(a) for a in arrays) and all(_keeps_number(x) for x in scalars)


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _is_laid_out(array: np.ndarray) -> bool:
    at = id(array)
    known = (
        _word(at + _CLASS) == id(np.ndarray)
        and _word(at + _DATA) == array.ctypes.data
        and ctypes.c_int.from_address(at + _RANK).value == array.ndim
        and _word(at + _DTYPE) == id(array.dtype)
        and ctypes.c_int.from_address(at + _FLAGS).value == array.flags.num
    )
    if not known or _word(at + _STRIDES) - _word(at + _SHAPE) != 8 * array.ndim:
        return False
    sizes = (ctypes.c_ssize_t * array.ndim).from_address(_word(at + _SHAPE))
    return tuple(sizes) == array.shape


def _keeps_number(number: Any) -> bool:
    raw = np.array(number)
    return ctypes.string_at(id(number) + _NUMBER, raw.nbytes) == raw.tobytes()


# ---- emitting ------------------------------------------------------------------------------------


def emit_entry(
    module: Module, step: str, calling: Calling, results: Sequence[Type], constants: Sequence[int]
) -> None:
    """Add the entry point of `step`: PyObject *(PyObject *self, PyObject **args, Py_ssize_t n).

    `constants` are the addresses of the step's constant arrays.  The arena is the memory at
    `@arena`, used by one thread at a time: a second caller is sent to the slow path.
    """
    _declare(module)
    _EntryEmitter(module, step, calling, results, constants).emit()


def _declare(module: Module) -> None:
    for name, result, parameters in (
        ("PyEval_SaveThread", "ptr", []),
        ("PyEval_RestoreThread", "void", ["ptr"]),
        ("PyLong_AsLongLongAndOverflow", "i64", ["ptr", "ptr"]),
        ("PyTuple_New", "ptr", ["i64"]),
        ("PyTuple_SetItem", "i32", ["ptr", "i64", "ptr"]),
        ("Py_IncRef", "void", ["ptr"]),
        ("Py_DecRef", "void", ["ptr"]),
        ("PyArray_NewFromDescr", "ptr", ["ptr", "ptr", "i32", "ptr", "ptr", "ptr", "i32", "ptr"]),
        ("PyArray_Scalar", "ptr", ["ptr", "ptr", "ptr"]),
    ):
        module.declare(name, result, parameters)
    module.tables["arena"] = "@arena = global ptr null\n@busy = internal global i8 0"


class _EntryEmitter:
    def __init__(
        self,
        module: Module,
        step: str,
        calling: Calling,
        results: Sequence[Type],
        constants: Sequence[int],
    ):
        self.module = module
        self.step = step
        self.calling = calling
        self.results = results
        self.constants = constants
        parameters = [Reg("%self", "ptr"), Reg("%args", "ptr"), Reg("%count", "i64")]
        self.f = Function(module, ENTRY, parameters, "ptr", linkage="")

    def emit(self) -> None:
        f = self.f
        slots = len(self.calling.arguments) + len(self.results) + len(self.constants)
        table = f.let(f"alloca [{max(slots, 1)} x ptr], align 16", "ptr")
        numbers = f.let(f"alloca [{max(slots, 1)} x i64], align 16", "ptr")
        overflow = f.let("alloca i32, align 4", "ptr")
        self.require(f.icmp("eq", Reg("%count", "i64"), self.number(len(self.calling.arguments))))
        objects = [
            self.load(Reg("%args", "ptr"), 8 * i) for i in range(len(self.calling.arguments))
        ]
        for i, (leaf, item) in enumerate(zip(self.calling.arguments, objects, strict=True)):
            self.put(table, i, self.argument(leaf, item, numbers, i, overflow))
        self.take_arena()
        arrays: dict[int, Reg] = {}
        slot = len(objects)
        for i, type in enumerate(self.results):
            data = f.offset(numbers, "i64", self.number(slot))
            if type.shape:
                arrays[i] = self.make_array(type, list(arrays.values()))
                data = self.load(arrays[i], _DATA)
            self.put(table, slot, data)
            slot += 1
        for address in self.constants:
            self.put(table, slot, f.let(f"inttoptr i64 {address} to ptr", "ptr"))
            slot += 1
        made = list(arrays.values())
        holder = None if self.calling.alone else self.make_tuple(made)
        self.run(table, made if holder is None else [*made, holder])
        f.line(f"ret ptr {self.returned(objects, arrays, numbers, holder).text}")
        f.label("miss")
        f.line(f"ret ptr {self.missed().text}")
        self.module.add(f)

    # ---- small pieces ----------------------------------------------------------------------------

    def number(self, value: int, elem: str = "i64") -> Reg:
        return constant(value, elem)

    def load(self, base: Reg, offset: int, elem: str = "ptr") -> Reg:
        address = self.f.offset(base, "i8", self.number(offset))
        return self.f.let(f"load {elem}, ptr {address.text}", elem)

    def put(self, table: Reg, slot: int, pointer: Reg) -> None:
        address = self.f.offset(table, "ptr", self.number(slot))
        self.f.line(f"store ptr {pointer.text}, ptr {address.text}")

    def require(self, condition: Reg) -> None:
        """Leave for the slow path unless `condition` holds."""
        following = self.f.name_of("fits")
        self.f.branch_if(condition, following, "miss")
        self.f.label(following)

    def is_object(self, pointer: Reg, known: object) -> Reg:
        address = self.f.let(f"ptrtoint ptr {pointer.text} to i64", "i64")
        return self.f.icmp("eq", address, self.number(id(known)))

    def object(self, known: object) -> Reg:
        return self.f.let(f"inttoptr i64 {id(known)} to ptr", "ptr")

    def missed(self) -> Reg:
        miss = self.object(MISS)
        self.f.call("Py_IncRef", [miss])
        return miss

    # ---- arguments -------------------------------------------------------------------------------

    def argument(self, leaf: Leaf, item: Reg, numbers: Reg, i: int, overflow: Reg) -> Reg:
        """The address of an argument's elements, once it is known to be what was compiled for."""
        f = self.f
        self.require(self.is_object(self.load(item, _CLASS), leaf.kind))
        if leaf.kind is np.ndarray:
            self.require_layout(leaf, item)
            return self.load(item, _DATA)
        if leaf.kind is not int:
            return f.offset(item, "i8", self.number(_NUMBER))
        slot = f.offset(numbers, "i64", self.number(i))
        f.store(f.call("PyLong_AsLongLongAndOverflow", [item, overflow], "i64"), slot)
        flag = f.load(overflow, "i32")
        self.require(f.icmp("eq", flag, f.const(0, flag)))
        return slot

    def require_layout(self, leaf: Leaf, item: Reg) -> None:
        f = self.f
        fits = self.is_object(self.load(item, _DTYPE), leaf.type.numpy_dtype)
        rank = self.load(item, _RANK, "i32")
        fits = f.and_(fits, f.icmp("eq", rank, f.const(leaf.type.rank, rank)))
        flags = self.load(item, _FLAGS, "i32")
        plain = f.and_(flags, f.const(_CARRAY, flags))
        self.require(f.and_(fits, f.icmp("eq", plain, f.const(_CARRAY, plain))))
        shape = self.load(item, _SHAPE)
        sizes = [self.load(shape, 8 * axis, "i64") for axis in range(leaf.type.rank)]
        for size, expected in zip(sizes, leaf.type.shape, strict=True):
            self.require(f.icmp("eq", size, self.number(expected)))

    # ---- running ---------------------------------------------------------------------------------

    def take_arena(self) -> None:
        """Mark the arena as taken; whoever finds it taken goes the slow way."""
        f = self.f
        pair = f.name_of("%taken")
        f.line(f"{pair} = cmpxchg ptr @busy, i8 0, i8 1 acquire monotonic")
        self.require(f.let(f"extractvalue {{ i8, i1 }} {pair}, 1", "i1"))

    def make_array(self, type: Type, earlier: Sequence[Reg]) -> Reg:
        """A fresh array; it takes over a reference to the dtype.  MemoryError if there is none."""
        f = self.f
        shape = self.module.table(f"shape_{'x'.join(map(str, type.shape))}", "i64", type.shape)
        dtype = self.object(type.numpy_dtype)
        f.call("Py_IncRef", [dtype])
        null = Reg("null", "ptr")
        no_flags = self.number(0, "i32")
        rank = self.number(type.rank, "i32")
        ndarray = self.object(np.ndarray)
        arguments = [ndarray, dtype, rank, shape, null, null, no_flags, null]
        array = f.call("PyArray_NewFromDescr", arguments, "ptr")
        self.require_memory(array, earlier)
        return array

    def make_tuple(self, earlier: Sequence[Reg]) -> Reg:
        """The tuple of results, empty as yet; made before the step runs, while failing is free."""
        size = self.number(len(self.calling.returns))
        holder = self.f.call("PyTuple_New", [size], "ptr")
        self.require_memory(holder, earlier)
        return holder

    def require_memory(self, made: Reg, earlier: Sequence[Reg]) -> None:
        """Hand on the MemoryError that left `made` null."""
        f = self.f
        failed, fine = f.name_of("no_memory"), f.name_of("made")
        f.branch_if(f.icmp("eq", made, Reg("null", "ptr")), failed, fine)
        f.label(failed)
        self.give_arena_back()
        self.drop(earlier)
        f.line("ret ptr null")
        f.label(fine)

    def drop(self, objects: Sequence[Reg]) -> None:
        for item in objects:
            self.f.call("Py_DecRef", [item])

    def give_arena_back(self) -> None:
        self.f.line("store atomic i8 0, ptr @busy release, align 1")

    def run(self, table: Reg, made: Sequence[Reg]) -> None:
        """Run the step; if it fails, the slow path runs it again and explains."""
        f = self.f
        keeps_gil = self.calling.keeps_gil
        block = self.f.let("load ptr, ptr @arena", "ptr")
        arena = f.offset(block, "i8", self.number(RESERVED))
        state = None if keeps_gil else f.call("PyEval_SaveThread", [], "ptr")
        status = f.call(self.step, [table, arena, block], "i64")
        if state is not None:
            f.call("PyEval_RestoreThread", [state])
        self.give_arena_back()
        failed, passed = f.name_of("failed"), f.name_of("passed")
        f.branch_if(f.icmp("eq", status, self.number(0)), passed, failed)
        f.label(failed)
        self.drop(made)
        f.branch("miss")
        f.label(passed)

    def returned(
        self,
        objects: Sequence[Reg],
        arrays: Mapping[int, Reg],
        numbers: Reg,
        holder: Reg | None,
    ) -> Reg:
        """The results in the order of the leaves; one without axes becomes a NumPy scalar."""
        f = self.f
        leaves = []
        for index, is_argument in self.calling.returns:
            if is_argument:
                f.call("Py_IncRef", [objects[index]])
                leaves.append(objects[index])
            elif index in arrays:
                leaves.append(arrays[index])
            else:
                data = f.offset(numbers, "i64", self.number(len(objects) + index))
                dtype = self.object(self.results[index].numpy_dtype)
                scalar = f.call("PyArray_Scalar", [data, dtype, Reg("null", "ptr")], "ptr")
                failed, made = f.name_of("no_memory"), f.name_of("made")
                f.branch_if(f.icmp("eq", scalar, Reg("null", "ptr")), failed, made)
                f.label(failed)
                f.line("ret ptr null")
                f.label(made)
                leaves.append(scalar)
        if holder is None:
            return leaves[0]
        for i, leaf in enumerate(leaves):
            f.call("PyTuple_SetItem", [holder, self.number(i), leaf], "i32")
        return holder


# ---- from address to function --------------------------------------------------------------------


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def c_symbols() -> dict[str, int]:
    """The addresses of the C functions that an entry point calls."""
    python = {
        name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        for name in _PYTHON_API
    }
    table = _numpy_table()
    return python | {name: table[place] for name, place in _NUMPY_API.items()}


def _numpy_table() -> Any:
    """NumPy's table of C functions, as any extension module finds it."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    return (ctypes.c_size_t * (max(_NUMPY_API.values()) + 1)).from_address(get(capsule, None))


def builtin_function(address: int) -> tuple[Callable[..., Any], Any]:
    """The machine code at `address` as a Python function, and what must live as long as it does."""
    definition = _MethodDef(b"step", address, _METH_FASTCALL, b"a compiled step")
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return make(ctypes.addressof(definition), None, None), definition
