"""The public functions: compile, trace, evaluate, parse, cache_dir, kept_memory."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from graphc import errors
from graphc.compiled import Compiled
from graphc.ir import Graph
from graphc.runtime import disk_cache
from graphc.runtime.llvm import result_memory
from graphc.runtime.reference import evaluate as run_reference
from graphc.signature import leaf_names
from graphc.specialised import Options
from graphc.text import parse as parse_text
from graphc.trace import tree
from graphc.trace.scope import user_loc, with_user_frames
from graphc.trace.trace import trace as trace_function

TARGETS = ("cpu", "cuda")


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    target: str = "cpu",
    threads: int | None = None,
    fastmath: bool = False,
    donate: str | tuple[str, ...] = (),
    check_nan: bool = False,
) -> Any:
    """Compile a NumPy function; also a decorator, with or without options.

    The result is called like `fn`, with NumPy arrays (f32, f64, i32, i64, bool), numbers, and
    tuples, lists, dicts, dataclasses and named tuples of them, and gives NumPy arrays in `fn`'s own
    structure.  It compiles on the first call with each signature: the shapes and dtypes of arrays,
    the structure of arguments, the value of bools, strings and other objects.  Numbers are inputs,
    not part of the signature.  An array argument that `fn` assigns to in place is updated in place.

    target    "cpu", or "cuda": an NVIDIA GPU, which takes arrays that lie there as they are, and
              gives arrays that lie there (`docs/cuda.md`); nothing is looked for before a call
    threads   the most threads that a step may use, from 1; None for as many as the process may keep
              busy (see `graphc.runtime.threads.allowed_threads`); short steps use one anyway
    fastmath  allow reassociation and contraction in the user's arithmetic: faster sums, results
              that are no longer IEEE's to the last bit; on a GPU also TF32 and approximations
    donate    the name or names of arguments whose arrays the step may use for results of their
              type, in place of new memory; such an array must not be used again, and passing it to
              a compiled function again is an error
    check_nan  raise `graphc.errors.NonFiniteError` where a step gives NaN or infinity, naming the
               first equation that made one, its line, and the values that went into it

    Raises `graphc.errors.ArgumentError` for an option that is not available or has a wrong value;
    on a call, the error of `graphc.errors` that says what cannot be compiled, with the line.

    >>> import numpy as np, graphc as gc
    >>> @gc.compile
    ... def f(x, y):
    ...     return np.exp(x) + y
    >>> f(np.zeros(3), 1.0)
    array([2., 2., 2.])
    """
    _check_options({"target": target, "check_nan": check_nan})
    donate = _names_of(donate)
    _check_threads(threads)
    if fn is None:
        return functools.partial(
            compile,
            target=target,
            threads=threads,
            fastmath=fastmath,
            donate=donate,
            check_nan=check_nan,
        )
    options = Options(target, fastmath, threads, donate, check_nan=check_nan)
    kind = _kind_for(options)
    if isinstance(fn, (staticmethod, classmethod)):
        _check_donate(fn.__func__, donate)
        return type(fn)(kind(fn.__func__, options))
    if not callable(fn):
        raise errors.ArgumentError(f"compile takes a function, not {type(fn).__name__}", user_loc())
    if any(is_kind(fn) for is_kind in _NOT_PLAIN):
        raise errors.ArgumentError(
            f"{fn.__name__} is a generator or a coroutine, which gives its values bit by bit;"
            " compile a function that returns them, and call it from there",
            user_loc(),
        )
    _check_donate(fn, donate)
    return kind(fn, options)


def _kind_for(options: Options) -> type[Compiled]:
    if options.target == "cpu":
        return Compiled
    if options.threads is not None:
        raise errors.ArgumentError(
            f"compile: threads={options.threads!r} is for the processor; leave it out with"
            f" target={options.target!r}",
            user_loc(),
        )
    from graphc.device_call import DeviceCompiled  # for who has a device

    return DeviceCompiled


def to_device(values: Any) -> Any:
    """Copies of the arrays in `values`, a tree, in the memory of the GPU.

    A function compiled with `target="cuda"` takes them as they are, where it would copy NumPy
    arrays at each call.  Numbers stay what they are.

    Raises what such a call raises where there is no GPU, and `graphc.errors.DeviceMemoryError`
    where it has no room.

    >>> import numpy as np, graphc as gc
    >>> gc.to_device({"rate": 0.1})  # of an array this would be a `DeviceArray`
    {'rate': 0.1}
    """
    from graphc.device_call import to_device as move

    return move(values)


_NOT_PLAIN = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)


_AVAILABLE: dict[str, tuple[Any, ...]] = {
    "target": TARGETS,
    "check_nan": (False, True),
}
"""Option -> the values that this version honours."""


def _check_options(options: dict[str, Any]) -> None:
    for name, allowed in _AVAILABLE.items():
        if options[name] not in allowed:
            listed = " or ".join(map(repr, allowed))
            raise errors.ArgumentError(
                f"compile: {name}={options[name]!r} is not available; use {listed}", user_loc()
            )


def _names_of(donate: Any) -> tuple[str, ...]:
    names = (donate,) if isinstance(donate, str) else donate or ()
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise errors.ArgumentError(
            f"compile: donate={donate!r} names no arguments; give a name, or a tuple of names",
            user_loc(),
        )
    return tuple(names)


def _check_donate(fn: Callable[..., Any], donate: tuple[str, ...]) -> None:
    """Every donated argument is one of the function's own."""
    try:
        parameters = inspect.signature(fn).parameters
    except (ValueError, TypeError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in donate:
        if name not in parameters:
            known = ", ".join(parameters)
            raise errors.ArgumentError(
                f"compile: donate names {name!r}, but the function takes ({known}); name one of"
                " these",
                user_loc(),
            )


def _check_threads(threads: Any) -> None:
    is_count = isinstance(threads, int) and not isinstance(threads, bool) and threads >= 1
    if threads is not None and not is_count:
        raise errors.ArgumentError(
            f"compile: threads={threads!r} is no number of threads; use an int from 1, or None for"
            " as many as the process may keep busy",
            user_loc(),
        )


@with_user_frames
def trace(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The graph of `fn` for arguments of the given types; nothing is compiled.

    Arguments are arrays, numbers, `graphc.Spec`s, or trees of them.

    >>> import numpy as np, graphc as gc
    >>> print(gc.trace(lambda x: np.exp(x), gc.Spec((3,), "f64")).eqns[0].op.name)
    exp
    """
    function = fn._function if isinstance(fn, Compiled) else fn
    leaves = tree.flatten((args, kwargs))[0]
    names = leaf_names(function, args, kwargs)
    return trace_function(function, args, kwargs, names, list(range(len(leaves)))).graph


def evaluate(graph: Graph, *arrays: Any) -> tuple[np.ndarray, ...]:
    """Run a graph in the NumPy reference interpreter; see `graphc.runtime.reference.evaluate`.

    >>> import numpy as np, graphc as gc
    >>> graph = gc.trace(lambda x: x * 2.0, gc.Spec((2,), "f64"))
    >>> gc.evaluate(graph, np.array([1.0, 2.0]))
    (array([2., 4.]),)
    """
    return run_reference(graph, *arrays)


def parse(text: str) -> Graph:
    """The graph that `str(graph)` printed.

    Raises `graphc.errors.ParseError` with line and column, or a `graphc.errors.VerifyError`.

    >>> import graphc as gc
    >>> text = str(gc.trace(lambda x: x + 1.0, gc.Spec((2,), "f64")))
    >>> str(gc.parse(text)) == text
    True
    """
    return parse_text(text)


_UNCHANGED: Any = object()


def cache_dir(folder: str | os.PathLike[str] | None = _UNCHANGED) -> Path | None:
    """The folder that keeps machine code for later processes; with an argument, choose another.

    folder  a path, made when it is first needed; None: keep nothing on disk, and take nothing

    Without a choice it is `graphc` in `$XDG_CACHE_HOME` or in `~/.cache`. Any number of processes
    may share a folder. It is kept below 512 MB; deleting it, or anything in it, is always safe.
    Code is taken from it only where the graph, the options, this machine's features and the
    versions of graphc and LLVM are the same; a damaged file counts as none, and a folder that
    cannot be written to is only read. The choice holds for this process. Gives the folder in use.

    Raises `graphc.errors.ArgumentError` for something else than a path.

    >>> import graphc as gc
    >>> before = gc.cache_dir()
    >>> gc.cache_dir(None) is None  # compile everything anew
    True
    >>> gc.cache_dir(before) == before
    True
    """
    if folder is not _UNCHANGED:
        if not isinstance(folder, (str, os.PathLike, type(None))):
            raise errors.ArgumentError(
                f"cache_dir takes a path or None, not {type(folder).__name__}", user_loc()
            )
        disk_cache.use_folder(None if folder is None else Path(folder).expanduser().absolute())
    cache = disk_cache.current_cache()
    return None if cache is None else cache.folder


def kept_memory(limit: int = _UNCHANGED) -> int:
    """The bytes of past results that are kept for later ones at most; with an argument, set them.

    limit  bytes; 0 keeps nothing, and what is kept already goes back to the system

    A large result takes the memory of one whose last view is gone, which costs no page faults. At
    first the limit is 256 MB, and no more than 1/16 of the machine's memory. It holds for this
    process. Gives the limit in use.

    Raises `graphc.errors.ArgumentError` for anything but an int from 0 upwards.

    >>> import graphc as gc
    >>> before = gc.kept_memory()
    >>> gc.kept_memory(0)
    0
    >>> gc.kept_memory(before) == before
    True
    """
    memory = result_memory.load()
    if limit is not _UNCHANGED:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise errors.ArgumentError(
                f"kept_memory takes a number of bytes from 0 upwards, not {limit!r}", user_loc()
            )
        memory.set_limit(limit)
    return memory.limit
