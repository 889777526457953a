"""Steps found by their trace: without passes, with the same values, errors and reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors, recall
from graphc.equal import structurally_equal
from graphc.passes import pipeline
from graphc.runtime.recalled import RecalledCode

pytestmark = pytest.mark.cpu_only("its steps on disk")

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
TABLE = np.arange(4.0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, and passes that nobody watches."""
    monkeypatch.setattr(pipeline.EachPass, "is_verified", False)
    monkeypatch.delenv("GRAPHC_DEBUG", raising=False)
    before = gc.cache_dir()
    yield gc.cache_dir(tmp_path / "cache")
    gc.cache_dir(before)


def model(x: Any) -> Any:
    z = np.tanh(x * 2.0 + TABLE) * np.exp(-x)
    z = z - z.max(axis=1, keepdims=True)
    return (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)).cumsum(), z.argmax(axis=1)


def is_recalled(compiled: Any) -> bool:
    return isinstance(compiled._latest.step.code, RecalledCode)


def stepped(fn: Any, *args: Any, **options: Any) -> Any:
    """The function after the calls that make it native, and once it is recorded."""
    compiled = gc.compile(fn, **options)
    for _ in range(3):
        compiled(*args)
    recall.keeping.wait()
    return compiled


def test_a_step_is_found_without_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_recalled(stepped(model, X))
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("a pass ran"))
    compiled = gc.compile(model)
    for _ in range(3):
        for found, expected in zip(compiled(X), model(X), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert is_recalled(compiled) and compiled._latest.fast is not None


def test_what_it_is_made_of_is_made_when_it_is_asked_for() -> None:
    first, second = stepped(model, X), stepped(model, X)
    assert is_recalled(second)
    for stage in ("traced", "optimized", "fused"):
        assert structurally_equal(first.graph(X, stage=stage), second.graph(X, stage=stage))
    one, other = first.explain(X), second.explain(X)
    assert one.kernels == other.kernels and one.arena_bytes == other.arena_bytes
    assert other.from_disk and one.pass_ms.keys() == other.pass_ms.keys()
    assert one.stage_ms.keys() == other.stage_ms.keys()
    assert first._latest.step.text == second._latest.step.text


def test_other_graphs_options_and_types_are_others() -> None:
    stepped(model, X)
    assert not is_recalled(stepped(lambda x: (model(x)[0] + 1.0, x), X))
    assert not is_recalled(stepped(model, X, fastmath=True))
    assert not is_recalled(stepped(model, X, threads=7))
    assert not is_recalled(stepped(model, X.astype(np.float32)))
    assert is_recalled(stepped(model, X, fastmath=True))


def descend(w: Any, x: Any) -> Any:
    loss, grad = gc.value_and_grad(lambda w: np.sum(np.tanh(x @ w) ** 2))(w)
    w -= 0.1 * grad
    return loss


def test_arguments_are_updated_and_apart() -> None:
    weights = [np.ones((4, 2)), np.ones((4, 2))]
    losses = []
    for w in weights:
        step = stepped(descend, w, X)
        losses.append([step(w, X) for _ in range(3)])
    assert is_recalled(step) and (weights[0] == weights[1]).all() and losses[0] == losses[1]
    memory = np.ones(20)
    with pytest.raises(errors.OverlapError, match="w is assigned to in place"):
        step(memory[:8].reshape(4, 2), memory[6:18].reshape(3, 4))
    frozen = np.ones((4, 2))
    frozen.flags.writeable = False
    with pytest.raises(errors.ReadOnlyError):
        step(frozen, X)


def test_a_check_that_fails_names_the_line_of_this_source() -> None:
    def chosen(x: Any, i: Any) -> Any:
        y = np.tanh(x * 2.0 + 1.0) * np.exp(-x) + x * x * x - 1.0
        return y[i]

    index = np.array([0, 2])
    stepped(chosen, X, index)
    step = stepped(chosen, X, index)
    assert is_recalled(step)
    with pytest.raises(IndexError, match=r"test_recall\.py:\d+") as caught:
        step(X, np.array([0, 3]))
    with pytest.raises(IndexError) as expected:
        gc.compile(chosen, fastmath=True)(X, np.array([0, 3]))
    assert str(caught.value) == str(expected.value)


def test_what_is_not_whole_on_disk_is_compiled(folder: Path) -> None:
    expected = stepped(model, X)(X)[0]
    for entry in list(folder.iterdir()):
        content = entry.read_bytes()
        for damaged in (b"", content[:-1], content[: len(content) // 2], content[:-1] + b"?"):
            entry.write_bytes(damaged)
            assert (stepped(model, X)(X)[0] == expected).all()
        entry.unlink()
        assert (stepped(model, X)(X)[0] == expected).all()
    assert is_recalled(stepped(model, X))


def test_small_graphs_and_functions_from_outside_are_not_recorded() -> None:
    outside = gc.elementwise(lambda x: x * 2.0)
    for fn in (lambda x: x + 1.0, lambda x: outside(model(x)[0])):
        assert not any(is_recalled(stepped(fn, X)) for _ in range(2))


def test_whoever_watches_the_passes_sees_them(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    stepped(model, X)
    monkeypatch.setenv("GRAPHC_DEBUG", "1")
    assert not is_recalled(stepped(model, X))
    assert "simplify" in capfd.readouterr().err


def test_another_process_finds_it(folder: Path) -> None:
    program = (
        "import sys, numpy as np, graphc as gc\n"
        "from graphc.runtime.recalled import RecalledCode\n"
        "gc.cache_dir(sys.argv[1])\n"
        "def f(a, b):\n"
        "    x = np.linalg.solve(a, b) * 2.0 + 1.0\n"
        "    return np.tanh(x - x.mean()) * np.exp(x) + np.maximum(x, b) * np.sqrt(abs(x))\n"
        "a, b = np.eye(3) * 2.0, np.arange(3.0)\n"
        "step = gc.compile(f)\n"
        "for _ in range(3):\n"
        "    np.testing.assert_allclose(step(a, b), f(a, b))\n"
        "print(isinstance(step._latest.step.code, RecalledCode))\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    said = [
        subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert said == ["False\n", "True\n"]


# ---- the compiler itself -------------------------------------------------------------------------


def test_every_file_of_the_compiler_counts() -> None:
    files = recall.compiler_files()
    assert files is not None
    names = {os.path.basename(file[0]) for file in files}
    assert names >= {"fuse.py", "emit.py", "ir.py", "elementwise.py"}


def test_a_step_of_another_compiler_is_not_taken_and_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recall, "compiler_stamp", lambda: "an older one")
    stepped(model, X)
    assert is_recalled(stepped(model, X))
    monkeypatch.undo()
    monkeypatch.setattr(pipeline.EachPass, "is_verified", False)
    assert not is_recalled(stepped(model, X))
    assert is_recalled(stepped(model, X))


def test_what_is_new_is_compiled_before_the_files_of_the_compiler_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[bool] = []
    monkeypatch.setattr(recall, "compiler_stamp", lambda: looked.append(True))
    monkeypatch.setattr("graphc.compiled.keep_steps", lambda: None)
    gc.compile(model)(X)
    assert not looked
    recall._Unkept.steps.clear()


def test_a_file_that_changed_is_another_even_at_its_old_date(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "pass.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    date = file.stat()
    before = list(recall._files(str(tmp_path)))
    assert len(before) == 1
    file.write_text("x = 2\n")
    os.utime(file, ns=(date.st_atime_ns, date.st_mtime_ns))
    assert list(recall._files(str(tmp_path))) != before


def test_without_files_nothing_is_known_of_the_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert recall.compiler_files() is not None
    for place in ("archive.zip/graphc/__init__.py", "__init__.py"):  # neither is there
        monkeypatch.setattr(gc.passes, "__file__", str(tmp_path / place))
        assert recall.compiler_files() is None
    monkeypatch.setattr(gc.passes, "__file__", None)
    assert recall.compiler_files() is None
    assert recall.compiler_stamp.__wrapped__() is None


def test_modules_without_source_count(tmp_path: Path) -> None:
    (tmp_path / "pass.pyc").write_bytes(b"")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "other.pyc").write_bytes(b"")
    assert [Path(file[0]).name for file in recall._files(str(tmp_path))] == ["pass.pyc"]
