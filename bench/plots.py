"""The results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import ENTRIES, GRAPHC, UNFUSED
from bench.driver import Row
from bench.results import Results, best_ratio, row_misses

REACHED, MISSED = "tab:blue", "tab:orange"


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the pictures as SVG: their paths; none where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return []

    written = []
    for name, width, height, paint in _pictures(results):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        written.append(folder / f"{name}.svg")
        figure.savefig(written[-1])
    return written


def _pictures(results: Results) -> list[tuple[str, float, float, Any]]:
    rows = [row for row in results.rows if GRAPHC in row.times]
    tall = 1.5 + 0.22 * len(rows)
    pictures = []
    if any(row.best_peer for row in rows):
        pictures.append(("ratio", 9, tall, lambda axes: _ratios(axes, rows)))
    if rows:
        pictures.append(("limit", 9, tall, lambda axes: _shares(axes, rows)))
    if any(UNFUSED in row.times for row in rows):
        pictures.append(("fusion", 9, tall, lambda axes: _fusion(axes, rows)))
    if results.starts:
        wide = 1.5 + 0.9 * len(results.starts)
        pictures.append(("start", 9, wide, lambda axes: _starts(axes, results)))
    return pictures


def _ratios(axes: Any, rows: Sequence[Row]) -> None:
    shown = [row for row in rows if row.best_peer]
    bars = _bars(axes, shown, [best_ratio(row) or np.nan for row in shown])
    titles = [ENTRIES[row.best_peer].title for row in shown if row.best_peer]
    axes.bar_label(bars, titles, padding=3, fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of the best peer by that of graphc (blue: the row reaches its goal)")


def _shares(axes: Any, rows: Sequence[Row]) -> None:
    bars = _bars(axes, rows, [100 * row.share for row in rows])
    axes.bar_label(bars, [f"bound by {row.limit}" for row in rows], padding=3, fontsize=7)
    axes.axvline(85, color="black", linewidth=0.8, linestyle="dashed")
    axes.set_xlabel("per cent of the machine's limit (blue: the row reaches its goal)")


def _fusion(axes: Any, rows: Sequence[Row]) -> None:
    shown = [row for row in rows if UNFUSED in row.times]
    bars = _bars(axes, shown, [row.ratio(UNFUSED) or np.nan for row in shown])
    counts = [f"{row.kernels[GRAPHC]} for {row.kernels[UNFUSED]} kernels" for row in shown]
    axes.bar_label(bars, counts, padding=3, fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time without fusion by time with it")


def _bars(axes: Any, rows: Sequence[Row], lengths: Sequence[float]) -> Any:
    colours = [MISSED if row_misses(row) else REACHED for row in rows]
    bars = axes.barh([row.name for row in rows], lengths, color=colours)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(x=0.2, y=0.01)
    return bars


def _starts(axes: Any, results: Results) -> None:
    names = [name for name in ENTRIES if any(name in s.cold for s in results.starts)]
    height = 0.8 / len(names)
    at = np.arange(len(results.starts))
    for i, name in enumerate(names):
        where = at + i * height - 0.4
        cold = [start.cold.get(name, np.nan) for start in results.starts]
        warm = [start.warm.get(name, np.nan) for start in results.starts]
        axes.barh(where, cold, height, color=f"C{i}", alpha=0.4, align="edge")
        axes.barh(where, warm, height, color=f"C{i}", align="edge", label=ENTRIES[name].title)
    axes.set_yticks(at, [start.name for start in results.starts], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds to the first result: warm (full colour), cold (pale)")
    axes.legend()
