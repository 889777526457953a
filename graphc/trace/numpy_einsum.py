"""`np.einsum` as products of two operands at a time: transposes, sums, and matrix products."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.questions import hint
from graphc.trace.numpy_choosing import diagonal
from graphc.trace.numpy_products import matmul
from graphc.trace.numpy_reductions import sum
from graphc.trace.numpy_shapes import reshape, transpose
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap

LEAST_COLUMNS = 64
"""Matrices of fewer columns are multiplied as one, though the result has to be transposed."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(*operands: Any, dtype: Any = None, optimize: Any = False) -> Any:
    """Of more than two operands the first two are multiplied first, then the result and the third,
    and so on, or in the order of the path that `optimize` gives or asks `np.einsum_path` for."""
    text, arrays = _read(operands)
    inputs, output = _spelled(text, arrays)
    sizes = _sizes(inputs, arrays)
    name = promoted_dtype(arrays) if dtype is None else known_dtype(dtype)
    terms = [
        _Term(letters, wrap(cast_to(x.value(), name)), sizes)
        for letters, x in zip(inputs, arrays, strict=True)
    ]
    for pair in _path(text, arrays, optimize):
        taken = [terms.pop(i) for i in sorted(pair, reverse=True)][::-1]
        needed = set(output).union(*(term.letters for term in terms))
        terms.append(_contract(taken, needed, sizes, output))
    (term,) = terms
    term = term.summed(set(output))
    return transpose(term.array, [term.letters.index(c) for c in output])


def _read(operands: Sequence[Any]) -> tuple[str, list[Tracer]]:
    """The subscripts as text, also from the form einsum(x, [0, 1], y, [1, 2], [0, 2])."""
    if not operands:
        raise errors.ArityError("einsum: no operands", user_loc())
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), [lift(x) for x in operands[1:]]
    arrays = [lift(x) for x in operands[:-1:2]]
    texts = ["".join("..." if i is Ellipsis else _LETTERS[i] for i in s) for s in operands[1::2]]
    text = ",".join(texts)
    if len(operands) % 2:
        last = operands[-1]
        text += "->" + "".join("..." if i is Ellipsis else _LETTERS[i] for i in last)
    return text, arrays


