"""`scipy.special.lambertw` on traced values, by Halley's method from scipy's first guesses.

Corless, Gonnet, Hare, Jeffrey and Knuth, "On the Lambert W function" (1996).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.trace.special_orders import known_integer
from graphc.trace.tracer import lift

STEPS = 6
"""Each takes the error to its third power; near the branch point it takes longer."""
BRANCH_POINT = -math.exp(-1.0)


def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """The solution w of w exp(w) = z, of branch k."""
    branch = known_integer("lambertw", k)
    given = lift(z).astype(np.complex128)
    is_zero, is_far = np.equal(given, 0), np.logical_not(np.isfinite(given))
    value: Any = np.where(np.logical_or(is_zero, is_far), 1.0 + 0.0j, given)
    w = _guess(value, branch)
    for _ in range(STEPS):
        w = _halley(w, value)
    at_zero = 0.0 if branch == 0 else -np.inf
    w = np.where(is_zero, at_zero, w)
    return np.where(is_far, _at_infinity(given, branch), w)


def _halley(w: Any, z: Any) -> Any:
    """One step on w - z exp(-w), which does not overflow; nothing moves at the branch point."""
    off = w - z * np.exp(-w)
    below = w + 1.0 - (w + 2.0) * off / (2.0 * w + 2.0)
    known = np.logical_or(np.equal(w, -1.0), np.equal(below, 0))
    return np.where(known, w, w - off / np.where(known, 1.0 + 0.0j, below))


def _guess(z: Any, branch: int) -> Any:
    logarithm = np.log(z) + 2j * math.pi * branch
    far = np.where(np.equal(logarithm, 0), 1.0 + 0.0j, logarithm)
    guess = logarithm - np.log(far)
    if branch == 0:
        guess = np.where(_is_near_zero(z), _near_zero(z), guess)
        return np.where(np.absolute(z - BRANCH_POINT) < 0.3, _at_branch_point(z, 1.0), guess)
    if branch == -1:
        right = np.logical_and(z.real < 0, z.real >= BRANCH_POINT)
        on_cut = np.logical_and(np.equal(z.imag, 0), right)
        guess = np.where(on_cut, np.log(-z), guess)
        above = np.logical_or(on_cut, z.imag > 0)  # below it the branch goes on elsewhere
        close = np.logical_and(above, np.absolute(z - BRANCH_POINT) < 0.1)
        return np.where(close, _at_branch_point(z, -1.0), guess)
    return guess


def _is_near_zero(z: Any) -> Any:
    x, y = z.real, np.absolute(z.imag)
    inside = np.logical_and(np.logical_and(x > -1.0, x < 1.5), y < 1.0)
    return np.logical_and(inside, x > -2.5 * y - 0.2)


def _near_zero(z: Any) -> Any:
    above = 1.0 + z * (12.34042553191489361902 + z * 12.85106382978723404255)
    below = 1.0 + z * (14.34042553191489361702 + z * 32.53191489361702127660)
    return z * above / below


def _at_branch_point(z: Any, sign: float) -> Any:
    """In powers of the root of 2 (e z + 1)."""
    root = sign * np.sqrt(2.0 * (math.e * z + 1.0))
    return -1.0 + root * (1.0 + root * (-1.0 / 3.0 + root * (11.0 / 72.0)))


def _at_infinity(z: Any, branch: int) -> Any:
    """scipy's values: of NaN NaN, of infinities the logarithm of the branch."""
    turned = z + 2j * math.pi * branch
    left = np.logical_and(np.isinf(z.real), z.real < 0)
    known = np.where(left, -z + 1j * math.pi * (2 * branch + 1), turned)
    return np.where(np.isnan(z), z, known)
