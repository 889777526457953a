"""Loops while tracing: what `syntax.convert` turns `while` and `for` into.

A loop whose test, or whose number of iterations, is traced becomes one `while` equation.  One whose
number of iterations is known is unrolled if it is short, or if its body needs to know in which
iteration it is (a list, a shape, a key); otherwise it becomes one `scan` equation.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

from graphc import errors
from graphc.dims import Dim, Size
from graphc.ir import Lit, Loc, Type
from graphc.ops import index as index_ops
from graphc.trace import conditionals
from graphc.trace.iterables import Elements, elements_of, is_changed, is_traced
from graphc.trace.loop_equations import Items, emit_scan, emit_while
from graphc.trace.loop_state import GetState, LoopState, SetState, Unstable
from graphc.trace.loop_values import Body, Slot
from graphc.trace.scope import LoopNote, Storage, current, is_tracing, open_scope
from graphc.trace.syntax import Site
from graphc.trace.tracer import Tracer, lift

FEW = 4
"""So many iterations are always unrolled."""

SHORT = 64
"""So many equations, over all iterations, are unrolled."""

LIMIT = 50_000
"""So many equations of one unrolled loop are an error: a program of that size takes minutes."""

PATIENCE = 8
"""So many iterations of a `while` whose test is known are unrolled before a node is tried."""


class _Loop:
    """One loop statement: its functions, and the names that they share."""

    def __init__(
        self, body: Callable[..., None], get_state: GetState, set_state: SetState, site: Site
    ):
        self.body = body
        self.get_state = get_state
        self.set_state = set_state
        self.site = site

    @property
    def loc(self) -> Loc:
        loc: Loc = self.site.loc.test
        return loc

    def state(self) -> LoopState:
        if self.site.globals_assigned:
            raise errors.UnsupportedSyntaxError(
                f"a loop over traced values assigns the global {self.site.globals_assigned[0]!r};"
                " use a local variable and return it",
                self.loc,
            )
        return LoopState(self.get_state, self.set_state, self.site)

    def stopped(self) -> Any:
        """Whether `break` or `return` has ended the loop."""
        if not self.site.stops:
            return False
        state = dict(zip(self.site.names, self.get_state(), strict=True))
        stopped: Any = False
        for name in self.site.stops:
            stopped = conditionals.or_(stopped, lambda name=name: state[name], loc=self.site.loc)
        return stopped

    def unless_stopped(self, function: Callable[[], Any]) -> Any:
        """`not stopped and function()`, where the function may assign names."""
        stopped = self.stopped()
        if not isinstance(stopped, Tracer):
            return False if stopped else function()
        result = [False]

        def get_state() -> tuple[Any, ...]:
            return (*self.get_state(), result[0])

        def set_state(values: Iterable[Any]) -> None:
            *names, result[0] = values
            self.set_state(names)

        def otherwise() -> None:
            result[0] = function()

        names = (*self.site.names, "the test of the loop")
        conditionals.if_statement(
            stopped, _nothing, otherwise, get_state, set_state, names, self.site.loc
        )
        return result[0]

    def note(self, form: str, reason: str) -> None:
        current().session.loops[self.loc] = LoopNote(self.loc, form, reason)


def _nothing() -> None:
    """What remains of an iteration after the loop has stopped."""


# ---- while ---------------------------------------------------------------------------------------


def while_statement(
    test: Callable[[], Any],
    body: Callable[[], None],
    get_state: GetState,
    set_state: SetState,
    site: Site,
) -> None:
    """`while test(): body()`, until one of `site.stops` is true."""
    loop = _Loop(body, get_state, set_state, site)
    count = 0
    start = _equations()
    while True:
        go = loop.unless_stopped(test)
        if isinstance(go, Tracer) and not isinstance(go.storage.atom, Lit):
            return _while_node(loop, test, go, "its test depends on data")
        if not go:
            return None
        if is_tracing() and count == 0 and site.stops and _stops_on_data(loop):
            return _while_node(loop, test, True, "it stops on data")
        if count >= PATIENCE and _equations() > start:
            try:
                return _while_node(loop, test, True, f"more than {PATIENCE} iterations")
            except Unstable:
                _expect_within_limit(loop, start, count, "its test needs values that are known")
        body()
        count += 1


def _stops_on_data(loop: _Loop) -> bool:
    """Whether an iteration leaves it to a traced value whether there is another one.

    A loop of the same place and types has the same answer: where it has not, as `while` equation it
    computes the same.
    """
    state = loop.state()
    known = current().session.loops_stopping
    question = state.question()
    if question in known:
        loop.set_state(state.originals())
        return True
    with open_scope("trial") as scope:
        try:
            loop.body()
            stops = isinstance(loop.stopped(), Tracer)
        except Exception:  # noqa: BLE001 - the iteration itself will raise it
            stops = False
        finally:
            scope.undo_writes()
            state.watched.restore()
            loop.set_state(state.originals())
    if stops:
        known.add(question)
    return stops


def _while_node(loop: _Loop, test: Callable[[], Any], go: Any, reason: str) -> None:
    state = loop.state()

    def run() -> Any:
        loop.body()
        return loop.unless_stopped(test)

    try:
        body, again = state.trace(run)
    except Unstable as problem:
        if isinstance(go, Tracer):
            raise problem.error from None
        raise
    if not isinstance(again, Tracer):
        if not again:
            return _at_most_once(loop, go)
        raise Unstable(_endless(loop), "its test never depends on data")
    loop.note("while", reason)
    emit_while(state, body, go, again)
    return None


def _at_most_once(loop: _Loop, go: Any) -> None:
    """A `while` whose test is known to be false after an iteration is an `if`."""
    conditionals.if_statement(
        go, loop.body, _nothing, loop.get_state, loop.set_state, loop.site.names, loop.site.loc
    )


def _endless(loop: _Loop) -> errors.GraphcError:
    return errors.UnsupportedSyntaxError(
        "the test of this loop is always true after an iteration, so that it never ends; change in"
        " its body what the test reads",
        loop.loc,
    )


# ---- for -----------------------------------------------------------------------------------------


def for_statement(
    iterable: Iterable[Any],
    body: Callable[[Any], None],
    get_state: GetState,
    set_state: SetState,
    site: Site,
) -> None:
    """`for item in iterable: body(item)`, until one of `site.stops` is true."""
    loop = _Loop(body, get_state, set_state, site)
    elements = elements_of(iterable) if is_tracing() else None
    if elements is None:
        _unroll(loop, iterable, "it goes over Python objects")
    else:
        _for_elements(loop, elements, peeled=False)


def _for_elements(loop: _Loop, elements: Elements, peeled: bool) -> None:
    length = elements.length
    if isinstance(length, Tracer):
        _for_unknown(loop, elements, length)
    elif not isinstance(length, Dim) and length <= FEW and not peeled:
        _unroll(loop, elements, f"{length} iterations")
    elif length:
        try:
            _for_known(loop, elements, length)
        except Unstable as problem:
            if peeled or length == 1:
                return _unroll(loop, elements, problem.reason)
            loop.body(elements.first())
            if isinstance(loop.stopped(), Tracer):
                return _unroll(loop, elements.rest(1), problem.reason)
            if not loop.stopped():
                _for_elements(loop, elements.rest(1), peeled=True)
    return None


def _for_unknown(loop: _Loop, elements: Elements, length: Tracer) -> None:
    """A loop whose number of iterations is traced."""
    try:
        state = loop.state()
        body, items, _ = _trace_items(loop, state, elements, length, sliced=False)
    except Unstable as problem:
        try:
            items_ = iter(elements)  # holds for these int arguments alone, where it can be
        except errors.GraphcError:
            raise problem.error from problem.__cause__
        return _unroll(loop, items_, problem.reason)
    loop.note("while", "the number of iterations depends on data")
    _emit_counted(state, body, operator.gt(length, 0), items)
    return None


def _for_known(loop: _Loop, elements: Elements, length: Size) -> None:
    """A loop of `length` iterations, one or more; raises `Unstable` if it must be unrolled."""
    state = loop.state()
    stops = bool(loop.site.stops)
    body, items, stopped = _trace_items(loop, state, elements, length, sliced=not stops)
    if stops and not isinstance(stopped, Tracer):
        stops = False
        body, items, _ = _trace_items(loop, state, elements, length, sliced=True)
    if not (state.is_traced or body.storages or body.scope.captures or is_traced(elements)):
        return _unroll(loop, elements, "nothing in it is traced")
    if not isinstance(length, Dim) and length * body.size <= SHORT:
        return _unroll(loop, elements, f"{length} iterations of {body.size} operations are few")
    if stops:
        loop.note("while", "it stops on data")
        _emit_counted(state, body, True, items)
    else:
        loop.note("scan", f"{length} iterations of {body.size} operations")
        emit_scan(state, body, items, length)
    return None


def _trace_items(
    loop: _Loop, state: LoopState, elements: Elements, length: Any, sliced: bool
) -> tuple[Body, Items, Any]:
    """The body on one of the elements: of slices of the arrays, or of what is at the index."""
    arrays = [_cut(lift(array), length) for array in elements.arrays()]
    values = [array.value() for array in arrays]

    def run() -> tuple[Items, Any]:
        scope = current()
        index = scope.builder.param(Type("i64"))
        number = Tracer(Storage(index.atom, scope, mutable=False), (), weak=True)
        if sliced:
            slices = [scope.builder.param(v.type.with_shape(v.shape[1:])) for v in values]
        else:
            slices = [index_ops.take(array.value(), index, axis=0) for array in arrays]
        rows = [Tracer(Storage(s.atom, scope, mutable=False), s.shape) for s in slices]
        loop.body(elements.element(number, iter(rows)))
        if is_changed(elements):
            problem = errors.UnsupportedSyntaxError(_CHANGED, loop.loc)
            raise Unstable(problem, _CHANGED)
        stopped = loop.stopped()
        if sliced:
            return Items(index, tuple(values), tuple(slices)), stopped
        again = conditionals.not_(stopped, loop.loc)
        inside = operator.lt(operator.add(number, 1), length)
        return Items(index, (), (), operator.and_(inside, again)), stopped

    try:
        body, (items, stopped) = state.trace(run)
    except (Unstable, errors.UnrestorableError):
        raise
    except Exception as error:
        raise Unstable(error, _needs(error)) from error
    return body, items, stopped


_CHANGED = "its body changes the list that it goes over"


def _needs(error: Exception) -> str:
    if isinstance(error, errors.ConcreteValueError):
        return f"its body needs a known value: {error}"
    return f"{type(error).__name__} for an element that is not known: {error}"


def _cut(array: Tracer, length: Any) -> Tracer:
    """The first `length` rows, where that is known."""
    cut = isinstance(length, (int, Dim)) and length != array.shape[0]
    return array[:length] if cut else array


def _emit_counted(state: LoopState, body: Body, go: Any, items: Items) -> None:
    start = current().builder.literal(0, Type("i64"))
    counter = Slot(start, items.index, items.index + 1)
    emit_while(state, body, go, items.again, counter)


# ---- unrolling -----------------------------------------------------------------------------------


def _unroll(loop: _Loop, iterable: Iterable[Any], reason: str) -> None:
    """`for item in iterable: body(item)`, one after the other."""
    if is_tracing():
        loop.note("unrolled", reason)
    start = _equations()
    for count, item in enumerate(iterable):
        stopped = loop.stopped()
        if isinstance(stopped, Tracer):
            loop.unless_stopped(functools.partial(loop.body, item))
        elif stopped:
            return
        else:
            loop.body(item)
        _expect_within_limit(loop, start, count + 1, reason)


def _equations() -> int:
    return len(current().builder.eqns) if is_tracing() else 0


def _expect_within_limit(loop: _Loop, start: int, count: int, reason: str) -> None:
    if _equations() - start > LIMIT:
        raise errors.UnsupportedSyntaxError(
            f"this loop is unrolled, and is {LIMIT} operations long after {count} iterations."
            f"  It cannot be one loop of the graph: {reason}",
            loop.loc,
        )
