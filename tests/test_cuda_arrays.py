"""Arrays of a device: to NumPy and back, and shared with other libraries without a copy."""

from __future__ import annotations

import copy
import gc as collector
import pickle

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.runtime.cuda import dlpack
from graphc.runtime.cuda.arrays import DeviceArray, imported
from graphc.runtime.cuda.current import current_session
from graphc.runtime.cuda.device import Fault, OutOfMemory


class Shared:
    """An array of another library: it says where it lies, and is no NumPy array."""

    def __init__(self, array, kind=dlpack.CPU, number=0):
        self.array = array
        self.kind = kind
        self.number = number

    def __dlpack__(self, stream=None):
        shared = dlpack.Shared(
            self.array.ctypes.data, self.kind, self.number, self.array.dtype, self.array.shape, None
        )
        return dlpack.capsule(shared, self)

    def __dlpack_device__(self):
        return self.kind, self.number


class Capsule:
    """An array of ours as another library would hand it over."""

    def __init__(self, array):
        self.__dlpack__ = array.__dlpack__
        self.__dlpack_device__ = array.__dlpack_device__


class Interface:
    """An array of another library with CUDA's interface."""

    def __init__(self, **changes):
        self.__cuda_array_interface__ = {
            "shape": (2, 3),
            "typestr": "<f4",
            "data": (0x1000, False),
            "version": 3,
            **changes,
        }


@pytest.fixture
def as_gpu(emulated, monkeypatch):
    """The emulated device, which takes addresses for those of a GPU."""
    monkeypatch.setattr(emulated, "kind", dlpack.CUDA)
    return emulated


def test_to_numpy_and_back(device):
    x = np.arange(6.0).reshape(2, 3)
    there = gc.to_device(x)
    assert isinstance(there, DeviceArray)
    assert (there.shape, there.dtype, there.ndim, there.size, there.nbytes, len(there)) == (
        (2, 3),
        x.dtype,
        2,
        6,
        48,
        2,
    )
    np.testing.assert_array_equal(there.copy_to_host(), x)
    np.testing.assert_array_equal(np.asarray(there, np.float32), x.astype(np.float32))
    assert repr(there) == repr(x).replace("array", "DeviceArray")
    with pytest.raises(ValueError, match="copy"):
        np.array(there, copy=False)


def test_a_tree_keeps_its_structure_and_its_numbers(device):
    there = gc.to_device({"w": np.ones(3), "rate": 0.1, "rest": (np.float32(2), None)})
    assert there["rate"] == 0.1
    assert there["rest"][1] is None
    assert float(there["rest"][0]) == 2.0
    assert isinstance(there["w"], DeviceArray)


def test_one_number_is_a_number(device):
    there = gc.to_device(np.array(7))
    assert (int(there), float(there), there.item(), f"{there:03d}") == (7, 7.0, 7, "007")
    assert bool(there)
    assert [10, 20, 30, 40, 50, 60, 70, 80][there] == 80
    with pytest.raises(TypeError):
        len(there)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "?"])
def test_numpy_takes_it_where_it_is(emulated, shape, dtype):
    x = np.ones(shape, dtype)
    there = gc.to_device(x)
    seen = np.from_dlpack(there)
    assert (seen.shape, seen.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(seen, x)
    if seen.size:
        assert seen.ctypes.data == there.address


def test_bfloat16_is_shared_too(emulated):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.arange(5).astype(bfloat16)
    there = imported(Capsule(gc.to_device(x)), current_session())
    assert there.dtype == bfloat16
    np.testing.assert_array_equal(np.asarray(there), x)


def test_copies_are_others(device):
    there = gc.to_device(np.arange(4.0))
    for other in (
        there.copy(),
        copy.deepcopy({"w": there})["w"],
        pickle.loads(pickle.dumps(there)),
    ):
        assert other.address != there.address
        assert other.copy_to_host().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_memory_lives_as_long_as_who_took_it(emulated):
    there = gc.to_device(np.arange(1000.0))
    seen = np.from_dlpack(there)
    address = there.address
    del there
    collector.collect()
    assert gc.to_device(np.zeros(1000)).address != address
    np.testing.assert_array_equal(seen, np.arange(1000.0))
    del seen
    assert gc.to_device(np.zeros(1000)).address == address


def test_a_capsule_that_nobody_took_keeps_nothing(emulated):
    used = current_session().pool.bytes_used
    gc.to_device(np.arange(1000.0)).__dlpack__()
    assert current_session().pool.bytes_used == used
    assert not dlpack._kept


def test_another_librarys_array_is_taken_where_it_is(emulated):
    x = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    there = imported(Shared(x), current_session())
    assert (there.address, there.shape, there.dtype) == (x.ctypes.data, x.shape, x.dtype)
    assert there.copy_to_host().tolist() == x.tolist()


def test_memory_of_this_machine_becomes_a_numpy_array(as_gpu):
    x = np.arange(3.0)
    assert imported(Shared(x), current_session()) is not x
    np.testing.assert_array_equal(imported(Shared(x), current_session()), x)


def test_memory_of_another_device_is_refused(as_gpu):
    with pytest.raises(errors.ArgumentError, match=r"device 3 .*move it"):
        imported(Shared(np.zeros(3), dlpack.CUDA, 3), current_session())


def test_cudas_interface(as_gpu):
    there = imported(Interface(), current_session())
    assert (there.address, there.shape, there.dtype) == (0x1000, (2, 3), np.float32)
    ours = gc.to_device(np.zeros((2, 3)))
    assert ours.__cuda_array_interface__ == {
        "shape": (2, 3),
        "typestr": "<f8",
        "data": (ours.address, False),
        "strides": None,
        "version": 3,
        "stream": 1,
    }


def test_work_of_another_stream_is_waited_for(as_gpu, monkeypatch):
    waited = []
    monkeypatch.setattr(as_gpu, "wait_for", waited.append)
    for stream in (None, 1, 2, 12345):
        imported(Interface(stream=stream), current_session())
    assert waited == [2, 12345]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (4, 8)}, "row-major"),
        ({"mask": object()}, "mask"),
    ],
)
def test_what_cannot_be_taken_is_refused(as_gpu, changes, message):
    with pytest.raises(errors.ArgumentError, match=message):
        imported(Interface(**changes), current_session())


