"""The table of commands: their settings, and the task that does the work.

A task is imported once its config has been checked, so that help and errors stay fast.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from cnnlab import config as settings
from cnnlab.command import shorthands
from cnnlab.command.needs import Need, of_summary, of_visualize
from cnnlab.command.shorthands import Shorthand
from cnnlab.config.tables import load_by_name
from cnnlab.config.verbs import reproduce
from cnnlab.files import foreign

Task = Callable[[Any, settings.Launch], int | settings.Outcome]
"""What does the work: (checked config, launch) -> outcome, or the exit code where there is no run.

Raises RunError where it fails with a run folder of its own.
"""


@dataclass(frozen=True)
class Verb:
    """One command. task: "module:function", called with the checked config and a Launch.

    is_shared: it runs in several processes under torchrun; others refuse that. makes_runs: each
    job writes a run folder, whose path may be chosen. unused: settings or whole sections of its
    config without effect: they come with a group or an experiment, help does not show them, and
    typed they are refused. needs: settings that have an effect only with certain values of others.
    trains: of a command that starts trainings, (checked config) -> the words of each and who wants
    it; they are composed and checked before the task begins, which gets them in its Launch.
    """

    help: str
    config_class: type
    parse: Callable[[dict[str, Any]], Any]
    task: str
    example: str
    is_shared: bool = False
    makes_runs: bool = False
    unused: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    trains: Callable[[Any], dict[tuple[str, ...], str]] | None = None
    spell_out: Shorthand | None = None

    def places(self, *, is_sweep: bool = False, resumes: bool = False) -> str:
        """Return the settings that say where this command writes, as a message lists them.

        resumes: it continues a run, which stays in its folder.
        """
        has_output = any(field.name == "output" for field in fields(self.config_class))
        run = "hydra.sweep.dir=X" if is_sweep else "hydra.run.dir=X"
        keys = [run] * (self.makes_runs and not resumes) + ["output=X"] * has_output
        return ", ".join(keys)

    def uses(self, key: str) -> bool:
        """Return whether this command uses a setting."""
        return not any(key == name or key.startswith(f"{name}.") for name in self.unused)


def _takes_weights_of_others(config: Any) -> bool:
    """Return whether the source of `convert` may be weights without a model and class names."""
    return _takes_plain_weights(config) and not foreign.is_plain_of_ours(config.source or "")


def _takes_plain_weights(config: Any) -> bool:
    """Return whether the source of `convert` may be weights without a data set."""
    source = config.source
    if source == "latest":
        return False
    if source in (None, "torchvision") or not os.path.exists(source):
        return True  # a missing file is reported when it is opened
    return foreign.format_of(foreign.first_bytes(source)) != ""


_BUILDING = tuple(
    field.name for field in fields(settings.PrepareConfig) if field.name not in ("output", "verify")
)
"""Settings of `prepare` that say how a Store is built."""


_READING = ("dataset.decode", "dataset.num_readers")
"""Settings of how training reads its batches."""


VERBS: dict[str, Verb] = {
    "train": Verb(
        "train a network; by default LeNet-5 on 5,000 digits",
        settings.TrainConfig,
        settings.parse_train,
        "cnnlab.app.train:run",
        "cnnlab train model=lenet5 dataset=fashion_mnist trainer.epochs=12",
        is_shared=True,
        makes_runs=True,
        needs=(
            Need(
                ("ensemble.at_once",),
                lambda config: bool(config.ensemble.members > 1),
                "one network is trained",
                "ensemble.members=5 trains five",
            ),
            Need(
                ("logging.histograms_every_steps", "logging.embedded_images"),
                lambda config: bool(config.logging.tensorboard),
                "nothing is written for TensorBoard",
                "logging.tensorboard=true writes it",
            ),
            Need(
                ("evaluation", "logging.report", "trainer.validate_every_epochs", "which_weights"),
                lambda config: not config.schedule.is_trial,
                "a range test validates and tests nothing",
                "another schedule trains a network that is tested",
            ),
        ),
    ),
    "evaluate": Verb(
        "measure the test error of one checkpoint, or of several as an ensemble",
        settings.EvaluateConfig,
        settings.parse_evaluate,
        "cnnlab.app.evaluate:run",
        "cnnlab evaluate checkpoint=latest evaluation=five_crop",
        is_shared=True,
        unused=("dataset.normalize", *_READING),
    ),
    "summary": Verb(
        "print sizes, parameters, multiply-adds, receptive fields of a network or of one layer",
        settings.SummaryConfig,
        settings.parse_summary,
        "cnnlab.app.summary:run",
        "cnnlab summary model=alexnet",
        unused=(
            *("dataset.channels", "dataset.image_size_pixels", "dataset.residency"),
            *_READING,
        ),
        needs=of_summary(),
    ),
    "visualize": Verb(
        "visualize what a network has learned: filters, deconvnet, nearest neighbors",
        settings.VisualizeConfig,
        settings.parse_visualize,
        "cnnlab.app.visualize:run",
        "cnnlab visualize checkpoint=latest what=filters,top9",
        unused=("dataset.normalize", "dataset.residency", "runtime.kernels", *_READING),
        needs=of_visualize(),
    ),
    "predict": Verb(
        "classify your own image files",
        settings.PredictConfig,
        settings.parse_predict,
        "cnnlab.app.predict:run",
        "cnnlab predict checkpoint=latest images=photo.jpg",
    ),
    "compare": Verb(
        "compare runs: settings, results, curves",
        settings.CompareConfig,
        settings.parse_compare,
        "cnnlab.app.compare:run",
        "cnnlab compare runs=outputs/a,outputs/b output=compare.html",
    ),
    "convert": Verb(
        "import torchvision's weights, export networks",
        settings.ConvertConfig,
        settings.parse_convert,
        "cnnlab.app.convert:run",
        "cnnlab convert source=alexnet.pth output=alexnet.safetensors",
        needs=(
            Need(
                ("dataset", "augment"),
                _takes_plain_weights,
                "a checkpoint of cnnlab has its own",
                "it is for weights without a data set",
            ),
            Need(
                ("which_weights",),
                lambda config: not _takes_plain_weights(config),
                "the source has one kind of weights",
                "a checkpoint of a run with ema.decay has two",
            ),
            Need(
                ("model", "class_names"),
                _takes_weights_of_others,
                "the source was written by cnnlab and has its own",
                "it is for weights from elsewhere, which come without settings",
            ),
        ),
    ),
    "prepare": Verb(
        "convert an image set into a verified Store",
        settings.PrepareConfig,
        settings.parse_prepare,
        "cnnlab.app.prepare:run",
        "cnnlab prepare dataset=imagenet dataset.root=/data/imagenet output=/data/imagenet256",
        needs=(
            Need(
                _BUILDING,
                lambda config: not config.verify,
                "an existing output is only verified",
                "without verify=true a Store is built",
            ),
            Need(
                ("quality",),
                lambda config: bool(config.encoding == "jpeg"),
                "no JPEG is written",
                "encoding=jpeg writes some",
            ),
            Need(
                ("max_bad_fraction",),
                lambda config: bool(config.on_bad == "skip"),
                "a single bad file ends the command",
                "on_bad=skip leaves bad files out",
            ),
        ),
        unused=(
            "dataset.normalize",
            "dataset.num_validation",
            "dataset.on_bad",
            "dataset.permutation_seed",
            "dataset.residency",
            "dataset.split_seed",
            "dataset.train_subset",
            *_READING,
        ),
    ),
    "benchmark": Verb(
        "time each part of training on this machine, and what limits it",
        settings.BenchmarkConfig,
        settings.parse_benchmark,
        "cnnlab.app.benchmark:run",
        "cnnlab benchmark dataset=fashion_mnist trainer.batch_size=128",
        unused=(
            *("allow_changes", "distributed", "ensemble", "logging", "resume", "saving", "writer"),
            "trainer.early_stop_epochs",
            "trainer.log_every_steps",
            "trainer.validate_every_epochs",
            "which_weights",
        ),
    ),
    "reproduce": Verb(
        "measure the papers' claims here, beside what was published",
        settings.ReproduceConfig,
        settings.parse_reproduce,
        "cnnlab.app.reproduce:run",
        "cnnlab reproduce claims=relu_against_tanh,ten_views",
        trains=reproduce.trainings,
    ),
    "copy": Verb(
        "copy a choice, an experiment say, to edit it",
        settings.CopyConfig,
        settings.parse_copy,
        "cnnlab.app.copy:run",
        "cnnlab copy experiment=quickstart mine.yaml",
        spell_out=shorthands.of_copy,
    ),
    "list": Verb(
        "list models, datasets, experiments, claims or runs",
        settings.ListConfig,
        settings.parse_list,
        "cnnlab.app.list:run",
        "cnnlab list experiments",
        spell_out=shorthands.of_list,
    ),
}


def load_task(verb: Verb) -> Task:
    """Import the task of a command."""
    task: Task = load_by_name(verb.task)
    return task
