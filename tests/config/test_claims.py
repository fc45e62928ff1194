"""Every claim: what its file says, what its arms differ in, and what it costs."""

from pathlib import Path

import pytest

from cnnlab.command import composing, line
from cnnlab.config import TrainConfig, claims, flat, to_plain
from cnnlab.config.claims import METRICS, SCALES, ClaimConfig
from cnnlab.config.verbs.reproduce import Words, arm_words
from cnnlab.errors import UsageError

NAMES = claims.names()
SOME = ("half_kernels", "permuted_pixels", "fc_batches_of_workers")

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


def test_arms_differ_in_the_named_keys_alone() -> None:
    composed = trainings(*SOME)
    for name in SOME:
        check_arms(claims.read(name), "laptop", composed)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_all_arms_of_all_claims_compose_and_differ_in_the_named_keys_alone(scale: str) -> None:
    composed = trainings("all", scale=scale)
    for name in NAMES:
        check_arms(claims.read(name), scale, composed)


def images_of(config: TrainConfig) -> int:
    """Return how many training images a run sees."""
    dataset, trainer = config.dataset, config.trainer
    held = dataset.train_subset or NUM_IMAGES[dataset.name] - dataset.num_validation
    limit = (trainer.limit_train_batches or held) * trainer.batch_size
    return trainer.epochs * min(held, limit)


@pytest.mark.slow
def test_the_laptop_claims_fit_their_budget_and_state_their_images() -> None:
    composed = trainings("all")
    total = 0.0
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
        seconds = section.images / section.images_per_second
        seconds += SECONDS_PER_RUN * runs * len(section.arms)
        assert seconds / CORES / 60 < MOST_MINUTES_OF_ONE, (name, seconds / CORES / 60)
        total += seconds / CORES / 60
    assert total < MOST_MINUTES, total


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
    "statistic: difference": ("statistic: exact", "does not fit"),
    "factor: 1": ("factor: 0", "no arm of laptop has a factor"),
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
