"""Arrays in the memory of a device, and what others have there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import errors
from graphc.runtime.cuda import dlpack
from graphc.runtime.cuda.current import current_session
from graphc.runtime.cuda.session import Session

LEGACY_STREAM = 1
"""What the interfaces call the default stream, which everything here runs on."""
NO_ORDER = -1
"""What DLPack's consumers say who see to the order themselves."""


class DeviceArray:
    """An array in the memory of a device, in row-major order.

    shape, dtype, ndim, size, nbytes   as of a NumPy array
    copy()          a copy on the device, as `copy.deepcopy` makes one, too
    copy_to_host()  the array as a NumPy array; `np.asarray(array)` is the same
    item()          the value of an array of one element; `float`, `int` and `bool` are the same

    Other libraries take it without a copy, by `__cuda_array_interface__` (numba, CuPy, torch) or
    `__dlpack__` (`torch.from_dlpack`, `jax.dlpack.from_dlpack`).  Reading a value waits until the
    device has made it.
    """

    __graphc_leaf__ = True
    __slots__ = (
        "__weakref__",
        "address",
        "dtype",
        "is_constant",
        "origin",
        "owner",
        "session",
        "shape",
    )

    def __init__(
        self,
        session: Session,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype,
        owner: Any,
        origin: Any = None,
    ):
        self.session = session
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.owner = owner
        self.origin = origin
        """The object of another library that this stands for."""
        self.is_constant = False
        """Whether that library does not want it changed."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def view(self) -> DeviceArray:
        """Another array over the same memory."""
        return DeviceArray(self.session, self.address, self.shape, self.dtype, self.owner)

    def copy(self) -> DeviceArray:
        """A copy on the device.

        Raises `errors.DeviceFaultError`, and `errors.DeviceMemoryError` where it has no room.
        """
        with self.session.lock, self.session.reporting():
            block = self.session.pool.take(self.nbytes)
            if self.size:
                self.session.device.copy(block.address, self.address, self.nbytes)
        return DeviceArray(self.session, block.address, self.shape, self.dtype, block)

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return self.copy()

    def __reduce__(self) -> Any:
        """Pickled by its values: they come back on the device of whoever reads them."""
        return to_device, (self.copy_to_host(),)

    def copy_to_host(self) -> np.ndarray:
        """The values as a new NumPy array.

        Raises `errors.DeviceFaultError` where the device has failed to make them.
        """
        array = np.empty(self.shape, self.dtype)
        if self.size:
            self.session.read(array, self.address)
        return array

    def item(self) -> Any:
        """The value as a Python number.  Raises `ValueError` for more than one element."""
        return self.copy_to_host().item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array in the memory of a device becomes a NumPy array by a copy")
        array = self.copy_to_host()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __float__(self) -> float:
        return float(self.copy_to_host())

    def __int__(self) -> int:
        return int(self.copy_to_host())

    def __index__(self) -> int:
        return self.copy_to_host().__index__()

    def __bool__(self) -> bool:
        return bool(self.copy_to_host())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __format__(self, spec: str) -> str:
        return format(self.copy_to_host()[()], spec)

    def __repr__(self) -> str:
        shown = repr(self.copy_to_host()).removeprefix("array")
        return f"DeviceArray{shown}"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        device = self.session.device
        if device.kind != dlpack.CUDA:
            raise AttributeError(f"{device.name} has no CUDA memory")
        if self.dtype.kind == "V":
            raise AttributeError(f"this interface has no name for {self.dtype}; DLPack has")
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "version": 3,
            "stream": LEGACY_STREAM,
        }

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("this array is handed over where it is; copy it on the other side")
        self._order(stream)
        kind, number = self.__dlpack_device__()
        shared = dlpack.Shared(self.address, kind, number, self.dtype, self.shape, None)
        return dlpack.capsule(shared, self)

    def _order(self, stream: int | None) -> None:
        """Let a consumer's stream come after our work; one that names none waits here."""
        with self.session.lock, self.session.reporting():
            if stream is None:
                self.session.device.synchronise()
            elif stream not in (LEGACY_STREAM, NO_ORDER):
                self.session.device.let_wait(stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.session.device.kind, self.session.device.number


def to_device(array: np.ndarray) -> DeviceArray:
    """A copy of an array of this machine on the device that steps run on."""
    session = current_session()
    array = np.ascontiguousarray(array).reshape(array.shape)
    with session.lock, session.reporting():
        block = session.pool.take(array.nbytes)
        if array.size:
            session.device.upload(block.address, array)
    return DeviceArray(session, block.address, array.shape, array.dtype, block)


# ---- what others have on the device --------------------------------------------------------------


def is_foreign(value: Any) -> bool:
    """Whether a value says of itself that it lies in the memory of a device."""
    if isinstance(value, (DeviceArray, np.ndarray, np.generic, type)):
        return False
    # In this order: torch's tensors that gradients are asked of raise at the other name.
    return hasattr(value, "__dlpack_device__") or hasattr(value, "__cuda_array_interface__")


def imported(value: Any, session: Session) -> DeviceArray | np.ndarray:
    """Another library's array where it lies; a NumPy array for one in the memory of this machine.

    Raises `errors.ArgumentError` for memory of another device, or not in row-major order.
    """
    device = session.device
    if not hasattr(value, "__dlpack_device__"):
        if device.kind != dlpack.CUDA:
            raise errors.ArgumentError(
                f"an argument lies in the memory of a GPU, and the step runs on {device.name}"
            )
        return _by_interface(value, value.__cuda_array_interface__, session)
    # DLPack where there is both: torch's other interface does not say which stream to wait for.
    kind, _ = value.__dlpack_device__()
    if kind == dlpack.CPU and device.kind != dlpack.CPU:
        return np.from_dlpack(value)
    capsule = _capsule(value, {"stream": LEGACY_STREAM} if kind == dlpack.CUDA else {})
    shared = dlpack.read(capsule)
    is_here = shared.device_kind in (device.kind, dlpack.CUDA_MANAGED)
    if not is_here or shared.device_number != device.number:
        raise errors.ArgumentError(
            f"an argument lies on device {shared.device_number} (DLPack's kind"
            f" {shared.device_kind}), and the step runs on {device.name}; move it there"
        )
    _expect_plain(shared.shape, shared.strides)
    owner = (capsule, value)
    array = DeviceArray(session, shared.address, shared.shape, shared.dtype, owner, value)
    array.is_constant = shared.is_constant or is_immutable(value)
    return array


def _capsule(value: Any, stream: dict[str, int]) -> Any:
    try:
        try:
            return value.__dlpack__(max_version=dlpack.VERSION, **stream)
        except TypeError:  # an older library
            return value.__dlpack__(**stream)
    except (BufferError, RuntimeError) as error:
        raise errors.ArgumentError(
            f"{type(value).__name__} does not hand over its memory: {error}"
        ) from None


def _by_interface(value: Any, interface: dict[str, Any], session: Session) -> DeviceArray:
    shape = tuple(interface["shape"])
    dtype = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None:
        strides = tuple(stride // dtype.itemsize for stride in strides)
    _expect_plain(shape, strides)
    if interface.get("mask") is not None:
        raise errors.ArgumentError("an argument has a mask, which graphc does not know; fill it in")
    address, is_constant = interface["data"]
    owner = session.device.owner_of(address) if address else None
    if owner not in (None, session.device.number):
        raise errors.ArgumentError(
            f"an argument lies on device {owner}, and the step runs on device"
            f" {session.device.number}, {session.device.name}; move it there"
        )
    stream = interface.get("stream")
    if stream not in (None, LEGACY_STREAM):
        session.device.wait_for(stream)
    array = DeviceArray(session, address, shape, dtype, value, value)
    array.is_constant = bool(is_constant) or is_immutable(value)
    return array


def is_immutable(value: Any) -> bool:
    """Whether a value is JAX's, which nobody may change and which does not say so."""
    return type(value).__module__.partition(".")[0] in ("jax", "jaxlib")


def _expect_plain(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides or ()), strict=False):
        if size > 1 and stride != step and 0 not in shape:
            raise errors.ArgumentError(
                f"an argument of shape {shape} is a view with strides {strides}, not in row-major"
                " order; pass a contiguous copy of it"
            )
        step *= size
