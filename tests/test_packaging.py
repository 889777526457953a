"""The distribution: every package is in the wheel, and importing graphc stays quick."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"graphc": "graphc", "passes": "graphc/passes", "runtime": "graphc/runtime"}
"""Folder of the repository -> where it is once installed."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from a copy, so that nothing old in build/ gets into it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_has_every_file(wheel: zipfile.ZipFile) -> None:
    expected = {
        str(Path(installed) / path.relative_to(ROOT / folder))
        for folder, installed in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected | {"graphc/py.typed"}


def test_metadata(wheel: zipfile.ZipFile) -> None:
    import graphc

    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = email.message_from_string(wheel.read(name).decode())
    assert metadata["Name"] == "graphc-compiler"
    assert metadata["Version"] == graphc.__version__
    assert metadata["License"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = sorted(line.split(">")[0] for line in required)
    assert names == ["llvmlite", "networkx", "numba", "numpy"]
    assert {"examples", "test", "lint"} <= set(metadata.get_all("Provides-Extra", []))


def test_command_and_license(wheel: zipfile.ZipFile) -> None:
    files = {name.rsplit("/", 1)[-1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "graphc = graphc.cli:main" in wheel.read(files["entry_points.txt"]).decode()
    assert "MIT License" in wheel.read(files["LICENSE"]).decode()


def test_import_is_light() -> None:
    """numba and networkx take long to import: they wait for their first use."""
    code = "import sys, graphc; print(*{'numba', 'networkx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_clone_is_importable_where_it_lies(tmp_path: Path) -> None:
    """In the folder of a clone, ./graphc hides the installed package."""
    code = "import graphc, graphc.passes.fuse; print(graphc.compile(lambda x: x + 1)(1.0))"
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import site, sys; sys.path += {sys.path!r}; {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "2.0\n", result.stderr
