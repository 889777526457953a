"""Plain NumPy programs of the kind that people write: `PROGRAMS`, each with arguments to run it on.

A program says how many conditionals its graph has (`conds`, where that matters), and by which
arguments it has a gradient (`grad`).  Its cases take every branch; what a case must not run divides
an integer by zero or reads out of range.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Program:
    """A function, and what is known of it."""

    function: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]
    conds: int | None
    grad: tuple[int, ...]
    second: bool

    def __str__(self) -> str:
        return self.function.__name__


PROGRAMS: list[Program] = []


def program(
    *cases: tuple[Any, ...], conds: int | None = 0, grad: tuple[int, ...] = (), second: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the decorated function to `PROGRAMS`; each case is a tuple of arguments."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS.append(Program(function, cases, conds, grad, second))
        return function

    return add


_rng = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return _rng.uniform(0.5, 2.0, shape)


A, B, V = normal(3, 4), normal(4, 5), normal(4)
LABELS = np.array([0, 3, 1])
INTS = np.array([3, -7, 0, 12])
TABLE = normal(6, 2)
POWERS = np.arange(4.0)

# ---- conditionals --------------------------------------------------------------------------------


@program((2.0,), (-2.0,), conds=1, grad=(0,), second=True)
def if_else(x):
    if x > 0:
        y = x * x
    else:
        y = -x
    return y


@program((2.0,), (-2.0,), conds=1, grad=(0,))
def if_without_else(x):
    y = np.sin(x)
    if x > 0:
        y = y * 3.0
    return y


@program((-2.0,), (0.5,), (3.0,), conds=2, grad=(0,), second=True)
def elif_chain(x):
    if x < 0:
        return x**2
    elif x < 1:
        return x**3
    else:
        return np.exp(-x)


@program((2.0, 1.0), (2.0, -1.0), (-2.0, 1.0), conds=2, grad=(0, 1))
def nested(x, y):
    if x > 0:
        if y > 0:
            z = x * y
        else:
            z = x - y
    else:
        z = x / (1 + y * y)
    return z + 1


@program((A, 1.0), (A, -1.0), conds=1, grad=(0,))
def early_return(x, s):
    if s < 0:
        return np.zeros_like(x)
    y = np.tanh(x)
    return y * s


@program((1.5,), (-0.5,), (7.0,), conds=2, grad=(0,))
def two_early_returns(x):
    if x < 0:
        return 0.0
    y = x * 2
    if y > 10:
        return y - 10
    return y**2


@program((V, 2.0), (V, 9.0), conds=1, grad=(0,))
def ternary(x, s):
    return (np.exp(x) if s < 5.0 else x * 2).sum()


@program((V,), (-np.abs(V),), (V * 100,), conds=2, grad=(0,))
def nested_ternary(x):
    m = x.max()
    return x * 2 if m > 10 else (x if m > 0 else -x)


@program((1.0, 2.0), (-1.0, 2.0), (1.0, -2.0), conds=2, grad=(0, 1))
def both(x, y):
    if x > 0 and y > 0:
        return x * y
    return x + y


@program((1.0, 2.0), (-1.0, 2.0), (-1.0, -2.0), conds=2, grad=(0, 1))
def either(x, y):
    if x > 0 or y > 0:
        return x * y
    return x + y


@program((1.0,), (-1.0,), conds=1, grad=(0,))
def negated(x):
    if not x > 0:
        x = -x
    return np.sqrt(x)


@program((0.5,), (-1.0,), (2.0,), conds=2, grad=(0,))
def chained_comparison(x):
    return 3 * x if 0 < x < 1 else x * x


@program((1.0, 3.0), (4.0, 3.0), (4.0, -3.0), conds=3, grad=(0, 1))
def mixed_logic(x, y):
    if (x > 2 and y > 0) or not (y < 5):
        r = x**2
    else:
        r = y**2
    return r


@program((2.0,), (-2.0,), conds=1, grad=(0,))
def several_names(x):
    a, b = 1.0, x
    if x > 0:
        a = x * 2
        c = a + b
    else:
        b = x * 3
        c = b * b
    return a, b, c


@program((2.0,), (-2.0,), conds=1)
def name_of_one_branch(x):
    if x > 0:
        t = x * 2
        y = t + 1
    else:
        y = x
    return y


@program((A, 1.0), (A, -1.0), conds=1, grad=(0,))
def augmented(x, s):
    y = x * 2
    if s > 0:
        y += 1
        y *= x
    else:
        y -= s
    return y


@program((A, 1.0), (A, -1.0), conds=1)
def in_place_on_argument(x, s):
    if s > 0:
        x *= 2
    else:
        x[0] = 0
    return x.sum()


@program((A, 1.0), (A, -1.0), conds=1)
def in_place_on_one_side(x, s):
    if s > 0:
        x[1:, ::2] += s


@program((A, 1.0), (A, -1.0), conds=1, grad=(0,))
def assignment_to_a_local_array(x, s):
    out = np.zeros((3, 4))
    out[0] = x[1]
    if s > 0:
        out[1:] = x[:2] * s
    else:
        out[:, -1] += x[:, 0]
    return out


def leaky(x, slope):
    if slope > 0:
        return np.where(x > 0, x, slope * x)
    else:
        return np.maximum(x, 0)


@program((A, 0.1), (A, -1.0), conds=1, grad=(0,))
def helper(x, slope):
    return leaky(x, slope) + 1


@program((A, 0.1), (A, -1.0), conds=2, grad=(0,))
def helper_twice(x, slope):
    return leaky(leaky(x, slope) - 1, -slope)


@program((A, 0.1), (A, -1.0), conds=1, grad=(0,))
def helper_by_partial(x, slope):
    return partial(leaky, slope=slope)(x)


@program((np.abs(V), 2.0), (V, -2.0), conds=1, grad=(0, 1))
def closure(x, s):
    def scale(y):
        return y * s if s > 0 else y - s

    return scale(x) @ POWERS


@program((V, 1.0), (V, -1.0), conds=1, grad=(0,))
def lambda_function(x, s):
    f = lambda y: np.exp(y) if s > 0 else np.cos(y)
    return f(x).mean()


class Layer:
    """A method with a conditional, on an object of the user's."""

    def __init__(self, weight):
        self.weight = weight

    def apply(self, x, sharp):
        z = x @ self.weight
        if sharp > 0.5:
            return np.maximum(z, 0)
        return np.log1p(np.exp(z))

    def __call__(self, x):
        return self.apply(x, np.mean(x * x))


