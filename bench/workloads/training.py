"""Steps of plain gradient descent: a two-layer network, and one whose weights an `if` chooses."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.workload import Workload, normal

RATE = 1e-5


# ---- the two-layer network -----------------------------------------------------------------------


def loss_of(xp: Any) -> Any:
    """The sum of squares of a network with one hidden layer of rectified units."""

    def loss(params, x, y):
        difference = xp.maximum(x @ params["w1"], 0.0) @ params["w2"] - y
        return xp.sum(difference * difference)

    return loss


def loss_torch(torch: Any) -> Any:
    def loss(params, x, y):
        hidden = torch.nn.functional.relu(x @ params["w1"])
        return torch.nn.functional.mse_loss(hidden @ params["w2"], y, reduction="sum")

    return loss


def step_numpy(np: Any) -> Any:
    def step(params, x, y):
        hidden = np.maximum(x @ params["w1"], 0.0)
        difference = hidden @ params["w2"] - y
        d_out = difference + difference
        d_hidden = (d_out @ params["w2"].T) * (hidden > 0)
        params["w2"] -= RATE * (hidden.T @ d_out)
        params["w1"] -= RATE * (x.T @ d_hidden)
        return np.sum(difference * difference)

    return step


def step_graphc(gc: Any) -> Any:
    def step(params, x, y):
        loss, grads = gc.value_and_grad(loss_of(np))(params, x, y)
        for name in params:
            params[name] -= RATE * grads[name]
        return loss

    return step


class StepTorch:
    """Eager: the tape, and the fused optimiser of `torch.optim`."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.loss = loss_torch(torch)
        self.optimizer: Any = None

    def __call__(self, params, x, y):
        if self.optimizer is None:
            weights = [weight.requires_grad_() for weight in params.values()]
            self.optimizer = self.torch.optim.SGD(weights, lr=RATE, fused=True)
        with self.torch.enable_grad():
            loss = self.loss(params, x, y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def step_torch_func(torch: Any) -> Any:
    """Compiled: forward, backward and update in one graph, which measures fastest."""

    def step(params, x, y):
        grads, loss = torch.func.grad_and_value(loss_torch(torch))(params, x, y)
        for name, weight in params.items():
            weight.sub_(RATE * grads[name])
        return loss

    return step


def step_jax(jax: Any) -> Any:
    def step(params, x, y):
        loss, grads = jax.value_and_grad(loss_of(jax.numpy))(params, x, y)
        return loss, {name: params[name] - RATE * grads[name] for name in params}

    return step


def step_pytensor(pytensor: Any) -> Any:
    def step(params, x, y):
        loss = loss_of(pytensor.tensor)(params, x, y)
        grads = pytensor.grad(loss, list(params.values()))
        new = zip(params, grads, strict=True)
        return loss, {name: params[name] - RATE * grad for name, grad in new}

    return step


# ---- the step with an `if` -----------------------------------------------------------------------

LIMIT = 5.0


def choosing(loss: Any) -> Any:
    """The loss with the second weights chosen by the previous loss: an ordinary `if`."""

    def choosing_loss(params, x, y, previous):
        w2 = params["w2a"] if previous < LIMIT else params["w2b"]
        return loss({"w1": params["w1"], "w2": w2}, x, y)

    return choosing_loss


def chosen(params, previous):
    """The weights that a step in a framework with an interpreter around it works on."""
    return {"w1": params["w1"], "w2": params["w2a"] if previous < LIMIT else params["w2b"]}


def around(step: Any) -> Any:
    """The step of the two-layer network, with Python choosing its weights."""
    return lambda params, x, y, previous: step(chosen(params, previous), x, y)


def choosing_graphc(gc: Any) -> Any:
    # In one function, because it is the compiler that has to read the `if`.
    def loss_of_step(params, x, y, previous):
        w2 = params["w2a"] if previous < LIMIT else params["w2b"]
        difference = np.maximum(x @ params["w1"], 0.0) @ w2 - y
        return np.sum(difference * difference)

    def step(params, x, y, previous):
        loss, grads = gc.value_and_grad(loss_of_step)(params, x, y, previous)
        for name in params:
            params[name] -= RATE * grads[name]
        return loss

    return step


class ChoosingTorch:
    """Eager: the tape, an optimiser for all weights; those without a gradient stay."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.loss = choosing(loss_torch(torch))
        self.optimizer: Any = None

    def __call__(self, params, x, y, previous):
        if self.optimizer is None:
            weights = [weight.requires_grad_() for weight in params.values()]
            self.optimizer = self.torch.optim.SGD(weights, lr=RATE, fused=True)
        with self.torch.enable_grad():
            loss = self.loss(params, x, y, previous)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def choosing_torch_func(torch: Any) -> Any:
    """Python chooses the weights, and the step it calls with them is compiled as a whole."""
    step = around(torch.compile(step_torch_func(torch), dynamic=False))
    step.compiles_itself = True
    return step


def choosing_jax(jax: Any) -> Any:
    def loss(params, x, y, previous):
        w2 = jax.lax.cond(previous < LIMIT, lambda: params["w2a"], lambda: params["w2b"])
        return loss_of(jax.numpy)({"w1": params["w1"], "w2": w2}, x, y)

    def step(params, x, y, previous):
        value, grads = jax.value_and_grad(loss)(params, x, y, previous)
        return value, {name: params[name] - RATE * grads[name] for name in params}

    return step


def choosing_pytensor(pytensor: Any) -> Any:
    from pytensor.ifelse import ifelse

    def step(params, x, y, previous):
        w2 = ifelse(pytensor.tensor.lt(previous, LIMIT), params["w2a"], params["w2b"])
        loss = loss_of(pytensor.tensor)({"w1": params["w1"], "w2": w2}, x, y)
        grads = pytensor.grad(loss, list(params.values()))
        new = zip(params, grads, strict=True)
        return loss, {name: params[name] - RATE * grad for name, grad in new}

    return step


# ---- workloads -----------------------------------------------------------------------------------


def two_layer_arguments(rng: np.random.Generator) -> tuple[Any, ...]:
    params = {
        "w1": normal(rng, 1000, 100, scale=0.04),
        "w2": normal(rng, 100, 10, scale=0.1),
    }
    return params, normal(rng, 64, 1000), normal(rng, 64, 10)


def conditional_arguments(rng: np.random.Generator) -> tuple[Any, ...]:
    params = {
        "w1": normal(rng, 32, 64, scale=0.2),
        "w2a": normal(rng, 64, 10, scale=0.1),
        "w2b": normal(rng, 64, 10, scale=0.1),
    }
    return params, normal(rng, 64, 32), normal(rng, 64, 10), np.array(7.0, "f4")


def network_flops(batch: int, inputs: int, hidden: int, outputs: int) -> float:
    """Two products forwards; backwards three, as the input needs no gradient."""
    return 2.0 * batch * hidden * (2 * inputs + 3 * outputs)


WORKLOADS = (
    Workload(
        "two-layer step 64x1000x100x10",
        Family.TWO_LAYER,
        two_layer_arguments,
        {
            "numpy": step_numpy,
            "graphc": step_graphc,
            "torch": StepTorch,
            "torch.compile": step_torch_func,
            "jax": step_jax,
            "pytensor": step_pytensor,
        },
        flops=network_flops(64, 1000, 100, 10),
        tolerance=1e-4,
        updates=True,
        kernels=6,
        tried=(
            "right operands read where they lie (taken: the first product 63 to 58 us on one"
            " thread), products with ten columns turned (taken), updates in the products' epilogues"
            " (taken)"
        ),
        from_cold=True,
    ),
    Workload(
        "conditional step 64x32x64x10",
        Family.SMALL_STEP,
        conditional_arguments,
        {
            "numpy": lambda np: around(step_numpy(np)),
            "graphc": choosing_graphc,
            "torch": ChoosingTorch,
            "torch.compile": choosing_torch_func,
            "jax": choosing_jax,
            "pytensor": choosing_pytensor,
        },
        flops=network_flops(64, 32, 64, 10),
        tolerance=1e-4,
        updates=True,
        tried=(
            "micro-kernels unrolled along k: nothing.  Ten columns as the rows of a tile, as in the"
            " last product, would cost the first one in packing what it wins"
        ),
        from_cold=True,
    ),
)
