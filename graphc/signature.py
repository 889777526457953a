"""What of the arguments of a call is its signature: kinds, structure, names, what is shared."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import symbols_of
from graphc.donation import is_of
from graphc.trace import tree
from graphc.trace.scope import user_loc
from graphc.trace.trace import Elsewhere, Spec


class Arguments:
    """The arguments of a call, and what of them varies within a family of signatures."""

    def __init__(self, leaves: list[Any], structure: tree.Structure, names: list[str]):
        self.leaves = leaves
        self.structure = structure
        self.names = names
        kinds = [kind_of(leaf) for leaf in leaves]
        self.shapes = tuple(kind[1] if isinstance(kind, tuple) else None for kind in kinds)
        self.dtypes = tuple(kind[0] if isinstance(kind, tuple) else kind for kind in kinds)
        ranks = tuple(None if shape is None else len(shape) for shape in self.shapes)
        self.family = (structure, self.dtypes, ranks, sharing_of(leaves))


def names_sizes(leaves: Sequence[Any]) -> bool:
    """Whether a `Spec` among the arguments has a symbolic size."""
    return any(isinstance(leaf, Spec) and symbols_of(leaf.shape) for leaf in leaves)


LARGE = 1 << 15
"""Elements of arrays that are worth several threads, if much is done with them."""


def are_large(leaves: Sequence[Any]) -> bool:
    """Whether the arguments are so large that their step will probably use several threads."""
    return sum(leaf.size for leaf in leaves if type(leaf) is np.ndarray) >= LARGE


def donated_leaves(
    names: Sequence[str], leaves: Sequence[Any], arguments: Sequence[str]
) -> tuple[int, ...]:
    """The positions of the arrays in donated arguments; not those that are passed twice."""
    if not arguments:
        return ()
    times = Counter(first_of_each(leaves))
    return tuple(
        i
        for i, (name, leaf) in enumerate(zip(names, leaves, strict=True))
        if isinstance(kind_of(leaf), tuple) and times[i] == 1 and is_of(name, arguments)
    )


def kind_of(leaf: Any) -> Any:
    """What of an argument is part of the signature."""
    if type(leaf) is np.ndarray or isinstance(leaf, np.memmap):
        return (leaf.dtype, leaf.shape)
    if isinstance(leaf, Spec):
        return (leaf.type.numpy_dtype, leaf.shape)
    return type(leaf)


def sharing_of(leaves: Sequence[Any]) -> tuple[int, ...] | None:
    """Which arguments are the same array, or None where all differ."""
    if len(leaves) < 2:
        return None
    arrays = [id(leaf) for leaf in leaves if isinstance(leaf, (np.ndarray, Elsewhere))]
    return None if len(set(arrays)) == len(arrays) else tuple(first_of_each(leaves))


def first_of_each(leaves: Sequence[Any]) -> list[int]:
    """For each leaf the position of the first one that is the same array."""
    first: dict[int, int] = {}
    return [
        first.setdefault(id(leaf), i) if isinstance(leaf, (np.ndarray, Elsewhere)) else i
        for i, leaf in enumerate(leaves)
    ]


def leaf_names(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    """What to call each leaf of the arguments in messages and graphs: `params['w']`.

    Raises `errors.ArgumentError` if the arguments do not fit the function's signature.
    """
    given = _argument_names(function, args, kwargs)
    names: list[str] = []
    for name, value in zip(given, (*args, *kwargs.values()), strict=True):
        names += tree.paths(tree.flatten(value)[1], name)
    return names


def _argument_names(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return [*(f"arg{i}" for i in range(len(args))), *kwargs]
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", "the function")
        raise errors.ArgumentError(
            f"{name}{signature}: {error}; call it with the arguments of its definition", user_loc()
        ) from None
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    rest = [f"args[{i}]" for i in range(len(args) - len(positional))]
    return [*positional[: len(args)], *rest, *kwargs]
