"""The memory of large results: aligned, used again when free and never before, and bounded."""

import ctypes
import gc as garbage
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import graphc as gc
from graphc.runtime.llvm import result_memory
from graphc.runtime.llvm.result_memory import LARGE

pytestmark = pytest.mark.cpu_only("where its results lie")

USUAL = "default_allocator"
OURS = "graphc_results"
COUNT = LARGE // 8
"""The elements of the smallest large array of doubles."""


@pytest.fixture(autouse=True)
def memory():
    """The result memory, which keeps nothing yet."""
    memory = result_memory.load()
    limit = memory.limit
    garbage.collect()
    memory.set_limit(0)
    memory.set_limit(16 * LARGE)
    yield memory
    memory.set_limit(limit)


def native(function, *args):
    """A compiled function after the calls that make it native."""
    compiled = gc.compile(function)
    for _ in range(3):
        compiled(*args)
    return compiled


def floats(count):
    return np.arange(float(count))


def plus(count):
    """`x + n` on so many doubles, as a function of n."""
    x = floats(count)
    compiled = native(lambda x, n: x + n, x, 0.0)
    return lambda n: compiled(x, n)


def place(array):
    return array.__array_interface__["data"][0]


def test_large_results_lie_in_our_memory_aligned_to_cache_lines():
    call = plus(COUNT + 3)
    results = [call(float(n)) for n in range(5)]
    assert {get_handler_name(result) for result in results} == {OURS}
    assert all(place(result) % 64 == 0 for result in results)
    assert all(result.flags.owndata and result.flags.writeable for result in results)


def test_small_results_lie_where_they_always_did():
    assert get_handler_name(plus(COUNT - 1)(1.0)) == USUAL


def test_small_results_beside_large_ones_are_right_too():
    x = floats(COUNT)
    call = native(lambda x: (x[:3] + 1.0, x + 1.0, x[:0] * 2.0), x)
    for _ in range(3):
        small, large, nothing = call(x)
        np.testing.assert_array_equal(small, [1.0, 2.0, 3.0])
        np.testing.assert_array_equal(large, x + 1.0)
        assert nothing.shape == (0,)


def test_other_arrays_are_not_touched():
    call = plus(COUNT)
    call(1.0)
    assert get_handler_name() == USUAL
    assert get_handler_name(np.empty(COUNT)) == USUAL


def test_the_slow_path_has_the_same_memory():
    result = native(lambda x, n: x + n, floats(COUNT), 1.0)(floats(2 * COUNT)[::2], 1.0)
    assert get_handler_name(result) == OURS


def test_memory_is_used_again_once_its_array_is_gone(memory):
    call = plus(COUNT)
    result = call(1.0)
    first = place(result)
    del result
    assert memory.kept == LARGE
    again = call(2.0)
    assert place(again) == first
    assert memory.kept == 0


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array[5:],
        lambda array: array.reshape(2, -1).T,
        memoryview,
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: [array],
    ],
    ids=["slice", "transpose", "memoryview", "frombuffer", "list"],
)
def test_memory_is_not_used_again_while_anything_sees_it(hold, memory):
    call = plus(COUNT)
    result = call(1.0)
    first = place(result)
    view = hold(result)
    before = np.array(view)
    del result
    garbage.collect()
    assert memory.kept == 0
    others = [call(float(n)) for n in range(3)]
    assert first not in map(place, others)
    np.testing.assert_array_equal(np.array(view), before)
    del view
    garbage.collect()
    assert memory.kept == LARGE


def test_results_that_are_kept_keep_their_values():
    call = plus(COUNT)
    kept = []
    for n in range(24):
        result = call(float(n))
        if n % 3 == 0:
            kept.append((n, result))
    for n, result in kept:
        np.testing.assert_array_equal(result, floats(COUNT) + n)


def test_a_result_as_the_next_argument():
    x = floats(COUNT)
    step = native(lambda x: x + 1.0, x)
    for _ in range(50):
        x = step(x)
    np.testing.assert_array_equal(x, floats(COUNT) + 50.0)


def test_no_more_is_kept_than_the_limit_and_the_oldest_goes(memory):
    memory.set_limit(4 * LARGE)
    calls = [plus(COUNT * times) for times in (1, 2, 4)]
    for call in calls[:2]:
        call(1.0)
    assert memory.kept == 3 * LARGE
    large = calls[2](1.0)
    del large
    assert memory.kept == 4 * LARGE  # the two before it are gone
    calls[0](1.0)
    assert memory.kept == LARGE  # as is the large one: no place for five


def test_what_is_larger_than_the_limit_is_not_kept(memory):
    memory.set_limit(2 * LARGE)
    plus(COUNT)(1.0)
    plus(3 * COUNT)(1.0)
    assert memory.kept == LARGE
    memory.set_limit(0)
    assert memory.kept == 0


