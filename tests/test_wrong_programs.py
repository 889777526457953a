"""Programs that cannot be compiled: one message, the right line, and a repair that works.

Each case is a wrong program, whose offending line ends with `#!` and a part of the message, and the
program repaired.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_syntax import define

import graphc as gc
from graphc import errors
from graphc.trace import tree

CASES = """
def f(x):
    try:
        if x[0] > 0: return x  #! an `if` that contains `return` inside `try` cannot depend
    except ValueError:
        pass
    return -x
---
def f(x):
    if x[0] > 0: y = x
    else: y = -x
    return y
===
def f(x):
    return [v for v in x if v > 0]  #! the `if` of a comprehension cannot depend on a traced value
---
def f(x):
    return np.where(x > 0, x, 0.0)
===
def f(x):
    def positive():
        for v in x:
            if v > 0: yield v  #! an `if` that contains `yield` cannot depend on a traced value
    return sum(positive())
---
def f(x):
    total = 0.0
    for v in x:
        if v > 0: total = total + v
    return total
===
def f(x):
    if x > 0: return x  #! the truth value of an array bool[3] is ambiguous
    return -x
---
def f(x):
    return np.where(x > 0, x, -x)
===
def f(x):
    if x[0] > 0: return x  #! the branches of a traced conditional differ
    return x.sum()
---
def f(x):
    if x[0] > 0: return x.max()
    return x.sum()
===
def f(x):
    if x[0] > 0:  #! 'scale' is defined only in the then branch
        scale = "2"
    return x * float(scale)
---
def f(x):
    scale = 1.0
    if x[0] > 0:
        scale = 2.0
    return x * scale
===
def f(x):
    while x.sum() < 100:  #! `x` is f64[3] before an iteration and f64[6] after it
        x = np.concatenate([x, x])
    return x
---
def f(x):
    while x.sum() < 100:
        x = x + x
    return x
===
def f(x):
    total = 0
    while np.sum(total) < x[2]:  #! `total` is i64[] before an iteration and f64[3] after it
        total = total + x
    return total
---
def f(x):
    total = np.zeros(3)
    while np.sum(total) < x[2]:
        total = total + x
    return total
===
def f(x):
    n = x.astype(np.int64)[0]
    while n < 10:  #! `n` is i64[] before an iteration and f64[] after it
        n = n + 0.5
    return n
---
def f(x):
    n = x.astype(np.int64)[0].astype(np.float64)
    while n < 10:
        n = n + 0.5
    return n
===
def f(x):
    parts = []
    while x.sum() > 1:  #! a list grows in every iteration
        parts.append(x)
        x = x * 0.5
    return parts[0]
---
def f(x):
    first = x
    while x.sum() > 1:
        x = x * 0.5
    return first
===
def f(x):
    pair = (x, x)
    while x.sum() > 1:  #! `pair` is (f64[3], f64[3]) before an iteration and (f64[3],) after it
        x = x * 0.5
        pair = (x,)
    return pair
---
def f(x):
    pair = (x, x)
    while x.sum() > 1:
        x = x * 0.5
        pair = (x, x)
    return pair
===
def f(x):
    names = ["a", "b", "c"]
    k = x.astype(int)[0]
    return x * len(names[k])  #! pass the number as a Python int argument of its own
---
def f(x):
    names = np.array([1.0, 2.0, 3.0])
    k = x.astype(int)[0]
    return x * names[k]
===
def f(x):
    return np.fromiter(x, float)  #! leave float() out
---
def f(x):
    return x * x[0]
===
def f(x):
    table = np.tile(1.0, 2)
    table[0] = x[0]  #! must be made in the traced function, by np.zeros
    return table
---
def f(x):
    table = np.zeros(2)
    table[1] = 2.0
    table[0] = x[0]
    return table
===
def f(x):
    numbers = iter([1.0, 2.0])
    if x[0] > 0: a = next(numbers)  #! changes a list_iterator
    else: a = 5.0
    return x * a
---
def f(x):
    numbers = iter([1.0, 2.0])
    first = next(numbers)
    if x[0] > 0: a = first
    else: a = 5.0
    return x * a