def _spelled(text: str, arrays: Sequence[Tracer]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, an ellipsis as letters of its own."""
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(arrays):
        raise errors.ArityError(
            f"einsum: {len(inputs)} subscripts for {len(arrays)} operands", user_loc()
        )
    spare = [c for c in _LETTERS if c not in text]
    extra = [x.ndim - len(s.replace("...", "")) for s, x in zip(inputs, arrays, strict=True)]
    rank = max((n for n, s in zip(extra, inputs, strict=True) if "..." in s), default=0)
    dots = "".join(spare[:rank])
    spelled = []
    for subscripts, n, x in zip(inputs, extra, arrays, strict=True):
        if n < 0 or (n and "..." not in subscripts):
            raise errors.ShapeError(f"einsum: {subscripts!r} does not fit {x.type}", user_loc())
        spelled.append(subscripts.replace("...", dots[rank - n :] if n else ""))
    if arrow:
        output = right.replace("...", dots)
    else:
        counts = Counter("".join(spelled))
        single = sorted(c for c, n in counts.items() if n == 1 and c not in dots)
        output = dots + "".join(single)
    unknown = [c for c in output if all(c not in s for s in spelled)]
    if unknown or len(set(output)) != len(output):
        raise errors.AttributeValueError(
            f"einsum: each subscript of the result {output!r} stands there once, and in an operand",
            user_loc(),
        )
    return spelled, output


def _sizes(inputs: Sequence[str], arrays: Sequence[Tracer]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, arrays, strict=True):
        for letter, size in zip(letters, x.shape, strict=True):
            known = sizes.get(letter, 1)
            if known != size and 1 not in (known, size):
                raise errors.ShapeError(
                    f"einsum: subscript {letter!r} is {known} long and {size} long", user_loc()
                )
            sizes[letter] = max(known, size) if size else 0
    return sizes


def _path(text: str, arrays: Sequence[Tracer], optimize: Any) -> Sequence[tuple[int, ...]]:
    if len(arrays) == 1:
        return [(0,)]
    if optimize is not False and len(arrays) > 2:
        wanted = "greedy" if optimize is True else optimize
        stand_ins = [np.broadcast_to(np.float32(0), x.shape) for x in arrays]
        path = np.einsum_path(text, *stand_ins, optimize=wanted)[0]
        return [tuple(pair) for pair in path[1:]]
    return [(0, 1)] + [(0, len(arrays) - 1 - i) for i in range(1, len(arrays) - 1)]


class _Term:
    """An operand, one axis for each letter; axes of size 1 that are repeated elsewhere are gone."""

    def __init__(self, letters: str, array: Tracer, sizes: dict[str, int]):
        for letter in [c for c, n in Counter(letters).items() if n > 1]:
            while letters.count(letter) > 1:
                first = letters.index(letter)
                second = letters.index(letter, first + 1)
                array = diagonal(array, 0, first, second)
                rest = "".join(c for i, c in enumerate(letters) if i not in (first, second))
                letters = rest + letter
        kept = [
            i for i, c in enumerate(letters) if not (array.shape[i] == 1 and sizes.get(c, 1) != 1)
        ]
        self.letters = "".join(letters[i] for i in kept)
        self.array = reshape(array, tuple(array.shape[i] for i in kept))

    def summed(self, needed: set[str]) -> _Term:
        """Without the axes that nothing else needs."""
        axes = tuple(i for i, c in enumerate(self.letters) if c not in needed)
        if not axes:
            return self
        letters = "".join(c for c in self.letters if c in needed)
        return _Term(letters, sum(self.array, axes, self.array.dtype), {})

    def arranged(self, letters: str) -> Tracer:
        return transpose(self.array, [self.letters.index(c) for c in letters])


def _contract(
    terms: Sequence[_Term], needed: set[str], sizes: dict[str, int], output: str
) -> _Term:
    """The product of terms with the axes that are not needed summed over."""
    result = terms[0]
    for i, other in enumerate(terms[1:], 2):
        later = needed.union(*(term.letters for term in terms[i:]))
        result = _product(result, other, later, sizes, output)
    return result.summed(needed)


def _product(a: _Term, b: _Term, needed: set[str], sizes: dict[str, int], output: str) -> _Term:
    """Letters that both have are batch axes if they are needed, and summed over if not."""
    a = a.summed(needed | set(b.letters))
    b = b.summed(needed | set(a.letters))
    shared = [c for c in a.letters if c in b.letters]
    batch = "".join(c for c in shared if c in needed)
    inner = "".join(c for c in shared if c not in needed)
    rows = "".join(c for c in a.letters if c not in shared)
    columns = "".join(c for c in b.letters if c not in shared)
    letters = batch + rows + columns
    if not inner:
        left = reshape(a.arranged(batch + rows), _shape(batch + rows, sizes) + (1,) * len(columns))
        right = b.arranged(batch + columns)
        shape = _shape(batch, sizes) + (1,) * len(rows) + _shape(columns, sizes)
        product: Any = np.multiply(left, reshape(right, shape))
        return _Term(letters, product, {})
    for one, each, between, own in ((b, a, columns, rows), (a, b, rows, columns)):
        outer = _letters_outside(output, batch, between, own, sizes)
        if outer:
            rest = own[len(outer) :]
            return _matrices(one, each, (batch, outer, between, inner, rest), sizes)
    counts = [math.prod(_shape(part, sizes)) for part in (rows, inner, columns)]
    lead = _shape(batch, sizes)
    left = reshape(a.arranged(batch + rows + inner), (*lead, counts[0], counts[1]))
    right = reshape(b.arranged(batch + inner + columns), (*lead, counts[1], counts[2]))
    return _Term(letters, reshape(matmul(left, right), _shape(letters, sizes)), {})


def _letters_outside(output: str, batch: str, between: str, own: str, sizes: dict[str, int]) -> str:
    """The first of the letters that one operand has for itself, if the result is to have those of
    the other (`between`) after them and before the rest.

    A product for each of them, of large enough matrices, lies then as it is wanted; one product for
    all would be transposed.
    """
    wanted = [c for c in output if c in batch + between + own]
    for count in range(1, len(own)):
        if wanted == [*batch, *own[:count], *between, *own[count:]]:
            is_large = hint(math.prod(_shape(own[count:], sizes))) >= LEAST_COLUMNS
            return own[:count] if between and is_large else ""
    return ""


def _matrices(
    left: _Term, right: _Term, letters: tuple[str, str, str, str, str], sizes: dict[str, int]
) -> _Term:
    """The left matrix times each of the right ones, as which the letters in `outer` number them."""
    batch, outer, rows, inner, columns = letters
    counts = [math.prod(_shape(part, sizes)) for part in (rows, inner, columns)]
    lead = _shape(batch, sizes)
    one = (*lead, *(1 for _ in outer), counts[0], counts[1])
    each = (*lead, *_shape(outer, sizes), counts[1], counts[2])
    product = matmul(
        reshape(left.arranged(batch + rows + inner), one),
        reshape(right.arranged(batch + outer + inner + columns), each),
    )
    whole = batch + outer + rows + columns
    return _Term(whole, reshape(product, _shape(whole, sizes)), {})


def _shape(letters: str, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(sizes[c] for c in letters)
