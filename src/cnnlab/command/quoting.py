"""Values of key=value words in the form that Hydra's override grammar reads literally."""

import os

from cnnlab.command.literals import literal


def bracket(value: str, is_sweep: bool) -> str:
    """Make a list of a bare word or comma list; in a sweep, a list of one of each word."""
    if value.startswith("{"):  # mappings: their commas separate no jobs, in a sweep either
        return f"[{value}]"
    if value == "null" or value[:1] in ("[", "$", "'", '"') or "(" in value:
        return value
    return ",".join(f"[{part}]" for part in value.split(",")) if is_sweep else f"[{value}]"


def quote_paths(value: str, is_list: bool, is_sweep: bool) -> str:
    """Quote a path, or a comma list of paths, so that Hydra takes every character literally.

    A comma list is one path if a file of that name exists; in a sweep a comma separates jobs.
    Interpolations, null and quotes are left alone; a list gets its brackets.
    """
    if value in ("null", "") or value.startswith(("${", "['", '["')):
        return value
    if value[:1] in ("'", '"'):
        return f"[{value}]" if is_list and not is_sweep else value
    if value[:1] + value[-1:] == "[]" and not os.path.exists(value):
        return "[" + ",".join(quote(part) for part in value[1:-1].split(",") if part) + "]"
    if os.path.exists(value) or "," not in value or not (is_list or is_sweep):
        return f"[{quote(value)}]" if is_list else quote(value)
    parts = [quote(part) for part in value.split(",") if part]
    if is_sweep:
        return ",".join(f"[{part}]" if is_list else part for part in parts)
    return "[" + ",".join(parts) + "]"


def quote(text: str) -> str:
    """Quote a string that was typed, unless it has quotes already."""
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return text
    return literal(text)
