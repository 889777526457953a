"""Converted functions do what the functions do, and call the hooks that they should."""

# The functions to convert are written oddly on purpose.
# ruff: noqa: B007, B023, C416, F811, F821, F841, FURB110, RUF021

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import linecache
import sys
import textwrap
import traceback
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc import errors
from graphc.ir import Loc
from graphc.trace.syntax import BranchLocs, convert, is_converted, is_synthetic

HERE = __file__


# ---- hooks ---------------------------------------------------------------------------------------


class Undefined:
    """An unbound variable."""


class Hooks:
    """Plain Python, and a record of the hooks that were called."""

    def caught(self):
        pass

    UNDEFINED = Undefined

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def named(self, hook: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == hook]

    def if_statement(
        self, test, then, otherwise, get_state, set_state, names, loc, *, globals_assigned
    ):
        assert isinstance(loc, BranchLocs)
        self.calls.append(("if_statement", names, loc, globals_assigned))
        set_state(get_state())
        (then if test else otherwise)()

    def if_return(
        self, test, then, otherwise, get_state, set_state, names, loc, *, globals_assigned
    ):
        assert isinstance(loc, BranchLocs)
        self.calls.append(("if_return", names, loc, globals_assigned))
        set_state(get_state())
        return (then if test else otherwise)()

    def if_expression(self, test, then, otherwise, loc):
        assert isinstance(loc, BranchLocs)
        self.calls.append(("if_expression", loc))
        return then() if test else otherwise()

    def and_(self, first, *rest, loc):
        assert isinstance(loc, BranchLocs)
        self.calls.append(("and_", loc))
        for operand in rest:
            if not first:
                return first
            first = operand()
        return first

    def or_(self, first, *rest, loc):
        assert isinstance(loc, BranchLocs)
        self.calls.append(("or_", loc))
        for operand in rest:
            if first:
                return first
            first = operand()
        return first

    def not_(self, value, loc):
        self.calls.append(("not_", loc))
        return not value

    def while_statement(self, test, body, get_state, set_state, site):
        self.calls.append(("while_statement", site))
        while not self.stopped(get_state, site) and test():
            set_state(get_state())
            body()

    def for_statement(self, iterable, body, get_state, set_state, site):
        self.calls.append(("for_statement", site))
        for item in iterable:
            if self.stopped(get_state, site):
                return
            set_state(get_state())
            body(item)

    def stopped(self, get_state, site):
        state = dict(zip(site.names, get_state(), strict=True))
        return any(state[name] for name in site.stops)

    def test(self, value, loc, why):
        self.calls.append(("test", loc, why))
        return value

    def assigned(self, value):
        return value

    def contains(self, value, container):
        return value in container

    def indexed(self, value):
        return value

    def joined(self, pieces):
        convert = {"": lambda value: value, "s": str, "r": repr, "a": ascii}
        return "".join(
            piece if isinstance(piece, str) else format(convert[piece[1]](piece[0]), piece[2])
            for piece in pieces
        )

    def modulo(self, template, values):
        return template % values

    def asserted(self, test, message, loc, source):
        self.calls.append(("asserted", loc, source))
        return test

    def call(self, fn, loc):
        self.calls.append(("call", fn, loc))
        own = isinstance(fn, types.FunctionType) and fn.__code__.co_filename == HERE
        return convert(fn, self) if own else fn


class BothBranches(Hooks):
    """As a tracer does: run both branches from the same state, then keep the one that was meant."""

    def if_statement(self, test, then, otherwise, get_state, set_state, names, loc, **_):
        self._both(test, then, otherwise, get_state, set_state)

    def if_return(self, test, then, otherwise, get_state, set_state, names, loc, **_):
        return self._both(test, then, otherwise, get_state, set_state)

    def _both(self, test, then, otherwise, get_state, set_state):
        before = get_state()
        outcomes = []
        for branch in (then, otherwise):
            set_state(before)
            try:
                outcomes.append((branch(), None, get_state()))
            except Exception as error:  # noqa: BLE001
                outcomes.append((None, error, get_state()))
        value, error, after = outcomes[0 if test else 1]
        set_state(after)
        if error is not None:
            raise error
        return value


