"""The command that trains every pair: what its table shows, when it fails, what it repeats."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks import pairs_page

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmarks" / "pairs.py"
MACHINE = {"time": "2026-11-25T22:00", "cores": 2, "processor": "CPU", "torch": "2.15"}


def settings(size_pixels: int = 32) -> dict[str, Any]:
    return {
        "image_size_pixels": size_pixels,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "clip_gradient_norm": 1.0,
    }


def row(error: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "network": "linear",
        "set": "mnist5k",
        "seed": 0,
        "updates": 300,
        "size_of_set": 32,
        "settings": settings(),
        "error": error,
    } | changes


def test_a_cell_has_the_mean_and_the_range_of_its_seeds() -> None:
    rows = [row(0.1), row(0.2, seed=1), row(0.6, seed=2)]
    assert pairs_page.cell(rows) == "30.0 (10.0 to 60.0)"


def test_a_cell_says_where_the_default_enlarged_the_images() -> None:
    assert pairs_page.cell([row(0.1, settings=settings(64))]).endswith("at 64 px")


@pytest.mark.parametrize("error", [0.9, 0.76, None])
def test_one_seed_at_chance_or_failed_stands_out(error: float | None) -> None:
    assert pairs_page.cell([row(0.1), row(error, seed=1)]).startswith("**")


def test_the_table_has_a_row_per_network_and_says_what_was_not_run() -> None:
    rows = [row(0.1), row(0.2, network="mlp", set="synthetic 64", updates=100)]
    *_, linear, mlp = pairs_page.render(MACHINE, rows, ["mnist5k", "synthetic 64"], "x.json")
    assert linear == "| linear | 300 | sgd 0.1 | 1 | 10.0 (10.0 to 10.0), one seed | not run |"
    assert mlp == "| mlp | 100 | sgd 0.1 | 1 | not run | 20.0 (20.0 to 20.0), one seed |"


@pytest.mark.parametrize(
    ("error", "code"), [pytest.param(0.2, 0, marks=pytest.mark.slow), (0.9, 1)]
)
def test_a_run_that_is_there_is_not_repeated_and_fails_the_command_if_it_stayed_at_chance(
    tmp_path: Path, error: float, code: int
) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"machine": MACHINE, "rows": [row(error)]}))
    words = ["--models", "linear", "--sets", "mnist5k", "--seeds", "0", "--no-page"]
    command = [sys.executable, str(SCRIPT), *words, "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert json.loads(results.read_text())["rows"] == [row(error)]
