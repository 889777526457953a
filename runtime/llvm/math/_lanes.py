"""Control flow that depends on lanes: what the rows need that cannot be branch-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import BITS, UNSIGNED, Reg


def is_float(x: Reg) -> bool:
    return x.elem in ("float", "double")


def is_unsigned(x: Reg) -> bool:
    """Whether x is an integer, or a bool, without a sign."""
    return x.elem in UNSIGNED or x.elem == "i1"


def is_constant(x: Reg) -> bool:
    """Whether x is written as a literal: LLVM folds what is computed from it alone."""
    return not x.text.startswith("%")


def any_lane(f: Function, mask: Reg) -> Reg:
    """The scalar `or` of all lanes of an integer (or i1) vector."""
    if mask.lanes == 1:
        return mask
    name = f"llvm.vector.reduce.or.v{mask.lanes}i{mask.elem[1:]}"
    f.module.declare(name, mask.elem, [mask.type])
    return f.call(name, [mask], mask.elem)


def while_any(
    f: Function,
    start: Sequence[Reg],
    unfinished: Callable[..., Reg],
    step: Callable[..., Sequence[Reg]],
) -> list[Reg]:
    """Repeat `step` on the carried registers while `unfinished` holds in some lane.

    The step runs on all lanes: it must leave the value of a finished lane as good as it was.
    """
    head, body, latch, after = (f.name_of(p) for p in ("while", "body", "latch", "done"))
    before = f.block
    following = [Reg(f"%{f.name_of('n')}", reg.elem, reg.lanes) for reg in start]
    f.branch(head)
    f.label(head)
    carried = [
        f.phi(reg.elem, reg.lanes, [(reg, before), (later, latch)])
        for reg, later in zip(start, following, strict=True)
    ]
    f.branch_if(any_lane(f, unfinished(*carried)), body, after)
    f.label(body)
    stepped = step(*carried)
    last = f.block
    f.branch(latch)
    # A block of its own, with phis of one entry: they give the values the names used above.
    f.label(latch)
    for later, reg in zip(following, stepped, strict=True):
        f.line(f"{later.text} = phi {reg.type} [{reg.text}, %{last}]")
    f.branch(head)
    f.label(after)
    return carried


def replace_rare(
    f: Function, rare: Reg, common: Reg, name: str, args: Sequence[Reg], slow: Callable[..., Reg]
) -> Reg:
    """`common`, but slow(*args) in the lanes of `rare`; costs one untaken branch without them.

    `slow` becomes one function in the module, so that its code is compiled once however many
    rows need it.
    """
    full = _function(f.module, name, args, slow)
    block, after = f.name_of("rare"), f.name_of("common")
    before = f.block
    f.branch_if(any_lane(f, rare), block, after)
    f.label(block)
    # `cold` makes LLVM spill registers here and not on the common path.
    text = f"call {common.type} @{full}({', '.join(a.typed for a in args)}) cold"
    replaced = f.select(rare, f.let(text, common.elem, common.lanes), common)
    f.branch(after)
    f.label(after)
    return f.phi(common.elem, common.lanes, [(common, before), (replaced, block)])


def out_of_line(f: Function, name: str, args: Sequence[Reg], body: Callable[..., Reg]) -> Reg:
    """body(*args), of type of the first, as one function in the module for all that need it.

    For long code on single numbers: kernels that share a number compute it each for itself.
    """
    full = _function(f.module, name, args, body)
    return f.call(full, args, args[0].elem, args[0].lanes)


WIDEST = 64
"""Bytes of a vector beyond which `slow` is called on each half: its code is long."""


def _function(module: Module, name: str, args: Sequence[Reg], slow: Callable[..., Reg]) -> str:
    """The name of the function of `slow` for arguments like these, defined if it is not yet."""
    lanes, elem = args[0].lanes, args[0].elem
    full = f"{name}_{elem}_x{lanes}"
    if full in module.functions:
        return full
    parameters = [Reg(f"%a{i}", arg.elem, arg.lanes) for i, arg in enumerate(args)]
    f = Function(module, full, parameters, parameters[0].type)
    if lanes * BITS[elem] > 8 * WIDEST:
        result = _by_halves(f, name, parameters, slow)
    else:
        result = slow(f, *parameters)
    f.line(f"ret {result.typed}")
    module.add(f)
    return full


def _by_halves(f: Function, name: str, args: Sequence[Reg], slow: Callable[..., Reg]) -> Reg:
    results = []
    for part in (0, 1):
        halves = [f.half(arg, part) for arg in args]
        function = _function(f.module, name, halves, slow)
        results.append(f.call(function, halves, args[0].elem, args[0].lanes // 2))
    return f.joined(*results)
