"""A transformer block: attention of four heads and an MLP, each after a layer norm.

Vaswani et al. (2017), section 3, with the norm before each part as in Xiong et al. (2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.products import gelu, gelu_jax, gelu_torch
from bench.workloads.rows import EPSILON
from bench.workloads.workload import ELEMENTARY, Workload, normal

WIDTH, HEADS, LENGTH, BATCH = 256, 4, 128, 8
HEAD = WIDTH // HEADS

# ---- forward -------------------------------------------------------------------------------------


def block(xp: Any, activation: Any = None) -> Any:
    activation = activation or gelu(xp)

    def layer_norm(x, scale, shift):
        centred = x - xp.mean(x, axis=-1, keepdims=True)
        variance = xp.mean(centred * centred, axis=-1, keepdims=True)
        return centred / xp.sqrt(variance + EPSILON) * scale + shift

    def attention(x, p):
        qkv = (x @ p["qkv"] + p["qkv_bias"]).reshape((BATCH, LENGTH, 3, HEADS, HEAD))
        q, k, v = (qkv[:, :, i].transpose((0, 2, 1, 3)) for i in range(3))
        scores = q @ k.transpose((0, 1, 3, 2)) * HEAD**-0.5
        exps = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
        weights = exps / xp.sum(exps, axis=-1, keepdims=True)
        mixed = (weights @ v).transpose((0, 2, 1, 3)).reshape((BATCH, LENGTH, WIDTH))
        return mixed @ p["out"] + p["out_bias"]

    def run(p, x):
        x = x + attention(layer_norm(x, p["scale1"], p["shift1"]), p)
        hidden = layer_norm(x, p["scale2"], p["shift2"]) @ p["up"] + p["up_bias"]
        return x + activation(hidden) @ p["down"] + p["down_bias"]

    return run


def block_torch(torch: Any) -> Any:
    """With torch's own layer norm, linear layers and attention."""
    functional, activation = torch.nn.functional, gelu_torch(torch)

    def attention(x, p):
        qkv = functional.linear(x, p["qkv"].T, p["qkv_bias"])
        q, k, v = qkv.view(BATCH, LENGTH, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH)
        return functional.linear(mixed, p["out"].T, p["out_bias"])

    def run(p, x):
        normed = functional.layer_norm(x, (WIDTH,), p["scale1"], p["shift1"], EPSILON)
        x = x + attention(normed, p)
        normed = functional.layer_norm(x, (WIDTH,), p["scale2"], p["shift2"], EPSILON)
        hidden = activation(functional.linear(normed, p["up"].T, p["up_bias"]))
        return x + functional.linear(hidden, p["down"].T, p["down_bias"])

    return run


# ---- forward and backward ------------------------------------------------------------------------


def loss_from(run: Any) -> Any:
    def loss(p, x, y):
        difference = run(p, x) - y
        return (difference * difference).mean()

    return loss


def gradient_torch(torch: Any) -> Any:
    """Eager: the tape."""
    return tape_torch(torch, loss_from(block_torch(torch)))


def gradient_torch_compile(torch: Any) -> Any:
    """The loss is compiled, and its backward graph with it."""
    step = tape_torch(torch, torch.compile(loss_from(block_torch(torch)), dynamic=False))
    step.compiles_itself = True
    return step


def tape_torch(torch: Any, loss: Any) -> Any:
    def run(p, x, y):
        for weight in p.values():
            weight.requires_grad_()
        with torch.enable_grad():
            value = loss(p, x, y)
        grads = torch.autograd.grad(value, list(p.values()))
        return value.detach(), dict(zip(p, grads, strict=True))

    return run


def gradient_pytensor(pytensor: Any) -> Any:
    def run(p, x, y):
        value = loss_from(block(pytensor.tensor))(p, x, y)
        return value, dict(zip(p, pytensor.grad(value, list(p.values())), strict=True))

    return run


