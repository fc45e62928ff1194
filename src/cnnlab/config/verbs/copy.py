"""Settings of `cnnlab copy`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.checks import check_unicode
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError

HOW = "cnnlab copy experiment=quickstart mine.yaml"


@dataclass(kw_only=True)
class CopyConfig:
    """`cnnlab copy`."""

    choice: str | None = setting("what to copy, as it is chosen elsewhere: experiment=quickstart")
    output: str | None = setting("file to write: mine.yaml, in a folder named like the group")


def parse_copy(plain: dict[str, Any]) -> CopyConfig:
    """Check and type what `cnnlab copy` was given."""
    config = parse(CopyConfig, plain)
    check_unicode(config.output, "output")
    if not config.choice or "=" not in config.choice:
        raise UsageError("copy needs the choice to copy, as GROUP=NAME", hint=HOW)
    if not config.output:
        raise UsageError("copy needs a name for the copy", hint=HOW)
    return config
