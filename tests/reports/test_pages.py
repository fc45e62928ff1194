"""The pages of evaluations and runs, with names that try to inject HTML."""

import json
import re

import pytest
import torch

from cnnlab.app import evaluate as verb
from cnnlab.config import Launch
from cnnlab.data.store import ArrayStore
from cnnlab.evaluation.metrics import count, score
from cnnlab.evaluation.observers import Miss, WorstMisses
from cnnlab.inference.network import open_network
from cnnlab.models import Network
from cnnlab.reports import run_page, sections
from cnnlab.reports.curves import loss_and_error
from cnnlab.reports.page import Figure
from cnnlab.reports.sections import Findings
from cnnlab.run_folder import claim
from cnnlab.trainer.run_report import pictures_of_test
from cnnlab.visualization import confusions
from cnnlab.writers import read_epochs
from tests.app.test_evaluate import config_for, write_checkpoint

NASTY = ["<script>x</script>", "$a_{1}$", "b & c", 'd"e', "f\x1b[31m"]


def store_of(names: list[str], num: int = 40) -> ArrayStore:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num, 9, 9, 3), dtype=torch.uint8, generator=generator)
    labels = torch.arange(num) % len(names)
    return ArrayStore("folder", "test", images, labels, tuple(names), True)


def tally_of(store: ArrayStore):
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(len(store), len(store.class_names), generator=generator)
    return count(score(scores.softmax(1), store.labels), len(store.class_names))


def findings(store: ArrayStore, *misses: Miss) -> Findings:
    return Findings.on(store, tally_of(store), misses)


@pytest.fixture
def network(tmp_path) -> Network:
    path = write_checkpoint(tmp_path / "lenet.safetensors", network="lenet5")
    return open_network(path, torch.device("cpu")).network


def finished_run(path):
    run = claim("", exact=path)
    run.write_config({"seed": 0, "model": {"name": "lenet5"}})
    run.update_status(status="done", command="cnnlab train <b>", seed=0, model="lenet5")
    header = "step,epoch,train/loss,validation/loss,validation/top1_error"
    (path / "metrics.csv").write_text(
        f"{header}\n5,1.0,2.1,1.9,0.5\n10,2.0,1.2,1.1,0.3\n15,3.0,,,\n"
    )
    run.release()
    return run


def test_a_runs_report_holds_every_section_and_no_markup_of_strangers(tmp_path, network):
    store = store_of(NASTY)
    misses = [Miss(3, 3, 0, 0.9, 0.05), Miss(1, 1, 4, 0.8, 0.1)]
    run = finished_run(tmp_path / "run")
    path = run_page.write(
        run.path,
        findings(store, *misses),
        run.status(),
        run.read_config(),
        read_epochs(run.path / "metrics.csv"),
        sections.kernels(next(network.parameters())),
        [],
    )

    text = path.read_text()
    for heading in ("Test figures", "Curves", "Confusion", "Worst misses", "Calibration",
                    "First-layer kernels", "Settings", "Made by"):  # fmt: skip
        assert f"<h2>{heading}" in text
    assert text.index("<h2>First-layer kernels") < text.index("<h2>Curves")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "cnnlab train &lt;b&gt;" in text
    assert text.count('src="data:image/png;base64,') == 2 + 1 + 2 + 1 + 6


def test_no_caption_on_a_page_repeats_its_title(tmp_path, network):
    found = findings(store_of(NASTY), Miss(3, 3, 0, 0.9, 0.05))
    epochs = [{"epoch": 1.0, "train/loss": 2.0, "validation/top1_error": 0.5}]
    figures = [
        part
        for section in (sections.confusion(found), sections.calibration(found.tally))
        for part in section.parts
        if isinstance(part, Figure)
    ]
    figures += [sections.figure(picture) for picture in loss_and_error(epochs)]
    assert len(figures) == 4
    for figure in figures:
        assert figure.alternative.lower() not in figure.caption.lower()
        assert figure.caption == "" or figure.caption.lower() not in figure.alternative.lower()


def ticks(axis):
    """Return the labels of an axis within its limits."""
    axis.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in labels if low <= place <= high]


@pytest.mark.parametrize(
    ("low", "high"), [(0.08, 1.7), (0.9, 1.1), (0.003, 40.0), (1.2, 6.1), (0.0, 1.0), (5e-7, 2.3)]
)
def test_a_loss_axis_has_two_or_more_ticks_that_are_plain_numbers(low, high):
    epochs = [{"epoch": e, "train/loss": v} for e, v in ((1.0, high), (2.0, low))]
    (picture,) = loss_and_error(epochs)
    shown = ticks(picture.figure.axes[0].yaxis)
    assert 2 <= len(shown) <= 12
    assert all(re.fullmatch(r"[\d.,]+|\d+e-\d\d", text) for text in shown), shown


def test_an_error_axis_is_in_percent():
    epochs = [{"epoch": e, "validation/top1_error": 0.3 / e} for e in (1.0, 2.0, 3.0)]
    (picture,) = loss_and_error(epochs)
    assert all(text.endswith(" %") for text in ticks(picture.figure.axes[0].yaxis))
    upper, lower = sections.charts.reliability(
        *[torch.arange(15)] * 2, torch.arange(15).double(), "reliability"
    ).figure.axes
    assert all(text.endswith(" %") for text in ticks(upper.yaxis) + ticks(lower.xaxis))
    assert not [text for text in ticks(lower.yaxis) if "$" in text]


