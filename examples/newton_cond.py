"""Control flow that depends on data: Newton's method, guarded by bisection.

A Newton step that would leave the interval is replaced by halving the interval.  Which one happens
is known only when the step runs: each `if` is a `cond` of the graph, and so is the lazy second half
of the chained comparison.

    python examples/newton_cond.py
"""

from __future__ import annotations

import numpy as np

import graphc as gc


def f(x: float) -> np.ndarray:
    return np.arctan(x - 2.0) + 0.1 * x


@gc.compile
def improve(x: float, low: float, high: float) -> tuple[float, float, float]:
    """A better guess of the root of `f` in [low, high], and the interval that it is in."""
    value, slope = gc.value_and_grad(f)(x)
    if value > 0.0:
        high = x
    else:
        low = x
    guess = x - value / slope
    if not low < guess < high:
        guess = 0.5 * (low + high)
    return guess, low, high


def main() -> None:
    x, low, high = 20.0, -10.0, 30.0
    print(improve.graph(x, low, high), end="\n\n")
    while abs(f(x)) > 1e-12:
        x, low, high = improve(x, low, high)
        print(f"x = {x:.15f}  in [{low:.6f}, {high:.6f}]")
    assert abs(f(x)) <= 1e-12


if __name__ == "__main__":
    main()
