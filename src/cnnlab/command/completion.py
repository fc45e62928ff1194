"""Completion in bash, zsh and fish: `cnnlab -sc install=bash` prints the script to evaluate.

The scripts ask `cnnlab -sc query=LINE` at each press of the key. The answer comes from the tables
and YAML files, without Hydra and without torch.
"""

import os
import re
import types
import typing
from collections.abc import Iterable

from cnnlab.command.line import PATH_KEYS, PATH_NAMES
from cnnlab.command.verbs import VERBS, Verb
from cnnlab.config import choices
from cnnlab.config.hints import takes_words
from cnnlab.config.keys import Key, walk
from cnnlab.errors import UsageError

FLAGS = ("-sc", "--shell-completion")
OF_COMMANDS = ("--help", "-m", "--cfg", "--config-dir")

_BASH = r"""# in ~/.bashrc: eval "$(cnnlab -sc install=bash)"
_cnnlab() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##* }"
    COMPREPLY=($("${COMP_WORDS[0]}" -sc query="$line" 2>/dev/null))
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")  # bash completes what follows the =
    fi
}
complete -o nospace -o default -F _cnnlab cnnlab"""

_ZSH = r"""# in ~/.zshrc: eval "$(cnnlab -sc install=zsh)"
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_cnnlab() {
    local -a found
    found=("${(@f)$(${words[1]} -sc query="$LBUFFER" 2>/dev/null)}")
    found=(${found:#})
    if (( $#found )); then
        compadd -Q -S '' -- $found
    else
        compset -P '*='
        _files
    fi
}
compdef _cnnlab cnnlab"""

_FISH = r"""# in ~/.config/fish/config.fish: cnnlab -sc install=fish | source
function _cnnlab
    set -l program (commandline -opc)[1]
    $program -sc query=(commandline -cp | string collect) 2>/dev/null | string trim --right
end
complete -c cnnlab -f -a '(_cnnlab)'"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_PLAIN = r"[\w+@%-][\w.+@%-]*"
"""Names that mean nothing else to a shell: what is completed stands on its line as it is, and the
files of the current folder may be a stranger's."""

REMOVALS = {
    "bash": "complete -r cnnlab; unset -f _cnnlab",
    "zsh": "compdef -d cnnlab; unfunction _cnnlab",
    "fish": "complete -c cnnlab -e; functions -e _cnnlab",
}


def answer(asked: str) -> str:
    """Return what `cnnlab -sc ASKED` prints: a script, or one candidate per line.

    asked: install=SHELL, uninstall=SHELL, or query=LINE. Raises UsageError for anything else.
    """
    what, _, value = asked.partition("=")
    if what == "query":
        return "\n".join(candidates(value))
    scripts = {"install": SCRIPTS, "uninstall": REMOVALS}.get(what)
    if scripts is None or value not in scripts:
        raise UsageError(
            f"cannot complete '{asked}'", hint=f"-sc install=SHELL, one of {', '.join(SCRIPTS)}"
        )
    return scripts[value]


def candidates(line: str) -> list[str]:
    """Return the words that may stand at the end of a line, which begins with the program.

    A word that is whole ends with a space; one that goes on (a section, a folder) does not.
    """
    words = line.split(" ")
    typed, before = words[-1], [word for word in words[1:-1] if word]
    if not before:
        return _beginning(typed, [f"{name} " for name in (*VERBS, "--help", "--version")])
    if before[0] not in VERBS:
        return []

    name, verb = before[0], VERBS[before[0]]
    if typed.startswith("-"):
        return _beginning(typed, [f"{flag} " for flag in OF_COMMANDS])
    if "=" in typed:
        return _values(name, typed)
    if name == "list" and len(before) == 1:
        return _beginning(
            typed, [f"{choice} " for choice in _keys(verb)["what"].metadata["choices"]]
        )
    groups = choices.groups("train") if name == "copy" else choices.groups(name)
    return _next_parts(typed, [f"{key}=" for key in (*_keys(verb), *groups)])


def _keys(verb: Verb) -> dict[str, Key]:
    """Return the settings of a command that may be typed."""
    keys = [key for key in walk(verb.config_class) if verb.uses(key.name)]
    return {key.name: key for key in keys if not key.name.endswith(".name")}


def _next_parts(typed: str, words: Iterable[str]) -> list[str]:
    """Return the words that begin so, up to their next dot: trainer., then trainer.epochs=."""
    ends = (word.find(".", len(typed)) for word in words)
    cut = (word if end < 0 else word[: end + 1] for word, end in zip(words, ends, strict=True))
    return _beginning(typed, dict.fromkeys(cut))


def _values(name: str, typed: str) -> list[str]:
    """Return the values of a key, for the last of several parts that a comma separates."""
    key, _, value = typed.partition("=")
    earlier, comma, last = value.rpartition(",")
    start = f"{key}={earlier}{comma}"

    groups = choices.groups("train") if name == "copy" else choices.groups(name)
    if key in groups:
        names = choices.choices(key, choices.own_folders())
        found = [f"{name} " for name in names if re.fullmatch(_PLAIN, name)]
    elif (known := _keys(VERBS[name]).get(key)) is None:
        return []
    elif key in PATH_KEYS or key.rpartition(".")[2] in PATH_NAMES:
        found = [*_paths(last), *(["latest "] if _may_be_latest(known) else [])]
    else:
        found = [f"{word} " for word in _words_of(known)]
    return [start + word for word in _beginning(last, found)]


def _words_of(key: Key) -> list[str]:
    """Return the words that a setting takes, none where it takes numbers or texts."""
    allowed = list(key.metadata.get("choices") or ())
    if allowed and not takes_words(key.hint):
        return allowed
    kinds = typing.get_args(key.hint) if isinstance(key.hint, types.UnionType) else (key.hint,)
    words = [*allowed, "true", "false"] if bool in kinds else allowed
    return [*words, "null"] if type(None) in kinds else words


def _may_be_latest(key: Key) -> bool:
    return "latest" in key.description


def _paths(typed: str) -> list[str]:
    """Return the files and folders that a path may go on with; odd names are left to the shell."""
    folder = os.path.dirname(typed)
    try:
        with os.scandir(folder or ".") as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError:
        return []
    wanted = r"[\w.+@%-]+" if os.path.basename(typed).startswith(".") else _PLAIN
    return [
        os.path.join(folder, name) + ("/" if is_dir else " ")
        for name, is_dir in sorted(found)
        if re.fullmatch(wanted, name)
    ]


def _beginning(typed: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(typed)]