def outcome(fn, args):
    """The value of a call, or its error and the user's line that raised it."""
    try:
        return ("value", fn(*args))
    except Exception as error:  # noqa: BLE001
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == HERE]
        frames = [f for f in frames if f.name not in HOOK_METHODS]
        message = str(error).split("\n")[0]  # pytest adds lines to that of an `assert`
        return (type(error), message, frames[-1].lineno, frames[-1].name)


HOOK_METHODS = {name for name in vars(Hooks) if not name.startswith("__")} | {"outcome", "_both"}


# ---- a table of functions ------------------------------------------------------------------------

TABLE: list[tuple[Any, list[tuple[Any, ...]]]] = []


def case(*calls):
    def add(fn):
        TABLE.append((fn, [call if isinstance(call, tuple) else (call,) for call in calls]))
        return fn

    return add


@case(-1, 0, 1)
def one_branch(x):
    y = 5
    if x > 0:
        y = x + 1
    return y


@case(-1, 0, 1)
def two_branches(x):
    if x > 0:
        y = 1
    else:
        y = 2
    return y


@case(-1, 1)
def unbound_after(x):
    if x > 0:
        y = 1
    return y


@case(-1, 1)
def unbound_in_branch(x):
    if x > 0:
        y = z
    else:
        y = 1
    z = 2
    return y + z


@case(-1, 1)
def unbound_in_expression(x):
    y = z if x > 0 else 1
    z = 2
    return y + z


@case(-1, 1)
def unknown_global(x):
    if x > 0:
        return no_such_name
    return 1


@case(-1, 1)
def deleted(x):
    y = 1
    if x > 0:
        del y
    return y


@case(-1, 1)
def deleted_and_bound_again(x):
    y = 1
    if x > 0:
        del y
        y = x
    return y


@case(-1, 0, 1, 2, 3)
def chain_of_elif(x):
    if x == 0:
        y = "zero"
    elif x == 1:
        y = "one"
    elif x == 2:
        return "two"
    elif x == 3:
        y = "three"
    else:
        y = "many"
    return y + "!"


@case((-1, -1), (-1, 1), (1, -1), (1, 1))
def nested(x, y):
    z = 0
    if x > 0:
        z += 1
        if y > 0:
            z += 10
        else:
            z -= 10
            if z < 0:
                w = 3
                z *= w
        z += 100
    else:
        if y > 0:
            z = 7
    return z


@case((-1, -1), (-1, 1), (1, -1), (1, 1))
def early_returns(x, y):
    if x > 0:
        if y > 0:
            return "both"
        z = 1
    z = x
    if y > 0:
        return z, "y"
    else:
        z += 1
    w = z
    return w, "none"


@case(-1, 0, 1)
def falls_off_the_end(x):
    if x > 0:
        return 1
    elif x < 0:
        y = 2


@case(-1, 1)
def raises(x):
    if x > 0:
        y = x / 0
    else:
        raise ValueError("negative")
    return y


@case(-1, 1)
def raises_in_test(x):
    y = 0
    if 1 / (x - 1) > 0:
        y = 1
    return y


@case((3, [1, 2, 3]), (-3, [1, 2, 3]))
def targets(x, items):
    if x > 0:
        (a, *b), c = items, x
        items[0] += 10
        d: int = 5
    else:
        a = b = c = x
        items[1:] = []
        d: int
        d = 7
    return a, b, c, d, items


class Thing:
    factor = 3

    def __init__(self, value):
        self.value = value

    def scaled(self, x):
        if x > 0:
            self.value = self.factor * x
        return self.value

    def __secret(self, x):
        if x > 0:
            __y = self.value
        else:
            __y = x
        return __y

    def open(self, x):
        return self.__secret(x) if x else self.__secret


class Special(Thing):
    def __init__(self, value, sign):
        if sign:
            super().__init__(value)
        else:
            super().__init__(-value)

    def scaled(self, x):
        self.kind = __class__.__name__ if x else super().scaled
        if x < 0:
            return super().scaled(-x)
        y = super().scaled(x) + 1
        return y + (super().factor if x else 0)

    @staticmethod
    def static(x):
        return 1 if x else 2


