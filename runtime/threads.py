"""How many threads a step may use, and the pool that they come from.

The pool (`graphc.runtime.llvm.pool`) is the one piece of state here: it belongs to the process, is
made when the first step that needs it is compiled, and lives until the process ends.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from graphc.runtime.llvm import pool
from graphc.runtime.llvm.jit import QUICK, Machine, add_symbols, compile_text
from graphc.runtime.llvm.target import host_target

MOST = pool.MOST_THREADS


def allowed_threads() -> int:
    """How many threads this process may keep busy: the least of what limits it.

    The CPUs that it may run on (affinity), the CPU quota of its control groups, `OMP_NUM_THREADS`,
    and, if numba has been imported, `numba.get_num_threads()`.
    """
    limits = (_cpus(), _quota(Path("/")), _from_environment(), _from_numba(), MOST)
    return max(1, min(limit for limit in limits if limit is not None))


def has_pool() -> bool:
    """Whether this system has what the pool is made of: POSIX threads."""
    return os.name == "posix" and sys.platform != "emscripten"


# ---- limits --------------------------------------------------------------------------------------


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _from_environment() -> int | None:
    """`OMP_NUM_THREADS`: a number, or one for each level of nesting, of which the first counts."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and int(first) > 0 else None


def _from_numba() -> int | None:
    """numba's limit, without starting numba's threads where it has not done so itself."""
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    if parallel is not None and getattr(parallel, "_is_initialized", False):
        return int(parallel.get_num_threads())
    config = getattr(sys.modules.get("numba"), "config", None)
    return getattr(config, "NUMBA_NUM_THREADS", None)


def _quota(root: Path) -> int | None:
    """The CPUs that the control groups of this process grant, rounded up; None without a limit."""
    granted = [limit for folder in _control_groups(root) if (limit := _granted(folder)) is not None]
    return max(1, math.ceil(min(granted))) if granted else None


def _control_groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups (both versions) and of those around them."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / "cpu" if controllers else mount
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(base):
                break
            yield folder


def _granted(folder: Path) -> float | None:
    """CPUs by `cpu.max` (version 2) or `cpu.cfs_quota_us` (version 1) of one group."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us")
        period = _read(folder / "cpu.cfs_period_us")
    try:
        granted = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max", -1 is below, or no such file
    return granted if granted > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


# ---- the pool ------------------------------------------------------------------------------------


class _Starting:
    """One thread at a time makes the pool; a forked child does not wait for a thread it lacks."""

    lock = threading.Lock()
    thread: threading.Thread | None = None

    @classmethod
    def wait(cls) -> None:
        """A fork amid it would give the child locks of LLVM that nobody there gives back."""
        if cls.thread is not None:
            cls.thread.join(1.0)

    @classmethod
    def renew(cls) -> None:
        cls.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Starting.wait, after_in_child=_Starting.renew)


def start_pool() -> None:
    """Have the pool's functions known to the code that is linked next."""
    with _Starting.lock:
        _pool()
        _register_controller()


def expect_pool(threads: int | None = None) -> None:
    """Begin to make the pool beside whatever this thread does next, until it calls `start_pool`.

    Not for a step that will have one thread.
    """
    if _Starting.thread is None and has_pool() and (threads or allowed_threads()) > 1:
        thread = threading.Thread(target=start_pool, name="graphc pool")
        with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down
            thread.start()
            _Starting.thread = thread


@functools.cache
def _pool() -> Machine:
    """The pool's machine code, which is never freed: its threads run it until the process ends.

    Compiled quickly: how long a barrier takes is up to the caches that talk to each other.
    """
    machine = compile_text(pool.pool_text(host_target().triple), QUICK)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(machine))
    add_symbols({name: machine.address(name) for name in (pool.RUN, pool.BARRIER)})
    reset = ctypes.PYFUNCTYPE(None)(machine.address(pool.RESET))
    reset()
    os.register_at_fork(after_in_child=reset)
    return machine


class PoolLimit:
    """What threadpoolctl limits: the largest team of the regions that begin from now on."""

    most = MOST

    @classmethod
    def set(cls, most: int) -> None:
        cls.most = max(1, min(int(most), MOST))
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(_pool().address(pool.LIMIT))(cls.most)


def _register_controller() -> None:
    """Show the pool to threadpoolctl, if it has been imported.

    threadpoolctl finds pools by the shared libraries of the process, and ours is no library: it
    goes by that of LLVM, which is there whenever the pool is.
    """
    threadpoolctl: Any = sys.modules.get("threadpoolctl")
    if threadpoolctl is not None and hasattr(threadpoolctl, "register"):
        _controller(threadpoolctl)


@functools.cache
def _controller(threadpoolctl: Any) -> type:
    class GraphcController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "graphc"
        internal_api = "graphc"
        filename_prefixes = ("libllvmlite", "llvmlite")

        def get_num_threads(self) -> int:
            return min(PoolLimit.most, allowed_threads())

        def set_num_threads(self, num_threads: int) -> None:
            # As many as are shown without a limit: the limit is lifted.
            PoolLimit.set(MOST if num_threads >= allowed_threads() else num_threads)

        def get_version(self) -> None:
            return None

    threadpoolctl.register(GraphcController)
    return GraphcController