===
def f(x):
    table = np.tile(1.0, 4)
    if x[0] > 0: table[0] = 5.0  #! changes an ordinary array of shape (4,)
    return x * table[0]
---
def f(x):
    table = np.arange(4.0)
    if x[0] > 0:
        table = table.copy()
        table[0] = 5.0
    return x * table[0]
===
def f(x):
    global COUNT
    if x[0] > 0:  #! assigns the global 'COUNT'
        COUNT = 1
    return x
---
def f(x):
    count = 0
    if x[0] > 0:
        count = 1
    return x, count
===
def f(x):
    parts = [x]
    if x[0] > 0: parts.append(x)  #! is defined only in the then branch
    return parts[0]
---
def f(x):
    parts = [x, x]
    if x[0] > 0: parts[1] = 2 * x
    return parts[1]
===
def f(x):
    text = f"{x[0]:.1f}"
    return len(text)  #! digits are known only when the step runs
---
def f(x):
    print(f"{x[0]:.1f}")
    return x
===
def f(x):
    while x[0] > 0:  #! the global 'COUNT'
        global COUNT
        COUNT = 1
        x = x - 1
    return x
---
def f(x):
    count = 0
    while x[0] > 0:
        count = 1
        x = x - 1
    return x, count
===
def f(x):
    return np.unique_inverse(x > x[0])[0][x[0]]  #! unique
---
def f(x):
    return np.sort(x)
===
def f(x):
    def forever(n):
        return n * forever(n - 1) if n > 0 else 1.0  #! a function that calls itself
    return forever(x[0])
---
def f(x):
    product = 1.0
    n = x[0]
    while n > 0:
        product = product * n
        n = n - 1
    return product
===
def f(x):
    y = x
    if x[0] > 0: y = x * 2
    y[0] = 1.0  #! may be either of two others
    return y
---
def f(x):
    y = x.copy()
    if x[0] > 0: y = x * 2
    y[0] = 1.0
    return y
===
def f(x):
    if x[0] > 0:
        raise KeyError("positive")  #! a compiled step can raise
    return x
---
def f(x):
    if x[0] > 1e9:
        raise ValueError("positive")
    return x
===
def f(x):
    return np.dot(x, x[:2])  #! 3 columns against 2 rows
---
def f(x):
    return np.dot(x, x)
===
def f(x):
    return x + np.ones(4)  #! do not broadcast together
---
def f(x):
    return x + np.ones(3)
===
def f(x):
    return x[5]  #! index 5 is out of bounds for an axis of size 3
---
def f(x):
    return x[2]
===
def f(x):
    return x.reshape(2, 2)  #! cannot reshape an array of size 3
---
def f(x):
    return x.reshape(3, 1)
===
def f(x):
    return np.concatenate([x, np.ones((2, 2))])  #! ranks differ
---
def f(x):
    return np.concatenate([x, np.ones(2)])
===
def f(x):
    return x.sum(axis=1)  #! axis 1 is out of bounds
---
def f(x):
    return x.sum(axis=0)
===
def f(x):
    return np.unique(x)  #! use np.sort(x)
---
def f(x):
    return np.sort(x)
===
def f(x):
    return x[x > 1]  #! use np.where(mask, x, 0)
---
def f(x):
    return np.where(x > 1, x, 0.0)
===
def f(x):
    return np.nonzero(x)[0]  #! use np.where(condition, x, y)
---
def f(x):
    return x != 0
===
def f(x):
    return x + np.random.normal()  #! use gc.random
---
def f(x):
    return x + gc.random.normal(gc.random.key(0))
===
def f(x):
    return x.missing  #! no attribute .missing
---
def f(x):
    return x.mean()
===
def f(x):
    return np.ma.array(x)  #! build arrays with np.array or np.stack
---
def f(x):
    return np.stack([v * 2 for v in x])
===
def f(x):
    return gc.grad(lambda y: y * y)(x)  #! reduce it first
---
def f(x):
    return gc.grad(lambda y: np.sum(y * y))(x)
