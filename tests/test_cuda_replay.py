"""Calls that have been made before: one launch, and nothing else."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.runtime.calling import MISS
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.device import Fault, OutOfMemory
from graphc.runtime.cuda.emulated.host import HostDevice

X = np.linspace(-1.0, 2.0, 40)


def on_device(function=None, **options):
    return gc.compile(function, target="cuda", **options)


class Told:
    """What a device was told since this was made."""

    NAMES = ("replays", "uploads", "downloads", "copies")

    def __init__(self, device):
        self._device = device
        self._before = {name: getattr(device, name) for name in self.NAMES}

    def since(self):
        made = {n: getattr(self._device, n) - before for n, before in self._before.items()}
        return {name: count for name, count in made.items() if count}


def sgd(params, x, rate):
    loss, gradient = gc.value_and_grad(lambda p: ((p["w"] * x + p["b"]) ** 2).sum())(params)
    return loss, {k: params[k] - rate * gradient[k] for k in params}


def params_of():
    return {"w": np.ones(40), "b": np.zeros(40), "scale": np.ones(2)}


@pytest.mark.parametrize("where", ["device", "host"])
def test_a_step_of_training_is_one_launch(emulated, where):
    step, plain = on_device(sgd), gc.compile(sgd)
    there, here, x = gc.to_device(params_of()), params_of(), gc.to_device(X)
    rate = gc.to_device(np.array(0.01)) if where == "device" else 0.01
    for turn in range(12):
        told = Told(emulated)
        loss, there = step(there, x, rate)
        assert turn < 6 or told.since() == {"replays": 1}
        wanted, here = plain(here, X, 0.01)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-12)
    for name, array in there.items():
        np.testing.assert_allclose(np.asarray(array), here[name], rtol=1e-12)


def test_a_number_that_changes_is_brought_there(emulated):
    step = on_device(lambda x, a, n: np.copysign(x, a) * n)
    x = gc.to_device(X)
    numbers = [1.0, 1.0, -1.0, 0.0, -0.0, 0.0, -0.0, np.nan, 2.0, 2.0]
    for _ in range(3):
        for number in numbers:
            for n in (1, 3):
                got = np.asarray(step(x, number, n))
                np.testing.assert_array_equal(got, np.copysign(X, number) * n)
    told = Told(emulated)
    for number in (2.5, 2.5, 2.5, 3.5):
        step(x, number, 3)
    assert told.since() == {"replays": 4, "uploads": 2}


def test_a_loop_of_known_length_is_in_the_launch(emulated):
    def states(w, xs):
        h = np.zeros((4, 8))
        for x in xs:
            h = np.tanh(x + h @ w)
        return h

    rng = np.random.default_rng(0)
    w, xs = rng.standard_normal((8, 8)) * 0.3, rng.standard_normal((50, 4, 8))
    run, there, wanted = on_device(states), gc.to_device((w, xs)), states(w, xs)
    for turn in range(6):
        told = Told(emulated)
        found = run(*there)
        assert turn < 4 or told.since() == {"replays": 1}
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12)


def test_numbers_of_two_callers(emulated):
    """What one has brought is not what the other reads."""
    step = on_device(lambda x, a: x * a)
    x, wrong = gc.to_device(X), []

    def run(number):
        for _ in range(50):
            if not np.array_equal(np.asarray(step(x, number)), X * number):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(float(i),)) for i in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_small_arrays_of_this_machine_between_numbers(emulated):
    step = on_device(lambda x, a: x * a)
    x = gc.to_device(X)
    for a in (2.0, np.array(3.0), 2.0, np.array(4.0), 2.0, 2.0):
        np.testing.assert_array_equal(np.asarray(step(x, a)), X * a)


def test_a_small_array_that_was_there_before_another_was_copied_to_its_place(emulated):
    step = on_device(lambda x, a: x * a[0])
    x, here = gc.to_device(X), np.full(3, 100.0)
    there = [gc.to_device(np.full(3, float(i))) for i in range(9)]  # more than are read in place
    for a in there:
        step(x, a)
    for a in (here, there[8], here, np.zeros(3), there[8], np.zeros(3)):
        np.testing.assert_array_equal(np.asarray(step(x, a)), X * np.asarray(a)[0])


def test_results_that_are_kept(emulated):
    step = on_device(lambda x, n: ((x * n).sum(), x * n))
    x = gc.to_device(X)
    kept = [step(x, float(n)) for n in range(30)]
    for n, (total, array) in enumerate(kept):
        assert float(total) == pytest.approx((X * n).sum())
        np.testing.assert_array_equal(np.asarray(array), X * n)


def test_losses_that_are_kept_cost_a_copy(emulated):
    step = on_device(lambda x: (x.sum(), x * 0.5))
    x, kept = gc.to_device(X), []
    for _ in range(20):
        told = Told(emulated)
        loss, x = step(x)
        kept.append(loss)
    assert told.since() == {"replays": 1, "copies": 1}
    np.testing.assert_allclose([float(v) for v in kept], [(X * 0.5**i).sum() for i in range(20)])


def test_small_arguments_that_lie_somewhere_else_each_time(emulated):
    step = on_device(lambda x, a: np.cumsum(x * a))
    x = gc.to_device(X)
    rates = [gc.to_device(np.array(float(i))) for i in range(20)]
    for turn, rate in enumerate(rates):
        told = Told(emulated)
        got = step(x, rate)
        np.testing.assert_allclose(np.asarray(got), np.cumsum(X * turn))
        del got
    assert told.since()["copies"] == 1
    assert told.since()["replays"] == 1


def test_arguments_that_do_not_fit(emulated):
    step = on_device(lambda x, a: x * a)
    x = gc.to_device(X)
    for _ in range(4):
        step(x, 2.0)
    fast = step._fast
    assert fast(x, 2.0) is not MISS
    assert fast(x, 2) is MISS
    assert fast(X, 2.0) is MISS
    assert fast(gc.to_device(X[:5]), 2.0) is MISS
    assert fast(x, a=2.0) is MISS
    assert fast(gc.to_device(X.astype("f4")), 2.0) is MISS
    np.testing.assert_array_equal(np.asarray(step(x, a=2.0)), X * 2.0)
    np.testing.assert_array_equal(np.asarray(step(gc.to_device(X[:5]), 2)), X[:5] * 2)
    np.testing.assert_array_equal(np.asarray(step(x, 2.0)), X * 2.0)


def test_one_array_twice(emulated):
    step = on_device(lambda x, y: x * 2.0 + y)
    x, y = gc.to_device(X), gc.to_device(X + 1.0)
    for _ in range(4):
        np.testing.assert_allclose(np.asarray(step(x, y)), X * 2.0 + (X + 1.0))
        np.testing.assert_allclose(np.asarray(step(x, x)), X * 3.0)


def test_updates_in_place(emulated):
    @on_device
    def step(w, count, x):
        w -= 0.5 * x
        count += 1
        return w.sum()

    w, count, x = gc.to_device(X), gc.to_device(np.zeros(2)), gc.to_device(X * 0.25)
    for turn in range(1, 9):
        told = Told(emulated)
        total = step(w, count, x)
        assert turn < 5 or told.since() == {"replays": 1}
        assert float(total) == pytest.approx((X - 0.125 * turn * X).sum())
        assert np.asarray(count).tolist() == [turn, turn]
    half = DeviceArray(w.session, w.address + 16, (38,), w.dtype, w, origin=object())
    whole = on_device(lambda a, b: a.__iadd__(b[0]))
    for _ in range(4):
        with pytest.raises(errors.OverlapError):
            whole(w, half)


def test_a_device_that_stops(emulated, monkeypatch):
    step = on_device(lambda x: np.cumsum(np.sort(x)))
    with use(HostDevice()) as session:
        x = gc.to_device(X)
        for _ in range(4):
            step(x)

        def fails(recording):
            session.device.is_lost = True
            raise Fault("it stops")

        monkeypatch.setattr(session.device, "replay", fails)
        with pytest.raises(errors.DeviceFaultError, match=r"it stops.*kernel.*cuda_replay.py"):
            step(x)
        with pytest.raises(errors.ArgumentError, match="stopped since"):
            step(x)
        x = gc.to_device(X)
        for _ in range(5):
            np.testing.assert_array_equal(np.asarray(step(x)), np.cumsum(np.sort(X)))


@pytest.mark.parametrize(
    "error, raised", [(Fault("it stops"), "it stops"), (OutOfMemory(), "no memory|bytes left")]
)
@pytest.mark.parametrize("what", ["allocate", "replay", "upload"])
def test_what_fails_on_the_way_is_an_error_of_graphc(emulated, monkeypatch, what, error, raised):
    step = on_device(lambda x, a: np.cumsum(x) * a)
    with use(HostDevice()) as session:
        x, kept = gc.to_device(X), []
        for _ in range(4):
            step(x, 2.0)

        def fails(*_):
            raise error

        monkeypatch.setattr(session.device, what, fails)
        with pytest.raises((errors.DeviceFaultError, errors.DeviceMemoryError), match=raised):
            for number in range(6):
                kept.append(step(x, 3.0 + number))
        monkeypatch.undo()
        np.testing.assert_allclose(np.asarray(step(x, 5.0)), np.cumsum(X) * 5.0)


def test_another_device(emulated):
    step = on_device(lambda x: np.cumsum(np.sort(x)))
    for _ in range(2):
        with use(HostDevice()) as session:
            x = gc.to_device(X)
            for _ in range(5):
                np.testing.assert_array_equal(np.asarray(step(x)), np.cumsum(np.sort(X)))
            assert session.device.replays >= 3


@pytest.mark.parametrize("options", [{"check_nan": True}, {"donate": "x"}])
def test_calls_that_take_more_than_a_launch(emulated, options):
    step = on_device(lambda x: np.sort(x) * 2.0, **options)
    for _ in range(5):
        np.testing.assert_array_equal(np.asarray(step(gc.to_device(X))), np.sort(X) * 2.0)
    assert step._fast is None


def test_checks_are_looked_at_each_time(emulated):
    step = on_device(lambda x, i: x[i] * 2.0)
    x, good, bad = gc.to_device(X), gc.to_device(np.array(3)), gc.to_device(np.array(99))
    for _ in range(5):
        assert float(step(x, good)) == X[3] * 2.0
        with pytest.raises(errors.IndexOutOfRangeError):
            step(x, bad)


def test_values_that_the_trace_was_specialised_to(emulated):
    step = on_device(lambda x, n: sum(x * i for i in range(n)))
    x = gc.to_device(X)
    for _ in range(4):
        for n in (2, 5, 2):
            np.testing.assert_allclose(np.asarray(step(x, n)), X * sum(range(n)))


def test_complex_numbers(emulated):
    step = on_device(lambda z, a: z * a)
    z = gc.to_device(X + 1j * X[::-1])
    for _ in range(5):
        got = np.asarray(step(z, 2.0 - 1j))
        np.testing.assert_allclose(got, (X + 1j * X[::-1]) * (2.0 - 1j))


def test_complex_numbers_that_differ_in_the_sign_of_a_zero(emulated):
    step = on_device(lambda x, a: x * np.sqrt(a))
    x = gc.to_device(X)
    for a in (complex(-1.0, 0.0), complex(-1.0, -0.0)) * 5:
        np.testing.assert_allclose(np.asarray(step(x, a)), X * np.sqrt(a), atol=1e-15)
