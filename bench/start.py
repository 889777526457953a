"""One start: a new process that imports a contender and runs its first step.

    python -m bench.start CONTENDER THREADS ROW

prints a line of JSON: seconds from the first call's preparation to its result, after the import and
after the arrays are there, and the memory that it took.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

from bench import contenders
from bench.worker import own_stdout
from bench.workloads import named

STEPS = 5


def main() -> None:
    pipe = own_stdout()
    name, threads, row = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    contender = contenders.load(name, threads)
    imported = resident()
    workload = named(row)
    arguments = contender.loaded(workload)
    start = time.perf_counter()
    runner = contender.built(workload, arguments)
    runner.first()
    seconds = time.perf_counter() - start
    compiled = peak()
    forget_peak()
    runner.repeat(STEPS)
    answer = {"seconds": seconds, "compiling": compiled - imported, "running": peak() - imported}
    pipe.write(json.dumps(answer) + "\n")


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most bytes in memory since the start, or since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Let `peak` begin again, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
