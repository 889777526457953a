"""From a traced body to a `scan` or `while` equation, and to what the names hold after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphc.build import Value
from graphc.dims import Size
from graphc.ir import Graph, Type, Var
from graphc.ops import control as control_ops
from graphc.ops import index as index_ops
from graphc.trace import mutations, syntax, tree
from graphc.trace.branches import UNDEFINED, truth
from graphc.trace.loop_state import LoopState
from graphc.trace.loop_values import Body, Final, Key, Slot
from graphc.trace.scope import Aliases, Scope, Storage, current, reenter
from graphc.trace.tracer import Tracer


@dataclass(frozen=True)
class Items:
    """What a `for` loop takes its elements from: the index, and the arrays with their slices.

    `again` says whether another iteration follows, where that is not known.
    """

    index: Value
    arrays: tuple[Value, ...]
    slices: tuple[Value, ...]
    again: Any = None


def emit_scan(state: LoopState, body: Body, items: Items, length: Size) -> None:
    """The loop as one `scan` equation of a known number of iterations, at least one."""
    captured = _captured(body.scope)
    params = [items.index, *(slot.param for slot in body.slots), *items.slices]
    before = [slot.before for slot in body.slots]
    graph = _graph("body", body.scope, [p.atom for p in params], [s.after for s in body.slots])
    ins = [value.atom for value in (*before, *items.arrays)]
    attrs = {
        "carried": len(body.slots),
        "sequences": len(items.arrays),
        "length": length,
        "reverse": False,
        "body": graph,
    }
    outs = current().builder.emit(control_ops.scan, (*ins, *captured), attrs)
    _leave(state, body, outs, None)


def emit_while(
    state: LoopState, body: Body, go: Any, again: Tracer, counter: Slot | None = None
) -> None:
    """The loop as one `while` equation.  `go` is its test before it, `again` after an iteration.

    The test is carried: it is computed where Python would compute it, once more than the body runs.
    """
    captured = _captured(body.scope)
    with reenter(body.scope):
        following = truth(again)
    builder = current().builder
    start = truth(go) if isinstance(go, Tracer) else builder.literal(True, Type("bool"))
    test = Slot(start, body.scope.builder.param(Type("bool")), following)
    slots = [*body.slots, *([] if counter is None else [counter]), test]
    graph = _graph("body", body.scope, [s.param.atom for s in slots], [s.after for s in slots])
    copies = tuple(Var(param.type) for param in graph.params)
    attrs = {
        "carried": len(slots),
        "test": Graph("test", copies, (), (copies[len(slots) - 1],)),
        "body": graph,
    }
    outs = builder.emit(
        control_ops.while_, (*(slot.before.atom for slot in slots), *captured), attrs
    )
    _leave(state, body, outs, start if isinstance(go, Tracer) else None)


def _captured(scope: Scope) -> list[Any]:
    """What the scope around a body calls the values that the body reads of it."""
    return [scope.outer(var) for var in scope.captures]


def _graph(name: str, scope: Scope, params: Sequence[Any], outs: Sequence[Value]) -> Graph:
    constants = [value.atom for value in scope.captures.values()]
    graph = scope.builder.finish([out.atom for out in outs])
    return graph.replace(name=name, params=(*params, *constants))


# ---- after the loop ------------------------------------------------------------------------------


def _leave(state: LoopState, body: Body, outs: Sequence[Value], ran: Value | None) -> None:
    """Give the names, places and arrays what the loop left; `ran`: whether it had an iteration."""
    scope = current()
    for storage, position in body.storages.items():
        scope.write(storage, outs[position])
    values: dict[Key, Any] = {}
    for key, final in body.finals.items():
        leaves = [_leaf(key, final, i, outs, scope, ran, state) for i in range(len(final.results))]
        values[key] = tree.unflatten(final.structure, leaves)
    values.update(body.gone)
    state.set_state(
        [values.get(n, old) for n, old in zip(state.site.names, state.originals(), strict=True)]
    )
    entries = {key: v for key, v in values.items() if isinstance(key, mutations.Entry)}
    state.watched.put(entries, UNDEFINED)


def _leaf(
    key: Key,
    final: Final,
    i: int,
    outs: Sequence[Value],
    scope: Scope,
    ran: Value | None,
    state: LoopState,
) -> Tracer:
    out = outs[final.results[i]]
    aliases: Aliases = final.aliases[i]
    if ran is not None and final.starts is not None:  # it may be what it was
        aliases = (*aliases, *final.starts[i])
    storage = Storage(out.atom, scope, mutable=bool(out.shape), aliases=aliases)
    if ran is not None and final.starts is None and not syntax.is_added(str(key)):
        storage.unless = _check_of(storage, ran, str(key), state)
    return Tracer(storage, out.shape, weak=final.weak[i])


def _check_of(storage: Storage, ran: Value, name: str, state: LoopState) -> Any:
    """What to do before a name is read that only this loop has assigned."""
    home = current()

    def check() -> None:
        scope = current()
        ok = scope.builder.value(scope.resolve(ran.atom, home))
        index_ops.check(
            ok,
            scope.builder.literal(0, Type("i64")),
            error="UnboundLocalError",
            message=f"cannot access local variable '{name}': the loop at {state.site.loc.test},"
            " which alone assigns it, ran no iteration; give it a value before the loop",
        )
        if scope is home:
            storage.unless = None

    return check
