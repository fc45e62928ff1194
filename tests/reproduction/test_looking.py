"""The metrics that look into networks, against slow and obvious versions of the same."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnlab import data, interrupts
from cnnlab.config import parse_dataset
from cnnlab.errors import DataError, Interrupted
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.inference.probing import balanced_indices
from cnnlab.reproduction import (
    development,
    looking,
    moving,
    neighborhood,
    occluding,
    readout,
    strangers,
)
from cnnlab.reproduction.measure import Arm
from cnnlab.run_folder import RunFolder
from cnnlab.session import Session
from tests.app.test_evaluate import choice, write_checkpoint

CPU = torch.device("cpu")
SIDE = 32


def run_in(folder: Path, *seeds: int) -> Any:
    """A run with an untrained LeNet-5 for each seed as its checkpoints, and few training images."""
    (folder / "checkpoints").mkdir(parents=True)
    for step, seed in enumerate(seeds, start=1):
        path = folder / "checkpoints" / f"step_{step:08d}.safetensors"
        write_checkpoint(path, network="lenet5", seed=seed)
    dataset = parse_dataset(choice("dataset", "mnist5k") | {"train_subset": 120})
    config = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(path=folder, folder=RunFolder(folder), config=config)


def arm_of(folder: Path, *runs: Any, target: float | None = None) -> Arm:
    return Arm(runs, folder / "evaluations", Session(CPU, "fp32", False), target)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run_in(tmp_path_factory.mktemp("one") / "run", 0)


@pytest.fixture(scope="module")
def stored(run: Any) -> StoredNetwork:
    return open_network(run.path / "checkpoints" / "step_00000001.safetensors", CPU)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, so that what is obvious is not too slow."""
    for module, name, number in [
        (neighborhood, "NUM_QUERIES", 12),
        (moving, "NUM_IMAGES", 70),  # more than a batch
        (occluding, "NUM_IMAGES", 3),
        (development, "NUM_IMAGES", 80),
        (readout, "MOST_IMAGES", 60),
        (strangers, "MOST_IMAGES", 70),
    ]:
        monkeypatch.setattr(module, name, number)


def images_of_test(run: Any, stored: StoredNetwork, count: int) -> tuple[Tensor, Tensor]:
    """The first images of each class of the test split, uint8 [N,1,32,32], and their labels."""
    store = data.build(run.config.dataset).test
    chosen = balanced_indices(store.labels, count)
    raw = store.read(chosen).permute(0, 3, 1, 2)
    return stored.preprocessing.prepare(raw), store.labels[chosen]


def train_images(run: Any, stored: StoredNetwork) -> tuple[Tensor, Tensor]:
    store = data.build(run.config.dataset).train
    raw = store.read(torch.arange(len(store))).permute(0, 3, 1, 2)
    return stored.preprocessing.prepare(raw), store.labels


