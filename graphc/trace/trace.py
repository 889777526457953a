"""From a Python function and example arguments to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim, Shape, Size, substitute, symbols_of
from graphc.ir import DTYPE_NAMES, DTYPES, Atom, Graph, Loc, Type
from graphc.size_text import parse_size
from graphc.trace import control, tree
from graphc.trace.arguments import Argument
from graphc.trace.masks import Restart
from graphc.trace.promotion import PYTHON_DTYPES, is_python_scalar
from graphc.trace.scope import (
    LoopNote,
    Scope,
    Session,
    Specialisation,
    Storage,
    at_user_line,
    current,
    open_scope,
    user_loc,
)
from graphc.trace.sizes import Fixed, Guard, Refined, for_the_example, refusing, symbolic
from graphc.trace.tracer import Tracer, lift


@dataclass(frozen=True)
class Spec:
    """The shape and dtype of an array that is not there yet.

    shape  a tuple of sizes: whole numbers, and strings that name one or say how one is made of
           others: `"B"`, `"2*B + 1"`.  A size with a name may be any number from 2 upwards
    dtype  "f32", "u8", "c64", ... (`graphc.ir.NUMPY_DTYPES`), or what NumPy takes as such a dtype

    Raises `graphc.errors.ShapeError` for a size that is not a whole number >= 0 and
    `graphc.errors.DTypeError` for another dtype.

    >>> import graphc as gc
    >>> gc.Spec((64, 1000), "f32")
    Spec('f32[64,1000]')
    >>> gc.Spec(("B", 784), "f32")
    Spec('f32[B,784]')
    """

    shape: Any
    dtype: Any = "f32"

    __graphc_leaf__ = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _known_shape(self.shape))
        object.__setattr__(self, "dtype", _known_dtype(self.dtype))

    @property
    def type(self) -> Type:
        return Type(self.dtype, self.shape)

    def __repr__(self) -> str:
        return f"Spec({str(self.type)!r})"


class Elsewhere(Spec):
    """The type of an array that is there, but in the memory of a device; each is one of its own."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _known_shape(shape: Any) -> Shape:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    return tuple(_known_size(size) for size in sizes)


def _known_size(given: Any) -> Size:
    size = parse_size(given) if isinstance(given, str) else given
    if isinstance(size, Dim):
        return size
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 0:
        raise errors.ShapeError(
            f"a shape is made of whole numbers >= 0, not {given!r}; give the size or its name",
            user_loc(),
        )
    return int(size)


def _known_dtype(dtype: Any) -> str:
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    try:
        return DTYPE_NAMES[np.dtype(dtype)]
    except (TypeError, KeyError):
        raise errors.DTypeError(
            f"no dtype {dtype!r}; choose from {', '.join(DTYPES)}", user_loc()
        ) from None


@dataclass(frozen=True)
class LeafType:
    """What is known of an argument before its value is: its type, and what kind of object it is."""

    type: Type
    kind: str
    """"array", "scalar" (a NumPy scalar) or "python" (a Python int, float or complex)."""


def leaf_type(leaf: Any, name: str) -> LeafType:
    """The type of an argument.  Raises `errors.DTypeError` for a dtype that graphc lacks."""
    if isinstance(leaf, Spec):
        return LeafType(leaf.type, "array")
    if is_python_scalar(leaf):
        return LeafType(Type(PYTHON_DTYPES[type(leaf)]), "python")
    if type(leaf) is not np.ndarray and isinstance(leaf, (np.ma.MaskedArray, np.matrix)):
        raise errors.ArgumentError(
            f"argument {name} is a {type(leaf).__name__}, whose rules graphc does not follow; pass"
            " np.asarray of it",
            user_loc(),
        )
    if hasattr(type(leaf), "copy_to_host"):
        raise errors.ArgumentError(
            f'argument {name} lies in the memory of a device; compile with target="cuda", or pass'
            " np.asarray of it",
            user_loc(),
        )
    array = np.asarray(leaf)
    if array.dtype not in DTYPE_NAMES:
        listed = ", ".join(str(dtype) for dtype in DTYPE_NAMES)
        raise errors.DTypeError(
            f"argument {name} has dtype {array.dtype}; graphc takes {listed}", user_loc()
        )
    kind = "array" if isinstance(leaf, np.ndarray) else "scalar"
    return LeafType(Type(DTYPE_NAMES[array.dtype], array.shape), kind)


