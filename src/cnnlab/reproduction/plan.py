"""Which runs the claims need: one ordinary run folder for each arm and seed, shared where equal."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.config import (
    DatasetConfig,
    ReproduceConfig,
    TrainConfig,
    choices,
    parse_dataset,
    to_plain,
)
from cnnlab.config.claims import METRICS, ClaimConfig, ScaleConfig
from cnnlab.config.verbs.reproduce import Words, arm_words, searched_words
from cnnlab.data.inventory import inspect
from cnnlab.reproduction.choosing import Candidate, PlannedRun, Search

RUNS = "runs"
DIGEST_DIGITS = 10

SEARCH_SEED = 1000
"""Seed of the runs that choose a setting, apart from the seeds that are measured."""


@dataclass(frozen=True)
class ArmPlan:
    """One arm of a claim. search: what it tries before its seeds run, None: nothing."""

    name: str
    factor: float
    words: Words
    config: TrainConfig
    search: Search | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What its search tries."""
        return self.search.candidates if self.search is not None else ()

    @property
    def words_used(self) -> Words:
        """Its words, with the value that its search has chosen."""
        return self.search.chosen.words if self.search is not None else self.words

    @property
    def settings(self) -> list[Any]:
        """All that its figures depend on, as plain data."""
        tried = self.search.settings if self.search is not None else []
        return [self.factor, to_plain(self.config), tried]


@dataclass(frozen=True)
class ClaimPlan:
    """A claim with what it takes here. missing: why it is not measured; empty if it is.

    other_set: image set that its metric needs beside those of the arms.
    """

    name: str
    claim: ClaimConfig
    section: ScaleConfig
    num_seeds: int
    arms: tuple[ArmPlan, ...]
    missing: str = ""
    other_set: DatasetConfig | None = None

    @property
    def needs_runs(self) -> bool:
        """Whether anything is trained for it."""
        return not self.missing and not self.claim.is_computed

    @property
    def scale(self) -> str:
        """The scale that its arms are of."""
        return "laptop" if self.section is self.claim.laptop else "full"

    @property
    def settings(self) -> str:
        """A digest of all that its figures depend on, runs and what is measured of them."""
        claim, arms = self.claim, [arm.settings for arm in self.arms]
        compared = [claim.metric, claim.target, claim.statistic, claim.level, claim.expected]
        return digest([self.name, self.scale, self.num_seeds, compared, arms])