@case(-2, 0, 2)
def methods(x):
    thing, special = Thing(5), Special(6, x)
    return thing.scaled(x), special.scaled(x), special.value, thing.open(x or 1), special.static(x)


@case(0, 1)
def walrus(x):
    if (y := x + 1) > 1:
        z = (w := y) + 1
    elif (y := y + 5) > 2:
        z = w = y
    v = y if (u := x) else (u := 9)
    ok = x and (k := x + 2)
    return y, z, w, u, v, ok, x and k


@case(0, 1)
def walrus_in_comprehension(x):
    last = None
    if x:
        squares = [last := i * i for i in range(4) if i if (t := i)]
    else:
        squares = t = []
    return squares, last, t


@case(0, 1)
def bindings(x):
    if x:
        for i in range(3):
            pass
        with contextlib.nullcontext(4) as opened:
            pass
        import collections.abc
        from os import path

        def helper(y):
            if y > 1:
                return y
            return i

        class Local:
            value = 1 if x else 2

            def method(self):
                return self.value if x else helper

        try:
            1 / 0
        except ZeroDivisionError as error:
            message = str(error)
    else:
        i = opened = 0
        path = collections = None
        helper = abs
        Local = types.SimpleNamespace
        message = ""
    name = getattr(path, "__name__", None)
    return i, opened, name, helper(2), Local.__qualname__, message, bool(collections)


@case(0, 1)
def except_name_is_unbound(x):
    if x:
        try:
            1 / 0
        except ZeroDivisionError as error:
            pass
    return error


COUNT = 0


@case(0, 1)
def global_names(x):
    global COUNT
    COUNT = 1
    if x:
        COUNT += 1
    else:
        global OTHER
        OTHER = 3
    return COUNT, OTHER if not x else 0


@case(0, 1)
def nonlocal_names(x):
    total = 0

    def add(y):
        nonlocal total
        if y:
            total += y
            return total
        total -= 1

    return add(x), add(3), total


@case(0, 1)
def late_binding(x):
    readers = []
    for i in range(3):
        if x or i:
            readers.append(lambda: (i, y))
    y = "late"
    return [reader() for reader in readers]


@case((), (1,), (1, 2), (1, 2, 3, 4))
def arguments(a=1, /, b=2, *rest, c=3, **others):
    if rest:
        return a, b, rest, c, others
    c = a if b > 2 else c
    return a, b, c


@case(3, 0)
def recursion(n):
    if n == 0:
        return 1
    return n * recursion(n - 1)


@case(3, 0)
def inner_recursion(n):
    def factorial(k):
        return 1 if k <= 0 else k * factorial(k - 1)

    return factorial(n)


def log(*values):
    LOGGED.append(values)
    return values[0]


LOGGED: list[Any] = []


@case((1, 2, 3), (3, 2, 1), (1, 3, 2), (2, 2, 2))
def comparisons(a, b, c):
    LOGGED.clear()
    x = log(a) < log(b) < log(c)
    y = log(a, 1) <= log(b, 2) == log(c, 3) != 9 in [c]
    z = a is not b is c
    w = a < (d := b) < (d := c)
    return x, y, z, w, d, list(LOGGED)


@case(0, 1, 2, 3)
def logic(x):
    LOGGED.clear()
    a = log(x) and log(x - 1) and log(x - 2)
    b = log(x == 0) or log(x - 1) or not log(x)
    c = not (x and (1 / x) > 0.4 or x == 0)
    return a, b, c, list(LOGGED)


@case([1, 2, 3, 4], [])
def comprehensions(items):
    some = [x if x > 2 else -x for x in items if x != 3]
    table = {x: y for x in items for y in some if x < y if x}
    total = sum(x for x in items if not x % 2)
    return some, table, total, {a and b for a in items for b in some}


@case(0, 1)
def formatted(x):
    y = f"{'yes' if x else 'no':>{5 if x else 6}} {x!r} {x and 3}"
    if x:
        y = f"{y} {[i for i in range(x)]}"
    return y


@case(0, 1, 5)
def loops(n):
    found = None
    for i in range(n):
        if i == 3:
            found = i
            break
        if i == 1:
            continue
        if i % 2:
            found = -1
        else:
            found = i
    else:
        found = "none"
    while n > 0:
        n -= 1
        if n == 2:
            return found, n
    return found


