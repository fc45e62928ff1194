"""Settings of evaluation, the machine and logging."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class EvaluationConfig:
    """The central view of each image: what training validates with."""

    name: str = setting("views whose probabilities are averaged")


@dataclass(kw_only=True)
class CroppedEvaluationConfig(EvaluationConfig):
    """Several crops of each image, and for ten_view their reflections."""

    padding_pixels: int | None = setting(
        "black border around the image before cutting; null: the border of training", at_least=0
    )


EVALUATIONS: dict[str, type[EvaluationConfig]] = {
    "center": EvaluationConfig,
    "five_crop": CroppedEvaluationConfig,
    "ten_view": CroppedEvaluationConfig,
    "grid_3x3": CroppedEvaluationConfig,
}


@dataclass(kw_only=True)
class EnsembleConfig:
    """Several networks that differ in their seed alone, trained by one command."""

    members: int = setting("networks trained from seed, seed + 1, ...; 1: no ensemble", at_least=1)
    at_once: int | None = setting(
        "members trained side by side; null: one a core on a CPU, one on a GPU", at_least=1
    )


@dataclass(kw_only=True)
class RuntimeConfig:
    """The machine."""

    device: str = setting("auto, cpu, cuda, cuda:1 ...")
    precision: str = setting("of the arithmetic", choices=("fp32", "tf32", "bf16"))
    num_threads: int | None = setting("CPU threads; null lets torch choose", at_least=1)
    deterministic: bool = setting("bit-identical runs on CUDA, slower")
    channels_last: bool = setting("memory format of the network")
    compile: bool = setting(
        "while training: network and loss as one graph for each batch size", earlier=False
    )
    profile: bool = setting("while training: trace 20 steps into the run folder")


@dataclass(kw_only=True)
class LoggingConfig:
    """What is shown and written beside the checkpoints."""

    progress: bool = setting("a live bar on a terminal")
    tensorboard: bool = setting("write TensorBoard event files")
    report: bool = setting("write report.html at the end")
    images_every_epochs: int | None = setting("epochs between logged pictures", at_least=1)
