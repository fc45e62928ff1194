"""The table of the claims: one row each, as plain data, and as text for people."""

import math
import shlex
from typing import Any

from cnnlab.config import to_plain
from cnnlab.config.claims import METRICS, ClaimConfig
from cnnlab.console import Console
from cnnlab.intervals import Interval, interval
from cnnlab.percentages import percent
from cnnlab.reproduction import measure
from cnnlab.reproduction.choosing import VALIDATION_ERROR
from cnnlab.reproduction.plan import ArmPlan, ClaimPlan
from cnnlab.reproduction.verdict import compare, exact, verdict

UNMEASURED = "unmeasured"
NONE = "-"


def described(plan: ClaimPlan) -> dict[str, Any]:
    """Return what a row says before anything is measured."""
    claim = plan.claim
    return {
        "name": plan.name,
        "sentence": claim.sentence,
        "source": claim.source,
        "published": claim.published,
        "published_mark": claim.published_mark,
        "author_log": claim.author_log,
        "metric": METRICS[claim.metric].about,
        "unit": METRICS[claim.metric].unit,
        "target": claim.target,
        "level": claim.level,
        "scale": plan.scale,
        "note": plan.section.note,
        "settings": plan.settings,
        "refuted_by": claim.refuted_by,
        "differs_in": claim.differs_in,
        "num_seeds": 0 if claim.is_computed else plan.num_seeds,
    }


def unmeasured(plan: ClaimPlan, reason: str) -> dict[str, Any]:
    """Return the row of a claim that could not be measured here."""
    return described(plan) | {"verdict": f"{UNMEASURED}: {reason}", "arms": [], "difference": None}


def computed(plan: ClaimPlan) -> dict[str, Any]:
    """Return the row of a claim about a network, without training."""
    claim, (arm, *_) = plan.claim, plan.arms
    found = METRICS[claim.metric].load()(arm.config)
    expected = claim.expected or []

    shown = {
        "name": arm.name,
        "figures": found,
        "mean": None,
        "network": network(arm),
        "command": f"cnnlab summary model={arm.config.model.name}",
    }
    return described(plan) | {
        "verdict": exact(expected, found),
        "expected": expected,
        "arms": [shown],
        "difference": None,
    }


def measured(plan: ClaimPlan, arms: list[measure.Arm]) -> dict[str, Any]:
    """Return the row of a claim whose runs have ended."""
    claim = plan.claim
    function = METRICS[claim.metric].load()
    figures = [function(arm) for arm in arms]
    own = [interval(values) for values in figures]
    found = compare(claim, [arm.factor for arm in plan.arms], figures)

    shown = [
        arm_row(claim, arm, made.runs, values) | curve_of(claim, made)
        for arm, made, values in zip(plan.arms, arms, figures, strict=True)
    ]
    return described(plan) | {
        "verdict": verdict(claim, found),
        "arms": shown,
        "difference": difference(claim, own[0] if claim.statistic == "level" else found),
    }


def arm_row(claim: ClaimConfig, arm: ArmPlan, runs: Any, values: list[float]) -> dict[str, Any]:
    """Return what a row says of an arm: settings, runs, and its figures with their interval."""
    own: Interval = interval(values)
    is_per_seed = METRICS[claim.metric].per == "seeds"

    return {
        "name": arm.name,
        "factor": arm.factor,
        "network": network(arm),
        "set": images_of(arm),
        "mean": own.mean,
        "half_width": own.half_width,
        "figures": values if is_per_seed else None,
        "runs": [str(run.path) for run in runs],
        **searched(arm),
        "command": command(arm),
    }


def curve_of(claim: ClaimConfig, arm: measure.Arm) -> dict[str, Any]:
    """Return the curve that the metric has beside its figures, as pairs; nothing without one."""
    metric = METRICS[claim.metric]
    return {"curve": metric.load_curve()(arm)} if metric.curve else {}


def curve(arm: dict[str, Any]) -> str:
    """Return the curve of an arm of a row, in a line: `0 %: 2.10 %; 5 %: 0.90 %`."""
    points = arm.get("curve") or ()
    return "; ".join(f"{100 * share:g} %: {percent(error)}" for share, error in points)


def command(arm: ArmPlan) -> str:
    """Return the command that trains an arm with its first seed."""
    words = ["cnnlab", "train", *arm.words_used, "seed=0"]
    if (threads := arm.config.runtime.num_threads) is not None:
        words.append(f"runtime.num_threads={threads}")  # another number rounds differently
    return shlex.join(words)


