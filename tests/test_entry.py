"""The native entry point: what it takes, what it sends to the slow path, what it gives back."""

import gc as garbage
import os
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc import donation
from graphc.runtime.calling import MISS
from graphc.runtime.llvm import entry

pytestmark = pytest.mark.cpu_only("its entry point")


@pytest.fixture(autouse=True)
def _no_donated_arrays() -> None:
    """While arrays that another test donated exist, each call looks for them first."""
    donation.DONATED.clear()


@gc.compile
def scale(x, factor):
    return x * factor


def fast_of(compiled, *args):
    """The native entry point of the step for these arguments."""
    compiled(*args)
    entry = compiled._latest
    entry.make_fast()
    return entry.fast


def test_this_python_is_supported():
    assert entry.is_supported()


def test_the_second_call_is_native():
    compiled = gc.compile(lambda x: x + 1.0)
    compiled(np.zeros(2))
    assert compiled._latest.fast is None
    compiled(np.zeros(2))
    assert compiled._latest.fast(np.zeros(2))[0] == 1.0


def test_takes_what_was_compiled_for():
    x = np.arange(3.0)
    np.testing.assert_array_equal(fast_of(scale, x, 2.0)(x, 3.0), [0.0, 3.0, 6.0])


@pytest.mark.parametrize(
    "wrong",
    [
        (np.arange(3.0),),
        (np.arange(3.0), 2.0, 2.0),
        (np.arange(4.0), 2.0),
        (np.arange(3.0).reshape(3, 1), 2.0),
        (np.arange(3.0, dtype=np.float32), 2.0),
        (np.arange(3.0).astype(">f8"), 2.0),
        (np.arange(6.0)[::2], 2.0),
        (np.arange(3.0), 2),
        (np.arange(3.0), np.float64(2.0)),
        (np.arange(3.0), True),
        (np.ma.array(np.arange(3.0)), 2.0),
        ([0.0, 1.0, 2.0], 2.0),
        (None, 2.0),
    ],
    ids=repr,
)
def test_misses_everything_else(wrong):
    assert fast_of(scale, np.arange(3.0), 2.0)(*wrong) is MISS


def test_a_miss_takes_the_slow_path():
    scale(np.arange(3.0), 2.0)
    np.testing.assert_array_equal(scale(np.arange(6.0)[::2], 2.0), [0.0, 4.0, 8.0])


@pytest.mark.parametrize("number", [2.5, np.float32(2.5), np.float64(2.5), 7, np.int32(7), -1])
def test_numbers_are_read_from_their_objects(number):
    compiled = gc.compile(lambda n: n + n)
    assert fast_of(compiled, number)(number) == number + number


def test_an_int_beyond_64_bits_is_a_miss():
    compiled = gc.compile(lambda n: n + 1)
    assert fast_of(compiled, 1)(2**70) is MISS


def test_results_keep_the_structure_of_the_function():
    @gc.compile
    def both(x, tree):
        return {"sum": x.sum(), "same": tree["w"], "pair": (x + 1.0, [x * 2.0])}

    x, w = np.arange(2.0), np.ones(1)
    for _ in range(2):
        result = both(x, {"w": w})
    assert result["sum"] == 1.0 and type(result["sum"]) is np.float64
    assert result["same"] is w
    np.testing.assert_array_equal(result["pair"][1][0], [0.0, 2.0])


# ---- containers ----------------------------------------------------------------------------------


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Layer:
    w: Any
    b: Any
    name: str = "dense"


@dataclass(frozen=True, slots=True)
class Slotted:
    w: Any


@dataclass
class Doubled:
    w: Any
    reads = 0

    def __getattribute__(self, name):
        if name == "w":
            type(self).reads += 1
        return super().__getattribute__(name)


A, B = np.arange(3.0), np.arange(3.0) + 10


@pytest.mark.parametrize(
    "arguments",
    [
        ((A, B),),
        ([A, [B]],),
        ({"a": A, "b": {"c": B}},),
        ({1: A, 2**70: B},),
        (Pair(A, [B]),),
        (Layer(A, B),),
        (Slotted(A), (Layer(B, np.float64(2.5), "none"),)),
        (defaultdict(None, a=A, b=B),),
        ((), [], {}, A, None, "mode", True),
        (A, (np.int64(2), np.float32(3), np.int32(4), np.float64(5))),
        (A, B, [A], {"b": B}),
    ],
)
def test_containers_are_walked_in_native_code(arguments):
    compiled = gc.compile(lambda *tree: tree)
    fast = fast_of(compiled, *arguments)(*arguments)
    native = compiled._latest.native
    assert not native.gathers
    python_makes = ("Layer", "Slotted", "defaultdict")
    assert native.scatters == any(name in repr(arguments) for name in python_makes)
    assert repr(fast) == repr(arguments) and type(fast) is tuple
    assert [type(part) for part in fast] == [type(part) for part in arguments]


