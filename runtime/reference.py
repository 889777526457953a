"""The NumPy interpreter: the living definition of what a graph means, and the tests' oracle.

Of a `cond`, only the branch that is taken runs; loops are Python loops.  NumPy's floating-point
warnings are off, as in compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.binding import bind, is_symbolic, read_sizes
from graphc.ir import Atom, Eqn, Graph, Lit, Type, Var
from graphc.ops import control

Observer = Callable[[Eqn, Sequence[np.ndarray], Sequence[np.ndarray]], None]


def evaluate(graph: Graph, *arrays: Any, observe: Observer | None = None) -> tuple[np.ndarray, ...]:
    """Run `graph` on `arrays`, its parameters in order; all of its results, in order.

    Symbolic sizes are read off the shapes of the arrays.
    Results that update a parameter are returned like the others: no argument is changed.
    `observe(eqn, ins, outs)` is called after each equation that holds no graph; nothing is printed
    then.

    Raises `errors.ArityError`, `errors.ShapeError` or `errors.DTypeError` if the arrays do not fit
    the parameters, and what a failed check in the graph raises.

    >>> import graphc as gc
    >>> gc.evaluate(gc.parse("graph f(%x: f64[]) {\\n  return %x\\n}"), np.float64(2.0))
    (array(2.),)
    """
    if len(arrays) != len(graph.params):
        raise errors.ArityError(
            f"{graph.name} takes {len(graph.params)} arrays, {len(arrays)} were given"
        )
    if is_symbolic(graph):
        graph = bind(graph, read_sizes(graph.in_types, [np.shape(array) for array in arrays]))
    pairs = zip(arrays, graph.params, strict=True)
    values = [_as_argument(a, p.type, i) for i, (a, p) in enumerate(pairs)]
    with np.errstate(all="ignore"):
        return _run(graph, values, observe)


def _as_argument(array: Any, type: Type, position: int) -> np.ndarray:
    value = np.asarray(array)
    if value.shape != type.shape:
        raise errors.ShapeError(f"argument {position} has shape {value.shape}, not {type.shape}")
    if value.dtype != type.numpy_dtype:
        raise errors.DTypeError(f"argument {position} is {value.dtype}, not {type.numpy_dtype}")
    return value


def _run(
    graph: Graph, values: Sequence[np.ndarray], observe: Observer | None
) -> tuple[np.ndarray, ...]:
    env: dict[Var, np.ndarray] = dict(zip(graph.params, values, strict=True))
    for eqn in graph.eqns:
        ins = [_read(atom, env) for atom in eqn.ins]
        if observe is not None and eqn.op.effect == "print":
            continue
        results = _run_eqn(eqn, ins, observe)
        for out, result in zip(eqn.outs, results, strict=True):
            env[out] = _as_type(result, out.type)
        if observe is not None and eqn.op not in control.HOLDING:
            observe(eqn, ins, [env[out] for out in eqn.outs])
    return tuple(np.array(_read(atom, env)) for atom in graph.outs)


def _read(atom: Atom, env: Mapping[Var, np.ndarray]) -> np.ndarray:
    if isinstance(atom, Lit):
        return np.full(atom.type.shape, atom.value, atom.type.numpy_dtype)
    return env[atom]


def _run_eqn(eqn: Eqn, ins: list[np.ndarray], observe: Observer | None) -> Sequence[Any]:
    if eqn.op is control.cond:
        return _run(eqn.attrs["then" if ins[0] else "else"], ins[1:], observe)
    if eqn.op is control.while_:
        return _run_while(eqn, ins, observe)
    if eqn.op is control.scan:
        return _run_scan(eqn, ins, observe)
    if eqn.op in control.CALLS:
        return _run(eqn.attrs["body"], ins, observe)
    try:
        result = eqn.op.reference(*ins, **eqn.attrs)
    except errors.GraphcError as error:
        raise type(error)(str(error), eqn.loc) from None
    return result if isinstance(result, tuple) else (result,)


def _run_while(eqn: Eqn, ins: list[np.ndarray], observe: Observer | None) -> Sequence[np.ndarray]:
    count = eqn.attrs["carried"]
    carried, constants = tuple(ins[:count]), ins[count:]
    while _run(eqn.attrs["test"], (*carried, *constants), observe)[0]:
        carried = _run(eqn.attrs["body"], (*carried, *constants), observe)
    return carried


def _run_scan(eqn: Eqn, ins: list[np.ndarray], observe: Observer | None) -> Sequence[np.ndarray]:
    count, length = eqn.attrs["carried"], eqn.attrs["length"]
    first_constant = count + eqn.attrs["sequences"]
    carried, sequences, constants = ins[:count], ins[count:first_constant], ins[first_constant:]
    stacked = [np.empty(out.type.shape, out.type.numpy_dtype) for out in eqn.outs[count:]]
    steps = range(length)
    for i in reversed(steps) if eqn.attrs["reverse"] else steps:
        slices = [sequence[i, ...] for sequence in sequences]
        outs = _run(eqn.attrs["body"], [np.asarray(i), *carried, *slices, *constants], observe)
        carried = list(outs[:count])
        for whole, part in zip(stacked, outs[count:], strict=True):
            whole[i] = part
    return [*carried, *stacked]


def _as_type(result: Any, type: Type) -> np.ndarray:
    array = np.asarray(result)
    if array.shape != type.shape or array.dtype != type.numpy_dtype:
        raise AssertionError(f"reference gave {array.dtype}{array.shape} for {type}")
    return array
