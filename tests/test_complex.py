"""Complex arguments and results of compiled functions, and their derivatives."""

from __future__ import annotations

import cmath
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc import errors

RNG = np.random.default_rng(11)
Z = RNG.normal(size=6) + 1j * RNG.normal(size=6)
W = RNG.normal(size=6) + 1j * RNG.normal(size=6)
M = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))


def same(got: Any, want: Any, rtol: float = 1e-12) -> None:
    assert np.shape(got) == np.shape(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-14)


def check(function: Any, *args: Any, rtol: float = 1e-12) -> None:
    """Compiled as plain, by the first call and by the native entry point of the third."""
    compiled = gc.compile(function)
    with np.errstate(all="ignore"):
        want = function(*args)
    for _ in range(3):
        got = compiled(*args)
        if isinstance(want, tuple):
            for own, other in zip(got, want, strict=True):
                same(own, other, rtol)
        else:
            same(got, want, rtol)


# ---- in and out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arg", [Z, Z.astype(np.complex64), M, M.T, M[::2], Z[::-1], Z[0], Z[0].astype("c8"), Z[:0]]
)
def test_arrays_and_scalars_go_in_and_out(arg: Any) -> None:
    rtol = 1e-6 if arg.dtype == np.complex64 else 1e-12
    check(lambda z: (z * (1 + 2j), z + z.real, -z), arg, rtol=rtol)


def test_python_complex_numbers_are_weak() -> None:
    single = Z.astype(np.complex64)
    check(lambda z, k: z * k, single, 2j, rtol=1e-6)
    check(lambda x, k: x * k, single.real, 1 + 1j, rtol=1e-6)
    check(lambda n, k: n + k, np.arange(3), 1.5 - 1j)
    assert gc.compile(lambda k: k * 2)(1 + 1j) == 2 + 2j


def test_a_scalar_result_is_a_numpy_scalar() -> None:
    total = gc.compile(lambda z: z.sum())
    for _ in range(3):
        assert type(total(Z)) is np.complex128
        assert type(total(Z.astype(np.complex64))) is np.complex64


class Pair(NamedTuple):
    first: Any
    second: Any


def test_pytrees_of_complex_values() -> None:
    def f(tree):
        return {"sum": tree["a"] + tree["b"][0], "pair": Pair(tree["b"][1] * 1j, tree["c"])}

    args = {"a": Z, "b": [W, 3 - 1j], "c": np.complex64(2j)}
    compiled = gc.compile(f)
    for _ in range(3):
        got = compiled(args)
        same(got["sum"], Z + W)
        assert got["pair"] == Pair(1j * (3 - 1j), np.complex64(2j))


def test_arguments_are_updated_in_place() -> None:
    def f(z, w, out):
        z *= w
        z[1] = 3 - 1j
        z[2:4] += 1j
        z.real[0] = 7
        z.imag = z.imag * 2
        z[np.array([4, 5])] = w[:2]
        np.add(z, w, out=out)
        return z

    plain, mine = (
        (Z.copy(), W.copy(), np.zeros(6, complex)),
        (Z.copy(), W.copy(), np.zeros(6, complex)),
    )
    compiled = gc.compile(f)
    for _ in range(3):
        assert compiled(*mine) is mine[0]
        f(*plain)
        for a, b in zip(mine, plain, strict=True):
            same(a, b)


def test_strided_arguments_are_updated_in_place() -> None:
    def f(z):
        z *= 2j

    a, b = np.arange(8) + 0j, np.arange(8) + 0j
    gc.compile(f)(a[::2])
    f(b[::2])
    same(a, b)


def test_views_of_parts_write_through() -> None:
    def f(x):
        z = np.zeros(6, complex)
        z.real = x
        part = z.imag
        part[1:] = 2.0
        part[::2] -= x[::2]
        z.real[3] += 10
        return z, z.real.reshape(2, 3), z.T.imag

    check(f, Z.real.copy())


def test_a_real_array_does_not_take_complex_values() -> None:
    def f(x, z):
        x[0] = z[0]

    with pytest.raises(errors.DTypeError, match="lose its imaginary part"):
        gc.compile(f)(np.zeros(3), Z)


