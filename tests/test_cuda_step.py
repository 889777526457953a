"""Compiled functions on a device: arguments, results, updates, control flow, checks, recordings."""

from __future__ import annotations

import copy
import ctypes
import pickle
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.current import current_session, use
from graphc.runtime.cuda.emulated.host import HostDevice


def on_device(function=None, **options):
    return gc.compile(function, target="cuda", **options)


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


# ---- arguments and results -----------------------------------------------------------------------


def test_results_stay_on_the_device(device):
    y, total = on_device(lambda x: (np.exp(x), x.sum()))(np.ones((2, 3)))
    assert isinstance(y, DeviceArray)
    assert isinstance(total, DeviceArray)
    np.testing.assert_allclose(np.asarray(y), np.exp(np.ones((2, 3))))
    assert float(total) == 6.0


@pytest.mark.parametrize(
    "given",
    [np.ones(4), np.ones((4, 4))[:, 1], np.ones(4)[::-1], 2.0, 3, np.float32(2), np.ones(())],
    ids=["array", "column", "reversed", "float", "int", "scalar", "no axes"],
)
def test_arguments_of_this_machine(device, given):
    def function(x):
        return x * 2.0 + 1.0

    got = on_device(function)(given)
    wanted = gc.compile(function)(given)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(np.asarray(got), wanted)


def test_parameters_are_not_copied_from_one_step_to_the_next(emulated):
    @on_device
    def step(params, x):
        loss, gradient = gc.value_and_grad(lambda p: ((x @ p["w"] + p["b"]) ** 2).mean())(params)
        return loss, {k: params[k] - 0.1 * gradient[k] for k in params}

    params = gc.to_device({"w": normal(30, 20), "b": np.zeros(20)})
    x = gc.to_device(normal(10, 30))
    losses = []
    for turn in range(12):
        if turn == 4:
            emulated.uploads = 0
        loss, params = step(params, x)
        losses.append(loss)
    assert emulated.uploads == 0
    assert emulated.downloads == 0
    assert emulated.replays >= 6
    assert np.all(np.diff([float(loss) for loss in losses]) < 0)


def test_a_value_that_is_kept_does_not_keep_the_step_from_its_recordings(emulated):
    step = on_device(lambda x, rate: ((x**2).sum(), x - rate * np.cumsum(np.sort(x))))
    x, kept = gc.to_device(normal(100)), []
    for turn in range(20):
        loss, x = step(x, 0.01 * turn)
        kept.append(loss)
    assert emulated.replays >= 14
    assert len({loss.address for loss in kept}) == 20


def test_symmetric_arguments_that_are_one_array(device):
    def function(x, y):
        x += 1.0
        return x * y

    for place in (np.copy, gc.to_device):
        a, b = normal(5), normal(5)
        same, other = place(a), place(b)
        np.testing.assert_allclose(np.asarray(on_device(function)(same, same)), (a + 1) ** 2)
        np.testing.assert_allclose(np.asarray(on_device(function)(other, same)), (b + 1) * (a + 1))


def test_arrays_of_one_kind_share_a_step_wherever_they_lie(device):
    traces = []

    @on_device
    def function(x):
        traces.append(x)
        return x + 1.0

    function(np.ones(3))
    function(gc.to_device(np.ones(3)))
    assert len(traces) == 1


class Foreign:
    """An array of another library, on the device."""

    def __init__(self, array):
        self.ours = gc.to_device(array)

    def __dlpack__(self, stream=None):
        return self.ours.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.ours.__dlpack_device__()


def test_arrays_of_other_libraries(device):
    def function(tree, x):
        tree["w"] -= x
        return tree["w"] * 2.0, tree

    w, x = Foreign(np.ones(100)), Foreign(np.arange(100.0))
    doubled, tree = on_device(function)({"w": w, "name": "dense"}, x)
    np.testing.assert_array_equal(np.asarray(doubled), 2.0 - 2.0 * np.arange(100.0))
    np.testing.assert_array_equal(np.asarray(w.ours), 1.0 - np.arange(100.0))
    assert tree["w"] is w
    assert tree["name"] == "dense"


