"""The table of pairs in docs/papers.md, made from the results of pairs.py."""

import statistics
from typing import Any

Row = dict[str, Any]

AT_CHANCE = 0.75
"""Validation error from which a network of ten classes counts as guessing; chance is 0.90."""


def at_chance(row: Row) -> bool:
    """Return whether a run failed or ended near chance."""
    return row["error"] is None or row["error"] >= AT_CHANCE


def line(row: Row) -> str:
    """Return one run as text."""
    found = "failed" if row["error"] is None else f"{100 * row['error']:.1f} %"
    told = f"{row['network']} on {row['set']}, seed {row['seed']}: {found}"
    return f"{told}: {row['failure']}" if row.get("failure") else told


def render(machine: dict[str, Any], rows: list[Row], sets: list[str], source: str) -> list[str]:
    """Return the Markdown lines: a row per network, a column per set."""
    lines = [
        f"Measured {machine['time'][:10]} on {machine['cores']} cores of {machine['processor']}, "
        f"torch {machine['torch']}: validation error in % after so many updates (digits, clothes / "
        f"synthetic images), mean of the seeds, three unless said (lowest to highest). Empty: the "
        f"model enlarges that set to the size of another column. "
        f"All figures: [{source}](results/{source}).",
        "",
        f"| model | updates | rate | clip | {' | '.join(sets)} |",
        "|---" * (4 + len(sets)) + "|",
    ]

    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        grows = any(row["settings"] and is_enlarged(row) for row in own)
        absent = "" if grows else "not run"
        cells = [cell([row for row in own if row["set"] == name]) or absent for name in sets]
        updates = " / ".join(str(number) for number in dict.fromkeys(r["updates"] for r in own))
        lines.append(
            f"| {network} | {updates} | {recipe(own[0]['settings'])} | {' | '.join(cells)} |"
        )
    return lines


def recipe(settings: dict[str, Any] | None) -> str:
    """Return optimizer with learning rate, and clipping, as two cells."""
    if settings is None:
        return "? | ?"
    clip = settings["clip_gradient_norm"]
    rate = f"{settings['optimizer']} {settings['learning_rate']:g}"
    return f"{rate} | {'none' if clip is None else f'{clip:g}'}"


def cell(rows: list[Row]) -> str:
    """Return mean and range of a pair's errors; bold when a run ended at chance."""
    if not rows:
        return ""
    if any(row["error"] is None for row in rows):
        return "**failed**"

    errors = [100 * row["error"] for row in rows]
    found = f"{statistics.mean(errors):.1f} ({min(errors):.1f} to {max(errors):.1f})"
    if len(rows) < 3:
        found += ", one seed" if len(rows) == 1 else ", two seeds"

    if any(at_chance(row) for row in rows):
        return f"**{found}**"
    size = rows[0]["settings"]["image_size_pixels"]
    return f"{found} at {size} px" if is_enlarged(rows[0]) else found


def is_enlarged(row: Row) -> bool:
    """Return whether the network's default enlarged the images of the dataset."""
    return bool(row["settings"]["image_size_pixels"] != row["size_of_set"])
