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
