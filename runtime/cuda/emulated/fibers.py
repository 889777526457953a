"""LLVM IR that runs device functions on a processor: every thread of a block is a fiber.

A fiber is a stack of its own, and `swapcontext` of the C library goes from one to another.  The
scheduler runs each thread of a block until it waits, for its block or for its warp, or is done.
When all have been run, those whose company is complete go on.  If nobody's is, the kernel has
threads that wait for others which never come: it is stopped.

Every access to memory is preceded by a call that looks whether the launch may touch it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphc.runtime.cuda.emit.simt import PREFIX
from graphc.runtime.cuda.emulated.scheduler import MOST_THREADS, runtime_text
from graphc.runtime.cuda.emulated.tensor_cores import WAITING, cleared, tensor_text
from graphc.runtime.llvm.registers import BITS

OK, STUCK, OUTSIDE = 0, 1, 2
"""What a launch gives."""

_OWN = "emulated."

_SHARED = re.compile(r"^@(\S+) = internal addrspace\(3\) global \[(\d+) x i8\].*$", re.MULTILINE)
_TABLE = re.compile(r"^@(\S+) = private constant \[(\d+) x (\w+)\]", re.MULTILINE)
_LOAD = re.compile(r"^  \S+ = load (.+?), ptr (\S+?), align \d+$")
_STORE = re.compile(r"^  store (<\d+ x \w+>|\w+) .+, ptr (\S+?), align \d+$")
_ATOMIC = re.compile(r"^  \S+ = atomicrmw \w+ ptr (\S+?), (\w+) .*$")
_DECLARED = re.compile(rf"^declare .*? @{re.escape(PREFIX)}")
_KERNEL = re.compile(r"^define ptx_kernel void @(\S+)\((.*)\) #0", re.MULTILINE)
_WAITING = re.compile(
    rf"call (\w+|{{.*?}}) @emulated\.(barrier0|bar\.warp\.sync|shfl\.\S+?|{WAITING})\((.*)\)$"
)
_TENSOR = re.compile(rf"@{re.escape(PREFIX)}(mma|ldmatrix|cp\.async|f2tf32)\.")


def host_text(text: str) -> str:
    """The text of a `DeviceModule` for this machine, with what the threads need around it.

    It defines `i32 emulated.launch.NAME(grid, block, backwards)` for each device function.
    """
    shared = _SHARED.findall(text)
    has_tensor = bool(_TENSOR.search(text))
    tables = [(name, int(n) * BITS[elem] // 8) for name, n, elem in _TABLE.findall(text)]
    kernels = _KERNEL.findall(text)
    lines = text.splitlines()
    lines = [x for x in lines if not _DECLARED.match(x) and not x.startswith(("attributes", "!"))]
    tensor = tensor_text(text, MOST_THREADS) if has_tensor else ""
    declared = {x for x in tensor.splitlines() if x.startswith("declare")}
    lines = [x for x in lines if x not in declared]
    body = "\n".join(_instrumented(lines)).replace("define ptx_kernel", "define internal")
    parts = [
        runtime_text(),
        tensor,
        _ranges([*((name, int(n)) for name, n in shared), *tables]),
        _clearing(
            [(name, int(n)) for name, n in shared], cleared(MOST_THREADS) if has_tensor else []
        ),
        *(_entry(name, parameters, body) for name, parameters in kernels),
        body,
    ]
    return "\n".join(parts) + "\n"


def _instrumented(lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        line = re.sub(r"addrspacecast \(ptr addrspace\(3\) (@\S+) to ptr\)", r"\1", line)
        line = re.sub(r"addrspacecast (ptr \S+ to ptr) addrspace", r"bitcast \1 addrspace", line)
        line = re.sub(r" addrspace\([13]\)", "", line).replace(f"@{PREFIX}", f"@{_OWN}")
        if (found := _LOAD.match(line)) or (found := _STORE.match(line)):
            yield _check(found[2], _size_of(found[1]))
        elif found := _ATOMIC.match(line):
            yield _check(found[1], BITS[found[2]] // 8)
        yield _numbered(line, number)


def _numbered(line: str, number: int) -> str:
    """A call that waits is told where it is.

    No pattern to fill in: `re` would read one anew for each line of a long text.
    """
    found = _WAITING.search(line)
    if found is None:
        return line
    given = f"i32 {number}, {found[3]}" if found[3] else f"i32 {number}"
    return f"{line[: found.start()]}call {found[1]} @{_OWN}{found[2]}({given})"


def _check(pointer: str, nbytes: int) -> str:
    return f"  call void @emulated.check(ptr {pointer}, i64 {nbytes})"


def _size_of(kind: str) -> int:
    """The bytes of a type such as "float", "ptr" or "<4 x i8>"."""
    found = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    lanes, elem = (int(found[1]), found[2]) if found else (1, kind)
    return lanes * (64 if elem == "ptr" else BITS[elem]) // 8


# ---- the threads ---------------------------------------------------------------------------------


def _ranges(known: list[tuple[str, int]]) -> str:
    """Memory of the module that any launch may touch."""
    items = ", ".join(f"{{ ptr, i64 }} {{ ptr @{name}, i64 {size} }}" for name, size in known)
    kind = f"[{len(known)} x {{ ptr, i64 }}]"
    return (
        f"@emulated.own = internal constant {kind} {f'[{items}]' if known else 'zeroinitializer'}\n"
        f"@emulated.owns = internal constant i64 {len(known)}"
    )


def _clearing(shared: list[tuple[str, int]], counters: list[tuple[str, int]]) -> str:
    """Shared memory is full of NaN where a block begins: nothing may rely on what was there."""
    calls = [
        f"  call void @llvm.memset.p0.i64(ptr @{name}, i8 {value}, i64 {size}, i1 false)"
        for value, memory in ((-1, shared), (0, counters))
        for name, size in memory
    ]
    body = "\n".join([*calls, "  ret void"])
    declared = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
    return f"{declared}define internal void @emulated.clear() {{\n{body}\n}}"


def _entry(name: str, parameters: str, body: str) -> str:
    """One thread of a kernel, and its launch."""
    count = len(parameters.split(","))
    loads, pointers = [], []
    for i in range(count):
        loads.append(f"  %s{i} = getelementptr ptr, ptr %table, i64 {i}")
        loads.append(f"  %p{i} = load ptr, ptr %s{i}")
        pointers.append(f"ptr %p{i}")
    start = body.index(f"void @{name}(")
    own = body[start : body.index("\n}", start)]
    waits = int(any(_WAITING.search(line) for line in own.splitlines()))
    newline = "\n"
    return f"""
define internal void @emulated.thread.{name}() {{
  %table = load ptr, ptr @emulated.pointers
{newline.join(loads)}
  call void @{name}({", ".join(pointers)})
  ret void
}}
define i32 @emulated.launch.{name}(i32 %grid, i32 %block, i32 %backwards) {{
  %status = call i32 @emulated.launch(ptr @emulated.thread.{name}, i32 %grid, i32 %block,
    i32 {waits}, i32 %backwards)
  ret i32 %status
}}"""
