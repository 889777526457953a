"""Axis maps: along which axes of a loop nest the axes of a value run.

A loop nest has a *domain*, the sizes that it loops over, those of 1 left out.  The axis map of a
value says for each of its axes which domain axis it runs along, or None for an axis of size 1.
`fuse` decides with these which equations share a nest, the scheduler which loop a value belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.ir import Eqn, Type
from graphc.ops import index, shape
from graphc.ops.reduce import REDUCTIONS

AxisMap = tuple[int | None, ...]


def natural_map(type: Type) -> AxisMap:
    """The axes of a value, numbered without those of size 1."""
    axes: list[int | None] = []
    for size in type.shape:
        axes.append(None if size == 1 else sum(axis is not None for axis in axes))
    return tuple(axes)


def natural_domain(type: Type) -> tuple[int, ...]:
    return tuple(size for size in type.shape if size != 1)


def is_unit_reshape(eqn: Eqn) -> bool:
    """A reshape that only adds or drops axes of size 1."""
    return eqn.op is shape.reshape and natural_domain(eqn.ins[0].type) == natural_domain(
        eqn.out.type
    )


def is_read_elsewhere(eqn: Eqn, own: AxisMap) -> bool:
    """Whether an equation has no axes of its own: it is computed at whatever place reads it.

    Its map is then empty, though its value has axes.
    """
    looped = eqn.ins[0].type if eqn.op in REDUCTIONS else eqn.out.type
    return len(own) != looped.rank


def result_map(eqn: Eqn, own: AxisMap) -> AxisMap:
    """The axis map of the result of an equation whose own map is `own`."""
    if eqn.op in REDUCTIONS:
        return tuple(axis for i, axis in enumerate(own) if i not in eqn.attrs["axes"])
    return own


def reduced_axes(eqn: Eqn, own: AxisMap) -> frozenset[int]:
    """The domain axes that a reduction combines."""
    return frozenset(axis for i in eqn.attrs["axes"] if (axis := own[i]) is not None)


def is_column_total(eqn: Eqn, own: AxisMap, reduce: Iterable[int]) -> bool:
    """Whether an equation adds up what the rows of a nest give, whose rows run along `reduce`.

    It combines the other axes, or all of them; its result is there when the nest has ended.
    """
    if eqn.op not in REDUCTIONS or is_read_elsewhere(eqn, own):
        return False
    combined = reduced_axes(eqn, own)
    return bool(combined) and combined != frozenset(reduce)


def operand_map(eqn: Eqn, own: AxisMap, operand: Type) -> AxisMap:
    """The axis map that an operand has in an equation whose own map is `own`."""
    if eqn.op is shape.broadcast:
        return tuple(
            None if size == 1 else own[axis]
            for size, axis in zip(operand.shape, eqn.attrs["axes"], strict=True)
        )
    if eqn.op is index.take:  # its positions: what it takes from has no axes of the domain's
        return own[eqn.attrs["axis"] : eqn.attrs["axis"] + operand.rank]
    if eqn.op is shape.reshape:
        # An axis that a matrix product sums over is None as well, and larger than 1.
        sizes = zip(eqn.out.type.shape, own, strict=True)
        axes = iter([axis for size, axis in sizes if size != 1])
        return tuple(None if size == 1 else next(axes) for size in operand.shape)
    return own
