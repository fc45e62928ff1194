"""Run folders by Hydra's own keys: hydra.run.dir, hydra.sweep.dir, hydra.sweep.subdir.

They may hold interpolations. Hydra would make the folders before a job starts, and a job that fails
early would leave them empty; so Hydra is given none, and a training claims its folder itself.
"""

import copy
import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from cnnlab.command.line import RUN_DIR, SWEEP_DIR, SWEEP_SUBDIR, Request
from cnnlab.command.quoting import quote
from cnnlab.command.verbs import VERBS
from cnnlab.errors import UsageError

NOWHERE = "."
"""The value in configs/shell.yaml: no folder was asked for."""

_TEMPORARY_KEY = "_folder_of_the_job"


def check_words(request: Request) -> None:
    """Raise UsageError for a folder key that has no effect on this command line."""
    typed, verb = request.folders, VERBS[request.verb]
    of_runs = [key for key in (RUN_DIR, SWEEP_SUBDIR) if key in typed]
    if of_runs and not verb.makes_runs:
        places = verb.places()
        instead = f"; its files go to {places}" if places else ""
        raise UsageError(
            f"'{request.verb}' creates no run folder", hint=f"leave out {of_runs[0]}{instead}"
        )

    if RUN_DIR in typed and request.is_sweep:
        raise UsageError(
            "hydra.run.dir is the folder of one run, and -m asks for several",
            hint="hydra.sweep.dir=X holds them all, hydra.sweep.subdir names the folder of each",
        )

    # a restarted job continues in its folder, which a new time would not name again
    if "RANK" in os.environ and "${now:" in typed.get(RUN_DIR, ""):
        raise UsageError(
            "hydra.run.dir contains a time, and a restart by torchrun would get another one",
            hint="use a fixed folder: hydra.run.dir=X",
        )

    of_sweeps = [key for key in (SWEEP_DIR, SWEEP_SUBDIR) if key in typed]
    if of_sweeps and not request.is_sweep:
        raise UsageError(f"{of_sweeps[0]} is for sweeps", hint="add -m, or write hydra.run.dir=X")


@dataclass(frozen=True)
class Places:
    """The run folders of a command's jobs.

    run: the folder of a single job; None: a new one under outputs/. sweep: the folder of a sweep.
    subfolder: the template of each job's folder in there; None: named after what is trained.
    first_job: the number of the first job, where a sweep continues.
    """

    run: str | None = None
    sweep: str | None = None
    subfolder: str | None = None
    first_job: int = 0


def chosen(request: Request, composed: DictConfig, job: int) -> Places:
    """Return the folders of one composed job, with its `hydra` node.

    The command line wins over a YAML file. Every interpolation is resolved once, so that a wrong
    one is found before anything runs. Raises UsageError for a setting that the job would not use,
    OmegaConf's errors for a wrong interpolation.
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
    """Return the folders of a whole command.

    Raises UsageError for jobs with different sweep folders.
    """
    for other in of_jobs[1:]:
        if other.sweep != of_jobs[0].sweep:
            raise UsageError(
                "hydra.sweep.dir is one folder for all jobs",
                f"it would be {of_jobs[0].sweep} and {other.sweep}",
                "put what differs into hydra.sweep.subdir",
            )
    return of_jobs[-1]


def of_job(places: Places, composed: DictConfig) -> str | None:
    """Return the folder that the present job of hydra.main must claim; None: a new one."""
    if places.subfolder is None:
        return places.run
    hydra: Any = copy.deepcopy(HydraConfig.get())
    OmegaConf.set_readonly(hydra, False)
    hydra.job.num = places.first_job + int(hydra.job.num)
    return os.path.join(places.sweep or "", _resolve(places.subfolder, composed, hydra))


def words_for_hydra(places: Places) -> list[str]:
    """Return the overrides that keep Hydra from making folders for jobs."""
    words = [f"hydra.run.dir={NOWHERE}", f"hydra.sweep.subdir={NOWHERE}"]
    if places.sweep is not None:
        words.append(f"hydra.sweep.dir={quote(places.sweep)}")
    return words


def _refuse(hydra: DictConfig) -> None:
    """Raise UsageError for settings of Hydra that change the working directory or write files."""
    if hydra.job.chdir:
        raise UsageError(
            "hydra.job.chdir=true would change what relative paths mean",
            hint="name the run folder: hydra.run.dir=X; paths are relative to the current folder",
        )
    if hydra.output_subdir is not None:
        raise UsageError(
            "hydra.output_subdir has no effect: cnnlab writes the config itself",
            hint="it is config.yaml of the run folder",
        )


def _refuse_beside_resume(request: Request, composed: DictConfig) -> None:
    """Raise UsageError for a typed folder together with resume: that run has one already."""
    resumed = OmegaConf.select(composed, "resume")
    unused = [key for key in request.folders if key != SWEEP_DIR]
    if resumed and unused:
        raise UsageError(
            f"{unused[0]} has no effect with resume: a run continues in its own folder",
            f"resume={resumed}",
            f"leave out {unused[0]}, or leave out resume to start a new run there",
        )


def _first_named(typed: str | None, named: Any) -> str | None:
    """Return the template to use: the command line's, else a YAML file's, else None."""
    if typed is not None:
        return typed
    return None if named in (None, NOWHERE) else str(named)


def _at_this_moment(template: str, request: Request) -> str:
    """Replace ${now:FORMAT} by the start time of the command, the same for all jobs."""
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
        # the overrides as typed, without the "++" that line.py adds
        overrides = str(whole.hydra.job.override_dirname or "")
        whole.hydra.job.override_dirname = re.sub(r"(^|,)\+\+", r"\1", overrides)
        whole[_TEMPORARY_KEY] = template
    return str(whole[_TEMPORARY_KEY])
