"""`call` and `elementwise`: functions from outside, as machine code inside of a step.

numba compiles them, and is imported when the first one is traced.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Builder, Value, rename
from graphc.ir import FLOATS, NARROW, NUMPY_DTYPES, Atom, Graph, Lit, Type, Var
from graphc.ops import elementwise as ew
from graphc.ops import external
from graphc.ops.external import FUNCTIONS, External
from graphc.trace import tree
from graphc.trace.broadcasting import unify
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.trace import Spec
from graphc.trace.trace import trace as trace_function
from graphc.trace.tracer import Tracer, lift, wrap

# ---- call ----------------------------------------------------------------------------------------


def call(function: Any, result: Any, *args: Any, pure: bool = False) -> Any:
    """The result of an external function, called natively from inside a step.

    function  a numba `@njit` function, which is given arrays and numbers and returns an array, a
              number, or a tuple of these; or a C function `void f(pointers...)` (a numba `cfunc`,
              a `ctypes` function, an address), which is given a pointer to the row-major elements
              of each operand and then of each result.  Operands are read only.
    result    what it gives: a `Spec`, an array or number of that type, or a tuple or list of these
    pure      it only computes its result.  Otherwise it is an effect: it runs exactly as often, and
              in the order, that the program says, in taken branches only.

    It has no gradient of its own: see `graphc.custom_vjp`.  Outside of a trace the function is
    called at once.

    Raises `graphc.errors.ExternalError` if `function` cannot be called by address, or, when a step
    runs, if it raises.

    >>> import numba, numpy as np, graphc as gc
    >>> @numba.njit
    ... def smallest_gap(x):
    ...     return np.min(np.diff(np.sort(x)))
    >>> f = gc.compile(lambda x: 2.0 * gc.call(smallest_gap, gc.Spec((), "f64"), x))
    >>> f(np.array([1.0, 4.0, 2.5]))
    np.float64(3.0)
    """
    types, structure = _result_types(result)
    if not is_tracing():
        return _call_now(function, types, structure, args)
    operands = [lift(arg) for arg in args]
    known = _external_call(function, tuple(x.type for x in operands), tuple(types))
    attrs = {"function": known.name, "results": tuple(map(str, types))}
    op = external.pure_call if pure else external.call
    outs = current().builder.emit(op, [x.value().atom for x in operands], attrs)
    return tree.unflatten(structure, [wrap(out) for out in outs])


def _result_types(result: Any) -> tuple[list[Type], tree.Structure]:
    leaves, structure = tree.flatten(result)
    if not leaves or isinstance(structure, tree.Static):
        raise errors.ArgumentError(
            "call: the result is described by a Spec, an array or a number, or a tuple of them,"
            f" not by {result!r}",
            user_loc(),
        )
    return [_type_of(leaf) for leaf in leaves], structure


def _type_of(leaf: Any) -> Type:
    if isinstance(leaf, Spec):
        return leaf.type
    if isinstance(leaf, Tracer):
        return leaf.type
    array = np.asarray(leaf)
    return Type(known_dtype(array.dtype), array.shape)


def _call_now(
    function: Any, types: Sequence[Type], structure: tree.Structure, args: Sequence[Any]
) -> Any:
    arrays = [np.ascontiguousarray(arg) if np.ndim(arg) else np.asarray(arg) for arg in args]
    operands = tuple(Type(known_dtype(array.dtype), array.shape) for array in arrays)
    outs = _external_call(function, operands, tuple(types)).reference(*arrays)
    fitted = (
        np.asarray(out, type.numpy_dtype).reshape(type.shape)
        for out, type in zip(outs, types, strict=True)
    )
    return tree.unflatten(structure, [out if out.shape else out[()] for out in fitted])


_calls: dict[tuple[Any, ...], External] = {}
"""A cache: the external of each function and each signature that it was called with."""


def _external_call(
    function: Any, operands: tuple[Type, ...], results: tuple[Type, ...]
) -> External:
    key = (id(function), operands, results)
    found = _calls.get(key)
    if found is None:
        name = external.unique_name(getattr(function, "__name__", "function"))
        if hasattr(function, "py_func") and hasattr(function, "targetoptions"):
            found = _of_dispatcher(name, function, operands, results)
        else:
            found = _of_pointer(name, function, operands, results)
        _calls[key] = FUNCTIONS[name] = found
    return found


# ---- numba functions -----------------------------------------------------------------------------


def _of_dispatcher(
    name: str, function: Any, operands: tuple[Type, ...], results: tuple[Type, ...]
) -> External:
    compiled = functools.cache(lambda: _compile_call(name, function, operands, results))

    def reference(*arrays: np.ndarray) -> tuple[Any, ...]:
        given = function(*(array if array.shape else array[()] for array in arrays))
        return given if isinstance(given, tuple) else (given,)

    return External(name, reference, lambda: int(compiled().address), checked=True)


_CALL_TEMPLATE = """
def {name}({parameters}):
    try:
        given = function({operands})
{stores}
    except Exception:
        return 1
    return 0