@pytest.mark.cpu_only("the memory of NumPy's arrays")
def test_donated_arguments_give_their_memory() -> None:
    double = gc.compile(lambda z: z * 2, donate=("z",))
    given = Z.copy()
    got = double(given)
    assert got.ctypes.data == given.ctypes.data
    same(got, Z * 2)
    with pytest.raises(errors.DonatedError):
        double(given)


def test_constants_from_outside() -> None:
    check(lambda z: z + W * 2 + (1 - 1j) + np.complex128(3j), Z)


@pytest.mark.cpu_only("a step as a C function")
def test_specs_addresses_and_reports() -> None:
    double = gc.compile(lambda z: z * 2j)
    native = double.address(gc.Spec((6,), "c128"))
    assert [str(operand) for operand in native.arguments] == ["complex128 z[6]"]
    out = np.empty(6, complex)
    assert native([Z], [out]) == 0
    same(out, Z * 2j)
    assert "%z: c64[6]" in str(double.graph(gc.Spec((6,), "c64"), stage="traced"))
    assert len(double.explain(Z).kernels) == 1


def test_nan_checks_and_the_interpreter() -> None:
    log = gc.compile(lambda z: np.log(z) * 2, check_nan=True)
    same(log(Z), np.log(Z) * 2)
    with pytest.raises(errors.NonFiniteError, match="check_nan"):
        log(np.zeros(2, complex))
    with gc.disable_compile():
        same(gc.compile(gc.grad(lambda z: np.abs(z)))(3 + 4j), np.complex128(0.6 - 0.8j))


def test_the_same_memory_as_real_numbers() -> None:
    def f(z, x):
        z.view(float)[1::2] *= 2
        pairs = x.view(np.complex128)
        pairs *= 1j
        return z.view(float).reshape(-1, 2), pairs, z.view(complex)

    mine, plain = (Z.copy(), np.arange(6.0)), (Z.copy(), np.arange(6.0))
    for got, want in zip(gc.compile(f)(*mine), f(*plain), strict=True):
        same(got, want)
    for got, want in zip(mine, plain, strict=True):
        same(got, want)
    for refused in (lambda z: z[::2].view(float), lambda z: z.view(int)):
        with pytest.raises(errors.UnsupportedFunctionError, match="can be traced"):
            gc.compile(refused)(Z)
    with pytest.raises(errors.ShapeError, match="must be even"):
        gc.compile(lambda x: x.view(complex))(np.zeros(3))


def test_texts_of_complex_values(capfd: Any) -> None:
    def f(z):
        print("all", z, {"first": z[0], "both": (z[1], 2)})  # noqa: T201
        print(f"{z[0]} {z.real[0]:.3f}")  # noqa: T201
        assert abs(z[0]) < 100, f"too large: {z[0]}"
        return z

    gc.compile(f)(Z[:2])
    mine = capfd.readouterr().out
    f(Z[:2])
    assert mine == capfd.readouterr().out
    with pytest.raises(AssertionError, match=r"too large: \(1000"):
        gc.compile(f)(Z[:2] * 0 + 1000)


def test_the_module_cmath() -> None:
    def f(z):
        size, angle = cmath.polar(z)
        back = cmath.rect(size, angle)
        return (
            cmath.exp(z),
            cmath.sqrt(-1 + 0 * z),
            cmath.log(z, 2),
            cmath.phase(z),
            back,
            cmath.atanh(z),
        )

    check(lambda z: tuple(np.complex128(part) for part in f(z)), Z[0])


# ---- control flow --------------------------------------------------------------------------------


def test_mandelbrot() -> None:
    def escape(c):
        z, n = 0j, 0
        while abs(z) < 2 and n < 60:
            z = z * z + c
            n += 1
        return n

    compiled = gc.compile(escape)
    for c in (0.3 + 0.5j, -1 + 1j, 2 + 0j, -0.5 + 0.55j):
        assert compiled(c) == escape(c)