def outputs(stored: StoredNetwork, images: Tensor, layer: str) -> np.ndarray:
    with torch.no_grad():
        maps = stored.network.activations(stored.preprocessing.normalize(images), [layer])[layer]
    return maps.flatten(1).double().numpy()


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Every pixel read where it comes from; what is beyond the border is the border."""
    result = torch.empty_like(images)
    for row in range(SIDE):
        for column in range(SIDE):
            source = (min(max(row - down, 0), SIDE - 1), min(max(column - right, 0), SIDE - 1))
            result[..., row, column] = images[..., source[0], source[1]]
    return result


def nearest(query: np.ndarray, others: np.ndarray) -> list[int]:
    distances = [float(((query - other) ** 2).sum()) for other in others]
    return sorted(range(len(others)), key=lambda n: distances[n])[:6]


def test_neighbors_are_those_of_a_search_one_by_one(run: Any, stored: StoredNetwork, tmp_path):
    images, labels = images_of_test(run, stored, 12)
    others, classes = train_images(run, stored)
    layer = neighborhood.hidden_layer(stored.network)
    both, gains = [], []
    hidden = outputs(stored, images, layer), outputs(stored, others, layer)
    pixels = [
        stored.preprocessing.normalize(part).flatten(1).double().numpy()
        for part in (images, others)
    ]
    for n in range(12):
        near, near_in_pixels = nearest(hidden[0][n], hidden[1]), nearest(pixels[0][n], pixels[1])
        both.append(len(set(near) & set(near_in_pixels)) / 6)
        own = [sum(int(classes[i] == labels[n]) for i in found) for found in (near, near_in_pixels)]
        gains.append((own[0] - own[1]) / 6)

    arm = arm_of(tmp_path, run)
    assert neighborhood.shared_neighbors(arm) == pytest.approx(both)
    assert neighborhood.gain_of_features(arm) == pytest.approx(gains, abs=1e-7)
    assert 0 < sum(both) < 12


def changes_of(images: Tensor) -> Iterator[Tensor]:
    for down, right in [(0, 2), (2, 0), (0, -2), (-2, 0)]:
        yield moved(images, down, right)
    for factor in (0.9, 1.1):
        yield moving.scale(images, factor)


def test_stability_is_the_mean_over_images_and_changes(run: Any, stored: StoredNetwork, tmp_path):
    images, _ = images_of_test(run, stored, 70)
    hidden = moving.hidden_layer(stored.network)
    gains = []
    for changed in changes_of(images):
        for layer, sign in (("c1", 1), (hidden, -1)):
            still, other = (outputs(stored, part, layer) for part in (images, changed))
            for n in range(70):
                norm = np.linalg.norm(still[n])
                gains.append(2 * sign * np.linalg.norm(other[n] - still[n]) / norm)

    (found,) = moving.stability_of_depth(arm_of(tmp_path, run))
    assert found == pytest.approx(np.mean(gains), rel=1e-5)


def test_answers_are_counted_in_four_directions(run: Any, stored: StoredNetwork, tmp_path):
    store = data.build(run.config.dataset).test
    images = stored.preprocessing.prepare(store.read(torch.arange(1000)).permute(0, 3, 1, 2))

    def answers(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return stored.network(stored.preprocessing.normalize(pixels)).argmax(1)

    still = answers(images)
    ways = [moved(images, *by) for by in [(0, 3), (3, 0), (0, -3), (-3, 0)]]
    expected = np.mean([float((answers(one) != still).float().mean()) for one in ways])
    (found,) = moving.answers_changed(arm_of(tmp_path, run, target=3))
    assert found == pytest.approx(expected, abs=0.003)  # batches of other sizes may round otherwise
    assert found > 0


def test_a_convolution_moves_with_the_image(run: Any, tmp_path: Path) -> None:
    (error,) = moving.equivariance_error(arm_of(tmp_path, run))
    assert error < 1e-5


def test_what_was_measured_is_not_measured_again(run: Any, tmp_path: Path) -> None:
    arm = arm_of(tmp_path, run)
    first = moving.equivariance_error(arm)
    (path,) = (tmp_path / "evaluations").glob("*.json")
    assert path.name == "run_equivariance.json"
    path.write_text("0.25")
    assert moving.equivariance_error(arm) == [0.25] != first


def test_a_request_to_stop_ends_a_measurement_at_once(run: Any, tmp_path: Path) -> None:
    def asked_to_stop(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")

    with interrupts.watching(), pytest.raises(Interrupted) as caught:
        looking.of_each_run(arm_of(tmp_path, run), "any", asked_to_stop)
    assert caught.value.exit_code == 143
    assert not (tmp_path / "evaluations").exists()


def test_a_read_out_is_least_squares_with_the_penalty_of_least_validation_error() -> None:
    generator = torch.Generator().manual_seed(4)
    centers = torch.randn(3, 7, dtype=torch.float64, generator=generator)

    def some(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 3
        noise = torch.randn(count, 7, dtype=torch.float64, generator=generator)
        return centers[labels] + 1.5 * noise + 2, labels

    sets = [some(30), some(60), some(60)]
    found = [primal(sets, ridge) for ridge in sorted(readout.RIDGES, reverse=True)]
    expected = min(found, key=lambda errors: errors[0])[1]
    assert readout.readout_error(sets, 3) == pytest.approx(expected)
    assert 0 < expected < 0.6


def primal(sets: list[tuple[Tensor, Tensor]], ridge: float) -> list[float]:
    """Errors on the last two sets of weights [7,3] that are solved for themselves."""
    (train, labels), *others = ((features.numpy(), known.numpy()) for features, known in sets)
    center, targets = train.mean(0), np.eye(3)[labels]
    inputs = train - center
    penalty = ridge * (inputs**2).sum(1).mean()
    weights = np.linalg.solve(
        inputs.T @ inputs + penalty * np.eye(7), inputs.T @ (targets - targets.mean(0))
    )
    return [
        float((((features - center) @ weights + targets.mean(0)).argmax(1) != known).mean())
        for features, known in others
    ]


def test_both_read_outs_take_the_first_pooling_and_the_last_hidden_layer(
    run: Any, stored: StoredNetwork, tmp_path: Path
) -> None:
    arm = arm_of(tmp_path, run)
    (own,), (elsewhere,) = readout.gain_of_depth(arm), readout.gain_of_depth_elsewhere(arm)
    assert own != elsewhere  # mnist5k with 120 training images, and all of it
    names = [one.name for one in stored.network.layers]
    first, last = "s2", readout.hidden_layer(stored.network)
    assert names.index(first) < names.index(last)
    splits = data.build(run.config.dataset)
    errors = [readout._error(stored, splits, name) for name in (first, last)]
    assert own == pytest.approx(errors[0] - errors[1])


def test_likeness_is_the_mean_correlation_and_a_dead_unit_has_none() -> None:
    generator = torch.Generator().manual_seed(5)
    answers, end = torch.randn(2, 20, 3, generator=generator)
    answers[:, 1] = 4
    expected = [np.corrcoef(answers[:, k], end[:, k])[0, 1] if k != 1 else 0 for k in range(3)]
    assert development.likeness(answers, end) == pytest.approx(np.mean(expected), rel=1e-5)
    assert development.likeness(end, end) == pytest.approx(1)


def test_late_features_are_read_from_the_kept_checkpoints(tmp_path: Path) -> None:
    """The second network is the last one: its likeness is 1 in both layers."""
    run = run_in(tmp_path / "run", 0, 1, 1)
    (found,) = development.late_features(arm_of(tmp_path, run))

    networks = [
        open_network(tmp_path / f"run/checkpoints/step_0000000{n}.safetensors", CPU) for n in (1, 3)
    ]
    images, _ = images_of_test(run, networks[0], 80)
    early, end = [
        [outputs(one, images, name).reshape(80, -1, side * side).max(2) for name, side in LAYERS]
        for one in networks
    ]
    like = [
        np.mean([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(a.shape[1])])
        for a, b in zip(early, end, strict=True)
    ]
    assert found == pytest.approx((like[0] + 1) / 2 - (like[1] + 1) / 2, abs=1e-5)


LAYERS = (("c1", 28), ("c5", 1))


def test_a_run_with_too_few_checkpoints_is_named(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", 0, 1)
    with pytest.raises(DataError, match="too few checkpoints"):
        development.late_features(arm_of(tmp_path, run))


def test_an_object_is_found_where_covering_costs_most(run: Any, stored: StoredNetwork, tmp_path):
    found = occluding.found_objects(arm_of(tmp_path, run))
    images, labels = images_of_test(run, stored, 3)
    room = stored.preprocessing.pad_pixels
    generator = occluding.make_generator(0, "found_objects")
    offsets = torch.randint(-room, room + 1, (3, 2), generator=generator).tolist()

    expected = []
    for image, label, (down, right) in zip(images, labels, offsets, strict=True):
        on_canvas, chances = moved(image, down, right), {}
        for row in range(0, SIDE, 2):
            for column in range(0, SIDE, 2):
                covered = on_canvas.clone()
                top, left = max(row - 2, 0), max(column - 2, 0)
                level = round(float(stored.preprocessing.mean.mean()))
                covered[:, top : row + 2, left : column + 2] = level
                with torch.no_grad():
                    scores = stored.network(stored.preprocessing.normalize(covered[None]))
                chances[row, column] = float(scores.softmax(1)[0, label])
        inside = {
            (r, c): room + down <= r < SIDE - room + down
            and room + right <= c < SIDE - room + right
            for r, c in chances
        }
        best = min(chances, key=lambda place: chances[place])
        expected.append(inside[best] - np.mean(list(inside.values())))
    assert found == pytest.approx(expected)


def test_images_without_a_border_have_no_place_to_be_found(run: Any, monkeypatch, tmp_path):
    network = occluding.opened(arm_of(tmp_path, run), run)
    object.__setattr__(network.preprocessing, "pad_pixels", 0)
    monkeypatch.setattr(occluding, "opened", lambda *_: network)
    with pytest.raises(DataError, match="no border"):
        occluding.found_objects(arm_of(tmp_path, run))


def test_strangers_are_told_by_a_certainty_that_every_pair_is_compared_in(
    run: Any, stored: StoredNetwork, tmp_path: Path
) -> None:
    sizes = {"image_size_pixels": SIDE, "num_train": 100, "num_validation": 10, "num_test": 80}
    other = parse_dataset(choice("dataset", "synthetic") | sizes)
    found = []
    for store in (data.build(run.config.dataset).test, data.build(other).test):
        pixels = stored.preprocessing.prepare(store.read(torch.arange(70)).permute(0, 3, 1, 2))
        with torch.no_grad():
            scores = stored.network.eval()(stored.preprocessing.normalize(pixels))
        found.append(scores.double().softmax(1).amax(1).tolist())

    pairs = [(one > two) + (one == two) / 2 for one in found[0] for two in found[1]]
    arm = replace(arm_of(tmp_path, run), other_set=other)
    assert strangers.rejects_strangers(arm) == pytest.approx([sum(pairs) / len(pairs)], abs=1e-9)
