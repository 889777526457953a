"""JAX on a GPU; by the host's clock, because its streams are its own."""

from __future__ import annotations

import os

os.environ["JAX_PLATFORMS"] = "cuda"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too

from bench.contenders import jax_jit


class Contender(jax_jit.Contender):
    """As on the processor, on the platform chosen above."""
