"""Settings of the machine: device, precision and threads."""

from dataclasses import dataclass

from cnnlab.config.bounds import MOST_THREADS
from cnnlab.config.schema import setting

AUTO = "auto"


@dataclass(kw_only=True)
class RuntimeConfig:
    """Device, precision, threads and compilation."""

    device: str = setting("auto, cpu, cuda, cuda:N, or mps, a Mac's GPU (not yet run on one)")
    precision: str = setting("compute precision", choices=("fp32", "tf32", "bf16"))
    num_threads: int | None = setting(
        "CPU threads; null: as many as the network's work feeds, at most one per core",
        at_least=1,
        at_most=MOST_THREADS,
    )
    deterministic: bool = setting("deterministic CUDA algorithms: bit-identical runs, slower")
    channels_last: bool = setting("channels_last memory format")
    compile: bool = setting(
        "torch.compile network and loss for training, one graph per batch size", earlier=False
    )
    capture: bool | str = setting(
        "replay the training step as CUDA graphs, one per batch size; auto: on a GPU where it can "
        "be, and say why where not",
        choices=(AUTO,),
        earlier=False,
    )
    kernels: str = setting(
        "what computes response normalization and max pooling: operations of torch (plain), or one "
        "kernel of Triton each way on a CUDA device (triton); auto: Triton's where they run and "
        "nothing is compiled, and say why where not",
        choices=(AUTO, "plain", "triton"),
        earlier="plain",
    )
    fused_update: bool = setting(
        "optimizer=sgd_2012 in one pass over the weights, equal to rounding",
        earlier=False,
    )
    fast_evaluation: bool = setting(
        "validation and test while training: in runtime.precision, compiled or captured where "
        "training is, and in batches that fill a GPU",
        earlier=False,
    )
    profile: bool = setting("write a profiler trace of 20 training steps into the run folder")
