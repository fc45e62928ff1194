"""Every claim: what its file says, what its arms differ in, and what it costs."""

import itertools
from pathlib import Path

import pytest

from cnnlab import models
from cnnlab.command import composing, line
from cnnlab.config import TrainConfig, claims, flat, to_plain
from cnnlab.config.claims import METRICS, SCALES, ClaimConfig
from cnnlab.config.verbs.reproduce import Words, arm_words
from cnnlab.errors import UsageError

NAMES = claims.names()
SOME = ("half_kernels", "middle_layers", "permuted_pixels", "fc_batches_of_workers")

MOST_MINUTES, MOST_MINUTES_OF_ONE = 90, 10
CORES = 2
SECONDS_PER_RUN = 8
"""Start of Python, reading the set, validation, test."""

NUM_IMAGES = {"mnist5k": 4000, "fashion_mnist": 60_000}
"""Training images before validation images are held out."""


def trainings(*names: str, scale: str = "laptop") -> dict[Words, TrainConfig]:
    """Compose the arms of claims, as the command does before its first run."""
    words = [f"claims={','.join(names)}", f"scale={scale}"]
    (job,) = composing.check(line.read("reproduce", words))
    return dict(job.trainings)


def names_of_differences(configs: list[TrainConfig]) -> set[str]:
    plains = [flat(to_plain(config)) for config in configs]
    keys = {key for plain in plains for key in plain}
    return {key for key in keys if len({str(plain.get(key, "absent")) for plain in plains}) > 1}


def within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def check_arms(claim: ClaimConfig, scale: str, composed: dict[Words, TrainConfig]) -> None:
    section = claim.at(scale)
    if not section.arms:
        return
    differing = names_of_differences(
        [composed[arm_words(section, arm.words)] for arm in section.arms]
    )
    named = claim.differs_in
    assert not [key for key in differing if not any(within(key, name) for name in named)]
    assert not [name for name in named if not any(within(key, name) for key in differing)]


def network_of(config: TrainConfig) -> tuple[list[str], list[float]]:
    """What an arm trains: its layers without their names, and its first weights."""
    dataset = config.dataset
    network = models.build(
        models.on_one_device(config.model),
        in_channels=1,
        input_size_pixels=dataset.image_size_pixels,
        num_classes=10,
        seed=0,
    )
    layers = [repr(layer.module) for layer in network.layers]
    return layers, [float(one.double().sum()) for one in network.state_dict().values()]


def check_that_arms_are_not_the_same(
    claim: ClaimConfig, composed: dict[Words, TrainConfig]
) -> None:
    """Arms that differ within the model alone must be different networks."""
    section = claim.laptop
    configs = [composed[arm_words(section, arm.words)] for arm in section.arms]
    for one, other in itertools.combinations(configs, 2):
        if all(key.startswith("model.") for key in names_of_differences([one, other])):
            assert network_of(one) != network_of(other), claim.sentence


def test_arms_differ_in_the_named_keys_alone_and_are_different_networks() -> None:
    composed = trainings(*SOME)
    for name in SOME:
        check_arms(claims.read(name), "laptop", composed)
        check_that_arms_are_not_the_same(claims.read(name), composed)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_all_arms_of_all_claims_compose_and_differ_in_the_named_keys_alone(scale: str) -> None:
    composed = trainings("all", scale=scale)
    for name in NAMES:
        check_arms(claims.read(name), scale, composed)
        if scale == "laptop":
            check_that_arms_are_not_the_same(claims.read(name), composed)


def images_of(config: TrainConfig) -> int:
    """Return how many training images a run sees."""
    dataset, trainer = config.dataset, config.trainer
    held = dataset.train_subset or NUM_IMAGES[dataset.name] - dataset.num_validation
    limit = (trainer.limit_train_batches or held) * trainer.batch_size
    return trainer.epochs * min(held, limit)


@pytest.mark.slow
def test_the_laptop_claims_fit_their_budget_and_state_their_images() -> None:
    composed = trainings("all")
    of_runs: dict[str, tuple[int, float]] = {}
    for name in NAMES:
        claim = claims.read(name)
        section = claim.laptop
        if not section.arms or claim.is_computed:
            assert section.images is None
            continue

        tried = len(section.search.values) if section.search else 0
        runs = claim.seeds + tried
        seen = [images_of(composed[arm_words(section, arm.words)]) for arm in section.arms]
        assert section.images == pytest.approx(sum(seen) * runs, rel=0.02), name

        assert section.images_per_second is not None
        each = [one / section.images_per_second + SECONDS_PER_RUN for one in seen]
        minutes = sum(each) * runs / CORES / 60
        assert minutes < MOST_MINUTES_OF_ONE, (name, minutes)
        for arm, seconds in zip(section.arms, each, strict=True):
            settings = str(to_plain(composed[arm_words(section, arm.words)]))
            of_runs[settings] = max((runs, seconds), of_runs.get(settings, (0, 0.0)))

    # arms with equal settings share their runs, so that each counts once
    total = sum(runs * seconds for runs, seconds in of_runs.values()) / CORES / 60
    assert total < MOST_MINUTES, total


