"""The function that FILE.py:FN names, and whose fault it is when it raises."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from graphc import errors
from graphc.ir import Loc
from graphc.trace.scope import shown_file


def load(target: str) -> tuple[Path, Any]:
    """The file and the function that FILE.py:FN names."""
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name:
        raise errors.CommandError(f"{target!r} is not FILE.py:FN, a file and a function in it")
    path = Path(file)
    if not path.is_file():
        raise errors.CommandError(f"there is no file {file}; give the path of a Python file")
    return path, _find(_import_file(path), name, file)


def _import_file(path: Path) -> ModuleType:
    """Run the file as a module, with its folder importable, as `python FILE.py` has it."""
    sys.path.insert(0, str(path.parent.resolve()))
    name = f"graphc_file_{path.stem}"  # a file called types.py must not replace that module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise errors.CommandError(f"{path} is not a Python file; its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with blaming_user(path):
        spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, name: str, file: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise errors.CommandError(f"{file} has no function {name}{_known(module)}")
        found = getattr(found, part)
    if not callable(found) or isinstance(found, type):
        raise errors.CommandError(
            f"{name} in {file} is not a function, but of type {type(found).__name__}"
            f"{_known(module)}"
        )
    return found


def _known(module: ModuleType) -> str:
    own = [name for name, value in vars(module).items() if _is_own(value, module)]
    return f"; it has {', '.join(own)}" if own else "; it defines no function"


def _is_own(value: Any, module: ModuleType) -> bool:
    is_here = getattr(value, "__module__", None) == module.__name__
    return is_here and callable(value) and not isinstance(value, type)


@contextlib.contextmanager
def blaming_user(path: Path) -> Iterator[None]:
    """Turn an exception from the user's code into an error with the user's line.

    What the code prints goes to stderr, so that stdout is the dump alone.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except errors.GraphcError:
        raise
    except SyntaxError as error:
        where = Loc(shown_file(error.filename or str(path)) or str(path), error.lineno or 1)
        raise errors.CommandError(f"{error.msg}; correct the file", where) from None
    except (Exception, SystemExit) as error:
        where_raised = _user_line(error, path)
        if where_raised is None:
            raise  # not the user's doing: a bug of graphc, which needs its traceback
        raise errors.CommandError(
            f"{type(error).__name__}: {error}; graphc runs the file and traces the function, and"
            " this is what it raised",
            where_raised,
        ) from None


def _user_line(error: BaseException, path: Path) -> Loc | None:
    """The innermost line below the file's folder that `error` came through."""
    folder = path.parent.resolve()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(folder)
        and "site-packages" not in frame.filename
        and shown_file(frame.filename) is not None
        and frame.filename != sys.argv[0]
    ]
    if not frames:
        return None
    return Loc(shown_file(frames[-1].filename) or str(path), frames[-1].lineno or 1)


def place(function: Any) -> Loc | None:
    """Where a function is defined."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    shown = shown_file(code.co_filename) if code is not None else None
    return Loc(shown, code.co_firstlineno) if code is not None and shown is not None else None
