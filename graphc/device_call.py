"""Compiled functions for a device: arguments from anywhere, results that stay where they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.compiled import Compiled
from graphc.device_replay import make_repeated
from graphc.donation import DONATED, mark, refuse_donated
from graphc.runtime.cuda.arrays import DeviceArray, imported, is_foreign
from graphc.runtime.cuda.arrays import to_device as array_to_device
from graphc.runtime.cuda.current import current_session
from graphc.runtime.cuda.session import Session
from graphc.runtime.cuda.step import CudaStep
from graphc.signature import kind_of, leaf_names
from graphc.slow_call import as_array, expect_apart, expect_writable
from graphc.specialised import Specialised
from graphc.trace import tree
from graphc.trace.scope import user_loc
from graphc.trace.trace import Elsewhere


class DeviceCompiled(Compiled):
    """A function that runs on a device; made by `graphc.compile(target="cuda")`."""

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        session = current_session()
        entry = self._latest
        leaves = None if entry is None or DONATED else _fitting(entry, args, kwargs)
        if entry is None or leaves is None:
            with session.reporting():
                leaves, structure = placed((args, kwargs), session)
            if DONATED:
                self._refuse_marked(leaves, structure)
            entry = self._latest = self._of_leaves(leaves, structure)
        returned = self._run(entry, leaves)
        for i in entry.donated:
            mark(_original(leaves[i]))
        if entry.fast_for is not session:
            entry.fast, entry.fast_for = make_repeated(entry), session
        self._fast = entry.fast
        return returned

    def _of_leaves(self, leaves: Sequence[Any], structure: tree.Structure) -> Specialised:
        known = stand_ins(leaves)
        args, kwargs = tree.unflatten(structure, known)
        return self._lookup(known, structure, args, kwargs)

    def _refuse_marked(self, leaves: Sequence[Any], structure: tree.Structure) -> None:
        def names() -> list[str]:
            args, kwargs = tree.unflatten(structure, stand_ins(leaves))
            return leaf_names(self._function, args, kwargs)

        refuse_donated([_original(leaf) for leaf in leaves], names)

    def _run(self, entry: Specialised, leaves: Sequence[Any]) -> Any:
        if not self._options.check_nan:
            return run_on_device(entry, leaves)
        from graphc.debugging import run_checked  # here, for who debugs

        return run_checked(entry, leaves, run_on_device)

    def _call_plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, structure = tree.flatten((args, kwargs))
        args, kwargs = tree.unflatten(structure, [_on_host(leaf) for leaf in leaves])
        return super()._call_plainly(args, kwargs)

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Specialised:
        return self._of_leaves(*tree.flatten((args, kwargs)))

    def address(self, *args: Any, **kwargs: Any) -> Any:
        raise errors.ArgumentError(
            'a step for target="cuda" has no address in this machine; compile the function with'
            ' target="cpu" for one',
            user_loc(),
        )


# ---- arguments -----------------------------------------------------------------------------------


def _fitting(entry: Specialised, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
    """The leaves of arguments that are all different arrays and have the entry's signature."""
    leaves: list[Any] = []
    if entry.sharing is not None or not tree.gather(entry.structure, (args, kwargs), leaves):
        return None
    kinds = [
        (leaf.dtype, leaf.shape) if type(leaf) is DeviceArray else kind_of(leaf) for leaf in leaves
    ]
    if kinds != entry.kinds or not entry.holds_for(leaves):
        return None
    places = [leaf.address for leaf in leaves if type(leaf) is DeviceArray]
    arrays = [id(leaf) for leaf in leaves if type(leaf) is np.ndarray]
    is_apart = len(set(places)) == len(places) and len(set(arrays)) == len(arrays)
    return leaves if is_apart else None


def placed(values: Any, session: Session) -> tuple[list[Any], tree.Structure]:
    """The leaves and the structure of arguments, in which arrays that other libraries have on the
    device are `DeviceArray`s.  An array that is there twice is one leaf twice."""
    leaves, structure = tree.flatten(values)
    if not _has_foreign(structure):
        return leaves, structure
    found: list[Any] = []
    known: dict[int, Any] = {}
    take = functools.partial(_taken, session=session, known=known)
    return found, _placed(structure, iter(leaves), take, found)


def _has_foreign(structure: tree.Structure) -> bool:
    if isinstance(structure, tree.Static):
        return is_foreign(structure.value)
    return isinstance(structure, tree.Node) and any(map(_has_foreign, structure.parts))


