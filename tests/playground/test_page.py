import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.cli import main
from cnnlab.config.pictures import PAGES, asked_for
from cnnlab.models import Network
from cnnlab.playground import examples, page
from cnnlab.safe_output import escape_control
from cnnlab.visualization.layer_access import maps_at
from tests.hostile_names import NAMES
from tests.playground.networks import built
from tests.playground.pages import image_set, preprocessing_for, probe_for, random_images, write

MOST_LINES, LONGEST_LINE = 1200, 140


def content_of(path: Path) -> dict:
    (found,) = re.findall(r'id="content">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found)


def block_of(path: Path, name: str, dtype: type) -> np.ndarray:
    (found,) = re.findall(rf'id="{name}">(.*?)</script>', path.read_text(), re.DOTALL)
    return np.frombuffer(zlib.decompress(base64.b64decode(found)), dtype)


@pytest.fixture(scope="module")
def lenet() -> Network:
    return built("lenet5")


@pytest.fixture(scope="module")
def written(lenet: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(lenet, tmp_path_factory.mktemp("page") / "made")


def test_the_page_admits_its_own_script_and_style_and_fetches_nothing(written: Path) -> None:
    text = written.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)

    def hash_of(code: str) -> str:
        return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hash_of(script)}'; "
        f"style-src 'sha256-{hash_of(style)}'; base-uri 'none'; form-action 'none'"
    )
    for word in ("http:", "https:", "//cdn", "fetch(", "XMLHttpRequest", "import(", "innerHTML"):
        assert word not in text


def test_hostile_class_names_are_text(tmp_path: Path) -> None:
    network = built("mlp")
    for first in range(0, len(NAMES), 10):
        names = (*NAMES[first : first + 10], *("x",) * 10)[:10]
        path = write(network, tmp_path, probe_for(network, names=names))
        text = path.read_text()

        assert text.count("<script") == text.count("</script>") == 2 + 4
        assert not set(text) & set("\x1b\u202e\0")
        shown = content_of(path)["classes"]
        assert all(
            one[:39] == escape_control(name)[:39] for one, name in zip(shown, names, strict=True)
        )


def test_lenet5_with_eight_checkpoints_takes_less_than_3_megabytes(
    lenet: Network, tmp_path: Path
) -> None:
    labels = [f"epoch {number}" for number in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)]
    images, classes = random_images(lenet, 1000), torch.arange(1000) % 10
    probe = replace(
        probe_for(lenet, 32),
        checkpoints=lambda: ((label, lenet) for label in labels),
        train_set=image_set(images, classes),
    )
    path = write(lenet, tmp_path, probe)
    content = content_of(path)

    assert len(content["moments"]) == 8
    assert content["moments"] == [label for label in labels if label in content["moments"]]
    assert content["moments"][content["moment"]] == "epoch 3"
    assert {"epoch 1", "epoch 89"} <= set(content["moments"])
    # these images are noise, and those of a set are smaller when they are compressed
    images_bytes = sum(
        len(block_of(path, f"{one}-images", np.uint8)) for one in ("example", "neighbor")
    )
    assert path.stat().st_size - images_bytes * 4 / 3 < 2_700_000


def test_each_checkpoint_has_its_own_weights_in_the_order_of_time(tmp_path: Path) -> None:
    networks = {label: built("mlp") for label in ("epoch 1", "epoch 3", "epoch 7")}
    for number, network in enumerate(networks.values()):
        with torch.no_grad():
            network.get_submodule("output").bias.fill_(number)
    own = networks["epoch 3"]
    path = write(own, tmp_path, replace(probe_for(own), checkpoints=lambda: iter(networks.items())))

    assert content_of(path)["moments"] == list(networks)
    assert [block_of(path, f"weights-{n}", np.float32)[-1] for n in range(3)] == [0, 1, 2]


def test_the_worst_misses_are_offered_with_their_labels(lenet: Network) -> None:
    probe = probe_for(lenet, 40)
    found = examples.examples_of(lenet, probe)
    with torch.no_grad():
        chances = lenet(probe.normalize(probe.images)).softmax(1)

    assert found.num_misses == examples.NUM_MISSES
    labels = torch.tensor(found.labels[40:])
    with torch.no_grad():
        missed = lenet(probe.normalize(found.images[40:])).softmax(1)
    assert (missed.argmax(1) != labels).all()
    wrong = chances.argmax(1) != probe.labels
    worst = chances.max(1).values[wrong].sort(descending=True).values[: examples.NUM_MISSES]
    assert torch.allclose(missed.max(1).values, worst, atol=1e-6)


def test_vectors_of_neighbors_are_those_of_the_last_hidden_layer_to_a_level(lenet: Network) -> None:
    probe = probe_for(lenet, 50)
    found = examples.neighbors_of(lenet, probe)
    assert found is not None
    assert found.layer == "relu6"

    with torch.no_grad():
        exact = maps_at(lenet, probe.normalize(probe.images), "relu6")
    step = (found.high - found.low) / 255
    assert float((found.low + step * found.vectors.float() - exact).abs().max()) <= step / 2 + 1e-6
    assert found.labels == probe.labels.tolist()


def test_a_linear_network_has_no_neighbors(tmp_path: Path) -> None:
    assert "neighbors" not in content_of(write(built("linear"), tmp_path))


def test_neighbors_are_of_all_classes_in_a_set_sorted_by_class() -> None:
    labels = torch.arange(10).repeat_interleave(100)
    sorted_set = image_set(torch.zeros(1000, 1, 2, 2, dtype=torch.uint8), labels)
    chosen = examples.of_all_classes(sorted_set)
    assert labels[chosen].bincount().tolist() == [30] * 10


def test_a_mean_image_is_cut_to_what_the_network_sees(lenet: Network) -> None:
    mean = torch.arange(36.0 * 36).view(1, 36, 36)
    preprocessing = replace(preprocessing_for(lenet), image_size_pixels=36, mean=mean)
    subject = page.Subject(lenet, preprocessing, probe_for(lenet), "epoch 3", False)
    told = page._input(subject)
    assert told["mean"] == mean[:, 2:34, 2:34].flatten().tolist()
    assert (told["size"], told["stored_pixels"]) == (32, 36)


def test_the_page_is_asked_for_by_name_alone() -> None:
    assert not set(PAGES) & set(asked_for(["all"]))
    assert asked_for(["all", "playground"])[-1] == "playground"


def test_formats_beside_a_page_alone_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["visualize", "checkpoint=run", "what=playground", "formats=[svg]"]) == 2
    assert "a page is always HTML" in capsys.readouterr().err


def test_the_code_of_the_page_is_short() -> None:
    lines = [line for name in page.SCRIPTS for line in page.asset(name).splitlines()]
    assert len(lines) < MOST_LINES
    assert max(map(len, lines)) <= LONGEST_LINE
