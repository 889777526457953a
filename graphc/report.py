"""What the compiler did with a function: the report that `compiled.explain` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from graphc.ir import Atom, Eqn, Graph, Loc, Type, Var, all_eqns
from graphc.ops import linalg
from graphc.ops.control import fused
from graphc.ops.elementwise import cast
from graphc.ops.shape import VIEWS, broadcast
from graphc.passes.reasons import why_apart
from graphc.questions import exemplified, hint
from graphc.runtime.step import Step

if TYPE_CHECKING:
    from graphc.runtime.cuda.step import CudaStep
    from graphc.specialised import Specialised


@dataclass(frozen=True)
class KernelReport:
    """One kernel of a step.

    name    how the kernel is called in `--stage kernels`
    ops     the operations in it, in order
    reads   the types of what it reads, `writes` of what it writes
    bytes   how many bytes it must at least move
    flops   how many arithmetic operations it does; a matrix product of m x k x n counts 2*m*k*n
    source  the user's lines that it comes from
    threads how many threads it is divided among, and if it is 1, `because` of what
    launches  on a GPU, the functions that run it one after the other: name, blocks, threads each;
            or that it runs on the processor, and what is copied for that
    """

    name: str
    ops: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    bytes: int
    flops: int
    source: tuple[str, ...]
    threads: int = 1
    because: str = ""
    launches: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotFused:
    """Two kernels with a value between them, and why they are not one."""

    first: str
    second: str
    value: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What the compiler did with a function, for one signature.

    kernels          what runs, in order (those of both branches of a conditional)
    not_fused        neighbouring kernels and why they stayed apart
    specialisations  the arguments whose values the graph depends on, and what it takes sizes to
                     be, with cause and line
    sizes            the sizes for any of which the function was traced, and where they stand
    loops            what became of each loop over traced values, and why
    arena_bytes      the memory for temporaries; `peak_bytes` adds arguments, results and constants
    pass_ms          milliseconds for each pass of the pipeline, tracing included
    compile_ms       milliseconds from fused graph to machine code
    stage_ms         the same by stage: plan (memory, threads), emit (LLVM's text), machine code
    from_disk        whether the machine code was found in the disk cache (`graphc.cache_dir`)
    threads          the most threads that run the step
    target           "cpu" or "cuda"
    straight_runs    on a GPU, the runs of kernels that are recorded and launched as one: 1 where
                     the whole step is, more where the host takes part in between
    host_parts       what the host does in between, and why

    `str(report)` is for people, `report.to_dict()` for programs.
    """

    name: str
    kernels: tuple[KernelReport, ...]
    not_fused: tuple[NotFused, ...]
    specialisations: tuple[str, ...]
    loops: tuple[str, ...]
    arena_bytes: int
    peak_bytes: int
    pass_ms: dict[str, float]
    compile_ms: float
    stage_ms: dict[str, float]
    from_disk: bool
    threads: int = 1
    target: str = "cpu"
    straight_runs: int = 0
    host_parts: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as dicts, lists, strings and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def make_report(entry: Specialised) -> Report:
    """The report on one traced signature, compiling it where that has not happened."""
    step = entry.ready()
    if not isinstance(step, Step):
        return _device_report(entry, step)
    return _make_report(entry, step)


def _device_report(entry: Specialised, step: CudaStep) -> Report:
    """The report with what is launched for each kernel."""
    from graphc.runtime.cuda.host_parts import host_parts
    from graphc.runtime.cuda.pieces import count_runs

    report = _make_report(entry, step)
    launches: dict[str, list[str]] = {}
    names = dict(_kernel_names(step.kernel_names()))
    for name, eqn, call in step.kernel_names():
        shown = launches.setdefault(name if eqn is None else names[eqn], [])
        shown += [text for text in _launches(step, call) if text not in shown]
    kernels = tuple(replace(k, launches=tuple(launches[k.name])) for k in report.kernels)
    return replace(
        report,
        kernels=kernels,
        target="cuda",
        straight_runs=count_runs(step.pieces),
        host_parts=host_parts(step.program, step.pieces),
    )


def _launches(step: CudaStep, call: Any) -> Iterator[str]:
    if call.processor:
        moved = _bytes(step.code.processor[id(call)].moved_bytes)
        yield f"runs on the processor ({call.processor}): {moved} to and fro"
        return
    prepared = step.code.launches[id(call)]
    for function in prepared.functions:
        yield f"{function.name} <<<{function.grid}, {function.block}>>>"
        yield from (f"  {how}" for how in function.products)
    if prepared.product is not None:
        rest = "" if prepared.rest is None else f" and {prepared.rest.functions[0].name}"
        yield f"where cuBLASLt is installed: its product{rest} instead; {prepared.why}"
    elif prepared.why:
        yield f"not cuBLASLt's: {prepared.why}"


