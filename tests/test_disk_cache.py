"""The disk cache: what is found again, what counts as not there, many processes, little room."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import disk_cache
from graphc.runtime.disk_cache import DiskCache, default_folder, key_of
from graphc.runtime.llvm import jit, target

pytestmark = pytest.mark.cpu_only("its machine code on disk")

X = np.arange(6.0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = gc.cache_dir()
    yield gc.cache_dir(tmp_path / "cache")
    gc.cache_dir(before)


def run_once(function=lambda x: np.tanh(x) + 1.0, **options) -> bool:
    """Compile and run a function anew; whether its code came from disk."""
    compiled = gc.compile(function, **options)
    for _ in range(2):  # by the slow path and by the native entry point
        np.testing.assert_allclose(compiled(X), function(X), rtol=1e-12)
    return compiled.explain(X).from_disk


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


# ---- what is found again -------------------------------------------------------------------------


def test_the_second_compilation_of_a_graph_comes_from_disk(folder):
    assert [run_once() for _ in range(3)] == [False, True, True]
    report = gc.compile(lambda x: np.tanh(x) + 1.0).explain(X)
    assert "(from the disk cache)" in str(report) and report.to_dict()["from_disk"] is True


def test_another_graph_or_option_is_another_entry(folder):
    assert not run_once(lambda x: x.sum() * 2.0)
    assert not run_once(lambda x: x.sum() * 3.0)
    assert not run_once(lambda x: x.sum() * 3.0, fastmath=True)
    assert run_once(lambda x: x.sum() * 3.0, fastmath=True)


def test_code_for_another_machine_is_not_taken(folder, monkeypatch):
    run_once()
    host = target.host_target()
    other = host._replace(features=host.features + ",-sse4a")
    monkeypatch.setattr(target, "_host_target", lambda: other)
    assert not run_once()


def test_another_version_of_llvm_is_another_entry(folder, monkeypatch):
    run_once()
    monkeypatch.setattr(jit.llvm, "llvm_version_info", (99, 0, 0))
    assert not run_once()


def test_constants_are_not_baked_into_the_code(folder):
    """Arrays that the function reads are data of the step: other values, the same code."""

    def scale_by(*values):
        weights = np.array(values)
        compiled = gc.compile(lambda x: x * weights)
        for _ in range(2):
            np.testing.assert_array_equal(compiled(np.ones(3)), weights)
        return compiled.explain(np.ones(3)).from_disk

    assert not scale_by(1.0, 2.0, 3.0) and scale_by(4.0, 5.0, 6.0)


def test_no_cache(folder):
    run_once()
    assert gc.cache_dir(None) is None
    assert not run_once()
    assert gc.cache_dir() is None


def test_a_folder_is_a_path():
    with pytest.raises(gc.errors.ArgumentError, match="cache_dir takes a path or None, not int"):
        gc.cache_dir(3)


def test_the_default_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/graphc")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the XDG specification
    monkeypatch.setenv("HOME", "/home/user")
    assert default_folder() == Path("/home/user/.cache/graphc")
    monkeypatch.setattr(disk_cache.Path, "home", classmethod(_no_home))
    assert default_folder() is None


def _no_home(cls):
    raise RuntimeError("no home")


# ---- what counts as not there --------------------------------------------------------------------


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def cut_inside_the_header(path):
    path.write_bytes(path.read_bytes()[:30])


def flip_a_bit(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def fill_with_text(path):
    path.write_text("this is no machine code" * 100)


def an_older_format(path):
    path.write_bytes(path.read_bytes().replace(disk_cache.MAGIC, b"graphc entry 0\n"))


def make_a_folder_of_it(path):
    path.unlink()
    path.mkdir()


def point_nowhere(path):
    path.unlink()
    path.symlink_to("/nonexistent")


@pytest.mark.parametrize(
    "damage",
    [
        empty,
        cut,
        cut_inside_the_header,
        flip_a_bit,
        lengthen,
        fill_with_text,
        an_older_format,
        make_a_folder_of_it,
        point_nowhere,
    ],
)
def test_a_damaged_entry_is_compiled_again(folder, damage):
    run_once()
    for path in entries(folder):
        damage(path)
    assert not run_once()
    assert damage is make_a_folder_of_it or run_once()


def test_an_entry_under_the_name_of_another_is_none(folder):
    run_once()
    run_once(lambda x: np.exp(x))
    first, *others = entries(folder)
    for path in others:
        path.write_bytes(first.read_bytes())
    assert not (run_once() and run_once(lambda x: np.exp(x)))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_files_of_other_users_are_not_read(folder, monkeypatch):
    run_once()
    assert run_once()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert disk_cache._is_ours(0) and run_once() is (owner == 0)
    assert not disk_cache._is_ours(owner + 2)


def test_a_folder_that_cannot_be_written_is_only_read(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    assert cache.store("known", b"code")
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    assert not DiskCache(blocked).store("key", b"code")
    assert DiskCache(blocked).load("key") is None
    cache.folder.chmod(0o500)
    try:
        assert cache.load("known") == b"code"
        assert cache.store("new", b"code") is os.access(cache.folder, os.W_OK)
    finally:
        cache.folder.chmod(0o700)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert not DiskCache(tmp_path).store("key", b"code")
    assert not entries(tmp_path)


def test_keys_tell_their_parts_apart():
    assert key_of("ab", "c") != key_of("a", "bc") != key_of("abc")
    assert key_of("\ud800") != key_of("?")  # a file name need not be Unicode


# ---- room ----------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_makes_room(tmp_path):
    cache = DiskCache(tmp_path, limit=16_000)
    for i in range(40):
        cache.store(f"{i:02}", bytes(1000))
        at = time.time() - 3600 * (100 - i)
        os.utime(tmp_path / f"{i:02}.graphc", (at, at))
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 16_000 + 1100
    assert cache.load("00") is None and cache.load("39") == bytes(1000)


def test_use_makes_an_entry_young(tmp_path):
    cache = DiskCache(tmp_path, limit=8_000)
    for i in range(6):
        cache.store(str(i), bytes(1000))
        at = time.time() - 86400 * (20 - i)
        os.utime(tmp_path / f"{i}.graphc", (at, at))
    assert cache.load("0") is not None
    for i in range(6, 10):
        cache.store(str(i), bytes(1000))
    assert cache.load("0") is not None and cache.load("1") is None


def test_short_processes_look_now_and_then(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(DiskCache, "_files", lambda self: looks.append(1) or iter(()))
    for i in range(400):
        DiskCache(tmp_path, limit=16_000).store(str(i), bytes(100))
    assert 10 <= len(looks) <= 90, "one in ten, more or less"


def test_leftovers_of_dead_writers_go(tmp_path):
    old, young, foreign = (tmp_path / n for n in ("old.tmp", "young.tmp", "notes.txt"))
    for path in (old, young, foreign):
        path.write_bytes(b"half an entry")
    os.utime(old, (0, 0))
    os.utime(foreign, (0, 0))
    DiskCache(tmp_path, limit=1600).store("key", bytes(200))
    assert not old.exists() and young.exists() and foreign.exists()


# ---- many processes ------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import numpy as np, graphc as gc

    def loss(w, x):
        return np.sum(np.tanh(x @ w) ** 2)

    step = gc.compile(lambda w, x: gc.value_and_grad(loss)(w, x))
    w, x = np.full((5, 3), 0.1), np.ones((4, 5))
    first, second = step(w, x), step(w, x)
    assert first[0] == second[0] and np.array_equal(first[1], second[1])
    print(repr(first[0]), step.explain(w, x).from_disk)
    """
)


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def outputs(processes: list[subprocess.Popen]) -> list[str]:
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        answers.append(out)
    return answers


