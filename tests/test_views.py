"""Views share memory as NumPy's do: sequences of views and assignments, generated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import errors

VIEWS: dict[str, Any] = {
    "tail": lambda x: x[1:],
    "reversed": lambda x: x[::-1],
    "second": lambda x: x[..., ::2],
    "row": lambda x: x[0],
    "new axis": lambda x: x[None],
    "transposed": lambda x: x.T,
    "swapped": lambda x: x.swapaxes(0, -1),
    "flat": lambda x: x.reshape(-1),
    "ravel": lambda x: np.ravel(x),
    "pairs": lambda x: x.reshape(2, -1) if x.size % 2 == 0 else x,
    "flipped": lambda x: np.flip(x, 0),
    "squeezed": lambda x: np.squeeze(x),
    "copied": lambda x: x.copy(),
    "flattened": lambda x: x.flatten(),
    "computed": lambda x: x * 1.0,
    "diagonal block": lambda x: np.moveaxis(x, 0, -1)[..., :2],
}
CHANGES: dict[str, Any] = {
    "add": lambda x: x.__iadd__(1),
    "multiply": lambda x: np.multiply(x, 3, out=x),
    "set": lambda x: x.__setitem__(Ellipsis, 5.0),
    "first": lambda x: x.__setitem__(slice(0, 1), x[-1:] + 2),
    "fill": lambda x: x.fill(7.0),
}
names = st.sampled_from(list(VIEWS))
steps = st.lists(
    st.tuples(st.integers(0, 9), names, names, st.sampled_from(list(CHANGES))),
    min_size=1,
    max_size=5,
)


@given(steps)
@settings(max_examples=200, deadline=None)
def test_views_and_assignments(steps: list[tuple[int, str, str, str]]) -> None:
    def run(x):
        arrays = [x]
        for pick, first, second, change in steps:
            base = arrays[pick % len(arrays)]
            if not base.ndim or not base.size:
                continue
            view = VIEWS[first](base)
            if not view.ndim or not view.size:
                continue
            view = VIEWS[second](view)
            if view.ndim and view.size:
                CHANGES[change](view)
            arrays.append(view)
        return [array * 1.0 for array in arrays]

    x = np.arange(24.0).reshape(4, 3, 2)
    graph = gc.trace(run, x)
    got = gc.evaluate(graph, x.copy())
    wanted = run(plain := x.copy())
    for a, b in zip(got, wanted, strict=False):
        np.testing.assert_array_equal(a, b)
    assert len(got) == len(wanted) + len(graph.updates)
    changed = got[graph.updates[0][1]] if graph.updates else x
    np.testing.assert_array_equal(changed, plain)


def test_broadcast_views_are_read_only() -> None:
    def f(x):
        y = np.broadcast_to(x, (2, 3))
        y += 1

    with pytest.raises(errors.ReadOnlyError, match=r"test_views.py:\d+: .* is read-only"):
        gc.compile(f)(np.zeros(3))


def test_in_place_augmentation_of_a_slice_writes_once() -> None:
    def f(x):
        x[1:] += 1

    ops = [eqn.op.name for eqn in gc.trace(f, np.zeros(3)).eqns]
    assert ops == ["slice", "add", "update_slice"]
