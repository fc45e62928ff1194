"""The lines that `cnnlab train` prints: text only, no arithmetic beyond rounding."""

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from cnnlab import __version__
from cnnlab.config import DATASETS, Launch, TrainConfig, to_plain
from cnnlab.config.distributed import HYBRID
from cnnlab.config.ema import KINDS
from cnnlab.config.loss import DefaultLossConfig
from cnnlab.config.recipes import READ_BY
from cnnlab.console import Console
from cnnlab.evaluation.metrics import Tally
from cnnlab.models import Network
from cnnlab.models.summary import summarize
from cnnlab.run_folder import BASE, RunFolder
from cnnlab.runtime import describe_device, precision_warning
from cnnlab.trainer.assemble import Assembly


def header(console: Console, parts: Assembly, folder: RunFolder, launch: Launch) -> None:
    """Print what is about to be trained, on what, and what differs from the defaults."""
    config = parts.config
    console.line(
        f"cnnlab {__version__} · torch {torch.__version__} · Python {platform.python_version()}"
        f" · {describe_device(parts.device)} · seed {config.seed}"
    )
    if warning := precision_warning(config.runtime.precision, parts.device):
        console.line(f"warning: {warning}")

    if parts.kernels is not None:
        console.line(f"kernels     {parts.kernels}")
    if parts.update.capturing.line is not None:
        console.line(f"capture     {parts.update.capturing.line}")
    console.line(f"threads     {parts.threads.number}: {parts.threads.reason}")
    console.line(f"run folder  {folder.path}")
    console.line(f"data        {describe_data(parts)}")
    for line in remarks(parts):
        console.line(f"            {line}")
    for number, line in enumerate(parts.starting_weights):
        console.line(f"{'' if number else 'weights':<12}{line}")

    if launch.overrides:
        console.line(f"settings    {'  '.join(launch.overrides)}")
    console.line(f"recipe      {'  '.join(recipe(config))}")
    for number, group in enumerate(config.optimizer.groups):
        console.line(f"{'' if number else 'groups':<12}{group.summary}")
    for line in loss_lines(parts):
        console.line(f"loss        {line}")
    if parts.average is not None:
        console.line(
            f"average     ema of the weights, decay {config.ema.decay:g} per update; "
            f"{config.which_weights} weights are validated and tested"
        )

    model_table(console, parts)
    if parts.network.frozen:
        console.line(f"trained     {trained_layers(parts.network)}")
    for line in workers(parts):
        console.line(line)


def workers(parts: Assembly) -> list[str]:
    """Return a line for the processes that share the batches, real or simulated, if any."""
    asked, size = parts.config.distributed, parts.peers.size
    words = [f"processes   {size}, which share every batch"] if size > 1 else []
    if asked.simulate is not None:
        words = [f"simulated   {asked.simulate} processes, which share every batch"]
    if asked.scheme == HYBRID and (words or asked.fc_batch):
        words = words or ["processes   1"]
        words.append("the units of hidden fully connected layers are shared out")
    if asked.fc_batch is not None:
        words.append(f"fully connected layers are updated after each {asked.fc_batch} images")
    return ["; ".join(words)] if words else []


def recipe(config: TrainConfig) -> list[str]:
    """Return the settings whose defaults follow from the model, as words that could be typed."""
    plain = to_plain(config)
    found = []
    for key in READ_BY.values():
        section, _, name = key.partition(".")
        if name in plain[section]:
            value = plain[section][name]
            found.append(f"{key}={'null' if value is None else value}")
    return found


def loss_lines(parts: Assembly) -> list[str]:
    """Return a line for what the training loss has that the validation loss has not, if any."""
    loss = parts.config.loss
    if not isinstance(loss, DefaultLossConfig):
        settings = [f" {key}={value}" for key, value in vars(loss).items() if key != "name"]
        return [f"{loss.name}{''.join(settings)}; in training alone"]
    smoothing, weights = loss.label_smoothing, parts.update.class_weights
    words = [f"labels smoothed by {smoothing:g}"] if smoothing else []
    if weights is not None:
        names = parts.splits.train.class_names
        low, high = int(weights.argmin()), int(weights.argmax())
        words.append(
            f"class weights from {float(weights[low]):.3g} ({names[low]}) "
            f"to {float(weights[high]):.3g} ({names[high]})"
        )
    return [f"{', '.join(words)}; in training alone"] if words else []


_PLACES = {
    "device": "kept on the device",
    "host": "kept in host memory",
    "mapped": "read for each batch",
}


def describe_data(parts: Assembly) -> str:
    """Return '3,500 train / 500 validation / 1,000 test images of mnist5k, ...'."""
    splits, size = parts.splits, parts.preprocessing.image_size_pixels
    stores = [s for s in (splits.train, splits.validation, splits.test) if s is not None]

    counts = " / ".join(f"{len(store):,} {store.split}" for store in stores)
    height, width, channels = splits.train.image_shape
    row = DATASETS.get(splits.train.name)
    note = f" ({row.remark})" if row is not None and row.remark else ""
    return (
        f"{splits.train.name}{note}: {counts} images, {len(splits.train.class_names)} classes, "
        f"{height}x{width}x{channels} -> {size}x{size}, {_PLACES[parts.stream.residency]}"
    )