def test_an_argument_that_lies_nowhere_in_particular_is_copied_to_where_code_expects_it(emulated):
    """Code reads 16 bytes at once; another library's array may begin anywhere."""
    memory = gc.to_device(np.arange(64, dtype=np.float32))
    function = on_device(lambda x: x * 2.0)
    shifted = DeviceArray(
        memory.session, memory.address + 4, (60,), memory.dtype, memory, origin=memory
    )
    np.testing.assert_array_equal(np.asarray(function(shifted)), 2.0 * np.arange(1, 61))


def test_an_argument_of_the_device_in_a_function_for_the_processor(device):
    with pytest.raises(errors.ArgumentError, match=r'argument x lies .*target="cuda"'):
        gc.compile(lambda x: x + 1.0)(gc.to_device(np.ones(3)))


# ---- updates and donation ------------------------------------------------------------------------


def test_updates(device):
    @on_device
    def update(w, g):
        w -= 0.1 * g

    for place in (np.copy, gc.to_device):
        w = place(np.ones(5))
        assert update(w, np.ones(5)) is None
        np.testing.assert_allclose(np.asarray(w), 0.9)
    strided = np.ones((5, 5))
    update(strided[:, 2], np.ones(5))
    assert strided.sum() == pytest.approx(24.5)


def test_a_number_is_updated_where_it_is(device):
    @on_device
    def count(n):
        n += 1
        return n

    n = gc.to_device(np.zeros((1,), np.int64))
    for _ in range(4):
        assert count(n) is n
    assert n.copy_to_host().tolist() == [4]


def test_an_argument_that_cannot_be_written_to(device):
    @on_device
    def update(w):
        w += 1.0

    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(errors.ReadOnlyError, match="w is assigned to"):
        update(frozen)


def test_an_array_that_its_library_does_not_want_changed(emulated):
    """NumPy says so in version 1 of DLPack."""

    @on_device
    def update(w, x):
        w += x

    class Other:
        def __init__(self, array):
            self.__dlpack__ = array.__dlpack__
            self.__dlpack_device__ = array.__dlpack_device__

    free, frozen = np.ones(20), np.ones(20)
    frozen.flags.writeable = False
    update(Other(free), Other(frozen))
    assert free.tolist() == [2.0] * 20
    with pytest.raises(errors.ReadOnlyError, match="w is assigned to"):
        update(Other(frozen), Other(free))


def test_an_array_of_jax_is_never_changed(emulated):
    numpy = pytest.importorskip("jax.numpy", reason="jax is not installed")
    x = numpy.arange(20.0)

    @on_device
    def update(w):
        w += 1.0
        return w * 2.0

    with pytest.raises(errors.ReadOnlyError, match="w is assigned to"):
        update(x)
    assert x.tolist() == list(range(20))
    doubled = on_device(lambda x: x * 2.0)(x)
    assert numpy.from_dlpack(doubled).tolist() == [2 * i for i in range(20)]


def test_overlapping_arguments(device):
    @on_device
    def update(w, x):
        w += x

    whole = gc.to_device(np.ones(6))
    half = DeviceArray(whole.session, whole.address + 16, (4,), whole.dtype, whole)
    start = DeviceArray(whole.session, whole.address, (4,), whole.dtype, whole)
    with pytest.raises(errors.OverlapError, match=r"w is assigned to .* memory with x"):
        update(start, half)
    x = np.ones(6)
    with pytest.raises(errors.OverlapError, match=r"w is assigned to .* memory with x"):
        update(x[:4], x[2:])
    assert whole.copy_to_host().tolist() == x.tolist() == [1.0] * 6


@pytest.mark.parametrize("place", [np.copy, lambda x: gc.to_device(x), Foreign])
def test_donated_arguments(device, place):
    step = on_device(lambda p, g: p - g, donate="p")
    first = place(np.ones(50))
    given = first.ours if place is Foreign else first
    new = step(first, np.ones(50))
    assert isinstance(new, DeviceArray)
    assert np.asarray(new).tolist() == [0.0] * 50
    if isinstance(given, DeviceArray):
        assert new.address == given.address
    with pytest.raises(errors.DonatedError, match="p was donated"):
        step(first, np.ones(50))
    assert np.asarray(step(new, np.ones(50))).tolist() == [-1.0] * 50


