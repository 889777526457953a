"""Adam: alone over 20 tensors, and in the training step of a classifier of three layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.workload import ELEMENTARY, Workload, normal

RATE, BETA1, BETA2, EPSILON = 1e-4, 0.9, 0.999, 1e-8

# ---- the rule.  Kingma and Ba (2015), algorithm 1 ------------------------------------------------


def corrections(xp: Any, t: Any) -> tuple[Any, Any]:
    """The step size, and the factor of the root of the second moment, in step `t`."""
    return RATE / (1.0 - BETA1**t), 1.0 / xp.sqrt(1.0 - BETA2**t)


def adam_in_place(xp: Any, state: Any, grads: Any, t: Any) -> None:
    """For NumPy, graphc and compiled torch, whose arrays can be assigned to."""
    rate, factor = corrections(xp, t)
    for p, m, v, g in zip(state["params"], state["m"], state["v"], grads, strict=True):
        m[...] = BETA1 * m + (1.0 - BETA1) * g
        v[...] = BETA2 * v + (1.0 - BETA2) * g * g
        p -= rate * m / (xp.sqrt(v) * factor + EPSILON)


def adam(xp: Any, state: Any, grads: Any, t: Any) -> Any:
    """For JAX and PyTensor: the new state."""
    rate, factor = corrections(xp, t)
    new: dict[str, list[Any]] = {"m": [], "params": [], "v": []}
    for p, m, v, g in zip(state["params"], state["m"], state["v"], grads, strict=True):
        new["m"].append(BETA1 * m + (1.0 - BETA1) * g)
        new["v"].append(BETA2 * v + (1.0 - BETA2) * g * g)
        change = rate * new["m"][-1] / (xp.sqrt(new["v"][-1]) * factor + EPSILON)
        new["params"].append(p - change)
    return new


class AdamTorch:
    """Eager: the fused optimiser of `torch.optim`, on the workload's own state."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.optimizer: Any = None

    def attach(self, state: Any, t: Any) -> None:
        options = {"lr": RATE, "betas": (BETA1, BETA2), "eps": EPSILON}
        self.optimizer = self.torch.optim.Adam(state["params"], fused=True, **options)
        for p, m, v in zip(state["params"], state["m"], state["v"], strict=True):
            moments = {"step": t - 1, "exp_avg": m, "exp_avg_sq": v}
            self.optimizer.state[p] = moments

    def __call__(self, state, grads, t):
        if self.optimizer is None:
            self.attach(state, t)
        for p, g in zip(state["params"], grads, strict=True):
            p.grad = g
        self.optimizer.step()


# ---- Adam alone ----------------------------------------------------------------------------------


def alone_graphc(gc: Any) -> Any:
    def step(state, grads, t):
        adam_in_place(np, state, grads, t)

    return step


def alone_in_place(xp: Any) -> Any:
    def step(state, grads, t):
        adam_in_place(xp, state, grads, t)

    return step


def alone_returned(xp: Any) -> Any:
    return lambda state, grads, t: (None, adam(xp, state, grads, t))


ALONE = {
    "numpy": alone_in_place,
    "graphc": alone_graphc,
    "torch": AdamTorch,
    "torch.compile": alone_in_place,
    "jax": lambda jax: alone_returned(jax.numpy),
    "pytensor": lambda pytensor: alone_returned(pytensor.tensor),
}


def state_of(rng: np.random.Generator, shapes: list[tuple[int, ...]]) -> Any:
    """Parameters and moments as they are in the middle of a training."""
    return {
        "params": [normal(rng, *shape, scale=shape[0] ** -0.5) for shape in shapes],
        "m": [normal(rng, *shape, scale=1e-3) for shape in shapes],
        "v": [rng.uniform(1e-6, 1e-5, shape).astype("f4") for shape in shapes],
    }


def alone(name: str, width: int, family: Family) -> Workload:
    """Ten matrices and ten biases."""
    shapes = [(width, width), (width,)] * 10

    def arguments(rng: np.random.Generator) -> tuple[Any, ...]:
        grads = [normal(rng, *shape, scale=1e-3) for shape in shapes]
        return state_of(rng, shapes), grads, np.array(100, "f4")

    return Workload(
        name,
        family,
        arguments,
        ALONE,
        flops=13.0 * 10 * (width + 1) * width,
        updates=True,
        kernels=1,
        tried="all tensors in one loop: half as fast on large ones, as it reads seventy at once;"
        " fetching ahead, aligned arrays, no square root, no division: within 5 % in C loops, which"
        " wait for memory alone",
        from_cold=family is Family.SMALL_STEP,
    )


# ---- the classifier ------------------------------------------------------------------------------


def loss_of(xp: Any) -> Any:
    """The cross entropy of a network of three layers."""

    def loss(params, x, labels):
        w1, b1, w2, b2, w3, b3 = params
        hidden = xp.maximum(x @ w1 + b1, 0.0)
        hidden = xp.maximum(hidden @ w2 + b2, 0.0)
        scores = hidden @ w3 + b3
        shifted = scores - xp.max(scores, axis=1, keepdims=True)
        log_sums = xp.log(xp.sum(xp.exp(shifted), axis=1))
        return xp.mean(log_sums - xp.take_along_axis(shifted, labels[:, None], axis=1)[:, 0])

    return loss


