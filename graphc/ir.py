"""The intermediate representation: what a graph is.

A graph is in A-normal form: every intermediate value has a name (`Var`), every operation is one
equation (`Eqn`), and a `Graph` is closed: it reads its own parameters and nothing else.  All of it
is frozen.  Equations that hold graphs (`cond`, `while`, `scan`, `fused`) keep them among their
attributes, so that every pass recurses by the same helper, `map_subgraphs`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.dims import Shape, Size

if TYPE_CHECKING:
    from graphc.build import Value


class _NumpyDtypes(dict[str, np.dtype]):
    """Names and dtypes; that of bf16 is ml_dtypes', which is imported when it is asked for."""

    def __missing__(self, name: str) -> np.dtype:
        if name != "bf16":
            raise KeyError(name)
        return bfloat16()


@functools.cache
def bfloat16() -> np.dtype:
    """NumPy's dtype for bf16.  Raises `errors.DTypeError` where ml_dtypes is not installed."""
    from graphc import errors

    try:
        import ml_dtypes
    except ImportError:
        raise errors.DTypeError(
            "arrays of bf16 need the package ml_dtypes: pip install graphc-compiler[bfloat16]"
        ) from None
    found: np.dtype = np.dtype(ml_dtypes.bfloat16)
    return found


class _DtypeNames(dict[np.dtype, str]):
    """The names of dtypes; the dtype of bf16 is known by its own name, without an import."""

    def __missing__(self, dtype: np.dtype) -> str:
        if dtype.kind == "V" and dtype.name == "bfloat16":
            return "bf16"
        raise KeyError(dtype)

    def __contains__(self, dtype: object) -> bool:
        return self.get(dtype) is not None

    def get(self, dtype: Any, default: Any = None) -> Any:
        try:
            return self[dtype]
        except KeyError:
            return default


NUMPY_DTYPES: Mapping[str, np.dtype] = _NumpyDtypes(
    {
        "f32": np.dtype(np.float32),
        "f64": np.dtype(np.float64),
        "f16": np.dtype(np.float16),
        "i8": np.dtype(np.int8),
        "i16": np.dtype(np.int16),
        "i32": np.dtype(np.int32),
        "i64": np.dtype(np.int64),
        "u8": np.dtype(np.uint8),
        "u16": np.dtype(np.uint16),
        "u32": np.dtype(np.uint32),
        "u64": np.dtype(np.uint64),
        "bool": np.dtype(np.bool_),
        "c64": np.dtype(np.complex64),
        "c128": np.dtype(np.complex128),
    }
)
"""The NumPy dtype that a dtype of the language means: listed are those that NumPy has itself."""

DTYPE_NAMES: Mapping[np.dtype, str] = _DtypeNames({v: k for k, v in NUMPY_DTYPES.items()})
DTYPES = (*list(NUMPY_DTYPES)[:3], "bf16", *list(NUMPY_DTYPES)[3:])
"""Every dtype of the language."""

NARROW = frozenset({"f16", "bf16"})
"""The floats that are stored in 16 bits and computed with in f32."""
FLOATS = NARROW | {"f32", "f64"}
DIFFERENTIABLE = FLOATS | {"tape"}
"""The dtypes of values that have cotangents; that of a tape is a tape."""
SIGNED = frozenset({"i8", "i16", "i32", "i64"})
UNSIGNED = frozenset({"u8", "u16", "u32", "u64"})
INTS = SIGNED | UNSIGNED
INT_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
        for name, kind in NUMPY_DTYPES.items()
        if name in INTS
    }
)
"""The least and the greatest number of each integer dtype."""


def widest(dtype: str) -> str:
    """The dtype of 64 bits in which NumPy adds up integers (and bools) of `dtype`."""
    return "u64" if dtype in UNSIGNED else "i64"


