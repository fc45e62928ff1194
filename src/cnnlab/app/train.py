"""`cnnlab train`: one network, or with ensemble.members the same training from several seeds."""

import contextlib
import dataclasses

from cnnlab import session
from cnnlab.config import Launch, TrainConfig
from cnnlab.trainer import ensemble, processes
from cnnlab.trainer.run import train_together


def run(config: TrainConfig, launch: Launch) -> int:
    """Train what `config` describes, or continue what it resumes; return the exit code."""
    if config.ensemble.members > 1:
        return ensemble.run(config, launch)
    return train_one(config, launch)


def train_one(config: TrainConfig, launch: Launch) -> int:
    """Train as `config` says, or continue the run it resumes; return the exit code."""

    def leave_to_header(warning: str) -> None:
        """Say nothing yet: the header of the run says it, in the log as well."""

    timeout = config.distributed.timeout_seconds
    with (
        session.shared(config.runtime, timeout, warn=leave_to_header) as here,
        contextlib.closing(processes.console_of(here.peers, config)) as console,
        session.skip_hint(launch, resumes=config.resume is not None),
    ):
        attempt = processes.from_first(here.peers, lambda: processes.earlier_attempt(launch.folder))
        if config.resume is None and attempt is not None:
            config = dataclasses.replace(config, resume=attempt)
        train_together(config, launch, here.device, console, here.peers)
    return 0
