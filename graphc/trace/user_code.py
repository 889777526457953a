"""Whose code a file holds: the user's, an installed package's, or a library's that is not read."""

from __future__ import annotations

import os
import site
import sysconfig
import types

import numpy as np

# ---- graphc's own files and NumPy's --------------------------------------------------------------


def _package_roots() -> tuple[str, ...]:
    """The folders whose frames are not the user's: graphc's own (also when installed in place)."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    beside = os.path.dirname(here)
    siblings = [os.path.join(beside, name) for name in ("passes", "runtime")]
    return tuple(os.path.join(path, "") for path in (here, *siblings, os.path.dirname(np.__file__)))


_ROOTS = _package_roots()
SHOWN: dict[str, str | None] = {}
"""How a file is shown in messages, None for a file that is not the user's: a cache by file name."""


def shown_file(filename: str) -> str | None:
    """The path of a user's file, relative to the working directory where it lies inside it."""
    if filename not in SHOWN:
        SHOWN[filename] = _show(filename)
    return SHOWN[filename]


def _show(filename: str) -> str | None:
    path = os.path.abspath(filename)
    if path.startswith(_ROOTS) or filename.startswith("<frozen"):
        return None
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else filename


# ---- installed packages --------------------------------------------------------------------------


def _folders(*paths: str) -> tuple[str, ...]:
    return tuple(os.path.join(os.path.abspath(path), "") for path in paths)


_PATHS = sysconfig.get_paths()
_PACKAGES = _folders(
    _PATHS["purelib"], _PATHS["platlib"], *site.getsitepackages(), site.getusersitepackages()
)
_LIBRARIES = (
    *_PACKAGES,
    *_folders(_PATHS["stdlib"], _PATHS["platstdlib"], os.path.dirname(np.__file__)),
)

_NEVER_READ = frozenset({"numpy", "scipy", "numba", "llvmlite", "graphc"})
"""Packages of which graphc takes functions over as wholes, or refuses them."""


def is_user_code(code: types.CodeType) -> bool:
    """Whether a function is the user's own: not graphc's, not an installed library's."""
    return is_users_file(code.co_filename) and shown_file(code.co_filename) is not None


def is_users_file(filename: str) -> bool:
    """Whether a file lies outside of the folders of Python's and installed libraries."""
    return not os.path.abspath(filename).startswith(_LIBRARIES)


def is_package_code(code: types.CodeType) -> bool:
    """Whether a function is an installed package's whose source is read like the user's.

    Not the standard library's: its functions are called as they are.
    """
    path = os.path.abspath(code.co_filename)
    folder = next((folder for folder in _PACKAGES if path.startswith(folder)), None)
    if folder is None or shown_file(code.co_filename) is None:
        return False
    return path[len(folder) :].split(os.sep)[0] not in _NEVER_READ
