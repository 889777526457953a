"""When a run is recorded, and which recording makes room."""

from __future__ import annotations

from graphc.runtime.cuda.recordings import FEW, MOST_RECORDINGS, PATIENCE, Recorded, Recordings


class Recording:
    is_open = True

    def close(self):
        self.is_open = False


def keep(recordings, key):
    recording = Recording()
    recordings.keep(key, Recorded(recording, {}))
    return recording


def test_addresses_that_come_again_are_recorded():
    known = Recordings()
    assert not known.is_due((1,))
    assert not known.is_due((2,))
    assert known.is_due((1,))
    assert known.is_due((3,), at_once=True)
    known.is_refused = True
    assert not known.is_due((1,))
    assert not known.is_due((3,), at_once=True)


def test_few_are_recorded_at_once():
    known = Recordings()
    for i in range(FEW):
        assert known.is_due((i,), at_once=True)
        keep(known, (i,))
    assert not known.is_due((99,), at_once=True)
    assert known.is_due((99,), at_once=True)


def test_the_one_that_was_not_used_for_long_makes_room():
    known = Recordings()
    held = [keep(known, (i,)) for i in range(MOST_RECORDINGS)]
    assert not known.is_due((99,), at_once=True)
    for _ in range(PATIENCE):
        assert known.find((1,))
    for i in range(2, MOST_RECORDINGS):
        assert known.again((i,))
    assert known.is_due((99,), at_once=True)
    assert [each.is_open for each in held] == [False] + [True] * (MOST_RECORDINGS - 1)


def test_looking_for_what_is_not_there_is_no_run():
    known = Recordings()
    keep(known, (1,))
    assert known.again((2,)) is None
    assert known.runs == 0
    assert known.again((1,)) is not None
    assert known.runs == 1
