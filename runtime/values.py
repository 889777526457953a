"""The values of a loop nest, wherever it reads them.

An equation is computed at the coordinates at which something reads it: a view passes its reader's
coordinates on, changed; `pad` and `concatenate` ask whether they lie inside and choose; a `take`
replaces one by a position that it loads.  At the end of each chain there is memory to be loaded, or
a value that a loop has made.  The same value at the same coordinates is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from graphc.build import zero_of
from graphc.dims import Dim, Size, surely_less
from graphc.ir import Atom, Eqn, Lit, Type, Var
from graphc.ops import elementwise, reduce, shape
from graphc.ops.reduce import REDUCTIONS
from graphc.runtime.coordinates import (
    ORIGIN,
    Coordinate,
    Coordinates,
    Digit,
    address,
    bounds,
    unreshaped,
)
from graphc.runtime.kernel import Access
from graphc.runtime.nest import I64, Key, Nest, NestValue, Value
from graphc.runtime.sizes import same

Making = Generator[Key, Value, Value]
"""Makes a value: yields what it needs first, is sent it, returns the value."""

Guard = NestValue | None
Condition = NestValue | bool
"""Whether something holds: a value, or known for the whole domain."""


def demand(nest: Nest, atom: Atom, at: Coordinates, guard: Guard = None) -> Value:
    """The value of `atom` at `at`.  Without recursion: chains are longer than Python's stack."""
    first = (atom, at, guard)
    running = [(first, _make(nest, first))]
    answer: Value | None = _known(nest, first)
    if answer is not None:
        return answer
    while running:
        key, making = running[-1]
        try:
            wanted = making.send(answer) if answer is not None else next(making)
        except StopIteration as done:
            answer = nest.values[key] = done.value
            running.pop()
            continue
        answer = _known(nest, wanted)
        if answer is None:
            running.append((wanted, _make(nest, wanted)))
    return nest.values[first]


def _known(nest: Nest, key: Key) -> Value | None:
    """What is made already; what is right everywhere is right under a guard, too."""
    atom, at, guard = key
    if guard is not None and (atom, at, None) in nest.values:
        return nest.values[atom, at, None]
    return nest.values.get(key)


def _make(nest: Nest, key: Key) -> Making:
    atom, at, guard = key
    if isinstance(atom, Lit):
        return Lit(atom.value, Type(atom.type.dtype))
    if atom in nest.given:
        return nest.given[atom]
    if same(atom.type.size, 0):  # nothing ever reads an element of it
        return Lit(zero_of(atom.type.dtype), Type(atom.type.dtype))
    if atom in nest.sources:
        return _load(nest, atom, at, guard)
    eqn = nest.makers[atom]
    if eqn.op is shape.iota:
        return _iota(nest, eqn, at)
    if eqn.op is shape.dimension:
        return nest.size(eqn.attrs["size"])
    if eqn.op in REDUCTIONS:
        return (yield from _single_elements(nest, eqn, at, guard))
    rule = _RULES.get(eqn.op.name, _elementwise)
    value: Value = yield from rule(nest, eqn, at, guard)
    return value


# ---- memory --------------------------------------------------------------------------------------


def _load(nest: Nest, var: Var, at: Coordinates, guard: Guard) -> Value:
    buffer, layout = nest.sources[var]
    place, digits = address(at, layout.strides, layout.offset)
    for digit, stride in digits:
        place = place.plus(_plain(nest, digit).times(stride))
    strides: list[Size] = [0] * len(nest.domain)
    for axis, step in place.steps:
        strides[axis] = step
    access = Access(buffer, place.offset, tuple(strides))
    if len(place.found) == 1:
        ((number, step),) = place.found
        return nest.load(access, var.type.dtype, guard, nest.numbered[number], step)
    position = nest.number(Coordinate(found=place.found)) if place.found else None
    return nest.load(access, var.type.dtype, guard, position, 1)


