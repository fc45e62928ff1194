"""Shared by all tests: markers that need an option or a device, threads, and a quiet matplotlib."""

import gc
import os
import signal
import sys

os.environ.setdefault("MPLBACKEND", "Agg")
# One thread, here and in the processes that tests start: small networks gain nothing from more, and
# on a busy machine threads that wait for one another make them many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# cuBLAS reads it once, and the tests of deterministic jobs run after others that use a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest

# Collecting makes millions of objects that stay: looking through them for garbage takes a third of
# its time, in each worker.
gc.disable()

# What collecting imports is compiled once for this machine, although PYTHONDONTWRITEBYTECODE may be
# set: without that each worker compiles the tests again, and each process they start the package.
WRITES_NO_BYTECODE = sys.dont_write_bytecode
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Look for garbage again, and not among what was collected; write bytecode if asked to."""
    sys.dont_write_bytecode = WRITES_NO_BYTECODE
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let Python end as it does without pytest: extensions count what is left."""
    gc.unfreeze()


def pytest_configure() -> None:
    """Hear signals that a shell ignores for what it starts in the background, or under nohup."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with a reason, what this machine or this call does not run."""
    marked = {name: [i for i in items if i.get_closest_marker(name)] for name in _SKIPS}
    for name, reason in _SKIPS.items():
        if marked[name] and not _wanted(name, config):
            for item in marked[name]:
                item.add_marker(pytest.mark.skip(reason=reason))


_SKIPS = {
    "slow": "slow: run with --run-slow",
    "gpu": "needs a CUDA device; torch sees none",
    "two_gpu": "needs two CUDA devices",
}


def _wanted(name: str, config: pytest.Config) -> bool:
    if name == "slow":
        return bool(config.getoption("--run-slow"))
    import torch

    return torch.cuda.device_count() >= (2 if name == "two_gpu" else 1)
