"""The benchmark: right values before times, goals, tables, and a small run from end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.__main__ as command
import graphc as gc
from bench import arrays, costs, driver, goals, machine, report, results
from bench.contenders import ENTRIES, on_target
from bench.contenders.numpy_eager import Contender as NumPy
from bench.costs import Start
from bench.driver import Row
from bench.goals import Family, Standing
from bench.process import Process
from bench.timing import Timing, short
from bench.workloads import WORKLOADS, matching, named
from bench.workloads.workload import Workload

LIMITS = machine.Limits(2, {2**14: 2e9, 2**20: 1e9}, {2**14: 3e9, 2**20: 0.5e9}, {"f4": 1e9})


def row(name: str = "chain f32 1e5", family: Family = Family.ELEMENTWISE, **times: float) -> Row:
    """A row whose contenders take so many microseconds; the machine allows 50."""
    timings = {
        name.replace("_", "."): Timing(us / 1e6, 0.9 * us / 1e6, 1.1 * us / 1e6, 0.8 * us / 1e6)
        for name, us in times.items()
    }
    return Row(name, family.value, "f4", 1e5, 1e6, 50e-6, "bytes", 1, "this and that", timings)


# ---- workloads -----------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


def test_matching() -> None:
    assert [w.name for w in matching("^SOFTMAX 64")] == ["softmax 64x1000"]
    assert len(matching("matmul")) == 24
    assert matching("nothing like this") == []


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_has_a_program_for_everybody(workload: Workload) -> None:
    # Some share another's, and some run on a GPU only.
    peers = set(on_target("cpu")) - {"graphc unfused", "torch.compile"}
    assert peers <= set(workload.programs) <= set(ENTRIES)


SMALL = (
    "^(tiny|chain f.. 1e3|(softmax|layer norm|RMS norm|cross entropy).* 64x"
    "|matmul.* 64$|two-layer|conditional|small MLP|Adam.*small)"
)


@pytest.mark.parametrize("workload", matching(SMALL), ids=lambda workload: workload.name)
def test_numpy_and_graphc_agree_with_the_reference(workload: Workload) -> None:
    exact = workload.reference()
    for name, framework in (("numpy", np), ("graphc", gc)):
        arguments = workload.arguments()
        program = workload.programs[name](framework)
        step = program if name == "numpy" else gc.compile(program)
        returned = step(*arguments)
        got = arrays.leaves((returned, arguments[0]) if workload.updates else returned)
        assert arrays.difference(got, exact) < workload.tolerance, name


def test_least_bytes_of_an_update() -> None:
    conditional = named("conditional step 64x32x64x10")
    weights, data, returned = 32 * 64 + 2 * 64 * 10, 64 * 32 + 64 * 10 + 1, 1
    moved = 4 * (2 * weights + data + returned)
    assert conditional.least_bytes(conditional.reference()) == moved


# ---- checking ------------------------------------------------------------------------------------


def test_difference() -> None:
    exact = [np.array([1.0, -4.0])]
    assert arrays.difference([np.array([1.0, -4.0])], exact) == 0
    assert arrays.difference([np.array([2.0, -4.0])], exact) == 0.25
    assert math.isinf(arrays.difference([np.array([1.0, np.nan])], exact))
    assert math.isinf(arrays.difference([np.array([1.0])], exact))
    assert math.isinf(arrays.difference([], exact))


def test_trees() -> None:
    tree = {"b": [1, 2], "a": (3, {"c": 4}), "none": None}
    assert arrays.leaves(tree) == [3, 4, 1, 2]
    assert arrays.map_tree(lambda leaf: 2 * leaf, {"b": [1, 2]}) == {"b": [2, 4]}


class Scripted:
    """A process that gives the answers it was made with, and counts its turns."""

    def __init__(self, *, difference: float = 0.0, seconds: float = 1e-6, failed: str = ""):
        self.answers: dict[str, dict[str, Any]] = {
            "prepare": {"failed": failed} if failed else {"difference": difference, "kernels": 2},
            "calibrate": {"calls": 7},
            "time": {"seconds": seconds},
        }
        self.asked: list[str] = []

    def send(self, do: str, **_: Any) -> None:
        self.asked.append(do)

    def receive(self) -> dict[str, Any]:
        return dict(self.answers[self.asked[-1]])

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.receive()

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


def measured(tmp_path: Path, **processes: Scripted) -> Row:
    said: list[str] = []
    found = driver._row(
        named("tiny call"), processes, LIMITS, 6, tmp_path / "reference.npz", said.append
    )
    assert len(said) == 1
    return found


def test_wrong_values_are_not_timed(tmp_path: Path) -> None:
    wrong, right = Scripted(difference=1e-3), Scripted()
    found = measured(tmp_path, graphc=wrong, numpy=right)
    assert found.wrong == {"graphc": 1e-3}
    assert list(found.times) == ["numpy"]
    assert "time" not in wrong.asked
    assert right.asked.count("time") == 6
    assert results.row_misses(found) == ["wrong by 1.0e-03"]


def test_nan_is_wrong(tmp_path: Path) -> None:
    assert "graphc" in measured(tmp_path, graphc=Scripted(difference=math.nan)).wrong


def test_who_fails_is_named(tmp_path: Path) -> None:
    found = measured(tmp_path, graphc=Scripted(), jax=Scripted(failed="TypeError: no"))
    assert found.failed == {"jax": "TypeError: no"}
    assert found.best_peer is None


def test_slow_contenders_have_fewer_turns(tmp_path: Path) -> None:
    slow = Scripted(seconds=1.0)
    measured(tmp_path, graphc=Scripted(), numpy=slow)
    assert slow.asked.count("time") == driver.FEWEST_TURNS


def test_runner_starts_from_the_same_state() -> None:
    contender, workload = NumPy(1), named("conditional step 64x32x64x10")
    runner = contender.built(workload, contender.loaded(workload))
    first = [array.copy() for array in runner.results()]
    runner.repeat(3)
    assert arrays.difference(runner.results(), first) == 0


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    process = Process("numpy", 1, tmp_path / "log")
    try:
        assert process.ask("hello") == {"version": np.__version__}
        process.process.kill()
        assert process.ask("hello") == {"failed": "the process ended with -9"}
        assert process.ask("hello") == {"version": np.__version__}
        assert "KeyError" in process.ask("prepare", row="none", reference="")["failed"]
    finally:
        process.stop()


# ---- goals ---------------------------------------------------------------------------------------


def standing(family: Family, ratio: float | None, share: float, **ratios: float) -> Standing:
    return Standing(family, ratio, share, ratios, flops=2.0 * 512**3)


@pytest.mark.parametrize(
    ("family", "ratio", "share", "misses"),
    [
        (Family.ELEMENTWISE, 1.4, 0.1, []),
        (Family.ELEMENTWISE, 1.2, 0.9, []),  # one of the two is enough
        (
            Family.ELEMENTWISE,
            1.2,
            0.5,
            ["1.20 times the best peer instead of 1.3", "50 % of the limit instead of 85 %"],
        ),
        (Family.ROWS, 1.5, 0.1, []),
        (Family.MATMUL, 1.1, 0.9, []),
        (Family.MATMUL, 1.1, 0.5, ["50 % of the limit instead of 85 %"]),  # both are asked for
        (Family.MATMUL, 0.9, 0.9, ["0.90 times the best peer instead of 1"]),
        (Family.SMALL_STEP, 2.5, 0.9, ["2.50 times the best peer instead of 3"]),
        (Family.SMALL_STEP, None, 0.9, []),  # nobody to compare with
    ],
)
def test_misses(family: Family, ratio: float | None, share: float, misses: list[str]) -> None:
    assert goals.misses(standing(family, ratio, share)) == misses


def test_tiny_call_has_two_goals() -> None:
    found = goals.misses(standing(Family.TINY, 3.0, 0.0, jax=12.0, pytensor=3.0))
    assert found == ["3.0 times as fast as pytensor instead of 4"]


def test_kernel_count_is_a_goal() -> None:
    found = goals.misses(Standing(Family.ROWS, 2.0, 1.0, {}, 1.0, kernels=3, most_kernels=2))
    assert found == ["3 kernels instead of 2"]


def test_family_and_start_goals() -> None:
    rows = [row(graphc=100, jax=150), row(graphc=100, jax=200)]
    (missed,) = results.family_misses(Family.ELEMENTWISE, rows)
    assert missed == "geometric mean 1.73 instead of 2"
    start = Start("step", {"graphc": 0.06, "jax": 0.1}, {"graphc": 0.2, "jax": 0.1})
    assert results.start_misses([start]) == [
        "step: warm start of 200 ms",
        "step: cold start of 0.60 times JAX's",
        "cold starts: geometric mean 0.60 times JAX's",
    ]
    assert results.start_misses([Start("step", {"graphc": 0.02, "jax": 0.1})]) == []


# ---- limits --------------------------------------------------------------------------------------


def test_limits_take_the_bandwidth_of_the_working_set() -> None:
    assert LIMITS.seconds(2**15, 0, "f4") == (2**15 / 3e9, "bytes")
    assert LIMITS.seconds(2**16, 0, "f4") == (2**16 / 1e9, "bytes")
    assert LIMITS.seconds(2**30, 0, "f4") == (2**30 / 1e9, "bytes")  # larger than all
    assert LIMITS.seconds(2**15, 1e9, "f4") == (1.0, "flops")


def test_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ROUNDS", 1)
    monkeypatch.setattr(machine, "ROUND_SECONDS", 0.001)
    limits = machine.measure(2, (2**14,))
    assert all(rate > 0 for rate in (*limits.copy.values(), *limits.triad.values()))
    assert set(limits.peak) == {"f4", "f8"}


# ---- tables --------------------------------------------------------------------------------------


def a_run() -> results.Results:
    found = row(graphc=100, graphc_unfused=300, numpy=400, jax=110)
    found.times["graphc unfused"] = found.times.pop("graphc.unfused")
    found.kernels |= {"graphc": 1, "graphc unfused": 4}
    found.wrong["torch"] = 0.5
    found.failed["pytensor"] = "TypeError: no"
    start = Start("tiny", {"graphc": 0.01}, {"graphc": 0.005}, {"graphc": 2**20}, {"graphc": 2**19})
    about = {"machine": "a machine", "rounds": 3, "date": "today", "python": "3.11"}
    return results.Results(
        about,
        {"graphc": "1", "jax": "2"},
        ["pytensor"],
        LIMITS,
        [found],
        [start],
        {"graphc": 0.1},
        {"graphc": 2**28},
    )


def test_markdown() -> None:
    text = report.markdown(a_run())
    assert "Not installed, and left out: PyTensor." in text
    assert (
        "| chain f32 1e5 | 100 µs ±10 % | 400 µs ±10 % | wrong by 5e-01 | **110 µs ±10 %** | failed"
        " | 1.10 | 1.10 | 50 % | bytes | 1 | missed |"
    ) in text
    assert "1.10 times the best peer instead of 1.3; 50 % of the limit" in text
    assert "(bound by bytes). Tried: this and that" in text
    assert "- chain f32 1e5, PyTensor: TypeError: no" in text
    assert "| chain f32 1e5 | 100 µs ±10 % | 300 µs ±10 % | 3.00 | 1 | 4 |" in text
    assert "| tiny | 10.0 ms / 5.00 ms |" in text
    assert "| tiny | 1 MiB / 512 KiB |" in text
    assert "| graphc | 100 ms | 256 MiB |" in text


def test_json() -> None:
    found = json.loads(a_run().to_json())
    (only,) = found["rows"]
    assert only["best_peer"] == "jax"
    assert only["ratio"] == pytest.approx(1.1)
    assert only["misses"]
    assert only["times"]["numpy"]["minimum"] == pytest.approx(320e-6)


def test_short() -> None:
    assert [short(s) for s in (2.0, 0.0123, 4.56e-6, 7e-9)] == [
        "2.00 s",
        "12.3 ms",
        "4.56 µs",
        "7.00 ns",
    ]


def test_sizes_follow_requirements() -> None:
    assert {"numpy", "numba", "llvmlite"} <= costs.required(["numba"])
    assert costs.required(["no-such-distribution"]) == set()


# ---- from end to end -----------------------------------------------------------------------------


def test_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(command, "pinned", lambda threads: None)  # these tests keep their CPUs
    monkeypatch.setattr(machine, "measure", lambda threads: LIMITS)
    names = "graphc,graphc unfused,numpy"
    options = ["--only", "^conditional", "--contenders", names, "--rounds", "2", "--no-costs"]
    assert command.main([*options, "--output", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text + "\n"
    (found,) = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    assert set(found["times"]) == set(names.split(","))
    assert found["kernels"]["graphc unfused"] > found["kernels"]["graphc"]


def test_list_and_unknown_names(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["--list", "--only", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny call\n"
    with pytest.raises(SystemExit, match="no workload matches 'nope'"):
        command.main(["--only", "nope"])
    with pytest.raises(SystemExit, match="no contender nope"):
        command.main(["--contenders", "nope"])


def test_quick_leaves_out_slow_compilers() -> None:
    options = command.parser().parse_args(["--quick"])
    assert "torch.compile" not in command.chosen_contenders(options)
    families = {workload.family for workload in command.chosen_workloads(options)}
    assert families == set(Family)
