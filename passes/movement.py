"""The rules of `simplify` for ops that move elements, and for reductions of what was only moved.

No rule computes a value: each reads the same elements by fewer equations, so each is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphc.build import literal
from graphc.dims import Size, surely_less
from graphc.ir import FLOATS, Atom, Eqn, Lit
from graphc.ops import elementwise, reduce, shape
from graphc.ops.reduce import without
from graphc.passes.rewrite import Result, Rewriter, Rule, same_number

Ints = tuple[int, ...]

READABLE_POSITIONS = 4096
"""Constant positions are read by `take_as_slice` up to this many."""

SEARCHED_OPERANDS = 64
"""`slice_of_concatenate` looks for its operand among up to this many: each slice looks again."""

# ---- reshape, transpose, broadcast ---------------------------------------------------------------


def identity_view(at: Rewriter, eqn: Eqn) -> Result:
    """reshape(x), broadcast(x), skew(x) = x where the shape stays: no other arrangement is left."""
    return eqn.ins[0] if eqn.ins[0].type == eqn.out.type else None


def identity_transpose(at: Rewriter, eqn: Eqn) -> Result:
    """transpose(x, (0, 1, 2)) = x."""
    axes = eqn.attrs["axes"]
    return eqn.ins[0] if axes == tuple(range(len(axes))) else None


def reshape_of_reshape(at: Rewriter, eqn: Eqn) -> Result:
    """reshape(reshape(x, a), b) = reshape(x, b): both keep the order of the elements."""
    inner = at.definition(eqn.ins[0], shape.reshape)
    return None if inner is None else at.make(shape.reshape, inner.ins[0], **eqn.attrs)


def transpose_of_transpose(at: Rewriter, eqn: Eqn) -> Result:
    """transpose(transpose(x, a), b) = transpose(x, a[b])."""
    inner = at.definition(eqn.ins[0], shape.transpose)
    if inner is None:
        return None
    axes = tuple(inner.attrs["axes"][axis] for axis in eqn.attrs["axes"])
    return at.make(shape.transpose, inner.ins[0], axes=axes)


def broadcast_of_broadcast(at: Rewriter, eqn: Eqn) -> Result:
    """broadcast(broadcast(x, a), b) = broadcast(x, b[a])."""
    inner = at.definition(eqn.ins[0], shape.broadcast)
    if inner is None:
        return None
    axes = tuple(eqn.attrs["axes"][axis] for axis in inner.attrs["axes"])
    return at.make(shape.broadcast, inner.ins[0], shape=eqn.attrs["shape"], axes=axes)


def broadcast_of_reshape(at: Rewriter, eqn: Eqn) -> Result:
    """broadcast(reshape(x)) = broadcast(x) where the reshape only inserts axes of size 1."""
    inner = at.definition(eqn.ins[0], shape.reshape)
    if inner is None:
        return None
    kept = _kept_axes(inner.ins[0].type.shape, inner.out.type.shape)
    if kept is None:
        return None
    axes = tuple(eqn.attrs["axes"][axis] for axis in kept)
    return at.make(shape.broadcast, inner.ins[0], shape=eqn.attrs["shape"], axes=axes)


def broadcast_of_skew(at: Rewriter, eqn: Eqn) -> Result:
    """broadcast(skew(x)) = skew(broadcast(x)): windows of windows are one array read askew."""
    inner = at.definition(eqn.ins[0], shape.skew)
    if inner is None:
        return None
    target, axes = eqn.attrs["shape"], eqn.attrs["axes"]
    pair = inner.attrs["axis"], inner.attrs["by"]
    if any(inner.out.type.shape[i] != target[axes[i]] for i in pair):
        return None  # what is repeated along its own axis has no steps there
    axis, by = (axes[i] for i in pair)
    x = inner.ins[0]
    whole = (*target[:axis], x.type.shape[pair[0]], *target[axis + 1 :])
    repeated = at.make(shape.broadcast, x, shape=whole, axes=axes)
    return at.make(shape.skew, repeated, axis=axis, by=by, step=inner.attrs["step"])


def _kept_axes(old: Ints, new: Ints) -> Ints | None:
    """Where the axes of `old` lie in `new`, if all other axes of `new` have size 1."""
    kept: list[int] = []
    for axis, size in enumerate(new):
        if len(kept) < len(old) and old[len(kept)] == size:
            kept.append(axis)
        elif size != 1:
            return None
    return tuple(kept) if len(kept) == len(old) else None


# ---- slice, update_slice -------------------------------------------------------------------------


def identity_slice(at: Rewriter, eqn: Eqn) -> Result:
    """x[:] = x."""
    return eqn.ins[0] if _is_whole(eqn.ins[0], eqn.attrs["sizes"], eqn.attrs["steps"]) else None


def _is_whole(x: Atom, sizes: Ints, steps: Ints) -> bool:
    """Whether a window of these sizes is all of x, in order: its start can then only be 0."""
    return x.type.shape == sizes and all(
        step == 1 or size == 1 for step, size in zip(steps, sizes, strict=True)
    )


def slice_of_slice(at: Rewriter, eqn: Eqn) -> Result:
    """x[a][b] is one window: element i is a.start + (b.start + i * b.step) * a.step."""
    inner = at.definition(eqn.ins[0], shape.slice)
    if inner is None or 0 in eqn.attrs["sizes"]:
        return None
    outer_starts, outer_steps = eqn.attrs["starts"], eqn.attrs["steps"]
    inner_starts, inner_steps = inner.attrs["starts"], inner.attrs["steps"]
    triples = zip(inner_starts, outer_starts, inner_steps, strict=True)
    return at.make(
        shape.slice,
        inner.ins[0],
        starts=tuple(start + offset * step for start, offset, step in triples),
        sizes=eqn.attrs["sizes"],
        steps=tuple(a * b for a, b in zip(inner_steps, outer_steps, strict=True)),
    )


def slice_of_update(at: Rewriter, eqn: Eqn) -> Result:
    """x[w] = v; x[w]  is v: the same window."""
    update = at.definition(eqn.ins[0], shape.update_slice)
    if update is None:
        return None
    same = all(update.attrs[key] == eqn.attrs[key] for key in ("starts", "steps"))
    return update.ins[1] if same and update.ins[1].type == eqn.out.type else None


def slice_of_pad(at: Rewriter, eqn: Eqn) -> Result:
    """pad(x)[the inside] = x."""
    padded = at.definition(eqn.ins[0], shape.pad)
    if padded is None or padded.attrs["low"] != eqn.attrs["starts"]:
        return None
    x = padded.ins[0]
    return x if _is_whole(x, eqn.attrs["sizes"], eqn.attrs["steps"]) else None


def slice_of_concatenate(at: Rewriter, eqn: Eqn) -> Result:
    """concatenate(x, y)[inside of x] = x[...], one operand being all that is read."""
    joined = at.definition(eqn.ins[0], shape.concatenate)
    if joined is None or 0 in eqn.attrs["sizes"] or len(joined.ins) > SEARCHED_OPERANDS:
        return None
    axis, starts = joined.attrs["axis"], eqn.attrs["starts"]
    first = starts[axis]
    last = first + (eqn.attrs["sizes"][axis] - 1) * eqn.attrs["steps"][axis]
    begin = 0
    for x in joined.ins:
        end = begin + x.type.shape[axis]
        if begin <= min(first, last) and max(first, last) < end:
            inside = (*starts[:axis], first - begin, *starts[axis + 1 :])
            return at.make(shape.slice, x, **{**eqn.attrs, "starts": inside})
        begin = end
    return None


def update_of_everything(at: Rewriter, eqn: Eqn) -> Result:
    """x[:] = v  is v."""
    x, v = eqn.ins
    return v if _is_whole(x, v.type.shape, eqn.attrs["steps"]) else None


def update_of_nothing(at: Rewriter, eqn: Eqn) -> Result:
    """x[0:0] = v  is x."""
    return eqn.ins[0] if eqn.ins[1].type.size == 0 else None


def update_of_update(at: Rewriter, eqn: Eqn) -> Result:
    """x[w] = u; x[w] = v  is  x[w] = v: nothing of u is left."""
    inner = at.definition(eqn.ins[0], shape.update_slice)
    if inner is None or inner.ins[1].type != eqn.ins[1].type:
        return None
    same = all(inner.attrs[key] == eqn.attrs[key] for key in ("starts", "steps"))
    return at.make(shape.update_slice, inner.ins[0], eqn.ins[1], **eqn.attrs) if same else None


# ---- pad, concatenate, take ----------------------------------------------------------------------


def pad_by_nothing(at: Rewriter, eqn: Eqn) -> Result:
    """pad(x) with widths of zero = x."""
    return eqn.ins[0] if eqn.ins[0].type == eqn.out.type else None


def pad_of_literal(at: Rewriter, eqn: Eqn) -> Result:
    """A literal padded with its own value is that literal."""
    x = eqn.ins[0]
    value = literal(eqn.attrs["value"], x.type).value
    return Lit(value, eqn.out.type) if isinstance(x, Lit) and same_number(x.value, value) else None


def concatenate_of_few(at: Rewriter, eqn: Eqn) -> Result:
    """concatenate(x, empty) = concatenate(x) = x."""
    axis = eqn.attrs["axis"]
    parts = [x for x in eqn.ins if x.type.shape[axis]] or list(eqn.ins[:1])
    if len(parts) == len(eqn.ins) > 1:
        return None
    return parts[0] if len(parts) == 1 else at.make(shape.concatenate, *parts, axis=axis)


def take_as_slice(at: Rewriter, eqn: Eqn) -> Result:
    """take(x, positions 2, 3, 4) = x[2:5]: positions known, contiguous and inside."""
    x, axis = eqn.ins[0], eqn.attrs["axis"]
    size = eqn.ins[1].type.size
    first = _first_of_run(at, eqn.ins[1])
    if first is None or first < 0 or first + size > x.type.shape[axis]:
        return None
    part = run_along(at, x, axis, first, size)
    return at.make(shape.reshape, part, shape=eqn.out.type.shape)


def run_along(at: Rewriter, x: Atom, axis: int, first: int, size: Size) -> Atom:
    """x[..., first : first + size, ...]"""
    rank = x.type.rank
    return at.make(
        shape.slice,
        x,
        starts=tuple(first if i == axis else 0 for i in range(rank)),
        sizes=tuple(size if i == axis else n for i, n in enumerate(x.type.shape)),
        steps=(1,) * rank,
    )


def _first_of_run(at: Rewriter, positions: Atom) -> int | None:
    """The first of positions that are known to rise by 1 in order."""
    if isinstance(positions, Lit):
        return int(positions.value) if positions.type.size == 1 else None
    if at.definition(positions, shape.iota):
        return 0 if positions.type.rank == 1 and positions.type.size else None
    constant = at.definition(positions, shape.constant)
    if constant is None or not 0 < positions.type.size <= READABLE_POSITIONS:
        return None
    flat = constant.attrs["value"].array.reshape(-1).astype(np.int64)
    return int(flat[0]) if np.array_equal(flat - flat[0], np.arange(flat.size)) else None


# ---- reductions ----------------------------------------------------------------------------------


def reduce_single_elements(at: Rewriter, eqn: Eqn) -> Result:
    """A reduction over no axes, or over axes of size 1, combines nothing: it drops the axes.

    A sum of floats starts from 0.0, so that the sum of one -0.0 is 0.0 (NumPy's, too).
    """
    x, axes = eqn.ins[0], eqn.attrs["axes"]
    if any(x.type.shape[axis] != 1 for axis in axes):
        return None
    element = at.make(shape.reshape, x, shape=eqn.out.type.shape)
    if eqn.op is not reduce.sum or not axes or x.type.dtype not in FLOATS:
        return element
    return at.make(elementwise.add, element, literal(0.0, element.type))


def _without_repeats(at: Rewriter, eqn: Eqn) -> tuple[Atom, int] | None:
    """The broadcast under a reduction without the reduced axes, where these only repeat values,
    and how often they do."""
    spread = at.definition(eqn.ins[0], shape.broadcast)
    reduced = eqn.attrs["axes"]
    if spread is None or not set(reduced).isdisjoint(spread.attrs["axes"]):
        return None
    repeats = math.prod(spread.attrs["shape"][axis] for axis in reduced)
    if not surely_less(0, repeats):
        return None
    axes = _renumbered(spread.attrs["axes"], reduced)
    result = without(spread.attrs["shape"], reduced)
    return at.make(shape.broadcast, spread.ins[0], shape=result, axes=axes), repeats


def _renumbered(axes: Sequence[int], dropped: Sequence[int]) -> Ints:
    return tuple(axis - sum(gone < axis for gone in dropped) for axis in axes)


def extremum_of_repeats(at: Rewriter, eqn: Eqn) -> Result:
    """max(x, x, x) = x; so too min, any, all."""
    found = _without_repeats(at, eqn)
    return None if found is None else found[0]


def sum_of_repeats(at: Rewriter, eqn: Eqn) -> Result:
    """x + x + x = x * 3: integers are a ring; for floats the roundings differ."""
    if eqn.out.type.dtype in FLOATS:
        return None
    found = _without_repeats(at, eqn)
    if found is None:
        return None
    x, repeats = found
    # The count is taken modulo 2**n, as the sum is.
    count = int(np.int64(repeats).astype(x.type.numpy_dtype))
    return at.make(elementwise.multiply, x, literal(count, x.type))


MOVEMENT: tuple[tuple[str, Rule], ...] = (
    ("reshape", identity_view),
    ("reshape", reshape_of_reshape),
    ("transpose", identity_transpose),
    ("transpose", transpose_of_transpose),
    ("broadcast", identity_view),
    ("broadcast", broadcast_of_broadcast),
    ("broadcast", broadcast_of_reshape),
    ("broadcast", broadcast_of_skew),
    ("skew", identity_view),
    ("slice", identity_slice),
    ("slice", slice_of_slice),
    ("slice", slice_of_update),
    ("slice", slice_of_pad),
    ("slice", slice_of_concatenate),
    ("update_slice", update_of_everything),
    ("update_slice", update_of_nothing),
    ("update_slice", update_of_update),
    ("pad", pad_by_nothing),
    ("pad", pad_of_literal),
    ("concatenate", concatenate_of_few),
    ("take", take_as_slice),
    *((name, reduce_single_elements) for name in ("sum", "prod", "max", "min", "any", "all")),
    *((name, extremum_of_repeats) for name in ("max", "min", "any", "all")),
    ("sum", sum_of_repeats),
)
