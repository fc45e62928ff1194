"""Settings of `cnnlab list`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.schema import parse, setting

LISTS = ("models", "datasets", "experiments", "claims", "runs")


@dataclass(kw_only=True)
class ListConfig:
    """`cnnlab list`."""

    what: str = setting("what to list", choices=LISTS)
    plugins: list[str] = setting(OWN_MODULES)
    format: str = setting("output format", choices=("text", "json"))


def parse_list(plain: dict[str, Any]) -> ListConfig:
    """Check and type what `cnnlab list` was given."""
    return parse(ListConfig, plain)
