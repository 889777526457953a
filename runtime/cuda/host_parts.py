"""What the host takes part in while a step runs on a device, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.runtime.cuda.code import all_items, lines_of
from graphc.runtime.cuda.pieces import MOST_CALLS, Chosen, Piece, Repeated
from graphc.runtime.program import Branch, Call, Foreign, Item, Pop, Program, Push, Repeat


def host_parts(program: Program, pieces: Sequence[Piece]) -> tuple[str, ...]:
    """A line for each conditional, loop and function that is not left to the device."""
    return tuple(dict.fromkeys(_parts(program, pieces)))


def _parts(program: Program, pieces: Sequence[Piece]) -> Iterator[str]:
    for piece in pieces:
        match piece:
            case Foreign():
                yield _foreign(program, piece)
            case Call():
                at = _at(next(iter(lines_of(piece)), None))
                yield f"{piece.kernel.name} runs on the processor{at}: {piece.processor}"
            case Chosen(branch=branch, then=then, otherwise=otherwise):
                yield f"which side of a conditional runs{_where(program, branch)}"
                yield from _parts(program, (*then, *otherwise))
            case Repeated(repeat=repeat, test=test, body=body):
                yield _loop(program, repeat)
                yield from _parts(program, (*test, *body))


def _foreign(program: Program, foreign: Foreign) -> str:
    eqn = program.checks[foreign.number]
    return f"{eqn.op.name} runs on this machine{_at(eqn.loc)}"


def _loop(program: Program, repeat: Repeat) -> str:
    items = list(all_items((*repeat.test, *repeat.body)))
    keeps = any(isinstance(item, (Push, Pop)) for item in items)
    calls = any(isinstance(i, Foreign) or (isinstance(i, Call) and i.processor) for i in items)
    why = (
        "its records for a gradient take memory that grows"
        if keeps
        else "it calls what runs on this machine"
        if calls
        else f"it is more than {MOST_CALLS} kernels"
    )
    return f"the turns of a loop{_where(program, repeat)}: {why}"


def _where(program: Program, item: Item) -> str:
    """The first line of the user's that something inside comes from."""
    held = item.then + item.otherwise if isinstance(item, Branch) else ()
    held = (*item.test, *item.body) if isinstance(item, Repeat) else held
    for inside in all_items(held):
        if isinstance(inside, Call) and lines_of(inside):
            return _at(next(iter(lines_of(inside))))
        if isinstance(inside, Foreign):
            return _at(program.checks[inside.number].loc)
    return ""


def _at(loc: object) -> str:
    return "" if loc is None else f" ({loc})"
