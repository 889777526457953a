"""Code that only some threads run, and code that is run for several numbers in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg, constant

I64 = "i64"


@contextmanager
def only_if(f: Function, condition: Reg) -> Iterator[None]:
    """What is written inside is run where the condition holds."""
    some, none = f.name_of("some"), f.name_of("none")
    f.branch_if(condition, some, none)
    f.label(some)
    yield
    f.branch(none)
    f.label(none)


def in_turns(
    f: Function,
    first: Reg,
    stop: Reg | int,
    step: int,
    carried: Sequence[Reg],
    run: Callable[[Reg, list[Reg]], Sequence[Reg]],
) -> list[Reg]:
    """`run` for first, first + step, ... below `stop`, carrying registers; first may be beyond.

    Where `stop` is a number, first is known to be below `step`: no more turns are written than
    there are.
    """
    if isinstance(stop, int) and stop == step:
        return list(run(first, list(carried)))
    end = constant(stop, I64) if isinstance(stop, int) else stop

    def turns() -> Sequence[Reg]:
        if isinstance(stop, int) and step > stop:
            return run(first, list(carried))
        with f.loop(first, end, step, carried) as state:
            state.next = list(run(state.index, state.carried))
        return state.results

    return f.carried_if(f.icmp("slt", first, end), carried, turns)


def digits(f: Function, number: Reg, counts: Sequence[int]) -> list[Reg]:
    """A number below the product of `counts` as one index for each of them, the last one changing
    fastest.  Divided in 32 bits where they are enough: a device has no others."""
    if len(counts) < 2:
        return [number][: len(counts)]
    narrow = math.prod(counts) <= 1 << 31
    word = "i32" if narrow else I64
    number = f.convert("trunc", number, word) if narrow else number
    found: list[Reg] = []
    for count in reversed(counts[1:]):
        size = constant(count, word)
        found.append(f.binary("urem", number, size))
        number = f.binary("udiv", number, size)
    places = [number, *reversed(found)]
    return [f.convert("zext", place, I64) for place in places] if narrow else places
