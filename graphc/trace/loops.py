"""Loops while tracing: what `syntax.convert` turns `while` and `for` into."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphc.trace import conditionals
from graphc.trace.branches import test as untraced
from graphc.trace.syntax import Site
from graphc.trace.tracer import Tracer

GetState = Callable[[], tuple[Any, ...]]
SetState = Callable[[Iterable[Any]], None]


def while_statement(
    test: Callable[[], Any],
    body: Callable[[], None],
    get_state: GetState,
    set_state: SetState,
    site: Site,
) -> None:
    """`while test(): body()`, until one of `site.stops` is true."""
    stopped = _stopped(get_state, site)
    while not stopped and untraced(test(), site.loc.test, "a `while` loop"):
        body()
        stopped = untraced(_stopped(get_state, site), site.loc.test, "`break`")


def for_statement(
    iterable: Iterable[Any],
    body: Callable[[Any], None],
    get_state: GetState,
    set_state: SetState,
    site: Site,
) -> None:
    """`for item in iterable: body(item)`, until one of `site.stops` is true."""
    for item in iterable:
        stopped = _stopped(get_state, site)
        if isinstance(stopped, Tracer):
            thunk = lambda item=item: body(item)  # noqa: E731
            conditionals.if_statement(
                stopped, _nothing, thunk, get_state, set_state, site.names, site.loc
            )
        elif stopped:
            return
        else:
            body(item)


def _nothing() -> None:
    """What remains of an iteration after the loop has stopped."""


def _stopped(get_state: GetState, site: Site) -> Any:
    """Whether `break` or `return` has ended the loop."""
    state = dict(zip(site.names, get_state(), strict=True)) if site.stops else {}
    stopped: Any = False
    for name in site.stops:
        stopped = conditionals.or_(stopped, lambda name=name: state[name], loc=site.loc)
    return stopped