# Written twice by intent: claims about one network look at runs that another claim has trained.
SHARED = {
    "answer_invariant": "permuted_pixels",
    "convolution_equivariant": "lrn_helps",
    "deeper_discriminates": "lrn_helps",
    "deeper_transfers": "lrn_helps",
    "invariance_grows": "lrn_helps",
    "neighbors_not_in_pixels": "lrn_helps",
    "neighbors_same_class": "lrn_helps",
}


@pytest.mark.parametrize(("name", "other"), SHARED.items())
def test_a_claim_about_finished_networks_trains_none_of_its_own(name: str, other: str) -> None:
    claim, source = claims.read(name), claims.read(other)
    there = {arm_words(source.laptop, arm.words) for arm in source.laptop.arms}
    assert {arm_words(claim.laptop, arm.words) for arm in claim.laptop.arms} <= there
    assert claim.seeds <= source.seeds


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_says_how_it_is_known_and_what_refutes_it(name: str) -> None:
    claim = claims.read(name)
    assert (claim.published == "-") == (claim.published_mark == "none")
    assert claim.refuted_by
    assert claim.source
    assert claim.is_computed or METRICS[claim.metric].per == "images" or 3 <= claim.seeds <= 10


BAD = {
    "metric: test_error": ("metric: test_eror", "metric must be one of"),
    "seeds: 3": ("seeds: three", "seeds must be an integer"),
    "statistic: diff": ("statistic: exact #", "does not fit"),
    "factor: 1": ("factor: 0", "no arm of laptop has a factor"),
    "statistic: difference\n": ("statistic: level\n", "needs a level"),
    "statistic: difference": ("statistic: difference\nlevel: 0.1", "needs a level"),
    "laptop:\n": ("laptop:\n  search: {key: a, values: [1], by: metric}\n", "chooses no setting"),
    "laptop:": ("laptop:\n  search: {key: a, values: [1], by: loss}", "search.by must be one of"),
    "full:\n": ("full:\n  search: 3\n", "search must be a mapping"),
}
GOOD = """\
sentence: a
source: b
published: "-"
published_mark: none
author_log: "-"
metric: test_error
statistic: difference
seeds: 3
refuted_by: c
laptop:
  arms:
    - {name: one, factor: 1, words: []}
full:
  needs: nothing
"""


@pytest.mark.parametrize("line_in_it", BAD)
def test_a_claim_that_cannot_be_is_refused_by_name(tmp_path: Path, line_in_it: str) -> None:
    other, message = BAD[line_in_it]
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert claims.read("mine", str(tmp_path)).full.needs == "nothing"
    (tmp_path / "mine.yaml").write_text(GOOD.replace(line_in_it, other))
    with pytest.raises(UsageError, match=f"claim 'mine'.*{message}"):
        claims.read("mine", str(tmp_path))


def test_one_arm_alone_is_compared_with_a_level(tmp_path: Path) -> None:
    with_level = GOOD.replace("statistic: difference", "statistic: level\nlevel: 0.1")
    (tmp_path / "mine.yaml").write_text(with_level)
    assert claims.read("mine", str(tmp_path)).level == 0.1

    arm = "    - {name: one, factor: 1, words: []}\n"
    (tmp_path / "mine.yaml").write_text(with_level.replace(arm, arm + arm.replace("one", "two")))
    with pytest.raises(UsageError, match=r"claim 'mine'.*compares one arm"):
        claims.read("mine", str(tmp_path))


def test_a_word_that_training_refuses_ends_the_command_before_the_first_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD.replace("words: []", "words: [model.drpout=1]"))
    request = line.read("reproduce", [f"claims_folder={tmp_path}"])
    with pytest.raises(UsageError, match="claim 'mine'"):
        composing.check(request)


def test_an_unknown_claim_and_a_sweep_are_refused() -> None:
    with pytest.raises(UsageError, match="no claim 'relu'"):
        composing.check(line.read("reproduce", ["claims=relu"]))
    with pytest.raises(UsageError, match="takes no sweep"):
        composing.check(line.read("reproduce", ["claims=parameters_in_fc", "scale=laptop", "-m"]))