def _plain(nest: Nest, coordinate: Coordinate | Digit) -> Coordinate:
    """A coordinate that is no digit: those are computed."""
    if isinstance(coordinate, Coordinate):
        return coordinate
    value = nest.number(coordinate.whole)
    if not same(coordinate.below, 1):
        value = nest.compute("floor_divide", "i64", [value, nest.size(coordinate.below)])
    if not coordinate.leads:
        value = nest.compute("mod", "i64", [value, nest.size(coordinate.size)])
    if isinstance(value, Lit):
        return Coordinate(int(value.value))
    return nest.found(value, coordinate.size)


# ---- guards --------------------------------------------------------------------------------------


def _inside(nest: Nest, at: Sequence[Coordinate], shape: Sequence[Size]) -> Condition:
    """Whether an element lies inside of an array of the given shape."""
    holds: Condition = True
    for coordinate, size in zip(at, shape, strict=True):
        holds = _both(nest, holds, _at_least(nest, coordinate, 0))
        holds = _both(nest, holds, _below(nest, coordinate, size))
    return holds


def _at_least(nest: Nest, coordinate: Coordinate, least: Size) -> Condition:
    known = bounds(coordinate, nest.domain, nest.ranges)
    if known is not None and surely_less(least - 1, known[0]):
        return True
    if known is not None and surely_less(known[1], least):
        return False
    bare = coordinate._replace(offset=0)
    limit = nest.size(least - coordinate.offset)
    return nest.compute("greater_equal", "bool", [nest.number(bare), limit])


def _below(nest: Nest, coordinate: Coordinate, end: Size) -> Condition:
    known = bounds(coordinate, nest.domain, nest.ranges)
    if known is not None and surely_less(known[1], end):
        return True
    if known is not None and surely_less(end - 1, known[0]):
        return False
    bare = coordinate._replace(offset=0)
    limit = nest.size(end - coordinate.offset)
    return nest.compute("less", "bool", [nest.number(bare), limit])


def _both(nest: Nest, one: Condition, other: Condition) -> Condition:
    if one is False or other is False:
        return False
    if one is True or other is True:
        return other if one is True else one
    return nest.compute("logical_and", "bool", [one, other])


def _narrowed(nest: Nest, guard: Guard, holds: Condition) -> Guard:
    """`guard` and `holds`, which is not known to be False."""
    both = _both(nest, True if guard is None else guard, holds)
    return both if isinstance(both, NestValue) else None


# ---- operations ----------------------------------------------------------------------------------


