"""A contender's process, seen from the driver: requests, answers, and its turn to run."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # JAX
)

SWITCHED_OFF = ("PYTHONDONTWRITEBYTECODE",)


def environment(threads: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every contender: the number of threads in each library's own words.

    A clone may write bytecode, as what is installed has it.
    """
    kept = {name: value for name, value in os.environ.items() if name not in SWITCHED_OFF}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    counts = dict.fromkeys(THREAD_VARIABLES, str(threads))
    inductor = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no helpers that stay in memory
    return {**kept, **counts, **inductor, "PYTHONPATH": path, **(extra or {})}


def pinned(threads: int) -> None:
    """Keep this process, and so every one it starts, on so many CPUs: JAX has no other bound."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Process:
    """The process of one contender; it starts at once."""

    def __init__(self, name: str, threads: int, log: Path, target: str = "cpu"):
        self.name, self.threads, self.log, self.target = name, threads, log, target
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", self.name, str(self.threads), self.target],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self.threads),
                text=True,
            )

    def send(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `receive` finds the process dead

    def receive(self, timeout: float = 300.0) -> dict[str, Any]:
        """The answer; a process that died or hangs is started again, and answered for."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return dict(json.loads(line))
        self.stop()
        status = self.process.returncode
        self.start()
        self.ask("hello")  # it imports now, and not in another's turn
        return {"failed": f"the process ended with {status}" if ready else "took too long"}

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.receive()

    # ---- turns: who waits is stopped, because pools of threads spin after their work -------------

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