@pytest.mark.parametrize("count", [COUNT, COUNT + 1, 2 * COUNT - 1, 2 * COUNT, 9 * COUNT // 4])
def test_blocks_are_little_larger_than_what_they_hold(count, memory):
    call = plus(count)
    call(1.0)
    memory.set_limit(0)
    memory.set_limit(16 * LARGE)
    call(1.0)
    assert 8 * count <= memory.kept <= 9 * count


def test_nobody_waits_for_a_pool_in_use(memory):
    """What a forked child finds if another thread was at the pool: it keeps no blocks."""
    call = plus(COUNT)
    call(1.0)
    words = result_memory._words(memory.machine)
    words[0] = 1
    try:
        np.testing.assert_array_equal(call(2.0), floats(COUNT) + 2.0)
        assert memory.kept == LARGE
    finally:
        words[0] = 0


def test_resized_results():
    call = plus(COUNT)
    for count in (3, COUNT - 1, COUNT + 1, 3 * COUNT):
        result = call(1.0)
        result.resize(count, refcheck=False)
        same = min(count, COUNT)
        np.testing.assert_array_equal(result[:same], floats(same) + 1.0)
        assert not result[same:].any()


def test_copies_and_pickles():
    result = plus(COUNT)(1.0)
    for other in (result.copy(), pickle.loads(pickle.dumps(result))):
        np.testing.assert_array_equal(other, result)
        assert get_handler_name(other) != OURS


USER = result_memory.Handler.from_buffer_copy(result_memory.handler_of(result_memory.load().usual))
"""A handler of the user; it lives as long as any array."""
USER.name = b"user"


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_handler_of_the_user_is_used_for_results_too(is_slow):
    x = floats(COUNT)
    call = native(lambda x, n: x + n, x, 1.0)
    before = result_memory.set_handler(result_memory.make_capsule(ctypes.addressof(USER)))
    try:
        result = call(floats(2 * COUNT)[::2] if is_slow else x, 1.0)
        assert get_handler_name() == get_handler_name(result) == "user"
    finally:
        result_memory.set_handler(before)


def test_tracemalloc_sees_results():
    call = plus(COUNT)
    tracemalloc.start()
    try:
        result = call(1.0)
        held, _ = tracemalloc.get_traced_memory()
        assert held >= LARGE
        del result
        assert tracemalloc.get_traced_memory()[0] < LARGE
    finally:
        tracemalloc.stop()


def test_many_threads(memory):
    """Results go from thread to thread; none is seen to change."""
    calls = [plus(COUNT + 1000 * i) for i in range(3)]
    wrong = []

    def work(seed):
        results = []
        for n in range(60):
            number = float(100 * seed + n)
            results.append((number, calls[(seed + n) % 3](number)))
            if len(results) > 4:
                number, result = results.pop(n % 3)
                if result[0] != number or not (np.diff(result) == 1.0).all():
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert memory.kept <= memory.limit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_and_returns_memory_of_its_own():
    call = plus(COUNT)
    held = call(1.0)
    call(2.0)
    child = os.fork()
    if child == 0:
        good = (call(3.0) == floats(COUNT) + 3.0).all() and (held == floats(COUNT) + 1.0).all()
        os._exit(0 if good else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    np.testing.assert_array_equal(call(4.0), floats(COUNT) + 4.0)
    np.testing.assert_array_equal(held, floats(COUNT) + 1.0)


PROGRAM = f"""
import sys, weakref
import numpy as np, graphc as gc

gc.kept_memory(LIMIT)

class Late:
    def __del__(self):  # runs when the modules are gone
        self.array += 1.0
        del self.array

x = np.zeros({COUNT})
f = gc.compile(lambda x: x + 1.0)
late = Late()
for _ in range(4):
    late.array = f(x)
sys.keep = late
np.keep = f(x)
print(gc.kept_memory())
"""


@pytest.mark.parametrize("limit", [12345678, 0])
def test_arrays_may_outlive_the_interpreters_modules(limit):
    program = PROGRAM.replace("LIMIT", str(limit))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, str(limit), "")


def test_the_usual_limit_is_a_part_of_the_machines_memory():
    assert 0 < result_memory.usual_limit() <= result_memory.MOST_KEPT


@pytest.mark.parametrize("limit", [-1, 1.5, True, "64 MB"])
def test_limits_that_are_none(limit):
    before = gc.kept_memory()
    with pytest.raises(gc.errors.ArgumentError, match="a number of bytes from 0 upwards"):
        gc.kept_memory(limit)
    assert gc.kept_memory() == before


def test_it_is_made_for_the_first_large_result():
    program = (
        "import numpy as np, graphc as gc\n"
        "from numpy._core.multiarray import get_handler_name\n"
        "from graphc.runtime.llvm.result_memory import LARGE, _Loading\n"
        "step = gc.compile(lambda x: x + 1.0)\n"
        "for size in (2, 2, 3, 3, 4, 4):\n"
        "    step(np.zeros(size))\n"
        "assert _Loading.done is None\n"
        "for size in 2 * [LARGE // 8] + 2 * [LARGE // 4]:\n"
        "    x = step(np.zeros(size))\n"
        "assert _Loading.done is not None and x.ctypes.data % 64 == 0\n"
        "assert get_handler_name(x) == 'graphc_results'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
