"""A two-layer network, compiled: first on random data with a conditional, then on real digits.

Run it with `make demo`, or `python examples/two_layer.py` where graphc-compiler[examples] is
installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import graphc as gc

Params = dict[str, np.ndarray]


# ---- part one: random data, and a model that chooses its weights by the previous loss -----------


def choosing_loss(params: Params, x: np.ndarray, y: np.ndarray, prev_loss: float) -> np.ndarray:
    """The L2 loss of a two-layer ReLU network.  Plain NumPy: it runs without graphc, too."""
    hidden = np.maximum(x @ params["w1"], 0.0)
    w2 = params["w2a"] if prev_loss < 5.0 else params["w2b"]
    return np.sum((hidden @ w2 - y) ** 2)


@gc.compile
def choosing_step(params: Params, x: np.ndarray, y: np.ndarray, prev_loss: float) -> np.ndarray:
    """Forward, backward and update in one native call; `-=` changes the caller's arrays."""
    loss, grads = gc.value_and_grad(choosing_loss)(params, x, y, prev_loss)
    for name in params:
        params[name] -= 1e-4 * grads[name]
    return loss


def random_data() -> None:
    rng = np.random.default_rng(0)
    batch, inputs, hidden, outputs = 64, 1000, 100, 10
    x = rng.normal(size=(batch, inputs)).astype("f4")
    y = rng.normal(size=(batch, outputs)).astype("f4")
    params = {
        "w1": weights(rng, inputs, hidden),
        "w2a": weights(rng, hidden, outputs),
        "w2b": weights(rng, hidden, outputs),
    }
    loss = np.float32(np.inf)

    print("The step as a graph; the `if` in the model is the one `cond`:\n")
    print(choosing_step.graph(params, x, y, loss, stage="optimized"))
    print("\nWhat it becomes:\n")
    print(choosing_step.explain(params, x, y, loss))

    print("\nTraining on random data:")
    used = {"w2a": 0, "w2b": 0}
    for i in range(500):
        used["w2a" if loss < 5.0 else "w2b"] += 1
        loss = choosing_step(params, x, y, loss)
        if i % 100 == 0 or i == 499:
            print(f"  step {i:3}: loss {loss:.3g}")
    print(f"  {used['w2a']} steps went through w2a, {used['w2b']} through w2b")


def weights(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Random weights of a size that suits a ReLU layer."""
    return rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, outputs)).astype("f4")


# ---- part two: real data ------------------------------------------------------------------------

RATE = 0.5
BATCH = 64
EPOCHS = 40

Step = Callable[[Params, np.ndarray, np.ndarray], np.ndarray]


def logits(params: Params, x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0.0)
    return hidden @ params["w2"] + params["b2"]


def cross_entropy(params: Params, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean softmax cross entropy; `labels` has a one in the column of each row's digit."""
    scores = logits(params, x)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_sum = np.log(np.sum(np.exp(scores), axis=1))
    return np.mean(log_sum - np.sum(labels * scores, axis=1))


@gc.compile
def digits_step(params: Params, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    loss, grads = gc.value_and_grad(cross_entropy)(params, x, labels)
    for name in params:
        params[name] -= RATE * grads[name]
    return loss


def numpy_step(params: Params, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same step by hand, as one writes it in NumPy: what the compiled one is compared with."""
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0.0)
    scores = hidden @ params["w2"] + params["b2"]
    scores -= np.max(scores, axis=1, keepdims=True)
    exps = np.exp(scores)
    sums = np.sum(exps, axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - np.sum(labels * scores, axis=1))

    d_scores = (exps / sums - labels) / np.float32(len(x))
    d_hidden = (d_scores @ params["w2"].T) * (hidden > 0)
    grads = {
        "w1": x.T @ d_hidden,
        "b1": np.sum(d_hidden, axis=0),
        "w2": hidden.T @ d_scores,
        "b2": np.sum(d_scores, axis=0),
    }
    for name in params:
        params[name] -= RATE * grads[name]
    return loss


def batches(x: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each epoch's rows in a new order, in batches of one size, so that one compilation does."""
    rng = np.random.default_rng(2)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield x[rows], labels[rows]


def real_digits() -> None:
    digits = load_digits()
    x = (digits.data / 16).astype("f4")
    labels = np.eye(10, dtype="f4")[digits.target]
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1437], order[1437:]

    print(f"\nTraining on {len(train)} handwritten digits, {len(test)} others held out:")
    steps = list(batches(x[train], labels[train]))
    compiled_params, numpy_params = digit_params(), digit_params()
    # The first call compiles; on copies, so that it trains nothing.
    start = time.perf_counter()
    digits_step(digit_params(), *steps[0])
    print(f"  tracing and compiling took {time.perf_counter() - start:.2f} s")
    compiled_seconds, loss = timed(digits_step, compiled_params, steps, "graphc")
    numpy_seconds, numpy_loss = timed(numpy_step, numpy_params, steps, "NumPy ")

    right = np.argmax(logits(compiled_params, x[test]), axis=1) == digits.target[test]
    print(f"  test accuracy {100 * np.mean(right):.1f} %")
    print(f"  last loss: graphc {loss:.4f}, NumPy {numpy_loss:.4f}")
    print(
        f"  median time per step: graphc {1e6 * compiled_seconds:.0f} µs,"
        f" NumPy {1e6 * numpy_seconds:.0f} µs: {numpy_seconds / compiled_seconds:.1f} times faster"
    )


def digit_params() -> Params:
    rng = np.random.default_rng(1)
    return {
        "w1": weights(rng, 64, 100),
        "b1": np.zeros(100, "f4"),
        "w2": weights(rng, 100, 10),
        "b2": np.zeros(10, "f4"),
    }


def timed(
    step: Step, params: Params, steps: list[tuple[np.ndarray, np.ndarray]], name: str
) -> tuple[float, np.ndarray]:
    """Train with `step`; the median seconds that it took, and the last loss."""
    seconds = []
    for x, labels in tqdm(steps, desc=f"  {name}", unit="step", ncols=80):
        start = time.perf_counter()
        loss = step(params, x, labels)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), loss


if __name__ == "__main__":
    random_data()
    real_digits()