def test_processes_share_a_folder(tmp_path):
    together = outputs([start(tmp_path) for _ in range(4)])
    later = outputs([start(tmp_path)])
    assert later[0].endswith("True\n")
    assert len({answer.split()[0] for answer in together + later}) == 1
    assert not list((tmp_path / "graphc").glob("*.tmp"))


# ---- functions that steps share ------------------------------------------------------------------

W = np.linspace(-1.0, 1.0, 32 * 24).reshape(32, 24).astype(np.float32)
Z = np.linspace(-2.0, 2.0, 40 * 32).reshape(40, 32).astype(np.float32)


@pytest.fixture
def emitted(monkeypatch) -> list[str]:
    """The texts that are compiled from now on."""
    texts: list[str] = []
    emit = jit._emitted

    def noted(text, *rest):
        texts.append(text)
        return emit(text, *rest)

    monkeypatch.setattr(jit, "_emitted", noted)
    return texts


def multiply(function, *args) -> np.ndarray:
    product = gc.compile(function, threads=1)(*args)
    np.testing.assert_allclose(product, function(*args), rtol=1e-4, atol=1e-4)
    jit._keeping.wait()
    return product


def kernels_in(texts: list[str]) -> list[str]:
    return [text for text in texts if re.search(r"^define.*@matmul_tile", text, re.MULTILINE)]


def test_another_step_finds_the_micro_kernels_of_products(folder, emitted):
    multiply(lambda z, w: z @ w, Z, W)
    assert len(kernels_in(emitted)) == 2  # with the step, and afterwards by itself
    emitted.clear()
    multiply(lambda z, w: np.tanh(z @ w) + 1.0, Z, W)
    assert emitted and not kernels_in(emitted)


def test_a_micro_kernel_that_is_damaged_on_disk_is_compiled(folder, emitted):
    multiply(lambda z, w: z @ w, Z, W)
    for entry in entries(folder):
        entry.write_bytes(entry.read_bytes()[:-3])
    emitted.clear()
    multiply(lambda z, w: z @ w * 2.0, Z, W)
    assert len(kernels_in(emitted)) == 2


def test_nothing_is_compiled_for_a_folder_that_takes_nothing(folder, emitted, monkeypatch):
    monkeypatch.setattr(DiskCache, "store", lambda *_: False)
    multiply(lambda z, w: z @ w, Z, W)
    assert len(kernels_in(emitted)) <= 2 and not jit._Unkept.texts
