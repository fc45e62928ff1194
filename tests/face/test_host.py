"""A program that calls cnnlab gets everything back: streams, signals, torch's switches."""

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import cnnlab
from cnnlab import host
from cnnlab.command import calling, resolvers
from cnnlab.config import choices
from tests.face.small import FEW, Listening

ROOT = Path(__file__).parents[2]

SIGNALS = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]


def of_the_program() -> dict[str, Any]:
    """Return what a call must leave alone."""
    backends: Any = torch.backends
    return {
        "environment": dict(os.environ),
        "arguments": list(sys.argv),
        "path": list(sys.path),
        "folder": os.getcwd(),
        "streams": (sys.stdout, sys.stderr, getattr(sys.stdout, "errors", None)),
        "signals": {number: signal.getsignal(number) for number in SIGNALS},
        "hooks": (sys.excepthook, sys.displayhook),
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "disabled": logging.root.manager.disable,
        "filters": list(warnings.filters),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "only_warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (backends.cudnn.deterministic, backends.cudnn.benchmark),
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32),
        "precisions": [
            owner.fp32_precision
            for owner in (backends, backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv)
        ],
        "random": torch.get_rng_state().tolist(),
        "hydra": (HydraConfig.instance().cfg, GlobalHydra.instance().is_initialized()),
    }


@pytest.fixture
def unusual_switches() -> Iterator[None]:
    """Set switches of torch to what no command of ours would leave; reset them afterwards."""
    with host.torch_unchanged():
        torch.set_num_threads(3)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = True
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(17)
        yield


@pytest.mark.usefixtures("unusual_switches")
def test_a_training_leaves_the_program_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_the_program.py").touch()
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict")
    with redirect_stdout(stream), torch.no_grad():
        before = of_the_program()
        run = cnnlab.train(*FEW, "plugins=[of_the_program]", "trainer.epochs=1")
        after = of_the_program()
        run.evaluate()
        after_evaluation = of_the_program()

    assert {key: value for key, value in after.items() if value != before[key]} == {}
    assert {key: value for key, value in after_evaluation.items() if value != before[key]} == {}
    del sys.modules["of_the_program"]


@pytest.mark.slow
def test_switches_around_a_call_change_no_result(tmp_path: Path) -> None:
    def loss(name: str) -> float:
        with redirect_stdout(io.StringIO()):
            words = {"hydra.run.dir": tmp_path / name, "trainer.epochs": 1}
            return cnnlab.train(*FEW, **words).history[-1]["train/loss"]

    plain = loss("plain")
    weights = cnnlab.load(tmp_path / "plain", "cpu").model.state_dict()
    with torch.inference_mode():
        assert loss("inference") == plain
    with torch.device("meta"):
        assert loss("device") == plain
        again = cnnlab.load(tmp_path / "plain", "cpu").model.state_dict()
        assert cnnlab.build_model("linear").state_dict()["output.weight"].device.type == "cpu"
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss("autocast") == plain


@pytest.mark.slow
def test_the_current_gpu_of_the_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", list)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.__setitem__(0, device))
    with host.torch_unchanged():
        torch.cuda.set_device(0)  # as runtime.configure does
    assert current == [1]


def test_a_handler_of_the_program_stays_and_a_default_one_saves(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        stream = Listening("epoch   1/", lambda: signal.raise_signal(signal.SIGTERM))
        with redirect_stdout(stream):
            cnnlab.train(*FEW, **{"trainer.epochs": 2, "hydra.run.dir": tmp_path / "own"})
        assert heard == [signal.SIGTERM]
        assert cnnlab.Run(tmp_path / "own").status == "done"

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stream = Listening("epoch   1/", lambda: signal.raise_signal(signal.SIGTERM))
        with redirect_stdout(stream), pytest.raises(cnnlab.Interrupted) as caught:
            cnnlab.train(*FEW, **{"trainer.epochs": 2, "hydra.run.dir": tmp_path / "default"})
        assert caught.value.exit_code == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_stream_that_is_lost_ends_no_training_and_stays_the_programs(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True)
    with redirect_stdout(stream):
        run = cnnlab.train(*FEW, **{"trainer.epochs": 1, "hydra.run.dir": tmp_path / "run"})

    assert run.status == "done"
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"still the program's pipe")
    stream.close()


IMPORTED = """
import signal, sys
before = {n: signal.getsignal(n) for n in signal.valid_signals()}
import cnnlab
after = {n: signal.getsignal(n) for n in signal.valid_signals()}
heavy = [name for name in ("torch", "numpy", "hydra", "rich", "yaml") if name in sys.modules]
assert heavy == [] and before == after, heavy
assert dir(cnnlab) == sorted(cnnlab.__all__)
from cnnlab import errors
for name in cnnlab.__all__:
    getattr(cnnlab, name)
try:
    cnnlab.nothing
except AttributeError as error:
    assert "nothing" in str(error)
"""


