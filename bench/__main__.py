"""The command: `python -m bench`, from the root of the repository.

Writes results.md, results.json and pictures into a folder, and prints the report.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import costs, driver, gpu, machine, plots
from bench.contenders import ENTRIES, UNFUSED, on_target
from bench.process import Process, pinned
from bench.report import markdown
from bench.results import Results
from bench.workloads import WORKLOADS, matching
from bench.workloads.workload import Workload

QUICK = (
    "^(tiny call|chain f32 1e[357]|chain f64 1e5|Black–Scholes f32|stencil|softmax.*1024"
    "|layer norm.*1024|cross entropy gradient 4096|matmul.*nn (64|512)|two-layer|conditional"
    "|small MLP|Adam.*small|transformer block forward)"
)
QUICK_WITHOUT = ("torch.compile", "pytensor")
"""They compile for minutes."""

TARGETS = ("cpu", "cuda")


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    options.add_argument("--only", metavar="PATTERN", help="workloads that this is found in")
    options.add_argument("--list", action="store_true", help="print the workloads, run nothing")
    options.add_argument(
        "--contenders", type=lambda text: text.split(","), help=f"some of: {', '.join(ENTRIES)}"
    )
    options.add_argument("--threads", type=int, default=2, help="for every contender (2)")
    options.add_argument("--rounds", type=int, default=15, help="turns of each contender (15)")
    options.add_argument(
        "--quick", action="store_true", help="in two minutes: fewer rows, without slow compilers"
    )
    options.add_argument(
        "--no-costs", action="store_true", help="leave out starts, imports, and sizes"
    )
    options.add_argument("--target", choices=TARGETS, default="cpu", help="where steps run (cpu)")
    options.add_argument("--output", type=Path, default=Path("bench-results"), help="folder")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.target == "cuda" and not options.list:
        gpu.expect()
    workloads = chosen_workloads(options)
    if options.list:
        print("\n".join(workload.name for workload in workloads))
        return 0
    names = chosen_contenders(options)
    results = run(workloads, names, options)
    report = markdown(results)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.md").write_text(report, encoding="utf-8")
    (options.output / "results.json").write_text(results.to_json(), encoding="utf-8")
    plots.draw(results, options.output)
    print(report)
    return 0


def chosen_workloads(options: argparse.Namespace) -> list[Workload]:
    """Those that `--only` and `--quick` leave."""
    quick = {workload.name for workload in matching(QUICK)}
    found = matching(options.only) if options.only else list(WORKLOADS)
    if options.quick and not options.only:
        found = [workload for workload in found if workload.name in quick]
    if not found:
        sys.exit(f"no workload matches {options.only!r}; --list prints them")
    return found


def chosen_contenders(options: argparse.Namespace) -> list[str]:
    """Those that `--contenders` and `--quick` leave, installed or not."""
    known = on_target(options.target)
    names = list(options.contenders or known)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no contender {', '.join(unknown)}; there are {', '.join(known)}")
    if options.quick and not options.contenders:
        names = [name for name in names if name not in QUICK_WITHOUT]
    return names


def run(workloads: list[Workload], names: list[str], options: argparse.Namespace) -> Results:
    """Measure everything, one thing after the other."""
    pinned(options.threads)
    installed = [name for name in names if ENTRIES[name].is_installed]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            return _measured(workloads, installed, names, options, log)
        except BaseException:
            say(log.read_text() if log.exists() else "")
            raise


def _measured(
    workloads: list[Workload],
    installed: list[str],
    names: list[str],
    options: argparse.Namespace,
    log: Path,
) -> Results:
    say("measuring the machine")
    is_gpu = options.target == "cuda"
    limits = gpu.measure() if is_gpu else machine.measure(options.threads)
    results = Results(
        about(options),
        versions(installed, options, log),
        [name for name in names if name not in installed],
        limits,
    )
    rounds, target = options.rounds, options.target
    results.rows = driver.measured(workloads, installed, limits, rounds, log, say, target)
    if not options.no_costs and not is_gpu:
        compiling = [name for name in installed if ENTRIES[name].compiles]
        cold = [workload for workload in workloads if workload.from_cold]
        results.starts = costs.starts(cold, compiling, options.threads, log, say)
        results.imports = costs.import_seconds(installed)
        results.sizes = costs.installed_bytes(installed)
    return results


def versions(names: Sequence[str], options: argparse.Namespace, log: Path) -> dict[str, str]:
    """Contender -> version, from its own process."""
    found = {}
    for name in names:
        if name == UNFUSED:
            continue
        process = Process(name, options.threads, log, options.target)
        found[name] = process.ask("hello").get("version", "?")
        process.stop()
    return found


def about(options: argparse.Namespace) -> dict[str, str | int]:
    """Where and how this run is made."""
    return {
        "machine": gpu.name() if options.target == "cuda" else _cpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": options.rounds,
        "target": options.target,
    }


def _cpus() -> str:
    return f"{_processor()}, {os.cpu_count()} CPUs"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


STARTED = time.perf_counter()


def say(text: str) -> None:
    """A line on stderr, with the seconds since the start."""
    print(f"[{time.perf_counter() - STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
