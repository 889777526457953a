"""Instructions, by what they compute."""

from __future__ import annotations

import numpy as np
import pytest
from llvm_functions import call

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.instructions import Instructions
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant

X = np.array([1.5, -2.0, 0.25, 8.0], np.float32)
Y = np.array([2.0, 3.0, -4.0, 0.5], np.float32)
ARITHMETIC = {
    "fadd": np.add,
    "fsub": np.subtract,
    "fmul": np.multiply,
    "fdiv": np.divide,
}
BITS_OF = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "and_": np.bitwise_and,
    "or_": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "ashr": np.right_shift,
}


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_of_floats(name: str, lanes: int) -> None:
    found = np.zeros(lanes, np.float32)

    def body(f, p):
        x, y = f.load(p[0], "float", lanes), f.load(p[1], "float", lanes)
        f.store(getattr(f, name)(x, y), p[2])

    call(body, X, Y, found)
    np.testing.assert_array_equal(found, ARITHMETIC[name](X, Y)[:lanes])


@pytest.mark.parametrize("name", BITS_OF)
def test_arithmetic_of_integers(name: str) -> None:
    a, b = np.array([-9, 6, 1 << 40, 77]), np.array([3, 1, 2, 5])
    found = np.zeros(4, np.int64)

    def body(f, p):
        f.store(getattr(f, name)(f.load(p[0], "i64", 4), f.load(p[1], "i64", 4)), p[2])

    call(body, a, b, found)
    np.testing.assert_array_equal(found, BITS_OF[name](a, b))


def test_comparing_and_choosing() -> None:
    found = np.zeros(4, np.float32)

    def body(f, p):
        x, y = f.load(p[0], "float", 4), f.load(p[1], "float", 4)
        less = f.fcmp("olt", x, y)
        f.store(f.select(f.not_(less), x, f.fneg(y)), p[2])

    call(body, X, Y, found)
    np.testing.assert_array_equal(found, np.where(X < Y, -Y, X))


def test_polynomials_are_rounded_once_a_step() -> None:
    found = np.zeros(4, np.float32)
    call(
        lambda f, p: f.store(f.polynomial(f.load(p[0], "float", 4), (0.5, -1.0, 3.0)), p[1]),
        X,
        found,
    )
    np.testing.assert_array_equal(found, (0.5 * X - 1.0) * X + 3.0)


def test_lanes() -> None:
    halves, picked, splat = (np.zeros(4, np.float32) for _ in range(3))

    def body(f, p):
        x, y = f.load(p[0], "float", 4), f.load(p[1], "float", 4)
        f.store(f.joined(f.half(x, 1), f.half(y, 0)), p[2])
        f.store(f.shuffle(x, y, (7, 0, 4, 3)), p[3])
        f.store(f.splat(f.extract(y, 2), 4), p[4])

    call(body, X, Y, halves, picked, splat)
    np.testing.assert_array_equal(halves, [*X[2:], *Y[:2]])
    np.testing.assert_array_equal(picked, [Y[3], X[0], Y[0], X[3]])
    np.testing.assert_array_equal(splat, [Y[2]] * 4)


def test_conversions() -> None:
    found, bits = np.zeros(4), np.zeros(4, np.int32)

    def body(f, p):
        x = f.load(p[0], "float", 4)
        f.store(f.convert("fpext", x, "double"), p[1])
        f.store(f.bitcast(x, "i32"), p[2])

    call(body, X, found, bits)
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(bits, X.view(np.int32))


def test_flags_are_those_of_the_users_arithmetic() -> None:
    f = Instructions(Module(), flags="reassoc")
    x = Reg("%x", "float")
    f.fadd(x, constant(1.0, "float"))
    f.fneg(x)
    assert [line for line in f._lines if "reassoc" in line] == [
        "  %t1 = fadd reassoc float %x, 0x3FF0000000000000"
    ]


def test_an_emulation_takes_the_place_of_an_intrinsic() -> None:
    module = Module(emulations={"fma": lambda f, a, b, c: f.fadd(f.fmul(a, b), c)})
    f = Function(module, "f", [x := Reg("%x", "float")])
    f.fma(x, x, x)
    assert not module.declarations and "fmul" in f.finish()
