"""Options, fixtures and profiles shared by all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from graphc.passes.pipeline import EachPass

if TYPE_CHECKING:
    from graphc.runtime.cuda.emulated.host import HostDevice

GOLDEN = Path(__file__).parent / "golden"

# The same examples on every run: a failure is there again tomorrow.  HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--ptx", action="store_true", help="execute the PTX of emulated kernels")
    parser.addoption(
        "--target",
        choices=("cpu", "cuda"),
        default="cpu",
        help="what the tests compile for; cuda is the emulated device where there is no GPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Graphs are verified after each pass.

    Machine code goes to a folder of this run, also from the commands that the tests start.
    """
    EachPass.is_verified = True
    if "XDG_CACHE_HOME" not in os.environ or "GRAPHC_TESTS_CACHE" not in os.environ:
        folder = tempfile.mkdtemp(prefix="graphc-tests-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["XDG_CACHE_HOME"] = os.environ["GRAPHC_TESTS_CACHE"] = folder
    if config.getoption("--ptx"):
        from emulated_device import everything_as_ptx

        config.add_cleanup(everything_as_ptx().close)
    if config.getoption("--target") == "cuda":
        from on_device import everything_on_a_device

        config.add_cleanup(everything_on_a_device().close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _skip_without_gpu([item for item in items if item.get_closest_marker("gpu")])
    if config.getoption("--target") == "cuda":
        _skip_cpu_only(items)
    if config.getoption("--slow"):
        return
    _sample_ptx(items)
    skip = pytest.mark.skip(reason="slow: runs with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


EVERY = 3
"""Of so many tests that run on the machine that executes PTX the ordinary suite takes one."""


def _sample_ptx(items: list[pytest.Item]) -> None:
    on_ptx = [item for item in items if _device_of(item) == "ptx" and "slow" not in item.keywords]
    for i, item in enumerate(on_ptx):
        if i % EVERY:
            item.add_marker(pytest.mark.slow)


def _device_of(item: pytest.Item) -> str | None:
    call = getattr(item, "callspec", None)
    return None if call is None else call.params.get("device")


def _skip_without_gpu(items: list[pytest.Item]) -> None:
    if not items:
        return
    from on_device import no_gpu

    if why := no_gpu():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"gpu: {why}"))


def _skip_cpu_only(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("cpu_only")
        if mark is not None:
            item.add_marker(pytest.mark.skip(reason=f"about the processor: {mark.args[0]}"))


@pytest.fixture(
    params=[
        "emulated",
        pytest.param("gpu", marks=pytest.mark.gpu),
        pytest.param("bindings", marks=pytest.mark.slow),
        "ptx",
    ]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The device that `target="cuda"` runs on: an emulated one; a GPU where there is one; and where
    NVIDIA's bindings are installed, behind them the emulated one, or a machine that executes the
    PTX that the driver is given."""
    from fake_libcuda import fake_driver

    from graphc.runtime.cuda.current import use
    from graphc.runtime.cuda.driver import open_device
    from graphc.runtime.cuda.emulated.host import HostDevice

    if request.param == "bindings":
        fake_driver().watch(monkeypatch)
    if request.param == "ptx":
        fake_driver().run_ptx(monkeypatch)
    with use(HostDevice() if request.param == "emulated" else open_device()) as session:
        yield session.device


@pytest.fixture
def emulated() -> Iterator[HostDevice]:
    """The emulated device, for tests that look at what it was told to do."""
    from graphc.runtime.cuda.current import use
    from graphc.runtime.cuda.emulated.host import HostDevice

    device = HostDevice()
    with use(device):
        yield device


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` asserts that `text` is what tests/golden/`name`.txt holds.

    `pytest --update-golden` writes the files instead; read the difference before committing it.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert path.exists(), f"there is no {path}; write it with --update-golden"
        assert text + "\n" == path.read_text(encoding="utf-8")

    return check