def _make_report(entry: Specialised, step: Step | CudaStep) -> Report:
    with exemplified(entry.sizes):  # the figures are for these
        return _in_numbers(entry, step)


def _in_numbers(entry: Specialised, step: Step | CudaStep) -> Report:
    program = step.program
    graph = program.graph
    updates = {result for _, result in graph.updates}  # which lie in their arguments
    fresh = [type for j, type in enumerate(graph.out_types) if j not in updates]
    outside = [*graph.in_types, *fresh, *(d.type for d in program.constants)]
    return Report(
        graph.name,
        tuple(_kernel_reports(graph, step.kernel_names())),
        tuple(_not_fused(graph, dict(_kernel_names(step.kernel_names())))),
        (*(str(fixed) for _, fixed in entry.traced.specialisations), *_size_conditions(entry)),
        tuple(map(str, entry.traced.loops)),
        step.arena.nbytes,
        step.nbytes + sum(hint(type.nbytes) for type in outside),
        entry.pass_ms,
        entry.compile_ms,
        step.stage_ms,
        step.from_disk,
        program.shares,
        sizes=() if entry.symbolic is None else tuple(entry.symbolic.described()),
    )


def _size_conditions(entry: Specialised) -> Iterator[str]:
    """What the graph takes sizes to be, and why it is not for every size."""
    if entry.symbolic is not None:
        yield from entry.symbolic.conditions()
        if entry.symbolic.undecided:
            yield f"these sizes, from the passes on: {entry.symbolic.undecided}"
        if entry.symbolic.alone:
            yield f"these sizes, in machine code: {entry.symbolic.alone}"
        if entry.options.target == "cuda":
            yield "these sizes, in device code: kernels are made anew for each size"
    if entry.shares_code and isinstance(entry.step, Step):
        for condition in entry.step.conditions():
            yield f"machine code where {condition}; other sizes have code of their own"
    yield from (f"these sizes: {reason}" for reason in entry.reasons)


def _kernel_names(calls: Sequence[tuple[str, Eqn | None, Any]]) -> Iterator[tuple[Eqn, str]]:
    """Each kernel and its name: that of its first nest, and how many more there are."""
    names: dict[Eqn, list[str]] = {}
    for name, eqn, _ in calls:
        if eqn is not None:
            names.setdefault(eqn, []).append(name)
    for eqn, parts in names.items():
        yield eqn, parts[0] if len(parts) == 1 else f"{parts[0]} and {len(parts) - 1} more"


def _kernel_reports(
    graph: Graph, calls: Sequence[tuple[str, Eqn | None, Any]]
) -> Iterator[KernelReport]:
    repeated = {e.out: e.ins[0] for e in all_eqns(graph) if e.op is broadcast}
    names = dict(_kernel_names(calls))
    for name, eqn, parts in _whole_kernels(calls):
        report = (
            _copy_report(name, parts[0])
            if eqn is None or eqn.op is not fused
            else _fused_report(names[eqn], eqn, repeated)
        )
        shares = {part.kernel.division.shares for part in parts if part.kernel.division is not None}
        reasons = dict.fromkeys(part.because for part in parts if part.because)
        yield replace(report, threads=max(shares, default=1), because=", ".join(reasons))


def _whole_kernels(
    calls: Sequence[tuple[str, Eqn | None, Any]],
) -> Iterator[tuple[str, Eqn | None, list[Any]]]:
    """The calls of each equation: a kernel may have several nests, each called for itself."""
    nests: dict[Eqn, list[Any]] = {}
    for _, eqn, call in calls:
        if eqn is not None:
            nests.setdefault(eqn, []).append(call)
    for name, eqn, call in calls:
        if eqn is None:
            yield name, eqn, [call]
        elif eqn in nests:
            yield name, eqn, nests.pop(eqn)


