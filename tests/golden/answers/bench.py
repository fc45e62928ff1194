"""A scratch folder in which commands run in this process, and what is known of each answer.

Only `cnnlab.cli.main`, the files that it leaves, `cnnlab.load` and public packages are used here:
these tests must outlive every move inside src.
"""

import contextlib
import io
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.cli import main
from tests.golden.answers import materials, reading

FACE = "python"
"""The verb of cases that call `cnnlab.load` instead of a command line."""


@dataclass(frozen=True)
class Case:
    """One command and where to look for its answer.

    line: the words after `cnnlab`. needs: materials, or cases as "verb/name", made before.
    look: reads stdout. files: folders and files that the command leaves.
    """

    name: str
    line: str
    needs: tuple[str, ...] = ()
    look: Callable[..., Any] = reading.nothing
    files: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return "verb/name", unique among all cases."""
        return f"{self.line.split()[0]}/{self.name}"


class Bench:
    """Runs cases in `folder`, each once, with what they need before them."""

    def __init__(self, folder: Path, cases: dict[str, Case]) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir(parents=True)
        self.there.mkdir()
        self._cases, self._answers = cases, dict[str, Any]()
        self._made = set[str]()

    def answer(self, case: Case) -> Any:
        """Return the normalized answer of a case, from memory if it has run already."""
        if case.key not in self._answers:
            self._need(case.needs)
            self._answers[case.key] = self._run(case)
        return self._answers[case.key]

    def refusal(self, line: str, needs: tuple[str, ...]) -> dict[str, int]:
        """Run a bad line in a folder of its own; return its exit code and what it printed."""
        self._need(needs)
        before = set(self.there.rglob("*"))
        code, out, err = command(line, self.there)
        left = set(self.there.rglob("*")) - before
        return {
            "code": code,
            "stderr_lines": len(err.splitlines()),
            "stdout_lines": len(out.splitlines()),
            "files_left": len([path for path in left if path.is_file()]),
        }

    def _need(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name in self._cases:
                assert self.answer(self._cases[name])["code"] == 0, name
            elif name not in self._made:
                with contextlib.chdir(self.here):
                    materials.MAKERS[name]()
                self._made.add(name)

    def _run(self, case: Case) -> dict[str, Any]:
        if case.line.startswith(FACE):
            with contextlib.chdir(self.here):
                return {"code": 0, "out": reading.normal(case.look(), self.here)}
        code, out, err = command(case.line, self.here)
        assert code == 0, f"{case.line}\n{err}"
        with contextlib.chdir(self.here):
            files = {name: reading.contents(Path(name)) for name in case.files}
        answer = {"code": code, "stderr_lines": len(err.splitlines()), "out": case.look(out)}
        return reading.normal(answer | ({"files": files} if files else {}), self.here)


def command(line: str, folder: Path) -> tuple[int, str, str]:
    """Run `cnnlab LINE` in a folder; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    captured = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(folder), captured[0], captured[1], _same_surroundings():
        code = main(shlex.split(line))
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _same_surroundings() -> Iterator[None]:
    """Hide what a user's terminal might change, and put torch's threads back afterwards."""
    import torch

    before = {key: os.environ.get(key) for key in ("COLUMNS", "MPLBACKEND")}
    os.environ.update(COLUMNS="100", MPLBACKEND="Agg")
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
