"""Write the answers of every case: `python -m tests.golden.answers.write [VERB ...]`.

Only after a change that is meant to change an answer, from the repository root. Without verbs all
files are written; read the difference before committing it.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tests/conftest.py

from tests.golden.answers import bad_lines, cases, reading
from tests.golden.answers.bench import Bench

FOLDER = Path(__file__).parent


def stored(name: str) -> Any:
    """Read one file of answers."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def main(verbs: list[str]) -> None:
    """Run every case of these verbs, or all, and write one file per verb."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch).resolve() / "bench", cases.CASES)
        for verb in verbs or [*cases.GROUPS, "bad_lines"]:
            _write(verb, _answers(verb, bench))
    _write("facts", reading.facts())


def _answers(verb: str, bench: Bench) -> dict[str, Any]:
    if verb == "bad_lines":
        return {line: bench.refusal(line, needs) for line, needs in bad_lines.CASES.items()}
    return {case.key: bench.answer(case) for case in cases.GROUPS[verb]}


def _write(name: str, answers: dict[str, Any]) -> None:
    """Write one answer per line, so that a difference names its case."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in answers.items()]
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
