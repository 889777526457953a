"""The exception for what a step returns when it has failed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphc import errors
from graphc.binding import bound_text
from graphc.ops import external
from graphc.ops.index import check_error
from graphc.runtime.llvm.emit_step import OVERLAP
from graphc.runtime.llvm.emit_tapes import NO_MEMORY, WRONG_RECORD
from graphc.runtime.program import Program


def failure(
    program: Program,
    status: int,
    value: int | None,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> errors.GraphcError:
    """The exception for a status that is not 0; `value` is what failed a check, if known.

    Its message may name sizes of the graph: `sizes` are their numbers.
    """
    if status == OVERLAP:
        return errors.OverlapError(
            "an argument that is assigned to in place shares memory with another argument;"
            " pass a copy of one of them"
        )
    if status == NO_MEMORY:
        return errors.TapeMemoryError(
            "no memory is left for what a loop keeps for its gradient, iteration by iteration;"
            " gc.checkpoint has it computed again instead"
        )
    if status == WRONG_RECORD:
        return errors.TapeError("pop: the tape is empty, or its last record has other types")
    eqn = program.checks[status - 1]
    if eqn.op in external.CALLS:
        return errors.ExternalError(
            f"{eqn.attrs['function']} raised an exception; call it on its own to see which",
            eqn.loc,
        )
    message = bound_text(eqn.attrs["message"], sizes)
    if value is None:
        value, message = 0, message.replace("{value}", "a value")
    return check_error(eqn.attrs["error"], message, value, eqn.loc)
