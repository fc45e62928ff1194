"""Rows of the table: earlier ones stay, a level is shown as one, lines point to the right side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnlab.config import claims
from cnnlab.errors import DataError
from cnnlab.intervals import interval
from cnnlab.reports import claims_page
from cnnlab.reproduction import rows, table
from cnnlab.reproduction.page import line_of, of_what, page_of, tone_of
from cnnlab.reproduction.verdict import FAILS, HOLDS

FACTS = {"command": "cnnlab reproduce", "time": "2026-11-26", "device": "cpu"}
PLAIN = {"sentence": "s", "source": "a paper", "arms": []}


def row(name: str, verdict: str, scale: str = "laptop") -> dict[str, Any]:
    return PLAIN | {"name": name, "verdict": verdict, "scale": scale}


def written(folder: Path, *found: dict[str, Any], **facts: Any) -> None:
    document = FACTS | {"scale": "laptop", "claims": list(found)} | facts
    (folder / "reproduction.json").write_text(json.dumps(document))


def earlier(folder: Path, show: Callable[[dict[str, Any]], object] = str) -> table.Rows:
    return table.earlier_rows(folder, show)


def test_a_call_replaces_its_own_claims_and_keeps_the_others(tmp_path: Path) -> None:
    written(tmp_path, row("b", "holds"), row("a", "undecided"), row("b", "unmeasured", "full"))
    found = table.merged(earlier(tmp_path), [row("b", FAILS)], {"time": "later"})
    assert [(one["name"], one["scale"], one["verdict"]) for one in found] == [
        ("a", "laptop", "undecided"),
        ("b", "full", "unmeasured"),
        ("b", "laptop", FAILS),
    ]
    assert [one["call"]["time"] for one in found] == ["2026-11-26", "2026-11-26", "later"]


def test_rows_of_a_version_without_scales_get_that_of_their_call(tmp_path: Path) -> None:
    written(tmp_path, {**PLAIN, "name": "a", "verdict": HOLDS}, scale="full")
    (found,) = earlier(tmp_path)
    assert (found["scale"], found["call"]["device"]) == ("full", "cpu")


def test_a_folder_without_a_table_has_no_earlier_rows(tmp_path: Path) -> None:
    assert earlier(tmp_path) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"claims": [3]}', '{"claims": [{}]}', "nul"])
def test_a_damaged_table_is_named_before_anything_is_trained(tmp_path: Path, content: str) -> None:
    (tmp_path / "reproduction.json").write_text(content)
    with pytest.raises(DataError, match="damaged") as caught:
        earlier(tmp_path)
    assert "output=FOLDER" in str(caught.value)


WHOLE = {
    **row("a", HOLDS),
    **dict.fromkeys(("published", "published_mark", "author_log", "metric", "refuted_by"), "-"),
    "target": None,
    "differs_in": ["x"],
    "difference": None,
    "unit": "count",
}
FORGED = [(key, value) for key in WHOLE for value in (None, 7, "</script>", [1], {"a": [1]}, ...)]


def test_no_row_of_a_strangers_table_ends_the_command_after_its_trainings(tmp_path: Path) -> None:
    """A row is refused before anything is trained, or the page has it as text."""

    def show(document: dict[str, Any]) -> str:
        return claims_page.render(page_of(document))

    written(tmp_path, WHOLE)
    assert len(earlier(tmp_path, show)) == 1
    num_refused = 0
    for key, value in FORGED:
        forged = {k: v for k, v in (WHOLE | {key: value}).items() if v is not ...}
        written(tmp_path, forged)
        try:
            held = earlier(tmp_path, show)
        except DataError:
            num_refused += 1
        else:
            fresh = table.merged(held, [row("b", HOLDS)], FACTS)[:-1]
            page = show(FACTS | {"claims": fresh})
            assert "</script>" not in page
    assert num_refused > 50


def test_the_page_is_ordered_by_the_year_of_the_source() -> None:
    sources = ["the lecture", "Zeiler 2014", "LeCun 1998, section 2", "the run 150, source of 2012"]
    found = table.by_year([{"name": "a", "source": source} for source in sources])
    assert [one["source"] for one in found] == [sources[2], sources[3], sources[1], sources[0]]


def compared(name: str, values: list[float], factor: float) -> dict[str, Any]:
    claim = claims.read(name)
    return {
        "unit": "percent",
        "difference": rows.difference(claim, interval(values)),
        "arms": [{"factor": factor}],
    }


def test_pairs_that_do_not_differ_show_no_smallest_effect() -> None:
    assert compared("zfnet_first_layer", [0.0, 0.0], 1)["difference"]["smallest_visible"] is None
    assert compared("relu_against_tanh", [0.0, 0.0], 1)["difference"]["smallest_visible"] is None
    assert compared("relu_against_tanh", [0.0, 0.1], 1)["difference"]["smallest_visible"] > 1


def test_a_level_is_printed_beside_the_figure() -> None:
    found = compared("lenet5_1998_error", [0.021, 0.022, 0.020], -1)
    assert rows.result(found) == "2.10 % (1.85 % to 2.35 %) against 0.95 %, 3 seeds"


@pytest.mark.parametrize(
    ("name", "values", "side"),
    [
        ("lrn_helps", [0.010, 0.012, 0.011], 1),
        ("lrn_helps", [-0.010, -0.012, -0.011], -1),
        ("relu_against_tanh", [0.6, 0.7, 0.8], 1),  # logarithms of the quotient
        ("lenet5_1998_error", [0.021, 0.022, 0.020], -1),
        ("lenet5_1998_error", [0.006, 0.005, 0.004], 1),
    ],
)
def test_a_line_is_right_of_the_middle_where_the_claim_holds(
    name: str, values: list[float], side: int
) -> None:
    line = line_of(compared(name, values, -1))
    assert line is not None
    assert line.low <= line.mean <= line.high
    assert line.low * side > 0
    assert line.high * side > 0
    assert max(abs(line.low), abs(line.high)) == pytest.approx(1)


def test_a_claim_without_an_interval_has_no_line() -> None:
    assert line_of({"difference": None}) is None
    assert line_of(compared("lrn_helps", [0.5], 1)) is None


def test_verdicts_have_four_tones() -> None:
    said = [HOLDS, FAILS, "undecided (3 seeds)", "unmeasured: needs ImageNet"]
    assert [tone_of(one) for one in said] == ["holds", "fails", "undecided", "unmeasured"]


@pytest.mark.parametrize(
    ("statistic", "factors", "said"),
    [
        ("difference", (1, -1), "updates, target 0.5: one minus two"),
        ("ratio", (-1, 1, 0), "updates, target 0.5: two divided by one"),
        ("difference", (1, -0.5, -0.5), "updates, target 0.5"),
        ("level", (-1,), "updates, target 0.5"),
    ],
)
def test_the_page_says_which_arm_is_compared_with_which(
    statistic: str, factors: tuple[float, ...], said: str
) -> None:
    arms = [
        {"name": name, "factor": factor}
        for name, factor in zip(("one", "two", "three"), factors, strict=False)
    ]
    compared_by = {"statistic": statistic}
    row_of = {"metric": "updates", "target": 0.5, "arms": arms, "difference": compared_by}
    assert of_what(row_of) == said
