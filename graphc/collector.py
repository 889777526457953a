"""Python's collector of cyclic garbage, which waits while something compiles.

A compilation makes many small objects and keeps most of them: the collector would look through them
again and again, for a fifth of the time, and find nothing.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Pauses:
    """How many compilations go on, in any thread, and whether the collector was on before."""

    lock = threading.Lock()
    count = 0
    was_enabled = False


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile; pauses may overlap, and the last to end switches on again."""
    with _Pauses.lock:
        if _Pauses.count == 0:
            _Pauses.was_enabled = gc.isenabled()
            gc.disable()
        _Pauses.count += 1
    try:
        yield
    finally:
        with _Pauses.lock:
            # In a forked child the pauses that it was born with are over already.
            if _Pauses.count == 1 and _Pauses.was_enabled:
                gc.enable()
            _Pauses.count = max(_Pauses.count - 1, 0)


def _end_all() -> None:
    """In a forked child: the threads that would end their pauses are not there."""
    _Pauses.lock = threading.Lock()
    if _Pauses.count and _Pauses.was_enabled:
        gc.enable()
    _Pauses.count = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_all)
