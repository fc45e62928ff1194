"""docs/extending.md: its examples run as printed, and what it says of own parts holds."""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cnnlab
from cnnlab import plugins
from cnnlab.cli import main
from cnnlab.config import MODELS, ModelChoice
from cnnlab.config.models import LinearConfig
from cnnlab.errors import UsageError
from tests.own_modules import forget, forgotten

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.compile(r"```python\n# (\w+\.py)\n(.*?)```\n+```bash\n(.*?)```", re.DOTALL)
EXAMPLES = {file: (code, lines.splitlines()) for file, code, lines in BLOCKS.findall(PAGE)}
SERVICES = ("my_wandb.py", "my_mlflow.py")

LEAN = ["experiment=debug", "logging.tensorboard=false", "logging.report=false"]
LEAN += ["logging.images_every_epochs=null", "runtime.num_threads=1", "trainer.epochs=1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder that has the files of the page."""
    monkeypatch.chdir(tmp_path)
    for file, (code, _) in EXAMPLES.items():
        (tmp_path / file).write_text(code)
    with forgotten():
        yield tmp_path


def test_the_page_has_an_example_of_each_kind() -> None:
    kinds = ("MODELS", "DATASETS", "AUGMENTS", "LOSSES", "OPTIMIZERS", "SCHEDULES", "WRITERS")
    code = "".join(code for code, _ in EXAMPLES.values())
    assert all(f"{kind}.register(" in code for kind in (*kinds, "PICTURES"))
    assert PAGE.count("```python") == len(EXAMPLES), "a block that no test runs"


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in EXAMPLES if file not in SERVICES])
def test_an_example_runs_as_printed(file: str, here: Path) -> None:
    for line in EXAMPLES[file][1]:
        assert main(shlex.split(line)[1:]) == 0, line


RECORDER = '''"""A recorder in place of a service that is not installed."""
import json, pathlib, sys

class Recorder:
    def __init__(self, name):
        self.name = name
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorder(name)
    def __call__(self, *given, **named):
        told = {key: str(value)[:80] for key, value in named.items()}
        with pathlib.Path("told.jsonl").open("a") as file:
            file.write(json.dumps([self.name, str(given)[:80], told]) + "\\n")
        return self
    def __str__(self):
        return "the " + self.name

sys.modules[__name__] = Recorder(__name__)
'''