LAYER = Layer(B)


@program((A, 0.0), (A, 1.0), conds=1, grad=(0,))
def method(x, sharp):
    return LAYER.apply(x, sharp)


@program((A,), (A * 0.1,), conds=1, grad=(0,))
def callable_object(x):
    return LAYER(x)


@program((2.0, True), (-2.0, True), conds=1)
def python_and_traced(x, flag):
    if flag and x > 0:
        return x
    return x * 0 + 1


@program((V, "relu"), (V, "tanh"), conds=0, grad=(0,))
def chosen_by_a_string(x, kind):
    if kind == "relu":
        return np.maximum(x, 0)
    return np.tanh(x)


@program((V, None), (V, np.ones(4)), conds=0)
def optional_argument(x, bias):
    if bias is not None:
        x = x + bias
    return x


@program((V, 3), (V, -3), conds=1, grad=(0,))
def condition_on_an_integer(x, n):
    return x * n if n > 0 else x


@program((V, np.array(True)), (V, np.array(False)), conds=1)
def condition_on_a_boolean_array(x, p):
    return x * 2 if p else -x


@program((V,), (-np.abs(V),), (np.abs(V),), conds=2)
def any_and_all(x):
    if np.all(x > 0):
        return np.sqrt(x)
    if np.any(x > 0):
        return x * 2
    return x * 0


