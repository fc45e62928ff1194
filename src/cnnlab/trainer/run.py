"""One run from its config to its test error, in one folder that explains itself."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from cnnlab import run_folder
from cnnlab.config import Launch, TrainConfig, to_plain
from cnnlab.config.checks import check_unicode
from cnnlab.console import Console
from cnnlab.distributed import Peers
from cnnlab.errors import RunError
from cnnlab.run_folder import RunFolder
from cnnlab.trainer import processes, resume, starting_weights
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.trainer.resume import Resumption
from cnnlab.trainer.starting_weights import Origin
from cnnlab.trainer.trainer import Training


@dataclass(frozen=True)
class OpenRun:
    """A run that is ready to be trained, in a folder that the first process holds."""

    training: Training
    resumption: Resumption | None

    @property
    def folder(self) -> RunFolder:
        return self.training.folder

    def train(self) -> None:
        """Train, this process its share, then test."""
        self.training.run(self.resumption)


@contextlib.contextmanager
def opened(
    config: TrainConfig, launch: Launch, device: torch.device, console: Console, peers: Peers
) -> Iterator[OpenRun | None]:
    """Give the run of `config`, assembled; None where the run to continue is complete.

    Its folder is held inside the block, and run.json says how the block ended.
    """
    with contextlib.ExitStack() as held:
        resumption, origin = None, None
        if config.resume is None:
            config, origin = starting_weights.begin(config, launch.overrides, peers)
        else:
            resumption = resume.prepare_together(config, console.line, peers)
            if resumption is None:
                yield None
                return
            held.callback(resumption.folder.release)
            if resumption.held is None and config.fine_tuning.weights is not None:
                origin = starting_weights.read(config.fine_tuning.weights, config.model)
        parts = build(config, device, peers, resumption, origin)
        parts.member(config.evaluation.name)  # views that the images do not admit: now, not later
        processes.check_alone(peers, len(getattr(parts.network, "devices", ())))
        folder = resumption.folder if resumption else claim_together(config, launch, peers)
        if peers.is_first:
            console.log_to(folder.log_file)
        peers.report_to(str(folder.path), lambda message: failed(folder.path, message))
        with recorded(folder):
            yield OpenRun(Training(parts, folder, console, launch), resumption)


def build(
    config: TrainConfig,
    device: torch.device,
    peers: Peers,
    resumption: Resumption | None,
    origin: Origin | None,
) -> Assembly:
    """Assemble the run; at its start it gets the weights that it begins with, if there are any."""
    held = origin.held if origin else None
    if resumption is not None and resumption.held is not None:
        held = resumption.held
    parts = assemble(config, device, peers, held)
    if origin is not None:
        parts.beginning = starting_weights.take_over(
            parts.network, origin, parts.splits.train.class_names, config.fine_tuning
        )
    return parts


def claim_together(config: TrainConfig, launch: Launch, peers: Peers) -> RunFolder:
    """Let the first process claim the run folder, and return it as this process may use it."""
    claimed: list[RunFolder] = []

    def claim() -> str:
        claimed.append(claim_folder(config, launch))
        return str(claimed[0].path)

    path = processes.from_first(peers, claim)
    return claimed[0] if claimed else processes.FollowedRun(path)


def claim_folder(config: TrainConfig, launch: Launch) -> RunFolder:
    """Claim a new run folder, locked, and put the config into it.

    Raises BusyError when the folder named exists.
    """
    check_unicode([launch.folder, launch.sweep_folder], "hydra.run.dir")
    name = f"{config.model.name}_{config.dataset.name}"
    exact = launch.folder
    if exact is None and launch.sweep_folder is not None:
        exact = str(Path(launch.sweep_folder) / f"{launch.job}_{name}")
    folder = run_folder.claim(name, exact=exact)
    folder.write_config(to_plain(config))
    return folder


def failed(path: Path, message: str) -> None:
    """Write into run.json that the run failed; the first process may be the one that is lost."""
    RunFolder(path).update_status(status="failed", ended=run_folder.now(), error=message)


@contextlib.contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Write into run.json how the block ended, and let go of the folder."""
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(Exception):  # a full disk must not hide the first error
            folder.update_status(status=status, ended=run_folder.now(), error=str(error))
        raise
    finally:
        folder.release()


@contextlib.contextmanager
def failing_as(folder: RunFolder) -> Iterator[None]:
    """Raise RunError for what the block raises: whoever reports it learns the run folder."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        raise RunError(str(folder.path), error) from error
