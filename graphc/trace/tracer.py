"""The traced array: behaves as a NumPy array does, and records equations instead of computing.

A `Tracer` is a view (mostly the trivial one) of a `Storage`.  NumPy functions reach it through
`__array_ufunc__` and `__array_function__` and are looked up in the table of `numpy_api`; operators
and methods go the same way, so that each function is written once.
"""

from __future__ import annotations

import difflib
import linecache
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim
from graphc.ir import (
    COMPLEXES,
    DTYPE_NAMES,
    FLOATS,
    Lit,
    Type,
)
from graphc.trace import scope as scopes
from graphc.trace.arguments import Argument, Derived
from graphc.trace.operators import Operators
from graphc.trace.promotion import PYTHON_DTYPES, fits, is_python_scalar, listed_dtypes
from graphc.trace.scope import Scope, Specialisation, Storage, user_loc
from graphc.trace.views import PartView, View, dtype_through


class Tracer(Operators):
    """A traced array or number."""

    __slots__ = ("_cache", "argument", "dtype_name", "shape", "storage", "views", "weak")
    __graphc_leaf__ = True
    __array_priority__ = 1000
    __hash__ = None  # type: ignore[assignment]  # as ndarray

    def __init__(
        self,
        storage: Storage,
        shape: tuple[Any, ...],
        views: tuple[View, ...] = (),
        weak: bool = False,
        argument: Argument | Derived | None = None,
    ):
        self.storage = storage
        self.shape = shape
        self.views = views
        self.weak = weak
        self.argument = argument
        self.dtype_name = dtype_through(storage.type.dtype, views)
        self._cache: tuple[Any, Scope, Value] | None = None

    # ---- what it is ------------------------------------------------------------------------------

    @property
    def type(self) -> Type:
        return Type(self.dtype_name, self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.type.numpy_dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Any:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        return self.type.nbytes

    def __repr__(self) -> str:
        return f"Traced({self.type})"

    def stand_in(self, of_python: Callable[[Any], Any] = lambda number: number) -> Any:
        """What NumPy promotes by: the dtype, or for a weak number one of Python's (or its type)."""
        if not self.weak:
            return self.dtype
        if self.dtype_name in COMPLEXES:
            return of_python(0j)
        return of_python(0.0 if self.dtype_name in FLOATS else 0)

    # ---- reading and writing ---------------------------------------------------------------------

    def value(self) -> Value:
        """What the array holds now, as a value of the current scope."""
        self._expect_known()
        scope = scopes.current()
        atom = self.storage.atom
        is_elsewhere = self.storage.home is not None and self.storage.stale is not None
        known = None if is_elsewhere else self._cache
        if known is not None and known[0] is atom and known[1] is scope:
            return known[2]
        value = self._whole()
        for view in self.views:
            value = view.get(value)
        if not is_elsewhere:
            self._cache = (atom, scope, value)
        return value

    def _whole(self) -> Value:
        """What the memory that this array views holds now."""
        storage = self.storage
        if storage.home is not None and storage.stale is not None:
            return storage.home.read()  # type: ignore[no-any-return]
        return scopes.current().read(storage)

    def _expect_known(self) -> None:
        if self.storage.unless is not None:
            self.storage.unless()
        if self.storage.stale is not None and self.storage.home is None:
            raise errors.StaleValueError(
                "this array was chosen by a traced condition or position, and one of those that it"
                f" may be was assigned to since, at {self.storage.stale}; .copy() it before that",
                user_loc(),
            )

    def store(self, new: Value) -> None:
        """Make the array hold `new` (of this array's type), through its views."""
        if not self.storage.mutable:
            kind = errors.ReadOnlyError if self.shape else errors.NumberAssignedError
            raise kind(
                f"{self!r} is a number or a constant and cannot be assigned to;"
                " make an array of it first (np.array(x))",
                user_loc(),
            )
        if self.storage.home is None and self.storage.is_ambiguous:
            raise errors.ReadOnlyError(
                "this array may be either of two others, chosen by a traced condition or position,"
                " so that assigning to it in place would have to change one of them; use x = x + y,"
                " or .copy() it first",
                user_loc(),
            )
        scope = scopes.current()
        below = [self._whole()] if self.views else []
        for view in self.views[:-1]:
            below.append(view.get(below[-1]))
        for view, base in zip(reversed(self.views), reversed(below), strict=True):
            new = view.put(base, new)
        if self.storage.home is not None:
            self.storage.home.store(new)
        else:
            scope.write(self.storage, new)

    def through(self, view: View, shape: tuple[Any, ...]) -> Tracer:
        """A tracer that reads and writes this array through one more view."""
        return Tracer(self.storage, shape, (*self.views, view), argument=self.argument)

    # ---- what Python may not know while tracing --------------------------------------------------

    def __bool__(self) -> bool:
        loc = user_loc()
        if loc is not None and not linecache.getline(loc.file, loc.line):
            raise errors.NoSourceError(
                "a condition on a traced value becomes part of the graph by reading the source of"
                " its function, and this source cannot be read; put the function into a file, or"
                " use gc.cond",
                loc,
            )
        raise errors.ConcreteValueError(
            "the truth of a traced value is not known while tracing: use it in an `if` statement or"
            " a conditional expression of the traced function, or call gc.cond; if this is library"
            " code, pass it a plain Python value",
            user_loc(),
        )

    def _number(self, wanted: str, repair: str) -> Any:
        """The value of an integer argument: the trace then holds for this value alone."""
        if self.is_scalar and isinstance(self.storage.atom, Lit):
            return self.storage.atom.value
        argument = self.argument
        kinds = (int, float) if isinstance(argument, Derived) and wanted == "int()" else int
        if argument is None or not isinstance(argument.value, kinds):
            raise errors.ConcreteValueError(
                f"{wanted} of a traced value {self.type} is not known while tracing; {repair}",
                user_loc(),
            )
        loc, cause = user_loc(), f"{wanted} was needed while tracing"
        for source in argument.sources:
            scopes.current().session.specialisations.setdefault(
                source.index, Specialisation(source.name, source.value, cause, loc)
            )
        return argument.value

    def __index__(self) -> int:
        repair = "pass the number as a Python int argument of its own, whose value fixes the graph"
        return operator.index(self._number("the integer value", repair))

    def __int__(self) -> int:
        return int(self._number("int()", "use .astype(int), which stays an array"))

    def __float__(self) -> float:
        return float(
            self._number(
                "float()",
                "leave float() out, and use NumPy's functions in place of those that need it; an"
                " ordinary array that it is assigned into must be made in the traced function, by"
                " np.zeros or np.zeros_like",
            )
        )

    def __complex__(self) -> complex:
        return complex(self._number("complex()", "use it as it is"))

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        raise errors.ConcreteValueError(
            f"a traced value {self.type} has no digits to format while tracing; return it and"
            " format the result",
            user_loc(),
        )

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise errors.ConcreteValueError(
            f"a traced value {self.type} cannot become an ordinary NumPy array while tracing; read"
            " ordinary arrays at traced positions with np.take(a, i, axis=0), assign into arrays"
            " made in the traced function (np.zeros, np.zeros_like(x)), and build arrays with"
            " np.array or np.stack",
            user_loc(),
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return operator.index(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    # ---- NumPy's protocols -----------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from graphc.trace import numpy_api

        return numpy_api.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from graphc.trace import numpy_api

        return numpy_api.call_function(func, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        from graphc.trace import numpy_api

        if name in numpy_api.METHODS:
            return lambda *args, **kwargs: numpy_api.call_method(name, self, args, kwargs)
        if name.startswith("__"):
            raise AttributeError(name)
        known = (*numpy_api.METHODS, "T", "shape", "dtype", "mT", "ndim", "size")
        near = difflib.get_close_matches(name, known, 1, 0.7)
        hint = f"the nearest that works is .{near[0]}" if near else "use a function of NumPy"
        error = errors.UnsupportedAttributeError(
            f"a traced array has no attribute .{name}; {hint}", user_loc()
        )
        error.name = name
        raise error

    @property
    def T(self) -> Tracer:
        return self.transpose()  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tracer:
        return self.swapaxes(-1, -2)  # type: ignore[no-any-return]

    @property
    def flat(self) -> Tracer:
        """The elements one after the other, to read and to write."""
        flat: Tracer = self.reshape(-1)
        if flat.storage is not self.storage:
            raise errors.ReadOnlyError(
                ".flat of an array that is not contiguous would be a copy; use .ravel() to read,"
                " or assign by index arrays",
                user_loc(),
            )
        return flat

    @property
    def real(self) -> Tracer:
        return self.part(0) if self.dtype_name in COMPLEXES else self

    @real.setter
    def real(self, new: Any) -> None:
        self.real[...] = new

    @property
    def imag(self) -> Tracer:
        """The imaginary part; of real numbers zeros that cannot be assigned to."""
        if self.dtype_name in COMPLEXES:
            return self.part(1)
        zero = self.value().builder.literal(0, self.type)
        return Tracer(Storage(zero.atom, scopes.current(), mutable=False), self.shape)

    @imag.setter
    def imag(self, new: Any) -> None:
        if self.dtype_name not in COMPLEXES:
            raise errors.ReadOnlyError(
                f"{self!r} is real and has no imaginary part to set; make it complex with"
                " .astype(complex)",
                user_loc(),
            )
        self.imag[...] = new

    def part(self, which: int) -> Tracer:
        """The real part (0) or the imaginary one (1) of complex numbers: a view of an array."""
        view = PartView(which)
        if self.is_scalar:
            return wrap(view.get(self.value()), self.weak)
        return self.through(view, self.shape)

    def __getitem__(self, index: Any) -> Any:
        from graphc.trace import indexing

        return indexing.get_item(self, index)

    def __setitem__(self, index: Any, new: Any) -> None:
        from graphc.trace import indexing

        indexing.set_item(self, index, new)


# ---- making tracers ------------------------------------------------------------------------------


def wrap(value: Value, weak: bool = False) -> Tracer:
    """A computed value as a traced array; without axes it is a scalar, as in NumPy."""
    scope = scopes.current()
    return Tracer(Storage(value.atom, scope, mutable=bool(value.shape)), value.shape, weak=weak)


def strong(x: Any) -> Tracer:
    """`lift(x)` where NumPy makes an array of x: a Python number counts with its own dtype."""
    lifted = lift(x)
    return wrap(lifted.value()) if lifted.weak else lifted


def lift(x: Any) -> Tracer:
    """Anything that NumPy takes as an array, as a tracer of the current scope."""
    if isinstance(x, Tracer):
        return x
    scope = scopes.current()
    if isinstance(x, Dim):
        return wrap(scope.builder.literal(x, Type("i64")), weak=True)
    if is_python_scalar(x):
        dtype = PYTHON_DTYPES[type(x)]
        if type(x) is int and not fits(x, "i64"):
            dtype = "u64"
            if not fits(x, "u64"):
                raise errors.IntegerRangeError(
                    f"Python integer {x} does not fit into 64 bits; use a float", user_loc()
                )
        return wrap(scope.builder.literal(x, Type(dtype)), weak=dtype != "bool")
    if isinstance(x, (list, tuple)) and holds_tracer(x):
        return _stack([lift(part) for part in x])
    array = np.asarray(x)
    if array.dtype not in DTYPE_NAMES:
        raise errors.DTypeError(
            f"graphc has no dtype {array.dtype}; convert it with .astype to one of"
            f" {listed_dtypes()}",
            user_loc(),
        )
    value = scope.builder.constant(array)
    return Tracer(Storage(value.atom, scope, mutable=False), array.shape)


def holds_tracer(parts: Any) -> bool:
    return any(
        isinstance(part, (Tracer, Dim)) or (isinstance(part, (list, tuple)) and holds_tracer(part))
        for part in parts
    )


def _stack(parts: list[Tracer]) -> Tracer:
    from graphc.trace.numpy_joining import stack

    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise errors.ShapeError(
            f"a list of arrays of the shapes {', '.join(map(str, sorted(shapes)))} is not an array;"
            " give its parts one shape",
            user_loc(),
        )
    return stack(parts)
