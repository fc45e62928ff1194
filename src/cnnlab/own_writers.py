"""A writer of metrics of your own: what it is told of a run, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.config.writers import WRITERS, WriterConfig
from cnnlab.writers import Writer


@dataclass(frozen=True)
class RunInfo:
    """What a writer is told of its run.

    folder: the run folder. settings: those that decide what is learned, by dotted key. step: the
    updates that were made before, more than 0 for a resumed run; their figures were written then.
    """

    folder: Path
    settings: dict[str, Any]
    step: int

    @property
    def name(self) -> str:
        """Return the last part of the run folder."""
        return self.folder.name


def to_open(config: WriterConfig, run: RunInfo) -> list[Callable[[], Writer]]:
    """Return what opens the writer that `config.name` selects, in a list; none for `none`."""
    if config.name == "none":
        return []
    builder = WRITERS[config.name].load()
    return [lambda: builder(config, run)]


def build_none(config: WriterConfig, run: RunInfo) -> None:
    """Return no writer."""