@case(0, 1, 2)
def returns_in_loop_in_branch(x):
    if x:
        for i in range(3):
            if i == x:
                return i
        y = 1
    else:
        y = 2
    return y


@case(0, 1, 2)
def suppressed(x):
    y = 1
    with contextlib.suppress(ZeroDivisionError):
        if x == 1:
            return 1 / (x - 1)
        if x:
            y = 2
    if x:
        y += 1
    return y


@case(0, 1, 2)
def with_that_returns(x):
    with contextlib.suppress(ZeroDivisionError):
        if x == 1:
            return 1 / (x - 1)
        return x
    return "suppressed"


@case(0, 1, 2)
def handlers(x):
    try:
        if x == 1:
            raise ValueError("one")
        y = 1 if x == 2 else 1 / x
        if x:
            return y
    except ZeroDivisionError:
        if x:
            y = 2
        else:
            return "zero"
    except ValueError as error:
        y = str(error) if x else None
    else:
        y = 3
    finally:
        if x:
            z = 4
        else:
            z = 5
    return y, z


@case((1,), (2,), ([1, 2],), ([1, -2, 3],), ({"a": 1, "b": 2},), (None,), (Thing(1),))
def matching(value):
    extra = 0
    match value:
        case 1:
            result = "one"
        case int(n) if n > 1:
            result = n
        case [a, b]:
            if a:
                result = b
        case [a, *rest]:
            result = rest
        case {"a": 1, **others}:
            if others:
                return others
            result = None
        case Thing(value=v):
            result = v
        case _:
            result = extra
    return result


@case(0, 3)
def generators(n):
    def count(k):
        for i in range(k):
            if i % 2:
                yield i
            elif i:
                y = i + 1
                yield y if i else 0
        if not k:
            return
        z = (yield k) if k else 1
        yield z

    return list(count(n))


@case(0, 1)
def coroutines(x):
    async def value():
        return x

    async def ask():
        y = await value() if x else 5
        if y > 1:
            y = 7
        if x:
            y += await value()
        elif y:
            return [v async for v in many()] if y else None
        return y

    async def many():
        yield 1

    return asyncio.run(ask())


def doubled(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args) * 2 if args else None

    return wrapper


@case(0, 1)
@doubled
def decorated(x):
    if x:
        return 3
    return 4


@case(0, 1)
def frames(x):
    y = 2
    if x:
        y = 3
        z = sorted(locals())
    else:
        z = eval("x + y")
    seen = dict(locals()), dir(), sorted(vars())
    if y == 2:
        return seen
    return seen, z


@case(0, 1)
def lambdas(x):
    pick = lambda a, b=x or 4: a if a > b else -b
    both = (lambda a: a and x), (lambda a: a or x)
    walrus = lambda a: (b := a) and (c := b + 1) and c
    return pick(1), pick(9), [f(0) for f in both], walrus(x)


@case(0, 1)
def class_body(x):
    class Body:
        flag = x
        if flag:
            value: int = 1
        else:
            value: str = "two"
        chosen = "yes" if flag else "no"
        both = flag and value
        between = 0 < flag < 2
        values = tuple(v for v in (flag, value) if v)

        def get(self):
            return self.value if self.flag else None

    return Body.value, Body.chosen, Body.both, Body.between, Body.values, Body().get()


@case(0, 1)
def asserts(x):
    assert x, "must be true"
    return x


@case(0, 1)
def shadowed(x):
    def locals():
        return 1 if x else 2

    if x:
        y = locals()
    else:
        y = 0
    return y


@case(0, 1)
def multiline(x):
    y = (
        """a
  b"""
        if x
        else (1 / x)
    )
    return y


@case((), (1,), (2,), ("a",))
def wrong_calls(*args):
    def one(a):
        if a > 1:
            return a.missing
        return a

    return one(*args)


@case("a", "abc", " ")
def chained_methods(x):
    # fmt: off
    return (
        x
        .strip()
        .index("b")
    )
    # fmt: on


@case(0, 1)
def annotated_only(x):
    y: int
    if x:
        y = 1
    return y


@case(0, 1)
def after_return(x):
    if x:
        return 1
    else:
        return 2
    y = 3
    return y


