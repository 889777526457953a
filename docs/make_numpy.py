"""Write docs/numpy.md from the tables of the tracer.

python docs/make_numpy.py
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graphc.trace import numpy_api, special
from graphc.trace.numpy_ufuncs import ACCUMULATE, AT, OF_MATRICES, REDUCE, SEVERAL_RESULTS
from graphc.trace.ufuncs import NAMED_UFUNCS, UFUNCS

PAGE = Path(__file__).with_name("numpy.md")

HEAD = """# NumPy in compiled functions

<!-- Written by docs/make_numpy.py from the tables of the tracer; do not edit. -->

What follows works on traced values, with the parameters listed; NumPy's other parameters keep
their defaults. Anything else is an error that names the function and your line. On ordinary arrays,
in the same function, all of NumPy works: it runs once, while tracing, and its result is a constant.

dtypes are float32, float64, int32, int64 and bool, with the promotion of NumPy 2: a Python number
takes the dtype of the array beside it. Operators, comparisons, `@`, basic slicing, indexing by
integers, `x[i] = v`, `x += y` and the attributes `T`, `shape`, `dtype`, `ndim` and `size` work as
in NumPy.
"""


def page() -> str:
    """The text of docs/numpy.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield HEAD
    yield "## Ufuncs\n"
    yield "With broadcasting, `out=`, `where=` (with `out=`) and `dtype=`:\n"
    ufuncs = [*UFUNCS, *OF_MATRICES, *SEVERAL_RESULTS]
    yield _listed(f"np.{ufunc.__name__}" for ufunc in ufuncs)
    names = (name.strip("_") for name in (*NAMED_UFUNCS, *special.FUNCTIONS))
    yield f"Of scipy.special: {_listed(set(names))}"
    methods = (("reduce", REDUCE), ("accumulate", ACCUMULATE), ("at", AT))
    listed = (f"np.{u.__name__}.{method}" for method, table in methods for u in table)
    yield f"Also `outer` of each, and {_listed(listed)}"
    yield "## Functions\n"
    works = {f: entry for f, entry in numpy_api.FUNCTIONS.items() if not _is_refusal(entry)}
    yield from _table((numpy_api.qualified_name(f), entry) for f, entry in works.items())
    yield "## Methods\n"
    methods = {name: m for name, m in numpy_api.METHODS.items() if not _is_refusal(m)}
    yield from _table((f"x.{name}", method) for name, method in methods.items())
    yield "## What cannot be\n"
    yield (
        "The shape of the result would depend on the data, or its value would be needed while"
        " tracing:\n"
    )
    refused = [numpy_api.qualified_name(f) for f in numpy_api.FUNCTIONS if f not in works]
    refused += [f"x.{name}" for name in numpy_api.METHODS if name not in methods]
    yield _listed(refused)


def _is_refusal(entry: Callable[..., Any]) -> bool:
    return getattr(entry, "__name__", "") == "refuse"


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) + ".\n"


def _table(rows: Iterator[tuple[str, Callable[..., Any]]]) -> Iterator[str]:
    yield "| | parameters |\n|---|---|"
    for name, entry in sorted(rows):
        yield f"| `{name}` | {_parameters(entry, is_method=name.startswith('x.'))} |"
    yield ""


def _parameters(entry: Callable[..., Any], is_method: bool) -> str:
    parameters = list(inspect.signature(entry).parameters.values())[is_method:]
    return ", ".join(f"`{_shown(parameter)}`" for parameter in parameters)


def _shown(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = parameter.default
    return f"{stars}{parameter.name}" + ("" if default is parameter.empty else f"={default!r}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