def test_an_array_of_another_gpu_is_refused(as_gpu, monkeypatch):
    monkeypatch.setattr(as_gpu, "owner_of", {0x1000: 1}.get)
    with pytest.raises(errors.ArgumentError, match=r"lies on device 1, .* on device 0"):
        imported(Interface(), current_session())
    assert imported(Interface(data=(0x2000, False)), current_session()).shape == (2, 3)


class Tensor(Shared, Interface):
    """As torch has it: DLPack says which stream to wait for, CUDA's interface does not."""

    def __init__(self, array, kind):
        Shared.__init__(self, array, kind)
        Interface.__init__(self)

    def __dlpack__(self, stream=None):
        self.stream = stream
        return super().__dlpack__()


def test_dlpack_where_there_is_both(as_gpu):
    x = np.zeros(5)
    tensor = Tensor(x, dlpack.CUDA)
    assert imported(tensor, current_session()).address == x.ctypes.data
    assert tensor.stream == 1


class Refusing:
    """As torch's tensors that gradients are asked of."""

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("requires grad")

    def __dlpack__(self, **_):
        raise BufferError("use tensor.detach()")

    def __dlpack_device__(self):
        return dlpack.CUDA, 0


def test_what_is_not_handed_over_is_an_error_that_says_so(as_gpu):
    with pytest.raises(errors.ArgumentError, match=r"Refusing .* use tensor.detach\(\)"):
        gc.compile(lambda x: x + 1.0, target="cuda")(Refusing())


def test_an_array_of_a_gpu_on_the_emulated_device(emulated):
    with pytest.raises(errors.ArgumentError, match="memory of a GPU"):
        imported(Interface(), current_session())


def test_cudas_interface_of_nothing_and_of_what_it_has_no_name_for(as_gpu):
    assert gc.to_device(np.zeros((0, 3))).__cuda_array_interface__["data"] == (0, False)
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert not hasattr(gc.to_device(np.zeros(3, bfloat16)), "__cuda_array_interface__")


def test_a_consumers_stream_comes_after_our_work(as_gpu, monkeypatch):
    waited = []
    monkeypatch.setattr(as_gpu, "let_wait", waited.append)
    monkeypatch.setattr(as_gpu, "synchronise", lambda: waited.append("here"))
    there = gc.to_device(np.zeros(3))
    for stream in (None, -1, 1, 2, 12345):
        there.__dlpack__(stream=stream)
    assert waited == ["here", 2, 12345]


def test_a_capsule_says_how_far_apart_elements_are(emulated):
    """DLPack asks for that from version 1.2 on."""
    for shape, strides in (((2, 3, 4), (12, 4, 1)), ((), ()), ((2, 0), (0, 1))):
        capsule = gc.to_device(np.zeros(shape)).__dlpack__()
        assert dlpack.read(capsule).strides == strides


def test_strides_that_are_those_of_row_major_order(as_gpu):
    assert imported(Interface(strides=(12, 4)), current_session()).shape == (2, 3)
    assert imported(Interface(shape=(1, 3), strides=(400, 4)), current_session()).shape == (1, 3)


def test_the_emulated_device_has_no_cuda_memory(emulated):
    assert not hasattr(gc.to_device(np.zeros(2)), "__cuda_array_interface__")


def test_elements_without_a_dtype_are_refused():
    with pytest.raises(BufferError, match="dtype"):
        dlpack.capsule(dlpack.Shared(0, 1, 0, np.dtype("U3"), (1,), None), None)
    with pytest.raises(ValueError, match="PyCapsule"):
        dlpack.read(object())


@pytest.mark.parametrize(
    "failure, raised",
    [(Fault("it stops"), errors.DeviceFaultError), (OutOfMemory(), errors.DeviceMemoryError)],
)
def test_a_copy_that_gets_no_memory(emulated, monkeypatch, failure, raised):
    array = gc.to_device(np.ones(300))

    def allocate(nbytes):
        raise failure

    monkeypatch.setattr(emulated, "allocate", allocate)
    with pytest.raises(raised):
        array.copy()
