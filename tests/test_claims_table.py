"""The table of docs/reproduction.md, written from the document of a run."""

import json
import sys
from pathlib import Path

import pytest

from scripts import claims_table
from scripts.claims_table import BEGIN, END, GALLERY, PAGE, README, lines, put_between, short_lines

ROW = {
    "name": "lrn_helps",
    "sentence": "Normalization helps",
    "source": "a paper",
    "published": "1.4 points",
    "published_mark": "read",
    "author_log": "1.37 points",
    "unit": "percent",
    "verdict": "holds",
    "scale": "laptop",
    "call": {
        "time": "2026-11-26T05:00:00+00:00",
        "device": "cpu",
        "versions": {"torch": "2.15"},
        "git": None,
    },
    "arms": [{"network": "alexnet at width 0.25", "set": "fashion_mnist at 64 pixels"}] * 2,
    "difference": {
        "unit": "percent",
        "mean": 0.01,
        "low": 0.005,
        "high": 0.015,
        "smallest_visible": 0.005,
        "num_pairs": 6,
        "paired_over": "seeds",
    },
}
DOCUMENT = {
    "time": "2026-11-26T05:00:00+00:00",
    "scale": "laptop",
    "claims": [ROW],
}


def test_the_table_says_what_was_published_measured_and_with_what() -> None:
    *_, row = lines(DOCUMENT)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "Normalization helps (`lrn_helps`)",
        "a paper",
        "1.4 points [read]",
        "1.37 points",
        "1.00 % (0.50 % to 1.50 %), 6 seeds (alexnet at width 0.25; fashion_mnist at 64 pixels)",
        "0.50 %",
        "holds",
    ]


def test_the_short_table_has_what_was_published_and_counts_all() -> None:
    others = [
        ROW | {"name": "b", "published": "-", "verdict": "does not hold here"},
        ROW | {"name": "c", "difference": None, "verdict": "unmeasured: needs ImageNet"},
    ]
    head, _, *table = short_lines(DOCUMENT | {"claims": [ROW, *others]})
    assert "Of 3 claims 1 hold, 1 do not hold here, 1 are unmeasured" in head
    assert len(table) == 3  # two lines of heading, and one claim
    assert table[-1].startswith("| Normalization helps | 1.4 points [read] | 1.00 % (")


def test_rows_of_several_days_are_dated_by_the_first_and_the_last() -> None:
    later = ROW | {"name": "b", "call": ROW["call"] | {"time": "2026-11-28T01:00:00", "git": None}}
    assert (
        "Measured 2026-11-26 to 2026-11-28 on cpu" in lines(DOCUMENT | {"claims": [ROW, later]})[0]
    )


def test_the_pages_have_their_marks_and_keep_what_is_around_them() -> None:
    for name in (PAGE, GALLERY):
        page = (claims_table.ROOT / name).read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        written = put_between(page, ["one", "two"])
        assert written == f"{before}{BEGIN}\none\ntwo\n{END}{after}"


def test_three_pages_are_written_and_one_without_marks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs" / "results").mkdir(parents=True)
    for name in (PAGE, README, GALLERY):
        (tmp_path / name).write_text(f"# A\n{BEGIN}\nstale text\n{END}\nrest\n")
    given = tmp_path / "reproduction.json"
    given.write_text(json.dumps(DOCUMENT))
    monkeypatch.setattr(sys, "argv", ["claims_table.py", str(given), f"--root={tmp_path}"])
    claims_table.main()

    pages = {name: (tmp_path / name).read_text() for name in (PAGE, README, GALLERY)}
    assert all("stale text" not in page and page.endswith("rest\n") for page in pages.values())
    assert "](docs/reproduction.md)" in pages[README]
    assert "](reproduction.md)" in pages[GALLERY]
    kept = tmp_path / "docs" / "results" / "2026-11-26-claims-laptop.json"
    assert json.loads(kept.read_text()) == DOCUMENT

    (tmp_path / README).write_text("no marks")
    with pytest.raises(SystemExit, match=r"README\.md"):
        claims_table.main()
    assert (tmp_path / README).read_text() == "no marks"