# ---- control flow --------------------------------------------------------------------------------


def test_only_the_branch_that_is_taken_runs(emulated):
    @on_device
    def function(x, y):
        return np.cumsum(np.sort(np.cumsum(x))) if y > 0 else x

    function(np.ones(5), -1.0)
    few = emulated.launches
    function(np.ones(5), 1.0)
    assert emulated.launches - few > few


def test_a_loop_until_something_holds(device):
    def function(x):
        n = 0
        while x.sum() < 1000.0:
            x = np.sort(x * 1.5) + 0.1
            n += 1
        return x, n

    for start in (normal(6) ** 2, np.full(6, 1000.0)):
        got, wanted = on_device(function)(start), gc.compile(function)(start)
        np.testing.assert_allclose(np.asarray(got[0]), wanted[0])
        assert int(got[1]) == wanted[1]


def test_the_gradient_of_a_loop_of_unknown_length(device):
    def loss(x):
        while (x**2).sum() < 50.0:
            x = x * 1.5 + 0.1
        return (x**3).sum()

    gradient = gc.grad(loss)
    x = normal(5)
    np.testing.assert_allclose(np.asarray(on_device(gradient)(x)), gradient(x), rtol=1e-12)


def test_records_of_a_loop_are_let_go(emulated):
    def loss(x):
        while (x**2).sum() < 50.0:
            x = x * 1.5 + 0.1
        return (x**3).sum()

    step = on_device(gc.grad(loss))
    step(np.ones(5))
    used = current_session().pool.bytes_used
    for _ in range(5):
        step(np.ones(5))
    assert current_session().pool.bytes_used == used


def test_a_scan_reads_its_slices_and_its_index(device):
    def function(xs, reverse):
        total, seen = xs[0] * 0.0, []
        for i in range(len(xs) - 1, -1, -1) if reverse else range(len(xs)):
            total = np.sort(total * 0.5 + xs[i] * i)
            seen.append(total.sum())
        return total, np.stack(seen)

    xs = normal(30, 4)
    for reverse in (False, True):
        step = on_device(function)
        wanted = function(xs, reverse)
        for _ in range(3):
            got = step(xs, reverse)
            np.testing.assert_allclose(np.asarray(got[0]), wanted[0])
            np.testing.assert_allclose(np.asarray(got[1]), wanted[1])


def test_a_conditional_in_a_loop(device):
    def function(xs):
        total = 0.0
        for i in range(20):
            total = total + xs[i] if total < 3.0 else total * 0.5
        return total

    xs = normal(20) ** 2
    got = on_device(function)(xs)
    assert float(got) == pytest.approx(function(xs))


# ---- checks --------------------------------------------------------------------------------------


def test_an_index_out_of_range(device):
    @on_device
    def function(table, i):
        return np.cumsum(table[i] * 2.0)

    table = normal(5, 3)
    np.testing.assert_allclose(
        np.asarray(function(table, np.array([4, 0]))),
        np.cumsum(table[[4, 0]] * 2.0),
    )
    for bad in ([0, 5], [-6, 0], [2**40, 0]):  # the axis has 5
        with pytest.raises(errors.IndexOutOfRangeError, match=r"test_cuda_step.py:\d+: .*5"):
            function(table, np.array(bad))
    np.testing.assert_allclose(
        np.asarray(function(table, np.array([1, 2]))), np.cumsum(table[[1, 2]] * 2.0)
    )


