"""What fusion is: softmax and layer normalisation, each one pass over memory.

python examples/fused_softmax.py
"""

from __future__ import annotations

import numpy as np

import graphc as gc


def softmax(x: np.ndarray) -> np.ndarray:
    shifted = np.exp(x - np.max(x, axis=1, keepdims=True))
    return shifted / np.sum(shifted, axis=1, keepdims=True)


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    centred = x - np.mean(x, axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * scale + shift


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 1024)).astype("f4")
    scale, shift = rng.normal(size=(2, 1024)).astype("f4")

    for function, arguments in ((softmax, (x,)), (layer_norm, (x, scale, shift))):
        compiled = gc.compile(function)
        np.testing.assert_allclose(compiled(*arguments), function(*arguments), rtol=1e-4, atol=1e-6)
        # NumPy reads and writes an array for every operation; here there is one kernel.
        print(compiled.explain(*arguments), end="\n\n")


if __name__ == "__main__":
    main()
