"""Functions of installed packages are converted where they meet traced values."""

import functools
import importlib
import sys
import textwrap

import numpy as np
import pytest

import graphc as gc

SOURCE = """
import numpy as np


def soft(x, after=None):
    if x.sum() > 0:
        y = x * 2.0
    else:
        y = -x
    while np.max(y) > 10.0:
        y = y / 2.0
    return y if after is None else after(y)


class Filter:
    def __init__(self, gain):
        if gain > 1.0:
            gain = 1.0
        self.gain = gain

    def __call__(self, z):
        if z > self.gain:
            return np.array([self.gain, z])
        return np.array([z, self.gain])


def early(x):
    try:
        if x.sum() > 0:
            return x
    except ValueError:
        pass
    return -x


def number(x):
    return x.sum().__int__()


def unread(n):
    import sys
    return sys._getframe().f_code is unread.__code__ and n


def rows(items, name):
    if items[name].sum() > 0:
        return items[name]
    return items[name] * 0.0
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in a folder that counts as one of installed packages."""
    folder = tmp_path / "graphc_tested_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(textwrap.dedent(SOURCE))
    user_code = importlib.import_module("graphc.trace.user_code")
    for name in ("_PACKAGES", "_LIBRARIES"):
        known = getattr(user_code, name)
        monkeypatch.setattr(user_code, name, (*known, f"{tmp_path}/"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("graphc_tested_package")
    del sys.modules["graphc_tested_package"]


@pytest.mark.parametrize("x", [np.full(3, 9.0), np.full(3, -1.0)])
def test_control_flow_of_a_package_depends_on_data(package, x):
    step = gc.compile(lambda x: package.soft(x) + 1.0)
    assert np.array_equal(step(x), package.soft(x) + 1.0)


@pytest.mark.parametrize("x", [np.full(3, 9.0), np.full(3, -1.0)])
def test_a_function_of_a_package_is_compiled(package, x):
    assert np.array_equal(gc.compile(package.soft)(x), package.soft(x))


def doubled_if_large(y):
    if y[0] > 3.0:
        return y * 2.0
    return y


@pytest.mark.parametrize("scale", [9.0, 0.5])
def test_a_package_calls_back_a_function_of_the_user(package, scale):
    x = scale * np.ones(3)
    step = gc.compile(lambda x: package.soft(x, doubled_if_large))
    assert np.array_equal(step(x), package.soft(x, doubled_if_large))


@pytest.mark.parametrize("x", [[0.5, 2.0], [3.0, 0.2]])
def test_objects_of_a_package_are_made_and_called(package, x):
    def use(x):
        made = package.Filter(x[0])
        return made(x[1]) + made.gain

    assert np.array_equal(gc.compile(use)(np.array(x)), use(np.array(x)))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_traced_values_in_a_dict_are_found(package, sign):
    step = gc.compile(lambda x: package.rows({"a": [0.0], "b": x}, "b"))
    x = sign * np.ones(3)
    assert np.array_equal(step(x), np.maximum(x, 0.0))


@pytest.mark.parametrize(
    "name, source",
    [("early", "if x.sum() > 0:\n            return"), ("number", "return x.sum().__int__")],
)
def test_errors_name_both_lines(package, name, source):
    line = SOURCE[: SOURCE.index(source)].count("\n") + 1

    def step(x):
        return getattr(package, name)(x)

    with pytest.raises(gc.errors.ConcreteValueError) as raised:
        gc.compile(step)(np.ones(3))
    assert raised.value.loc.line == step.__code__.co_firstlineno + 1
    assert raised.value.loc.file.endswith("test_packages.py")
    assert f"__init__.py:{line}: " in str(raised.value)


def test_ordinary_values_leave_a_package_as_it_is(package):
    seen = []

    def step(x):
        seen.append(package.unread(3))
        return x

    gc.compile(step)(1.0)
    assert seen == [3]


def test_numpy_and_graphc_are_never_read():
    user_code = importlib.import_module("graphc.trace.user_code")
    for function in (np.block, gc.compile, textwrap.dedent):
        code = getattr(function, "__wrapped__", function).__code__
        assert not user_code.is_package_code(code)
        assert not user_code.is_user_code(code)
    assert user_code.is_package_code(pytest.approx.__code__)


class Limited:
    def __init__(self, x):
        if x > 1.0:
            x = 1.0
        self.x = x


@pytest.mark.parametrize("x", [0.5, 3.0])
def test_objects_of_the_user_are_made_by_a_converted_init(x):
    assert gc.compile(lambda x: Limited(x).x * 2.0)(x) == Limited(x).x * 2.0


def halved(x):
    if x > 1.0:
        return x / 2.0
    return x


def reduced(x):
    return functools.reduce(lambda a, b: max(a, b), map(halved, x))


def arrays(x):
    a, b = map(np.asarray, [x[0], [x[1], x[2]]])
    return a * b


@pytest.mark.parametrize("f", [reduced, arrays])
def test_functions_given_to_map_and_reduce_are_converted(f):
    x = np.array([0.5, 3.0, 0.2])
    assert np.array_equal(gc.compile(f)(x), f(x))


def test_full_takes_its_order_by_position():
    assert np.array_equal(gc.compile(lambda x: np.full(3, x, None, "C"))(2.5), np.full(3, 2.5))