"""
"""How numba code is called on pointers.  numba needs a function of as many parameters as there are
operands and results, which only source text can say."""


def _compile_call(
    name: str, function: Any, operands: tuple[Type, ...], results: tuple[Type, ...]
) -> Any:
    numba: Any = _numba()
    scope: dict[str, Any] = {"function": function, "carray": numba.carray}
    scope |= {f"shape{i}": type.shape for i, type in enumerate((*operands, *results))}
    names = [f"p{i}" for i in range(len(operands) + len(results))]
    read = [_operand_text(i, type) for i, type in enumerate(operands)]
    stores = [
        _store_text(len(operands) + i, type, "given" if len(results) == 1 else f"given[{i}]")
        for i, type in enumerate(results)
    ]
    text = _CALL_TEMPLATE.format(
        name=name,
        parameters=", ".join(names),
        operands=", ".join(read),
        stores="\n".join(f"        {store}" for store in stores),
    )
    exec(text, scope)
    pointers = (numba.types.CPointer(_numba_type(type)) for type in (*operands, *results))
    try:
        return numba.cfunc(numba.int64(*pointers))(scope[name])
    except numba.core.errors.NumbaError as error:
        raise errors.ExternalError(
            f"call: numba cannot compile {getattr(function, '__name__', 'the function')} for"
            f" ({', '.join(map(str, operands))}) -> ({', '.join(map(str, results))}):"
            f" {str(error).strip().splitlines()[0]}",
            user_loc(),
        ) from error


def _operand_text(i: int, type: Type) -> str:
    return f"carray(p{i}, shape{i})" if type.shape else f"p{i}[0]"


def _store_text(i: int, type: Type, value: str) -> str:
    return f"carray(p{i}, shape{i})[...] = {value}" if type.shape else f"p{i}[0] = {value}"


def _numba_type(type: Type) -> Any:
    return _numba().from_dtype(type.numpy_dtype)


def _numba() -> Any:
    """numba, which takes longer to import than graphc itself."""
    import numba

    return numba


# ---- C functions ---------------------------------------------------------------------------------


def _of_pointer(
    name: str, function: Any, operands: tuple[Type, ...], results: tuple[Type, ...]
) -> External:
    address = _address_of(function)
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(operands) + len(results)))(address)

    def reference(*arrays: np.ndarray) -> tuple[Any, ...]:
        given = [np.ascontiguousarray(array) for array in arrays]
        outs = [np.empty(type.shape, type.numpy_dtype) for type in results]
        native(*(array.ctypes.data for array in (*given, *outs)))
        return tuple(outs)

    return External(name, reference, lambda: address, keep=function)


_C_FUNCTION: Any = type(ctypes.CFUNCTYPE(None)()).__mro__[1]
"""The base class of all C functions of ctypes, which has no public name."""


def _address_of(function: Any) -> int:
    if isinstance(function, int) and function > 0:
        return function
    if isinstance(getattr(function, "address", None), int):  # a numba cfunc
        return int(function.address)
    if isinstance(function, _C_FUNCTION):
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise errors.ExternalError(
        f"call: a {type(function).__name__} has no address; pass a numba @njit function, a numba"
        " cfunc, a ctypes function, or an address",
        user_loc(),
    )


# ---- elementwise ---------------------------------------------------------------------------------


def elementwise(function: Any = None, *, derivative: Any = None) -> Any:
    """A function of numbers as a function of arrays, compiled by numba and fused like a built-in.

    function    a Python function of numbers that gives one number, with its own `if`s, loops and
                `math` calls: what `numba.njit` takes.  Arrays broadcast.  It should not raise.
    derivative  its derivative, a function of the same numbers: arithmetic and NumPy's functions of
                numbers, which graphc traces, or a function made by `elementwise`.  Of a function
                of several arguments it gives a tuple, a derivative for each.

    Also a decorator, with or without `derivative`.

    Raises `graphc.errors.ExternalError` if numba cannot compile it, `graphc.errors.GradientError`
    for the gradient of a function without `derivative`.

    >>> import math, numpy as np, graphc as gc
    >>> @gc.elementwise(derivative=lambda x: np.where(x > 0.0, 1.0, 0.5))
    ... def leaky(x):
    ...     if x > 0.0:
    ...         return x
    ...     return 0.5 * x
    >>> gc.compile(leaky)(np.array([-2.0, 3.0]))
    array([-1.,  3.])
    >>> gc.grad(lambda x: np.sum(leaky(x)))(np.array([-2.0, 3.0]))
    array([0.5, 1. ])
    """
    if function is None:
        return functools.partial(elementwise, derivative=derivative)
    if not callable(function):
        raise errors.ArgumentError(
            f"elementwise takes a function, not {type(function).__name__}", user_loc()
        )
    return Elementwise(function, derivative)


class Elementwise:
    """A function of numbers that can be called on arrays; made by `graphc.elementwise`."""

    def __init__(self, function: Callable[..., Any], derivative: Callable[..., Any] | None):
        functools.update_wrapper(self, function)
        self.name: str = getattr(function, "__name__", "function")
        self._scalar = getattr(function, "py_func", function)
        self._derivative = derivative
        self._known: dict[tuple[str, ...], tuple[External, str]] = {}

    def __call__(self, *args: Any) -> Any:
        if not is_tracing():
            out, given = self._ufunc(*args), np.result_type(*args)
            return out.astype(given) if _widened(given.name, out.dtype.name) else out
        operands = [lift(arg) for arg in args]
        dtype = promoted_dtype(operands)
        values = unify(self.name, operands, dtype)
        function, result = self._external((dtype,) * len(values))
        attrs = {"function": function.name, "result": result}
        (out,) = current().builder.emit(external.scalar_call, [v.atom for v in values], attrs)
        return wrap(cast_to(out, dtype) if _widened(dtype, result) else out)

    @functools.cached_property
    def _ufunc(self) -> Any:
        return _numba().vectorize(self._scalar)

    def _external(self, dtypes: tuple[str, ...]) -> tuple[External, str]:
        """The function for numbers of these dtypes, and the dtype that it gives."""
        if dtypes not in self._known:
            name = external.unique_name(self.name)
            compiled = _compile_scalar(self._scalar, dtypes)
            result = _dtype_of(compiled)
            reference = np.vectorize(self._scalar, otypes=[NUMPY_DTYPES[result]])
            function = External(
                name,
                reference,
                lambda: int(compiled.address),
                vjp=None if self._derivative is None else self._vjp(dtypes),
                keep=compiled,
            )
            FUNCTIONS[name] = function
            self._known[dtypes] = function, result
        return self._known[dtypes]

    def _vjp(self, dtypes: tuple[str, ...]) -> Callable[..., tuple[Any, ...]]:
        """The gradient: the cotangent times each derivative, traced for one element."""
        graph = functools.cache(lambda: self._derivative_graph(dtypes))

        def vjp(g: Value, out: Value, *ins: Value) -> tuple[Any, ...]:
            slopes = _on_arrays(graph(), g.builder, [x.atom for x in ins], g.shape)
            pairs = zip(slopes, ins, strict=True)
            grads = ((ew.cast(g, dtype=x.dtype) * slope, x) for slope, x in pairs)
            return tuple(grad if x.dtype in FLOATS else None for grad, x in grads)

        return vjp

    def _derivative_graph(self, dtypes: tuple[str, ...]) -> Graph:
        assert self._derivative is not None
        specs = tuple(Spec((), dtype) for dtype in dtypes)
        names = [f"x{i}" for i in range(len(specs))]
        traced = trace_function(self._derivative, specs, {}, names, list(range(len(specs))))
        graph = traced.graph
        expected = [Type(dtype) for dtype in dtypes]
        if [out.type for out in graph.outs] != expected:
            raise errors.GradientError(
                f"the derivative of {self.name} gives"
                f" ({', '.join(str(out.type) for out in graph.outs)}); it is one number of the"
                f" dtype {dtypes[0]} for each of {len(dtypes)} argument(s)"
            )
        return graph


def _widened(given: str, result: str) -> bool:
    """Whether numba, to which 0.5 is a float64, made a double of single precision."""
    return given in ("f32", "float32") and result in ("f64", "float64")


def _compile_scalar(function: Callable[..., Any], dtypes: Sequence[str]) -> Any:
    numba = _numba()
    if strange := NARROW.intersection(dtypes):
        raise errors.ExternalError(
            f"elementwise: numba has no {', '.join(strange)}; convert with .astype(np.float32)",
            user_loc(),
        )
    types = [numba.from_dtype(NUMPY_DTYPES[dtype]) for dtype in dtypes]
    inner = numba.njit(error_model="numpy")(function)
    try:
        inner.compile(tuple(types))
        result = inner.overloads[tuple(types)].signature.return_type
        return numba.cfunc(result(*types))(inner.py_func)
    except numba.core.errors.NumbaError as error:
        raise errors.ExternalError(
            f"elementwise: numba cannot compile {getattr(function, '__name__', 'the function')} for"
            f" ({', '.join(dtypes)}): {str(error).strip().splitlines()[0]}",
            user_loc(),
        ) from error


def _dtype_of(compiled: Any) -> str:
    numba, result = _numba(), compiled._sig.return_type
    try:
        return known_dtype(numba.np.numpy_support.as_dtype(result))
    except (NotImplementedError, numba.core.errors.NumbaError, errors.DTypeError):
        raise errors.ExternalError(
            f"elementwise: {compiled.__name__} gives a {result}, not one number", user_loc()
        ) from None


def _on_arrays(
    graph: Graph, builder: Builder, args: Sequence[Atom], shape: tuple[int, ...]
) -> list[Value]:
    """The equations of a graph of numbers on whole arrays: each is elementwise."""
    names: dict[Var, Atom] = dict(zip(graph.params, args, strict=True))
    for eqn in graph.eqns:
        if not eqn.op.elementwise:
            raise errors.GradientError(
                f"a derivative for gc.elementwise works on each element by itself; it uses"
                f" {eqn.op.name}",
                eqn.loc,
            )
        ins = [_repeated(rename(atom, names), shape) for atom in eqn.ins]
        (out,) = builder.emit(eqn.op, ins, dict(eqn.attrs))
        names[eqn.out] = out.atom
    return [builder.value(_repeated(rename(out, names), shape)) for out in graph.outs]


def _repeated(atom: Atom, shape: tuple[int, ...]) -> Atom:
    return Lit(atom.value, atom.type.with_shape(shape)) if isinstance(atom, Lit) else atom
