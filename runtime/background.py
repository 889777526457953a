"""Work that is done beside whatever comes next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

A_MOMENT = 0.001
"""Seconds after which whoever began something has returned to what is urgent."""


class Background:
    """A thread that does some work, one at a time.

    The work begins after a `delay` of so many seconds: a thread that runs Python at once keeps the
    one that started it from doing so.

    A fork waits for it a while: amid it, the child would be given locks (of LLVM and ours) that
    nobody there gives back.
    """

    def __init__(self, name: str, work: Callable[[], object], delay: float = 0.0):
        self._name, self._work, self._delay = name, work, delay
        self.thread: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=lambda: self.wait(1.0))

    def begin(self) -> None:
        """Begin, unless it is under way."""
        if self.thread is None or not self.thread.is_alive():
            thread = threading.Thread(target=self._run, name=self._name)
            with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down
                thread.start()
                self.thread = thread

    def _run(self) -> None:
        if self._delay:
            time.sleep(self._delay)
        self._work()

    def wait(self, seconds: float | None = None) -> None:
        """Until the work is done, if it is under way."""
        if self.thread is not None:
            self.thread.join(seconds)
