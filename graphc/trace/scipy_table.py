"""What stands for functions of scipy on traced values, by package and name.

By name, so that scipy need not be imported to recognise them.  A function that is in no table is
called as it is: what it does with arrays alone works, and what needs their values is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace import multivariate
from graphc.trace.scipy_distance import DISTANCES
from graphc.trace.scipy_fft import TRANSFORMS
from graphc.trace.scipy_linalg import LINALG
from graphc.trace.scipy_signal import SIGNAL
from graphc.trace.scope import user_loc
from graphc.trace.special_counting import of_known
from graphc.trace.special_functions import FUNCTIONS

Entry = Callable[..., Any]

PACKAGES: dict[str, dict[str, Entry]] = {
    "scipy.special": FUNCTIONS,
    "scipy.linalg": LINALG,
    "scipy.signal": SIGNAL,
    "scipy.fft": TRANSFORMS,
    "scipy.spatial": DISTANCES,
    "scipy.integrate": {"trapezoid": np.trapezoid} if hasattr(np, "trapezoid") else {},
}
"""Package -> its functions, by name."""


def function_of_scipy(function: Any) -> Entry | None:
    """What stands for a function of scipy, None for any other."""
    module = getattr(function, "__module__", None) or ""
    if not isinstance(module, str) or not module.startswith("scipy."):
        return multivariate.method_of_scipy(function)
    package = ".".join(module.split(".")[:2])
    name = getattr(function, "__name__", "_")
    found = PACKAGES.get(package, {}).get(name)
    if found is not None:
        return found
    found = multivariate.method_of_scipy(function)
    if found is not None or not isinstance(function, FunctionType) or name.startswith("_"):
        return found
    return of_known(function) if package == "scipy.special" else _as_it_is(function, package)


def _as_it_is(function: Any, package: str) -> Entry:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except errors.ConcreteValueError as error:
            raise errors.UnsupportedFunctionError(
                f"{package}.{function.__name__} cannot be traced: it needs the values of its"
                " arguments; compute it outside of the traced function, write it with NumPy, or"
                " call compiled code for it by gc.call",
                user_loc(),
            ) from error

    return call