def test_nothing_is_written_after_a_check_that_failed(device):
    @on_device
    def update(w, x, limit):
        assert x.sum() < limit, f"the sum is {x.sum()}"
        w += x

    w = gc.to_device(np.ones(20))
    for limit in (-1.0, 100.0, -1.0, 100.0, 100.0, -1.0):
        before = w.copy_to_host()
        if limit < 0:
            with pytest.raises(errors.FailedAssertionError, match=r"the sum is 20\.0"):
                update(w, np.ones(20), limit)
        else:
            update(w, np.ones(20), limit)
        assert w.copy_to_host().tolist() == (before + (limit > 0)).tolist()


def test_the_first_of_several_checks_is_the_one_that_is_told(device):
    @on_device
    def function(x):
        assert x > 0, "first"
        assert x > 10, "second"
        return x

    with pytest.raises(errors.FailedAssertionError, match="first"):
        function(-1.0)
    with pytest.raises(errors.FailedAssertionError, match="second"):
        function(5.0)
    assert float(function(11.0)) == 11.0


def test_a_check_in_a_loop_ends_it(device):
    @on_device
    def function(x):
        while x < 1e9:
            assert x < 100, "too large"
            x = x * 2.0
        return x

    with pytest.raises(errors.FailedAssertionError, match="too large"):
        function(1.0)


def test_check_nan_names_the_equation(device):
    function = on_device(lambda x: np.log(x) * 2.0, check_nan=True)
    assert np.asarray(function(gc.to_device(np.ones(3)))).tolist() == [0.0] * 3
    with pytest.raises(errors.NonFiniteError, match="log makes NaN"):
        function(gc.to_device(np.array([1.0, -1.0])))


# ---- functions of this machine -------------------------------------------------------------------


def test_print(device, capfd):
    @on_device
    def function(x):
        y = np.cumsum(x)
        print("sum", y[-1])  # noqa: T201
        return y * 2.0

    assert np.asarray(function(np.ones(3))).tolist() == [2.0, 4.0, 6.0]
    assert capfd.readouterr().out.splitlines() == ["sum 3.0"]


def test_a_function_from_outside(device):
    @numba.njit
    def outside(x):
        return x * 3.0

    @on_device
    def function(x):
        return np.sort(gc.call(outside, gc.Spec((4,), "f64"), x * 2.0)) + 1.0

    x = normal(4)
    np.testing.assert_allclose(np.asarray(function(x)), np.sort(x * 6.0) + 1.0)


# ---- what cannot be ------------------------------------------------------------------------------


def test_a_device_without_room(monkeypatch):
    with use(HostDevice(limit=1 << 16)):
        function = on_device(lambda x: np.sort(np.exp(x)))
        with pytest.raises(errors.DeviceMemoryError, match="smaller batches"):
            function(np.ones(100_000))
        assert np.asarray(function(np.zeros(10))).tolist() == [1.0] * 10


def test_a_kernel_that_touches_what_it_must_not_names_itself(emulated, monkeypatch):
    function = on_device(lambda x: np.exp(x) * 2.0)
    function(np.ones(3))
    launch = emulated._launch
    monkeypatch.setattr(
        emulated, "_launch", lambda f, kernel, at, sizes: launch(f, kernel, at, [0] * len(sizes))
    )
    with pytest.raises(errors.DeviceFaultError, match=r"kernel \w+ \(.*test_cuda_step.py:\d+\)"):
        function(np.ones(3))
    assert np.asarray(function(np.ones(3))).shape == (3,)  # on a device that was started anew


def test_options_of_the_processor_are_refused():
    with pytest.raises(errors.ArgumentError, match="threads=2 is for the processor"):
        on_device(lambda x: x, threads=2)
    with pytest.raises(errors.ArgumentError, match="'gpu' is not available; use 'cpu' or 'cuda'"):
        gc.compile(lambda x: x, target="gpu")
    with pytest.raises(errors.ArgumentError, match="no address"):
        on_device(lambda x: x + 1.0).address(gc.Spec((3,), "f64"))


# ---- as a Python object --------------------------------------------------------------------------


def doubled(x):
    return x * 2.0


def test_copies_and_pickles(device):
    compiled = gc.compile(doubled, target="cuda")
    again = pickle.loads(pickle.dumps(compiled))
    assert again._options.target == "cuda"
    assert np.asarray(again(np.ones(2))).tolist() == [2.0, 2.0]
    assert copy.copy(compiled) is compiled


