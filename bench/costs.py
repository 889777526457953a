"""What a contender costs before its first step: cold and warm start, import, size on disk."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import ENTRIES
from bench.driver import Say
from bench.process import environment
from bench.timing import short
from bench.workloads.workload import Workload

SLOW = ("torch.compile", "pytensor")
"""These compile for many seconds: once only, two at a time."""

TIMES = 3
IMPORTS = 5


@dataclass
class Start:
    """The first step of a workload in a new process, by contender.

    cold, warm  seconds to the first result: with empty caches on disk, and with full ones
    compiling   the most memory until then, over what the import took
    running     the most memory in the steps after it, over what the import took
    """

    name: str
    cold: dict[str, float] = field(default_factory=dict)
    warm: dict[str, float] = field(default_factory=dict)
    compiling: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)


def starts(
    workloads: Iterable[Workload], names: Sequence[str], threads: int, log: Path, say: Say
) -> list[Start]:
    """Cold and warm starts of the compiling contenders.  Nothing else runs meanwhile, but for the
    slow ones, of which two run at a time.
    """
    found = []
    for workload in workloads:
        start = Start(workload.name)
        for name in names:
            if name not in SLOW:
                _record(start, name, *_cold_and_warm(name, workload.name, threads, log, TIMES))
        slow = [name for name in names if name in SLOW]
        with ThreadPoolExecutor(2) as pool:
            tries = [pool.submit(_cold_and_warm, n, workload.name, threads, log, 1) for n in slow]
            for name, done in zip(slow, tries, strict=True):
                _record(start, name, *done.result())
        found.append(start)
        cells = [f"{n} {short(start.cold[n])} / {short(start.warm[n])}" for n in start.cold]
        say(f"cold / warm start, {workload.name}: " + ", ".join(cells))
    return found


Answers = list[dict[str, Any]]


def _cold_and_warm(
    name: str, row: str, threads: int, log: Path, times: int
) -> tuple[Answers, Answers]:
    """Answers of cold starts, each with a cache of its own, and of warm ones on the last cache."""
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(times):
            cold.append(_start(name, row, threads, Path(folder) / str(i), log))
        for _ in range(times):
            warm.append(_start(name, row, threads, Path(folder) / str(times - 1), log))
    return [a for a in cold if a], [a for a in warm if a]


def _record(start: Start, name: str, cold: Answers, warm: Answers) -> None:
    if cold and warm:
        start.cold[name] = median(answer["seconds"] for answer in cold)
        start.warm[name] = median(answer["seconds"] for answer in warm)
        start.compiling[name] = median(answer["compiling"] for answer in cold)
        start.running[name] = median(answer["running"] for answer in warm)


def _start(name: str, row: str, threads: int, cache: Path, log: Path) -> dict[str, Any]:
    """The answer of one start with this cache folder; empty where it failed."""
    with log.open("a") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "bench.start", name, str(threads), row],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(threads, caches(cache)),
            text=True,
            timeout=600,
        )
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def caches(folder: Path) -> dict[str, str]:
    """The variables that put every framework's cache on disk into `folder`."""
    return {
        "XDG_CACHE_HOME": str(folder),  # graphc
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(folder / "numba"),
    }


# ---- import time and size on disk ----------------------------------------------------------------


def import_seconds(names: Sequence[str]) -> dict[str, float]:
    """Module -> seconds of importing it in a new process, files in the system's cache: the least
    of some, less what Python needs without it.
    """
    modules = list(dict.fromkeys(ENTRIES[name].needs for name in names))
    statements = {"": "pass"} | {module: f"import {module}" for module in modules}
    spent: dict[str, list[float]] = {module: [] for module in statements}
    for _ in range(IMPORTS + 1):
        for module, statement in statements.items():
            spent[module].append(_python(statement))
    least = {module: min(seconds[1:]) for module, seconds in spent.items()}
    return {module: least[module] - least[""] for module in modules}


def _python(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], env=environment(1), check=True)
    return time.perf_counter() - start


def installed_bytes(names: Sequence[str]) -> dict[str, int]:
    """Module -> bytes on disk of what a user installs for it, with all that it requires."""
    found = {}
    for name in names:
        entry = ENTRIES[name]
        own = _own_files() if entry.is_graphc else 0
        found[entry.needs] = own + sum(map(_size, required(entry.distributions)))
    return found


def required(distributions: Iterable[str]) -> set[str]:
    """These distributions, and all that they require, as far as they are installed."""
    found: set[str] = set()
    todo = list(distributions)
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name not in found and _is_installed(name):
            found.add(name)
            todo += _requirements(name)
    return found


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _requirements(name: str) -> Iterator[str]:
    """What the distribution requires here, without its extras."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _size(name: str) -> int:
    paths = (file.locate() for file in importlib.metadata.files(name) or ())
    return sum(Path(path).stat().st_size for path in paths if Path(path).is_file())


def _own_files() -> int:
    """graphc itself, which may run from a clone."""
    import graphc
    import graphc.passes
    import graphc.runtime

    modules = (graphc, graphc.passes, graphc.runtime)
    folders = {Path(module.__path__[0]).resolve() for module in modules}
    files = {f for folder in folders for f in folder.rglob("*.py")}
    return sum(file.stat().st_size for file in files)