class Planner:
    """Plans of claims, with all their runs below `output`.

    trainings: the composed settings of every arm, by its words. num_threads: of each run, where the
    user has asked for no number.
    """

    def __init__(
        self,
        config: ReproduceConfig,
        trainings: Mapping[Words, TrainConfig],
        num_threads: int | None,
    ) -> None:
        self.config, self.trainings = config, trainings
        self.base = Path(config.output) / RUNS
        threads = config.runtime.num_threads or num_threads
        self.runtime = dataclasses.replace(config.runtime, num_threads=threads)
        self._missing: dict[str, str] = {}

    def plan(self, name: str, claim: ClaimConfig) -> ClaimPlan:
        """Return what a claim takes at the scale asked for."""
        section = claim.at(self.config.scale)
        num_seeds = self.config.seeds or claim.seeds
        if not section.arms:
            return ClaimPlan(name, claim, section, num_seeds, (), f"needs {section.needs}")

        arms = tuple(self._arm(claim, section, number) for number in range(len(section.arms)))
        sets = [] if claim.is_computed else [arm.config.dataset for arm in arms]
        other_set = self._other_set(METRICS[claim.metric].other_set, sets)
        needed = sets if other_set is None else [*sets, other_set]
        missing = next(filter(None, map(self._lack, needed)), "")
        if missing and section.needs:
            missing = f"needs {section.needs}"
        return ClaimPlan(name, claim, section, num_seeds, arms, missing, other_set)

    def _other_set(self, name: str, sets: Sequence[DatasetConfig]) -> DatasetConfig | None:
        """Return an image set in the size of the arms' images; None without a name."""
        if not name:
            return None
        (first, *_) = sets
        sizes = {"image_size_pixels": first.image_size_pixels, "pad_pixels": first.pad_pixels}
        return self._rooted(parse_dataset(choices.alone("dataset", name) | sizes))

    def _arm(self, claim: ClaimConfig, section: ScaleConfig, number: int) -> ArmPlan:
        arm = section.arms[number]
        words = arm_words(section, arm.words)
        own = self._own(self.trainings[words])
        return ArmPlan(arm.name, arm.factor, words, own, self._search(claim, section, arm.words))

    def _search(self, claim: ClaimConfig, section: ScaleConfig, words: list[str]) -> Search | None:
        """Return what an arm tries, each value in a run of its own."""
        search, images = section.search, images_per_run(claim, section)
        if search is None:
            return None

        candidates = []
        for value in search.values:
            tried = searched_words(section, words, value)
            run = self.run(self._own(self.trainings[tried]), SEARCH_SEED, images)
            candidates.append(Candidate(value, tried, run))
        metric = claim.metric if search.by_metric else None
        return Search(search.key, tuple(candidates), metric, claim.target)

    def runs_of(self, plan: ClaimPlan, arm: ArmPlan) -> list[PlannedRun]:
        """Return the runs of an arm by seed; the search of the arm, if any, must have ended."""
        config = arm.search.chosen.run.config if arm.search is not None else arm.config
        images = images_per_run(plan.claim, plan.section)
        return [self.run(config, seed, images) for seed in range(plan.num_seeds)]

    def run(self, config: TrainConfig, seed: int, images: float) -> PlannedRun:
        """Return a run whose folder is named after its settings, so that equal ones are shared."""
        config = dataclasses.replace(config, seed=seed)
        name = f"{config.model.name}_{config.dataset.name}_seed{seed}_{digest(to_plain(config))}"
        return PlannedRun(self.base / name, config, images)

    def _own(self, config: TrainConfig) -> TrainConfig:
        """Return the settings of a run of ours: the machine's, and without pages and pictures."""
        logging = dataclasses.replace(
            config.logging,
            progress=False,
            tensorboard=False,
            report=False,
            images_every_epochs=None,
        )
        dataset = self._rooted(config.dataset)
        return dataclasses.replace(config, logging=logging, dataset=dataset, runtime=self.runtime)

    def _rooted(self, dataset: DatasetConfig) -> DatasetConfig:
        """Return a set in the folder that the user has named for it, if any."""
        if (root := self.config.roots.get(dataset.name)) is not None:
            dataset = copy.copy(dataset)
            dataset.root = root  # type: ignore[attr-defined]  # of every such set
        return dataset

    def _lack(self, dataset: DatasetConfig) -> str:
        """Return why the images of a set cannot be read; empty where they can."""
        key = f"{dataset.name} {getattr(dataset, 'root', None)}"
        if key not in self._missing:
            facts: dict[str, Any] = inspect(dataset)
            first = str(facts.get("missing", "")).partition("\n")[0]
            self._missing[key] = "" if facts["present"] else f"needs {dataset.name}: {first}"
        return self._missing[key]


def digest(plain: Any) -> str:
    """Return the first digits of a digest of plain data."""
    text = json.dumps(plain, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


def images_per_run(claim: ClaimConfig, section: ScaleConfig) -> float:
    """Return about how many images one run of a claim sees, from what its file states."""
    tried = len(section.search.values) if section.search is not None else 0
    runs = len(section.arms) * (claim.seeds + tried)
    return (section.images or 0) / max(1, runs)


def searches(plans: Sequence[ClaimPlan]) -> list[PlannedRun]:
    """Return the runs that choose settings, each once."""
    return _each_once(
        candidate.run
        for plan in plans
        if plan.needs_runs
        for arm in plan.arms
        for candidate in arm.candidates
    )


def measured_runs(planner: Planner, plans: Sequence[ClaimPlan]) -> list[PlannedRun]:
    """Return the runs that are measured, each once; all searches must have ended."""
    return _each_once(
        run
        for plan in plans
        if plan.needs_runs
        for arm in plan.arms
        for run in planner.runs_of(plan, arm)
    )


def _each_once(runs: Any) -> list[PlannedRun]:
    return list({run.path: run for run in runs}.values())