def test_methods_decorators_and_plain_calls(device):
    class Model:
        rate = 3.0

        @gc.compile(target="cuda")
        def scaled(self, x):
            return x * self.rate

    assert np.asarray(Model().scaled(np.ones(2))).tolist() == [3.0, 3.0]
    with gc.disable_compile():
        plain = gc.compile(doubled, target="cuda")(gc.to_device(np.ones(2)))
    assert type(plain) is np.ndarray


def test_inside_of_another_compiled_function_it_is_part_of_it():
    inner = on_device(lambda x: x * 2.0)
    assert gc.compile(lambda x: inner(x) + 1.0)(np.ones(2)).tolist() == [3.0, 3.0]


def test_steps_share_the_memory_that_holds_nothing_between_them(emulated):
    """Three steps need the temporaries of the largest, and each still gives what it should."""
    small, large, other = (
        on_device(lambda x, n=n: np.cumsum(np.sort(np.cumsum(x[:n])))) for n in (10, 30_000, 20_000)
    )
    x = gc.to_device(normal(30_000))
    host = np.asarray(x)
    small(x), large(x)
    used = current_session().pool.bytes_used
    other(x)
    assert current_session().pool.bytes_used - used < 20_000 * 8
    for _ in range(3):
        for step, n in ((small, 10), (large, 30_000), (other, 20_000)):
            wanted = np.cumsum(np.sort(np.cumsum(host[:n])))
            np.testing.assert_allclose(np.asarray(step(x)), wanted, rtol=1e-9, atol=1e-9)


def sorted_and_given_to(function):
    """A step that has a function of this machine work on sorted values, and adds their sums."""

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    def outside(operand, result):
        given, made = ((ctypes.c_double * 300).from_address(a) for a in (operand, result))
        made[:] = np.asarray(function(np.array(given))).tolist()

    @on_device
    def step(x):
        ordered = np.sort(x)
        return gc.call(outside, gc.Spec((300,), "f64"), ordered) + np.cumsum(ordered)

    return step


def test_a_step_within_a_step(device):
    """It has memory of its own: the temporaries of the outer one, which may be the same, stay."""
    depths = []

    def within(values):
        depths.append(len(depths))
        return step(values[::-1].copy()) if len(depths) % 3 else np.cumsum(values)

    step, x = sorted_and_given_to(within), normal(300)
    for _ in range(4):
        got = np.asarray(step(x))
        np.testing.assert_allclose(got, 4 * np.cumsum(np.sort(x)), rtol=1e-9, atol=1e-9)
    assert len(depths) == 12


def test_a_function_that_waits_for_a_step_of_another_thread(device):
    """It must not wait forever, and afterwards steps share their memory as before."""
    within = on_device(lambda x: np.cumsum(np.sort(x)))

    def waits(values):
        found = []
        thread = threading.Thread(target=lambda: found.append(within(values)), daemon=True)
        thread.start()
        thread.join(timeout=60)
        return found[0]

    step, x = sorted_and_given_to(waits), normal(300)
    for _ in range(4):
        got = np.asarray(step(x))
        np.testing.assert_allclose(got, 2 * np.cumsum(np.sort(x)), rtol=1e-9, atol=1e-9)
    with current_session().working() as has_lent:
        assert not has_lent


