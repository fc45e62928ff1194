"""The YAML files of the settings, read without Hydra: groups, choices, defaults, headers."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import cnnlab
from cnnlab.config.tables import tables


def configs_folder() -> Path:
    """Return the folder of the YAML files: in the installed package, else in the repository."""
    package = Path(cnnlab.__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"


def read(path: Path) -> dict[str, Any]:
    """Return the content of one of our YAML files."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document if isinstance(document, dict) else {}


def groups(verb: str) -> dict[str, str | None]:
    """Return the groups of a command's primary config, each with its default choice."""
    entries = read(configs_folder() / f"{verb}.yaml").get("defaults", [])
    found: dict[str, str | None] = {}
    for entry in entries:
        if isinstance(entry, dict):
            found.update({key: name for key, name in entry.items() if " " not in key})
    return found


def own_folders() -> list[str]:
    """Return the current folder if it holds choices of the user's own: experiment/mine.yaml.

    It is searched last, so that no file of it stands in for a choice of ours.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed
        return []
    is_ours = here == configs_folder()
    has_some = any(any((here / group).glob("*.yaml")) for group in groups("train"))
    return [str(here)] if has_some and not is_ours else []


def choices(group: str, folders: Iterable[str] = ()) -> list[str]:
    """Return the names of a group's choices, those that were registered included.

    folders: of the user's own YAML files, besides ours.
    """
    places = [configs_folder(), *(Path(folder) for folder in folders)]
    in_files = {path.stem for place in places for path in (place / group).glob("*.yaml")}
    table = tables().get(group)
    return sorted(in_files | (set(table.own) if table is not None else set()))


def text_of(group: str, name: str) -> str:
    """Return the YAML text of a choice, of ours or of one in the current folder."""
    places = [configs_folder(), *map(Path, own_folders())]
    files = [place / group / f"{name}.yaml" for place in places]
    return next(file for file in files if file.is_file()).read_text(encoding="utf-8")


def alone(group: str, name: str) -> dict[str, Any]:
    """Return the settings of a choice without the recipe of any model.

    `${recipe:KEY,VALUE}` is VALUE, `${at_least:32,0}` is 32, and a recipe is left out.
    """
    return without_recipe((configs_folder() / group / f"{name}.yaml").read_text(encoding="utf-8"))


def without_recipe(text: str) -> dict[str, Any]:
    """Return the settings of a YAML file of a choice, as `alone` does."""
    text = re.sub(r"\$\{recipe:\w+,(.*?)\}", r"\1", text)
    plain: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{at_least:(.*?),0\}", r"\1", text))
    return {key: value for key, value in plain.items() if key != "recipe"}


def header(path: Path) -> list[str]:
    """Return the comment lines at the top of a YAML file, without their marks.

    A line that is indented goes on with the one before it.
    """
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#  ") and lines:
            lines[-1] += f" {line.removeprefix('#').strip()}"
        elif not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    return lines


def whole_sentence(lines: Iterable[str]) -> str:
    """Return the first lines of a header up to the end of a sentence."""
    text = ""
    for line in lines:
        text = f"{text} {line}".strip()
        if text.endswith("."):
            break
    return text
