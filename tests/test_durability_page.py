"""docs/durability.md names tests: each of them exists, and every acceptance case has one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "durability.md").read_text()
CASES = {*range(1, 28), 39, 40}


def test_every_test_that_the_page_names_exists() -> None:
    sources = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE))
    files = {path.name for path in sources}
    named = set(re.findall(r"test_\w+(?:\.py)?", PAGE))
    assert len(named) > 60
    assert named - defined - files == set()


def test_every_case_of_the_plan_is_named_with_its_test() -> None:
    rows = re.findall(r"^\| (\d+) .+\| (.+) \|$", PAGE, re.MULTILINE)
    assert {int(number) for number, _ in rows} >= CASES
    assert all("test_" in held or "settings of case 8" in held for _, held in rows[: len(CASES)])
