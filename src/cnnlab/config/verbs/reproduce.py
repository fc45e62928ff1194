"""Settings of `cnnlab reproduce`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnnlab.config import claims
from cnnlab.config.bounds import MOST_THREADS
from cnnlab.config.checks import check_runtime, refuse_empty
from cnnlab.config.claims import MOST_SEEDS, SCALES, ClaimConfig, ScaleConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError
from cnnlab.safe_output import listed

ALL = "all"


@dataclass(kw_only=True)
class ReproduceConfig:
    """`cnnlab reproduce`."""

    claims: list[str] = setting("claims to measure, or all; cnnlab list claims shows them")
    claims_folder: str | None = setting("folder of claims of your own; null: those of cnnlab")
    scale: str = setting(
        "laptop tests the direction of each claim, not the size; full has the papers' set-ups",
        choices=SCALES,
    )
    seeds: int | None = setting(
        "seeds of each arm; null: as many as each claim has fixed", at_least=1, at_most=MOST_SEEDS
    )
    at_once: int | None = setting(
        "runs in parallel; null: one per core on a CPU, one on a GPU",
        at_least=1,
        at_most=MOST_THREADS,
    )
    cifar10_root: str | None = setting("folder of CIFAR-10; null: none")
    fashion_mnist_root: str | None = setting("folder of Fashion-MNIST; null: its usual place")
    imagenet_root: str | None = setting("folder of ImageNet 2012; null: none")
    imagenet_2010_root: str | None = setting("folder of ImageNet 2010; null: none")
    mnist_root: str | None = setting("folder of MNIST; null: none")
    output: str = setting("folder of the runs, reproduction.html and reproduction.json")
    format: str = setting("output format", choices=("text", "json"))
    runtime: RuntimeConfig

    @property
    def roots(self) -> dict[str, str]:
        """Return the folders of image sets that were named, by the name of the set."""
        named = {
            "cifar10": self.cifar10_root,
            "fashion_mnist": self.fashion_mnist_root,
            "imagenet": self.imagenet_root,
            "imagenet_2010": self.imagenet_2010_root,
            "mnist": self.mnist_root,
        }
        return {name: root for name, root in named.items() if root is not None}

    @property
    def names(self) -> list[str]:
        """Return the names of the claims asked for, each once, in order."""
        known = claims.names(self.claims_folder)
        asked = known if self.claims == [ALL] else list(dict.fromkeys(self.claims))
        for name in asked:
            if name not in known:
                raise UsageError(
                    f"no claim '{name}'", f"available: {listed(known)}", "or claims=all"
                )
        return asked

    @cached_property
    def found(self) -> dict[str, ClaimConfig]:
        """The claims asked for by name, read once. Raises UsageError for one that cannot be."""
        return {name: claims.read(name, self.claims_folder) for name in self.names}


def parse_reproduce(plain: dict[str, Any]) -> ReproduceConfig:
    """Check and type what `cnnlab reproduce` was given."""
    config = parse(ReproduceConfig, plain)
    check_runtime(config.runtime)
    refuse_empty(config.claims, "claims", "claims=all; cnnlab list claims shows them")
    if not config.found:
        raise UsageError(f"there is no claim in {config.claims_folder}", hint="one YAML file each")
    return config


Words = tuple[str, ...]
"""Words of a training, as `Launch.trainings` has them."""


def trainings(config: ReproduceConfig) -> dict[Words, str]:
    """Return the words of every training that the claims may start, with the claim that does."""
    return {
        words: name
        for name, claim in config.found.items()
        for words in words_of(claim.at(config.scale))
    }


def words_of(section: ScaleConfig) -> Iterator[Words]:
    """Yield the words of each arm, and those with each value that its search tries."""
    for arm in section.arms:
        yield arm_words(section, arm.words)
        if section.search is not None:
            for value in section.search.values:
                yield searched_words(section, arm.words, value)


def arm_words(section: ScaleConfig, words: list[str]) -> Words:
    """Return the words of an arm."""
    return (*section.words, *words)


def searched_words(section: ScaleConfig, words: list[str], value: float) -> Words:
    """Return the words of an arm with a value of its search."""
    assert section.search is not None
    return (*arm_words(section, words), f"{section.search.key}={value:g}")
