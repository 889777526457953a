"""A graph of launches in which the device decides: conditional nodes of a CUDA graph.

    kernel -> tell -> [if: kernel -> kernel] -> kernel -> tell -> [while: kernel -> tell] -> copy

A conditional node holds graphs, its bodies, and has a handle: a number that a kernel before it
sets.  That kernel (`tell`, in a module of its own) reads the byte that says what is to be done.
The body of a loop sets the handle of its own node, once a turn, at its end.

Nodes are made by putting work on a stream that is recorded into a graph, because a library's
products can be recorded in no other way.  A stream is recorded into one graph at a time: what comes
before a conditional node is ended, the bodies are recorded one after the other, and what follows
depends on the node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from graphc.runtime.cuda.device import Fault, OutOfMemory, Work
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel

OLDEST = 12040
"""The driver's version from which on graphs have conditional nodes: CUDA 12.4."""
TWO_BODIES = 12080
"""The version from which on a node has a body for either case."""

TELL = DeviceKernel("tell", 1, 1, (0, 1, 2, 3))
TELL_TEXT = """
declare void @cudaGraphSetConditional(i64, i32)

define ptx_kernel void @tell(ptr %holding, ptr %failing, ptr %predicate, ptr %status) #0 {
  %failed = load i64, ptr %status, align 8
  %byte = load i8, ptr %predicate, align 1
  %fine = icmp eq i64 %failed, 0
  %not.zero = icmp ne i8 %byte, 0
  %zero = icmp eq i8 %byte, 0
  %holds = and i1 %fine, %not.zero
  %fails = and i1 %fine, %zero
  %first = ptrtoint ptr %holding to i64
  %has.first = icmp ne i64 %first, 0
  br i1 %has.first, label %set.first, label %next
set.first:
  %one = zext i1 %holds to i32
  call void @cudaGraphSetConditional(i64 %first, i32 %one)
  br label %next
next:
  %second = ptrtoint ptr %failing to i64
  %has.second = icmp ne i64 %second, 0
  br i1 %has.second, label %set.second, label %done
set.second:
  %other = zext i1 %fails to i32
  call void @cudaGraphSetConditional(i64 %second, i32 %other)
  br label %done
done:
  ret void
}
attributes #0 = { nounwind }
"""
"""Sets one handle to whether the byte at `predicate` is not 0, another to whether it is; both to 0
where a check has failed.  A handle that is 0 is none.  The driver has what it calls."""


def can_decide(driver: Any, version: int) -> bool:
    """Whether a driver of this version has conditional nodes, and the bindings have them, too."""
    return version >= OLDEST and hasattr(driver, "cuGraphConditionalHandleCreate")


class Captured:
    """What is put on a stream, recorded as one graph without decisions: any driver does it."""

    def __init__(self, driver: Any, do: Callable[..., Any], stream: Any):
        self.stream = stream
        self._do = do
        do("cuStreamBeginCapture", stream, relaxed(driver))

    def finish(self) -> Any:
        """The graph."""
        return self._do("cuStreamEndCapture", self.stream)

    def abandon(self) -> None:
        """Let go of the graph, in whatever state it is."""
        self._do("cuGraphDestroy", self.finish())


def relaxed(driver: Any) -> Any:
    """How streams are recorded.  Garbage may be collected meanwhile: a module that is unloaded then
    would put an end to a recording of another kind."""
    return driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED


