"""A command called by a Python program: the same words and checks, and exceptions instead of codes.

The program gets everything back as it was: what Hydra keeps globally here, all else in host.py.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

from cnnlab import host
from cnnlab.command import composing, failures, jobs, line
from cnnlab.command.composing import Job
from cnnlab.command.line import Request
from cnnlab.command.literals import words_of
from cnnlab.config import Launch
from cnnlab.errors import CnnlabError, UsageError

Result = TypeVar("Result")
Task = Callable[[Any, Launch], Result]
"""(checked config, launch) -> what the caller gets."""


def call(
    verb: str, words: Sequence[str], settings: Mapping[str, Any], load: Callable[[], Task[Result]]
) -> Result:
    """Compose and check a command, then run a task with its config; return the task's result.

    words: key=value texts, as typed. settings: further ones by key, as values of Python. load:
    imports the task, once the words are known to be right.
    Raises CnnlabError, KeyboardInterrupt with the state saved, and a bug of ours as it is.
    """
    typed = words_of(words, settings)
    with host.unchanged():
        request, job = composed(verb, typed)
        with host.torch_unchanged():
            return jobs.perform(request, job, load())


def checked(verb: str, words: Sequence[str], settings: Mapping[str, Any]) -> Any:
    """Return the checked config of a command, of which nothing is run."""
    typed = words_of(words, settings)
    with host.unchanged():
        return composed(verb, typed)[1].config


def composed(verb: str, words: Sequence[str]) -> tuple[Request, Job]:
    """Return a command's only job. Raises UsageError for words that cannot be run, or not here."""
    try:
        with _hydra_unchanged():
            request = line.read(verb, words)
            job = None if request.needs_hydra else composing.check(request)[0]
    except (CnnlabError, *composing.USER_ERRORS) as error:
        cause = error if isinstance(error, CnnlabError) else composing.explain(error)
        raise cause.with_traceback(None) from None  # where in our checks says nothing to a user
    except OSError as error:
        if (message := failures.unusable_path(error)) is None:
            raise
        raise UsageError(*message.split("\n  ")) from None

    if job is None or job.needs_hydra:
        raise UsageError(
            f"a call from Python runs one job, without sweeps and callbacks: {request.command}",
            hint="a loop over the values does what -m does; the command takes all of Hydra",
        )
    return request, job


def refuse_others(words: Sequence[str], settings: Mapping[str, Any], taken: Sequence[str]) -> None:
    """Raise UsageError for a setting that has no effect on a call.

    taken: the keys that have one; one that ends with a dot stands for all below it.
    """
    for word in words_of(words, settings):
        key = word.lstrip("+~").partition("=")[0]
        is_known = any(key == one or (one[-1] == "." and key.startswith(one)) for one in taken)
        if "=" in word and not word.startswith("-") and not is_known:
            names = ", ".join(f"{one}KEY" if one[-1] == "." else one for one in taken)
            raise UsageError(f"{key} has no effect on this call", hint=f"it takes {names}")


@contextlib.contextmanager
def _hydra_unchanged() -> Iterator[None]:
    """Give a program that uses Hydra itself its config, its version and its search path back."""
    config, base, search = HydraConfig.instance(), VersionBase.instance(), GlobalHydra.instance()
    before = config.cfg, base.version_base, search.hydra
    search.clear()  # Hydra refuses to be initialized twice
    try:
        yield
    finally:
        config.cfg, base.version_base, search.hydra = before
        GlobalHydra.set_instance(search)  # what composed has put a copy in its place