@case(0, 1)
def unbound_in_dead_code(x):
    if x:
        return y
    else:
        return 2
    y = 3


@case((0, 5), (1, 5))
def assigned_parameter(x, y):
    if x:
        y = x
        x = 9
    return x, y


@case(0, 1)
def star_expressions(x):
    items = [*([1] if x else []), *range(2)]
    return [*items, {**({"a": 1} if x else {})}], max(*(items or [0, 1]))


@case(0, 1)
def slices(x):
    items = list(range(10))
    items[1 if x else 2 : 5 if x else 6 : x + 1] = items[::2][: 2 if x else 4]
    return items


IDS = [fn.__name__ for fn, _ in TABLE]


@pytest.mark.parametrize(("fn", "calls"), TABLE, ids=IDS)
@pytest.mark.parametrize("hooks", [Hooks, BothBranches])
def test_converted_does_what_the_function_does(fn, calls, hooks):
    if hooks is BothBranches and fn.__name__ in HAS_EFFECTS:
        pytest.skip("running both branches is not running one")
    converted = convert(fn, hooks(), required=True)
    assert converted is not fn
    for args in calls:
        fresh = [list(arg) if isinstance(arg, list) else arg for arg in args]
        again = [list(arg) if isinstance(arg, list) else arg for arg in args]
        assert outcome(converted, fresh) == outcome(fn, again)


HAS_EFFECTS = {
    "methods",
    "global_names",
    "targets",
    "logic",
    "comparisons",
    "late_binding",
    "handlers",
    "recursion",
}


@pytest.mark.parametrize(
    "body",
    [
        "f(sum(a for e in range(2) if (a and b)))",
        "(lambda: a and b)()",
        "[a and b for e in range(2)]",
        "{(b if a else 0): 1 for e in range(2)}",
        "a and (1 if a else [a and b])",
    ],
)
def test_unbound_variables_of_a_comprehension(body):
    text = f"def f(x): return x\ndef program(a, b):\n    if a: del b\n    return {body}"
    program = define(text)["program"]
    filename = program.__code__.co_filename
    converted = convert(program, Hooks(), required=True)
    assert result_of(converted, [1, 0], filename) == result_of(program, [1, 0], filename)


# ---- what is converted to what -------------------------------------------------------------------


def line_of(fn, offset):
    return fn.__code__.co_firstlineno + offset


def record(fn, *args):
    hooks = Hooks()
    convert(fn, hooks, required=True)(*args)
    return hooks


def test_if_statement_names_and_lines():
    def fn(x):
        if x:
            y = 1
            x.append(y)
        else:
            z = [w for w in x]
            x = z

    ((names, loc, globals_assigned),) = record(fn, []).named("if_statement")
    assert names == ("x", "y", "z")
    assert [loc.test.line, loc.then.line, loc.otherwise.line] == [line_of(fn, k) for k in (1, 2, 5)]
    assert loc.test.file.endswith("test_syntax.py") and str(loc) == str(loc.test)
    assert globals_assigned == ()


def test_if_return_names_include_what_follows():
    def fn(x):
        if x:
            return 1
        y = 2
        if x is None:
            z = 3
            return z
        w = 4
        return w + y

    first, second = record(fn, 0).named("if_return")
    assert first[0] == ("w", "y", "z") and second[0] == ("w", "z")
    assert first[1].otherwise.line == line_of(fn, 3)


def test_globals_are_reported_apart():
    ((names, _, globals_assigned),) = record(global_names, 1).named("if_statement")
    assert names == () and globals_assigned == ("COUNT", "OTHER")


def test_each_conditional_is_one_call():
    def fn(x):
        a = 1 if x else 2
        b = x and a or not a
        c = 0 < x < a
        return a, b, c

    hooks = record(fn, 1)
    assert [len(hooks.named(h)) for h in ("if_expression", "and_", "or_", "not_")] == [1, 2, 1, 0]