@program((3.0,), (0.5,), conds=4, grad=(0,))
def conditional_in_a_loop(x):
    for k in range(4):
        if x > 1:
            x = x / 2
        else:
            x = x + 0.3 * k
    return x


@program((2.0, 3.0), (3.0, 2.0), conds=1, grad=(0, 1))
def swap_in_a_branch(x, y):
    if x < y:
        x, y = y, x
    return x - 2 * y


@program((2.0,), (-2.0,), conds=1)
def same_names_unchanged(x):
    y = z = x
    if x > 0:
        y = x + 1
    return y, z


@program((1.0,), (-1.0,), conds=1)
def dict_in_branches(x):
    if x > 0:
        d = {"a": x, "b": (x, 1.0)}
    else:
        d = {"a": -x, "b": (x, 2.0)}
    return d


@program((V, 0.5), (V, 2.0), conds=1, grad=(0, 1))
def clip_by_norm(g, limit):
    norm = np.sqrt(np.sum(g**2))
    if norm > limit:
        g = g * (limit / norm)
    return g


# ---- branches that must not run ------------------------------------------------------------------


@program((V, 1, 0), (V, 9, 3), conds=1)
def division_by_zero_not_taken(x, n, d):
    if d != 0:
        return x * (n // d)
    return x


@program((V, np.array(2)), (V, np.array(7)), conds=1, grad=(0,))
def index_out_of_range_not_taken(x, i):
    if i < 4:
        return x[i] * 2
    else:
        return x[0]


@program((V, np.array([1, 2])), (V, np.array([1, 9])), conds=1, grad=(0,))
def take_out_of_range_not_taken(x, i):
    y = np.take(x, i) if i.max() < 4 else x[:2]
    return y**2


@program((V, np.array(2)), (V, np.array(7)), conds=2, grad=(0,))
def guarded_by_and(x, i):
    if i < 4 and x[i] < 100:
        return x * x[i]
    return x


@program((V, 4), (V, -3), conds=1)
def negative_power_not_taken(x, n):
    return x + INTS.sum() ** n if n >= 0 else x


# ---- in place ------------------------------------------------------------------------------------


@program((A, normal(3, 4)))
def sgd_step(w, g):
    w -= 0.1 * g


@program((V, normal(4), normal(4)))
def momentum_step(w, m, g):
    m *= 0.9
    m += g
    w -= 0.1 * m
    return w


@program((A,))
def slices_of_slices(x):
    y = x[1:]
    z = y[:, ::-2]
    z *= 10
    y[0, 0] = -1
    return x.sum()


@program((A,))
def through_a_transpose(x):
    x.T[1] = 5
    x.T[2:, 0] += x[1, :2]


@program((normal(6),))
def through_a_reshape(x):
    y = x.reshape(2, 3)
    y[:, 1] = 0
    x.reshape(-1, 2)[0] += 1
    return y


@program((V, normal(4)))
def swapped_through_a_temporary(a, b):
    t = a.copy()
    a[:] = b
    b[:] = t


@program((V, normal(4)))
def swapped_names(a, b):
    a, b = b, a
    a += 1
    b[0] = 7
    return a, b


@program((V, normal(4)))
def out_argument(x, y):
    np.add(x, y, out=y)
    np.multiply(y, 2, y)
    return np.exp(x, out=x)


@program((A, np.array([2, 0]), 3.0), (A, np.array([1, 1]), -3.0))
def assignment_at_positions(x, i, v):
    x[i] = v
    x[i, 1] += 1
    x[:, i] *= 2


@program((A, 2, 1.0), (A, -1, 1.0))
def assignment_at_a_number(x, i, v):
    x[i] = v
    x[0, i] = x[i, 0] + 2


@program((A,))
def relu_by_mask(x):
    x[x < 0] = 0
    x[x[:, 0] > 0.5] = np.arange(4.0)
    return x.max(axis=0)


@program((V,))
def alias_and_rebinding(x):
    y = x
    y += 1
    y = y + 1
    y += 1
    return y


@program((np.array([1, 2, 3]),))
def integers_in_place(n):
    n *= 2
    n[1:] = 7.9
    n //= 2
    return n


# ---- trees ---------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")


@dataclass
class State:
    """A dataclass that goes in and out."""

    position: Any
    velocity: Any
    steps: int


@program((Point(1.0, V), -1.0), (Point(1.0, V), 1.0), conds=1, grad=(0,))
def named_tuple(p, s):
    return Point(p.y * 2, p.x) if s > 0 else Point(p.y, p.x * 3)


@program((State(V, normal(4), 3), 0.1))
def dataclass_step(state, dt):
    position = state.position + dt * state.velocity
    return State(position, state.velocity - dt * position, state.steps + 1)


@program(
    ({"w1": normal(4, 5), "b1": normal(5), "w2": normal(5, 2)}, A),
    grad=(0, 1),
)
def dict_of_parameters(params, x):
    h = np.tanh(x @ params["w1"] + params["b1"])
    return {"out": h @ params["w2"], "hidden": [h, (h.mean(),)]}


@program(([V, (normal(2), 3.0)], {"k": None, "s": "text"}))
def nested_containers(items, options):
    first, (second, third) = items
    return {"n": None, "s": options["s"], "r": [first[:2] + second, third]}


@program((V, {"lr": 0.1, "decay": 0.5}))
def returns_its_arguments(x, options):
    return x, options, (x,)


# ---- numbers -------------------------------------------------------------------------------------


@program((np.float32(1.5), normal(3).astype(np.float32), 2, 0.5))
def weak_python_numbers(a, x, n, f):
    return a * n, x * f, x + n, n / 2, n * f, n // 2, x**2, 1 / x, n - 7


@program((INTS, INTS.astype(np.int32), V.astype(np.float32), V, INTS > 0))
def mixed_dtypes(i, j, f, d, b):
    return i + j, j * f, i * f, f + d, b * d, b + i, b & (i > 2), b.sum(), j / 3, -j, b | b, ~b


@program((INTS, np.array([2, 3, -4, 0])))
def integer_division(a, b):
    return a // b, a % b, a // 4, a % -5, a * b, a << 2, a >> 1, a & 6, a ^ b, abs(a), a**2


@program((np.array(2.5), np.array(3)))
def arrays_without_axes(x, n):
    return x * 2, x + n, np.sqrt(x), x.reshape(1), x[...] + 1, np.stack([x, x])


@program((normal(3, 1), normal(4)), grad=(0, 1))
def broadcasting(a, b):
    return a * b + a - b / (1 + a**2)


@program((V,))
def comparisons(x):
    return x > 0, x <= 0.5, x == x, np.isnan(x), np.isfinite(x), (x > 0) & (x < 1), np.sign(x)


@program((2.5, 3), (-1.5, 4), conds=1)
def builtins_on_numbers(x, n):
    y = max(x, 0.5) + min(n, 3, 7) + abs(x) + round(x) + math.exp(-x) + math.sqrt(abs(x))
    return y if isinstance(n, int) and x > 0 else y + math.floor(x)


# ---- reductions, shapes, indexing ----------------------------------------------------------------


@program((normal(2, 3, 4),), grad=(0,))
def reductions(x):
    return (
        x.sum(),
        x.mean(axis=0),
        x.max(axis=(0, 2)),
        x.min(axis=-1, keepdims=True),
        np.var(x, axis=1),
        x.std(axis=2, ddof=1),
        np.prod(x, axis=0),
        np.linalg.norm(x[0], axis=1),
    )


@program((normal(2, 3, 4),))
def positions_and_logic(x):
    return np.argmax(x, axis=1), x.argmin(), np.any(x > 1, axis=2), (x > 0).all(), (x > 0).mean()


@program((A,), grad=(0,))
def shapes(x):
    return (
        x.reshape(2, -1).T,
        x[None, :, ::-1].squeeze(0),
        np.moveaxis(x[..., None], -1, 0),
        np.swapaxes(x, 0, 1)[::2],
        np.flip(x, 1),
        np.expand_dims(x, 1) * np.ones((2, 1)),
        x.ravel()[-3:],
    )


@program((A, normal(3, 2)), grad=(0, 1))
def joining(x, y):
    z = np.concatenate([x, y], axis=1)
    a, b = np.split(z, 2, axis=1)
    return z, np.stack([a, b]), np.pad(x, ((1, 0), (0, 2))), np.hstack([y, x]), np.vstack([a, b])


@program((A,), grad=(0,))
def indexing(x):
    return (
        x[1],
        x[-1, 2],
        x[::-1, 1:-1],
        x[..., None, 0],
        x[[2, 0, 2]],
        x[[0, 1], [2, 3]],
        x[:, None],
    )


@program((A, LABELS), grad=(0,))
def integer_array_indexing(x, i):
    n = np.arange(3)
    return x[n, i], np.take(x, i[:2] // 2, axis=0), x[:, i], np.take(TABLE, i, axis=0)


@program((V, normal(4), A, B, normal(2, 3, 4), normal(4, 2)), grad=(0, 2, 4))
def products(u, v, m, n, t, w):
    return u @ v, m @ u, v @ n, m @ n, t @ w, np.dot(m, u), np.outer(u, v), np.matmul(t, n)


@program((A,), grad=(0,))
def choosing(x):
    return (
        np.where(x > 0, x, 0.1 * x),
        np.clip(x, -0.5, 0.5),
        np.maximum(x, 0),
        np.minimum(x, x.T[0, 0]),
    )


# ---- numerical programs --------------------------------------------------------------------------


@program((A,), (A * 300,), grad=(0,), second=False)
def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@program((A, normal(4), normal(4)), grad=(0, 1, 2))
def layer_norm(x, scale, shift):
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * scale + shift


@program((A,), (A * 1000,), grad=(0,))
def logsumexp(x):
    m = np.max(x, axis=1, keepdims=True)
    return (m + np.log(np.sum(np.exp(x - m), axis=1, keepdims=True)))[:, 0]


@program((A, LABELS), grad=(0,), second=True)
def cross_entropy(logits, y):
    z = logits - logits.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(y)), y])


