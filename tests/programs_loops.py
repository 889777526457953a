"""More programs of the table in `programs`: loops, and what leaves them."""

from __future__ import annotations

import numpy as np
from programs import program

VECTORS = tuple(
    (np.array(v),)
    for v in (
        [0.5, 0.2, 0.1],
        [0.5, 2.0, 0.1],
        [2.0, 0.1, 0.3],
        [-1.0, -2.0, 5.0],
        [-6.0, 0.9, 0.8],
        [0.7, -2.0, 3.0],
    )
)

# ---- what leaves a loop --------------------------------------------------------------------------


@program(*VECTORS, conds=None, grad=(0,))
def break_on_data(x):
    s = 0.0
    for i in range(3):
        if x[i] > 1:
            break
        s = s + x[i]
    return s


@program(*VECTORS, conds=None, grad=(0,))
def continue_on_data(x):
    s = 0.0
    for v in x:
        if v > 1:
            continue
        s = s + v * v
    else:
        s = s * 2
    return s


@program(*VECTORS, conds=None, grad=(0,))
def return_in_a_loop(x):
    for i in range(3):
        if x[i] > 1:
            return x[i] * 10
    return x.sum()


@program(*VECTORS, conds=None, grad=(0,))
def else_of_a_loop(x):
    for v in x:
        if v > 1:
            break
    else:
        v = x[0] * x[1]
    return v


@program(*VECTORS, conds=None, grad=(0,))
def exits_of_nested_loops(x):
    t = 0.0
    for i in range(3):
        for j in range(3):
            if x[j] > x[i]:
                continue
            if x[i] * x[j] > 3:
                break
            if x[i] < -5:
                return t
            t = t + x[i] * x[j]
        else:
            t = t + 100
    return t


@program(*VECTORS, conds=None, grad=(0,))
def continue_where_either_branch_goes_on(x):
    t = x[0]
    for v in x:
        if v > 0:
            if v > 1:
                continue
            t = t * 2
        elif v < -5:
            break
        t = t + v
    return t


@program(*VECTORS, conds=None, grad=(0,))
def return_where_either_branch_goes_on(x):
    if x[0] > 0:
        if x[1] > 0:
            return x * 2
        x = x + 1
    if x[1] > 0:
        if x[2] > 0:
            return x * 3
        x = x + 2
    return x


# ---- loops that are nodes ------------------------------------------------------------------------

X = np.array([1.0, 2.0, 3.0])


@program((4 * X,), (0.1 * X,), grad=(0,))
def while_on_data(x):
    while x.sum() > 1.0:
        x = x * 0.5
    return x


@program((100.0,), (0.5,))
def counted_while(x):
    n = 0
    while x > 1:
        x = x / 2
        n += 1
    return n, x


@program((X,), grad=(0,))
def long_for(x):
    s = 0.0
    for i in range(100):
        s = s * 0.9 + x[i % 3] * x[1] + i
    return s


@program((X, 7), (X, 0))
def for_to_an_argument(x, n):
    s = 0.0
    for i in range(n):
        s = s + x[0] * i
    return s


@program((X, 0, 9, 2), (X, 9, 0, -3), (X, 3, 3, 1))
def traced_bounds(x, start, stop, step):
    s = 0.0
    for i in range(start, stop, step):
        s = s + x[1] * i
    return s


@program((np.arange(8.0) ** 2,))
def stencil_in_place(x):
    for _ in range(50):
        x[1:-1] = 0.5 * (x[:-2] + x[2:])


@program((X,), grad=(0,))
def assigned_at_the_index(x):
    y = np.zeros(3)
    for i in range(40):
        y[i % 3] += x[i % 3] * i
    return y


@program((np.arange(1.0, 31.0), X), grad=(0, 1))
def enumerated_elements(x, y):
    t = 0.0
    for k, v in enumerate(x):
        t = t + k * v * y[0]
    return t


@program((np.ones((20, 3)) * X, X), grad=(0, 1))
def rows_of_a_matrix(m, x):
    for row in m:
        x = np.tanh(x + row)
    return x


@program((np.arange(20.0), np.arange(30.0)), grad=(0, 1))
def zipped_and_reversed(x, y):
    t = 0.0
    for a, b in zip(reversed(x), y):
        t = t * 0.5 + a * b
    return t


@program((X,), (-X,), conds=None, grad=(0,))
def long_for_with_exits(x):
    s = 0.0
    for i in range(100):
        if s > 10:
            break
        if x[i % 3] < 0:
            continue
        s = s + x[i % 3]
    else:
        s = x[2]
    return s, i


@program((X,), (0.01 * X,), conds=None)
def forever(x):
    n = 0
    while True:
        x = x * 0.7
        if x.max() < 0.1:
            return x, n
        n += 1


@program((2.0,), (9.0,), conds=None, grad=(0,))
def newton(a):
    x = a
    for _ in range(50):
        y = 0.5 * (x + a / x)
        if np.abs(y - x) < 1e-14:
            break
        x = y
    return x


@program((X,), grad=(0,))
def carried_tree(x):
    state = {"position": x, "history": (0.0, 1)}
    for _ in range(30):
        position = state["position"] * 0.9
        total, count = state["history"]
        state = {"position": position, "history": (total + position[0], count + 1)}
    return state


@program((X,), grad=(0,))
def assigned_in_the_loop_alone(x):
    for i in range(30):
        last = x * i
    return last


@program((6.0,), conds=None)
def collatz(n):
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n / 2
        else:
            n = 3 * n + 1
        steps = steps + 1
    return steps


@program((np.arange(12.0).reshape(3, 4) % 5, np.arange(20.0).reshape(4, 5) % 7))
def product_by_hand(a, b):
    c = np.zeros((3, 5))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]):
                c[i, j] += a[i, k] * b[k, j]
    return c


@program((X,), grad=(0,))
def first_iteration_of_another_type(x):
    best = None
    for i in range(20):
        y = np.sin(x * i)
        best = y if best is None else np.maximum(best, y)
    return best


@program((X,), grad=(0,))
def a_number_that_becomes_an_array(x):
    total = 0
    for i in range(20):
        total = total + x * i
    return total


@program((X,))
def appended_in_a_loop(x):
    parts = []
    for i in range(6):
        parts.append(x[i % 3] * i)
    return np.array(parts)


@program((np.full((3, 12), 0.3), X), conds=None)
def while_inside_for(m, x):
    for row in range(12):
        while x.sum() > 2.0:
            x = x * 0.8
        x = x + m[:, row]
    return x


@program((np.array([5.0, 3.0, 9.0, 1.0, 7.0]),), conds=None)
def bubble_sort(x):
    n = x.shape[0]
    swapped = True
    while swapped:
        swapped = False
        for i in range(n - 1):
            if x[i] > x[i + 1]:
                a = x[i]
                x[i] = x[i + 1]
                x[i + 1] = a
                swapped = True
    return x


@program((X, 1.0), (X, -1.0), (X, 9.0), conds=None, grad=(0,))
def else_of_a_loop_in_a_branch(x, s):
    b = 0.5
    if s > 0:
        for _ in range(20):
            x = x * 0.9
        else:
            if s > 5:
                b = x[0]
            elif s > 0.5:
                x = x * (2.0 - b)
            b = b + x[1]
    return x * b
