"""Work along rows: softmax, layer norm, RMS norm, cross entropy, forward and gradient.

The gradient workloads take the gradient `g` of the result and give those of the arguments; that of
cross entropy gives the loss and the gradient of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.workload import ELEMENTARY, Workload, normal

EPSILON = 1e-5


# ---- forward, in functions that NumPy, graphc, JAX and PyTensor share ----------------------------


def softmax(xp: Any) -> Any:
    def run(x):
        exps = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return exps / xp.sum(exps, axis=1, keepdims=True)

    return run


def layer_norm(xp: Any) -> Any:
    def run(x, scale, shift):
        centred = x - xp.mean(x, axis=1, keepdims=True)
        variance = xp.mean(centred * centred, axis=1, keepdims=True)
        return centred / xp.sqrt(variance + EPSILON) * scale + shift

    return run


def rms_norm(xp: Any) -> Any:
    def run(x, scale):
        return x / xp.sqrt(xp.mean(x * x, axis=1, keepdims=True) + EPSILON) * scale

    return run


def cross_entropy(xp: Any) -> Any:
    def run(x, labels):
        shifted = x - xp.max(x, axis=1, keepdims=True)
        log_sums = xp.log(xp.sum(xp.exp(shifted), axis=1))
        chosen = xp.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
        return xp.mean(log_sums - chosen)

    return run


# ---- gradients by hand, for NumPy ----------------------------------------------------------------


def softmax_gradient(x, g):
    y = softmax(np)(x)
    return y * (g - np.sum(g * y, axis=1, keepdims=True))


def layer_norm_gradient(x, scale, shift, g):
    centred = x - np.mean(x, axis=1, keepdims=True)
    inverse = 1 / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + EPSILON)
    unit = centred * inverse
    h = g * scale
    along = unit * np.mean(h * unit, axis=1, keepdims=True)
    d_x = inverse * (h - np.mean(h, axis=1, keepdims=True) - along)
    return d_x, np.sum(g * unit, axis=0), np.sum(g, axis=0)


def rms_norm_gradient(x, scale, g):
    inverse = 1 / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + EPSILON)
    unit = x * inverse
    h = g * scale
    d_x = inverse * (h - unit * np.mean(h * unit, axis=1, keepdims=True))
    return d_x, np.sum(g * unit, axis=0)


def cross_entropy_gradient(x, labels):
    d_x = softmax(np)(x)
    d_x[np.arange(len(x)), labels] -= 1
    return cross_entropy(np)(x, labels), d_x / x.dtype.type(len(x))


# ---- the frameworks' own forms -------------------------------------------------------------------


def softmax_torch(torch: Any) -> Any:
    return lambda x: torch.nn.functional.softmax(x, 1)


def layer_norm_torch(torch: Any) -> Any:
    return lambda x, w, b: torch.nn.functional.layer_norm(x, x.shape[1:], w, b, EPSILON)


def rms_norm_torch(torch: Any) -> Any:
    return lambda x, w: torch.nn.functional.rms_norm(x, x.shape[1:], w, EPSILON)


def cross_entropy_torch(torch: Any) -> Any:
    return torch.nn.functional.cross_entropy


def softmax_jax(jax: Any) -> Any:
    return lambda x: jax.nn.softmax(x, axis=1)


def softmax_pytensor(pytensor: Any) -> Any:
    return lambda x: pytensor.tensor.special.softmax(x, axis=1)


def cross_entropy_pytensor(pytensor: Any) -> Any:
    pt = pytensor.tensor

    def run(x, labels):
        log_softmax = pt.special.log_softmax(x, axis=1)
        return -pt.mean(log_softmax[pt.arange(x.shape[0]), labels])

    return run


# ---- from a forward program to its gradient, in each framework -----------------------------------


def gradient_graphc(forward: Any) -> Any:
    def build(gc: Any) -> Any:
        def run(*args):
            *arguments, g = args
            wanted = tuple(range(len(arguments)))
            return gc.grad(lambda *xs: np.sum(forward(*xs) * g), wanted)(*arguments)

        return run

    return build


def gradient_torch(build_forward: Any) -> Any:
    """Eager: the tape."""

    def build(torch: Any) -> Any:
        forward = build_forward(torch)

        def run(*args):
            *arguments, g = args
            leaves = [a.detach().requires_grad_() for a in arguments]
            with torch.enable_grad():
                return torch.autograd.grad(forward(*leaves), leaves, g)

        return run

    return build


def gradient_torch_func(build_forward: Any) -> Any:
    """Compiled: one graph for both passes, which measures faster than a compiled tape."""

    def build(torch: Any) -> Any:
        forward = build_forward(torch)

        def run(*args):
            *arguments, g = args
            return torch.func.vjp(forward, *arguments)[1](g)

        return run

    return build


def gradient_jax(build_forward: Any) -> Any:
    def build(jax: Any) -> Any:
        forward = build_forward(jax)

        def run(*args):
            *arguments, g = args
            return jax.vjp(forward, *arguments)[1](g)

        return run

    return build


def gradient_pytensor(build_forward: Any) -> Any:
    def build(pytensor: Any) -> Any:
        forward = build_forward(pytensor)

        def run(*args):
            *arguments, g = args
            return pytensor.grad(None, arguments, known_grads={forward(*arguments): g})

        return run

    return build


CROSS_ENTROPY_GRADIENT: dict[str, Any] = {
    "numpy": lambda np: cross_entropy_gradient,
    "graphc": lambda gc: lambda x, labels: gc.value_and_grad(cross_entropy(np))(x, labels),
    "jax": lambda jax: jax.value_and_grad(cross_entropy(jax.numpy)),
}


def cross_entropy_gradient_torch(torch: Any) -> Any:
    def run(x, labels):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(x, labels)
        return loss.detach(), torch.autograd.grad(loss, x)[0]

    return run


def cross_entropy_gradient_torch_func(torch: Any) -> Any:
    both = torch.func.grad_and_value(torch.nn.functional.cross_entropy)
    return lambda x, labels: both(x, labels)[::-1]


def cross_entropy_gradient_pytensor(pytensor: Any) -> Any:
    forward = cross_entropy_pytensor(pytensor)

    def run(x, labels):
        loss = forward(x, labels)
        return loss, pytensor.grad(loss, x)

    return run


# ---- workloads -----------------------------------------------------------------------------------

SIZES = ((4096, 1024), (64, 1000))

SOFTMAX_TRIED = (
    "exponentials kept in the row of the result (taken), four or two short rows side by side"
    " (64x1000 a tenth faster, 64x1024 a third slower, as rows then lie a page apart)"
)

CROSS_ENTROPY_TRIED = (
    "two or four short rows side by side (64x1000 a fifth faster; not taken, as softmax of 64x1024"
    " is a third slower then): what is left is the exponentials, 7.4 cycles for 16 elements"
)

NORMS_TRIED = (
    "fetching the next row while this one is first read (taken; slower in the loop that writes),"
    " copying rows that several loops read (taken: input may begin within a cache line),"
    " writing results past the caches (taken where a kernel's arrays fill the last one),"
    " several short rows side by side (layer norm of 64x1000 4 % faster, RMS norm 5 % slower),"
    " four registers side by side (no faster without an elementary function)"
)


def forward_programs(source: Any, **own: Any) -> dict[str, Any]:
    return {
        "numpy": source,
        "graphc": lambda gc: source(np),
        "jax": lambda jax: source(jax.numpy),
        "pytensor": lambda pytensor: source(pytensor.tensor),
    } | own


def gradient_programs(by_hand: Any, forward: dict[str, Any]) -> dict[str, Any]:
    return {
        "numpy": lambda np: by_hand,
        "graphc": gradient_graphc(forward["numpy"](np)),
        "torch": gradient_torch(forward["torch"]),
        "torch.compile": gradient_torch_func(forward["torch"]),
        "jax": gradient_jax(forward["jax"]),
        "pytensor": gradient_pytensor(forward["pytensor"]),
    }


SOFTMAX = forward_programs(softmax, torch=softmax_torch, jax=softmax_jax, pytensor=softmax_pytensor)
LAYER_NORM = forward_programs(layer_norm, torch=layer_norm_torch)
RMS_NORM = forward_programs(rms_norm, torch=rms_norm_torch)
CROSS_ENTROPY = forward_programs(
    cross_entropy, torch=cross_entropy_torch, pytensor=cross_entropy_pytensor
)


def scores(rng: np.random.Generator, rows: int, columns: int) -> tuple[Any, ...]:
    return (normal(rng, rows, columns),)


def scores_and_labels(rng: np.random.Generator, rows: int, columns: int) -> tuple[Any, ...]:
    return normal(rng, rows, columns), rng.integers(0, columns, rows)


def weighted(count: int) -> Callable[..., tuple[Any, ...]]:
    """Rows, and `count` vectors along them."""

    def make(rng: np.random.Generator, rows: int, columns: int) -> tuple[Any, ...]:
        vectors = (normal(rng, columns) for _ in range(count))
        return (normal(rng, rows, columns), *vectors)

    return make


def pair(
    name: str,
    make: Any,
    forward: dict[str, Any],
    gradient: dict[str, Any],
    flops: tuple[float, float],
    takes_g: bool = True,
    tried: str = "",
) -> list[Workload]:
    """A function and its gradient at both sizes; `flops` is for each element."""

    def workload(size: tuple[int, int], is_gradient: bool) -> Workload:
        def arguments(rng: np.random.Generator) -> tuple[Any, ...]:
            g = (normal(rng, *size),) if is_gradient and takes_g else ()
            return (*make(rng, *size), *g)

        return Workload(
            f"{name}{' gradient' * is_gradient} {size[0]}x{size[1]}",
            Family.ROWS,
            arguments,
            gradient if is_gradient else forward,
            flops=flops[is_gradient] * size[0] * size[1],
            kernels=2 if is_gradient else 1,
            tried=tried,
            from_cold=name in ("softmax", "layer norm") and size[0] == 64 and is_gradient,
        )

    return [workload(size, is_gradient) for size in SIZES for is_gradient in (False, True)]


WORKLOADS = (
    *pair(
        "softmax",
        scores,
        SOFTMAX,
        gradient_programs(softmax_gradient, SOFTMAX),
        (4 + ELEMENTARY, 8 + ELEMENTARY),
        tried=SOFTMAX_TRIED,
    ),
    *pair(
        "layer norm",
        weighted(2),
        LAYER_NORM,
        gradient_programs(layer_norm_gradient, LAYER_NORM),
        (7, 15),
        tried=NORMS_TRIED,
    ),
    *pair(
        "RMS norm",
        weighted(1),
        RMS_NORM,
        gradient_programs(rms_norm_gradient, RMS_NORM),
        (4, 11),
        tried=NORMS_TRIED,
    ),
    *pair(
        "cross entropy",
        scores_and_labels,
        CROSS_ENTROPY,
        CROSS_ENTROPY_GRADIENT
        | {
            "torch": cross_entropy_gradient_torch,
            "torch.compile": cross_entropy_gradient_torch_func,
            "pytensor": cross_entropy_gradient_pytensor,
        },
        (4 + ELEMENTARY, 6 + ELEMENTARY),
        takes_g=False,
        tried=CROSS_ENTROPY_TRIED,
    ),
)