KEPT = """
def with_break(x):
    for i in range(2):
        try:
            if x: break
        finally:
            pass
--- an `if` that contains `break`
def with_continue(x):
    for i in range(2):
        try:
            if x: continue
        finally:
            pass
--- an `if` that contains `continue`
def returns_in_loop(x):
    for i in range(2):
        try:
            if x: return i
        finally:
            pass
--- an `if` that contains `return` inside `try ... finally`
def returns_in_with(x):
    with open(__file__):
        if x: return 1
    return 2
--- an `if` that contains `return` inside `with`
def generator(x):
    if x: yield 1
--- an `if` that contains `yield`
def generator_returns(x):
    if x: return
    yield 1
--- an `if` that contains `return` in a generator or coroutine
def asserts(x):
    try:
        assert x
    except ValueError:
        pass
--- an `assert` inside `try`
def comprehension(x):
    return [1 for i in range(2) if x]
--- the `if` of a comprehension
def guard(x):
    match x:
        case y if x: pass
--- the guard of a `case`
def walrus(x):
    return 1 if x else (y := 2)
--- a conditional expression that contains `:=`
def lazy_walrus(x):
    return x or (y := 2)
--- an `or` that contains `:=`
def class_body(x):
    class Body:
        if x: y = 1
--- an `if` in a class body
def frame(x):
    if x: locals()
--- an `if` that contains `locals()`
"""


def kept_cases():
    text = ""
    cases = []
    for line in KEPT.strip().split("\n"):
        if line.startswith("--- "):
            cases.append((text, line.removeprefix("--- ")))
            text = ""
        else:
            text += line + "\n"
    return cases


@pytest.mark.parametrize(("text", "why"), kept_cases())
def test_what_is_kept_is_tested(text, why):
    (fn,) = define(text).values()
    hooks = Hooks()
    result = convert(fn, hooks, required=True)(1)
    if inspect.isgenerator(result):
        list(result)
    assert {call[1] for call in hooks.named("test")} == {why}
    test_line = next(
        k for k, line in enumerate(text.split("\n"), 1) if " x" in line and "match" not in line
    )
    assert min(call[0].line for call in hooks.named("test")) == test_line


def test_calls_are_hooked_and_helpers_converted():
    hooks = record(methods, 1)
    called = [fn for fn, _ in hooks.named("call")]
    assert Thing in called and any(getattr(fn, "__name__", "") == "scaled" for fn in called)
    assert super not in called and all(isinstance(loc, Loc) for _, loc in hooks.named("call"))


# ---- identity ------------------------------------------------------------------------------------


def test_looks_like_the_function():
    converted = convert(arguments, Hooks())
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__"):
        assert getattr(converted, name) == getattr(arguments, name)
    assert converted.__kwdefaults__ == arguments.__kwdefaults__
    assert converted.__globals__ is arguments.__globals__
    assert inspect.signature(converted) == inspect.signature(arguments)
    assert converted.__code__.co_firstlineno == arguments.__code__.co_firstlineno
    assert converted.__code__.co_filename == HERE
    assert inspect.getsource(converted) == inspect.getsource(arguments)


def test_shares_closure_cells():
    count = 0

    def fn(x):
        nonlocal count
        if x:
            count += 1
        return later(count)

    def later(x):
        return -x

    converted = convert(fn, Hooks())
    assert converted(1) == -1 and count == 1

    def later(x):
        return x * 10

    assert converted(1) == 20 and count == 2


def test_methods_stay_bound():
    thing = Thing(2)
    converted = convert(thing.scaled, Hooks())
    assert converted.__self__ is thing and converted(5) == 15


def test_is_converted_once():
    converted = convert(nested, Hooks())
    assert is_converted(converted) and not is_converted(nested)
    assert convert(converted, Hooks()) is converted
    assert convert(nested, Hooks()).__code__ is converted.__code__

    def outer():
        def inner(x):
            return x + 1

        return inner

    inner = convert(outer, Hooks())()
    assert convert(inner, Hooks(), required=True) is inner


def test_lambdas_on_one_line():
    first, second, third = (lambda x: x if x else 1), (lambda x: x if x else 2), lambda x: x or 1
    hooks = Hooks()
    converted = [convert(fn, hooks, required=True)(0) for fn in (first, second, third)]
    assert converted == [1, 2, 1]
    assert len(hooks.named("or_")) == 1


