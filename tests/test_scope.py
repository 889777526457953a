"""Scopes are closed graphs: captures, writes that are undone, and the user's line."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import Type
from graphc.trace.scope import (
    Session,
    Storage,
    current,
    is_tracing,
    open_scope,
    reenter,
    shown_file,
    user_loc,
)

F64 = Type("f64", (3,))


def test_a_value_of_the_scope_around_is_captured_once() -> None:
    with open_scope("outer", Session()) as outer:
        param = outer.builder.param(F64)
        storage = Storage(param.atom, outer, mutable=True)
        with open_scope("inner") as inner:
            with open_scope("innermost") as innermost:
                first, second = innermost.read(storage), innermost.read(storage)
            assert first.atom is second.atom is innermost.captures[param.atom].atom
            assert innermost.outer(param.atom) is inner.captures[param.atom].atom
        assert inner.outer(param.atom) is param.atom
        assert len(inner.builder.params) == len(innermost.builder.params) == 1


def test_writes_are_undone() -> None:
    with open_scope("outer", Session()) as outer:
        param = outer.builder.param(F64)
        storage = Storage(param.atom, outer, mutable=True)
        with open_scope("inner") as inner:
            new = inner.builder.literal(1.0, F64)
            inner.write(storage, new)
            assert inner.read(storage).atom is new.atom
            assert [value.atom for value in inner.undo_writes().values()] == [new.atom]
        assert storage.atom is param.atom and storage.scope is outer


def test_values_do_not_leave_their_scope() -> None:
    with open_scope("outer", Session()) as outer:
        outer.builder.param(F64)
        with open_scope("then") as then:
            storage = Storage(then.builder.param(F64).atom, then, mutable=True)
        with (
            open_scope("else") as other,
            pytest.raises(errors.LeakedValueError, match="test_scope"),
        ):
            other.read(storage)
        with reenter(then):
            assert then.read(storage).atom is storage.atom
    with pytest.raises(errors.LeakedValueError, match="outside of the function"):
        current()
    assert not is_tracing()


def test_the_users_line() -> None:
    loc = user_loc()
    assert loc is not None and loc.file.endswith("test_scope.py")
    assert shown_file(np.__file__) is None
    assert shown_file("<frozen importlib._bootstrap>") is None
    assert shown_file("/somewhere/else.py") == "/somewhere/else.py"


def test_the_users_line_is_not_in_the_text_of_a_dataclass() -> None:
    with pytest.raises(errors.ShapeError, match="a shape is made of whole numbers") as caught:
        gc.Spec((2, -1))
    assert caught.value.loc is not None and caught.value.loc.file.endswith("test_scope.py")