class Recorder:
    """What is recorded into one graph.

    driver   the module `cuda.bindings.driver`
    do       calls one of its functions, by name
    tell     launches `TELL` where work is put now
    stream   what is recorded
    context  of the device
    version  of the driver
    """

    def __init__(
        self,
        driver: Any,
        do: Callable[..., Any],
        tell: Callable[[int, int, int, int], None],
        stream: Any,
        context: Any,
        version: int,
    ):
        self._driver = driver
        self._do = do
        self._tell = tell
        self._stream = stream
        self._context = context
        self._has_two_bodies = version >= TWO_BODIES
        self._is_open = False
        self._last: list[Any] = []
        self._whole = self._graph = do("cuGraphCreate", 0)

    @property
    def stream(self) -> Any:
        """Where work is put to become part of the graph."""
        if not self._is_open:
            where = self._stream, self._graph
            mode = relaxed(self._driver)
            self._do("cuStreamBeginCaptureToGraph", *where, *self._after(), mode)
            self._is_open = True
        return self._stream

    def finish(self) -> Any:
        """The graph."""
        self._end()
        return self._whole

    def abandon(self) -> None:
        """Let go of the graph, in whatever state it is."""
        if self._is_open:
            self._is_open = False
            with suppress(Fault, OutOfMemory):  # the first error is the one to tell
                self._do("cuStreamEndCapture", self._stream)
        with suppress(Fault, OutOfMemory):
            self._do("cuGraphDestroy", self._whole)

    def _end(self) -> None:
        """End what is being recorded, and remember what comes last in it."""
        if self._is_open:
            info = self._newest("cuStreamGetCaptureInfo", "cuStreamGetCaptureInfo_v3")
            _, _, _, nodes, *_ = self._do(info, self._stream)
            self._last = list(nodes or ())
            self._is_open = False
            self._do("cuStreamEndCapture", self._stream)

    def _after(self) -> tuple[list[Any], list[Any], int]:
        """What the next work comes after, by plain edges: bindings of CUDA 12 want each of them."""
        return self._last, [self._driver.CUgraphEdgeData() for _ in self._last], len(self._last)

    def _newest(self, name: str, newer: str) -> str:
        """What a function that takes data of edges is called: bindings of CUDA 12 have both."""
        return newer if hasattr(self._driver, newer) else name

    def choose(self, predicate: int, status: int, then: Work | None, other: Work | None) -> None:
        """See `Device.choose`."""
        kind = self._driver.CUgraphConditionalNodeType.CU_GRAPH_COND_TYPE_IF
        if self._has_two_bodies and other is not None:
            handle = self._handle()
            self._tell(handle, 0, predicate, status)
            self._node(handle, kind, [then, other])
            return
        holding, failing = (0 if side is None else self._handle() for side in (then, other))
        self._tell(holding, failing, predicate, status)
        for handle, side in ((holding, then), (failing, other)):
            if handle:
                self._node(handle, kind, [side])

    def repeat(self, predicate: int, status: int, turn: Work) -> None:
        """See `Device.repeat`."""
        kind = self._driver.CUgraphConditionalNodeType.CU_GRAPH_COND_TYPE_WHILE
        handle = self._handle()

        def body() -> None:
            turn()
            self._tell(handle, 0, predicate, status)

        self._tell(handle, 0, predicate, status)
        self._node(handle, kind, [body])

    def _handle(self) -> int:
        """A number for a node of the graph that is being made: 0 until it is told otherwise."""
        default = int(self._driver.CU_GRAPH_COND_ASSIGN_DEFAULT)
        made = self._do("cuGraphConditionalHandleCreate", self._graph, self._context, 0, default)
        return int(made)

    def _node(self, handle: int, kind: Any, bodies: Sequence[Work | None]) -> None:
        """Add a conditional node after what there is, and fill its bodies."""
        self._end()
        parameters = self._driver.CUgraphNodeParams()
        parameters.type = self._driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_CONDITIONAL
        held = parameters.conditional
        held.handle, held.type, held.size, held.ctx = handle, kind, len(bodies), self._context
        add = self._newest("cuGraphAddNode", "cuGraphAddNode_v2")
        node = self._do(add, self._graph, *self._after(), parameters)
        outer = self._graph
        for graph, body in zip(parameters.conditional.phGraph_out, bodies, strict=False):
            self._graph, self._last = graph, []
            if body is not None:
                body()
            self._end()
        self._graph, self._last = outer, [node]