@program((V, 0.7), grad=(0, 1), second=True)
def polynomial(c, x):
    result = 0.0
    for i in range(4):
        result = result * x + c[i]
    return result


@program((2.0, 1.0), (1e-12, 1.0), conds=3, grad=(0, 1))
def newton_square_root(a, x):
    for _ in range(3):
        step = (x * x - a) / (2 * x)
        if np.abs(step) > 1e-9:
            x = x - step
    return x


@program((normal(7, 2), normal(3, 2)))
def k_means_step(points, centres):
    distance = ((points[:, None, :] - centres[None]) ** 2).sum(axis=-1)
    nearest = np.argmin(distance, axis=1)
    member = (nearest[:, None] == np.arange(3)).astype(float)
    count = member.sum(axis=0)
    means = member.T @ points / np.maximum(count, 1)[:, None]
    return np.where(count[:, None] > 0, means, centres), nearest


@program((normal(8, 9), normal(3, 3)), grad=(0, 1), second=True)
def convolution_by_slices(image, kernel):
    result = np.zeros((6, 7))
    for i in range(3):
        for j in range(3):
            result += kernel[i, j] * image[i : i + 6, j : j + 7]
    return result


@program((np.array([1.0, 0.0]), 0.1), grad=(0, 1), second=True)
def runge_kutta(y, h):
    def slope(y):
        return np.array([y[1], -np.sin(y[0])])

    for _ in range(3):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@program((np.array([5.0, 1.0]), 0.0), (np.array([0.1, -3.0]), 0.0), conds=5, grad=(0,))