@pytest.mark.slow
@pytest.mark.parametrize("file", SERVICES)
def test_a_service_gets_the_figures_of_a_run(file: str, here: Path) -> None:
    """The service's own package where it is installed, else a recorder of its calls."""
    name = file.removeprefix("my_").removesuffix(".py")
    is_installed = importlib.util.find_spec(name) is not None
    if not is_installed:
        (here / "recorders").mkdir()
        (here / "recorders" / f"{name}.py").write_text(RECORDER)
    found = [str(here / "recorders"), *sys.path, os.environ.get("PYTHONPATH", "")]
    kept = {"WANDB_MODE": "offline"}
    kept |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": f"file:{here}/mlruns"}
    environment = os.environ | kept | {"PYTHONPATH": os.pathsep.join(filter(None, found))}

    (line,) = EXAMPLES[file][1]
    more = f"cnnlab train resume=run trainer.epochs=3 plugins=./{file}"
    for words in (f"{line} hydra.run.dir=run", more):
        command = [sys.executable, "-P", "-m", *shlex.split(words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Writer stopped" not in done.stdout, done.stdout
    known = (here / "run" / f"{name}_id.txt").read_text()
    if not is_installed:
        _check_calls(name, here / "told.jsonl", known)
    elif name == "mlflow":
        assert list(here.glob("mlruns/*/*/metrics/validation/top1_error"))
        assert [path.parent.name for path in here.glob("mlruns/*/*/params")] == [known]
    else:
        kept = list(here.glob("run/wandb/offline-run-*/*.wandb"))
        assert {path.name for path in kept} == {f"run-{known}.wandb"}


def _check_calls(name: str, told: Path, known: str) -> None:
    """A run and its continuation gave their figures to one run of the service."""
    calls = [json.loads(row) for row in told.read_text().splitlines()]
    wanted = {"wandb": {"init", "log", "finish"}, "mlflow": {"log_params", "log_metrics"}}[name]
    assert wanted <= {called for called, _, _ in calls}
    if name == "wandb":
        begun = [named for called, _, named in calls if called == "init"]
        assert [(named["id"], named["resume"]) for named in begun] == [(known, "allow")] * 2
    else:
        begun = [named for called, _, named in calls if called == "start_run"]
        assert [named.get("run_id") for named in begun] == [None, known]


OWN_WRITER = """
from cnnlab.config import WRITERS, Choice, WriterConfig

class Notes:
    def __init__(self, config, run):
        self.file = open("notes.txt", "a")
        print("opened at", run.step, run.settings["model.name"], file=self.file)
    def scalars(self, step, values):
        print(step, *sorted(values), file=self.file)
    def images(self, step, name, picture):
        pass
    def close(self):
        self.file.close()

WRITERS.register("notes", Choice(WriterConfig, Notes))
"""
ALL = "plugins=[./my_model.py,./my_data.py,./my_augment.py,./my_loss.py,./my_optimizer.py,"
ALL += "./my_schedule.py,./my_writer.py]"
CHOSEN = ["model=my_net", "dataset=squares", "augment=erase", "loss=focal", "optimizer=rmsprop"]
CHOSEN += ["schedule=polynomial", "writer=notes", "loss.gamma=1"]


def test_own_parts_of_every_kind_work_together(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, resumed, evaluated; named in config.yaml and run.json."""
    (here / "my_writer.py").write_text(OWN_WRITER)
    assert main(["train", *CHOSEN, *LEAN, ALL, "hydra.run.dir=run"]) == 0
    assert "loss        focal gamma=1.0; in training alone" in capsys.readouterr().out
    forget()
    assert main(["train", "resume=run", "trainer.epochs=2"]) == 2
    said = capsys.readouterr().err
    assert "not imported here: " in said
    assert all(part in said for part in ("model 'my_net'", "loss 'focal'", "writer 'notes'"))
    assert f"add plugins=[{here}/my_model.py," in said
    assert main(["train", "resume=run", "trainer.epochs=2", ALL]) == 0
    forget()

    facts = json.loads((here / "run" / "run.json").read_text())
    assert facts["plugins"][0] == {
        "module": "my_model",
        "file": str(here / "my_model.py"),
        "sha256": facts["plugins"][0]["sha256"],
        "package": None,
    }
    notes = (here / "notes.txt").read_text()
    assert "opened at 3 my_net" in notes
    assert "validation/top1_error" in notes
    assert f"- {here}/my_model.py" in (here / "run" / "config.yaml").read_text()

    capsys.readouterr()
    assert main(["evaluate", "checkpoint=run"]) == 2
    said = capsys.readouterr().err
    assert "made with parts of your own that are not imported here: model 'my_net'\n" in said
    assert main(["evaluate", "checkpoint=run", ALL, "format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["dataset"] == "squares"
    assert cnnlab.load("run", "cpu").predict(np.zeros((1, 32, 32), np.uint8)).names


@pytest.mark.slow
def test_a_resumed_run_says_that_the_code_is_another(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plugins=./my_loss.py", "model=linear", "loss=focal"]
    assert main(["train", *LEAN, *words, "hydra.run.dir=run"]) == 0
    (here / "my_loss.py").write_text(EXAMPLES["my_loss.py"][0] + "\n# edited\n")
    capsys.readouterr()
    assert main(["train", "resume=run", "trainer.epochs=2", "plugins=./my_loss.py"]) == 0
    said = capsys.readouterr().out
    assert said.count("warning: my_loss is not the code that the run began with (sha256 ") == 1


def test_own_parts_are_listed_suggested_and_checked_like_all_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "plugins=./my_model.py"
    assert main(["list", "models", own]) == 0
    assert re.search(r"^my_net +A small residual network\.$", capsys.readouterr().out, re.M)
    assert main(["train", "--help", own, "model=my_net"]) == 0
    shown = capsys.readouterr().out
    assert "model       my_net | alexnet" in shown
    assert re.search(r"model\.depth +2 +number of residual blocks \(an integer at least 1", shown)
    refused = {
        "model=my_nte": "did you mean 'my_net'?",
        "model=my_net model.depht=3": "did you mean 'model.depth'?",
        "model=my_net model.depth=0": "model.depth must be an integer at least 1",
        "model=lenet5 model.depth=3": "my_net has it",
    }
    for words, message in refused.items():
        assert main(["train", *words.split(), own]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module_x", "ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("x = 1 +", "line 1: SyntaxError"),
        ("def f():\n    raise KeyError('k')\nf()", "mine.py, line 3: KeyError: 'k'"),
        (
            "from cnnlab.config import MODELS\nMODELS.register('lenet5', MODELS['mlp'])",
            "mine.py, line 2: model 'lenet5' is built in",
        ),
        (
            "from cnnlab.config import AUGMENTS, MODELS\nAUGMENTS.register('a', MODELS['mlp'])",
            "the settings of augment 'a' are not a dataclass of the group",
        ),
        (
            "from cnnlab.config import AUGMENTS, AugmentConfig, Choice\n"
            "class Own(AugmentConfig): side: int = 3\nAUGMENTS.register('a', Choice(Own, print))",
            "derive it: @dataclass(kw_only=True) class ...(AugmentConfig)",
        ),
        (
            "from cnnlab.config import OPTIMIZERS as O\nO.register('a', O['sgd'], moment=1)",
            "optimizer 'a' has no setting 'moment' to give a default",
        ),
        (
            "from cnnlab.config import PICTURES, PictureChoice\n"
            "PICTURES.register('a', PictureChoice(print, settings=('dpi',)))",
            "picture 'a' asks for the setting 'dpi', which visualize lacks",
        ),
        ("from cnnlab.models import register", "models.register is now MODELS.register("),
    ],
)
def test_a_module_that_fails_is_its_authors(
    code: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.py").write_text(code)
    assert main(["train", "plugins=./mine.py"]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("cnnlab: plugins: cannot import './mine.py'\n")
    assert len(message.splitlines()) <= 3


OWN = """
import torch
from torch import nn
from cnnlab.config import LOSSES, MODELS, Choice, LossConfig, ModelChoice, ModelConfig

class Net(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.out = nn.Linear(9, task.num_classes)
    def forward(self, images):
        return self.out(images.flatten(1))

def fails_in_builder(config, task, generator):
    return {}["depth"]

def fails_in_forward(config, task, generator):
    return Net(task)

def fails_in_a_layer(config, task, generator):
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 2))

def returns_maps(config, task, generator):
    return nn.Conv2d(task.in_channels, 10, 1)

def returns_none(config, task, generator):
    pass

for build in (fails_in_builder, fails_in_forward, fails_in_a_layer, returns_maps, returns_none):
    MODELS.register(build.__name__, ModelChoice(ModelConfig, build))

def mean(config):
    return lambda scores, labels: nn.functional.cross_entropy(scores, labels)

def later(config):
    def loss(scores, labels):
        raise ZeroDivisionError("later")
    return loss

LOSSES.register("mean", Choice(LossConfig, mean))
LOSSES.register("later", Choice(LossConfig, later))
"""
FAULTS = {
    "model=fails_in_builder": ["error in your own part: KeyError: 'depth'", "mine.py, line 14"],
    "model=fails_in_forward": [
        "RuntimeError: ",
        "mat1 and mat2",
        "mine.py, line 11",
        "CNNLAB_TRACEB",
    ],
    "model=fails_in_a_layer": ["model 'fails_in_a_layer' fails on images [2, 1, 32, 32]", "mat1"],
    "model=returns_maps": ["returns [2, 10, 32, 32] for 2 images, not [2, 10]"],
    "model=returns_none": ["the builder of model 'returns_none' returns a NoneType"],
    "model=linear loss=mean": ["loss 'mean' returns [] for 16 images", "[16], without a mean"],
    "model=linear loss=later": ["ZeroDivisionError: later", "mine.py, line 36", "train.log"],
}


SLOW = ("model=fails_in_a_layer", "model=returns_none", "model=linear loss=mean")


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=[pytest.mark.slow] * (words in SLOW)) for words in FAULTS],
)
def test_an_error_in_an_own_part_names_the_line_and_is_no_bug_of_cnnlab(
    words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.py").write_text(OWN)
    line = ["train", *LEAN, *words.split(), "plugins=[./mine.py]", "hydra.run.dir=run"]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in FAULTS[words]), said
    assert "bug" not in said
    assert len(said.splitlines()) <= 3
    if "train.log" in said:
        assert "ZeroDivisionError: later" in (here / "run" / "train.log").read_text()


def test_a_name_that_exists_is_refused_and_the_same_function_may_come_again() -> None:
    def one() -> None: ...
    def two() -> None: ...

    with forgotten():
        MODELS.register("own", ModelChoice(LinearConfig, one))
        MODELS.register("own", ModelChoice(LinearConfig, one), recipe={})
        with pytest.raises(UsageError, match="model 'own' exists already, from tests"):
            MODELS.register("own", ModelChoice(LinearConfig, two))
        with pytest.raises(UsageError, match="model 'a b' cannot be typed"):
            MODELS.register("a b", ModelChoice(LinearConfig, one))
    assert "own" not in MODELS


def test_an_installed_package_needs_no_word(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, facts = here / "site", here / "site" / "lab_parts-1.2.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-parts\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text("[cnnlab.plugins]\nparts = lab_parts\n")
    (site / "lab_parts.py").write_text(EXAMPLES["my_model.py"][0])
    monkeypatch.syspath_prepend(str(site))

    assert main(["summary", "model=my_net", "format=json"]) == 0
    digest = hashlib.sha256(f"lab_parts.py {len(EXAMPLES['my_model.py'][0])}\n".encode())
    digest.update(EXAMPLES["my_model.py"][0].encode())
    assert plugins.describe([]) == [
        {
            "module": "lab_parts",
            "file": str(site / "lab_parts.py"),
            "sha256": digest.hexdigest(),
            "package": "lab-parts 1.2",
        }
    ]
    with forgotten():
        (site / "lab_parts.py").write_text("import no_such_module_x")
        sys.modules.pop("lab_parts", None)
        plugins._installed.clear()
        capsys.readouterr()
        assert main(["list", "models"]) == 2
        said = capsys.readouterr().err
        assert "the installed package lab-parts 1.2 cannot be imported as a plugin" in said


def test_where_a_module_is_looked_for_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "plugins=[my_modle]"]) == 2
    assert f"looked in {here}, PYTHONPATH and the environment; a path works too" in (
        capsys.readouterr().err
    )
    assert main(["train", "plugins=[./my_modle.py]"]) == 2
    assert f"no file {here}/my_modle.py" in capsys.readouterr().err
    (here / "json.py").write_text("")
    assert main(["train", "plugins=[./json.py]"]) == 2
    assert "another module is called 'json'" in capsys.readouterr().err


def test_a_setting_without_a_default_is_named_when_its_choice_is_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = EXAMPLES["my_model.py"][0].replace(", depth=2)", ")")
    (here / "mine.py").write_text(code)
    assert main(["summary", "model=linear", "plugins=./mine.py"]) == 0
    capsys.readouterr()
    assert main(["summary", "model=my_net", "plugins=./mine.py"]) == 2
    said = capsys.readouterr().err
    assert "model 'my_net': the setting 'depth' has no default" in said
    assert "register(..., depth=VALUE)" in said


@pytest.mark.slow
def test_sweeps_and_ensembles_take_own_parts(here: Path) -> None:
    own = ["plugins=[./my_model.py]", *LEAN]
    assert main(["train", "-m", "model=my_net,linear", *own, "hydra.sweep.dir=sweep"]) == 0
    statuses = [json.loads(file.read_text())["status"] for file in here.glob("sweep/*/run.json")]
    assert statuses == ["done", "done"]
    words = ["model=my_net", "ensemble.members=2", "hydra.run.dir=two"]
    assert main(["train", *words, *own]) == 0
    assert json.loads((here / "two" / "run.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_help_imports_torch_only_if_the_plugin_does(here: Path) -> None:
    (here / "light.py").write_text(
        "from cnnlab.config import MODELS, ModelChoice, ModelConfig\n"
        "MODELS.register('light', ModelChoice(ModelConfig, 'my_model:my_net'))\n"
    )
    code = (
        "import sys; from cnnlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    )
    for words in (["--help"], ["model=lihgt"]):
        line = [sys.executable, "-c", code, "train", "plugins=./light.py", *words]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1].endswith("False"), done.stderr
    assert "did you mean 'light'?" in done.stderr
