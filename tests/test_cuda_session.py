"""What a session remembers of its work, to name the kernel of a fault."""

from __future__ import annotations

import pytest

from graphc import errors
from graphc.runtime.cuda import session as sessions
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.device import Fault
from graphc.runtime.cuda.emulated.host import HostDevice


def test_another_thread_may_queue_work_while_a_fault_is_described(monkeypatch):
    with use(HostDevice()) as session:
        for _ in range(3):
            session.note((), None)

        def calls(items):
            session.note((), None)  # as another thread would
            return ()

        monkeypatch.setattr(sessions, "_calls", calls)
        for block in (session.waiting, session.reporting):
            with pytest.raises(errors.DeviceFaultError, match="it stops"), block():
                raise Fault("it stops")
