"""The page in a real browser; slow, and skipped where there is none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cnnlab
from cnnlab.cli import main
from cnnlab.models import Network
from cnnlab.safe_output import escape_control
from tests.hostile_names import NAMES
from tests.playground import browser
from tests.playground.browser import Browser, needs_browser
from tests.playground.networks import NETWORKS, built
from tests.playground.pages import preprocessing_for, probe_for, random_images, write

pytestmark = [pytest.mark.slow, needs_browser]

SCORES = """
unpacked($("example-images").textContent).then((bytes) => {
  const length = network.values[0].length, found = [];
  for (let n = 0; n < 100; n++) {
    const levels = bytes.subarray(n * length, (n + 1) * length);
    found.push([...network.run(normalized({ data: levels }, input))]);
  }
  return found;
})
"""
TRAIN = [
    *("train", "model=lenet5", "trainer.epochs=2", "dataset.train_subset=1000", "saving.keep=5"),
    *("runtime.num_threads=1", "logging.images_every_epochs=null", "logging.report=false"),
    *("saving.every_epochs=1", "hydra.run.dir=run"),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.started(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(opened: Browser) -> Iterator[Browser]:
    """A browser whose pages must have written nothing to the console."""
    opened.messages.clear()
    yield opened
    assert opened.messages == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small training on real digits, and its page."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(TRAIN) == 0
        words = ["checkpoint=run", "what=playground", "num_images=20", "runtime.num_threads=1"]
        assert main(["visualize", *words]) == 0
    return home / "run"


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_scores_of_100_images_are_torchs(name: str, page: Browser, tmp_path: Path) -> None:
    network = built(name)
    path = write(network, tmp_path, replace(probe_for(network, 100), image_set=None))
    page.open(path)
    found = torch.tensor(page.ask(SCORES))

    wanted = network(preprocessing_for(network).normalize(random_images(network, 100)))
    scale = max(1.0, float(wanted.abs().max()))
    assert float((found - wanted).abs().max()) <= 1e-4 * scale
    assert (found.argmax(1) == wanted.argmax(1)).all()


def draw_a_seven(page: Browser) -> None:
    box = page.box("#pad")

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.ask("$('clear').click()")
    across = [at(0.3 + 0.04 * i, 0.22) for i in range(11)]
    down = [at(0.7 - 0.025 * i, 0.22 + 0.06 * i) for i in range(11)]
    page.drag(*across, *down)


def test_drawing_gives_the_answer_of_predict(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    draw_a_seven(page)
    pad = page.ask("[...levelsOf(paint, 256, 256, 1).data]")
    shares = page.ask("softmax(network.values.at(-1))")

    drawn = np.array(pad, dtype=np.uint8).reshape(256, 256)
    assert 1000 < int((drawn == 255).sum()) < 20_000
    (wanted,) = cnnlab.load(run, device="cpu").predict([drawn]).probabilities.tolist()
    assert np.allclose(shares, wanted, atol=0.01)
    assert page.ask("document.querySelector('.best .name').textContent") == "7"

    page.ask("$('invert').click()")  # dark ink on bright paper is the same digit
    page.settled()
    assert np.allclose(page.ask("softmax(network.values.at(-1))"), wanted, atol=0.02)


def test_a_picture_file_gives_the_answer_of_predict(page: Browser, run: Path) -> None:
    rows, columns = np.mgrid[:90, :120]
    photograph = np.where(abs(columns - 60) + abs(rows - 45) // 9 < 8, 40, 220).astype(np.uint8)
    page.open(run / "pictures" / "playground.html")
    page.ask(f"""(async () => {{
      const canvas = el("canvas", {{ width: 120, height: 90 }}), pixels = new ImageData(120, 90);
      {photograph.flatten().tolist()}.forEach((v, i) => pixels.data.set([v, v, v, 255], 4 * i));
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      await read(await new Promise((done) => canvas.toBlob(done)));
    }})()""")
    page.settled()
    (wanted,) = cnnlab.load(run, device="cpu").predict([photograph]).probabilities.tolist()
    assert np.allclose(page.ask("softmax(network.values.at(-1))"), wanted, atol=0.02)


def test_a_touched_unit_shows_its_sum_and_what_it_sees(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    page.ask("views[3].canvas.scrollIntoView({ block: 'center' })")
    box = page.box(".layer:nth-child(4) canvas")
    step, scale = page.ask("[views[3].step[0], views[3].scale]")
    x, y = box["x"] + 2 * step + 4.5 * scale, box["y"] + 3.5 * scale
    page.drag((x, y))
    page.wait_for("!!document.querySelector('.value')")

    assert page.ask("state.unit") == {"layer": 4, "channel": 2, "row": 3, "column": 4}
    said = page.ask("$('explained').textContent")
    value = page.ask("network.values[4][2 * 100 + 34]")
    assert said.startswith("c3 · map 2 · row 3, column 4")
    assert said.count("its kernel") == 6
    assert f"= {value:.2f}".replace("-", "−") in said
    corners = "[part.top, part.left, part.bottom, part.right]"
    found = page.ask(f"((part) => {corners})(network.trail(4, 2, 3, 4)[0])")
    assert found == [6, 8, 19, 21]
    assert not page.ask("$('back').hidden")

    page.ask("$('slide').click()")
    page.wait_for("state.unit.row > 0")
    page.ask("letGo()")
    page.settled()
    assert page.ask("$('explained').textContent").strip().startswith("Touch a unit")


def test_every_layer_explains_every_kind_of_unit(page: Browser, tmp_path: Path) -> None:
    for name in (
        "mlp",
        "linear",
        "lenet5_1998",
        "lenet5_textbook",
        "cifar_11pct",
        "alexnet_batch",
        "alexnet_source",
    ):
        network = built(name)
        page.open(write(network, tmp_path))
        for number in range(1, len(network.layers) + 1):
            page.ask(f"touch({number}, 0, 0, 0), explained = 0, answer()")
            said = page.ask("$('explained').textContent")
            assert said.startswith(network.layers[number - 1].name), said
            assert "NaN" not in said
            assert "undefined" not in said


@torch.no_grad()
def test_arrow_keys_move_the_picture_and_the_maps(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    before = np.array(page.ask("[...shown().data]")).reshape(32, 32)
    maps = np.array(page.ask("[...network.values[1]]")).reshape(6, 28, 28)
    for name in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.key(name)

    after = np.array(page.ask("[...shown().data]")).reshape(32, 32)
    moved = np.array(page.ask("[...network.values[1]]")).reshape(6, 28, 28)
    assert (after[1:, 2:] == before[:-1, :-2]).all()
    assert not after[0].any()
    assert np.allclose(moved[:, 1:, 2:], maps[:, :-1, :-2])
    assert page.ask("$('moved').textContent") == "moved 2 right, 1 down"
    page.ask("document.querySelector('[data-move=\"0,0\"]').click()")
    page.settled()
    assert (np.array(page.ask("[...shown().data]")).reshape(32, 32) == before).all()


def test_the_pointer_and_shift_with_arrows_cover_a_part(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    box = page.box("#seen")
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.press_at(*middle)
    covered = np.array(page.ask("[...shown().data]")).reshape(32, 32)
    assert (covered[13:19, 13:19] == 128).all()
    page.release_at(*middle)
    assert page.ask("state.cover") is None

    page.key("ArrowLeft", shift=True)
    assert page.ask("state.cover") == [14, 16]
    page.key("Escape")
    assert page.ask("state.cover") is None


def test_keys_go_from_unit_to_unit(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    page.ask("views[0].canvas.focus()")
    for name in ("Enter", "ArrowDown", "ArrowRight", "PageDown"):
        page.key(name)
    assert page.ask("state.unit") == {"layer": 1, "channel": 1, "row": 15, "column": 15}
    assert page.ask("state.shift") == [0, 0]


def test_the_slider_goes_through_the_epochs(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html")
    moments = page.ask("content.moments")
    assert moments == ["epoch 1", "epoch 2"]
    page.ask("$('moments').value = 0, $('moments').dispatchEvent(new Event('input'))")
    page.wait_for("$('nearest').hidden")
    page.settled()

    picture = torch.tensor(page.ask("[...shown().data]"), dtype=torch.uint8).view(1, 1, 32, 32)
    picture = picture[..., 2:30, 2:30]  # a picture of 28 pixels is taken as it is
    first = min((run / "checkpoints").glob("step_*"))
    wanted = cnnlab.load(first, device="cpu").predict(picture).probabilities[0].tolist()
    assert np.allclose(page.ask("softmax(network.values.at(-1))"), wanted, atol=1e-4)
    assert page.ask("$('moment').textContent") == "epoch 1"


def test_hostile_class_names_are_shown_as_text(page: Browser, tmp_path: Path) -> None:
    for first in range(0, len(NAMES), 10):
        names = (*NAMES[first : first + 10], *("x",) * 10)[:10]
        network: Network = built("lenet5")
        page.open(write(network, tmp_path, probe_for(network, names=names)))
        shown = page.ask("[...document.querySelectorAll('.name')].map((one) => one.textContent)")
        assert all(s[:39] == escape_control(n)[:39] for s, n in zip(shown, names, strict=True))
        assert page.ask("document.querySelectorAll('b, img, iframe').length") == 0


def test_every_layer_answers_on_a_phone_and_in_the_dark(page: Browser, run: Path) -> None:
    page.open(run / "pictures" / "playground.html", width=390, height=844, dark=True)
    draw_a_seven(page)
    assert page.ask("document.documentElement.scrollWidth") <= 390
    assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(19, 21, 25)"
    layers = [layer.name for layer in cnnlab.load(run, device="cpu").model.layers]
    assert page.ask("[...document.querySelectorAll('h3')].map((one) => one.textContent)") == layers
    unnamed = page.ask("""[...document.querySelectorAll("canvas[role], button, input")].filter(
      (one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length)).length""")
    assert unnamed == 0