@pytest.mark.parametrize(
    ("compiled_for", "given"),
    [
        ((A, B), (A,)),
        ((A, B), [A, B]),
        ((A, B), Pair(A, B)),
        (Pair(A, B), (A, B)),
        ([A], []),
        ({"a": A, "b": B}, {"b": A, "a": B}),
        ({"a": A, "b": B}, {"a": A}),
        ({"a": A}, {"b": A}),
        ({1: A}, {True: A}),
        ({1: A}, {1.0: A}),
        ({"a": A}, defaultdict(None, a=A)),
        ({"a": A}, OrderedDict(a=A)),
        (Layer(A, B), Layer(A, B, "other")),
        (Layer(A, B), Layer(A, B[:2])),
        (Layer(A, B), Layer(A, None)),
        (Slotted(A), object.__new__(Slotted)),  # the field is missing
        ((A, None), (A, False)),
        ((A, "mode"), (A, "other")),
        ((A, "mode"), (A, b"mode")),
        ((A, 1), (A, True)),
    ],
)
def test_other_containers_are_misses(compiled_for, given):
    compiled = gc.compile(lambda tree: tree)
    assert fast_of(compiled, compiled_for)(compiled_for) is not MISS
    assert compiled._latest.fast(given) is MISS


def test_equal_strings_and_keys_need_not_be_the_same_object():
    compiled = gc.compile(lambda tree, mode: (tree["weights of layer"] * 2.0, mode))
    fast = fast_of(compiled, {"weights of layer": A}, "a mode")
    key, mode = "".join(["weights of ", "layer"]), "".join(["a ", "mode"])
    doubled, returned = fast({key: A}, mode)
    np.testing.assert_array_equal(doubled, A * 2)
    assert returned == mode


def test_keywords_have_names_and_an_order():
    compiled = gc.compile(lambda x, *, y, z=1.0: x * y + z)
    for _ in range(2):
        compiled(A, y=2.0, z=3.0)
    fast = compiled._latest.fast
    np.testing.assert_array_equal(fast(A, y=2.0, z=3.0), A * 2 + 3)
    assert fast(A, z=3.0, y=2.0) is MISS
    assert fast(A, y=2.0) is MISS and fast(A) is MISS and fast(A, 2.0, 3.0) is MISS
    np.testing.assert_array_equal(compiled(A, z=3.0, y=2.0), A * 2 + 3)


def test_an_int_that_the_step_is_specialised_to():
    compiled = gc.compile(lambda x, axis, n: x.sum(axis=axis) * n)
    x = np.arange(6.0).reshape(2, 3)
    fast = fast_of(compiled, x, 1, 5)
    np.testing.assert_array_equal(fast(x, 1, 7), x.sum(1) * 7)
    assert fast(x, 0, 7) is MISS and fast(x, True, 7) is MISS
    np.testing.assert_array_equal(compiled(x, 0, 7), x.sum(0) * 7)


def test_an_int_beyond_small_ones_is_compared_by_value():
    compiled = gc.compile(lambda n: np.zeros(n) + 1.0)
    fast = fast_of(compiled, 1000)
    assert fast(int("1000")).shape == (1000,) and fast(int("1001")) is MISS


def test_containers_that_hold_other_things_than_they_seem_go_by_leaves():
    class Reversed(list):
        def __iter__(self):
            return reversed(list(super().__iter__()))

    compiled = gc.compile(lambda parts: next(iter(parts)) * 1.0)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(Reversed([A, B])), B)


