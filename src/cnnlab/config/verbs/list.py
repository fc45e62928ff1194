"""Settings of `cnnlab list`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class ListConfig:
    """`cnnlab list`."""

    what: str = setting("what to list", choices=("models", "datasets", "experiments", "runs"))
    format: str = setting("output format", choices=("text", "json"))


def parse_list(plain: dict[str, Any]) -> ListConfig:
    """Check and type what `cnnlab list` was given."""
    return parse(ListConfig, plain)
