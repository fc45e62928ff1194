"""Settings of `cnnlab compare`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.checks import refuse_empty
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class CompareConfig:
    """`cnnlab compare`."""

    runs: list[str] = setting("run folders, folders of runs such as a sweep's, or latest")
    output: str | None = setting("HTML page to write, with tables and overlaid curves; null: none")
    format: str = setting("output format", choices=("text", "json", "csv"))


def parse_compare(plain: dict[str, Any]) -> CompareConfig:
    """Check and type what `cnnlab compare` was given."""
    config = parse(CompareConfig, plain)
    refuse_empty(config.runs, "runs", "runs=[FOLDER,FOLDER]; cnnlab list runs shows them")
    return config
