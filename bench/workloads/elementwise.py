"""Elementwise work: a tiny call, chains of three sizes, Black–Scholes, a stencil."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.workload import ELEMENTARY, Workload, normal

# ---- programs: one source where the frameworks agree ---------------------------------------------


def tiny(xp: Any) -> Any:
    def run(x):
        return xp.tanh(x) * 2.0

    return run


def chain(xp: Any) -> Any:
    def run(x, y):
        return xp.tanh(x * y + 1.0) * xp.exp(-x * x) + y / 2.0

    return run


RATE, VOLATILITY = 0.02, 0.3


def black_scholes(xp: Any, erf: Any) -> Any:
    """The price of a call and of a put.  Black and Scholes (1973), equations 13 and 14."""

    def normal_cdf(x):
        return 0.5 * (1.0 + erf(x * 0.7071067811865476))

    def run(spot, strike, years):
        spread = VOLATILITY * xp.sqrt(years)
        d1 = (xp.log(spot / strike) + (RATE + 0.5 * VOLATILITY**2) * years) / spread
        d2 = d1 - spread
        discounted = strike * xp.exp(-RATE * years)
        call = spot * normal_cdf(d1) - discounted * normal_cdf(d2)
        return call, call - spot + discounted

    return run


def stencil(xp: Any) -> Any:
    """One explicit step of the heat equation; the border keeps its values."""

    def run(u):
        out = u.copy()
        out[1:-1, 1:-1] = u[1:-1, 1:-1] + laplacian(u)
        return out

    return run


def laplacian(u):
    inner = u[1:-1, 1:-1]
    return 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * inner)


def stencil_jax(jax: Any) -> Any:
    return lambda u: u.at[1:-1, 1:-1].add(laplacian(u))


def stencil_torch(torch: Any) -> Any:
    def run(u):
        out = u.clone()
        out[1:-1, 1:-1] += laplacian(u)
        return out

    return run


def stencil_pytensor(pytensor: Any) -> Any:
    return lambda u: pytensor.tensor.inc_subtensor(u[1:-1, 1:-1], laplacian(u))


# ---- workloads -----------------------------------------------------------------------------------


def everywhere(source: Any) -> dict[str, Any]:
    """The programs of a source that all frameworks understand."""
    return {
        "numpy": source,
        "graphc": lambda gc: source(np),
        "torch": source,
        "jax": lambda jax: source(jax.numpy),
        "pytensor": lambda pytensor: source(pytensor.tensor),
    }


def scipy_erf() -> Any:
    from scipy.special import erf

    return erf


BLACK_SCHOLES = {
    "numpy": lambda np: black_scholes(np, scipy_erf()),
    "graphc": lambda gc: black_scholes(np, scipy_erf()),
    "torch": lambda torch: black_scholes(torch, torch.erf),
    "jax": lambda jax: black_scholes(jax.numpy, jax.scipy.special.erf),
    "pytensor": lambda pt: black_scholes(pt.tensor, pt.tensor.erf),
}


CHAINS_TRIED = "1, 2, 4 and 8 registers side by side: 4 is fastest, 1.1 to 1.5 times as fast as 1"


def chain_of(size: int, dtype: str) -> Workload:
    return Workload(
        f"chain {'f32' if dtype == 'f4' else 'f64'} 1e{len(str(size)) - 1}",
        Family.ELEMENTWISE,
        lambda rng: (normal(rng, size, dtype=dtype), normal(rng, size, dtype=dtype)),
        everywhere(chain),
        flops=size * (7 + 2 * ELEMENTARY),
        tolerance=2e-6 if dtype == "f4" else 1e-13,
        kernels=1,
        tried=CHAINS_TRIED,
        from_cold=size == 1000 and dtype == "f4",
    )


def options(rng: np.random.Generator, dtype: str) -> tuple[Any, ...]:
    bounds = ((50.0, 150.0), (50.0, 150.0), (0.1, 2.0))
    return tuple(rng.uniform(low, high, 1_000_000).astype(dtype) for low, high in bounds)


def black_scholes_in(dtype: str) -> Workload:
    return Workload(
        f"Black–Scholes {'f32' if dtype == 'f4' else 'f64'} 1e6",
        Family.ELEMENTWISE,
        lambda rng: options(rng, dtype),
        BLACK_SCHOLES,
        flops=1e6 * (20 + 6 * ELEMENTARY),
        tolerance=5e-6 if dtype == "f4" else 1e-12,
        kernels=1,
        tried=CHAINS_TRIED,
    )


WORKLOADS = (
    Workload(
        "tiny call",
        Family.TINY,
        lambda rng: (normal(rng, 4),),
        everywhere(tiny),
        flops=4 * (1 + ELEMENTARY),
        kernels=1,
        from_cold=True,
    ),
    *(chain_of(size, dtype) for dtype in ("f4", "f8") for size in (10**3, 10**5, 10**7)),
    black_scholes_in("f4"),
    black_scholes_in("f8"),
    Workload(
        "stencil 2048x2048",
        Family.ELEMENTWISE,
        lambda rng: (normal(rng, 2048, 2048),),
        {
            "numpy": stencil,
            "graphc": lambda gc: stencil(np),
            "torch": stencil_torch,
            "jax": stencil_jax,
            "pytensor": stencil_pytensor,
        },
        flops=7 * 2046**2,
        kernels=1,
    ),
)