def bouncing_ball(state, floor):
    height, speed = state
    for _ in range(5):
        speed = speed - 0.981
        height = height + 0.1 * speed
        if height < floor:
            height, speed = floor - (height - floor), -0.8 * speed
    return height, speed


@program((normal(5) * 3, 1.0), grad=(0, 1))
def huber(r, delta):
    small = np.abs(r) <= delta
    return np.where(small, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta)).sum()


@program((0.3, 1.0), (-4.0, 1.0), conds=1, grad=(0, 1), second=True)
def scalar_huber(r, delta):
    if abs(r) <= delta:
        return 0.5 * r**2
    return delta * (abs(r) - 0.5 * delta)


@program((-3.0,), (-0.5,), (0.5,), (3.0,), conds=3, grad=(0,))
def piecewise(x):
    if x < -1:
        y = -2 * x - 1
    elif x < 0:
        y = x**2
    elif x < 1:
        y = x**3
    else:
        y = 3 * x - 2
    return y


@program((A, B, normal(5), LABELS, 4.0), (A, B, normal(5), LABELS, 6.0), conds=1, grad=(0, 1, 2))
def two_layer_loss(x, w, b, y, previous):
    scale = 1.0 if previous < 5.0 else 0.1
    h = np.maximum(x @ w * scale + b, 0)
    return np.mean((h - (y[:, None] == np.arange(5))) ** 2)


