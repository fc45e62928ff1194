"""What to type for a group of packages that cnnlab can do without: an extra of pyproject.toml."""

import re
from importlib import metadata
from pathlib import Path


def install_hint(extra: str) -> str:
    """Return the command that installs an extra where this cnnlab came from.

    No package index has promised us a name: in a clone pip gets the clone, and of an installed
    wheel the packages by their own names.
    """
    clone = Path(__file__).parents[2]
    if (clone / "pyproject.toml").is_file():
        return f'in the folder of the clone: python -m pip install -e ".[{extra}]"'
    packages = packages_of(extra)
    if not packages:  # a copy of the sources, which pip has not installed
        return f"install the packages of the extra '{extra}'; pyproject.toml names them"
    return f"install them: python -m pip install {' '.join(packages)}"


def packages_of(extra: str) -> list[str]:
    """Return the names of the packages of an extra, as the installed cnnlab lists them."""
    asked = re.compile(rf"""extra == ['"]{re.escape(extra)}['"]""")
    try:
        required = metadata.requires("cnnlab") or []
    except metadata.PackageNotFoundError:
        return []
    lines = [line for line in required if asked.search(line)]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]
