"""`cnnlab VERB key=value ...`: check the config, then run the verb's task.

Modules are imported where they are needed, and torch only with a task, so that help and errors
come at once.
"""

import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnlab import starting, streams
from cnnlab.cpu import waiting
from cnnlab.errors import OutputLost, ResourceError

if TYPE_CHECKING:
    from cnnlab.command.composing import Job
    from cnnlab.command.line import Request
    from cnnlab.command.search import Sweep

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised.

    arguments: None for sys.argv: then this process is the command, and an interrupted one leaves
    by os._exit, since Python's own exit would change the exit code.
    """
    if arguments is not None or threading.current_thread() is not threading.main_thread():
        return _guarded(sys.argv[1:] if arguments is None else arguments)
    starting.begin()
    waiting.prepare(sys.argv[1:], os.environ)  # of this program, which is ours alone
    code = _guarded(sys.argv[1:])
    starting.exit_on_signals()  # the task had handlers of its own
    if code in starting.ENDING.values():
        os._exit(code)
    return code


def _guarded(arguments: Sequence[str]) -> int:
    with streams.guarded():
        try:
            code = _main(list(arguments))
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as interruption:
            return _interrupted(interruption)
        except OutputLost as loss:
            return _without_output(loss)
        except Exception as error:
            return _unforeseen(error)


def _without_output(loss: OutputLost) -> int:
    from cnnlab.command.failures import print_error

    if not loss.is_unread:
        print_error(loss.message)
    return loss.exit_code


def _interrupted(interruption: KeyboardInterrupt) -> int:
    from cnnlab.command.failures import code_of, print_error_once

    print_error_once(str(interruption) or "interrupted")
    return code_of(interruption)


def _unforeseen(error: Exception) -> int:
    """Report an error outside the task; a Ctrl-C may arrive wrapped in another exception."""
    from cnnlab import plugin_errors
    from cnnlab.command import failures

    if failures.is_interrupt(error):
        return _interrupted(KeyboardInterrupt())
    if (message := failures.unusable_path(error)) is not None:
        failures.print_error_once(message)
        return USAGE
    if (message := failures.shortage(error, places="")) is not None:
        failures.print_error_once(message)
        return ResourceError.exit_code
    if (own := plugin_errors.as_usage(error)) is not None:
        return failures.report(error, str(own), own.exit_code, log=None)
    return failures.report(error, failures.describe_bug(error, log=None), failures.BUG, log=None)


def _main(arguments: list[str]) -> int:
    from cnnlab import __version__
    from cnnlab.command import completion
    from cnnlab.command import help as command_help
    from cnnlab.command.failures import print_error, print_error_once, show_trace
    from cnnlab.command.suggestions import did_you_mean
    from cnnlab.command.verbs import VERBS
    from cnnlab.errors import CnnlabError
    from cnnlab.safe_output import write_out

    if not arguments or arguments[0] in ("--help", "-h", "help"):
        write_out(command_help.overview())
        return 0
    if arguments[0] in ("--version", "-V"):
        write_out(f"cnnlab {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb.partition("=")[0] in completion.FLAGS:
        return _complete(verb, rest)
    if verb not in VERBS:
        hint = did_you_mean(verb, list(VERBS)) or f"commands: {', '.join(VERBS)}"
        print_error(f"no command '{verb}'\n  {hint}")
        return USAGE
    words = [word for word in rest if word not in ("--help", "-h")]
    try:
        return _run(verb, rest) if words == rest else _help(verb, words)
    except CnnlabError as error:
        show_trace(error)
        print_error_once(str(error))
        return error.exit_code


def _complete(flag: str, words: list[str]) -> int:
    """Print a script for a shell, or what may follow a line; bad words are a UsageError's."""
    from cnnlab.command import completion
    from cnnlab.command.failures import print_error
    from cnnlab.errors import UsageError
    from cnnlab.safe_output import write_out

    asked = flag.partition("=")[2] or (words[0] if words else "")
    try:
        if answer := completion.answer(asked):
            write_out(answer)
    except UsageError as error:
        print_error(str(error))
        return error.exit_code
    return 0


def _help(verb: str, words: list[str]) -> int:
    """Print the settings that a command line would use.

    For words that cannot run, the defaults are printed before the error: whoever has mistyped a
    key finds it in the list.
    """
    from cnnlab.command import composing, line
    from cnnlab.command.help import InUse, describe
    from cnnlab.config import choices
    from cnnlab.errors import CnnlabError
    from cnnlab.safe_output import write_out

    def page(words: list[str]) -> str:
        request = line.read(verb, words)
        values, chosen = composing.preview(request)
        folders = [*request.config_folders, *choices.own_folders()]
        return describe(verb, InUse(values, chosen, folders))

    complaint = None
    try:
        text = page(words)
    except CnnlabError as error:
        text, complaint = page([]), error
    except composing.USER_ERRORS as error:
        text, complaint = page([]), composing.explain(error)

    write_out(text)
    if complaint:
        raise complaint
    return 0


def _run(verb: str, arguments: list[str]) -> int:
    """Check every job of a command, then run it, here or by hydra.main; return the exit code."""
    from cnnlab.command import composing, line
    from cnnlab.command.verbs import VERBS

    try:
        request = line.read(verb, arguments)
        checked = composing.check(request)
        if request.needs_hydra or checked[0].needs_hydra:
            with streams.guarded(ends=request.only_prints or not VERBS[verb].makes_runs):
                return _under_hydra(request, checked)
    except composing.USER_ERRORS as error:
        raise composing.explain(error) from error

    from cnnlab.command import jobs

    return jobs.run_checked(request, checked[0])


def _under_hydra(request: "Request", checked: "list[Job]") -> int:
    """Run a sweep, or whatever else needs hydra.main; return the exit code."""
    from cnnlab.command import folders, resolvers, search, sweeps

    places, code = folders.shared([job.places for job in checked]), 0
    with resolvers.known(), search.prepared(request, places, checked) as sweep:
        code = _main_of_hydra(sweep)
    if not request.is_sweep:
        return code

    jobs = sweeps.close(sweep.request.sweep, str(places.sweep))  # they may run in other processes
    codes = [job["exit_code"] for job in jobs]
    if sweep.is_search and 0 in codes:
        return 0  # trials that diverge are what a search finds, and the table shows them
    return next((code for code in codes if code), 0)


def _main_of_hydra(sweep: "Sweep") -> int:
    """Let hydra.main run the jobs; return the exit code of the last one in this process."""
    import hydra

    from cnnlab.command import composing, folders, jobs, search
    from cnnlab.config import choices

    request, places, code = sweep.request, sweep.places, 0

    def task(composed: Any) -> float | None:
        nonlocal code  # hydra.main itself returns nothing
        outcome = jobs.run_composed(request, places, composed)
        code = outcome.exit_code
        return search.objective(outcome)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of ending the process
    flags = [
        f"{name}={value}" if value else name
        for name, value in request.flags.items()
        if name != "--config-dir"  # of which Hydra takes one alone
    ]
    searched = composing.search_path(request)
    own = [*searched, *folders.words_for_hydra(places), *sweep.words]
    words = [*(word for word in request.overrides if word not in searched), *own]
    sys.argv = [f"cnnlab {request.verb}", *words, *flags]
    folder = str(choices.configs_folder())
    hydra.main(config_path=folder, config_name=request.verb, version_base="1.3")(task)()
    return code
