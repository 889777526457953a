"""Every control-flow construct inside of every other: values, and gradients."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from test_syntax import define

import graphc as gc

CONSTRUCTS = {
    "if": "if x[0] > {low}:\n    <>\n",
    "if_else": "if x[0] > {low}:\n    s = s * 1.1\nelse:\n    <>\n",
    "elif": "if s > 50.0:\n    s = s - 1.0\nelif x[1] > {low}:\n    <>\nelse:\n    s = s + x[2]\n",
    "expression": "s = s + (x[0] if s > {low} else x[1])\n<>\n",
    "logic": "if (s > {low} and x[1] < 5.0) or not x[2] > 0:\n    <>\n",
    "short_for": "for {i} in range(3):\n    <>\n",
    "long_for": "for {i} in range(12):\n    <>\n    s = np.tanh(s) * 2.0 + {i} * 0.01\n",
    "traced_for": "for {i} in range(n):\n    <>\n",
    "rows": "for {i} in x:\n    s = s + {i} * 0.1\n    <>\n",
    "enumerate": "for {i}, v{i} in enumerate(z):\n    s = s * 0.9 + v{i} * {i}\n    <>\n",
    "zip": "for {i}, v{i} in zip(x, reversed(x)):\n    s = s * 0.9 + v{i} * {i}\n    <>\n",
    "while": "{i} = 0\nwhile {i} < 7 and s < 1e3:\n    {i} += 1\n    <>\n",
    "break": "for {i} in range(9):\n    s = s + x[1] * 0.1\n    if s > {low}:\n        break\n    <>\n",
    "continue": "for {i} in range(9):\n    s = s * 0.8\n    if s > {low}:\n        continue\n    <>\n",
    "else": "for {i} in range(6):\n    if s > 40.0:\n        break\nelse:\n    <>\n",
    "return": "for {i} in range(6):\n    <>\n    if s > 4.0:\n        return s * x[0], y\n",
    "forever": "{i} = 0\nwhile True:\n    {i} += 1\n    <>\n    if {i} > 5 or s > 30.0:\n        break\n",
    "in_place": "y[1] += s * 0.1\n<>\n",
    "function": "def g{i}(a):\n    if a > {low}:\n        return a * 0.5\n    return a + x[1]\ns = g{i}(s)\n<>\n",
    "nonlocal": "def g{i}():\n    nonlocal s\n    s = s * 0.9 + x[0]\ng{i}()\n<>\n",
}
INNERMOST = "s = np.tanh(s) + x[0] * x[1]\ny = y * 0.9 + s\n"


def program(outer: str, inner: str) -> str:
    """One construct around another, with names of its own for each."""
    body = INNERMOST
    for depth, name in ((2, inner), (1, outer)):
        lines = []
        for line in CONSTRUCTS[name].split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            filled = line.replace("{i}", f"k{depth}").replace("{low}", f"0.{depth}5")
            lines.append(textwrap.indent(body, indent) if line.strip() == "<>" else filled)
        body = "\n".join(lines)
    rest = textwrap.indent(body, "    ")
    return (
        "import numpy as np\n"
        "def f(x, z, n):\n"
        "    s = x[0] * 0.5\n"
        "    y = x * 1.0\n"
        f"{rest}\n"
        "    return s, y\n"
    )


@pytest.mark.parametrize("outer", CONSTRUCTS)
def test_values(outer):
    for inner in CONSTRUCTS:
        function = define(program(outer, inner))["f"]
        compiled = gc.compile(function)
        for sign, n in ((1.0, 5), (-1.0, 0)):
            x, z = sign * np.array([0.7, 1.2, -0.4]), np.linspace(0.1, 0.9, 11)
            got, wanted = compiled(x, z, n), function(x, z, n)
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=f"{outer} {inner}")


@pytest.mark.slow
@pytest.mark.parametrize("outer", CONSTRUCTS)
def test_gradients(outer):
    for inner in CONSTRUCTS:
        function = define(program(outer, inner))["f"]

        def loss(x, z, n, function=function):
            s, y = function(x, z, n)
            return s + np.sum(y * np.array([0.3, -0.2, 0.5]))

        x, z, direction = np.array([0.7, 1.2, -0.4]), np.linspace(0.1, 0.9, 11), np.ones(3)
        slope = (loss(x + 1e-6 * direction, z, 5) - loss(x - 1e-6 * direction, z, 5)) / 2e-6
        along = np.sum(gc.grad(loss)(x, z, 5) * direction)
        np.testing.assert_allclose(along, slope, rtol=1e-5, atol=1e-7, err_msg=f"{outer} {inner}")