def gradient_numpy(np: Any) -> Any:
    """The gradient by hand."""

    def norm(x, scale, shift):
        centred = x - x.mean(-1, keepdims=True)
        inverse = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
        unit = centred * inverse
        return unit * scale + shift, (unit, inverse)

    def norm_back(g, scale, saved):
        unit, inverse = saved
        h = g * scale
        along = unit * (h * unit).mean(-1, keepdims=True)
        d_x = inverse * (h - h.mean(-1, keepdims=True) - along)
        return d_x, (g * unit).sum((0, 1)), g.sum((0, 1))

    def linear_back(g, x, w):
        rows = g.reshape(-1, g.shape[-1])
        return g @ w.T, x.reshape(-1, x.shape[-1]).T @ rows, rows.sum(0)

    def heads(x):
        return x.reshape(BATCH, LENGTH, HEADS, HEAD).transpose(0, 2, 1, 3)

    def merged(x):
        return x.transpose(0, 2, 1, 3).reshape(BATCH, LENGTH, WIDTH)

    def run(p, x, y):
        d = {}
        n1, saved1 = norm(x, p["scale1"], p["shift1"])
        qkv = n1 @ p["qkv"] + p["qkv_bias"]
        q, k, v = (heads(part) for part in np.split(qkv, 3, axis=-1))
        scores = q @ k.swapaxes(-1, -2) * HEAD**-0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = merged(weights @ v)
        x1 = x + mixed @ p["out"] + p["out_bias"]
        n2, saved2 = norm(x1, p["scale2"], p["shift2"])
        up = n2 @ p["up"] + p["up_bias"]
        tanh = np.tanh(0.7978845608028654 * (up + 0.044715 * up**3))
        hidden = 0.5 * up * (1 + tanh)
        difference = x1 + hidden @ p["down"] + p["down_bias"] - y

        g = difference * (2.0 / difference.size)
        d_hidden, d["down"], d["down_bias"] = linear_back(g, hidden, p["down"])
        inner = 0.7978845608028654 * (1 + 3 * 0.044715 * up * up)
        d_up = d_hidden * (0.5 * (1 + tanh) + 0.5 * up * (1 - tanh * tanh) * inner)
        d_n2, d["up"], d["up_bias"] = linear_back(d_up, n2, p["up"])
        d_x1, d["scale2"], d["shift2"] = norm_back(d_n2, p["scale2"], saved2)
        g = g + d_x1
        d_mixed, d["out"], d["out_bias"] = linear_back(g, mixed, p["out"])
        d_mixed = heads(d_mixed)
        d_weights = d_mixed @ v.swapaxes(-1, -2)
        d_v = weights.swapaxes(-1, -2) @ d_mixed
        d_scores = weights * (d_weights - (d_weights * weights).sum(-1, keepdims=True))
        d_scores *= HEAD**-0.5
        d_q, d_k = d_scores @ k, d_scores.swapaxes(-1, -2) @ q
        d_qkv = np.concatenate([merged(d_q), merged(d_k), merged(d_v)], axis=-1)
        d_n1, d["qkv"], d["qkv_bias"] = linear_back(d_qkv, n1, p["qkv"])
        _, d["scale1"], d["shift1"] = norm_back(d_n1, p["scale1"], saved1)
        return (difference * difference).mean(), d

    return run


# ---- workloads -----------------------------------------------------------------------------------

SHAPES = {
    "scale1": (WIDTH,),
    "shift1": (WIDTH,),
    "qkv": (WIDTH, 3 * WIDTH),
    "qkv_bias": (3 * WIDTH,),
    "out": (WIDTH, WIDTH),
    "out_bias": (WIDTH,),
    "scale2": (WIDTH,),
    "shift2": (WIDTH,),
    "up": (WIDTH, 4 * WIDTH),
    "up_bias": (4 * WIDTH,),
    "down": (4 * WIDTH, WIDTH),
    "down_bias": (WIDTH,),
}


def arguments(rng: np.random.Generator) -> tuple[Any, ...]:
    params = {
        name: normal(rng, *shape, scale=shape[0] ** -0.5 if len(shape) == 2 else 0.1)
        for name, shape in SHAPES.items()
    }
    for name in ("scale1", "scale2"):
        params[name] += 1
    return params, normal(rng, BATCH, LENGTH, WIDTH)


def arguments_and_target(rng: np.random.Generator) -> tuple[Any, ...]:
    return (*arguments(rng), normal(rng, BATCH, LENGTH, WIDTH))


TOKENS = BATCH * LENGTH
FORWARD_FLOPS = 2.0 * TOKENS * WIDTH * (12 * WIDTH + 2 * LENGTH) + ELEMENTARY * TOKENS * (
    4 * WIDTH + HEADS * LENGTH
)

WORKLOADS = (
    Workload(
        "transformer block forward",
        Family.MATMUL_STEP,
        arguments,
        {
            "numpy": block,
            "graphc": lambda gc: block(np),
            "torch": block_torch,
            "jax": lambda jax: block(jax.numpy, gelu_jax(jax)),
            "pytensor": lambda pytensor: block(pytensor.tensor),
        },
        flops=FORWARD_FLOPS,
        tolerance=1e-4,
    ),
    Workload(
        "transformer block gradient",
        Family.MATMUL_STEP,
        arguments_and_target,
        {
            "numpy": gradient_numpy,
            "graphc": lambda gc: gc.value_and_grad(loss_from(block(np))),
            "torch": gradient_torch,
            "torch.compile": gradient_torch_compile,
            "jax": lambda jax: jax.value_and_grad(loss_from(block(jax.numpy, gelu_jax(jax)))),
            "pytensor": gradient_pytensor,
        },
        flops=3 * FORWARD_FLOPS,
        tolerance=1e-4,
        from_cold=True,
    ),
)
