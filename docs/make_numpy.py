"""Write docs/numpy.md from the tables of the tracer.

python docs/make_numpy.py
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graphc.ops.scipy_calls import ALWAYS_COMPLEX, COMPLEX, SEVERAL
from graphc.trace import (
    distribution_table,
    distributions,
    multivariate,
    numpy_api,
    scipy_table,
    special_functions,
)
from graphc.trace.numpy_ufuncs import ACCUMULATE, AT, OF_MATRICES, REDUCE, SEVERAL_RESULTS
from graphc.trace.ufuncs import NAMED_UFUNCS, UFUNCS

PAGE = Path(__file__).with_name("numpy.md")

HEAD = """# NumPy in compiled functions

<!-- Written by docs/make_numpy.py from the tables of the tracer; do not edit. -->

What follows works on traced values, with the parameters listed; NumPy's other parameters keep
their defaults. Anything else is an error that names the function and your line. On ordinary arrays,
in the same function, all of NumPy works: it runs once, while tracing, and its result is a constant.

dtypes are float32, float64, the integers of 8 to 64 bits, signed and unsigned, bool, complex64 and
complex128, with the promotion of NumPy 2: a Python number takes the dtype of the array beside it.

Complex arrays and numbers are arguments and results like others. Elementwise functions have NumPy's
branch cuts; what moves, sums and multiplies elements takes them; `z.real` and `z.imag` are views,
to read and to assign to. A complex value is never made real in silence: where NumPy would warn that
an imaginary part is lost, there is an error. Functions that need real numbers say so.
The eigenvalues of a matrix that need not be symmetric (`np.linalg.eig`, `np.roots`) are complex in
any case; NumPy makes them real where all imaginary parts are 0.

Operators, comparisons, `@`, the attributes `T`, `mT`, `flat`, `shape`, `dtype`, `ndim` and `size`
work as in NumPy, and so does indexing in every form, for reading, assigning and `+=`: slices,
`None`, `...`, integers and integer arrays, traced or not, and views of views.

`x[mask]` with a traced mask has a number of elements that is not known. Its elementwise functions
and reductions work (`np.log(x[x > 0]).sum()`), and so does assigning under a mask: `x[mask] = v`,
`x[mask] += v`, `x[mask] = f(x[mask])`, and as many values as the mask selects.

Sorting, running sums and searching run as routines inside the step; `np.linalg` calls LAPACK there
(extra `linalg`). Everything else is made of loops that fuse.
"""


NO_GRADIENT = frozenset(
    """
    all allclose any argmax argmin argpartition argsort array_equal array_equiv
    count_nonzero digitize fix iscomplex iscomplexobj isclose
    isin isneginf isposinf isreal isrealobj lexsort matrix_rank nanargmax nanargmin ndim
    result_type round around searchsorted shape size
    """.split()
)
"""Names whose results are positions, counts or truth values, or constant between jumps."""

KINKS = {
    "astype": "between floats",
    "max": "ties share it equally",
    "min": "ties share it equally",
    "amax": "ties share it equally",
    "amin": "ties share it equally",
    "ptp": "ties share it equally",
    "nanmax": "ties share it equally",
    "nanmin": "ties share it equally",
    "clip": "half at an end",
    "sort": "of the order that the values are in",
    "partition": "of the order that the values are in",
    "median": "of the order that the values are in",
    "quantile": "of the order that the values are in",
    "percentile": "of the order that the values are in",
    "norm": "0 at 0 for the Euclidean norm",
    "interp": "of the piece to the right at a point",
    "eigh": "of vectors, equal eigenvalues mix as zero; the matrix counts as symmetric",
    "eigvalsh": "the matrix counts as symmetric",
    "cholesky": "the matrix counts as symmetric",
    "svd": "of vectors, with full_matrices=False; equal singular values mix as zero",
    "svdvals": "",
    "qr": "with as many rows as columns or more, in reduced mode",
    "det": "NaN or infinite for a singular matrix",
    "slogdet": "NaN or infinite for a singular matrix",
    "pinv": "for a constant rank",
    "lstsq": "for a constant rank",
    "bincount": "of the weights",
    "histogram": "of the weights",
}
"""What holds where a function has no derivative, or for which argument it has one."""

LIMITS = {
    "apply_along_axis": "up to 256 rows; the graph holds the function once for each",
    "bincount": "needs minlength, which no element may reach: checked by the step",
    "compress": "a condition that is known while tracing",
    "extract": "a condition that is known while tracing",
    "diagonal": "a copy, not a view",
    "einsum": "two operands at a time, in the order given or of `optimize`",
    "fill_diagonal": "a matrix",
    "histogram": "a number of bins or edges; no names of rules",
    "lstsq": "residuals are given whatever the rank turns out to be",
    "pad": "constant, empty, edge, reflect, symmetric, wrap",
    "partition": "sorted as a whole",
    "argpartition": "sorted as a whole",
    "piecewise": "functions of single elements and reductions",
    "qr": "reduced, complete, r",
    "quantile": "no method that averages at jumps",
    "percentile": "no method that averages at jumps",
    "where": "three arguments",
}
"""What a function does not do that NumPy's does."""


def page() -> str:
    """The text of docs/numpy.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield HEAD
    yield "## Ufuncs\n"
    yield "With broadcasting, `out=`, `where=` (with `out=`) and `dtype=`:\n"
    ufuncs = [*UFUNCS, *OF_MATRICES, *SEVERAL_RESULTS]
    yield _listed(f"np.{ufunc.__name__}" for ufunc in ufuncs)
    named = (*NAMED_UFUNCS, *SEVERAL, *ALWAYS_COMPLEX, *special_functions.FUNCTIONS)
    yield f"Of scipy.special: {_listed({name.strip('_') for name in named})}"
    yield (
        "Other functions of scipy.special work for Python ints, which fix the graph"
        " (`roots_legendre(n)`, `jn_zeros(n, 4)`): what they give is a constant.\n"
    )
    yield f"Of complex numbers, without gradients: {_listed(COMPLEX)}"
    yield (
        f"Of scipy.stats {_listed(distributions.METHODS).rstrip()[:-1]} of the distributions"
        f" {_listed(distribution_table.DISTRIBUTIONS)}"
    )
    joint = (".".join((kind.removesuffix("_gen"), name)) for kind, name in multivariate.METHODS)
    yield f"Of scipy.stats also {_listed(joint)}"
    for package, entries in scipy_table.PACKAGES.items():
        if package != "scipy.special":
            shown = {"scipy.spatial": "scipy.spatial.distance"}.get(package, package)
            yield f"Of {shown}: {_listed(entries)}"
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
    yield "| | parameters | gradient | limits |\n|---|---|---|---|"
    for name, entry in sorted(rows):
        short = name.rpartition(".")[2]
        parameters = _parameters(entry, is_method=name.startswith("x."))
        yield f"| `{name}` | {parameters} | {_gradient(short)} | {LIMITS.get(short, '')} |"
    yield ""


def _gradient(name: str) -> str:
    if name in KINKS:
        return f"yes; {KINKS[name]}".rstrip("; ")
    return "no" if name in NO_GRADIENT else "yes"


def _parameters(entry: Callable[..., Any], is_method: bool) -> str:
    parameters = list(inspect.signature(entry).parameters.values())[is_method:]
    return ", ".join(f"`{_shown(parameter)}`" for parameter in parameters)


def _shown(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = parameter.default
    return f"{stars}{parameter.name}" + ("" if default is parameter.empty else f"={default!r}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
