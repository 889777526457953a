"""Work that is done beside whatever comes next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress


class Background:
    """A thread that does some work, one at a time.

    A fork waits for it a while: amid it, the child would be given locks (of LLVM and ours) that
    nobody there gives back.
    """

    def __init__(self, name: str, work: Callable[[], object]):
        self._name, self._work = name, work
        self.thread: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=lambda: self.wait(1.0))

    def begin(self) -> None:
        """Begin, unless it is under way."""
        if self.thread is None or not self.thread.is_alive():
            thread = threading.Thread(target=self._work, name=self._name)
            with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down
                thread.start()
                self.thread = thread

    def wait(self, seconds: float | None = None) -> None:
        """Until the work is done, if it is under way."""
        if self.thread is not None:
            self.thread.join(seconds)
