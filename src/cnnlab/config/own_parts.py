"""Choices of your own: the defaults of their settings, and those that a stored config needs.

An own choice is a row in one of the tables, added by a module of `plugins`; it needs no YAML file.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml

from cnnlab.config import choices
from cnnlab.config.tables import Table, tables
from cnnlab.errors import UsageError
from cnnlab.safe_output import escape_control

OWN_MODULES = "modules with parts of your own, by file or by name: [./my_parts.py,my_package.parts]"
"""The description of `plugins`, which most commands have."""


def alone(group: str, name: str) -> dict[str, Any]:
    """Return the settings of a choice without the recipe of any model, an own choice included."""
    if name in tables()[group].own:
        return choices.without_recipe(yaml.safe_dump(defaults_of(group, name)))
    return choices.alone(group, name)


def about(group: str, name: str) -> str:
    """Return in a sentence what a choice is: the header of its file, or its builder's docstring."""
    table = tables()[group]
    if name in table.own:
        return str(table[name].about)
    return choices.whole_sentence(choices.header(choices.configs_folder() / group / f"{name}.yaml"))


def defaults_of(group: str, name: str) -> dict[str, Any]:
    """Return the settings of an own choice as its YAML file would have them.

    A default given when it was registered comes first; else that of the house, for a setting that
    it shares with a choice of the house. Raises UsageError for a setting without a default.
    """
    table = tables()[group]
    given = table.own[name]
    found: dict[str, Any] = {"name": name, **given}

    for field in dataclasses.fields(table[name].config_class):
        if field.name in found:
            continue
        shared = next(_shared(table, field), None)
        if shared is None:
            raise UsageError(
                f"{group} '{name}': the setting '{field.name}' has no default",
                hint=f"give it where '{name}' is registered: register(..., {field.name}=VALUE)",
            )
        found[field.name] = shared[0]
    return found


def _shared(table: Table[Any], field: Any) -> Iterator[tuple[Any]]:
    """Yield the defaults, in tuples of one, of choices of the house that share a setting."""
    built_in = [name for name in (table.usual, *table) if name not in table.own]
    for name in built_in:
        if field in dataclasses.fields(table[name].config_class):
            written = choices.read(choices.configs_folder() / table.group / f"{name}.yaml")
            if field.name in written:
                yield (written[field.name],)


def missing_parts(stored: Any) -> list[str]:
    """Return what a stored config chose that no table has: ["model 'my_net'"]."""
    if not isinstance(stored, dict):
        return []
    found = []
    for group, table in tables().items():
        section = stored.get(group)
        name = section.get("name") if isinstance(section, dict) else None
        if isinstance(name, str) and name not in table and name != "checkpoint":
            found.append(f"{group} '{escape_control(name)}'")
    return found


def refuse_missing(stored: Any, where: str, group: str | None = None) -> Any:
    """Return a stored config; raise UsageError where it needs modules that are not imported.

    They are not imported by what a file says: whoever can write the file could run any code.
    group: the only section that this command reads; None: all.
    """
    plugins = stored.get("plugins") if isinstance(stored, dict) else None
    if not isinstance(plugins, list) or not plugins:
        return stored

    sections = stored if group is None else {group: stored.get(group)}
    if missing := missing_parts(sections):
        names = escape_control(",".join(str(name) for name in plugins))
        raise UsageError(
            f"made with parts of your own that are not imported here: {', '.join(missing)}",
            where,
            f"add plugins=[{names}]: no code runs because a file names it",
        )
    return stored
