"""What may be written over: few statements of a joined kernel concern a result."""

from __future__ import annotations

from graphc.runtime.in_place import Touching
from graphc.runtime.kernel import Access, Load, Loop, Name, Statement, Store


def load(buffer: int) -> Load:
    return Load(Name(buffer, "f64"), Access(buffer, 0, (1,)))


def store(buffer: int) -> Store:
    return Store(Access(buffer, 0, (1,)), Name(buffer, "f64"))


def test_the_statements_that_touch_a_buffer_in_their_order() -> None:
    loop = Loop((0,), False, (load(3), store(4)))
    body: list[Statement] = [load(0), store(1), loop, load(1), store(0)]
    touching = Touching()
    assert touching.of(body, {0}) == [body[0], body[4]]
    assert touching.of(body, {1, 4}) == [body[1], loop, body[3]]
    assert touching.of(body, {2}) == []
    assert touching.of(loop.body, {4}) == [loop.body[1]]
