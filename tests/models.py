"""Small pieces of numerical programs, as functions of values: what fusion is judged on."""

from __future__ import annotations

from running import op

from graphc.build import Value
from graphc.ir import OPS
from graphc.ops.elementwise import exp, log, maximum, rsqrt, square, tanh


def spread(x: Value, shape: tuple[int, ...], *axes: int) -> Value:
    return op("broadcast")(x, shape=shape, axes=axes)


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The axes but one."""
    return tuple(i for i in range(len(shape)) if i != axis)


def softmax(x: Value, axis: int = -1) -> Value:
    axis %= len(x.shape)
    rest = without(x.shape, axis)
    top = spread(op("max")(x, axes=(axis,)), x.shape, *rest)
    e = exp(x - top)
    return e / spread(op("sum")(e, axes=(axis,)), x.shape, *rest)


def log_softmax(x: Value, axis: int = -1) -> Value:
    axis %= len(x.shape)
    rest = without(x.shape, axis)
    moved = x - spread(op("max")(x, axes=(axis,)), x.shape, *rest)
    return moved - spread(log(op("sum")(exp(moved), axes=(axis,))), x.shape, *rest)


def layer_norm(x: Value, gain: Value, bias: Value) -> Value:
    columns = x.shape[1]
    mean = op("sum")(x, axes=(1,)) * (1 / columns)
    centred = x - spread(mean, x.shape, 0)
    variance = op("sum")(square(centred), axes=(1,)) * (1 / columns)
    scaled = centred * spread(rsqrt(variance + 1e-5), x.shape, 0)
    return scaled * spread(gain, x.shape, 1) + spread(bias, x.shape, 1)


def gelu(x: Value) -> Value:
    return x * 0.5 * (tanh((x + x * square(x) * 0.044715) * 0.7978845608) + 1.0)


def dense(x: Value, w: Value, b: Value) -> Value:
    """relu(x @ w + b)"""
    product = OPS["matmul"](x, w)
    return maximum(product + spread(b, product.shape, 1), 0.0)
