"""Work beside whatever comes next."""

from __future__ import annotations

import threading

from graphc.runtime.background import Background


def test_work_is_done_beside_and_waited_for() -> None:
    begun, goes_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        goes_on.wait()
        done.append(threading.current_thread().name)

    background = Background("a test", work)
    background.begin()
    background.begin()  # which is under way
    begun.wait()
    assert not done
    goes_on.set()
    background.wait()
    assert done == ["a test"]


def test_work_that_can_wait_begins_later_and_may_be_begun_again() -> None:
    done: list[int] = []
    background = Background("a test", lambda: done.append(len(done)), delay=0.2)
    background.begin()
    assert not done
    background.wait()
    background.begin()
    background.wait()
    assert done == [0, 1]


def test_waiting_for_what_was_not_begun() -> None:
    Background("a test", lambda: None).wait()
