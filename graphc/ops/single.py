"""References in f32 for floats of 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def in_single(reference: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that computes in f32 on what it is given in 16 bits, and rounds the results."""

    def compute(*arrays: Any, **attrs: Any) -> Any:
        narrow = next((x.dtype for x in arrays if is_narrow(x.dtype)), None)
        if narrow is None:
            return reference(*arrays, **attrs)
        wide = [x.astype(np.float32) if x.dtype == narrow else x for x in arrays]
        result = reference(*wide, **attrs)
        return result.astype(narrow) if result.dtype == np.float32 else result

    return compute


def is_narrow(dtype: np.dtype) -> bool:
    """Whether a NumPy dtype is a float of 16 bits; that of bf16 is ml_dtypes' own."""
    return dtype.itemsize == 2 and dtype.kind in "fV"
