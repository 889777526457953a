"""Which device the steps of this process run on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graphc import errors
from graphc.runtime.cuda.device import Device, Fault, OutOfMemory
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
    there is none, `errors.DeviceMemoryError` where it has no memory at all.
    """
    with _current.lock:
        session = _current.session
        if session is None:
            from graphc.runtime.cuda.driver import open_device

            session = _current.session = _started(open_device)
        elif session.is_lost:
            session = _current.session = _started(session.device.reset)
        return session


def _started(make: Callable[[], Device]) -> Session:
    try:
        return Session(make())
    except OutOfMemory:
        raise errors.DeviceMemoryError(
            "the GPU has no memory left to be started with: other processes have it (nvidia-smi"
            ' says which); end them, or use target="cpu"'
        ) from None
    except Fault as fault:
        raise errors.NoDeviceError(
            f'target="cuda": the GPU does not start ({fault}); see nvidia-smi.  After a fault it'
            ' may take a new process; target="cpu" works in this one'
        ) from None


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
