"""`ensemble.members=5`: the same training from several seeds, then the members tested as one.

A member is an ordinary run in a folder and a process of its own, so that it equals the single run
of its seed bit for bit: two runs in one process would share torch's random state. On a CPU as many
members as there are cores train at once, one thread each.
"""

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from cnnlab import distributed, run_folder, runtime, session
from cnnlab.config import EvaluateConfig, Launch, Outcome, TrainConfig, to_plain
from cnnlab.console import Console
from cnnlab.cpu.processors import budget
from cnnlab.errors import MemberError, RunError, UsageError
from cnnlab.files import regular
from cnnlab.inference import evaluation, report, result
from cnnlab.inference.members import MEMBER_RUNS, MEMBERS_FOLDER, member_name
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.session import Session
from cnnlab.trainer import run as training_run
from cnnlab.trainer import starting_weights
from cnnlab.trainer.fast_evaluation import EVALUATION_BATCH
from cnnlab.trainer.member_processes import MemberProcesses


def run(config: TrainConfig, launch: Launch) -> Outcome:
    """Train the members, or continue them, and measure them as one.

    Raises RunError for what happens while the run folder is held.
    """
    if distributed.is_launched():
        raise UsageError(
            "an ensemble trains its members in processes of its own",
            hint="cnnlab train ensemble.members=5 without torchrun",
        )

    timeout = config.distributed.timeout_seconds
    with (
        session.shared(config.runtime, timeout) as here,
        contextlib.closing(Console(progress=config.logging.progress)) as console,
    ):
        if config.resume is None:
            config, _ = starting_weights.resolve(config, launch.overrides, distributed.ALONE)
        folder = _open_folder(config, launch)
        console.log_to(folder.log_file)
        try:
            with training_run.recorded(folder):
                _train_and_test(config, folder, console, launch, here)
        except MemberError as error:
            told = _with_command_for_all(error, launch, resumes=config.resume is not None)
            raise RunError(str(folder.path), told) from error
        except (Exception, KeyboardInterrupt) as error:
            raise RunError(str(folder.path), error) from error
    return Outcome(run=str(folder.path))


def _train_and_test(
    config: TrainConfig, folder: RunFolder, console: Console, launch: Launch, here: Session
) -> None:
    """Train every member in a process of its own, then test them as one in this process."""
    folders = [claim_member(folder, config, i) for i in range(config.ensemble.members)]
    at_once = num_at_once(config)
    folder.update_status(
        command=launch.command,
        model=config.model.name,
        dataset=config.dataset.name,
        seed=config.seed,
        members=len(folders),
        **{MEMBER_RUNS: [str(path.relative_to(folder.path)) for path in folders]},
        at_once=at_once,
        **provenance.describe(),
    )
    console.line(f"run folder  {folder.path}")
    console.line(f"ensemble    {len(folders)} members, {at_once} at once")

    started = time.monotonic()
    overrides = [] if config.resume is None else member_overrides(launch.overrides)
    MemberProcesses(folders, config, console, overrides).train(at_once)
    seconds = time.monotonic() - started
    console.line(f"{len(folders)} members trained in {seconds:.0f} s; {folder.path}")

    found = evaluation.measure(evaluation_of(config, folder), here)
    result.show(console, found)
    report.write(found, folder.path, launch.command)
    folder.update_status(
        status="done",
        ended=run_folder.now(),
        training_seconds=seconds,
        test_error=found.tally.top1_error,
    )


def _with_command_for_all(error: MemberError, launch: Launch, *, resumes: bool) -> MemberError:
    """Return a member's error; the command that leaves bad files out is that of the ensemble."""
    if not error.hint.startswith(session.LEAVE_OUT):
        return error
    advice = session.skip_advice(launch, resumes=resumes)
    return MemberError(error.exit_code, error.what, error.where, advice)


def num_at_once(config: TrainConfig) -> int:
    """Return how many members train at the same time; the last ones may be a few more."""
    wanted, members = config.ensemble.at_once, config.ensemble.members
    if wanted is None:
        on_cpu = runtime.select_device(config.runtime.device).type == "cpu"
        wanted = budget().cores if on_cpu else 1
    return min(wanted, members)


def member_config(config: TrainConfig, index: int) -> TrainConfig:
    """Return the config of a single run that equals member `index`."""
    threads = config.runtime.num_threads
    if threads is None and num_at_once(config) > 1:
        threads = 1
    return dataclasses.replace(
        config,
        seed=config.seed + index,
        resume=None,
        ensemble=dataclasses.replace(config.ensemble, members=1, at_once=None),
        runtime=dataclasses.replace(config.runtime, num_threads=threads),
    )


def claim_member(folder: RunFolder, config: TrainConfig, index: int) -> Path:
    """Return the run folder of member `index`; create it if it is missing."""
    member = member_config(config, index)
    path = folder.path / MEMBERS_FOLDER / member_name(index, member.seed)
    regular.check_folder(path.parent)
    regular.check_folder(path)
    if not (path / "config.yaml").is_file():
        claimed = run_folder.claim("", exact=path)
        claimed.write_config(to_plain(member))
        claimed.update_status(status="waiting")
        claimed.release()
    return path


def evaluation_of(config: TrainConfig, folder: RunFolder) -> EvaluateConfig:
    """Return the evaluation that ends the run: the test images, seen once."""
    return EvaluateConfig(
        checkpoint=[str(folder.path)],
        dataset=config.dataset,
        split="test",
        evaluation=config.evaluation,
        runtime=config.runtime,
        weights=None,
        which_weights=None,
        batch_size=EVALUATION_BATCH,
        save_probabilities=False,
        output=None,
        format="text",
        plugins=config.plugins,
    )


def member_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a resuming command that each member gets as well."""
    own = ("resume=", "ensemble.", "hydra.", "seed=")
    return [word for word in overrides if not word.lstrip("+~").startswith(own)]


def _open_folder(config: TrainConfig, launch: Launch) -> RunFolder:
    if config.resume is None:
        return training_run.claim_folder(config, launch)
    folder = run_folder.find_run(config.resume)
    folder.lock()
    folder.begin_again()
    return folder
