"""Random numbers as functions of a key: `gc.random`.

A generator with a state does not fit a graph that runs again and again.  Here a *key* is a value
like any other: an int64 array of two words, made from a seed by `key` and divided by `split`.  A
function called twice with the same key gives the same numbers; divide the key for others.  The bits
are those of Philox-4x32-10, a function of key and position: the same on every target, on any number
of threads, compiled or not, and fused into the kernel that uses them.

>>> import numpy as np, graphc as gc
>>> @gc.compile
... def dropout(key, x):
...     return np.where(gc.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0.0)
>>> dropout(gc.random.key(0), np.ones((2, 3))).shape
(2, 3)
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import DTYPE_NAMES, FLOATS, INTS, NARROW, NUMPY_DTYPES, Type
from graphc.loops import while_loop
from graphc.ops import shape as shape_ops
from graphc.ops.random import WORD
from graphc.ops.random import philox as philox_op
from graphc.rounding import FORMATS
from graphc.trace.promotion import cast_to, known_dtype
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.sizes import as_shape, as_size
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.transforms import stop_gradient

__all__ = [
    "bernoulli",
    "bits",
    "categorical",
    "choice",
    "exponential",
    "fold_in",
    "gamma",
    "key",
    "normal",
    "permutation",
    "randint",
    "split",
    "uniform",
]

Shape = int | tuple[int, ...]

_DRAWING, _SPLITTING, _FOLDING = 0, 1, 2
"""Domains of the counter: numbers and keys made from one key have nothing in common."""

# ---- keys ----------------------------------------------------------------------------------------


def key(seed: Any) -> Any:
    """The key of an integer seed, which may be traced: int64[2].

    >>> import graphc as gc
    >>> gc.random.key(7)
    array([7, 0])
    """
    if not isinstance(seed, Tracer):
        try:
            number = operator.index(seed)
        except TypeError:
            raise errors.ArgumentError(
                f"random.key takes an integer seed, not {type(seed).__name__}", user_loc()
            ) from None
        return np.array([number & WORD, number >> 32 & WORD], np.int64)
    traced: Any = seed
    words: Any = np.stack([traced & WORD, traced >> 32 & WORD])
    return words.astype(np.int64)


def split(key: Any, num: int = 2) -> Any:
    """`num` new keys, int64[num, 2], independent of each other and of what `key` itself gives.

    >>> import graphc as gc
    >>> first, second = gc.random.split(gc.random.key(0))
    """
    words = _philox(key, _as_shape(num), _SPLITTING)
    return np.stack([words & WORD, words >> 32 & WORD], axis=-1)


def fold_in(key: Any, data: Any) -> Any:
    """The key number `data`, an integer that may be traced, of those that `key` makes.

    For loops: `fold_in(key, i)` is another key in each iteration.

    >>> import graphc as gc
    >>> gc.random.fold_in(gc.random.key(0), 5).shape
    (2,)
    """
    words = _philox(key, (), _FOLDING, start=data)
    return np.stack([words & WORD, words >> 32 & WORD], axis=-1)


def _words_of(key: Any) -> tuple[Any, Any]:
    """The two words of a key.  Raises `errors.ArgumentError` for what is none."""
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", None)
    if shape != (2,) or dtype != np.int64:
        given = f"{dtype}{list(shape)}" if shape is not None else type(key).__name__
        raise errors.ArgumentError(
            f"a random key is int64[2], not {given}; make one with random.key(seed), several with"
            " random.split(key, n), and pass one of them: keys[0]",
            user_loc(),
        )
    return key[0], key[1]


# ---- bits ----------------------------------------------------------------------------------------


def bits(key: Any, shape: Shape = ()) -> Any:
    """64 random bits for each element, as int64.

    >>> import graphc as gc
    >>> gc.random.bits(gc.random.key(0), 2).dtype
    dtype('int64')
    """
    return _philox(key, _as_shape(shape), _DRAWING)


def _philox(key: Any, shape: tuple[int, ...], domain: int, draw: int = 0, start: Any = 0) -> Any:
    """The bits at the positions from `start` on."""
    first, second = _words_of(key)
    if is_tracing():
        return _traced_philox(lift(first), lift(second), lift(start), shape, domain, draw)
    counter = np.arange(math.prod(shape), dtype=np.int64).reshape(shape) + start
    keys = (np.broadcast_to(word, shape) for word in (first, second))
    return philox_op.reference(counter, *keys, domain=domain, draw=draw)


def _traced_philox(
    first: Tracer, second: Tracer, start: Tracer, shape: tuple[int, ...], domain: int, draw: int
) -> Tracer:
    from_start = cast_to(start.value(), "i64")
    given = (first.value(), second.value(), from_start)
    keys = [shape_ops.broadcast(word, shape=shape, axes=()) for word in given]
    counter = _positions(shape) + keys.pop()
    return wrap(philox_op(counter, *keys, domain=domain, draw=draw))


def _positions(shape: tuple[Any, ...]) -> Value:
    """The place of each element in row-major order."""
    builder = current().builder
    place: Value = builder.literal(0, Type("i64", shape))
    stride = 1
    for axis in reversed(range(len(shape))):
        attrs = {"shape": shape, "axis": axis, "dtype": "i64"}
        (along,) = builder.emit(shape_ops.iota, (), attrs)
        place = place + along * stride
        stride *= shape[axis]
    return place


def _as_shape(shape: Any) -> tuple[Any, ...]:
    try:
        result = as_shape(shape)
    except TypeError:
        result = (-1,)
    if any(size < 0 for size in result):
        raise errors.ArgumentError(
            f"a shape is an int or a tuple of ints from 0 on, not {shape!r}", user_loc()
        )
    return result


def _dtype(dtype: Any, kinds: frozenset[str], wanted: str) -> np.dtype:
    if known_dtype(dtype) not in kinds:
        raise errors.DTypeError(f"{wanted} has no dtype {np.dtype(dtype)}", user_loc())
    return NUMPY_DTYPES[known_dtype(dtype)]


# ---- distributions -------------------------------------------------------------------------------


def uniform(
    key: Any, shape: Shape = (), dtype: Any = np.float64, minval: Any = 0.0, maxval: Any = 1.0
) -> Any:
    """Numbers from [minval, maxval): multiples of 2**-53 (float32: 2**-24) before scaling.

    Raises `graphc.errors.DTypeError` if `dtype` is not floating point.

    >>> import numpy as np, graphc as gc
    >>> x = gc.random.uniform(gc.random.key(0), (1000,))
    >>> bool(np.all((0.0 <= x) & (x < 1.0)))
    True
    """
    kind = _dtype(dtype, FLOATS, "uniform")
    x = _unit(_philox(key, _as_shape(shape), _DRAWING), kind)
    if not (isinstance(minval, Tracer) or isinstance(maxval, Tracer)) and (minval, maxval) == (
        0,
        1,
    ):
        return x
    low = _as(minval, kind)
    return low + x * (_as(maxval, kind) - low)


def _as(number: Any, kind: np.dtype) -> Any:
    return number.astype(kind) if isinstance(number, (Tracer, np.ndarray)) else kind.type(number)


def _unit(bits: Any, kind: np.dtype) -> Any:
    """[0, 1) from the high bits, as many as the significand holds: every value is exact."""
    digits = FORMATS[DTYPE_NAMES[kind]].digits
    high = bits >> 64 - digits & (1 << digits) - 1
    return high.astype(kind) * kind.type(2.0**-digits)


def _is_narrow(kind: np.dtype) -> bool:
    """Whether a dtype has too few digits to compute with: the tails of a distribution would go."""
    return DTYPE_NAMES[kind] in NARROW


def _positive_unit(bits: Any, kind: np.dtype) -> Any:
    """(0, 1], for logarithms."""
    return kind.type(1.0) - _unit(bits, kind)


def normal(key: Any, shape: Shape = (), dtype: Any = np.float64) -> Any:
    """Standard normal numbers, by the transform of Box and Muller (1958).

    Raises `graphc.errors.DTypeError` if `dtype` is not floating point.

    >>> import numpy as np, graphc as gc
    >>> x = gc.random.normal(gc.random.key(0), (10000,))
    >>> bool(abs(np.mean(x)) < 0.05 and abs(np.std(x) - 1.0) < 0.05)
    True
    """
    kind, sizes = _dtype(dtype, FLOATS, "normal"), _as_shape(shape)
    if _is_narrow(kind):
        return normal(key, shape, np.float32).astype(kind)
    radius = np.sqrt(-2.0 * np.log(_positive_unit(_philox(key, sizes, _DRAWING, 0), kind)))
    angle = _unit(_philox(key, sizes, _DRAWING, 1), kind)
    return radius * np.cos(kind.type(2.0 * math.pi) * angle)


def bernoulli(key: Any, p: Any = 0.5, shape: Shape | None = None) -> Any:
    """True with probability `p`: a bool array of `shape`, or of p's own.

    >>> import numpy as np, graphc as gc
    >>> gc.random.bernoulli(gc.random.key(0), 0.0, (2,))
    array([False, False])
    """
    sizes = np.shape(p) if shape is None else _as_shape(shape)
    kind = np.dtype(np.float32 if getattr(p, "dtype", None) == np.float32 else np.float64)
    return _unit(_philox(key, sizes, _DRAWING), kind) < p


def randint(key: Any, shape: Shape, minval: Any, maxval: Any, dtype: Any = np.int64) -> Any:
    """Integers from [minval, maxval).  The bias is below (maxval - minval) / 2**63.

    Raises `graphc.errors.DTypeError` if `dtype` is no integer, `graphc.errors.ArgumentError` if the
    range is known to be empty.

    >>> import graphc as gc
    >>> sorted(set(gc.random.randint(gc.random.key(0), 100, 1, 7).tolist()))
    [1, 2, 3, 4, 5, 6]
    """
    kind = _dtype(dtype, INTS, "randint")
    if not isinstance(minval, Tracer) and not isinstance(maxval, Tracer) and minval >= maxval:
        raise errors.ArgumentError(
            f"randint: no integer lies in [{minval}, {maxval}); maxval is exclusive", user_loc()
        )
    positive = _philox(key, _as_shape(shape), _DRAWING) & (1 << 63) - 1
    return (positive % (maxval - minval) + minval).astype(kind)


def exponential(key: Any, shape: Shape = (), dtype: Any = np.float64) -> Any:
    """Numbers with density exp(-x) for x >= 0, by inversion.

    >>> import numpy as np, graphc as gc
    >>> x = gc.random.exponential(gc.random.key(0), (10000,))
    >>> bool(np.all(x >= 0.0) and abs(np.mean(x) - 1.0) < 0.05)
    True
    """
    kind = _dtype(dtype, FLOATS, "exponential")
    if _is_narrow(kind):
        return exponential(key, shape, np.float32).astype(kind)
    return -np.log(_positive_unit(_philox(key, _as_shape(shape), _DRAWING), kind))


def gamma(key: Any, a: Any, shape: Shape | None = None, dtype: Any = np.float64) -> Any:
    """Numbers with density x**(a - 1) exp(-x) / Gamma(a) for x > 0; `shape`, or a's own.

    By the rejection method of Marsaglia and Tsang (2000).  No gradient flows into `a`.

    Raises `graphc.errors.DTypeError` if `dtype` is not floating point.

    >>> import numpy as np, graphc as gc
    >>> x = gc.random.gamma(gc.random.key(0), 3.0, (10000,))
    >>> bool(abs(np.mean(x) - 3.0) < 0.1)
    True
    """
    kind = _dtype(dtype, FLOATS, "gamma")
    if _is_narrow(kind):
        return gamma(key, _as(a, np.dtype(np.float32)), shape, np.float32).astype(kind)
    sizes = np.shape(a) if shape is None else _as_shape(shape)
    given: Any = np.broadcast_to(stop_gradient(_as(a, kind)), sizes)
    # Of what is no shape parameter nothing would ever be accepted.
    is_valid = (given > 0) & np.isfinite(given)
    alpha = np.where(is_valid, given, kind.type(1.0))
    # The method needs a >= 1; below, gamma(a) is gamma(a + 1) times a power of a uniform number.
    is_small = alpha < 1.0
    d = np.where(is_small, alpha + kind.type(1.0), alpha) - kind.type(1.0 / 3.0)

    def draw(turn: Any) -> tuple[Any, Any]:
        own = fold_in(key, turn)
        x = normal(own, sizes, kind)
        v = (kind.type(1.0) + x / np.sqrt(d * kind.type(9.0))) ** 3
        chance = np.log(_positive_unit(_philox(own, sizes, _SPLITTING), kind))
        bound = kind.type(0.5) * x * x + d - d * v + d * np.log(np.where(v > 0, v, kind.type(1.0)))
        return d * v, (v > 0) & (chance < bound)

    def again(state: Any) -> Any:
        turn, found, is_found = state
        value, fits = draw(turn)
        return turn + 1, np.where(is_found, found, value), is_found | fits

    value, fits = draw(0)
    _, found, _ = while_loop(lambda state: ~np.all(state[2]), again, (1, value, fits))
    power = _positive_unit(_philox(key, sizes, _SPLITTING), kind) ** (kind.type(1.0) / alpha)
    return np.where(is_valid, np.where(is_small, found * power, found), kind.type(math.nan))


def categorical(key: Any, logits: Any, axis: int = -1, shape: Shape | None = None) -> Any:
    """Positions along `axis`, with probabilities softmax(logits), as int64.

    The result has the shape of `logits` without `axis`; `shape`, if given, ends in it.  Chosen by
    the largest of logits plus Gumbel noise (Gumbel 1954).

    >>> import numpy as np, graphc as gc
    >>> int(gc.random.categorical(gc.random.key(0), np.array([-np.inf, 0.0])))
    1
    """
    scores: Any = logits if isinstance(logits, (Tracer, np.ndarray)) else np.asarray(logits)
    moved = np.moveaxis(scores, axis, -1)
    sizes = moved.shape[:-1] if shape is None else _as_shape(shape)
    if sizes[len(sizes) - len(moved.shape[:-1]) :] != moved.shape[:-1]:
        raise errors.ArgumentError(
            f"categorical: shape {sizes} does not end in {moved.shape[:-1]}, that of logits"
            " without its axis",
            user_loc(),
        )
    kind = _dtype(moved.dtype, FLOATS, "categorical")
    if _is_narrow(kind):
        return categorical(key, scores.astype(np.float32), axis, shape)
    drawn = _philox(key, (*sizes, moved.shape[-1]), _DRAWING)
    # (0, 1): both logarithms are finite, so that a score of -inf is never chosen.
    noise = -np.log(-np.log(_unit(drawn, kind) + kind.type(np.finfo(kind).eps / 4)))
    return np.argmax(moved + noise, axis=-1)


def permutation(key: Any, x: Any) -> Any:
    """`range(x)` in random order, or, for an array, x in random order along its first axis.

    >>> import graphc as gc
    >>> sorted(gc.random.permutation(gc.random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    count = x.shape[0] if getattr(x, "shape", ()) else as_size(x)
    order = np.argsort(_philox(key, (count,), _DRAWING), stable=True)
    return _read(x, order) if getattr(x, "shape", ()) else order


def _read(array: Any, positions: Any) -> Any:
    """The rows of an array, which may be an ordinary one at traced positions."""
    return (lift(array) if isinstance(positions, Tracer) else array)[positions]


def choice(key: Any, a: Any, shape: Shape = (), replace: bool = True, p: Any = None) -> Any:
    """Elements of the array `a`, or of `range(a)`, with equal probabilities or those of `p`.

    Without `replace` each element is chosen at most once (and `p` must be None).

    >>> import graphc as gc
    >>> gc.random.choice(gc.random.key(0), 3, (5,)).shape
    (5,)
    """
    sizes = _as_shape(shape)
    count = a.shape[0] if getattr(a, "shape", ()) else as_size(a)
    if p is not None:
        if not replace:
            raise errors.ArgumentError("choice: p goes with replace=True only", user_loc())
        with np.errstate(divide="ignore"):  # the logarithm of probability 0 is never the largest
            chosen = categorical(key, np.log(p), shape=sizes)
    elif replace:
        chosen = randint(key, sizes, 0, count)
    else:
        chosen = _without_replacement(key, count, sizes)
    return _read(a, chosen) if getattr(a, "shape", ()) else chosen


def _without_replacement(key: Any, count: int, sizes: tuple[int, ...]) -> Any:
    wanted = math.prod(sizes)
    if wanted > count:
        raise errors.ArgumentError(
            f"choice: {wanted} of {count} elements cannot be chosen without replacement", user_loc()
        )
    return permutation(key, count)[:wanted].reshape(sizes)
