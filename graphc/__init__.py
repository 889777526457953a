"""graphc: a static-graph compiler with operator fusion for plain NumPy functions."""

import os

# In a clone, passes/ and runtime/ lie beside this folder; an installed graphc has them inside.
if os.path.isdir(os.path.join(os.path.dirname(__file__), os.pardir, "passes")):
    __path__.append(os.path.join(os.path.dirname(__file__), os.pardir))

from graphc import errors, ops
from graphc.api import compile, evaluate, parse, trace
from graphc.ir import Graph
from graphc.trace.trace import Spec
from graphc.transforms import cond, grad, value_and_grad

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "Spec",
    "compile",
    "cond",
    "errors",
    "evaluate",
    "grad",
    "ops",
    "parse",
    "trace",
    "value_and_grad",
]
