"""`hydra/sweeper=optuna`: a sweep whose jobs search for the smallest validation error.

Hydra's plugin for Optuna asks a study for the settings of each trial and tells it the trial's
validation error; the test error is never told. Done here is what the plugin leaves out: defaults
with which a search is kept, one writer per study, and continuing where it stopped.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from cnnlab.command import composing, folders, sweeps
from cnnlab.command.composing import Job
from cnnlab.command.folders import Places
from cnnlab.command.hydra_errors import missing_extra
from cnnlab.command.line import Request, is_hydras
from cnnlab.command.quoting import quote
from cnnlab.command.study import Study
from cnnlab.command.verbs import VERBS
from cnnlab.config import Outcome, choices
from cnnlab.errors import BusyError, CnnlabError, UsageError
from cnnlab.files import atomic, regular
from cnnlab.run_folder import RunFolder
from cnnlab.run_folder.lock import RunLock
from cnnlab.safe_output import command_line, say

SWEEPER, RESULT = "optuna", "optimization_results.yaml"
MOST_RESULT_BYTES = 1 << 20
USUAL = {
    "storage": (None, "sqlite:///{folder}/study.db"),
    "study_name": (None, "search"),
    "n_jobs": (2, 1),  # each trial is chosen by all before it
    "max_failure_rate": (0.0, 1.0),  # a rate at which training diverges is a result
}
"""Settings below hydra.sweeper: the plugin's default, and ours."""


@dataclass(frozen=True)
class Sweep:
    """A sweep about to begin.

    words: that hydra.main gets besides those of the request. is_search: whether Optuna chooses the
    settings of its jobs.
    """

    request: Request
    places: Places
    words: Sequence[str] = ()
    is_search: bool = False


@contextlib.contextmanager
def prepared(request: Request, places: Places, checked: list[Job]) -> Iterator[Sweep]:
    """Give the sweep as hydra.main is to run it; a search holds its folder inside the block.

    Raises UsageError for a search that cannot be made, BusyError while another one writes there.
    """
    words = [word for word in request.overrides if is_hydras(word.lstrip("+~").partition("=")[0])]
    sweeper = _chosen_sweeper(words, checked)
    if not request.is_sweep or request.only_prints or sweeper != SWEEPER:
        _refuse_intervals(request, sweeper)
        yield Sweep(request, places)
        return

    _check_installed()
    folder = Path(str(places.sweep))
    words = [*words, *folders.words_for_hydra(places)]
    usual = _usual_words(_hydra_node(request, words).sweeper, words, folder)
    sweeper_node = _hydra_node(request, [*words, *usual]).sweeper
    _check(request, sweeper_node, checked)

    with _locked(folder):
        study = Study(sweeper_node.storage, sweeper_node.study_name, folder)
        study.check_shared(_shared_words(request))
        killed, ended = study.tell_of_killed(), study.num_ended()
        _say_what_continues(ended, killed, int(sweeper_node.n_trials))

        first = study.num_trials
        left = _words_of_what_is_left(sweeper_node, first, ended)
        with _told_of_all(study, folder):
            yield Sweep(
                replace(request, sweep_name=study.sweep_name),
                replace(places, first_job=first),
                [*usual, *left],
                is_search=True,
            )


@contextlib.contextmanager
def _told_of_all(study: Study, folder: Path) -> Iterator[None]:
    """Tell the study of every trial of the block, also of one that an interrupt has ended."""
    try:
        yield
    except ValueError:
        if study.has_result:
            raise  # else the plugin has missed a best trial, which the table shows
    except BaseException:
        again = command_line(f"hydra.sweep.dir={folder}")
        say(f"the search is saved; the same command with {again} continues it")
        raise
    finally:
        study.tell_of_killed()
        _name_settings_as_typed(folder / RESULT)


def objective(outcome: Outcome) -> float | None:
    """Return what a study is told of a job: its smallest validation error, None where it failed."""
    if outcome.exit_code or outcome.run is None:
        return None
    error = RunFolder(outcome.run).status().get("best_validation_error")
    return float(error) if isinstance(error, int | float) else None


def _chosen_sweeper(words: list[str], checked: list[Job]) -> str:
    """Return which of Hydra's sweepers is chosen, by a word or by a YAML file."""
    typed = [word.partition("=")[2] for word in words if word.startswith("hydra/sweeper=")]
    return typed[-1] if typed else str(checked[0].composed.hydra.runtime.choices["hydra/sweeper"])