def _elementwise(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    ins = []
    for atom in eqn.ins:
        ins.append((yield atom, at, guard))
    return nest.compute(eqn.op.name, eqn.out.type.dtype, ins, tuple(eqn.attrs.items()))


def _single_elements(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    """A reduction of axes of size 1."""
    coordinates = iter(at)
    axes = eqn.attrs["axes"]
    rank = eqn.ins[0].type.rank
    inner = tuple(ORIGIN if axis in axes else next(coordinates) for axis in range(rank))
    value = yield eqn.ins[0], inner, guard
    if eqn.op is not reduce.sum or not axes:
        return value
    dtype = eqn.out.type.dtype  # a sum of -0.0 is 0.0
    return nest.compute(elementwise.add.name, dtype, [value, Lit(zero_of(dtype), Type(dtype))])


def _broadcast(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    shape = eqn.ins[0].type.shape
    pairs = zip(shape, eqn.attrs["axes"], strict=True)
    return (yield eqn.ins[0], tuple(ORIGIN if same(n, 1) else at[axis] for n, axis in pairs), guard)


def _transpose(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    places = dict(zip(eqn.attrs["axes"], at, strict=True))
    return (yield eqn.ins[0], tuple(places[axis] for axis in range(len(at))), guard)


def _reshape(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    plain = [_plain(nest, coordinate) for coordinate in at]
    new, old = eqn.out.type.shape, eqn.ins[0].type.shape
    return (yield eqn.ins[0], unreshaped(plain, new, old), guard)


def _slice(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    window = zip(at, eqn.attrs["starts"], eqn.attrs["steps"], strict=True)
    inner = tuple(_plain(nest, c).times(step).shifted(start) for c, start, step in window)
    return (yield eqn.ins[0], inner, guard)


def _skew(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    axis, by, step = (eqn.attrs[name] for name in ("axis", "by", "step"))
    first = eqn.ins[0].type.shape[axis] - eqn.out.type.shape[axis] if step < 0 else 0
    moved = _plain(nest, at[by])
    place = _plain(nest, at[axis]).plus(moved.times(step)).shifted(first)
    inner = list(at)
    inner[by], inner[axis] = moved, place
    return (yield eqn.ins[0], tuple(inner), guard)


def _pad(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    (x,) = eqn.ins
    pairs = zip(at, eqn.attrs["low"], strict=True)
    inner = tuple(_plain(nest, c).shifted(-low) for c, low in pairs)
    fill = Lit(eqn.attrs["value"], Type(x.type.dtype))
    holds = _inside(nest, inner, x.type.shape)
    if holds is False:
        return fill
    value = yield x, inner, _narrowed(nest, guard, holds)
    return value if holds is True else nest.compute("where", x.type.dtype, [holds, value, fill])


def _concatenate(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    axis, end = eqn.attrs["axis"], 0
    here = _plain(nest, at[axis])
    parts: list[tuple[Condition, Value]] = []
    for x in eqn.ins:
        begin, end = end, end + x.type.shape[axis]
        after, before = _at_least(nest, here, begin), _below(nest, here, end)
        if after is False or before is False:
            continue
        inner = (*at[:axis], here.shifted(-begin), *at[axis + 1 :])
        held = _narrowed(nest, guard, _both(nest, after, before))
        parts.append((before, (yield x, inner, held)))
    result = parts[-1][1]
    for before, value in reversed(parts[:-1]):
        assert isinstance(before, NestValue)
        result = nest.compute("where", eqn.out.type.dtype, [before, value, result])
    return result


def _update_slice(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    """By steps of 1 or -1, whose inverse is themselves; an axis of size 1 has no step."""
    x, v = eqn.ins
    window = zip(at, eqn.attrs["starts"], eqn.attrs["steps"], v.type.shape, strict=True)
    inner = tuple(
        _plain(nest, c).shifted(-start).times(1 if same(size, 1) else step)
        for c, start, step, size in window
    )
    holds = _inside(nest, inner, v.type.shape)
    if holds is False:
        return (yield x, at, guard)
    value = yield v, inner, _narrowed(nest, guard, holds)
    if holds is True:
        return value
    old = yield x, at, guard
    return nest.compute("where", x.type.dtype, [holds, value, old])


def _take(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    x, positions = eqn.ins
    axis, count = eqn.attrs["axis"], positions.type.rank
    found = yield positions, at[axis : axis + count], guard
    place = _position(nest, found, x.type.shape[axis])
    return (yield x, (*at[:axis], place, *at[axis + count :]), guard)


def _pick(nest: Nest, eqn: Eqn, at: Coordinates, guard: Guard) -> Making:
    x, positions = eqn.ins
    axis = eqn.attrs["axis"]
    found = yield positions, at, guard
    place = _position(nest, found, x.type.shape[axis])
    return (yield x, (*at[:axis], place, *at[axis:]), guard)


def _position(nest: Nest, found: Value, size: Size) -> Coordinate:
    """A computed position, clamped: whatever it is, no memory outside is touched."""
    if isinstance(found, Lit) and not isinstance(size, Dim):
        return Coordinate(min(max(int(found.value), 0), size - 1))
    wide = nest.compute("cast", "i64", [found], (("dtype", "i64"),))
    low = nest.compute("maximum", "i64", [wide, Lit(0, I64)])
    return nest.found(nest.compute("minimum", "i64", [low, nest.size(size - 1)]), size)


def _iota(nest: Nest, eqn: Eqn, at: Coordinates) -> Value:
    position = nest.number(_plain(nest, at[eqn.attrs["axis"]]))
    dtype = eqn.attrs["dtype"]
    return nest.compute("cast", dtype, [position], (("dtype", dtype),))


_RULES: dict[str, Callable[..., Any]] = {
    "broadcast": _broadcast,
    "transpose": _transpose,
    "reshape": _reshape,
    "slice": _slice,
    "skew": _skew,
    "pad": _pad,
    "concatenate": _concatenate,
    "update_slice": _update_slice,
    "take": _take,
    "pick": _pick,
}
"""The operations that are not elementwise, by name."""
