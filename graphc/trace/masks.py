"""Arrays that the traced function makes of ordinary values: ordinary ones as long as that works.

An ordinary mask may index, an array of sizes may be a shape, and their elements may be asked for in
an `if`.  One that a traced value is assigned to, or that changes in a branch on data, must be
traced itself: the trace then starts again, with the arrays made on that line traced from the
beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir import Loc
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.tracer import holds_tracer, lift


class Restart(BaseException):
    """Ends a trace that is to start again, with the arrays made at `loc` traced."""

    def __init__(self, loc: Loc):
        super().__init__(loc)
        self.loc = loc


def is_to_be_traced() -> bool:
    """Whether an array made at the user's current line is to be traced."""
    return is_tracing() and user_loc() in current().session.traced_masks


def made(mask: Any) -> Any:
    """An ordinary array, whose line is remembered."""
    loc = user_loc()
    if is_tracing() and type(mask) is np.ndarray and loc is not None:
        current().session.masks[id(mask)] = (mask, loc)
    return mask


def restart_if_made_here(array: np.ndarray) -> None:
    """Start again, if the array is one that the traced function made, or views one."""
    masks = current().session.masks
    seen: Any = array
    while isinstance(seen, np.ndarray):
        if id(seen) in masks:
            raise Restart(masks[id(seen)][1])
        seen = seen.base


class Target:
    """An ordinary array for the time of one assignment to its elements."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        return (lift(self.array) if holds_tracer((index,)) else self.array)[index]

    def __setitem__(self, index: Any, new: Any) -> None:
        if holds_tracer((index, new)):
            restart_if_made_here(self.array)
        self.array[index] = new


def assigned(value: Any) -> Any:
    """What to assign to an element of in place of `value`."""
    return Target(value) if type(value) is np.ndarray and is_tracing() else value