def searched(arm: ArmPlan) -> dict[str, Any]:
    """Return what a row says of a search: the figure of each value, what it is, and the choice.

    A run that has diverged, or did not get there, has no figure.
    """
    search = arm.search
    if search is None:
        return {"searched": None}
    return {
        "searched": {f"{c.value:g}": search.figure(c.run) for c in search.candidates},
        "searched_key": search.key,
        "searched_by": search.by,
        "searched_unit": search.unit,
        "chosen": f"{search.chosen.value:g}",
    }


def tried(arm: dict[str, Any]) -> str:
    """Return what an arm of a row has tried, in a line; empty where it has tried nothing.

    `learning_rate 0.1 by validation error (0.01: 12.00 %; 0.1: 10.00 %; 1: -)`. Rows of an earlier
    version say neither what chose nor what was chosen.
    """
    if not (figures := arm.get("searched")):
        return ""
    unit, by = arm.get("searched_unit", "percent"), arm.get("searched_by", VALIDATION_ERROR)
    key = arm.get("searched_key", "").rpartition(".")[2]
    each = [
        f"{value}: {NONE if found is None else figure(found, unit)}"
        for value, found in figures.items()
    ]
    return f"{key} {arm.get('chosen', '')} by {by} ({'; '.join(each)})".lstrip()


def difference(claim: ClaimConfig, found: Interval) -> dict[str, Any]:
    """Return the compared figure with its interval; of a ratio, the factor and its ends.

    With statistic=level it is the arm's own figure, beside the level. An interval of no width does
    not say what could have been seen.
    """
    mean, low, high, width = found.mean, found.low, found.high, found.half_width or None
    if claim.statistic == "ratio":
        mean = math.exp(mean)
        low, high, width = (None if end is None else math.exp(end) for end in (low, high, width))

    return {
        "statistic": claim.statistic,
        "unit": "factor" if claim.statistic == "ratio" else METRICS[claim.metric].unit,
        "level": claim.level,
        "mean": mean,
        "low": low,
        "high": high,
        "smallest_visible": width,
        "num_pairs": found.num_values,
        "paired_over": METRICS[claim.metric].per,
    }


def network(arm: ArmPlan) -> str:
    """Return the model of an arm, with its width where that is not 1."""
    width = getattr(arm.config.model, "width", 1.0)
    return arm.config.model.name + (f" at width {width:g}" if width != 1.0 else "")


def images_of(arm: ArmPlan) -> str:
    """Return the set of an arm, with the number of training images where it is a part of them."""
    plain = to_plain(arm.config)["dataset"]
    subset, size = plain.get("train_subset"), plain["image_size_pixels"]
    part = f", {subset:,} training images" if isinstance(subset, int) else ""
    return f"{plain['name']} at {size} pixels{part}"


COLUMNS = ("claim", "published", "author's log", "measured", "smallest visible", "verdict")


def show(console: Console, rows: list[dict[str, Any]], scale: str) -> None:
    """Print the sentences and the table."""
    for row in rows:
        console.line(f"{row['name']}: {row['sentence']} ({row['source']})")
    console.line()
    console.table(COLUMNS, [cells(row) for row in rows])
    for row in rows:
        for arm in row["arms"]:
            if text := tried(arm):
                console.line(f"{row['name']}, {arm['name']}: {text}")
    console.line(note(scale))


def note(scale: str) -> str:
    """Return what a table of this scale can say."""
    if scale == "laptop":
        return "scale=laptop tests the direction of each claim, not the size of its effect"
    return "scale=full has the papers' own set-ups, as far as they are known"


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row, as text."""
    mark = row["published_mark"]
    published = row["published"] + (f" [{mark}]" if mark != "none" else "")
    smallest = NONE
    if (compared := row["difference"]) is not None and compared["smallest_visible"] is not None:
        smallest = figure(compared["smallest_visible"], compared["unit"])
    return [row["name"], published, row["author_log"], result(row), smallest, row["verdict"]]


def result(row: dict[str, Any]) -> str:
    """Return what was measured, in a line: `1.20 % (0.40 to 2.00 %), 5 seeds`."""
    compared = row["difference"]
    if compared is None:
        figures = row["arms"][0]["figures"] if row["arms"] else []
        return ", ".join(figure(value, row["unit"]) for value in figures) or NONE

    unit, pairs = compared["unit"], compared["num_pairs"]
    text = figure(compared["mean"], unit)
    if compared["low"] is not None:
        text += f" ({figure(compared['low'], unit)} to {figure(compared['high'], unit)})"
    against = "" if compared.get("level") is None else f" against {figure(compared['level'], unit)}"
    return f"{text}{against}, {pairs:,} {compared['paired_over']}"


def figure(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit == "percent":
        return percent(value)
    if unit == "factor":
        return f"{value:.2f}x"
    if 0 < abs(value) < 1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
