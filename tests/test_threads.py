"""How many threads are used, and that nothing that processes and threads do breaks the pool."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from models import dense, softmax
from running import assert_same, build, fused, op
from test_step import PICK

import graphc as gc
from graphc import errors
from graphc.build import Value
from graphc.ir import Type
from graphc.runtime import threads
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step

pytestmark = pytest.mark.cpu_only("its threads")

X, W, ROW = Type("f32", (60, 40)), Type("f32", (40, 40)), Type("f32", (40,))

if not threads.has_pool():
    pytest.skip("no POSIX threads here", allow_module_level=True)


def network(x: Value, w: Value, b: Value) -> Value:
    return softmax(op("matmul")(dense(x, w, b), w) * 0.1)


def arguments(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=type.shape).astype(np.float32) for type in (X, W, ROW)]


def step_of(graph, count: int) -> Step:
    return Step(fused(graph), threads=count, thresholds=ALWAYS)


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    """The same network, for 1 to 4 threads."""
    graph = fused(build([X, W, ROW], network))
    return [Step(graph, threads=count, thresholds=ALWAYS) for count in range(1, 5)]


def test_any_number_of_threads_gives_the_same_values(steps):
    arrays = arguments()
    (expected,) = steps[0](arrays)
    for step, count in zip(steps, range(1, 5)):
        assert step.program.shares == count
        for _ in range(20):
            assert_same(step(arrays)[0], expected)


def test_many_python_threads_run_divided_steps_at_once(steps):
    def many(seed: int) -> None:
        arrays = arguments(seed)
        (expected,) = steps[0](arrays)
        for i in range(50):
            assert_same(steps[(i + seed) % 4](arrays)[0], expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(many, range(6)))


def test_a_failed_check_leaves_the_pool_in_order(steps):
    step = step_of(PICK, 3)
    x, good, bad = np.arange(5.0), np.array([4, 0, 0, 2]), np.array([1, 9, -3, 7])
    arrays = arguments()
    (expected,) = steps[0](arrays)
    for _ in range(20):
        with pytest.raises(IndexError) as caught:
            step([x, bad])
        assert str(caught.value) == "pick.py:7: index 9 is out of range"
        assert_same(step([x, good])[0], x[good])
        assert_same(steps[2](arrays)[0], expected)


# ---- processes -----------------------------------------------------------------------------------


def in_child(run) -> int:
    """Run in a forked child; its exit status, or -1 if it hangs."""
    child = os.fork()
    if child == 0:
        os._exit(0 if run() else 1)
    result: list[int] = []
    waiter = threading.Thread(target=lambda: result.append(os.waitpid(child, 0)[1]), daemon=True)
    waiter.start()
    waiter.join(30)
    if not result:
        os.kill(child, 9)
    return result[0] if result else -1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking with threads
def test_a_forked_child_has_a_pool_of_its_own(steps):
    arrays = arguments()
    (expected,) = steps[2](arrays)

    def run() -> bool:
        return all(np.array_equal(steps[i % 4](arrays)[0], expected) for i in range(20))

    assert run()
    assert in_child(run) == 0
    assert in_child(lambda: run() and in_child(run) == 0) == 0
    assert run()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_is_in_a_region(steps):
    arrays = arguments()
    (expected,) = steps[2](arrays)
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            steps[2](arrays)

    other = threading.Thread(target=loop)
    other.start()
    try:
        for _ in range(5):
            assert in_child(lambda: np.array_equal(steps[3](arrays)[0], expected)) == 0
    finally:
        stop.set()
        other.join()


def run_script(text: str, **environment: str) -> str:
    root = str(Path(gc.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_process_ends_with_workers_asleep_awake_and_in_a_daemon():
    run_script("""
        import threading, time
        import numpy as np, graphc as gc
        f = gc.compile(lambda x: np.tanh(x) + 1.0, threads=3)
        x = np.ones(300_000, np.float32)
        f(x)
        time.sleep(0.01)
        f(x)
        def loop():
            while True:
                f(x)
        threading.Thread(target=loop, daemon=True).start()
        time.sleep(0.02)
    """)


def test_the_environment_limits_threads():
    script = "from graphc.runtime.threads import allowed_threads as n; print(n())"
    assert run_script(script, OMP_NUM_THREADS="1,2").strip() == "1"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run_script(script, OMP_NUM_THREADS="many")) <= cpus


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "5000 100000"}, 1),
        ({"sys/fs/cgroup/a/b/cpu.max": "nonsense"}, None),
    ],
)
def test_quota_of_version_2(tmp_path, files, expected):
    write(tmp_path, {"proc/self/cgroup": "0::/a/b\n", **files})
    assert threads._quota(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("300000", 3), ("0", None)])
def test_quota_of_version_1(tmp_path, quota, expected):
    group = "sys/fs/cgroup/cpu/box/"
    files = {group + "cpu.cfs_quota_us": quota, group + "cpu.cfs_period_us": "100000"}
    write(tmp_path, {"proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/box\n0::/\n", **files})
    assert threads._quota(tmp_path) == expected


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_numba_limits_threads_once_it_is_imported(monkeypatch):
    class Config:
        NUMBA_NUM_THREADS = 1

    class Numba:
        config = Config

    monkeypatch.setitem(sys.modules, "numba", Numba)
    monkeypatch.delitem(sys.modules, "numba.np.ufunc.parallel", raising=False)
    assert threads.allowed_threads() == 1


def test_threadpoolctl_sees_and_limits_the_pool():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    threads.start_pool()

    def shown() -> list[int]:
        found = threadpoolctl.ThreadpoolController().select(user_api="graphc").info()
        return [pool["num_threads"] for pool in found]

    (before,) = shown()
    with threadpoolctl.threadpool_limits(limits=1):
        assert shown() == [1]
        assert_same(step_of(build([X, W, ROW], network), 3)(arguments())[0], expected_network())
    assert shown() == [before]
    assert threads.PoolLimit.most == threads.MOST  # for who asks for more than the CPUs


def expected_network() -> np.ndarray:
    return step_of(build([X, W, ROW], network), 1)(arguments())[0]


# ---- the option ----------------------------------------------------------------------------------


def test_threads_of_a_compiled_function():
    x = np.linspace(-1, 1, 400_000, dtype=np.float32)

    def f(x):
        return np.tanh(x) * np.exp(x)

    serial, two = gc.compile(f, threads=1), gc.compile(f, threads=2)
    assert_same(two(x), serial(x))
    assert two.explain(x).threads == 2
    assert serial.explain(x).threads == 1
    assert two.explain(x[:100]).threads == 1  # too short to be worth it


def test_a_wrong_number_of_threads():
    with pytest.raises(errors.ArgumentError, match="threads=-1 is no number of threads"):
        gc.compile(lambda x: x, threads=-1)
