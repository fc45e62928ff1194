"""The arguments after the verb: flags, and key=value words, checked and quoted for Hydra."""

import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab import plugins
from cnnlab.command.literals import unquoted
from cnnlab.command.quoting import bracket, quote_paths
from cnnlab.command.suggestions import did_you_mean
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices, renamed
from cnnlab.config.keys import walk
from cnnlab.errors import UsageError

PATH_NAMES = {"checkpoint", "images", "resume", "root", "output", "source", "runs", "class_names"}
"""Last parts of the keys whose values are paths, which may contain any character; also X_root."""

PATH_KEYS = {"model.weights", "claims_folder", "plugins"}
"""Whole keys whose values are paths; `weights` alone are the numbers of an ensemble."""

RUN_DIR, SWEEP_DIR, SWEEP_SUBDIR = "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"
FOLDER_KEYS = (RUN_DIR, SWEEP_DIR, SWEEP_SUBDIR)
"""Hydra's keys that name a folder, which may contain any character and interpolations."""

SEARCHED = ("hydra.sweeper.params", "hydra.sweeper.search_space")
"""Hydra's keys that would name settings which are not checked."""

COMPLETION = "cnnlab -sc install=bash (or zsh, fish) prints the script for all commands"
ALL_SETTINGS = "all settings: add --help"