===
def f(x):
    return gc.grad(lambda n: np.sum(n * n))(x.astype(int))  #! convert it with .astype
---
def f(x):
    return gc.grad(lambda n: np.sum(n * n))(x)
===
def f(x):
    return gc.cond(x[0] > 0, lambda y: y, lambda y: y.sum(), x)  #! branches of a traced conditional
---
def f(x):
    return gc.cond(x[0] > 0, lambda y: y.max(), lambda y: y.sum(), x)
===
def f(x):
    return gc.while_loop(lambda y: y.sum() < 9, lambda y: y.sum(), x)  #! a carried value keeps its
---
def f(x):
    return gc.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x)
===
def f(x):
    return gc.scan(lambda c, v: c + v, 0.0, x)  #! f returns a pair (carry, y)
---
def f(x):
    return gc.scan(lambda c, v: (c + v, c), 0.0, x)[0]
===
def f(x):
    return gc.vmap(lambda a, b: a * b)(x, x[:2])  #! sizes 3, 2; make them equal
---
def f(x):
    return gc.vmap(lambda a, b: a * b)(x, x)
===
def f(x):
    return x.astype("longdouble")  #! the result would be float128
---
def f(x):
    return x.astype("int32")
===
def f(x):
    s = x.sum()
    s[0] = 1.0  #! too many indices
    return s
---
def f(x):
    s = x.copy()
    s[0] = 1.0
    return s
===
def f(x):
    return np.linalg.solve(x, x)  #! must be square
---
def f(x):
    return np.linalg.solve(np.diag(x), x)
===
def f(x):
    match x.sum():
        case s if s > 0:  #! the guard of a `case` cannot depend
            return x
        case _:
            return -x
---
def f(x):
    if x.sum() > 0:
        return x
    return -x
===
def f(x):
    for v in range(x[0]):  #! convert it with .astype(int)
        x = x + v
    return x
---
def f(x):
    for v in range(x[0].astype(int)):
        x = x + v
    return x
===
def f(x):
    d = {}
    if x[0] > 0:  #! is defined only in the then branch
        d["a"] = x
    return d["a"]
---
def f(x):
    d = {"a": -x}
    if x[0] > 0:
        d["a"] = x
    return d["a"]
===
def f(x):
    return np.einsum("ij,j->i", x, x)  #! 'ij' does not fit
---
def f(x):
    return np.einsum("i,i->", x, x)
===
def f(x):
    return np.zeros(x.sum())  #! pass the number as a Python int argument
---
def f(x):
    return np.zeros(x.shape)
===
def f(x):
    if x[0] > 0:  #! 'y' is 'big' in the then branch
        y = "big"
    else:
        y = "small"
    return y
---
def f(x):
    return 1.0 if x[0] > 0 else 0.0
===
def f(x):
    return np.array2string(x)  #! np.array2string cannot be traced
---
def f(x):
    print(x)
    return x
===
def f(x):
    return sorted(x, key=lambda v: -v)  #! use np.argsort
---
def f(x):
    return np.sort(x)[::-1]
"""


def cases():
    for text in CASES.strip().split("\n===\n"):
        wrong, repaired = text.split("\n---\n")
        line, message = next(
            (number, marked.split("#!")[1].strip())
            for number, marked in enumerate(wrong.split("\n"), 1)
            if "#!" in marked
        )
        yield pytest.param(wrong, line, message, repaired, id=re.sub(r"\W+", "-", message))


X = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(("wrong", "line", "message", "repaired"), list(cases()))
def test_wrong_and_repaired(wrong, line, message, repaired):
    head = "import graphc as gc, numpy as np\n"
    function = define(head + wrong)["f"]
    with pytest.raises(errors.GraphcError, match=re.escape(message)) as raised:
        gc.compile(function)(X.copy())
    assert raised.value.loc.line == line + 1
    mended = define(head + repaired)["f"]
    got, wanted = gc.compile(mended)(X.copy()), mended(X.copy())
    for a, b in zip(tree.flatten(got)[0], tree.flatten(wanted)[0], strict=True):
        np.testing.assert_allclose(a, b)
