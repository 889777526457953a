"""Derivatives of Bessel functions by their order: the integrals of Schlaefli and of DLMF 10.32.

They are for x > 0, and NaN where the oscillations are too many for the nodes, or where what is
left is so small beside what it is the difference of that few of its digits are right.
"""

from __future__ import annotations

import math

from graphc.build import Value
from graphc.ops.elementwise import abs as size_of
from graphc.ops.elementwise import (
    cos,
    exp,
    expm1,
    greater,
    less,
    less_equal,
    log,
    logical_and,
    logical_or,
    rsqrt,
    sin,
    square,
    where,
)
from graphc.ops.quadrature import half_turn_nodes, integral, slow_start_nodes, unit_nodes
from graphc.ops.special import digamma, gammaln

MOST_TURNS = 300.0
"""How far the phase may go."""
LEAST_LEFT = 1e-8
"""How much of the integrals has to be left."""


def _unless_lost(v: Value, x: Value, result: Value, size: Value) -> Value:
    turns = size_of(v) * math.pi + x * 2.0
    lost = logical_or(greater(turns, MOST_TURNS), less(size_of(result), size * LEAST_LEFT))
    found: Value = where(logical_or(lost, less_equal(x, 0.0)), math.nan, result)
    return found


def _within(x: Value) -> Value:
    """Another number in place of those that have no derivative."""
    inside: Value = where(greater(x, 0.0), x, 1.0)
    return inside


def _tails(v: Value, x: Value, hyperbolic: bool) -> list[Value]:
    """The integrals of exp(-x sinh(t) - v t), or with cosh(t) - 1, and of t times it."""

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value, Value]:
        t = exp(node)
        fall = x * (_cosh_less_one(t) if hyperbolic else _sinh(t))
        size = exp(weight - fall - v * t)
        return size, size * t

    return integral(slow_start_nodes(), integrand, v, x)


def _sinh(t: Value) -> Value:
    grown = expm1(t)
    return (grown + grown / (grown + 1.0)) * 0.5


def _cosh_less_one(t: Value) -> Value:
    return square(_sinh(t * 0.5)) * 2.0


def jv_slope(v: Value, x: Value) -> Value:
    inside = _within(x)

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value, Value]:
        t = exp(node)
        part = exp(node + weight) * sin(v * t - x * sin(t))
        return part, size_of(part)

    turn, size = integral(half_turn_nodes(), integrand, v, inside)
    tail, moment = _tails(v, inside, hyperbolic=False)
    angle = v * math.pi
    result = -(turn - sin(angle) * moment) / math.pi - cos(angle) * tail
    return _unless_lost(v, x, result, size + tail)


def yv_slope(v: Value, x: Value) -> Value:
    inside = _within(x)

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value, Value]:
        t = exp(node)
        part = exp(node + weight) * cos(x * sin(t) - v * t)
        return part, size_of(part)

    turn, size = integral(half_turn_nodes(), integrand, v, inside)
    tail, moment = _tails(v, inside, hyperbolic=False)
    _, growing = _tails(-v, inside, hyperbolic=False)
    angle = v * math.pi
    result = (cos(angle) * moment - turn - growing) / math.pi + sin(angle) * tail
    return _unless_lost(v, x, result, size + growing)


def ive_slope(v: Value, x: Value) -> Value:
    inside = _within(x)

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value, Value]:
        t = exp(node)
        part = exp(node + weight - x * square(sin(t * 0.5)) * 2.0) * sin(v * t)
        return part, size_of(part)

    turn, size = integral(half_turn_nodes(), integrand, v, inside)
    tail, moment = (part * exp(inside * -2.0) for part in _tails(v, inside, hyperbolic=True))
    angle = v * math.pi
    result = -(turn - sin(angle) * moment) / math.pi - cos(angle) * tail
    return _unless_lost(v, x, result, size + tail)


def kve_slope(v: Value, x: Value) -> Value:
    """Of one sign under the integral, so that nothing is lost."""
    inside = _within(x)

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value]:
        width = rsqrt(x + 1.0)  # about how far the integrand goes on
        t = exp(node) * width
        fall = weight + node - x * _cosh_less_one(t)
        return ((exp(fall + v * t) - exp(fall - v * t)) * square(width) * 0.5,)

    (result,) = integral(slow_start_nodes(), integrand, v, inside)
    found: Value = where(less_equal(x, 0.0), math.nan, result)
    return found


# ---- Struve functions ----------------------------------------------------------------------------

FARTHEST = 15.0
"""Beyond it the nodes are too few for Struve's integral."""


def struve_slope(out: Value, v: Value, x: Value, modified: bool) -> Value:
    """By DLMF 11.5.1 and 11.5.4, for v > -1/2: an integral of sin(t)**(2 v) over a quarter turn."""
    known = logical_and(greater(v, -0.5), logical_and(greater(x, 0.0), less(x, FARTHEST)))
    inside, order = where(known, x, 1.0), where(known, v, 1.0)

    def integrand(node: Value, weight: Value, v: Value, x: Value) -> tuple[Value]:
        t = exp(node) * (math.pi / 2)
        is_small = less(node, -20.0)  # where a sine is its angle, which may be less than any number
        growth = where(is_small, node + math.log(math.pi / 2), log(sin(where(is_small, 1.0, t))))
        wave = x * cos(t)
        part = _sinh(wave) if modified else sin(wave)
        return (part * growth * exp(v * 2.0 * growth + weight) * math.pi,)

    (turn,) = integral(unit_nodes(), integrand, order, inside)
    half = log(inside * 0.5)
    scale = exp(order * half - gammaln(order + 0.5)) * (2.0 / math.sqrt(math.pi))
    result = out * (half - digamma(order + 0.5)) + scale * turn
    found: Value = where(known, result, math.nan)
    return found
