"""Garbage is not collected while something compiles, and is afterwards."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

import graphc
from graphc.collector import paused


def test_the_collector_waits_while_a_function_is_traced_and_compiled():
    seen = []

    def f(x):
        seen.append(gc.isenabled())
        return x + 1.0

    graphc.compile(f)(np.zeros(3))
    assert seen == [False]
    assert gc.isenabled()


def test_a_failed_compilation_switches_on_again():
    def f(x):
        raise KeyError("no")

    with pytest.raises(KeyError):
        graphc.compile(f)(np.zeros(3))
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off():
    gc.disable()
    try:
        graphc.compile(lambda x: x + 1.0)(np.zeros(3))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_last_of_several_pauses_ends_it():
    inside, go_on = threading.Event(), threading.Event()

    def other():
        with paused():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=other)
    with paused():
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    go_on.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_in_a_pause_collects():
    with paused():
        child = os.fork()
        if child == 0:
            at_birth = gc.isenabled()
            with paused():
                pass
            os._exit(0 if at_birth and gc.isenabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.isenabled()
