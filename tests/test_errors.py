"""The classes of errors: each also the built-in that Python or NumPy would have raised."""

from __future__ import annotations

import inspect
import pickle

import pytest

from graphc import errors
from graphc.ir import Loc

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.GraphcError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_is_documented_and_carries_its_line(cls: type) -> None:
    assert cls.__doc__ and cls.__module__ == "graphc.errors"
    error = cls("what; repair", Loc("model.py", 12))
    assert str(error) == "model.py:12: what; repair"
    assert error.loc == Loc("model.py", 12)
    assert str(cls("what")) == "what" and cls("what").loc is None


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.DTypeError, TypeError),
        (errors.IndexOutOfRangeError, IndexError),
        (errors.UnsupportedAttributeError, AttributeError),
        (errors.OneSidedNameError, NameError),
        (errors.IntegerRangeError, OverflowError),
        (errors.AmbiguousTruthError, ValueError),
        (errors.ReadOnlyError, ValueError),
        (errors.ConcreteValueError, TypeError),
    ],
)
def test_builtins(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)
    assert issubclass(cls, errors.GraphcError)


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.ShapeError("what", Loc("model.py", 1))))
    assert str(error) == "model.py:1: what"
