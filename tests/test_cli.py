"""The command line: what it prints, and what bad input gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import graphc as gc
from graphc.cli import main
from graphc.equal import structurally_equal
from graphc.ir import DTYPES

MODEL = """\
import numpy as np
import graphc as gc

def softmax(x: "f32[8,4]"):
    shifted = np.exp(x - x.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)

@gc.compile
def loss(params, x: "f32[8,4]", scale: float, power=2):
    hidden = np.tanh(x @ params["w"] + params["b"])
    chosen = hidden if scale < 5.0 else hidden * scale
    return np.mean(chosen**power)

def raises(x: "f32[3]"):
    return [x][5]

def decomposed(x: "f32[3,3]"):
    return np.packbits(x)

def vector(x: "f32[3]"):
    return x

def counts(x: "i64[3]"):
    return x.sum()

number = 3
"""
PARAMS = "{'w': f32[4,3], 'b': f32[3]}"


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def dump(capsys: pytest.CaptureFixture[str]):
    def run(*args: str) -> str:
        assert main(["dump", *args]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """The message of a command line that fails."""

    def run(*args: str) -> str:
        assert main(list(args)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("graphc: ") and captured.err.count("\n") == 1
        return captured.err.removeprefix("graphc: ").rstrip("\n")

    return run


# ---- dump ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["traced", "optimized", "fused"])
def test_a_graph_parses_again(dump, stage: str) -> None:
    text = dump("model.py:softmax", "--stage", stage)
    assert text.startswith("graph softmax(%x: f32[8,4]) {")
    assert "# model.py:5" in text
    graph = gc.parse(text)
    assert structurally_equal(gc.parse(str(graph)), graph)
    assert ("fused" in text) == (stage == "fused")


def test_kernels(dump) -> None:
    text = dump("model.py:softmax", "--stage", "kernels")
    assert text.count("kernel ") == 1
    assert "vector for" in text


@pytest.mark.cpu_only("its kernels have named sizes")
def test_kernels_below_a_conditional(dump) -> None:
    symbolic = dump("model.py:softmax", "--arg", "f32[B,8]", "--stage", "kernels")
    assert "f32[8*B]" in symbolic
    text = dump("model.py:loss", "--arg", PARAMS, "--stage", "kernels")
    assert "if arena" in text and "} else {" in text


@pytest.mark.cpu_only("its machine code")
def test_llvm_and_asm(dump) -> None:
    import llvmlite.binding as llvm

    text = dump("model.py:softmax", "--stage", "llvm")
    assert "define" in text and "@step(" in text
    assembly = dump("model.py:softmax", "--stage", "asm")
    assert ".globl\tstep" in assembly or "_step:" in assembly
    assert llvm.get_process_triple().split("-")[0] in ("x86_64", "aarch64", "arm64")


def test_json(dump) -> None:
    chart = json.loads(dump("model.py:softmax", "--format", "json"))
    assert chart["params"] == [{"name": "x", "type": "f32[8,4]"}]
    assert "exp" in [eqn["op"] for eqn in chart["eqns"]]


def test_dot(dump) -> None:
    text = dump("model.py:loss", "--arg", PARAMS, "--format", "dot")
    assert text.startswith('digraph "loss" {') and "cluster" in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_svg(dump) -> None:
    assert "<svg" in dump("model.py:softmax", "--format", "svg")


def test_arguments_from_arg_annotation_and_default(dump) -> None:
    text = dump("model.py:loss", "--arg", PARAMS)
    head = text.splitlines()[0]
    assert "f32[4,3]" in head and "f32[3]" in head and "f32[8,4]" in head and "f64[]" in head
    assert text.count(" = cond(") == 1


@pytest.mark.parametrize(
    ("arg", "type"),
    [
        ("f32[2,3]", "f32[2,3]"),
        ("x=f64[5]", "f64[5]"),
        (" bool[ 2, 2 ] ", "bool[2,2]"),
        ('"i32[3]"', "i32[3]"),
        ("i64[]", "i64[]"),
        ("3", "i64[]"),
        ("-0.5", "f64[]"),
    ],
)
def test_an_arg(dump, arg: str, type: str) -> None:
    assert f"(%x: {type})" in dump("model.py:vector", "--arg", arg, "--stage", "traced")


def test_a_tree_of_args(dump) -> None:
    text = dump("model.py:vector", "--arg", "[(f32[2], 3), {'s': 0.5, 'mode': 'fast'}]")
    assert text.splitlines()[0].count("%") == 3


def test_gradient(dump) -> None:
    text = dump("model.py:loss", "--arg", PARAMS, "--grad", "--stage", "traced")
    (returned,) = [line for line in text.splitlines() if line.startswith("  return ")]
    assert returned.count("%") == 4  # the value, and by w, b and x; scale is a number


def test_postponed_annotations(dump, tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text("from __future__ import annotations\n" + MODEL)
    assert "f32[8,4]" in dump("later.py:softmax")


def test_what_the_file_prints_is_no_dump(dump, tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text("print('hello')\n" + MODEL)
    assert "hello" not in dump("talks.py:softmax")


# ---- explain ------------------------------------------------------------------------------------


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "model.py:softmax"]) == 0
    assert "1 kernel" in capsys.readouterr().out


def test_explain_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "model.py:softmax", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["kernels"]) == 1
    assert report["kernels"][0]["source"] == ["model.py:5", "model.py:6"]


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nofile.py:f"], "there is no file nofile.py; give the path of a Python file"),
        (["model.py"], "'model.py' is not FILE.py:FN, a file and a function in it"),
        (
            ["model.py:nothing"],
            "model.py has no function nothing; it has softmax, loss, raises, decomposed, vector,"
            " counts",
        ),
        (
            ["model.py:number"],
            "number in model.py is not a function, but of type int; it has softmax, loss, raises,"
            " decomposed, vector, counts",
        ),
        (
            ["model.py:softmax", "--arg", "f33[2]"],
            f"--arg 'f33[2]' is neither a type such as f32[64,1000] (of {', '.join(DTYPES)};"
            " f32[] is a scalar) nor a number such as 0.1 nor a tuple, list or dict of them",
        ),
        (
            ["model.py:softmax", "--arg", "f32[2]", "--arg", "3"],
            "model.py:4: softmax(x): too many positional arguments; give one --arg for each"
            " argument",
        ),
        (
            ["model.py:loss"],
            "model.py:8: loss: no type for its argument params; add --arg 'params=f32[64,1000]', or"
            ' annotate it: params: "f32[64,1000]"',
        ),
        (
            ["model.py:raises"],
            "model.py:15: IndexError: list index out of range; graphc runs the file and traces the"
            " function, and this is what it raised",
        ),
        (
            ["model.py:counts", "--grad"],
            "model.py:23: --grad needs an argument of floats to differentiate by, such as --arg"
            " 'f32[3]'",
        ),
        (
            ["model.py:softmax", "--stage", "llvm", "--format", "json"],
            "--stage llvm is text; leave out --format json, or choose one of the stages traced,"
            " optimized, fused",
        ),
    ],
)
def test_messages(refused, args: list[str], message: str) -> None:
    assert refused("dump", *args) == message


def test_errors_of_tracing(refused) -> None:
    message = refused("dump", "model.py:decomposed")
    assert message.startswith("model.py:18: ") and "packbits" in message
    message = refused("explain", "model.py:softmax", "--arg", "3.0")
    assert message.startswith("model.py:5: ")


def test_gradient_of_a_vector(refused) -> None:
    message = refused("dump", "model.py:vector", "--grad")
    assert "f32[3]" in message and "reduce it first" in message


def test_syntax_error(refused, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\ndef f(x:\n")
    message = refused("dump", "broken.py:f")
    assert message.startswith("broken.py:2: ") and message.endswith("; correct the file")


@pytest.mark.parametrize(
    ("source", "raised"),
    [
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_does_not_run(refused, tmp_path: Path, source: str, raised: str) -> None:
    (tmp_path / "fails.py").write_text(f"\n{source}\n")
    assert refused("dump", "fails.py:f").startswith(f"fails.py:2: {raised};")


def test_svg_without_graphviz(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    message = refused("dump", "model.py:softmax", "--format", "svg")
    assert message.startswith("--format svg needs Graphviz") and "--format dot" in message


# ---- as a process -------------------------------------------------------------------------------


def graphc(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graphc", *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_as_a_module() -> None:
    done = graphc("dump", "model.py:softmax")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("graph softmax")


def test_exit_code_and_no_traceback() -> None:
    done = graphc("dump", "model.py:vector", "--grad")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("graphc: model.py:20: the gradient needs")
    assert "Traceback" not in done.stderr


def test_usage() -> None:
    assert graphc().returncode == 2
    assert "usage: graphc" in graphc().stderr
    assert "--arg" in graphc("dump", "--help").stdout
    assert gc.__version__ in graphc("--version").stdout


def test_a_reader_that_stops() -> None:
    command = f"{sys.executable} -m graphc dump model.py:softmax --stage asm | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert done.stderr == "" and os.path.exists("model.py")


def test_loops_are_listed_with_the_kernels(tmp_path, capsys):
    model = tmp_path / "looping.py"
    model.write_text("def f(x):\n    while x.sum() > 1.0:\n        x = x * 0.5\n    return x\n")
    assert main(["dump", f"{model}:f", "--arg", "f64[3]", "--stage", "kernels"]) == 0
    text = capsys.readouterr().out
    assert "repeat {" in text and "kernel" in text
