"""graphc: a static-graph compiler with operator fusion for plain NumPy functions."""

from graphc import _clone as _clone
from graphc import errors, ops, random
from graphc.api import cache_dir, compile, evaluate, kept_memory, parse, to_device, trace
from graphc.custom import checkpoint, custom_vjp
from graphc.debugging import disable_compile
from graphc.derivatives import hessian, hvp, jacobian, jvp, vjp
from graphc.external import call, elementwise
from graphc.ir import Graph
from graphc.loops import scan, while_loop
from graphc.static_shapes import nonzero, unique
from graphc.trace.trace import Spec
from graphc.transforms import cond, grad, stop_gradient, value_and_grad
from graphc.vectorize import vmap

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "Spec",
    "cache_dir",
    "call",
    "checkpoint",
    "compile",
    "cond",
    "custom_vjp",
    "disable_compile",
    "elementwise",
    "errors",
    "evaluate",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "kept_memory",
    "nonzero",
    "ops",
    "parse",
    "random",
    "scan",
    "stop_gradient",
    "to_device",
    "trace",
    "unique",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
