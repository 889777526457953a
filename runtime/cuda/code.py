"""What a program becomes for a device: one module with the functions of all its kernels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphc import errors
from graphc.ir import ITEM_BYTES, Lit, Type, all_eqns
from graphc.runtime.cuda.emit.module import DeviceModule
from graphc.runtime.cuda.on_processor import OnProcessor
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel, Launches, Limits
from graphc.runtime.cuda.plan.products import MatrixProduct, decided
from graphc.runtime.kernel import Access, Buffer, Compute, Kernel, Load, Name, Store
from graphc.runtime.program import Call, Fail, Item, Program, Root
from graphc.runtime.program import parts as parts_of

STATUS_BYTES = 16
"""The number of the first check that failed, and the value that it names."""


class Prepared(NamedTuple):
    """A kernel as it is launched: its functions, one after the other, and how many bytes there are
    behind each of the pointers of which they are given some."""

    functions: tuple[DeviceKernel, ...]
    sizes: tuple[int, ...]
    product: MatrixProduct | None = None
    """What a library may do instead."""
    rest: Prepared | None = None
    """What is left to do then: it is given the workspace, where the product is, once more."""
    why: str = ""
    """Why a library may do it, or not."""


@dataclass(frozen=True)
class Code:
    """The code of a step, for any device, or with tensor cores for any that has them.

    text      LLVM IR of the device functions
    launches  what running each call means, by the call's identity
    check     what notes a check that failed; no functions where the program has no checks
    workspace_bytes  the working memory that the kernels use in turn
    processor  the kernels that the processor runs, by the call's identity
    uses_tensor_cores  whether it is for devices of `tensor_simt.LEAST_CAPABILITY` alone
    """

    text: str
    launches: dict[int, Prepared]
    check: Prepared
    workspace_bytes: int
    processor: dict[int, OnProcessor]
    uses_tensor_cores: bool = False

    def functions(self, call: Call) -> tuple[DeviceKernel, ...]:
        """The functions that a call launches; none where the processor runs its kernel."""
        return () if call.processor else self.launches[id(call)].functions

    @property
    def has_status(self) -> bool:
        return bool(self.check.functions)

    def names(self) -> list[str]:
        """The functions, each once."""
        every = (*self.launches.values(), self.check)
        rests = [prepared.rest for prepared in every if prepared.rest is not None]
        return list(dict.fromkeys(f.name for p in (*every, *rests) for f in p.functions))


def make_code(
    program: Program, flags: str = "", limits: Limits | None = None, tensor_cores: bool = True
) -> Code:
    """The device code of a program, for a device with `tensor_cores` or for any.

    With fast-math `flags` threads add at computed positions as they come.

    Raises `errors.DeviceOperationError` with the user's line for what no device can run.
    """
    items = list(all_items(program.items))
    has_checks = any(isinstance(item, Fail) for item in items)
    module = DeviceModule(flags, limits, has_checks, bool(flags), tensor_cores)
    every = [item for item in items if isinstance(item, Call)]
    processor = {id(c): OnProcessor(program, c, flags) for c in every if c.processor}
    calls = [call for call in every if not call.processor]
    made = [_made(module, call, has_checks) for call in calls]
    launches = {id(call): prepared for call, (prepared, _) in zip(calls, made, strict=True)}
    check = Prepared((), ())
    if has_checks:
        check = _prepared(CHECK, module.add(CHECK, _CHECK_ROOTS), has_checks)
    workspace = max((nbytes for _, nbytes in made), default=0)
    return Code(module.text, launches, check, workspace, processor, module.uses_tensor_cores)


def _made(module: DeviceModule, call: Call, has_checks: bool) -> tuple[Prepared, int]:
    """A call as it is launched, and the bytes of working memory that it needs."""
    try:
        launches = module.add(call.kernel, call.roots)
    except errors.DeviceOperationError as error:
        raise errors.DeviceOperationError(str(error), next(iter(lines_of(call)), None)) from None
    prepared = _prepared(call.kernel, launches, has_checks)
    elems = module.settings.limits.tensor_elems
    parts, why = decided(call.kernel, call.roots, has_checks, elems)
    prepared = prepared._replace(why=why)
    if parts is None:
        return prepared, launches.workspace_bytes
    if parts.rest is None:
        return prepared._replace(product=parts.product), launches.workspace_bytes
    others = module.add(parts.rest, parts.roots)
    if others.workspace_bytes:  # which is taken
        return prepared, launches.workspace_bytes
    rest = _prepared(parts.rest, others, has_checks)
    needed = max(launches.workspace_bytes, parts.nbytes)
    return prepared._replace(product=parts.product, rest=rest), needed


def _prepared(kernel: Kernel, launches: Launches, has_status: bool) -> Prepared:
    sizes = [int(b.size) * element_bytes(b.dtype) for b in kernel.buffers]
    sizes += [launches.workspace_bytes, *([STATUS_BYTES] if has_status else [])]
    return Prepared(launches.kernels, tuple(sizes))


def element_bytes(dtype: str) -> int:
    """Bytes of an element in memory; a tape is an address."""
    return ITEM_BYTES[dtype]


def all_items(items: Sequence[Item]) -> Iterator[Item]:
    """The items of a program, those inside others too."""
    for item in items:
        yield item
        yield from itertools.chain.from_iterable(map(all_items, parts_of(item)))


def lines_of(call: Call) -> list[object]:
    """The user's lines that a call comes from, in order, each once."""
    if call.eqn is None:
        return []
    body = call.eqn.attrs.get("body")
    eqns = [call.eqn, *(all_eqns(body) if body is not None else ())]
    return list(dict.fromkeys(eqn.loc for eqn in eqns if eqn.loc is not None))


# ---- checks --------------------------------------------------------------------------------------


_FAILED, _VALUE, _NUMBER = Name(0, "bool"), Name(1, "i64"), Name(2, "i64")
_STATUS = Name(3, "i64")
_NONE = Lit(0, Type("i64"))

CHECK = Kernel(
    "check",
    (),
    (
        Buffer("failed", "bool", 1, "in"),
        Buffer("value", "i64", 1, "in"),
        Buffer("number", "i64", 1, "in"),
        Buffer("status", "i64", 2, "out"),
    ),
    (
        Load(_FAILED, Access(0, 0, ())),
        Load(_VALUE, Access(1, 0, ())),
        Load(_NUMBER, Access(2, 0, ())),
        Compute(_STATUS, "where", (_FAILED, _NUMBER, _NONE)),
        Store(Access(3, 1, ()), _VALUE),
        Store(Access(3, 0, ()), _STATUS),
    ),
)
"""status = (number if the check failed else 0, value).  Like every function, it does nothing once a
check has failed."""

_CHECK_ROOTS = (
    Root("slice", 0, "bool", 1),
    Root("slice", 1, "i64", 8),
    Root("slice", 2, "i64", 8),
    Root("slice", 3, "i64", STATUS_BYTES),
)
