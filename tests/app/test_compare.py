import csv
import json

import pytest

from cnnlab.app import compare as verb
from cnnlab.config import Launch
from cnnlab.config.verbs.compare import CompareConfig
from cnnlab.errors import UsageError
from cnnlab.reports.curves import overlaid
from cnnlab.run_folder import RunFolder, claim
from cnnlab.writers import read_epochs


def make_run(path, rate: float, error: float, seed: int = 0, validation: float | None = None):
    """Write what a training leaves behind: config, status and one line per epoch."""
    run = claim("", exact=path)
    run.write_config({"seed": seed, "optimizer": {"name": "sgd", "learning_rate": rate}})
    validation = error if validation is None else validation
    run.update_status(status="done", seed=seed, test_error=error, best_validation_error=validation)
    rows = [f"{10 * e},{e},{error + 1 / e},{error + 0.1 / e}" for e in (1, 2, 3)]
    header = "step,epoch,validation/loss,validation/top1_error"
    (path / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    run.release()
    return path


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / "a", 0.1, 0.02), make_run(tmp_path / "<b>", 0.05, 0.03)]


def config_for(runs, **changes) -> CompareConfig:
    return CompareConfig(
        **({"runs": [str(run) for run in runs], "output": None, "format": "json"} | changes)
    )


def test_only_settings_that_differ_are_listed(runs, capsys):
    assert verb.run(config_for(runs), Launch(command="")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == [{"name": "optimizer.learning_rate", "values": [0.1, 0.05]}]
    figures = {row["name"]: row["values"] for row in found["figures"]}
    assert figures["test_error"] == [0.02, 0.03]


def test_a_run_whose_process_is_gone_was_killed(runs, capsys):
    for path in runs:
        RunFolder(path).update_status(status="running")
    writing = RunFolder(runs[1])
    writing.lock()
    verb.run(config_for(runs), Launch(command=""))
    writing.release()

    found = json.loads(capsys.readouterr().out)
    figures = {row["name"]: row["values"] for row in found["figures"]}
    assert figures["status"] == ["killed", "running"]


def test_the_table_shows_errors_in_percent(runs, capsys):
    verb.run(config_for(runs, format="text"), Launch(command=""))
    printed = capsys.readouterr().out
    assert "2.00 %" in printed
    assert "optimizer.learning_rate" in printed


def test_the_page_overlays_the_curves_and_escapes_names(runs, tmp_path):
    page = tmp_path / "compare.html"
    verb.run(config_for(runs, output=str(page)), Launch(command="cnnlab compare <x>"))
    text = page.read_text()
    assert text.count("<img") == 2
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_there_is_one_curve_per_run(runs):
    epochs = {run.name: read_epochs(run / "metrics.csv") for run in runs}
    error, loss = overlaid(epochs)  # nobody measured the loss on training images
    assert (error.name, loss.name) == ("error", "loss")

    assert set(error.facts["lines"]) == {"a", "<b>"}
    assert [epoch for epoch, _ in error.facts["lines"]["a"]] == [1, 2, 3]


def test_one_run_cannot_be_compared(runs):
    with pytest.raises(UsageError, match="two runs"):
        verb.run(config_for([runs[0], runs[0]]), Launch(command=""))


def test_runs_of_the_same_name_are_told_apart_everywhere(tmp_path, capsys):
    same = [make_run(tmp_path / sweep / "0_lenet5", 0.1, 0.02) for sweep in ("one", "two")]
    verb.run(config_for(same, format="text"), Launch(command=""))

    header = capsys.readouterr().out.splitlines()[0]
    assert header.split() == [str(run) for run in same]


@pytest.fixture
def sweep(tmp_path):
    """Two rates from three seeds each, and a run that failed. The better test error is 0.1's."""
    folder = tmp_path / "sweep"
    for seed, error in enumerate((0.040, 0.042, 0.050)):
        make_run(folder / f"low{seed}", 0.01, error, seed, error - 0.01)
        make_run(folder / f"high{seed}", 0.1, error - 0.005, seed, error)
    failed = RunFolder(make_run(folder / "huge", 1e30, 0.0))
    failed.update_status(
        status="failed", error="the loss is not finite\n  at step 3", test_error=None,
        best_validation_error=None,
    )  # fmt: skip
    return folder


def test_runs_that_differ_in_their_seed_are_one_line_sorted_by_validation_error(sweep, capsys):
    from scipy import stats

    verb.run(config_for([sweep]), Launch(command=""))
    groups = json.loads(capsys.readouterr().out)["groups"]
    rates = [f"optimizer.learning_rate={rate}" for rate in ("0.01", "0.1", "1e+30")]
    assert [group["settings"] for group in groups] == [[rate] for rate in rates]
    assert [group["n"] for group in groups] == [3, 3, 1]

    errors = [0.030, 0.032, 0.040]
    half = stats.t.ppf(0.975, 2) * stats.sem(errors)
    found = groups[0]["validation_error"]
    assert (found["mean"], found["half_width"]) == pytest.approx((0.034, half))
    assert (groups[2]["status"], groups[2]["reason"]) == ("failed", "the loss is not finite")


def test_the_table_and_the_csv_say_the_same(sweep, capsys):
    verb.run(config_for([sweep], format="text"), Launch(command=""))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["runs", "overrides", "n", "validation", "test", "status"]
    assert "optimizer.learning_rate=0.01 " in lines[1]
    assert "  3  3.40 ± 1.31 %  4.40 ± 1.31 %    done" in lines[1]
    assert lines[3].split()[-4:] == ["1", "-", "-", "failed"]
    assert lines[-1] == "run huge: the loss is not finite"

    verb.run(config_for([sweep], format="csv"), Launch(command=""))
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["n"] for row in rows] == ["3", "3", "1"]
    assert float(rows[0]["validation_half_width"]) == pytest.approx(0.01314, abs=1e-5)
    assert rows[0]["seeds"] == "0 1 2"


def test_the_same_seed_again_is_no_further_evidence(tmp_path, capsys):
    same = [make_run(tmp_path / name, 0.1, 0.02) for name in ("a", "b")]
    verb.run(config_for(same), Launch(command=""))
    assert [group["n"] for group in json.loads(capsys.readouterr().out)["groups"]] == [1, 1]


def test_the_page_shows_the_means_over_seeds(sweep, tmp_path):
    page = tmp_path / "compare.html"
    verb.run(config_for([sweep], output=str(page)), Launch(command=""))
    assert "3.40 ± 1.31 %" in page.read_text()
