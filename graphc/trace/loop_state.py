"""What one iteration of a loop leaves to the next, found by tracing the body.

The body is traced with parameters for the variables that it assigns.  What it leaves in them must
be of the type that it found.  A Python number that becomes a NumPy number (`total = 0.0` before
`total = total + x[i]`), or an int that becomes a float, starts with the type of the fixed point:
the body is traced again with it, until nothing changes.  Arrays that the body assigns into, and
places in lists, dicts and objects, are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphc import errors
from graphc.build import Value, zero_of
from graphc.trace import mutations, syntax, tree
from graphc.trace.branches import UNDEFINED, Unusable, settled
from graphc.trace.loop_memory import Arrays, Found, Question, shapes_of
from graphc.trace.loop_values import Body, Final, Head, Key, Left, Slot, Start
from graphc.trace.merging import Shown, with_traced
from graphc.trace.parking import Parked, is_same
from graphc.trace.promotion import cast_to, holds_number
from graphc.trace.scope import Scope, Storage, current, open_scope, reenter
from graphc.trace.tracer import Tracer

GetState = Callable[[], tuple[Any, ...]]
SetState = Callable[[Iterable[Any]], None]

ROUNDS = 20
"""How often a body is traced before its types count as unstable: each round widens something."""


class Unstable(Exception):
    """A loop whose body is not the same graph in every iteration; `error` is for the user."""

    def __init__(self, error: Exception, reason: str):
        self.error = error
        self.reason = reason
        super().__init__(reason)


class LoopState:
    """The variables of a loop, and what is known of them before its body is traced."""

    def __init__(self, get_state: GetState, set_state: SetState, site: syntax.Site):
        self.get_state = get_state
        self.set_state = set_state
        self.site = site
        self.before: dict[Key, Any] = dict(zip(site.names, get_state(), strict=True))
        self.untraced = {k: x for k, x in self.before.items() if not isinstance(x, Tracer)}
        self.parked: dict[Key, Parked] = {}
        seen = mutations.visible()
        self.watched = mutations.Watched(seen)
        self.arrays = Arrays(seen)
        self.inits: dict[Key, Any] = {}
        self.storages: list[Storage] = []
        self.is_traced = False
        self.doubtful: dict[Key, Any] = {}
        self._begin()

    def _begin(self) -> None:
        """Carry the names that the body is expected to rebind, from the types that they have."""
        for name in self.site.names:
            if self._is_rebound(name, self.before[name]):
                self._carry(name, self.before[name])
            elif (known := settled(self.before[name])) is not self.before[name]:
                self.doubtful[name] = known  # the body may give it a value, but not find one

    def _is_rebound(self, name: Key, value: Any) -> bool:
        """Whether the body is expected to give `name` another value of the same structure."""
        if _is_no_value(value) or settled(value) is not value:
            return False
        leaves = tree.flatten(value)[0]
        in_place = name in self.site.augmented and any(
            isinstance(leaf, Tracer) and leaf.storage.mutable for leaf in leaves
        )
        return bool(leaves) and not in_place

    def _carry(self, key: Key, value: Any) -> None:
        leaves = tree.flatten(value)[0]
        self.is_traced |= any(isinstance(leaf, Tracer) for leaf in leaves)
        self.inits[key] = tree.map_leaves(Start.of, value)
        if isinstance(value, Tracer) and isinstance(key, str):
            self.parked[key] = Parked(value)
            self.before[key] = None

    def originals(self) -> list[Any]:
        """What the names held before the loop."""
        return [
            self.parked[name].value() if name in self.parked else value
            for name, value in self.before.items()
        ]

    # ---- rounds ----------------------------------------------------------------------------------

    def trace(self, run: Callable[[], Any]) -> tuple[Body, Any]:
        """Trace the body until its types are stable: it, and what `run` gave.

        Raises `Unstable` if they never are.
        """
        found_before = current().session.loops_traced
        question = self.question()
        known = found_before.get(question)
        if known is not None:
            try:
                self._begin_with(known)
                return self._search(run)
            except Exception:  # noqa: BLE001 - the search from the start will raise it
                del found_before[question]
                self._begin_anew()
        found = self._search(run)
        found_before[question] = Found(shapes_of(self.inits), self.arrays.numbers(self.storages))
        return found

    def question(self) -> Question:
        """Which loop this is, and the types that it begins with."""
        return self.site.loc.test, shapes_of(self.inits)

    def _search(self, run: Callable[[], Any]) -> tuple[Body, Any]:
        for _ in range(ROUNDS):
            found = self._round(run)
            if found is not None:
                return found
        raise self._unstable("what it carries", "grows in every iteration")

    def _begin_with(self, known: Found) -> None:
        """Carry what the same loop carried before, from values of the same types."""
        for key, structure, types in known.carried:
            leaves, now = tree.flatten(self.inits.get(key, self._before(key)))
            if now != structure:
                now = with_traced(now, structure, current())
            if key not in self.inits or now != tree.flatten(self.inits[key])[1]:
                self._carry(key, tree.unflatten(now, leaves))
            starts, now = tree.flatten(self.inits[key])
            if now == structure:
                cast = [start.cast_like(*row) for start, row in zip(starts, types, strict=True)]
                self.inits[key] = tree.unflatten(structure, cast)
        self.storages = self.arrays.storages(known.arrays)

    def _begin_anew(self) -> None:
        self.before.update(zip(self.site.names, self.originals(), strict=True))
        self.before.update(self.untraced)
        self.parked, self.inits, self.storages, self.doubtful = {}, {}, [], {}
        self._begin()

    def _round(self, run: Callable[[], Any]) -> tuple[Body, Any] | None:
        session = current().session
        specialised = dict(session.specialisations)
        memory = [current().read(storage) for storage in self.storages]
        with open_scope("body") as scope:
            heads = {k: Head(init, scope) for k, init in self.inits.items()}
            params = [self._enter(storage, scope) for storage in self.storages]
            try:
                self._put(heads)
                given = run()
                left = self._left(heads, scope)
            finally:
                written = scope.undo_writes()
                self.watched.restore()
                self.set_state(self.originals())
        body = Body(scope)
        stable = [self._compare(body, key, heads, row) for key, row in left.items()]
        new = [storage for storage in written if storage not in self.storages]
        self.storages += new
        if new or not all(stable):
            session.specialisations.clear()
            session.specialisations.update(specialised)
            return None
        for storage, start, param in zip(self.storages, memory, params, strict=True):
            body.storages[storage] = len(body.slots)
            body.slots.append(Slot(start, param, written[storage]))
        return body, given

    def _enter(self, storage: Storage, scope: Scope) -> Value:
        """Make an array of the scope around the body hold a parameter of it."""
        param = scope.builder.param(storage.type)
        scope.write(storage, param)
        return param

    def _put(self, heads: dict[Key, Head]) -> None:
        start = {**self.doubtful, **{key: head.value() for key, head in heads.items()}}
        self.set_state([start.get(name, value) for name, value in self.before.items()])
        entries = {key: value for key, value in start.items() if isinstance(key, mutations.Entry)}
        self.watched.put(entries, UNDEFINED)

    def _left(self, heads: dict[Key, Head], scope: Scope) -> dict[Key, Any]:
        """What the body left in the names and places that it may have changed."""
        self.watched.expect_arrays_unchanged()
        self.watched.expect_globals_unchanged()
        now: dict[Key, Any] = {key: self._before(key) for key in heads}
        now.update(zip(self.site.names, self.get_state(), strict=True))
        for name, unusable in self.doubtful.items():
            if now[name] is unusable:
                now[name] = self._before(name)
        now.update(self.watched.changes(UNDEFINED).items())
        now = {key: settled(value) for key, value in now.items()}
        return {
            key: value if _is_no_value(value) else Left.of(value, scope)
            for key, value in now.items()
            if key in heads or not is_same(value, self._before(key))
        }

    def _before(self, key: Key) -> Any:
        if isinstance(key, mutations.Entry):
            return self.watched.before(key, UNDEFINED)
        return self.before[key]

    # ---- comparing -------------------------------------------------------------------------------

    def _compare(self, body: Body, key: Key, heads: dict[Key, Head], left: Any) -> bool:
        """Add a name or place to the body; False where another round must carry something else."""
        if _is_no_value(left):
            if isinstance(key, mutations.Entry):
                raise self._unstable(f"a {key.kind}", "shrinks in every iteration")
            body.gone[key] = left
            return True
        if key in heads:
            return self._pair(body, key, heads[key], left)
        known = self._before(key)
        if _is_no_value(known) or settled(known) is not known:
            if isinstance(key, mutations.Entry):
                raise self._unstable(f"a {key.kind}", "grows in every iteration")
            self._add_late(body, key, left)
            return True
        leaves, structure = tree.flatten(known)
        if not leaves and structure == left.structure:
            return True
        if not leaves:
            return self._widen_bools(key, known, left)
        self._carry(key, known)
        return False

    def _pair(self, body: Body, key: Key, head: Head, left: Left) -> bool:
        """Carry what the body found in `key` and what it left there; False if the types grow."""
        structure = head.structure
        if structure != left.structure:
            left = left.with_bools_of(structure, body.scope)
        if structure != left.structure:
            return self._widen_bools(key, self.inits[key], left)
        inits = tree.flatten(self.inits[key])[0]
        grown = []
        for i, (leaf, init) in enumerate(zip(left.leaves, inits, strict=True)):
            start = self._joined(key, i, structure, leaf, init)
            grown.append(start.also(left.aliases[i]))
        if any(new is not old for new, old in zip(grown, inits, strict=True)):
            self.inits[key] = tree.unflatten(structure, grown)
            return False
        first = len(body.slots)
        for init, param, value in zip(inits, head.params, left.values, strict=True):
            with reenter(body.scope):
                after = cast_to(value, param.dtype)
            body.slots.append(Slot(init.value, param, after))
        body.finals[key] = Final(
            structure,
            tuple(range(first, len(body.slots))),
            tuple(head.weak),
            tuple(left.aliases),
            tuple(init.aliases for init in inits),
        )
        return True

    def _joined(
        self, key: Key, i: int, structure: tree.Structure, left: Tracer, init: Start
    ) -> Start:
        """What a leaf starts from so that it keeps its type: `init`, perhaps as another type."""
        if init.type == left.type and (left.weak or not init.weak):
            return init
        if init.type.shape == left.shape:
            dtype = init.type.dtype
            if init.weak and not left.weak and holds_number(left.dtype_name, dtype):
                return init.cast(left.dtype_name, weak=False)
            if init.weak and left.weak:
                return init.cast("c128" if "c128" in (dtype, left.dtype_name) else "f64", weak=True)
            if left.weak and holds_number(dtype, left.dtype_name):
                return init
        name = list(tree.paths(structure, key if isinstance(key, str) else repr(key)))[i]
        raise self._unstable(
            f"`{name}`", f"is {init.type} before an iteration and {left.type} after it"
        )

    def _widen_bools(self, key: Key, init: Any, left: Left) -> bool:
        """Carry the bools of `key` that the body changes; that is for another round."""
        leaves, structure = tree.flatten(init)
        widened = with_traced(structure, left.structure, current())
        if widened == structure:
            shown = tree.unflatten(left.structure, [Shown(x.type) for x in left.leaves])
            raise self._unstable(
                f"`{key}`", f"is {_describe(init)} before an iteration and {shown!r} after it"
            )
        self._carry(key, tree.unflatten(widened, leaves))
        return False

    def _add_late(self, body: Body, key: Key, left: Left) -> None:
        """A name that has a value after an iteration only; the body never finds one in it."""
        first = len(body.slots)
        builder = current().builder
        for after in left.values:
            start = builder.literal(zero_of(after.dtype), after.type)
            body.slots.append(Slot(start, body.scope.builder.param(after.type), after))
        results = tuple(range(first, len(body.slots)))
        weak = tuple(leaf.weak for leaf in left.leaves)
        body.finals[key] = Final(left.structure, results, weak, tuple(left.aliases))

    def _unstable(self, what: str, how: str) -> Unstable:
        message = (
            f"in a loop over traced values, {what} {how}; give it its final structure, shape and"
            " dtype before the loop (np.zeros(shape, dtype), .astype)"
        )
        return Unstable(errors.CarriedTypeError(message, self.site.loc.test), f"{what} {how}")


# ---- pieces --------------------------------------------------------------------------------------


def _is_no_value(value: Any) -> bool:
    """Whether a name has no value, or one that cannot be used."""
    return value is UNDEFINED or any(isinstance(x, Unusable) for x in tree.flatten(value)[0])


def _describe(init: Any) -> str:
    return repr(tree.map_leaves(lambda leaf: Shown(Start.of(leaf).type), init))