@program((normal(5, 5),), grad=(0,))
def power_iteration(a):
    a = (a + a.T) / 2
    v = np.ones(5)
    for _ in range(3):
        v = a @ v
        v /= np.linalg.norm(v)
    return v @ a @ v


@program((A, normal(3, 4), normal(3, 4)), grad=(0, 1, 2))
def attention(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[-1])
    scores = np.where(np.tril(np.ones((3, 3), bool)), scores, -1e9)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@program((V, normal(4), np.zeros(4), np.zeros(4), 3), conds=1)
def adam_step(w, g, m, v, t):
    m[:] = 0.9 * m + 0.1 * g
    v[:] = 0.999 * v + 0.001 * g**2
    rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    if t > 1:
        w -= rate * m / (np.sqrt(v) + 1e-8)
    return w


@program((positive(4),), grad=(0,), second=True)
def entropy(p):
    p = p / p.sum()
    return -(p * np.log(p)).sum()


@program((normal(4, 4),), grad=(0,))
def determinant_by_elimination(a):
    a = a + 4 * np.eye(4)
    result = 1.0
    for k in range(4):
        pivot = a[k, k]
        result = result * pivot
        a = a - np.outer(a[:, k], a[k]) / pivot * (np.arange(4) > k)[:, None]
    return result


@program((normal(6), 2), (normal(6), 5))
def range_of_an_argument(x, n):
    total = 0.0
    for i in range(n):
        total = total + x[i] * i
    return total


@program((normal(2, 3, 4),), grad=(0,))
def batch_norm(x):
    mean, var = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    return (x - mean) / np.sqrt(var + 1e-3)


@program((V, 0.2), (V, 5.0), conds=2, grad=(0,))
def line_search(x, step):
    def loss(z):
        return np.sum(z**4 - z)

    g = 4 * x**3 - 1
    for _ in range(2):
        if loss(x - step * g) > loss(x):
            step = step / 4
    return x - step * g


@program((V, 1.0), (V, -1.0), conds=1, grad=(0,))
def guard_that_raises(x, s):
    if s > 5:
        raise ValueError("too large")
    return x * s


@program((V, 1), (V, -2), conds=2)
def constants_that_must_not_run(x, n):
    if n > 3:
        y = x[9]
    elif n > 2:
        y = x[0] * (1 // 0)
    else:
        y = x[n]
    return y
