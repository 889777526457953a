"""What an `except` clause of a traced function must not catch: that something cannot be traced.

NumPy would not have raised it, so that a handler that went on from there would make another program
of the function, in silence.
"""

from __future__ import annotations

import sys

import numpy as np

from graphc import errors
from graphc.trace.scope import is_tracing

_REFUSALS = (
    errors.AmbiguousTruthError,
    errors.BranchMismatchError,
    errors.CarriedTypeError,
    errors.ConcreteValueError,
    errors.DataDependentShapeError,
    errors.GradientError,
    errors.LeakedValueError,
    errors.NoSourceError,
    errors.OneSidedNameError,
    errors.RandomStateError,
    errors.ReadOnlyError,
    errors.StaleValueError,
    errors.UndecidedSizeError,
    errors.UnsupportedAttributeError,
    errors.UnsupportedFunctionError,
    errors.UnsupportedIndexError,
    errors.UnsupportedSyntaxError,
)


def caught() -> None:
    """Called first in every `except` clause: raises a refusal again, and lets all else be."""
    if not is_tracing():
        return
    error = sys.exc_info()[1]
    while error is not None:
        if _is_refusal(error):
            raise error
        error = error.__cause__ or error.__context__


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, errors.NumberAssignedError):  # a TypeError in Python and NumPy as well
        return False
    if isinstance(error, errors.UnsupportedAttributeError):  # a question that arrays answer, too
        return error.name is None or hasattr(np.ndarray, error.name)
    return isinstance(error, _REFUSALS)