@dataclass(frozen=True)
class Result:
    """One leaf of what the function returned: a result of the graph, or an argument itself."""

    index: int
    is_argument: bool = False


class Traced(NamedTuple):
    """A traced function: its graph, and how results go back into the function's own structure."""

    graph: Graph
    results: tuple[Result, ...]
    structure: tree.Structure
    specialisations: tuple[tuple[int, Specialisation], ...]
    """The arguments (by position among the leaves) whose values the trace depends on."""
    loops: tuple[LoopNote, ...] = ()
    guards: tuple[Guard, ...] = ()
    """What has to hold of symbolic sizes for the trace to be right."""
    fixed: tuple[Fixed, ...] = ()
    """The symbolic sizes that it needed as others, or as numbers."""

    @property
    def in_shapes(self) -> tuple[Shape, ...]:
        return tuple(type.shape for type in self.graph.in_types)

    @property
    def result_types(self) -> tuple[Type, ...]:
        """The types of the results that are no updates, in order."""
        updated = {j for _, j in self.graph.updates}
        return tuple(out.type for j, out in enumerate(self.graph.outs) if j not in updated)


def trace(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    names: Sequence[str],
    aliases: Sequence[int],
    by_example: bool = False,
) -> Traced:
    """Trace `function` on arguments of the given kind; only their types enter the graph.

    `names` are the names of the leaves for messages; `aliases[i]` is the first leaf that is the
    same array as leaf i, so that an assignment to one is seen through the other.  Symbolic sizes
    are those of `Spec`s; what depends on their numbers is an error, or with `by_example` decided
    for their examples, and then among the `guards` or `fixed`.
    """
    leaves, structure = tree.flatten((tuple(args), dict(kwargs)))
    is_symbolic = any(isinstance(x, Spec) and symbols_of(x.shape) for x in leaves)
    masks: frozenset[Loc] = frozenset()
    fixed: list[Fixed] = []
    while True:
        session, raised = Session(traced_masks=masks), list[BaseException]()
        if not is_symbolic:
            try:
                return _trace(function, leaves, structure, names, aliases, session)
            except Restart as restart:
                masks |= {restart.loc}
                continue
        answer = for_the_example(session.guards, raised) if by_example else refusing(raised)
        try:
            with symbolic(answer):
                traced = _trace(function, leaves, structure, names, aliases, session)
            if raised:  # the function caught it, and went on without the answer
                raise raised[0]
            return traced._replace(fixed=tuple(fixed))
        except Restart as restart:
            masks |= {restart.loc}
        except Refined as refined:
            fixed += refined.fixed
            leaves = [_with_sizes(leaf, refined.sizes) for leaf in leaves]


def _with_sizes(leaf: Any, sizes: Mapping[str, Size]) -> Any:
    if not isinstance(leaf, Spec):
        return leaf
    return Spec(tuple(substitute(size, sizes) for size in leaf.shape), leaf.dtype)


def _trace(
    function: Callable[..., Any],
    leaves: Sequence[Any],
    structure: tree.Structure,
    names: Sequence[str],
    aliases: Sequence[int],
    session: Session,
) -> Traced:
    try:
        with open_scope(_graph_name(function), session) as scope:
            tracers = _parameters(scope, leaves, names, aliases)
            given_args, given_kwargs = tree.unflatten(structure, tracers)
            target = control.converted(function)
            returned = target(*given_args, **given_kwargs)
            _expect_same_parts(structure, names, tracers, (given_args, given_kwargs))
            return _finish(scope, session, tracers, returned)
    except errors.GraphcError as error:
        raise at_user_line(error) from error.__cause__
    except ValueError as error:
        if isinstance(error.__cause__, errors.GraphcError):  # NumPy hides what a value told it
            raise at_user_line(error.__cause__) from None
        raise


def _expect_same_parts(
    structure: tree.Structure, names: Sequence[str], tracers: list[Tracer], arguments: Any
) -> None:
    """The function may assign to arrays in its arguments, but not change their dicts and lists:
    what it puts there would not get into the caller's."""
    leaves, after = tree.flatten(arguments)
    changed = [
        name for name, old, new in zip(names, tracers, leaves, strict=False) if old is not new
    ]
    if after == structure and not changed:
        return
    what = changed[0] if changed else "an argument"
    raise errors.ArgumentError(
        f"the function puts a new value in place of {what}, which would not change the caller's;"
        " return the new value, or assign to the array in place (x[...] = v, x -= v)",
        user_loc(),
    )


