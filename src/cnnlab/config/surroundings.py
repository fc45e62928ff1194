"""Settings of evaluation, the machine and logging."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class EvaluationConfig:
    """The views of each image whose probabilities are averaged."""

    name: str = setting("views", choices=("center", "five_crop", "ten_view"))


@dataclass(kw_only=True)
class RuntimeConfig:
    """The machine."""

    device: str = setting("auto, cpu, cuda, cuda:1 ...")
    precision: str = setting("of the arithmetic", choices=("fp32", "tf32", "bf16"))
    num_threads: int | None = setting("CPU threads; null lets torch choose", at_least=1)
    deterministic: bool = setting("bit-identical runs on CUDA, slower")
    channels_last: bool = setting("memory format of the network")


@dataclass(kw_only=True)
class LoggingConfig:
    """What is shown and written beside the checkpoints."""

    progress: bool = setting("a live bar on a terminal")
    tensorboard: bool = setting("write TensorBoard event files")
    images_every_epochs: int | None = setting("epochs between logged pictures", at_least=1)