def test_an_array_that_is_given_twice():
    @gc.compile
    def shift(x, tree):
        x += 1.0
        return tree["same"] * 2.0

    x, other = np.zeros(3), np.zeros(3)
    fast = fast_of(shift, x, {"same": x})
    assert fast(x, {"same": other}) is MISS
    np.testing.assert_array_equal(fast(x, {"same": x}), [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(shift(x, {"same": other}), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(shift(x, {"same": x}), [8.0, 8.0, 8.0])


def test_a_field_is_read_once_a_call():
    compiled = gc.compile(lambda tree: tree.w * 2.0)
    tree = Doubled(A)
    compiled(tree)
    Doubled.reads = 0
    compiled(tree)
    assert Doubled.reads == 1


def test_what_another_thread_takes_out_of_a_container_lives_on():
    compiled = gc.compile(lambda parts: np.exp(parts[0]).sum() + parts[1])
    parts = [np.zeros(200_000), 1.0]
    compiled(parts)
    stop = threading.Event()

    def replace():
        while not stop.is_set():
            parts[0] = np.zeros(200_000)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        assert all(compiled(parts) == 200_001.0 for _ in range(100))
    finally:
        stop.set()
        thread.join()


def test_containers_keep_references_in_balance():
    tree = {"a": A, "pair": Pair(A, [B]), "layer": Slotted(A + 5), "n": 3}
    compiled = gc.compile(lambda tree: {"sum": tree["a"].sum(), "tree": [tree["pair"], tree["n"]]})
    fast, wrong = fast_of(compiled, tree), {**tree, "n": 2.5}
    items = [A, B, tree["pair"], tree["layer"], Pair, Slotted, None]
    for _ in range(10):
        fast(tree), fast(wrong)
    before = [sys.getrefcount(item) for item in items]
    for _ in range(1000):
        fast(tree), fast(wrong)
    after = [sys.getrefcount(item) for item in items]
    assert all(abs(b - a) < 100 for a, b in zip(before, after))


def test_a_step_outlives_its_function_while_it_is_called():
    fast = fast_of(gc.compile(lambda x: x + 1.0), A)
    garbage.collect()
    np.testing.assert_array_equal(fast(A), A + 1)


# ---- what a call does ----------------------------------------------------------------------------


def test_a_step_without_results_runs_once_a_call():
    @gc.compile
    def decay(w):
        w *= 0.5

    w = np.ones(2)
    for _ in range(3):
        assert decay(w) is None
    np.testing.assert_array_equal(w, [0.125, 0.125])


def test_a_failing_check_is_explained_by_the_slow_path():
    @gc.compile
    def pick(x, i):
        return x[i]

    x = np.arange(3.0)
    assert pick(x, 1) == 1.0
    with pytest.raises(IndexError, match="index 3 is out of bounds for an axis of size 3"):
        pick(x, 3)
    assert pick(x, -1) == 2.0


def test_overlap_with_an_updated_argument_is_an_error():
    @gc.compile
    def add_to(x, y):
        x += y

    memory = np.ones(6)
    add_to(memory[:3], memory[3:])
    with pytest.raises(gc.errors.OverlapError, match="pass a copy of one of them"):
        add_to(memory[:3], memory[2:5])
    np.testing.assert_array_equal(memory, [2.0, 2.0, 2.0, 1.0, 1.0, 1.0])


def test_references_are_kept_in_balance():
    x = np.arange(3.0)
    fast = fast_of(scale, x, 2.0)
    dtype, miss = x.dtype, (np.arange(4.0), 2.0)
    for _ in range(10):
        fast(x, 2.0), fast(*miss)
    garbage.collect()
    before = [sys.getrefcount(item) for item in (x, dtype, scale)]
    for _ in range(1000):
        fast(x, 2.0), fast(*miss)
    garbage.collect()
    after = [sys.getrefcount(item) for item in (x, dtype, scale)]
    assert all(abs(b - a) < 100 for a, b in zip(before, after))  # a leak would show a thousand


def test_threads_do_not_share_the_arena():
    @gc.compile
    def normalise(x):
        shifted = x - x.max(axis=0)
        return np.exp(shifted) / np.exp(shifted).sum(axis=0)

    inputs = [np.random.default_rng(i).standard_normal((50, 40)) for i in range(4)]
    expected = [normalise(x) for x in inputs]
    wrong = []

    def run(i):
        for _ in range(200):
            if not np.array_equal(normalise(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "views",
    [
        (np.s_[::2], np.s_[::2]),
        (np.s_[:6:2], np.s_[2:8:2]),
        (np.s_[:3], np.s_[:6:2]),
        (np.s_[:3], np.s_[1:4]),
    ],
    ids=str,
)
def test_overlap_is_found_behind_copies_too(views):
    @gc.compile
    def add_to(a, b):
        a += b

    memory = np.arange(12.0)
    with pytest.raises(gc.errors.OverlapError, match=r"a is assigned to in place .* with b"):
        add_to(*(memory[view] for view in views))
    np.testing.assert_array_equal(memory, np.arange(12.0))


def test_code_does_not_grow_with_pairs_of_arguments():
    """Two hundred updated parameters: their overlap is tested by a loop over a table."""

    @gc.compile
    def descend(params, grads):
        for p, g in zip(params, grads):
            p -= 0.1 * g

    def lines(count):
        specs = [gc.Spec((3,), "f64")] * count
        entry = descend._entry((specs, specs), {})
        return entry.ready().text.count("\n")

    assert lines(100) < 12 * lines(10)


def test_threads_compile_a_new_signature_once():
    compiled = gc.compile(lambda x: np.exp(x).sum())
    steps = []

    def run():
        compiled(np.zeros(7))
        steps.append(compiled._latest.step)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, steps))) == 1


def test_the_entry_point_is_loaded_once_the_first_call_has_its_result():
    program = (
        "import numpy as np, graphc as gc\n"
        "from graphc.runtime.llvm import entry\n"
        "at_trace = []\n"
        "def f(x):\n"
        "    at_trace.append(entry._loading.thread is not None)\n"
        "    return x + 1.0\n"
        "compiled = gc.compile(f)\n"
        "assert entry._loading.thread is None\n"
        "assert compiled(np.zeros(2))[0] == 1.0\n"
        "assert at_trace == [False] and entry._loading.thread is not None\n"
        "assert compiled(np.zeros(2))[0] == 1.0 and entry._Loading.done is not None\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_until_the_entry_point_is_loaded():
    program = (
        "import os, graphc as gc\n"
        "from graphc.runtime.llvm import entry\n"
        "entry.prepare()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if entry._Loading.done is not None else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_lacks(monkeypatch):
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    monkeypatch.setattr(entry._Loading, "done", None)
    monkeypatch.setattr(entry._loading, "thread", thread)
    child = os.fork()
    if child == 0:
        fine = fast_of(gc.compile(lambda x: x + 1.0), A)(A)[0] == 1.0
        os._exit(0 if fine else 1)
    waiting.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