def test_branches_and_loops_carry_complex_values() -> None:
    def f(z, w):
        total = np.zeros_like(z)
        for i in range(5):
            if (z * w).real.sum() > 0:
                total = total + z * w**i
            else:
                total[i] = z[i] * 1j
        return total

    check(f, Z, W)
    check(f, Z, -W)


def test_a_loop_over_an_array_of_complex_numbers() -> None:
    def horner(coefficients, z):
        value = 0j
        for c in coefficients:
            value = value * z + c
        return value

    check(horner, W, 0.5 + 0.1j)


# ---- derivatives ---------------------------------------------------------------------------------


def numeric(loss: Any, z: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """dL/dx - i dL/dy by central differences."""
    grad = np.zeros(z.shape, complex)
    for i in np.ndindex(z.shape):
        step = np.zeros(z.shape)
        step[i] = h
        slopes = [(loss(z + u * step) - loss(z - u * step)) / (2 * h) for u in (1, 1j)]
        grad[i] = slopes[0] - 1j * slopes[1]
    return grad


LOSSES = {
    "squares": lambda z: np.sum(np.abs(z * W - 1) ** 2),
    "exp": lambda z: np.sum(np.exp(z * 0.3).imag),
    "quotient": lambda z: np.sum((W / z).real * z.imag),
    "angle": lambda z: np.sum(np.angle(z) * np.arange(6)),
    "functions": lambda z: np.sum(np.abs(np.sqrt(z) + np.log(z) - np.sin(z) * np.tanh(z))),
    "inverses": lambda z: np.sum((np.arctan(z) * np.arcsin(z) + np.arccosh(z)).imag),
    "power": lambda z: np.sum((z**2.5 + z**3 + z ** (1 + 1j)).real),
    "products": lambda z: np.abs(np.prod(z) + np.cumprod(z)[3] + np.vdot(z, W)),
    "fft": lambda z: np.sum(np.abs(np.fft.fft(z)) ** 2 * np.arange(6)),
    "matrix": lambda z: np.sum(np.abs(z.reshape(2, 3) @ W.reshape(3, 2)) ** 3),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_of_real_losses(loss: Any) -> None:
    same(gc.grad(loss)(Z), numeric(loss, Z), rtol=1e-6)


def test_gradient_descent_goes_along_the_conjugate() -> None:
    @gc.compile
    def step(z):
        loss, grad = gc.value_and_grad(lambda z: np.sum(np.abs(z - W) ** 2))(z)
        return loss, z - 0.1 * np.conj(grad)

    z = Z
    for _ in range(60):
        _, z = step(z)
    np.testing.assert_allclose(z, W, atol=1e-4)


def test_holomorphic_derivatives() -> None:
    z = 0.3 + 0.2j
    same(gc.grad(np.sin, holomorphic=True)(z), np.complex128(np.cos(z)))
    same(gc.jacobian(np.exp, holomorphic=True)(Z), np.diag(np.exp(Z)))
    same(
        gc.jacobian(lambda z: W.reshape(2, 3) @ z[:3], holomorphic=True)(Z)[:, :3], W.reshape(2, 3)
    )
    second = gc.grad(gc.grad(lambda z: z**4, holomorphic=True), holomorphic=True)
    same(second(z), np.complex128(12 * z**2))


def test_jvp_and_vjp() -> None:
    same(gc.jvp(np.exp, (Z,), (W,))[1], np.exp(Z) * W)
    value, pull = gc.vjp(np.log, Z)
    same(value, np.log(Z))
    same(pull(W)[0], W / Z)
    value, tangent = gc.jvp(lambda z: np.abs(z) ** 2, (Z,), (W,))
    same(tangent, 2 * (Z.real * W.real + Z.imag * W.imag))


def test_real_arguments_of_complex_functions() -> None:
    x = Z.real
    same(gc.jacobian(lambda x: np.exp(1j * x))(x), np.diag(1j * np.exp(1j * x)))
    loss = lambda x: np.sum(np.abs(np.exp(1j * x) - W))
    grad = gc.grad(loss)(x)
    assert grad.dtype == np.float64
    same(grad, numeric(loss, x).real, rtol=1e-6)


def test_what_has_no_derivative_says_so() -> None:
    with pytest.raises(errors.GradientError, match="holomorphic=True"):
        gc.grad(lambda z: z * z)(1j)
    with pytest.raises(errors.GradientError, match="holomorphic=True"):
        gc.jacobian(np.conj)(Z)
    with pytest.raises(errors.GradientError, match="complex arguments"):
        gc.grad(lambda x: x * x, holomorphic=True)(1.0)


def test_vmap_over_complex_arguments() -> None:
    batch = np.stack([Z, W, Z * W])
    same(gc.vmap(np.vdot, in_axes=(0, None))(batch, W), np.conj(batch) @ W)
    real_part_shared = gc.vmap(lambda x: x * 1j + 2)(np.arange(3.0))
    same(real_part_shared, np.arange(3.0) * 1j + 2)
    same(gc.vmap(gc.grad(lambda z: np.sum(np.abs(z))))(batch), np.conj(batch) / np.abs(batch))


def test_custom_gradients_checkpoints_and_scans() -> None:
    doubled = gc.custom_vjp(lambda z: z * 2)
    doubled.defvjp(lambda z: (z * 2, z), lambda z, g: (g * z,))
    same(gc.grad(lambda z: doubled(z).real.sum())(Z), Z)
    kept = gc.checkpoint(lambda z: np.exp(z) * z)
    same(gc.grad(lambda z: kept(z).real.sum())(Z), np.exp(Z) * (1 + Z))
    run = lambda z: gc.scan(lambda c, x: (c * x, c), 1 + 0j, z)[0]
    same(run(Z), np.complex128(np.prod(Z)))
    same(gc.grad(lambda z: run(z).real)(Z), np.prod(Z) / Z)


def test_gradients_through_loops_of_unknown_length() -> None:
    def loss(c):
        z, n = c, 0
        while abs(z) < 3 and n < 20:
            z = z * z + c
            n += 1
        return abs(z)

    c = np.complex128(0.5 + 0.4j)
    same(
        gc.grad(loss)(c), np.complex128(numeric(lambda c: loss(c[()]), np.array(c))[()]), rtol=1e-5
    )


# ---- programs ------------------------------------------------------------------------------------


def test_a_step_of_the_schroedinger_equation() -> None:
    n = 64
    x = np.linspace(-8, 8, n, endpoint=False)
    k = 2 * np.pi * np.fft.fftfreq(n, x[1] - x[0])
    potential = 0.5 * x**2

    def evolve(psi, dt, steps):
        half = np.exp(-0.5j * dt * potential)
        kinetic = np.exp(-0.5j * dt * k**2)
        for _ in range(steps):
            psi = half * np.fft.ifft(kinetic * np.fft.fft(half * psi))
        norm = np.sum(np.abs(psi) ** 2) * (x[1] - x[0])
        return psi, norm

    psi = (np.exp(-((x - 1) ** 2) / 2) / np.pi**0.25).astype(complex)
    check(evolve, psi, 0.01, 20, rtol=1e-9)


def test_quantum_gates() -> None:
    hadamard = np.array([[1, 1], [1, -1]], complex) / np.sqrt(2)

    def circuit(angle):
        rotation = np.array([[1, 0], [0, np.exp(1j * angle)]])
        state = np.zeros(4, complex)
        state[0] = 1
        state = np.kron(hadamard, np.eye(2)) @ state
        flipped = state.copy()
        flipped[2:] = state[[3, 2]]
        state = np.kron(rotation, hadamard) @ flipped
        return np.abs(state) ** 2, np.angle(state[3])

    check(circuit, 0.7)


def test_filters() -> None:
    def filtered(signal, taps):
        n = signal.size + taps.size - 1
        spectrum = np.fft.rfft(signal, n) * np.fft.rfft(taps, n)
        response = np.abs(np.fft.fft(taps, 32))
        return (
            np.fft.irfft(spectrum, n),
            20 * np.log10(response + 1e-3),
            np.unwrap(np.angle(np.fft.fft(taps + 0.1, 31))),
        )

    check(filtered, RNG.normal(size=40), np.hanning(9), rtol=1e-9)
