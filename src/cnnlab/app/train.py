"""`cnnlab train`: one network, or with ensemble.members the same training from several seeds."""

import contextlib
import dataclasses

from cnnlab import session
from cnnlab.config import Launch, Outcome, TrainConfig
from cnnlab.errors import RunError
from cnnlab.trainer import ensemble, processes, resume
from cnnlab.trainer.run import opened


def run(config: TrainConfig, launch: Launch) -> Outcome:
    """Train what `config` describes, or continue what it resumes.

    Raises RunError for what happens once there is a run folder.
    """
    if config.ensemble.members > 1:
        return ensemble.run(config, launch)
    return train_one(config, launch)


def train_one(config: TrainConfig, launch: Launch) -> Outcome:
    """Train one network as `config` says, or continue the run it resumes."""

    def leave_to_header(warning: str) -> None:
        """Print nothing: the header of the run prints the warning, into the log as well."""

    timeout = config.distributed.timeout_seconds
    folder: str | None = None
    try:
        with (
            session.shared(config.runtime, timeout, leave_to_header, config) as here,
            contextlib.closing(processes.console_of(here.peers, config)) as console,
            session.skip_hint(launch, resumes=config.resume is not None),
        ):
            stopped = processes.run_on_first(
                here.peers, lambda: resume.run_before_restart(launch.folder)
            )
            if config.resume is None and stopped is not None:
                config = dataclasses.replace(config, resume=stopped)

            with opened(config, launch, here.device, console, here.peers) as training:
                if training is not None:
                    folder = str(training.folder.path)
                    training.train()
    except (Exception, KeyboardInterrupt) as error:
        # only here, where the other processes have been told of the error itself
        if folder is None:
            raise
        raise RunError(folder, error) from error

    return Outcome(run=folder)