def test_several_threads(device):
    function = on_device(lambda x: np.cumsum(np.sort(x * 2.0)))
    xs = [normal(40) + i for i in range(4)]
    wrong = []

    def run(x):
        for _ in range(5):
            if not np.allclose(np.asarray(function(x)), np.cumsum(np.sort(x * 2.0))):
                wrong.append(x)

    threads = [threading.Thread(target=run, args=(x,)) for x in xs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    program = (
        "import sys, graphc, numpy as np; graphc.compile(lambda x: x + 1.0)(np.ones(2));"
        "print([m for m in sys.modules if m.startswith(('graphc.runtime.cuda', 'cuda', 'nvmath'))])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * x.conj()).real.sum() + abs(x),
        lambda x: np.exp(x) * 2.0,
    ],
)
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_numbers(device, function, dtype):
    x = (normal(6) + 1j * normal(6)[::-1]).astype(dtype)
    wanted = gc.compile(function)(x)
    for place in (np.copy, gc.to_device):
        got = on_device(function)(place(x))
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["f2", "u1", "i2", "u8"])
def test_narrow_and_unsigned_numbers(device, dtype):
    def function(x):
        return x * x + x.sum()

    x = np.arange(9).astype(dtype)
    got, wanted = on_device(function)(x), gc.compile(function)(x)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(np.asarray(got), wanted)


@pytest.mark.parametrize("function", [np.sort, np.cumsum, np.linalg.cholesky, np.linalg.inv])
def test_routines_on_nothing(device, function):
    given = np.ones((0, 3, 3))
    got = on_device(lambda x: function(x))(given)
    np.testing.assert_array_equal(np.asarray(got), function(given))


def test_sizes_that_vary_are_traced_once(device):
    traces = []

    @on_device
    def function(x):
        traces.append(x)
        return np.exp(x).sum(axis=0) / len(x)

    for n in (3, 4, 5, 6, 3, 7):
        x = normal(n, 4)
        for place in (np.copy, gc.to_device):
            got = np.asarray(function(place(x)))
            np.testing.assert_allclose(got, np.exp(x).mean(axis=0), rtol=1e-12)
    assert len(traces) == 2


# ---- what is said of it --------------------------------------------------------------------------


def test_explain_needs_no_device():
    report = on_device(lambda x: np.exp(x) * 2.0).explain(gc.Spec((1000,), "f32"))
    assert (report.target, report.straight_runs, len(report.kernels)) == ("cuda", 1, 1)
    (kernel,) = report.kernels
    assert kernel.launches
    assert kernel.launches[0].startswith(f"{kernel.name} <<<")
    assert kernel.launches[0] in str(report)
    assert report.to_dict()["target"] == "cuda"


def test_explain_counts_the_runs_between_what_the_host_does():
    def function(x):
        y = np.sort(x) if x.sum() > 0 else np.cumsum(x)
        return np.cumsum(np.sort(y))

    def spoken(x):
        y = np.sort(np.cumsum(x))
        print(y.sum())  # noqa: T201
        return np.cumsum(np.sort(y))

    spec = gc.Spec((10,), "f32")
    report = on_device(function).explain(spec)
    assert (report.straight_runs, report.host_parts) == (1, ())
    report = on_device(spoken).explain(spec)
    assert report.straight_runs == 2
    (part,) = report.host_parts
    assert part.startswith("print runs on this machine (")
    assert "left to the host: print runs" in str(report)


def test_explain_says_why_the_host_repeats_a_loop():
    def loss(x):
        while (x**2).sum() < 50.0:
            x = x * 1.5 + 0.1
        return (x**3).sum()

    def spoken(x):
        while x.sum() < 50.0:
            if x[0] > 1.0:
                print(x.sum())  # noqa: T201
            x = x * 1.5
        return x

    spec = gc.Spec((10,), "f32")
    first, second = on_device(gc.grad(loss)).explain(spec).host_parts
    assert "turns of a loop (" in first
    assert first.endswith("its records for a gradient take memory that grows")
    assert second.startswith("the turns of a loop")
    said = on_device(spoken).explain(spec).host_parts
    assert [part.partition("(")[0] for part in said] == [
        "the turns of a loop ",
        "which side of a conditional runs ",
        "print runs on this machine ",
    ]
    assert said[0].endswith("it calls what runs on this machine")


def test_a_long_loop_is_repeated_by_the_host():
    def function(x):
        for i in range(3000):
            x = np.sort(x[::-1] * i) if x.sum() > 1e3 else x + 1.0
        return x

    (part,) = on_device(function).explain(gc.Spec((5,), "f64")).host_parts
    assert part.endswith("it is more than 4096 kernels")
