"""Registers and constants as LLVM writes them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvm_functions import call

from graphc.runtime.llvm.registers import Reg, constant, float_text, lane_constants, type_name


def test_types() -> None:
    assert type_name("float") == "float" and type_name("u16", 4) == "<4 x i16>"
    assert Reg("%x", "bf16", 8).typed == "<8 x i16> %x"


@given(st.floats(width=64))
def test_doubles_are_written_exactly(value: float) -> None:
    (found,) = struct.unpack(">d", bytes.fromhex(float_text(value, "double")[2:]))
    assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize("value", [0.1, -0.0, 3.5e38, -1e300, math.inf, 1e-46, math.nan])
def test_float_constants_are_rounded_once(value: float) -> None:
    found = np.zeros(1, np.float32)
    call(lambda f, p: f.store(constant(value, "float"), p[0]), found)
    with np.errstate(over="ignore"):
        wanted = np.array([value]).astype(np.float32)
    np.testing.assert_array_equal(found, wanted)
    assert np.signbit(found[0]) == np.signbit(wanted[0])


def test_the_same_in_each_lane_or_one_for_each() -> None:
    same, each = np.zeros(4, np.int32), np.zeros(4, np.int32)

    def body(f, p):
        f.store(constant(7, "i32", 4), p[0])
        f.store(lane_constants((3, 1, -2, 5), "i32"), p[1])

    call(body, same, each)
    assert same.tolist() == [7] * 4 and each.tolist() == [3, 1, -2, 5]


def test_narrow_floats_are_bits() -> None:
    found = np.zeros(2, np.float16)
    call(lambda f, p: f.store(constant(1 / 3, "f16", 2), p[0]), found)
    np.testing.assert_array_equal(found, np.float16(1 / 3))
