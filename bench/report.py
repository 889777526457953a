"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.contenders import ENTRIES, GRAPHC, UNFUSED
from bench.costs import Start
from bench.driver import Row
from bench.goals import COLD_SHARE, COLD_SHARE_MEAN, WARM_SECONDS, Family, geometric_mean, stated
from bench.machine import Limits
from bench.results import (
    Results,
    best_ratio,
    family_misses,
    row_misses,
    start_misses,
    timed_contenders,
)
from bench.timing import short


def markdown(results: Results) -> str:
    """The whole report."""
    parts = [
        "# graphc beside its peers",
        _about(results),
        "## Against the goals",
        _families(results.rows),
        "## Time of a step",
        "Medians, with half the distance of the quartiles; the best peer in bold. *best/graphc* is"
        " the best peer's median by graphc's, *at best* the same of the minima. *of limit* is the"
        " least time that the machine allows by graphc's, and *bound* says by what.",
        _steps(results.rows),
        _missed(results.rows),
        _failed(results.rows),
        *_fusion(results.rows),
        *_starts(results.starts),
        *_costs(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right.

    >>> print(table(["row", "ms"], [["a", "1"]]))
    | row | ms |
    |---|---:|
    | a | 1 |
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(
        f"|{'|'.join(cells)}|" if cells[0] == "---" else f"| {' | '.join(cells)} |"
        for cells in lines
    )


# ---- what was measured, and on what --------------------------------------------------------------


def _about(results: Results) -> str:
    about = results.about
    versions = ", ".join(
        f"{ENTRIES[name].title} {version}" for name, version in results.versions.items()
    )
    lines = [
        f"{about['machine']}, {results.limits.threads} threads for every contender,"
        f" {about['rounds']} rounds, {about['date']}. Python {about['python']}; {versions}.",
        _limits(results.limits),
    ]
    if results.absent:
        absent = ", ".join(ENTRIES[name].title for name in results.absent)
        lines.insert(1, f"Not installed, and left out: {absent}.")
    return "\n\n".join(lines)


def _limits(limits: Limits) -> str:
    peaks = ", ".join(
        f"{flops / 1e9:.0f} GFLOP/s in {dtype}" for dtype, flops in limits.peak.items()
    )
    rates = ", ".join(
        f"{limits.copy[size] / 1e9:.0f} / {limits.triad[size] / 1e9:.0f} ({_bytes(size)})"
        for size in limits.copy
    )
    return (
        f"The machine's limits, measured in this run on the same threads: {peaks};"
        f" copy / triad in GB/s, by the bytes that each thread works on: {rates}."
    )


# ---- goals ---------------------------------------------------------------------------------------


def _families(rows: Sequence[Row]) -> str:
    lines = []
    for family in Family:
        mine = [row for row in rows if row.family == family.value]
        if not mine:
            continue
        met = sum(not row_misses(row) for row in mine)
        ratios = [ratio for row in mine if (ratio := best_ratio(row)) is not None]
        mean = f"{geometric_mean(ratios):.2f}" if ratios else "-"
        whole = "; ".join(family_misses(family, mine)) or ("yes" if met == len(mine) else "no")
        lines.append([family.value, stated(family), mean, f"{met} of {len(mine)}", whole])
    return table(["family", "goal", "geometric mean", "rows that reach it", "reached"], lines)


def _missed(rows: Sequence[Row]) -> str:
    lines = [
        f"- {row.name}: {'; '.join(missed)} (bound by {row.limit})"
        + (f". Tried: {row.tried}" if row.tried else "")
        for row in rows
        if (missed := row_misses(row))
    ]
    return "Rows below their goal:\n\n" + "\n".join(lines) if lines else ""


def _failed(rows: Sequence[Row]) -> str:
    lines = [
        f"- {row.name}, {ENTRIES[name].title}: {text}"
        for row in rows
        for name, text in row.failed.items()
    ]
    return "Failed:\n\n" + "\n".join(lines) if lines else ""


# ---- steps ---------------------------------------------------------------------------------------


def _steps(rows: Sequence[Row]) -> str:
    names = [name for name in timed_contenders(rows) if name != UNFUSED]
    titles = [ENTRIES[name].title for name in names]
    head = ["", *titles, "best/graphc", "at best", "of limit", "bound", "kernels", "goal"]
    return table(head, ([row.name, *_cells(row, names), *_judged(row)] for row in rows))


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    return [
        f"**{row.times[name]}**" if name == row.best_peer else _cell(row, name) for name in names
    ]


def _cell(row: Row, name: str) -> str:
    if name in row.times:
        return str(row.times[name])
    if name in row.wrong:
        return f"wrong by {row.wrong[name]:.0e}"
    return "failed" if name in row.failed else "-"


def _judged(row: Row) -> list[str]:
    if GRAPHC not in row.times:
        return ["-", "-", "-", row.limit, "-", "missed"]
    return [
        _number(best_ratio(row)),
        _number(best_ratio(row, "minimum")),
        f"{100 * row.share:.0f} %",
        row.limit,
        str(row.kernels.get(GRAPHC, "-")),
        "missed" if row_misses(row) else "reached",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _fusion(rows: Sequence[Row]) -> list[str]:
    """Fusion on and off, side by side."""
    both = [row for row in rows if GRAPHC in row.times and UNFUSED in row.times]
    if not both:
        return []
    lines = [
        [
            row.name,
            str(row.times[GRAPHC]),
            str(row.times[UNFUSED]),
            _number(row.ratio(UNFUSED)),
            str(row.kernels[GRAPHC]),
            str(row.kernels[UNFUSED]),
        ]
        for row in both
    ]
    head = ["", "fused", "not fused", "ratio", "kernels fused", "kernels not fused"]
    return ["## Fusion on and off", table(head, lines)]


# ---- before the first step -----------------------------------------------------------------------


def _starts(starts: Sequence[Start]) -> list[str]:
    if not starts:
        return []
    names = [name for name in ENTRIES if any(name in start.cold for start in starts)]
    titles = [ENTRIES[name].title for name in names]
    times = [
        [start.name, *(_pair(start.cold, start.warm, name, short) for name in names)]
        for start in starts
    ]
    memory = [
        [start.name, *(_pair(start.compiling, start.running, name, _bytes) for name in names)]
        for start in starts
    ]
    missed = start_misses(starts)
    return [
        "## Cold and warm start",
        "From the first call to its result in a new process, after the import, without and with a"
        " filled cache on disk. The goal: at most"
        f" {COLD_SHARE:g} of JAX's cold start, {COLD_SHARE_MEAN:g} in the geometric mean, and"
        f" {short(WARM_SECONDS)} warm: {'missed in ' + str(len(missed)) if missed else 'reached'}.",
        table(["cold / warm", *titles], times),
        "\n".join(f"- {text}" for text in missed),
        "Peak memory of the process over that after the import, arrays included: of a cold start"
        " with its compilation, and in the steps after it.",
        table(["compiling / running", *titles], memory),
    ]


def _pair(first: dict[str, float], second: dict[str, float], name: str, show: Any) -> str:
    return f"{show(first[name])} / {show(second[name])}" if name in first else "-"


def _costs(results: Results) -> list[str]:
    if not results.imports:
        return []
    lines = [
        [module, short(seconds), _bytes(results.sizes[module])]
        for module, seconds in results.imports.items()
    ]
    return ["## Import and size", table(["module", "import", "on disk, with what it needs"], lines)]


def _bytes(count: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
