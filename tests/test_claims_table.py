"""The table of docs/reproduction.md, written from the document of a run."""

from scripts.claims_table import BEGIN, END, PAGE, lines, put_between

ROW = {
    "name": "lrn_helps",
    "sentence": "Normalization helps",
    "source": "a paper",
    "published": "1.4 points",
    "published_mark": "read",
    "author_log": "1.37 points",
    "unit": "percent",
    "verdict": "holds",
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
    "device": "cpu",
    "versions": {"torch": "2.15"},
    "git": None,
    "note": "a direction",
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


def test_the_page_has_its_marks_and_keeps_what_is_around_them() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    written = put_between(page, ["one", "two"])
    assert written == f"{before}{BEGIN}\none\ntwo\n{END}{after}"
