"""Where the jobs of a command leave their runs: Hydra's own keys, in Hydra's own meaning.

`hydra.run.dir`, `hydra.sweep.dir` and `hydra.sweep.subdir` may hold interpolations. Hydra itself
makes the folders it is told before a job starts, and a job that fails early would leave them empty;
so it is told none, and a training claims its folder once it owns one.
"""

import copy
import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from cnnlab.command.line import RUN_DIR, SWEEP_DIR, SWEEP_SUBDIR, Request, quote
from cnnlab.command.verbs import VERBS
from cnnlab.errors import UsageError

NOWHERE = "."
"""What configs/shell.yaml says where the command line says nothing."""

_TEMPORARY_KEY = "_folder_of_the_job"


def check_words(request: Request) -> None:
    """Raise UsageError for a folder that this command line would not use."""
    typed, verb = request.folders, VERBS[request.verb]
    of_runs = [key for key in (RUN_DIR, SWEEP_SUBDIR) if key in typed]
    if of_runs and not verb.makes_runs:
        places = verb.places()
        instead = f", its files go where {places} says" if places else ""
        raise UsageError(
            f"'{request.verb}' makes no run folder", hint=f"leave out {of_runs[0]}{instead}"
        )

    if RUN_DIR in typed and request.is_sweep:
        raise UsageError(
            "hydra.run.dir is the folder of one run, and -m asks for several",
            hint="hydra.sweep.dir=X holds them all, hydra.sweep.subdir names the folder of each",
        )

    # a restarted job continues in its folder, which a new time would not name again
    if "RANK" in os.environ and "${now:" in typed.get(RUN_DIR, ""):
        raise UsageError(
            "hydra.run.dir names a time, and torchrun may start this run again at another one",
            hint="name a folder of its own: hydra.run.dir=X",
        )

    of_sweeps = [key for key in (SWEEP_DIR, SWEEP_SUBDIR) if key in typed]
    if of_sweeps and not request.is_sweep:
        raise UsageError(f"{of_sweeps[0]} is for sweeps", hint="add -m, or write hydra.run.dir=X")


@dataclass(frozen=True)
class Places:
    """Where the jobs of a command leave their runs.

    run: the folder of a single job; None: a new one under outputs/. sweep: the folder of a sweep.
    subfolder: the template of each job's folder in there; None: named after what is trained.
    """

    run: str | None = None
    sweep: str | None = None
    subfolder: str | None = None


def chosen(request: Request, composed: DictConfig, job: int) -> Places:
    """Return the folders of one composed job, with its `hydra` node.

    What the command line names wins over what a YAML file names. Every interpolation is resolved
    once, so that a wrong one is found before anything runs. Raises UsageError when the job would
    not use what was typed, OmegaConf's errors for a wrong interpolation.
    """
    _refuse(composed.hydra)
    _refuse_beside_resume(request, composed)
    with open_dict(composed):
        composed.hydra.job.num, composed.hydra.job.id = job, str(job)
    HydraConfig.instance().set_config(composed)

    named = OmegaConf.to_container(composed.hydra, resolve=False)
    assert isinstance(named, dict)
    if not request.is_sweep:
        template = _first_named(request.folders.get(RUN_DIR), named["run"]["dir"])
        return Places(run=template and _resolve(template, composed, composed.hydra))

    subfolder = _first_named(request.folders.get(SWEEP_SUBDIR), named["sweep"]["subdir"])
    _resolve(subfolder or "", composed, composed.hydra)
    template = _at_this_moment(
        request.folders.get(SWEEP_DIR) or str(named["sweep"]["dir"]), request
    )
    return Places(sweep=_resolve(template, composed, composed.hydra), subfolder=subfolder)


def shared(of_jobs: list[Places]) -> Places:
    """Return the places of a whole command. Raises UsageError where jobs are not in one sweep."""
    for other in of_jobs[1:]:
        if other.sweep != of_jobs[0].sweep:
            raise UsageError(
                "hydra.sweep.dir is one folder for all jobs",
                f"it would be {of_jobs[0].sweep} and {other.sweep}",
                "put what differs into hydra.sweep.subdir",
            )
    return of_jobs[-1]


def of_job(places: Places, composed: DictConfig) -> str | None:
    """Return the folder that the job which Hydra runs now must claim; None: any of its own."""
    if places.subfolder is None:
        return places.run
    hydra: Any = HydraConfig.get()
    return os.path.join(places.sweep or "", _resolve(places.subfolder, composed, hydra))


def words_for_hydra(places: Places) -> list[str]:
    """Return overrides that keep Hydra from making a folder for a job."""
    words = [f"hydra.run.dir={NOWHERE}", f"hydra.sweep.subdir={NOWHERE}"]
    if places.sweep is not None:
        words.append(f"hydra.sweep.dir={quote(places.sweep)}")
    return words


def _refuse(hydra: DictConfig) -> None:
    """Raise UsageError for settings of Hydra that would move the work or write beside the run."""
    if hydra.job.chdir:
        raise UsageError(
            "hydra.job.chdir=true would change what relative paths mean",
            hint="name the run's folder with hydra.run.dir=X, paths are relative to where you are",
        )
    if hydra.output_subdir is not None:
        raise UsageError(
            "hydra.output_subdir: cnnlab writes the settings itself",
            hint="they are in config.yaml of the run folder",
        )


def _refuse_beside_resume(request: Request, composed: DictConfig) -> None:
    """Raise UsageError for a typed folder of a run that has one already."""
    resumed = OmegaConf.select(composed, "resume")
    unused = [key for key in request.folders if key != SWEEP_DIR]
    if resumed and unused:
        raise UsageError(
            f"{unused[0]} has no effect beside resume: a run goes on in its own folder",
            f"resume={resumed}",
            f"leave out {unused[0]}, or leave out resume to start a new run there",
        )


def _first_named(typed: str | None, named: Any) -> str | None:
    """Return the template to use: the command line's, else a YAML file's, else None."""
    if typed is not None:
        return typed
    return None if named in (None, NOWHERE) else str(named)


def _at_this_moment(template: str, request: Request) -> str:
    """Put the time of the command in place of ${now:FORMAT}: one moment for all jobs."""
    moment = datetime.fromtimestamp(request.started)
    return re.sub(r"\$\{now:([^}]*)\}", lambda match: moment.strftime(match[1]), template)


def _resolve(template: str, composed: DictConfig, hydra: DictConfig) -> str:
    """Return the template with its interpolations resolved at the root of the job's config."""
    if "${" not in template:
        return template
    whole = copy.deepcopy(composed)
    with open_dict(whole):
        whole.hydra = copy.deepcopy(hydra)
        OmegaConf.set_readonly(whole.hydra, False)
        # the overrides as typed: Hydra gets them with "++", see line.py
        overrides = str(whole.hydra.job.override_dirname or "")
        whole.hydra.job.override_dirname = re.sub(r"(^|,)\+\+", r"\1", overrides)
        whole[_TEMPORARY_KEY] = template
    return str(whole[_TEMPORARY_KEY])