def _placed(
    structure: tree.Structure,
    leaves: Iterator[Any],
    take: Callable[[Any], Any],
    found: list[Any],
) -> tree.Structure:
    if isinstance(structure, tree.Node):
        parts = tuple([_placed(part, leaves, take, found) for part in structure.parts])
        return tree.Node(structure.kind, structure.keys, parts)
    if isinstance(structure, tree.Static):
        if not is_foreign(structure.value):
            return structure
        found.append(take(structure.value))
    else:
        found.append(next(leaves))
    return tree.LEAF


def _taken(value: Any, session: Session, known: dict[int, Any]) -> Any:
    if id(value) not in known:
        try:
            known[id(value)] = imported(value, session)
        except errors.ArgumentError as error:
            raise errors.ArgumentError(str(error), user_loc()) from None
    return known[id(value)]


def stand_ins(leaves: Sequence[Any]) -> list[Any]:
    """The leaves, with the type of each array on the device in its place."""
    known: dict[tuple[Any, ...], Elsewhere] = {}
    found: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, DeviceArray):
            key = leaf.address if leaf.size else id(leaf), leaf.shape, leaf.dtype
            if key not in known:
                known[key] = Elsewhere(leaf.shape, leaf.dtype)
            leaf = known[key]
        found.append(leaf)
    return found


def _original(leaf: Any) -> Any:
    """The caller's own object."""
    is_other = isinstance(leaf, DeviceArray) and leaf.origin is not None
    return leaf.origin if is_other else leaf


def _on_host(leaf: Any) -> Any:
    return leaf.copy_to_host() if isinstance(leaf, DeviceArray) else leaf


# ---- the call ------------------------------------------------------------------------------------


def run_on_device(entry: Specialised, leaves: Sequence[Any]) -> Any:
    """The result of the step for leaves of its signature."""
    step = entry.ready()
    assert isinstance(step, CudaStep)
    types = entry.known.graph.in_types
    arrays: list[Any] = [
        leaf if isinstance(leaf, DeviceArray) else as_array(leaf, type.numpy_dtype, name)
        for leaf, type, name in zip(leaves, types, entry.names, strict=True)
    ]
    _expect_there(leaves, entry.names, current_session())
    for i in step.program.updated:
        _expect_ours(i, leaves, entry.names)
    on_host = {i for i in step.program.updated if isinstance(leaves[i], np.ndarray)}
    expect_apart(on_host, leaves, entry.names)
    for i in entry.donated:
        arrays[i] = _moved(arrays[i])
    try:
        results = step(arrays, entry.result_types)
    except errors.OverlapError:
        first, second = (entry.names[i] for i in step.overlapping(arrays) or (0, 0))
        raise errors.OverlapError(
            f"{first} is assigned to in place and shares memory with {second}; pass a copy of one"
            " of them",
            user_loc(),
        ) from None
    for i in step.program.updated.difference(entry.donated):
        if isinstance(leaves[i], np.ndarray) and arrays[i] is not leaves[i]:
            leaves[i][...] = arrays[i]
    returned = [
        results[r.index]
        if not r.is_argument
        else arrays[r.index].view()  # the donated array itself is not used again
        if r.index in entry.donated
        else _original(leaves[r.index])
        for r in entry.traced.results
    ]
    return tree.unflatten(entry.traced.structure, returned)


def _expect_there(leaves: Sequence[Any], names: Sequence[str], session: Session) -> None:
    """Arrays of a device are of this one."""
    for leaf, name in zip(leaves, names, strict=True):
        if type(leaf) is DeviceArray and leaf.session is not session:
            raise errors.ArgumentError(
                f"argument {name} was made on a device that has stopped since, or on another one;"
                " make it again",
                user_loc(),
            )


def _expect_ours(i: int, leaves: Sequence[Any], names: Sequence[str]) -> None:
    """An argument that is assigned to can be."""
    if isinstance(leaves[i], DeviceArray) and leaves[i].is_constant:
        raise errors.ReadOnlyError(
            f"{names[i]} is assigned to, but the library that it is of does not allow it; pass a"
            " copy",
            user_loc(),
        )
    if isinstance(leaves[i], np.ndarray):
        expect_writable(leaves[i], names[i])


def to_device(values: Any) -> Any:
    """Copies of arrays in the memory of the device, in the structure that they are given in.

    Raises what a call of a function compiled with `target="cuda"` raises where there is no device,
    and `graphc.errors.DeviceMemoryError` where it has no room.
    """
    leaves, structure = tree.flatten(values)
    if not any(isinstance(leaf, (np.ndarray, np.generic)) for leaf in leaves):
        return values
    return tree.unflatten(structure, [_moved(leaf) for leaf in leaves])


def _moved(leaf: Any) -> Any:
    is_array = isinstance(leaf, (np.ndarray, np.generic))
    return array_to_device(np.asarray(leaf)) if is_array else leaf
