"""Text at run time, as the ops make it: how values are written, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ops import effects

X = np.array([1.5, -2.0])


@pytest.mark.parametrize(
    ("piece", "value", "wanted"),
    [
        (("array", "", ""), X, str(X)),
        (("array", "r", ""), X, repr(X)),
        (("scalar", "", ".2f"), np.array(1.5), "1.50"),
        (("scalar", "r", ""), np.array(1.5), "np.float64(1.5)"),
        (("number", "r", ">5"), np.array(3), "    3"),
        (("number", "%", "%4.1f"), np.array(3.0), " 3.0"),
        ((("list", "number", ("const", None)), "s", ""), np.array(3), "[3, None]"),
        ((("dict", "a", "number"), "", ""), np.array(3), "{'a': 3}"),
        ((("tuple", ("const", "b"), "number"), "", ""), np.array(3), "('b', 3)"),
    ],
)
def test_values_are_written_as_python_writes_them(piece, value, wanted):
    assert effects.render(("<", piece, ">"), [value]) == f"<{wanted}>"


def test_the_text_of_a_print_is_part_of_the_graph(capsys):
    def shout(x):
        print(f"{x[0]:.1f}", 'and \\ "quotes"\n', [x[1], None])

    graph = gc.trace(shout, X)
    assert [eqn.op.name for eqn in graph.eqns if eqn.op.effect] == ["print"]
    assert str(gc.parse(str(graph))) == str(graph)
    gc.evaluate(graph, X)
    interpreted = capsys.readouterr().out
    shout(X)
    assert interpreted == capsys.readouterr().out


def test_an_unknown_stream():
    with pytest.raises(errors.AttributeValueError, match="stdout or stderr"):
        effects.print_.infer(text=(), stream="stdin")