def loss_torch(torch: Any) -> Any:
    functional = torch.nn.functional

    def loss(params, x, labels):
        w1, b1, w2, b2, w3, b3 = params
        hidden = functional.relu(torch.addmm(b1, x, w1))
        hidden = functional.relu(torch.addmm(b2, hidden, w2))
        return functional.cross_entropy(torch.addmm(b3, hidden, w3), labels)

    return loss


def loss_pytensor(pytensor: Any) -> Any:
    pt = pytensor.tensor

    def loss(params, x, labels):
        w1, b1, w2, b2, w3, b3 = params
        hidden = pt.maximum(x @ w1 + b1, 0.0)
        hidden = pt.maximum(hidden @ w2 + b2, 0.0)
        log_softmax = pt.special.log_softmax(hidden @ w3 + b3, axis=1)
        return -pt.mean(log_softmax[pt.arange(x.shape[0]), labels])

    return loss


def classifier_numpy(np: Any) -> Any:
    def step(state, x, labels, t):
        w1, b1, w2, b2, w3, b3 = state["params"]
        h1 = np.maximum(x @ w1 + b1, 0.0)
        h2 = np.maximum(h1 @ w2 + b2, 0.0)
        scores = h2 @ w3 + b3
        shifted = scores - np.max(scores, axis=1, keepdims=True)
        exps = np.exp(shifted)
        sums = np.sum(exps, axis=1, keepdims=True)
        rows = np.arange(len(x))
        loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])

        d_scores = exps / sums
        d_scores[rows, labels] -= 1.0
        d_scores /= d_scores.dtype.type(len(x))
        d_h2 = (d_scores @ w3.T) * (h2 > 0)
        d_h1 = (d_h2 @ w2.T) * (h1 > 0)
        grads = [x.T @ d_h1, d_h1.sum(0), h1.T @ d_h2, d_h2.sum(0), h2.T @ d_scores]
        adam_in_place(np, state, [*grads, d_scores.sum(0)], t)
        return loss

    return step


def classifier_graphc(gc: Any) -> Any:
    def step(state, x, labels, t):
        loss, grads = gc.value_and_grad(loss_of(np))(state["params"], x, labels)
        adam_in_place(np, state, grads, t)
        return loss

    return step


class ClassifierTorch:
    """Eager: the tape, and the fused optimiser."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.loss = loss_torch(torch)
        self.adam = AdamTorch(torch)

    def __call__(self, state, x, labels, t):
        if self.adam.optimizer is None:
            for p in state["params"]:
                p.requires_grad_()
            self.adam.attach(state, t)
        with self.torch.enable_grad():
            loss = self.loss(state["params"], x, labels)
        loss.backward()
        self.adam.optimizer.step()
        self.adam.optimizer.zero_grad()
        return loss.detach()


def classifier_torch_func(torch: Any) -> Any:
    """Compiled: forward, backward and update in one graph, which measures fastest."""

    def step(state, x, labels, t):
        gradient = torch.func.grad_and_value(loss_torch(torch))
        grads, loss = gradient(state["params"], x, labels)
        adam_in_place(torch, state, grads, t)
        return loss

    return step


def classifier_jax(jax: Any) -> Any:
    def step(state, x, labels, t):
        gradient = jax.value_and_grad(loss_of(jax.numpy))
        loss, grads = gradient(state["params"], x, labels)
        return loss, adam(jax.numpy, state, grads, t)

    return step


def classifier_pytensor(pytensor: Any) -> Any:
    def step(state, x, labels, t):
        loss = loss_pytensor(pytensor)(state["params"], x, labels)
        grads = pytensor.grad(loss, state["params"])
        return loss, adam(pytensor.tensor, state, grads, t)

    return step


def classifier(
    name: str, sizes: tuple[int, int, int, int], batch: int, family: Family, tried: str = ""
) -> Workload:
    layers = list(itertools.pairwise(sizes))

    def arguments(rng: np.random.Generator) -> tuple[Any, ...]:
        state = state_of(rng, [shape for a, b in layers for shape in ((a, b), (b,))])
        data = rng.random((batch, sizes[0])).astype("f4")
        return state, data, rng.integers(0, sizes[-1], batch), np.array(100, "f4")

    # Backwards two products for each layer, but for the first: its input needs no gradient.
    products = sum((3 if i else 2) * 2.0 * batch * a * b for i, (a, b) in enumerate(layers))
    return Workload(
        name,
        family,
        arguments,
        {
            "numpy": classifier_numpy,
            "graphc": classifier_graphc,
            "torch": ClassifierTorch,
            "torch.compile": classifier_torch_func,
            "jax": classifier_jax,
            "pytensor": classifier_pytensor,
        },
        flops=products + 13.0 * sum((a + 1) * b for a, b in layers) + batch * 10 * ELEMENTARY,
        tolerance=1e-4,
        updates=True,
        tried=tried,
        from_cold=True,
    )


SMALL_TRIED = (
    "products with ten columns turned (taken), epilogues on whole tiles without masks (taken),"
    " micro-kernels unrolled along k (nothing): the five products of 64x64x64 run at 85 % of one"
    " thread's peak, and are two thirds of the step; the rest is Adam's divisions and square roots"
)

WORKLOADS = (
    classifier("MLP 784-512-512-10 Adam", (784, 512, 512, 10), 256, Family.MATMUL_STEP),
    classifier("small MLP 64-64-64-10 Adam", (64, 64, 64, 10), 64, Family.SMALL_STEP, SMALL_TRIED),
    alone("Adam, 20 small tensors", 64, Family.SMALL_STEP),
    alone("Adam, 20 large tensors", 768, Family.ROWS),
)
