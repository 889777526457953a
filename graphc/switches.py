"""What holds for the whole process: whether compiled functions compile."""

from __future__ import annotations


class _Switches:
    """Global state, and says so: set by `graphc.disable_compile`."""

    compiles = True


SWITCHES = _Switches()