def test_multi_line_strings_and_odd_indentation():
    fn = define(
        """
        class A:
                def method(self, x):
                    text = '''
        not indented
                    '''
                    if x:
                        return text
                    return None
        """
    )["A"].method
    assert convert(fn, Hooks(), required=True)(None, 1) == fn(None, 1)


def test_names_in_tracebacks_are_the_users():
    def fn(x):
        if x:
            y = [1 / 0 if x else 2]
        return y

    with pytest.raises(ZeroDivisionError) as raised:
        convert(fn, Hooks())(1)
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert [name for name in frames if name == "fn"] == ["fn"] * 3
    assert not any("__graphc" in name for name in frames)
    last = raised.traceback[-1].frame.code.raw
    assert is_synthetic(last) and not is_synthetic(fn.__code__)
    assert is_synthetic(last) and last.co_qualname == fn.__code__.co_qualname + ".<branch>"


def test_qualified_names_of_what_branches_define():
    def fn(x):
        if x:

            class Local:
                def method(self):
                    return lambda: 0

            return Local, Local().method(), (lambda: 1) if x else 0

    for mine, original in zip(convert(fn, Hooks())(1), fn(1), strict=True):
        assert mine.__qualname__ == original.__qualname__


# ---- sizes ---------------------------------------------------------------------------------------


def test_deep_nesting_stays_small():
    def sizes(depth):
        lines = ["def fn(x):", "    y = 0"]
        for k in range(depth):
            lines.append("    " * (k + 1) + f"if x > {k}:")
            lines.append("    " * (k + 2) + f"y += {k}")
        fn = define("\n".join([*lines, "    return y"]))["fn"]
        converted = convert(fn, Hooks(), required=True)
        assert [converted(k) for k in range(20)] == [fn(k) for k in range(20)]
        return code_size(converted.__code__)

    assert sizes(18) < 3 * sizes(9)


@pytest.mark.parametrize("statement", ["y = {}", "return {}"])
def test_long_chains_of_elif(statement):
    lines = ["def fn(x):", "    y = 0", "    if x == 0: y = -1"]
    lines += [f"    elif x == {k}: {statement.format(k)}" for k in range(1, 50)]
    fn = define("\n".join([*lines, "    return y + 1"]))["fn"]
    converted = convert(fn, Hooks(), required=True)
    assert [converted(k) for k in range(60)] == [fn(k) for k in range(60)]


def test_many_early_returns():
    lines = ["def fn(x):"]
    for k in range(60):
        lines += [f"    if x == {k}:", f"        if x % 2: return {k}", "        x += 1"]
    fn = define("\n".join([*lines, "    return -x"]))["fn"]
    converted = convert(fn, Hooks(), required=True)
    assert [converted(k) for k in range(70)] == [fn(k) for k in range(70)]


def code_size(code):
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return len(code.co_code) + sum(map(code_size, inner))


# ---- no source -----------------------------------------------------------------------------------

_counter = iter(range(10**9))


def define(source, readable=True):
    """Run `source` as a file of its own would be; the functions and classes that it defines."""
    text = textwrap.dedent(source).strip("\n") + "\n"
    filename = f"<test {next(_counter)}>"
    if readable:
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    module = {"__name__": "made", "__file__": HERE}
    before = set(module)
    exec(compile(text, filename, "exec"), module)
    return {k: v for k, v in module.items() if k not in before and k != "__builtins__"}


def test_no_source():
    fn = define("def fn(x): return 1 if x else 2", readable=False)["fn"]
    assert convert(fn, Hooks()) is fn
    with pytest.raises(errors.NoSourceError, match=r"source of fn is needed.*gc\.cond"):
        convert(fn, Hooks(), required=True)


def test_not_a_python_function():
    assert convert(len, Hooks()) is len
    with pytest.raises(errors.NoSourceError, match="source of len is needed"):
        convert(len, Hooks(), required=True)


