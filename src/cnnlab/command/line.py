"""What was typed after the verb: Hydra's flags, and key=value words checked and quoted for it."""

import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.command.plugins import load_plugins
from cnnlab.command.suggestions import did_you_mean
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.config.keys import Key, walk
from cnnlab.errors import UsageError

PATH_NAMES = {"checkpoint", "images", "resume", "root", "output", "source", "runs", "class_names"}
"""Last parts of the keys whose values are paths: any character may stand in them."""

PATH_KEYS = {"model.weights"}
"""Keys of which only the whole says so; `weights` alone are numbers of an ensemble."""

FOLDER_KEYS = {
    "hydra.run.dir": "folder",
    "hydra.sweep.dir": "sweep_folder",
    "hydra.sweep.subdir": "subfolder",
}
"""Keys of Hydra that name a folder; any character may stand in it, and interpolations."""

REFUSED_FLAGS = {"--config-path", "-cp", "--config-name", "-cn"}
FLAGS_WITH_VALUE = {"--package", "--config-dir", "--experimental-rerun", "--cfg"}
FLAGS_WITH_OPTIONAL_VALUE = {"--info"}
FLAGS_ALONE = {"--multirun", "--run", "--resolve", "--hydra-help", "--version"}
FLAGS_ALONE |= {"--shell-completion"}
LONG_FORMS = {"-p": "--package", "-cd": "--config-dir", "-c": "--cfg", "-i": "--info"}
LONG_FORMS |= {"-m": "--multirun", "-r": "--run", "-sc": "--shell-completion"}


@dataclass(kw_only=True)
class Request:
    """A command line taken apart.

    command: the line as typed, quoted for a shell. words: what is no flag, as typed. overrides:
    these words as Hydra reads them. flags: Hydra's, in their long form, each with its value or "".
    folder, sweep_folder, subfolder: hydra.run.dir, hydra.sweep.dir and hydra.sweep.subdir as typed;
    typed_folders: which of these keys there were. started: the time of the command in seconds;
    together with the process it tells sweeps apart.
    """

    verb: str
    command: str
    words: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    config_folders: list[str] = field(default_factory=list)
    typed_folders: list[str] = field(default_factory=list)
    folder: str | None = None
    sweep_folder: str | None = None
    subfolder: str | None = None
    started: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)

    @property
    def sweep(self) -> str:
        """Return what tells this sweep from all others in the same folder."""
        return f"{self.started:.6f}-{self.process}"

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


def is_hydras(key: str) -> bool:
    """Return whether a key is a setting of Hydra itself."""
    return key.split("/")[0].split(".")[0] == "hydra"


def read(verb: str, arguments: Sequence[str]) -> Request:
    """Take apart what follows the verb.

    Raises UsageError for a word that is no setting of this command.
    """
    request = Request(verb=verb, command=shlex.join(["cnnlab", verb, *arguments]))
    _separate(list(arguments), request)
    if request.flags.get("--cfg") == "job":
        request.flags["--resolve"] = ""  # values, not how they follow from the model's recipe
    _refuse_several_processes(request)
    if verb == "list" and request.words and "=" not in request.words[0]:
        request.words[0] = f"what={request.words[0]}"
    _load_plugins(request.words)
    keys = {key.name: key for key in walk(VERBS[verb].config_class)}
    for position, word in enumerate(request.words):
        _refuse_spaces(word, request.words[position + 1 :], position)
        _add_override(word, keys, request)
    return request


def _refuse_several_processes(request: Request) -> None:
    """Refuse what torchrun cannot share out: other commands, and sweeps."""
    num_processes = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    if num_processes == "1" or (VERBS[request.verb].is_shared and not request.is_sweep):
        return
    what = "a sweep starts its jobs" if request.is_sweep else f"'{request.verb}' works"
    raise UsageError(
        f"{what} in one process, torchrun started {num_processes}",
        hint=f"cnnlab {request.verb} ... without torchrun",
    )


def _load_plugins(words: list[str]) -> None:
    """Import the modules that the line names: they may bring models, and so keys."""
    for word in words:
        if word.startswith("plugins="):
            load_plugins(re.findall(r"[\w.]+", word.removeprefix("plugins=")))


def _separate(arguments: list[str], request: Request) -> None:
    """Fill the request's flags and words; flags may stand anywhere."""
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-"):
            request.words.append(word)
            continue
        typed, _, value = word.partition("=")
        if typed in REFUSED_FLAGS:
            raise UsageError(
                f"{typed} would replace the settings of '{request.verb}'",
                hint="add a folder of your own with --config-dir, and choose with experiment=NAME",
            )

        name = LONG_FORMS.get(typed, typed)
        if name in FLAGS_WITH_VALUE and not value:
            if not arguments:
                raise UsageError(f"{typed} needs a value")
            value = arguments.pop(0)
        elif name in FLAGS_WITH_OPTIONAL_VALUE and arguments and "=" not in arguments[0]:
            value = arguments.pop(0)
        elif name not in FLAGS_WITH_VALUE | FLAGS_WITH_OPTIONAL_VALUE | FLAGS_ALONE:
            raise UsageError(f"no option '{typed}'", hint="settings have no dashes: key=value")

        request.flags[name] = value
        if name == "--config-dir":
            request.config_folders.append(_config_folder(value))


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
        raise UsageError(f"'{word}' is not key=value", hint="all settings: add --help")