REFUSED_FLAGS = {"--config-path", "-cp", "--config-name", "-cn"}
FLAGS_WITH_VALUE = {"--package", "--config-dir", "--experimental-rerun", "--cfg"}
FLAGS_WITH_OPTIONAL_VALUE = {"--info"}
FLAGS_ALONE = {"--multirun", "--run", "--resolve", "--hydra-help", "--version"}
PRINTING_FLAGS = {"--cfg", "--info", "--hydra-help", "--version"}
LONG_FORMS = {"-p": "--package", "-cd": "--config-dir", "-c": "--cfg", "-i": "--info"}
LONG_FORMS |= {"-m": "--multirun", "-r": "--run"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A command line taken apart.

    command: the line as typed, quoted for a shell. overrides: its key=value words as Hydra reads
    them. flags: Hydra's, in their long form, each with its value or "". config_folders: of
    --config-dir. folders: what was typed for FOLDER_KEYS, by key. started: the time of the command
    in seconds; together with the process it tells sweeps apart.
    """

    verb: str
    command: str
    overrides: list[str]
    flags: dict[str, str]
    config_folders: list[str]
    folders: dict[str, str]
    started: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)
    sweep_name: str = ""

    @property
    def sweep(self) -> str:
        """Return an id that no other sweep in the same folder has."""
        return self.sweep_name or f"{self.started:.6f}-{self.process}"

    @property
    def is_sweep(self) -> bool:
        """Return whether several jobs were asked for."""
        return "--multirun" in self.flags

    @property
    def needs_hydra(self) -> bool:
        """Return whether Hydra is asked for more than to compose one job."""
        return bool(self.flags.keys() - {"--config-dir", "--run"}) or any(
            is_hydras(_take_apart(word)[1]) for word in self.overrides
        )

    @property
    def only_prints(self) -> bool:
        """Return whether Hydra is asked to print something instead of running a job."""
        return bool(self.flags.keys() & PRINTING_FLAGS)


def is_hydras(key: str) -> bool:
    """Return whether a key is a setting of Hydra itself."""
    return key.split("/")[0].split(".")[0] == "hydra"


def read(verb: str, arguments: Sequence[str]) -> Request:
    """Parse the arguments after the verb.

    Raises UsageError for a word that is no setting of this command.
    """
    words, flags, config_folders = _separate(verb, list(arguments))
    if flags.get("--cfg") == "job":
        flags["--resolve"] = ""  # values, not how they follow from the model's recipe
    _refuse_several_processes(verb, is_sweep="--multirun" in flags)
    if (spell_out := VERBS[verb].spell_out) is not None:
        words = spell_out(words)
    for position, word in enumerate(words):
        _refuse_spaces(word, words[position + 1 :], position)

    plugins.load_installed()
    plugins.load(plugins.named_in(words))
    known = _Known(verb, is_sweep="--multirun" in flags)
    taken = [(word, *_take_apart(word)) for word in words]
    return Request(
        verb=verb,
        command=shlex.join(["cnnlab", verb, *arguments]),
        overrides=[known.override(word) for word, _, key, _ in taken if key not in FOLDER_KEYS],
        flags=flags,
        config_folders=config_folders,
        folders={key: unquoted(value) for _, _, key, value in taken if key in FOLDER_KEYS},
    )


def _refuse_several_processes(verb: str, *, is_sweep: bool) -> None:
    """Raise UsageError under torchrun for sweeps and for commands that do not use it."""
    num_processes = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    if num_processes == "1" or (VERBS[verb].is_shared and not is_sweep):
        return
    what = "a sweep starts its jobs" if is_sweep else f"'{verb}' works"
    raise UsageError(
        f"{what} in one process, but torchrun started {num_processes}",
        hint=f"cnnlab {verb} ... without torchrun",
    )


def _separate(verb: str, arguments: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """Return the key=value words, the flags with their values, and the folders of --config-dir."""
    words, flags, config_folders = [], {}, []
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, value = _flag(verb, word, arguments)
        flags[name] = value
        if name == "--config-dir":
            config_folders.append(_config_folder(value))
    return words, flags, config_folders


def _flag(verb: str, word: str, following: list[str]) -> tuple[str, str]:
    """Return a flag in its long form, and its value, which may be the first of `following`."""
    typed, _, value = word.partition("=")
    if typed in REFUSED_FLAGS:
        raise UsageError(
            f"{typed} would replace the settings of '{verb}'",
            hint="add a folder of your own with --config-dir, and choose with experiment=NAME",
        )

    if typed in ("-sc", "--shell-completion"):
        raise UsageError(f"{typed} comes before the command", hint=COMPLETION)

    name = LONG_FORMS.get(typed, typed)
    if name in FLAGS_WITH_VALUE:
        if not value and not following:
            raise UsageError(f"{typed} needs a value")
        return name, value or following.pop(0)
    if name in FLAGS_WITH_OPTIONAL_VALUE:
        may_follow = not value and following and "=" not in following[0]
        return name, following.pop(0) if may_follow else value
    if name in FLAGS_ALONE:
        return name, value
    raise UsageError(f"no option '{typed}'", hint="settings have no dashes: key=value")


def _config_folder(value: str) -> str:
    folder = Path(value).absolute()
    if not folder.is_dir():
        raise UsageError(f"--config-dir {value} is not a folder", f"looked at {folder}")
    return str(folder)


def _refuse_spaces(word: str, following: list[str], position: int) -> None:
    """Raise UsageError for `a = 3`, in one shell word or three, and for a word without `=`."""
    spaced = re.match(r"^([\w./+~-]+)(\s+=\s*|\s*=\s+)(.*)$", word, re.DOTALL)
    if spaced:
        raise UsageError(f"write overrides without spaces: {spaced[1]}={spaced[3].strip()}")
    if following[:1] == ["="] and len(following) > 1:
        raise UsageError(f"write overrides without spaces: {word}={following[1]}")
    if (following and following[0].startswith("=")) or word.endswith("="):
        rest = following[0].removeprefix("=") if following else ""
        if rest and "=" not in rest:
            raise UsageError(f"write overrides without spaces: {word.removesuffix('=')}={rest}")
    if "=" not in word and not word.startswith("~"):
        raise UsageError(f"'{word}' is not key=value", hint=ALL_SETTINGS)


class _Known:
    """The settings and groups of a command, against which its words are checked."""

    def __init__(self, verb: str, *, is_sweep: bool) -> None:
        self.verb, self.is_sweep = verb, is_sweep
        self.keys = {key.name: key for key in walk(VERBS[verb].config_class)}
        self.groups = choices.groups(verb)

    def override(self, word: str) -> str:
        """Return one key=value word in the form that Hydra reads; raises UsageError."""
        mark, key, value = _take_apart(word)
        if key == "hydra.mode":
            raise UsageError(
                "hydra.mode is chosen by -m", hint="add -m for a sweep, or leave it out"
            )
        if key.startswith(SEARCHED):
            raise UsageError(
                f"{key}: the settings to search are words of their own",
                hint="optimizer.learning_rate=interval(0.001,0.1)",
            )
        if is_hydras(key):
            return word
        self._refuse_unknown(mark, key, word)
        if key in self.groups:
            return f"{key}={value}"

        is_path = key in PATH_KEYS or key.split(".")[-1] in PATH_NAMES or key.endswith("_root")
        if is_path and key in self.keys:
            value = quote_paths(value, self.keys[key].is_list, self.is_sweep)
        elif key in self.keys and self.keys[key].is_list:
            value = bracket(value, self.is_sweep)
        # "++": Hydra then accepts a key of another choice, for which our message is better
        return f"++{key}={value}"

    def _refuse_unknown(self, mark: str, key: str, word: str) -> None:
        """Raise UsageError for an unknown or unused key, `+` and `~`, and the name of a group."""
        keys, groups = self.keys, self.groups
        if mark.startswith("~"):
            raise UsageError(
                f"'{word}': settings cannot be removed", hint="set another value instead"
            )

        known = key in keys or key in groups or any(name.startswith(f"{key}.") for name in keys)
        if not known:
            hint = renamed.hint_for_key(key) or did_you_mean(key, [*keys, *groups])
            added = " ('+' cannot add one)" if mark else ""
            raise UsageError(
                f"'{key}' is not a setting of '{self.verb}'{added}", hint=hint or ALL_SETTINGS
            )
        if mark:
            raise UsageError(f"'{word}': '{mark}' is not needed", hint=f"write {word[len(mark) :]}")

        _refuse_unused(key, self.verb)
        group, _, last = key.rpartition(".")
        if last == "name" and group in groups:
            chosen = word.partition("=")[2]
            raise UsageError(
                f"'{key}' follows from the choice of {group}", hint=f"write {group}={chosen}"
            )


def _take_apart(word: str) -> tuple[str, str, str]:
    """Return (mark, key, value) of `+key=value`; the mark is "", "+", "++" or "~"."""
    left, _, value = word.partition("=")
    mark = left[: len(left) - len(left.lstrip("+~"))]
    return mark, left[len(mark) :], value


def _refuse_unused(key: str, verb: str) -> None:
    """Raise UsageError for a setting that this command does not use."""
    if VERBS[verb].uses(key):
        return
    others = [name for name in ("train", "prepare") if name != verb and VERBS[name].uses(key)]
    raise UsageError(
        f"{key} has no effect on '{verb}'", hint=f"leave it out; cnnlab {others[0]} uses it"
    )