def test_importing_cnnlab_imports_nothing_heavy_and_changes_nothing() -> None:
    subprocess.run([sys.executable, "-c", IMPORTED], check=True)


def test_every_class_of_error_is_public_and_has_its_code() -> None:
    codes = {
        "UsageError": 2,
        "DataError": 3,
        "CheckpointError": 4,
        "NumericsError": 5,
        "ResourceError": 6,
        "PeerLostError": 7,
        "BusyError": 8,
    }
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name, code in codes.items():
        assert getattr(cnnlab, name).exit_code == code
        assert issubclass(getattr(cnnlab, name), cnnlab.CnnlabError)
        assert f"| `{name}` | {code} |" in page


IN_A_POOL = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cnnlab

WORDS = sys.argv[2:]

def trained(number):
    folder = f"{sys.argv[1]}_{number}"
    return cnnlab.train(*WORDS, seed=number, **{"hydra.run.dir": folder})

def failing(number):
    return cnnlab.train("trainer.epoch=3")

if __name__ == "__main__":
    first = trained(7)  # so that a forked worker inherits what a training leaves
    with ProcessPoolExecutor(2, mp_context=get_context(sys.argv[1])) as pool:
        runs = list(pool.map(trained, [0, 1]))
        assert [run.status for run in (first, *runs)] == ["done"] * 3
        try:
            pool.submit(failing, 0).result()
        except cnnlab.UsageError as error:
            assert "trainer.epochs" in str(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_process_pool_train(start: str, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(IN_A_POOL)
    words = [sys.executable, str(program), start, *FEW, "trainer.epochs=1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


UNDER_HYDRA = """
import logging

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import cnnlab

@hydra.main(config_path=None, config_name=None, version_base="1.3")
def main(config):
    before = OmegaConf.to_yaml(HydraConfig.get())
    handlers = list(logging.getLogger().handlers)
    run = cnnlab.train(*WORDS, **{"hydra.run.dir": "run"})
    assert run.status == "done"
    assert OmegaConf.to_yaml(HydraConfig.get()) == before
    assert logging.getLogger().handlers == handlers != []
    logging.getLogger("mine").info("still here")

main()
"""


@pytest.mark.slow
def test_a_program_under_hydra_with_logging_trains(tmp_path: Path) -> None:
    program = f"WORDS = {[*FEW, 'trainer.epochs=1']!r}\n{UNDER_HYDRA}"
    (tmp_path / "host.py").write_text(program)
    words = [sys.executable, "host.py", "hydra.run.dir=of_the_host"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "still here" in (tmp_path / "of_the_host" / "host.log").read_text()


WITHOUT = """
import sys
for name in ("matplotlib", "IPython", "pandas", "tensorboard"):
    sys.modules[name] = None
import cnnlab
run = cnnlab.train(*sys.argv[1:], **{"hydra.run.dir": "run"})
assert run.status == "done" and "<svg" in run._repr_html_()
run.predict(cnnlab.datasets("synthetic", num_test=20, num_train=40, num_validation=10).test.images)
"""


@pytest.mark.slow
def test_a_training_without_pictures_needs_no_drawing_library(tmp_path: Path) -> None:
    few = [word for word in FEW if word != "logging.report=false"]
    few += ["trainer.epochs=2", "logging.images_every_epochs=null"]
    words = [sys.executable, "-c", WITHOUT, *few]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "warning" in done.stdout


RESOLVERS = ("recipe", "at_least", "now", "hydra")
"""Names of ours in YAML files, and of Hydra's."""


@pytest.fixture
def of_omegaconf() -> Iterator[None]:
    """Put the resolvers of this process back after a test that registers some."""
    with resolvers.known():
        yield


def test_the_resolvers_of_the_program_are_its_own(of_omegaconf: None) -> None:
    for name in RESOLVERS:
        OmegaConf.register_new_resolver(name, lambda *_: "the program's", replace=True)

    config = calling.checked("train", ["model=alexnet", "dataset=fashion_mnist"], {})

    recipe = choices.read(choices.configs_folder() / "model" / "alexnet.yaml")["recipe"]
    assert config.optimizer.learning_rate == recipe["learning_rate"]["sgd"]
    for name in RESOLVERS:
        assert OmegaConf.create({"x": f"${{{name}:a}}"}).x == "the program's"


def test_a_program_may_register_its_resolvers_after_a_call(of_omegaconf: None) -> None:
    for name in RESOLVERS:
        OmegaConf.clear_resolver(name)

    calling.checked("summary", [], {})

    for name in RESOLVERS:
        OmegaConf.register_new_resolver(name, lambda *_: "the program's")
