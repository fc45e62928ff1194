"""One run from its config to its test error, in one run folder."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import interrupts, plugins, run_folder
from cnnlab.config import Launch, TrainConfig, flat, to_plain
from cnnlab.config.checks import check_unicode
from cnnlab.console import Console
from cnnlab.data.recorded import left_out_of, state_of
from cnnlab.distributed import Peers
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.runtime import continue_with_threads, describe_device
from cnnlab.trainer import display, processes, resume, starting_weights
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.trainer.reporter import Reporter
from cnnlab.trainer.resume import Resumption
from cnnlab.trainer.snapshot import Progress
from cnnlab.trainer.stalls import StallWatch
from cnnlab.trainer.starting_weights import StartingWeights
from cnnlab.trainer.trainer import Trainer


@dataclass(frozen=True)
class OpenRun:
    """A run that is assembled, in a folder that the first process has locked."""

    folder: RunFolder
    parts: Assembly
    resumption: Resumption | None
    console: Console
    launch: Launch

    def train(self) -> None:
        """Train, this process its share, then test; a resumed run is restored first."""
        parts, folder, console, resumption = self.parts, self.folder, self.console, self.resumption
        display.header(console, parts, folder, self.launch)
        if resumption is None:
            progress = Progress.at_start(parts)
        else:
            progress = resume.restore(resumption, parts, console.line)
        folder.update_status(**_facts(parts, self.launch))

        stalls = StallWatch(parts, folder, console)
        if resumption is None or resumption.checkpoint is None:
            stalls.before_training()
        with contextlib.closing(Reporter(parts, progress, folder, console)) as reporter:
            Trainer(parts, progress, folder, reporter, stalls).run()
        for line in display.closing(folder, parts, hints=self.launch.sweep is None):
            console.line(line)


@contextlib.contextmanager
def opened(
    config: TrainConfig, launch: Launch, device: torch.device, console: Console, peers: Peers
) -> Iterator[OpenRun | None]:
    """Give the run of `config`, assembled; None where the run to continue is complete.

    Its folder is locked inside the block, and run.json says how the block ended.
    """
    processes.check_alone(peers, config.model)
    processes.check_statistics(peers, config.model)
    processes.check_scheme(peers, config)
    with contextlib.ExitStack() as stack:
        resumption, weights = None, None
        if config.resume is None:
            config, weights = starting_weights.resolve(config, launch.overrides, peers)
        else:
            resumption = resume.open_run(config, console.line, peers)
            if resumption is None:
                yield None
                return
            stack.callback(resumption.folder.release)
            # a run that had not saved yet starts from its weights once more
            if resumption.checkpoint is None and config.fine_tuning.weights is not None:
                weights = starting_weights.read(
                    config.fine_tuning.weights, config.model, config.fine_tuning.which_weights
                )

        with interrupts.at_once():
            parts = _assembled(config, device, peers, resumption, weights)
        if peers.size > 1:
            peers.agree(flat(state_of(parts.splits)))
        parts.member(config.evaluation.name)  # views that the images do not admit: now, not later

        # a folder is made only now, when nothing speaks against the run any more
        folder = resumption.folder if resumption else _claim_for_all(config, launch, peers)
        if peers.is_first:
            console.log_to(folder.log_file)
        peers.report_to(str(folder.path), lambda message: failed(folder.path, message))
        with recorded(folder):
            yield OpenRun(folder, parts, resumption, console, launch)


def _assembled(
    config: TrainConfig,
    device: torch.device,
    peers: Peers,
    resumption: Resumption | None,
    weights: StartingWeights | None,
) -> Assembly:
    """Assemble the run; it sees images as the checkpoint did that it starts or continues from."""
    stored = weights.checkpoint if weights else None
    if resumption is not None and resumption.checkpoint is not None:
        stored = resumption.checkpoint
    parts = assemble(config, device, peers, checkpoint=stored, weights=weights)
    if resumption is not None:
        parts.threads = continue_with_threads(parts.threads, resumption.num_threads)
    return parts


def _facts(parts: Assembly, launch: Launch) -> dict[str, Any]:
    """Return what run.json says of a run from its first update on."""
    config = parts.config
    return {
        "status": "running",
        "command": launch.command,
        "model": config.model.name,
        "dataset": config.dataset.name,
        "seed": config.seed,
        "device": describe_device(parts.device),
        "threads": {"number": parts.threads.number, "reason": parts.threads.reason},
        "residency": parts.stream.residency,
        **state_of(parts.splits),
        "left_out": left_out_of(parts.splits),
        **_added_by_settings(parts),
        "num_processes": parts.peers.size,
        "launch": processes.launch_name(),
        **provenance.describe(),
    }


def _added_by_settings(parts: Assembly) -> dict[str, Any]:
    """Return the weight of each class, which weights are judged, and modules of the user's own.

    Each only where it is a question.
    """
    weights = parts.update.class_weights
    facts: dict[str, Any] = {}
    if weights is not None:
        facts["class_weights"] = weights.tolist()
    if parts.average is not None:
        facts["which_weights"] = parts.config.which_weights
    if own := plugins.describe(parts.config.plugins):
        facts["plugins"] = own
    return facts


def _claim_for_all(config: TrainConfig, launch: Launch, peers: Peers) -> RunFolder:
    """Let the first process claim the run folder; the others only read it."""
    return processes.rebuilt_from_first(
        peers,
        lambda: claim_folder(config, launch),
        lambda claimed: str(claimed.path),
        processes.ReadOnlyRunFolder,
    )


def claim_folder(config: TrainConfig, launch: Launch) -> RunFolder:
    """Claim a new run folder, locked, and put the config into it.

    Raises BusyError when the folder named exists, unless a run failed there before it saved.
    """
    check_unicode([launch.folder, launch.sweep_folder], "hydra.run.dir")
    name = f"{config.model.name}_{config.dataset.name}"
    exact = launch.folder
    if exact is None and launch.sweep_folder is not None:
        exact = str(Path(launch.sweep_folder) / f"{launch.job}_{name}")
    if exact is not None:
        run_folder.retake(Path(exact))
    folder = run_folder.claim(name, exact=exact)
    folder.write_config(to_plain(config))
    return folder


def failed(path: Path, message: str) -> None:
    """Write into run.json that the run failed; the first process may be the one that is lost."""
    RunFolder(path).update_status(status="failed", ended=run_folder.now(), error=message)


@contextlib.contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Write into run.json how the block ended, and release the folder."""
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(Exception):  # a full disk must not hide the first error
            folder.update_status(status=status, ended=run_folder.now(), error=str(error))
        raise
    finally:
        folder.release()
