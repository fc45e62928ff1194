import json

import pytest

from cnnlab.app import compare as verb
from cnnlab.config import Launch
from cnnlab.config.verbs.compare import CompareConfig
from cnnlab.errors import UsageError
from cnnlab.reports.curves import overlaid
from cnnlab.run_folder import RunFolder, claim
from cnnlab.writers import read_epochs


def make_run(path, rate: float, error: float):
    """Write what a training leaves behind: config, status and one line per epoch."""
    run = claim("", exact=path)
    run.write_config({"seed": 0, "optimizer": {"name": "sgd", "learning_rate": rate}})
    run.update_status(status="done", seed=0, test_error=error, best_validation_error=error)
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