def _copy_report(name: str, call: Any) -> KernelReport:
    types = [
        str(Type(root.dtype, (root.nbytes // max(_itemsize(root.dtype), 1),)))
        for root in call.roots
    ]
    return KernelReport(
        name,
        ("copy",),
        tuple(types[:-1]),
        tuple(types[-1:]),
        sum(hint(root.nbytes) for root in call.roots),
        0,
        (),
    )


def _itemsize(dtype: str) -> int:
    return Type(dtype).numpy_dtype.itemsize


def _fused_report(name: str, eqn: Eqn, repeated: Mapping[Var, Atom]) -> KernelReport:
    body: Graph = eqn.attrs["body"]
    inside = [inner for inner in all_eqns(body) if inner.op is not fused]
    reads = [_in_memory(atom, repeated) for atom in eqn.ins]
    types = [*reads, *(out.type for out in eqn.outs)]
    return KernelReport(
        name,
        tuple(inner.op.name for inner in inside if inner.op not in VIEWS),
        tuple(map(str, reads)),
        tuple(str(out.type) for out in eqn.outs),
        sum(hint(type.nbytes) for type in types),
        sum(map(_flops, inside)),
        tuple(map(str, _source_lines(body))),
    )


def _in_memory(atom: Atom, repeated: Mapping[Var, Atom]) -> Type:
    """The type of what lies in memory for a value that may only repeat something smaller."""
    while isinstance(atom, Var) and atom in repeated:
        atom = repeated[atom]
    return atom.type


def _source_lines(body: Graph) -> list[Loc]:
    locs = {eqn.loc for eqn in all_eqns(body) if eqn.loc is not None}
    return sorted(locs, key=lambda loc: (loc.file, loc.line))


def _flops(eqn: Eqn) -> int:
    if eqn.op is linalg.matmul:
        return hint(2 * eqn.out.type.size * eqn.ins[0].type.shape[-1])
    if eqn.op in VIEWS or eqn.op is cast or not eqn.outs:
        return 0
    sizes = [hint(atom.type.size) for atom in (*eqn.ins, *eqn.outs)]
    is_arithmetic = eqn.op.elementwise or "axes" in eqn.attrs
    return max(sizes) if is_arithmetic else 0


# ---- why kernels stay apart ----------------------------------------------------------------------


def _not_fused(graph: Graph, names: dict[Eqn, str]) -> Iterator[NotFused]:
    """Each pair of kernels in which the second reads what the first makes."""
    made = {out: eqn for eqn in graph.eqns if eqn in names for out in eqn.outs}
    seen = set()
    for eqn in graph.eqns:
        if eqn not in names:
            continue
        for atom in eqn.ins:
            first = made.get(atom) if isinstance(atom, Var) else None
            if first is not None and (first, eqn) not in seen:
                seen.add((first, eqn))
                yield NotFused(
                    names[first], names[eqn], str(atom.type), why_apart(graph, first, eqn, atom)
                )


# ---- for people ----------------------------------------------------------------------------------


def _lines(report: Report) -> Iterator[str]:
    count = len(report.kernels)
    on = f", on up to {report.threads} threads" if report.threads > 1 else ""
    yield f"{report.name}: {count} kernel{'s' * (count != 1)}{on}"
    if report.target == "cuda":
        runs = report.straight_runs
        yield f"  for a GPU, in {runs} recorded run{'s' * (runs != 1)}; <<<blocks, threads each>>>"
    for part in report.host_parts:
        yield f"  left to the host: {part}"
    for kernel in report.kernels:
        yield f"  {kernel.name}: {_shortened(kernel.ops)}"
        yield (
            f"      {', '.join(kernel.reads) or 'nothing'} -> {', '.join(kernel.writes)};"
            f" {_bytes(kernel.bytes)}, {_count(kernel.flops)} flops"
            + (f"; {', '.join(kernel.source)}" if kernel.source else "")
        )
        for launch in kernel.launches:
            yield f"      {launch}"
        if report.threads > 1:
            yield f"      on {kernel.threads} thread{'s' * (kernel.threads != 1)}" + (
                f": {kernel.because}" if kernel.because else ""
            )
    for pair in report.not_fused:
        yield f"  {pair.first} and {pair.second} are apart ({pair.value}): {pair.reason}"
    for loop in report.loops:
        yield f"  control flow: {loop}"
    for size in report.sizes:
        yield f"  for every {size}"
    for fixed in report.specialisations:
        yield f"  holds only for {fixed}"
    yield f"  memory: {_bytes(report.arena_bytes)} arena, {_bytes(report.peak_bytes)} in all"
    spent = ", ".join(f"{name} {ms:.1f}" for name, ms in report.pass_ms.items())
    origin = "from the disk cache" if report.from_disk else "compiled"
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in report.stage_ms.items())
    yield f"  time in ms: {spent}; {stages} ({origin})"


def _shortened(ops: tuple[str, ...], limit: int = 12) -> str:
    if len(ops) <= limit:
        return " ".join(ops)
    return " ".join(ops[:limit]) + f" and {len(ops) - limit} more"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