PARTS: Mapping[str, str] = MappingProxyType({"c64": "f32", "c128": "f64"})
"""A complex dtype -> the dtype of its real and of its imaginary part.

Values of these exist in a graph as it was traced.  Derivatives and kernels know pairs of real ones:
`passes/complex_pairs.py` has replaced them before.
"""
WHOLES: Mapping[str, str] = MappingProxyType({part: whole for whole, part in PARTS.items()})
COMPLEXES = frozenset(PARTS)
INEXACT = FLOATS | COMPLEXES

ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {**{name: dtype.itemsize for name, dtype in NUMPY_DTYPES.items()}, "bf16": 2, "tape": 8}
)


@dataclass(frozen=True, slots=True)
class Type:
    """The dtype (`"f32"`) and shape of a value.  Prints as `f32[64,1000]`, `f32[2*B+1,10]`.

    The entries of a shape are ints or symbolic (`graphc.dims.Size`; to a type checker anything,
    since most code does with a symbolic size what it does with an int).
    """

    dtype: str
    shape: tuple[Any, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Any:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(object) if self.dtype == "tape" else NUMPY_DTYPES[self.dtype]

    @property
    def nbytes(self) -> Any:
        return self.size * ITEM_BYTES[self.dtype]

    def with_shape(self, shape: Shape) -> Type:
        return Type(self.dtype, tuple(shape))

    def with_dtype(self, dtype: str) -> Type:
        return Type(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(size_text, self.shape))}]"


def size_text(size: Size) -> str:
    """A size as types and attributes write it: `2*B+1`."""
    return str(size).replace(" ", "")


TAPE = Type("tape")
"""The type of tapes (`graphc.ops.tape`): a dtype that no array outside of a graph has."""


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's source: the file as it is printed, and the line, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, eq=False, slots=True)
class Var:
    """A value with a name.  Two variables are equal only if they are the same object.

    `hint` is what the user called it; the printer uses it where it is free.
    """

    type: Type
    hint: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Lit:
    """A number known to the compiler, repeated over a whole shape: `Lit(0.5, f32[64,10])`.

    Compares by dtype, shape and bits: 0.0 and -0.0 differ, and NaN equals itself.
    """

    value: bool | int | float
    type: Type

    def key(self) -> tuple[object, ...]:
        value = self.value
        return (value.hex() if isinstance(value, float) else value, self.type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lit) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())


Atom = Var | Lit


class Dense:
    """An array constant inside a graph: a private, read-only copy.  Compares by bits."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray):
        copy = np.array(array, order="C", copy=True)
        copy.flags.writeable = False
        self.array = copy

    @property
    def type(self) -> Type:
        return Type(DTYPE_NAMES[self.array.dtype], self.array.shape)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Dense)
            and self.type == other.type
            and self.array.tobytes() == other.array.tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.type, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"Dense({self.type})"


@dataclass(frozen=True, eq=False)
class Op:
    """One operation, defined once; every part of graphc reads this definition.

    infer      `infer(*types, **attrs)` -> the output types; raises a `graphc.errors` class.
    reference  `reference(*arrays, **attrs)` -> the value, in NumPy: the living definition.
               An op with several outputs returns a tuple; one without outputs returns `()`.
    vjp        `vjp(g, out, *ins, **attrs)` on `graphc.build.Value`s -> one cotangent (or None)
               for each input.  None where the op has no gradient (integers, booleans); an
               `errors.GradientError` where there is one that nobody knows, raised where it is
               wanted.
               For an op with several outputs, `g` and `out` are tuples.
    elementwise  inputs and output have one shape, and element i of the output needs only
               elements i of the inputs.
    native     runs as a routine of its own on contiguous memory: sorting, running sums, LAPACK.
    effect     what it does beside its value ("check": may raise), or None.  An equation with an
               effect is never dropped, duplicated or moved into or out of a conditional.
    """

    name: str
    infer: Callable[..., tuple[Type, ...]]
    reference: Callable[..., Any]
    vjp: Callable[..., tuple[Any, ...]] | None = None
    elementwise: bool = False
    native: bool = False
    effect: str | None = None
    doc: str = ""

    def __repr__(self) -> str:
        return f"Op({self.name})"

    def __call__(self, *ins: Any, **attrs: Any) -> Value:
        """Emit this op on `graphc.build.Value`s, into the builder of the first of them.

        Python numbers among `ins` become literals of the type of the last value.
        """
        first: Value = next(value for value in ins if hasattr(value, "builder"))
        return first.builder.apply(self, ins, attrs)


OPS: dict[str, Op] = {}
"""Every op by name.  Filled when `graphc.ops` is imported, and constant from then on."""


def register(op: Op) -> Op:
    if op.name in OPS:
        raise ValueError(f"op {op.name} is defined twice")
    OPS[op.name] = op
    return op


NO_ATTRS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False, slots=True)
class Eqn:
    """`outs = op(ins, **attrs)`, from the user's line `loc`."""

    op: Op
    ins: tuple[Atom, ...]
    outs: tuple[Var, ...]
    attrs: Mapping[str, Any] = field(default_factory=lambda: NO_ATTRS)
    loc: Loc | None = None

    @property
    def out(self) -> Var:
        """The output of an equation that has exactly one."""
        (out,) = self.outs
        return out

    def replace(self, **changes: Any) -> Eqn:
        return dataclasses.replace(self, **changes)

    def of(self, ins: tuple[Atom, ...]) -> Eqn:
        """The equation with other inputs."""
        return Eqn(self.op, ins, self.outs, self.attrs, self.loc)


