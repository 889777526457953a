"""Integrals over fixed nodes, for derivatives that have no closed form.

The integrand is computed at all nodes along one more axis, and summed.  The nodes are those of
Takahasi and Mori (1974), whose weights fall off doubly exponentially: what is singular at an end,
or spread over many orders of magnitude, costs no digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from graphc.build import Value
from graphc.ops import reduce, shape

STEP = 1 / 16


class Nodes(NamedTuple):
    """The logarithms of the nodes, and of the weights, which span hundreds of magnitudes."""

    logs: np.ndarray
    weights: np.ndarray


@functools.cache
def unit_nodes() -> Nodes:
    """From 0, which they approach down to exp(-1800), to 1."""
    t = np.arange(-7.0, 3.3, STEP)
    inner = np.pi * np.sinh(t)
    logs = -np.logaddexp(0.0, -inner)  # of 1 / (1 + exp(-inner))
    return Nodes(logs, np.log(STEP * np.pi * np.cosh(t)) + logs - np.logaddexp(0.0, inner))


@functools.cache
def half_line_nodes() -> Nodes:
    """Of an integral from 0 to infinity."""
    t = np.arange(-4.2, 3.0, STEP)
    logs = 0.5 * np.pi * np.sinh(t)
    return Nodes(logs, np.log(STEP * 0.5 * np.pi * np.cosh(t)) + logs)


@functools.cache
def slow_start_nodes() -> Nodes:
    """Of an integral from 0 to infinity of what falls off doubly exponentially by itself.

    The nodes are evenly spaced in the end, t = log(1 + exp(v - exp(-v))).
    """
    v = np.arange(-3.6, 30.0, 1 / 8)
    inner = v - np.exp(-v)
    logs = np.log(np.logaddexp(0.0, inner))
    slope = (1.0 + np.exp(-v)) / (1.0 + np.exp(-inner))
    return Nodes(logs, np.log(slope / 8))


@functools.cache
def half_turn_nodes() -> Nodes:
    """Of an integral from 0 to pi of what is smooth, by Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(200)
    return Nodes(np.log((places + 1.0) * (np.pi / 2)), np.log(weights * (np.pi / 2)))


def integral(nodes: Nodes, integrand: Callable[..., tuple[Value, ...]], *ins: Value) -> list[Value]:
    """Sums over the nodes of integrand(log of node, log of weight, *ins), several at once.

    The integrand puts the weight in itself: in a logarithm, products of the very large and the very
    small stay in range.
    """
    first = ins[0]
    wide = (*first.shape, nodes.logs.size)
    rank = len(first.shape)
    repeated = [shape.broadcast(x, shape=wide, axes=tuple(range(rank))) for x in ins]
    builder = first.builder
    along = [shape.broadcast(builder.constant(array), shape=wide, axes=(rank,)) for array in nodes]
    return [reduce.sum(part, axes=(rank,)) for part in integrand(*along, *repeated)]
