"""Which device the steps of this process run on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.session import Session


class _Current:
    def __init__(self) -> None:
        self.session: Session | None = None
        self.lock = threading.Lock()


_current = _Current()


def current_session() -> Session:
    """The device that steps run on: the first GPU, opened when it is first needed.

    A device that has stopped is started again, with new memory.

    Raises `errors.MissingLibraryError`, `errors.NoDriverError` or `errors.NoDeviceError` where
    there is none.
    """
    with _current.lock:
        session = _current.session
        if session is None:
            from graphc.runtime.cuda.driver import open_device

            session = _current.session = Session(open_device())
        elif session.is_lost:
            session = _current.session = Session(session.device.reset())
        return session


def opened_session() -> Session | None:
    """The device that steps run on if one is open."""
    return _current.session


@contextmanager
def use(device: Device) -> Iterator[Session]:
    """Run steps on `device` in the block."""
    before, session = _current.session, Session(device)
    _current.session = session
    try:
        yield session
    finally:
        _current.session = before