@dataclass(frozen=True, eq=False, slots=True)
class Graph:
    """Parameters, equations in order, results.

    `updates` names results that are written back to a parameter when the step has run:
    `(i, j)` says that result j is the new value of parameter i (`w -= 0.1 * g`).
    """

    name: str
    params: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outs: tuple[Atom, ...]
    updates: tuple[tuple[int, int], ...] = field(default=())

    def replace(self, **changes: Any) -> Graph:
        return dataclasses.replace(self, **changes)

    @property
    def in_types(self) -> tuple[Type, ...]:
        return tuple(param.type for param in self.params)

    @property
    def out_types(self) -> tuple[Type, ...]:
        return tuple(out.type for out in self.outs)

    def __str__(self) -> str:
        from graphc.text import print_graph

        return print_graph(self)

    def bind(self, **sizes: int) -> Graph:
        """The graph with numbers in the place of symbolic sizes: `graph.bind(B=64)`.

        Sizes that are left out stay symbolic.  The result is verified.

        Raises `errors.ShapeError` for a name that no size of the graph has and a number below 2,
        and `errors.VerifyError` where the graph has no meaning for these numbers.
        """
        from graphc.binding import bind

        return bind(self, sizes)

    def to_networkx(self) -> Any:
        """The graph as a `networkx.MultiDiGraph`, one node an equation, one edge a value."""
        from graphc.draw import to_networkx

        return to_networkx(self)


def subgraphs(eqn: Eqn) -> Iterator[tuple[str, Graph]]:
    """The graphs that an equation holds, by attribute name."""
    for name, value in eqn.attrs.items():
        if isinstance(value, Graph):
            yield name, value


def map_subgraphs(change: Callable[[Graph], Graph], eqn: Eqn) -> Eqn:
    """The equation with `change` applied to each graph that it holds."""
    return map_labelled(lambda _, graph: change(graph), eqn)


def map_labelled(change: Callable[[str, Graph], Graph], eqn: Eqn) -> Eqn:
    """The equation with `change(label, graph)` in the place of each graph that it holds."""
    if not eqn.attrs:
        return eqn  # as of most
    changed = {name: change(name, graph) for name, graph in subgraphs(eqn)}
    if not changed:
        return eqn
    return eqn.replace(attrs=MappingProxyType({**eqn.attrs, **changed}))


def all_eqns(graph: Graph) -> Iterator[Eqn]:
    """Every equation, those of held graphs after the equation that holds them."""
    for eqn in graph.eqns:
        yield eqn
        for _, inner in subgraphs(eqn):
            yield from all_eqns(inner)


def has_effect(eqn: Eqn) -> bool:
    """Whether the equation, or one in a graph that it holds, has an effect."""
    if eqn.op.effect is not None:
        return True
    if not eqn.attrs:
        return False
    return any(has_effect(inner) for _, graph in subgraphs(eqn) for inner in graph.eqns)