def _add_override(word: str, keys: dict[str, Key], request: Request) -> None:
    """Check one key=value word and add it to the request in the form that Hydra reads."""
    mark, key, value = _take_apart(word)
    if key in FOLDER_KEYS:
        setattr(request, FOLDER_KEYS[key], value.strip("'\""))
        request.typed_folders.append(key)
        return
    if key == "hydra.mode":
        raise UsageError("hydra.mode is chosen by -m", hint="add -m for a sweep, or leave it out")
    if is_hydras(key):
        request.overrides.append(word)
        return
    groups = choices.groups(request.verb)
    _refuse_unknown(mark, key, keys, groups, word)
    _refuse_unused(key, request.verb)
    if key in groups:
        request.overrides.append(f"{key}={value}")
        return
    if (key in PATH_KEYS or key.rsplit(".", 1)[-1] in PATH_NAMES) and key in keys:
        value = quote_paths(value, keys[key].is_list, request.is_sweep)
    elif key in keys and keys[key].is_list:
        value = bracket(value, request.is_sweep)
    # "++", so that a key of another choice reaches our own check and its better message
    request.overrides.append(f"++{key}={value}")


def _take_apart(word: str) -> tuple[str, str, str]:
    """Return (mark, key, value) of `+key=value`; the mark is "", "+", "++" or "~"."""
    left, _, value = word.partition("=")
    mark = left[: len(left) - len(left.lstrip("+~"))]
    return mark, left[len(mark) :], value


def _refuse_unknown(
    mark: str, key: str, keys: dict[str, Key], groups: dict[str, str | None], word: str
) -> None:
    """Raise UsageError for an unknown key, for `+` and `~`, and for the name of a group."""
    known = key in keys or key in groups or any(name.startswith(f"{key}.") for name in keys)
    if mark.startswith("~"):
        raise UsageError(f"'{word}': settings cannot be removed", hint="set another value instead")
    if not known:
        hint = did_you_mean(key, [*keys, *groups]) or "all settings: add --help"
        added = " ('+' cannot add one)" if mark else ""
        raise UsageError(f"'{key}' is not a setting of cnnlab{added}", hint=hint)
    if mark:
        raise UsageError(f"'{word}': '{mark}' is not needed", hint=f"write {word[len(mark) :]}")
    group, _, last = key.rpartition(".")
    if last == "name" and group in groups:
        chosen = word.partition("=")[2]
        raise UsageError(f"'{key}' names the chosen file", hint=f"write {group}={chosen}")


def _refuse_unused(key: str, verb: str) -> None:
    """Raise UsageError for a setting without effect on this command."""
    if VERBS[verb].uses(key):
        return
    others = [name for name in ("train", "prepare") if name != verb and VERBS[name].uses(key)]
    raise UsageError(
        f"{key} has no effect on '{verb}'", hint=f"leave it out; cnnlab {others[0]} uses it"
    )


def bracket(value: str, is_sweep: bool) -> str:
    """Let a bare word or a comma list stand for a list; in a sweep, each word for a list of one."""
    if value == "null" or value[:1] in ("[", "$", "'", '"') or "(" in value:
        return value
    return ",".join(f"[{part}]" for part in value.split(",")) if is_sweep else f"[{value}]"


def quote_paths(value: str, is_list: bool, is_sweep: bool) -> str:
    """Quote a path, or a comma list of paths, so that Hydra takes every character as it is.

    A list stays one path if a file of that whole name exists; in a sweep a comma starts the next
    job. Interpolations, null and what is quoted already stay as they are.
    """
    bracketed = value.startswith("[") and value.endswith("]")
    if value in ("null", "") or value.startswith("${") or value[:1] in ("'", '"'):
        return value
    if bracketed and not os.path.exists(value):
        return "[" + ",".join(quote(part) for part in value[1:-1].split(",") if part) + "]"
    if os.path.exists(value) or "," not in value or not (is_list or is_sweep):
        return f"[{quote(value)}]" if is_list else quote(value)
    parts = [quote(part) for part in value.split(",") if part]
    if is_sweep:
        return ",".join(f"[{part}]" if is_list else part for part in parts)
    return "[" + ",".join(parts) + "]"


def quote(text: str) -> str:
    """Write a string of Hydra's override grammar: backslashes count only before a quote."""
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return text
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"
