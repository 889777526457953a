"""The kernel of a routine under construction: copies, and calls on each of a batch of parts."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dims import Size
from graphc.ir import Eqn, Graph, Lit, Type, Var
from graphc.runtime.kernel import (
    Access,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Native,
    Statement,
    Store,
)
from graphc.runtime.sizes import applied, largest

Pair = tuple[int, int]


class Calls:
    """Buffers of the operands, results and working memory, and a loop over `count` parts.

    An access has a stride for the part, which is all that a routine touches of it; what `copied`
    loops over has axes of its own.
    """

    def __init__(self, eqn: Eqn, offsets: Sequence[Size]):
        body: Graph = eqn.attrs["body"]
        (self.eqn,) = body.eqns
        params = body.params
        self.count: Size = 1
        self.axes: list[int] = []
        self.names = 0
        self.offsets = offsets
        self.buffers = [
            Buffer(f"x{i}", param.type.dtype, param.type.size, "in")
            for i, param in enumerate(params)
        ]
        self.position = {param: i for i, param in enumerate(params)}
        self.outs: dict[int, int] = {}
        for number, out in enumerate(self.eqn.outs):
            if out in body.outs:
                self.outs[number] = len(params) + body.outs.index(out)
        self.buffers += [
            Buffer(f"y{i}", out.type.dtype, out.type.size, "out") for i, out in enumerate(body.outs)
        ]

    def operand(self, i: int, step: Size) -> Access:
        """Operand i, `step` elements further on for each part."""
        atom = self.eqn.ins[i]
        assert isinstance(atom, Var), "lowering puts literals into memory"
        return self._access(self.position[atom], step)

    def result(self, step: Size, i: int = 0) -> Access:
        """Result i; one that nothing reads is written to working memory."""
        if i in self.outs:
            return self._access(self.outs[i], step)
        type = self.eqn.outs[i].type
        return self.scratch(type.dtype, step)

    def scratch(self, dtype: str, size: Size) -> Access:
        """Working memory that every part uses again."""
        whole = applied(largest, size, 1)
        self.buffers.append(Buffer(f"work{len(self.buffers)}", dtype, whole, "scratch"))
        return Access(len(self.buffers) - 1, 0, (0,))

    def _access(self, buffer: int, step: Size) -> Access:
        return Access(buffer, self.offsets[buffer], (step,))

    def copied(
        self, source: Access, target: Access, shape: Pair, read: Pair, write: Pair, keep: str = ""
    ) -> Statement:
        """Copy a matrix of `shape`, with strides for reading and writing.

        `keep` is "lower" or "upper": outside of that triangle the copy is 0.
        """
        row, column = (1 + len(self.axes) + i for i in (0, 1))
        self.axes += shape
        lead = (0,) * (row - 1)
        dtype = self.buffers[source.buffer].dtype
        value: Name | Lit = self._fresh(dtype)
        load = Access(source.buffer, source.offset, (*source.strides[:1], *lead, *read))
        store = Access(target.buffer, target.offset, (*target.strides[:1], *lead, *write))
        body: list[Statement] = [Load(value, load)]  # type: ignore[arg-type]
        if keep:
            i, j, inside, kept = (self._fresh(t) for t in ("i64", "i64", "bool", dtype))
            comparison = "less_equal" if keep == "lower" else "greater_equal"
            body += [
                Index(i, row),
                Index(j, column),
                Compute(inside, comparison, (j, i)),
                Compute(kept, "where", (inside, value, Lit(0.0, Type(dtype)))),
            ]
            value = kept
        body.append(Store(store, value))
        return Loop((row,), False, (Loop((column,), True, tuple(body)),))

    def _fresh(self, dtype: str) -> Name:
        self.names += 1
        return Name(self.names, dtype)

    def kernel(self, name: str, statements: Sequence[Statement]) -> Kernel:
        rank = 1 + len(self.axes)
        loop = Loop((0,), False, tuple(_padded(s, rank) for s in statements))
        domain = (self.count, *self.axes)
        return Kernel(name, domain, tuple(self.buffers), (loop,) if 0 not in domain else ())


def _padded(statement: Statement, rank: int) -> Statement:
    """Accesses with a stride for every axis of the kernel."""
    match statement:
        case Loop(body=body):
            return statement._replace(body=tuple(_padded(s, rank) for s in body))
        case Load(access=access) | Store(access=access):
            return statement._replace(access=_widened(access, rank))
        case Native(arguments=arguments):
            widened = (_widened(a, rank) if isinstance(a, Access) else a for a in arguments)
            return statement._replace(arguments=tuple(widened))
    return statement


def _widened(access: Access, rank: int) -> Access:
    return access._replace(strides=access.strides + (0,) * (rank - len(access.strides)))
