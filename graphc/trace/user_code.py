"""Which functions are the user's own: only their source is read."""

from __future__ import annotations

import os
import site
import sysconfig
import types

import numpy as np

from graphc.trace.scope import shown_file


def _library_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages())
    paths.add(os.path.dirname(np.__file__))
    return tuple(os.path.join(os.path.abspath(path), "") for path in paths)


_LIBRARIES = _library_folders()


def is_user_code(code: types.CodeType) -> bool:
    """Whether a function is the user's own: not graphc's, not an installed library's."""
    path = os.path.abspath(code.co_filename)
    return not path.startswith(_LIBRARIES) and shown_file(code.co_filename) is not None
