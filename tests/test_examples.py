"""The examples run, and do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_layer() -> None:
    output = run("two_layer.py")
    graph = output[output.index("graph choosing_step") : output.index("\nWhat it becomes")]
    assert graph.count(" = cond(") == 1
    kernels = re.search(r"choosing_step: (\d+) kernels", output)
    assert kernels is not None and int(kernels.group(1)) <= 7

    # Both weight matrices were used, and training with them converged.
    used = re.search(r"(\d+) steps went through w2a, (\d+) through w2b", output)
    assert used is not None and min(map(int, used.groups())) > 0
    assert float(_number(r"step 499: loss (\S+)", output)) < 1e-3

    assert float(_number(r"test accuracy (\S+) %", output)) >= 95
    losses = re.search(r"last loss: graphc (\S+), NumPy (\S+)", output)
    assert losses is not None
    assert float(losses.group(1)) == pytest.approx(float(losses.group(2)), abs=2e-3)


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found.group(1)


OTHERS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "two_layer.py")


@pytest.mark.parametrize("name", OTHERS)
def test_other_examples(name: str) -> None:
    """Each of them asserts for itself that its results are right."""
    assert run(name)
