"""Random numbers: the bits against published ones, the distributions, and the same everywhere."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc import errors
from graphc.ops.random import philox_words

KEY = gc.random.key(42)
COUNT = 20_000

# ---- bits ----------------------------------------------------------------------------------------

KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""The known answers of the authors' own library (Random123) for philox4x32-10."""


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_known_answers(counter: Any, key: Any, words: Any) -> None:
    given = [np.array([word], np.uint64) for word in (*counter, *key)]
    with np.errstate(over="ignore"):
        found = philox_words(tuple(given[:4]), tuple(given[4:]))  # type: ignore[arg-type]
    assert [int(word[0]) for word in found] == list(words)


DISTRIBUTIONS = {
    "bits": lambda key: gc.random.bits(key, (3, 5)),
    "uniform": lambda key: gc.random.uniform(key, (3, 5)),
    "uniform f32": lambda key: gc.random.uniform(key, 17, np.float32, -1.0, 3.0),
    "normal": lambda key: gc.random.normal(key, (2, 3, 4)),
    "normal f32": lambda key: gc.random.normal(key, (7,), np.float32),
    "bernoulli": lambda key: gc.random.bernoulli(key, np.array([0.0, 0.5, 1.0])),
    "randint": lambda key: gc.random.randint(key, (20,), -3, 4),
    "randint i32": lambda key: gc.random.randint(key, (), 0, 2**31, np.int32),
    "exponential": lambda key: gc.random.exponential(key, (9,)),
    "categorical": lambda key: gc.random.categorical(key, np.zeros((4, 3)), axis=0),
    "split": lambda key: gc.random.split(key, 3),
    "seed": lambda key: gc.random.key(5),
    "choice": lambda key: gc.random.choice(key, np.array([2.0, 3.0, 5.0]), (2, 2)),
    "choice p": lambda key: gc.random.choice(key, 3, (8,), p=np.array([0.2, 0.0, 0.8])),
    "gamma": lambda key: gc.random.gamma(key, np.array([0.3, 1.0, 7.5])),
    "fold_in": lambda key: gc.random.fold_in(key, 3),
    "empty": lambda key: gc.random.normal(key, (0, 3)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_compiled_and_plain_agree(name: str) -> None:
    function = DISTRIBUTIONS[name]
    plain, compiled = np.asarray(function(KEY)), np.asarray(gc.compile(function)(KEY))
    assert plain.dtype == compiled.dtype and plain.shape == compiled.shape
    tolerance = 1e-5 if plain.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(compiled, plain, rtol=tolerance, atol=tolerance)


def test_a_key_decides_everything() -> None:
    first, second = gc.random.split(KEY)
    draws = [gc.random.bits(key, 100) for key in (KEY, first, second)]
    assert np.array_equal(draws[0], gc.random.bits(KEY, 100))
    assert len(np.unique(np.concatenate(draws))) == 300
    assert np.array_equal(gc.random.bits(KEY, (4, 25)).ravel(), draws[0])


def test_a_traced_seed_is_the_same_key() -> None:
    seeded = gc.compile(lambda seed: gc.random.key(seed))
    for seed in (0, 7, 2**40 + 3, -1):
        assert np.array_equal(seeded(seed), gc.random.key(seed))


# ---- distributions -------------------------------------------------------------------------------

CONTINUOUS = {
    "uniform": (gc.random.uniform, stats.uniform),
    "normal": (gc.random.normal, stats.norm),
    "exponential": (gc.random.exponential, stats.expon),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str, dtype: Any) -> None:
    draw, law = CONTINUOUS[name]
    x = draw(KEY, (COUNT,), dtype)
    assert x.dtype == dtype and np.all(np.isfinite(x))
    assert stats.kstest(x, law.cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(x[1:], x[:-1])[0]) < 4 / np.sqrt(COUNT)


@pytest.mark.parametrize("a", [0.2, 1.0, 4.5])
def test_gamma(a: float) -> None:
    x = gc.compile(lambda key, a: gc.random.gamma(key, a, (COUNT,)))(KEY, a)
    assert stats.kstest(x, stats.gamma(a).cdf).pvalue > 1e-3


def test_gamma_of_what_is_no_parameter_is_nan_and_ends() -> None:
    x = gc.random.gamma(KEY, np.array([np.nan, -1.0, 0.0, np.inf, 2.0]))
    assert np.isnan(x[:4]).all() and np.isfinite(x[4])


def test_a_key_for_each_iteration() -> None:
    def walk(key: Any, n: Any) -> Any:
        x = 0.0
        for i in range(n):
            x = x + gc.random.normal(gc.random.fold_in(key, i))
        return x

    expected = sum(float(gc.random.normal(gc.random.fold_in(KEY, i))) for i in range(50))
    assert np.isclose(gc.compile(walk)(KEY, 50), expected)


def test_integers_are_equally_likely() -> None:
    x = gc.random.randint(KEY, (COUNT,), -2, 5)
    counts = np.bincount(x + 2, minlength=7)
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 1e-3


def test_categories_by_their_weights() -> None:
    p = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        x = gc.random.categorical(KEY, np.log(p), shape=(COUNT,))
    counts = np.bincount(x, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], COUNT * p[[0, 2, 3]]).pvalue > 1e-3


def test_permutations_and_choices_without_replacement() -> None:
    assert sorted(gc.random.permutation(KEY, 50)) == list(range(50))
    rows = np.arange(10.0).reshape(5, 2)
    assert np.array_equal(np.sort(gc.random.permutation(KEY, rows), axis=0), rows)
    chosen = gc.random.choice(KEY, 10, (2, 5), replace=False)
    assert sorted(chosen.ravel()) == list(range(10))


def test_dropout_is_one_kernel() -> None:
    def dropout(key: Any, x: Any) -> Any:
        return np.where(gc.random.bernoulli(key, 0.75, x.shape), x / 0.75, 0.0)

    compiled, x = gc.compile(dropout), np.ones((64, 100), np.float32)
    assert len(compiled.explain(KEY, x).kernels) == 1
    y = compiled(KEY, x)
    assert y.dtype == np.float32 and abs(np.mean(y) - 1.0) < 0.05
    assert np.array_equal(y, dropout(KEY, x))


def test_gradients_pass_through_scaled_noise() -> None:
    def loss(mean: Any, scale: Any) -> Any:
        return np.sum(mean + scale * gc.random.normal(KEY, (5,)))

    by_mean, by_scale = gc.grad(loss, argnums=(0, 1))(1.0, 2.0)
    assert by_mean == 5.0
    assert np.isclose(by_scale, np.sum(gc.random.normal(KEY, (5,))))


# ---- errors --------------------------------------------------------------------------------------

WRONG = [
    (lambda: gc.random.uniform(3), errors.ArgumentError, "a random key is int64[2], not int"),
    (lambda: gc.random.bits(np.zeros((3, 2), np.int64)), errors.ArgumentError, "keys[0]"),
    (lambda: gc.random.key("seed"), errors.ArgumentError, "an integer seed, not str"),
    (lambda: gc.random.normal(KEY, (2, -1)), errors.ArgumentError, "a tuple of ints from 0 on"),
    (lambda: gc.random.normal(KEY, dtype=np.int64), errors.DTypeError, "normal has no dtype int64"),
    (lambda: gc.random.randint(KEY, 3, 5, 5), errors.ArgumentError, "no integer lies in [5, 5)"),
    (lambda: gc.random.choice(KEY, 3, 4, False), errors.ArgumentError, "4 of 3 elements"),
    (
        lambda: gc.random.categorical(KEY, np.zeros((4, 3)), shape=(3,)),
        errors.ArgumentError,
        "does not end in (4,)",
    ),
]


@pytest.mark.parametrize("call, error, message", WRONG)
def test_wrong_arguments(call: Any, error: type, message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)


GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    "draw", [lambda x: np.random.normal(), lambda x: GENERATOR.normal(), lambda x: random.random()]
)
def test_generators_with_a_state_are_refused(draw: Any) -> None:
    def noisy(x: Any) -> Any:
        return x + draw(x)

    with pytest.raises(errors.RandomStateError, match=r"test_random.py:\d+: .*gc\.random"):
        gc.compile(noisy)(np.ones(3))