def _refuse_intervals(request: Request, sweeper: str) -> None:
    """Raise UsageError for a setting with an interval where every value is to be run."""
    if sweeper != "basic":
        return
    for override in _parsed(request):
        if override.is_interval_sweep():
            raise UsageError(
                f"{override.input_line.removeprefix('++')} has no end of values",
                hint="add hydra/sweeper=optuna to search it, or list the values",
            )


def _hydra_node(request: Request, words: list[str]) -> Any:
    """Return Hydra's own settings as hydra.main will have them with these words.

    Raises Hydra's errors for a plugin that is not installed.
    """
    with initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        everything = [*composing.search_path(request), *words]
        composed = compose(request.verb, everything, return_hydra_config=True)
        HydraConfig.instance().set_config(composed)
        return composed.hydra


def _usual_words(sweeper: Any, words: list[str], folder: Path) -> list[str]:
    """Return the words that put our defaults in place of the plugin's, where nobody chose."""
    typed = {word.lstrip("+~").partition("=")[0] for word in words}
    found = []
    for name, (plugins, ours) in USUAL.items():
        key = f"hydra.sweeper.{name}"
        if key not in typed and sweeper[name] == plugins:
            value = quote(ours.format(folder=folder)) if isinstance(ours, str) else ours
            found.append(f"{key}={value}")
    return found


def _check_installed() -> None:
    """Raise UsageError where the extra `search` is missing, or a version that does not fit."""
    parts = ("optuna", "sqlalchemy", "hydra_plugins.hydra_optuna_sweeper")
    with contextlib.suppress(ModuleNotFoundError):  # of a parent package
        if all(importlib.util.find_spec(part) for part in parts):
            return
    raise missing_extra("hydra/sweeper/optuna")


def _check(request: Request, sweeper: Any, checked: list[Job]) -> None:
    """Raise UsageError where no validation error would be minimized."""
    direction = str(sweeper.direction).lower()
    reason = ""
    if not VERBS[request.verb].makes_runs:
        reason = f"'{request.verb}' measures none"
    elif direction not in ("minimize", "direction.minimize"):
        reason = f"it is not hydra.sweeper.direction={direction}"
    elif checked[0].config.ensemble.members > 1:
        reason = "an ensemble has none: leave out ensemble.members"
    elif checked[0].config.schedule.is_trial:
        reason = f"schedule={checked[0].config.schedule.name} validates nothing"
    elif checked[0].config.dataset.num_validation == 0:
        reason = "dataset.num_validation is 0"
    if reason:
        raise UsageError("a search minimizes the validation error", reason)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second search out of the folder, which is made; raise BusyError while there is one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.unwritable(folder, error).with_places(sweeps.PLACE) from error

    try:
        lock = RunLock(folder)
    except BusyError as error:
        what = error.what.replace("the run folder", "the study of this folder")
        raise BusyError(what, error.where, f"wait until it ends, or {sweeps.PLACE}") from error

    try:
        yield
    finally:
        lock.release()


def _shared_words(request: Request) -> list[str]:
    """Return the words that are the same for all trials."""
    return [
        override.input_line.removeprefix("++")
        for override in _parsed(request)
        if not override.is_sweep_override() and not is_hydras(override.key_or_group)
    ]


def _parsed(request: Request) -> list[Any]:
    return list(OverridesParser.create().parse_overrides(overrides=request.overrides))


def _say_what_continues(ended: int, killed: list[int], wanted: int) -> None:
    if not ended and not killed:
        return
    lost = f"; without a result: trial {', '.join(map(str, killed))}" if killed else ""
    say(f"the search continues: {ended} of {wanted} trials are done{lost}")


def _words_of_what_is_left(sweeper: Any, first_job: int, ended: int) -> list[str]:
    """Return the words that let the plugin do what is left of a search."""
    words = [f"hydra.sweeper.n_trials={max(0, int(sweeper.n_trials) - ended)}"]
    seed = sweeper.sampler.get("seed")
    if seed is not None and first_job:  # the same seed again would draw the first trials again
        words.append(f"hydra.sweeper.sampler.seed={int(seed) + first_job}")
    return words


def _name_settings_as_typed(result: Path) -> None:
    """Write the keys in the plugin's result without the mark that the command line adds."""
    with contextlib.suppress(OSError, CnnlabError):  # the table has the same
        text = regular.read(result, MOST_RESULT_BYTES)
        atomic.write_bytes(result, text.replace(b"  ++", b"  "))
