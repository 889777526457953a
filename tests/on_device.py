"""What `pytest --target cuda` puts in the place of compiled functions: the same on a device.

Whatever a test compiles for the processor is compiled for the device, and called with the arrays of
this machine that the test has; results come back as NumPy arrays, as the test expects them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import running

from graphc import api, derivatives, transforms
from graphc.compiled import Compiled
from graphc.device_call import DeviceCompiled
from graphc.errors import GraphcError
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import open_device
from graphc.runtime.cuda.emulated.host import HostDevice
from graphc.runtime.cuda.step import CudaStep
from graphc.specialised import USUAL, Options, Specialised
from graphc.trace import tree


class OnDevice(DeviceCompiled):
    """A function that runs on the device and gives arrays of this machine."""

    def __init__(self, function: Any, options: Options = USUAL):
        super().__init__(function, replace(options, target="cuda", threads=None))

    def _run(self, entry: Specialised, leaves: Any) -> Any:
        return tree.map_leaves(_at_home, super()._run(entry, leaves))


def _at_home(value: Any) -> Any:
    return value.copy_to_host()[()] if isinstance(value, DeviceArray) else value


class StepOnDevice(CudaStep):
    """A fused graph on the device, whose results are arrays of this machine."""

    def __call__(self, arguments: Any, types: Any = None) -> Any:
        return [result.copy_to_host() for result in super().__call__(arguments, types)]


def _kind_for(options: Options) -> type[Compiled]:
    return OnDevice if options.target == "cpu" else DeviceCompiled


def everything_on_a_device(device: Device | None = None) -> ExitStack:
    """Until it is closed, functions are compiled for a device: a GPU, or the emulated device where
    there is none."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(api, "_kind_for", _kind_for))
    for module in (derivatives, transforms):
        stack.enter_context(mock.patch.object(module, "Compiled", OnDevice))
    stack.enter_context(mock.patch.object(running, "Step", StepOnDevice))
    stack.enter_context(use(device or (HostDevice() if no_gpu() else open_device())))
    return stack


def no_gpu() -> str:
    """Why there is no GPU, "" where there is one."""
    try:
        open_device()
    except GraphcError as error:
        return str(error)
    return ""