def test_a_miss_shows_the_three_likeliest_classes_and_the_true_one():
    store = store_of(["cat", "dog", "hen", "owl", "pig"])
    labels, probabilities = (
        torch.tensor([3, 1]),
        torch.tensor([[0.5, 0.3, 0.1, 0.02, 0.08], [0.6, 0.25, 0.05, 0.05, 0.05]]),
    )
    observer = WorstMisses(2)
    observer(labels, probabilities[:, None, None])
    found = Findings.on(store, tally_of(store), observer.misses)
    (_, gallery) = sections.misses(found).parts
    assert [lines for _, lines in gallery.pictures] == [
        ["dog, taken for cat", "cat: 60.00 %", "dog: 25.00 %", "hen: 5.00 %", "image 1"],
        [
            "owl, taken for cat",
            "cat: 50.00 %",
            "dog: 30.00 %",
            "hen: 10.00 %",
            "owl: 2.00 %",
            "image 0",
        ],
    ]


def test_kernels_are_near_the_top_in_frames_with_their_scale(network):
    weight = next(network.parameters()).detach()
    _, scale, gallery = sections.kernels(weight).parts
    assert (scale.black, scale.gray, scale.white) == ("-w", "0", "+w")
    assert gallery.is_dense
    largest = float(weight[2].abs().max())
    assert gallery.pictures[2][1] == [f"2: {largest:.2g}"]


def test_tensorboard_gets_confusion_and_worst_misses(tmp_path):
    store = store_of(NASTY)
    found = pictures_of_test(findings(store, Miss(3, 3, 0, 0.9, 0.05)))
    assert [tag for tag, _ in found] == ["test/confusion", "test/worst_misses"]
    for _, pixels in found:
        assert pixels.dtype == torch.uint8
        assert pixels.shape[0] == 3


def test_many_classes_show_an_overview_the_most_confused_and_the_worst_pairs():
    store = store_of([f"class {k}" for k in range(60)], num=240)
    found = findings(store)
    overview, named, pairs = sections.confusion(found).parts
    assert "60 classes" in overview.caption
    assert "24 classes" in named.caption
    assert len(pairs.rows) == 20
    counts = [int(row[2]) for row in pairs.rows]
    assert counts == sorted(counts, reverse=True)
    assert [tag for tag, _ in pictures_of_test(found)] == ["test/confusion", "test/confusion_worst"]


def test_an_overview_counts_every_image_of_a_thousand_classes():
    counts = torch.zeros(1003, 1003, dtype=torch.int64)
    counts[7, 8], counts[1002, 0], counts[500, 500] = 5, 3, 9
    binned = confusions.in_bins(counts, 21)
    assert binned.shape == (48, 48)
    assert (binned[0, 0], binned[47, 0], binned[23, 23]) == (5, 3, 9)
    assert binned.sum() == 17
    assert confusions.most_confused(counts, 3).tolist() == [7, 8, 1002]


def test_a_page_of_very_many_classes_says_that_it_has_no_matrix():
    store = store_of([f"class {k}" for k in range(5001)], num=8)
    found = findings(store)
    (only,) = sections.confusion(found).parts

    assert only.text.startswith("No confusion matrix is kept of 5,001 classes")
    assert len(sections.classes(found).parts[0].rows) == 5001
    assert pictures_of_test(found) == []


def test_a_faultless_network_has_no_misses_and_no_pairs():
    store = store_of(["a", "b"])
    perfect = Findings.on(store, count(score(torch.eye(2)[store.labels], store.labels), 2), [])
    assert len(sections.confusion(perfect).parts) == 1
    (text,) = sections.misses(perfect).parts
    assert text.text == "No image was misclassified."


def test_classes_without_images_are_said_to_have_none():
    store = store_of(["a", "b", "c"], num=2)
    table = sections.classes(findings(store)).parts[0]
    assert ["c", "no images", "0"] in [list(row) for row in table.rows]


def test_an_evaluation_writes_page_result_and_probabilities(tmp_path, capsys):
    path = write_checkpoint(tmp_path / "a.safetensors")
    config = config_for(path, path, output=str(tmp_path / "out"), save_probabilities=True)
    verb.run(config, Launch(command="cnnlab evaluate"))
    printed = json.loads(capsys.readouterr().out)

    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert written == [
        "evaluation_validation_center.html",
        "evaluation_validation_center.json",
        "labels.npy",
        "probabilities.npy",
    ]

    saved = json.loads((tmp_path / "out" / "evaluation_validation_center.json").read_text())
    assert saved == printed
    page = (tmp_path / "out" / "evaluation_validation_center.html").read_text()
    assert "Ensembles by size" in page
    assert "Disagreement" in page


def test_checkpoints_outside_a_run_write_nothing(tmp_path, capsys):
    path = write_checkpoint(tmp_path / "a.safetensors")
    verb.run(config_for(path), Launch(command=""))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