def _graph_name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return name if name.isidentifier() else "main"


def _parameters(
    scope: Scope, leaves: Sequence[Any], names: Sequence[str], aliases: Sequence[int]
) -> list[Tracer]:
    tracers: list[Tracer] = []
    for i, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
        known = leaf_type(leaf, name)
        param = scope.builder.param(known.type, _hint(name))
        if aliases[i] != i:
            tracers.append(tracers[aliases[i]])
            continue
        value = leaf if known.kind == "python" else None
        tracers.append(
            Tracer(
                Storage(param.atom, scope, mutable=known.kind == "array"),
                known.type.shape,
                weak=known.kind == "python",
                argument=Argument(i, name, value),
            )
        )
    return tracers


def _hint(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).strip("_")


def _finish(scope: Scope, session: Session, tracers: list[Tracer], returned: Any) -> Traced:
    """Results first, then the new values of the arguments that were assigned to."""
    leaves, structure = tree.flatten(returned)
    storages = {id(tracer.storage): i for i, tracer in reversed(list(enumerate(tracers)))}
    outs: list[Atom] = []
    results: list[Result] = []
    for leaf in leaves:
        argument = _returned_argument(leaf, tracers, storages)
        if argument is not None:
            results.append(Result(argument, is_argument=True))
        else:
            results.append(Result(len(outs)))
            outs.append(lift(leaf).value().atom)
    updates = []
    for i, tracer in enumerate(tracers):
        atom = scope.read(tracer.storage).atom
        if atom is not scope.builder.params[i] and storages[id(tracer.storage)] == i:
            updates.append((i, len(outs)))
            outs.append(atom)
    graph = scope.builder.finish(outs, updates)
    specialised = tuple(session.specialisations.items())
    return Traced(
        graph,
        tuple(results),
        structure,
        specialised,
        tuple(session.loops.values()),
        tuple(session.guards.values()),
    )


def _returned_argument(leaf: Any, tracers: list[Tracer], storages: dict[int, int]) -> int | None:
    """The argument that `leaf` is, where the function returns an array that it was given."""
    if not isinstance(leaf, Tracer) or leaf.views or id(leaf.storage) not in storages:
        return None
    index = storages[id(leaf.storage)]
    return index if tracers[index].storage.mutable else None


# ---- graphs as values: tracing a function inside of a trace --------------------------------------


class Inner(NamedTuple):
    """A function traced inside of a trace: its graph over `operands`, atoms of the outer scope."""

    graph: Graph
    operands: tuple[Value, ...]
    structure: tree.Structure
    writes: tuple[Storage, ...]
    changed: tuple[int, ...]


def trace_inner(name: str, inputs: Sequence[Tracer], run: Callable[[list[Tracer]], Any]) -> Inner:
    """Trace `run` on copies of `inputs`, the first parameters of the graph.

    The graph's results are the leaves that `run` returned, then what it left in arrays of the
    scopes around it (`writes`), then in those of its inputs that it assigned to (`changed`).
    """
    outer = [x.value() for x in inputs]
    with open_scope(name) as scope:
        params = [scope.builder.param(value.type) for value in outer]
        copies = [
            Tracer(Storage(p.atom, scope, bool(x.shape)), x.shape, weak=x.weak)
            for p, x in zip(params, inputs, strict=True)
        ]
        leaves, structure = tree.flatten(run(copies))
        outs = [lift(leaf).value().atom for leaf in leaves]
        written = scope.undo_writes()
        changed = [i for i, c in enumerate(copies) if c.storage.atom is not params[i].atom]
        outs += [value.atom for value in written.values()]
        outs += [scope.read(copies[i].storage).atom for i in changed]
    operands = [*(value.atom for value in outer), *(scope.outer(var) for var in scope.captures)]
    builder = current().builder
    return Inner(
        scope.builder.finish(outs),
        tuple(builder.value(atom) for atom in operands),
        structure,
        tuple(written),
        tuple(changed),
    )
