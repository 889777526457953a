"""The documentation is true: its Python runs, its links lead somewhere, its tables are current."""

from __future__ import annotations

import doctest
import importlib.util
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import graphc as gc

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def python_of(page: str) -> str:
    """The Python blocks of a page, each on the lines that it has there."""
    lines: list[str] = []
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1))
        lines += [""] * (first - len(lines))
        lines += block.group(1).splitlines()
    return "\n".join(lines) + "\n"


ABOUT_THE_PROCESSOR = {
    "api": "a step as a C function",
    "control_flow": "a million turns, each of them several launches",
    "shapes": "code for all sizes",
    "threads": "its threads",
}


def marked(path: Path) -> Any:
    why = ABOUT_THE_PROCESSOR.get(path.stem)
    return path if why is None else pytest.param(path, marks=pytest.mark.cpu_only(why))


@pytest.mark.parametrize("path", list(map(marked, PAGES)), ids=lambda path: path.stem)
def test_python_blocks(path: Path, tmp_path: Path) -> None:
    program = tmp_path / f"{path.stem}.py"
    program.write_text(python_of(path.read_text(encoding="utf-8")))
    runpy.run_path(str(program))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    for link in links:
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index]
    assert missing == ["index.md"]


def test_numpy_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_numpy", ROOT / "docs" / "make_numpy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    current = module.PAGE.read_text(encoding="utf-8")
    assert current == module.page(), "run `python docs/make_numpy.py`"


# ---- docstrings ----------------------------------------------------------------------------------

PUBLIC = [name for name in gc.__all__ if callable(getattr(gc, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name: str) -> None:
    subject = getattr(gc, name)
    assert subject.__doc__, f"{name} has no docstring"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(recurse=False).find(subject, name, globs={"gc": gc}):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


FUNCTIONS = [name for name in PUBLIC if not isinstance(getattr(gc, name), type)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_an_example(name: str) -> None:
    assert ">>>" in getattr(gc, name).__doc__