def remarks(parts: Assembly) -> list[str]:
    """Return notes of the data sets on their images, and advice on what would be faster."""
    stores = (parts.splits.train, parts.splits.validation, parts.splits.test)
    notes = [f"{store.split}: {store.note}" for store in stores if store and store.note]
    advice = parts.stream.advice()
    return [*notes, advice] if advice else notes


def model_table(console: Console, parts: Assembly) -> None:
    """Show each layer's output size and parameters, and their sum."""
    summary = summarize(parts.network, parts.config.model.name)
    shown = [
        row
        for row in summary.rows
        if row.num_parameters or row.role in {"pool", "norm", "batch_norm"}
    ]

    rows = [
        [row.name, "x".join(map(str, row.output_size)), f"{row.num_parameters:,}"] for row in shown
    ]
    rows.append([f"total {parts.config.model.name}", "", f"{summary.num_parameters:,}"])
    console.table(["layer", "output", "parameters"], rows)


def trained_layers(network: Network) -> str:
    """Return 'f6, f8: 11,014 of 61,706 parameters; frozen: c1, c3'."""
    trained = [name for name in network.weighted if name not in network.frozen]
    numbers = [p.numel() for p in network.parameters() if p.requires_grad]
    total = sum(p.numel() for p in network.parameters())
    frozen = [name for name in network.weighted if name in network.frozen]
    return (
        f"{', '.join(trained)}: {sum(numbers):,} of {total:,} parameters; "
        f"frozen: {', '.join(frozen)}"
    )


def epoch_line(epoch: float, epochs: int, figures: dict[str, float], improved: bool) -> str:
    """Return 'epoch 3/10  loss 0.182 | validation loss 0.151 error 4.6 % | ...'."""
    words = [f"epoch {epoch:>3g}/{epochs}  loss {figures['train/loss']:.4f}"]
    if "validation/top1_error" in figures:
        words.append(
            f"validation loss {figures['validation/loss']:.4f}"
            f" error {figures['validation/top1_error']:6.2%}{_error_by_weights(figures)}"
        )

    words.append(f"{figures['speed/images_per_second']:,.0f} img/s")
    words.append(f"lr {figures['train/learning_rate']:.3g}")
    return " | ".join(words) + (" *" if improved else "")


def _error_by_weights(figures: dict[str, float]) -> str:
    """Return ' (raw 4.60%, ema 4.20%)' where both kinds of weights were validated."""
    both = {kind: figures.get(f"validation/{kind}_top1_error") for kind in KINDS}
    words = [f"{kind} {error:.2%}" for kind, error in both.items() if error is not None]
    return f" ({', '.join(words)})" if words else ""


def test_line(tally: Tally, dataset: str, views: str, chosen: str) -> str:
    """Return the test error with its 95 % interval, and how it was measured."""
    low, high = tally.top1_interval
    return (
        f"test error {tally.top1_error:.2%} (95 % interval {low:.2%} to {high:.2%}) on "
        f"{tally.num_images:,} images of {dataset}, {views} view, {chosen}"
    )


def closing(folder: RunFolder, parts: Assembly, *, hints: bool) -> list[str]:
    """Return the last lines of a run: where its results are and, with hints, what to try next.

    A sweep gives its hints once, below its table.
    """
    page = " (open report.html)" if (folder.path / "report.html").is_file() else ""
    results = f"results in {folder.path}{page}"
    commands = next_commands(folder, parts) if hints else []
    if not commands:
        return [results]
    return [f"{results}; try next:", *(f"  {command}" for command in commands)]


def next_commands(folder: RunFolder, parts: Assembly) -> list[str]:
    """Return commands to try next; each of them works as it is printed."""
    commands = []
    if parts.config.logging.tensorboard:
        is_below = Path(BASE).resolve() in folder.path.resolve().parents
        place = BASE if is_below else str(folder.path)
        commands.append(f"tensorboard --logdir {shlex.quote(place)}")

    if parts.config.schedule.is_trial:  # a network that only served to try rates
        return commands
    words = [f"checkpoint={folder.path}", *plugin_words(parts.config.plugins)]
    if (name := other_views(parts)) is not None:
        words.append(f"evaluation={name}")
    commands.append(f"cnnlab evaluate {shlex.join(words)}")
    return [*commands, "cnnlab train model=linear,mlp,lenet5 -m"]


def other_views(parts: Assembly) -> str | None:
    """Return views that the data set and the network admit, other than those of the test."""
    tested = parts.config.evaluation.name
    others = [name for name in parts.evaluable.admitted_views() if name != tested]
    # the center, which validation has shown already, only where nothing else is left
    return min(others, key=lambda name: name == "center", default=None)


def resume_command(folder: Path, plugins: Sequence[str]) -> str:
    """Return the command that continues a stopped run; it names the plugins to import again."""
    words = [f"resume={folder}", *plugin_words(plugins)]
    return f"cnnlab train {shlex.join(words)}"


def plugin_words(plugins: Sequence[str]) -> list[str]:
    """Return the override that names the user's own modules, if there are any."""
    return [f"plugins=[{','.join(plugins)}]"] if plugins else []