def test_changed_file(tmp_path, monkeypatch):
    path = tmp_path / "changing.py"
    path.write_text("def fn(x):\n    return 1 if x else 2\n\ndef other(x):\n    return not x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import changing

    assert convert(changing.other, Hooks(), required=True)(1) is False
    path.write_text("def fn(x):\n    return 1 if x else 33\n\ndef other(x):\n    return not x\n")
    with pytest.raises(errors.NoSourceError, match="changed since it was imported"):
        convert(changing.fn, Hooks(), required=True)


def test_broken_file(tmp_path):
    fn = define("def fn(x): return 1 if x else 2")["fn"]
    name = fn.__code__.co_filename
    linecache.cache[name] = (1, None, ["def fn(:\n"], name)
    with pytest.raises(errors.NoSourceError, match="is not Python as it stands"):
        convert(fn, Hooks(), required=True)


def test_future_annotations_and_optimisation():
    fn = define(
        """
        from __future__ import annotations
        def fn(x: Missing = 1) -> AlsoMissing:
            if x:
                def inner(y: Nowhere): return y
            else:
                inner = None
            return inner
        """
    )["fn"]
    inner = convert(fn, Hooks(), required=True)(1)
    assert inner.__annotations__ == {"y": "Nowhere"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new syntax")
def test_type_parameters():
    fn = define(
        """
        class A[S]:
            def fn[T](self, x: T):
                type Pair = tuple[T, S]
                def inner[U](y: U = x if x else 1) -> U:
                    if y: return T, U, S
                return inner(1)[0] if x else Pair.__value__
        """
    )["A"].fn
    converted = convert(fn, Hooks(), required=True)
    assert converted.__type_params__ == fn.__type_params__
    assert [converted(None, x) for x in (0, 1)] == [fn(None, x) for x in (0, 1)]


# ---- random programs -----------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d"]
names = st.sampled_from(NAMES)
expressions = st.recursive(
    st.one_of(names, st.integers(-2, 2).map(str)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "<", "==", "and", "or"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} < {p[1]} <= {p[2]})"),
        inner.map(lambda e: f"(not {e})"),
        inner.map(lambda e: f"f({e})"),
        st.tuples(inner, inner).map(lambda p: f"sum({p[0]} for e in range(2) if {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"len([{p[0]} for e in [{p[1]}] if e])"),
    ),
    max_leaves=4,
)


@st.composite
def suites(draw, depth=3):
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        lines += draw(statements(depth))
    return lines


@st.composite
def statements(draw, depth):
    kinds = ["assign", "assign", "augment", "return", "delete"]
    kind = draw(st.sampled_from(kinds + (["if"] * 5 + ["for", "with"] if depth else [])))
    if kind == "assign":
        return [f"{draw(names)} = {draw(expressions)}"]
    if kind == "augment":
        return [f"{draw(names)} += {draw(expressions)}"]
    if kind == "return":
        return [f"return {draw(expressions)}"]
    if kind == "delete":
        return [f"del {draw(names)}"]
    indented = textwrap.indent("\n".join(draw(suites(depth=depth - 1))), "    ").split("\n")
    if kind == "for":
        leave = draw(st.sampled_from(["pass", "break", "continue"]))
        test = draw(expressions)
        return [f"for {draw(names)} in range(2):", *indented, f"    if {test}: {leave}"]
    if kind == "with":
        return ["with suppress(TypeError):", *indented]
    result = [f"if {draw(expressions)}:", *indented]
    for header in draw(st.sampled_from([[], ["else:"], ["elif"], ["elif", "else:"]])):
        header = f"elif {draw(expressions)}:" if header == "elif" else header
        inner = draw(suites(depth=depth - 1))
        result += [header, *textwrap.indent("\n".join(inner), "    ").split("\n")]
    return result


def result_of(fn, args, filename):
    try:
        return fn(*args)
    except Exception as error:  # noqa: BLE001
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == filename]
        return type(error), str(error), lines[-1]


@settings(max_examples=50, deadline=None)
@given(suites(), st.lists(st.integers(-2, 2), min_size=2, max_size=2))
def test_random_programs(body, args):
    text = "from contextlib import suppress\ndef f(x): return x\ndef program(a, b):\n"
    text += textwrap.indent("\n".join(body), "    ")
    try:
        program = define(text)["program"]
    except SyntaxError:  # a `break` that no loop is around
        return
    filename = program.__code__.co_filename
    expected = result_of(program, args, filename)
    for hooks in (Hooks(), BothBranches()):
        converted = convert(program, hooks, required=True)
        assert result_of(converted, args, filename) == expected, text
