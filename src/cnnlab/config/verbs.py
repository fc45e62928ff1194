"""Settings of the commands that read what a training wrote."""

from dataclasses import dataclass, replace
from typing import Any

from cnnlab.config.data import DatasetConfig
from cnnlab.config.schema import setting
from cnnlab.config.surroundings import EvaluationConfig, RuntimeConfig
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class StoredDatasetConfig:
    """The set that the checkpoint was trained on; what is not null replaces the stored value."""

    name: str = setting("checkpoint: the set named in the checkpoint", choices=("checkpoint",))
    root: str | None = setting("folder that holds the files")
    download: bool | None = setting("fetch missing files from the set's public home into root")
    residency: str | None = setting(
        "where the pixels stay", choices=("auto", "device", "host", "mapped")
    )
    on_bad: str | None = setting("files that hold no image", choices=("fail", "skip"))

    def applied_to(self, stored: DatasetConfig) -> DatasetConfig:
        """Return the set of a checkpoint with this command's values in it.

        Raises UsageError for a value of a setting that the stored set does not have.
        """
        asked: dict[str, Any] = {
            "root": self.root,
            "download": self.download,
            "residency": self.residency,
            "on_bad": self.on_bad,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        unknown = [key for key, value in given.items() if value and not hasattr(stored, key)]
        if unknown:
            raise UsageError(
                f"dataset '{stored.name}', which the checkpoint names, has no setting "
                f"'{unknown[0]}'",
                hint="leave it out, or name another set to test on: dataset=NAME",
            )
        return replace(stored, **{key: given[key] for key in given if hasattr(stored, key)})


@dataclass(kw_only=True)
class EvaluateConfig:
    """`cnnlab evaluate`."""

    checkpoint: list[str] = setting("checkpoints, run folders, or latest; several: an ensemble")
    dataset: DatasetConfig | StoredDatasetConfig
    split: str = setting("images to test on", choices=("test", "validation", "train"))
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    weights: list[float] | None = setting(
        "of the checkpoints in the average; null: equal", at_least=0
    )
    batch_size: int = setting("images at once", at_least=1)
    save_probabilities: bool = setting("keep every image's answers, by member and view")
    output: str | None = setting(
        "folder of report, result and probabilities; null: in the run folder"
    )
    format: str = setting("of the answer", choices=("text", "json"))
    plugins: list[str] = setting("Python modules that register models of your own")


@dataclass(kw_only=True)
class PredictConfig:
    """`cnnlab predict`."""

    checkpoint: list[str] = setting("checkpoints, run folders, or latest; several: an ensemble")
    images: list[str] = setting("picture files and folders of them")
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    pictures: str = setting(
        "auto: digits photographed on paper are brought to MNIST's form; as_is: never",
        choices=("auto", "as_is"),
    )
    top: int = setting("classes named for each picture", at_least=1)
    format: str = setting("of the answer", choices=("text", "csv", "json"))
    plugins: list[str] = setting("Python modules that register models of your own")


@dataclass(kw_only=True)
class CompareConfig:
    """`cnnlab compare`."""

    runs: list[str] = setting("run folders, or latest")
    output: str | None = setting("page with tables and overlaid curves; null: none is written")
    format: str = setting("of the answer", choices=("text", "json"))
