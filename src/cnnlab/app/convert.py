"""`cnnlab convert`: weights of torchvision's AlexNet in, ONNX and safetensors out."""

from pathlib import Path

import torch

from cnnlab import run_folder
from cnnlab.config import ConvertConfig, Launch
from cnnlab.conversion import foreign_weights, into_checkpoint
from cnnlab.conversion.export import export
from cnnlab.errors import BusyError, UsageError
from cnnlab.files import foreign
from cnnlab.inference.network import open_network
from cnnlab.safe_output import escape_control, write_out


def run(config: ConvertConfig, launch: Launch) -> int:
    """Convert one file into another, print what was done, return 0."""
    if not config.source or not config.output:
        raise UsageError(
            "convert needs source and output",
            hint="cnnlab convert source=alexnet.pth output=alexnet.safetensors",
        )
    output = Path(config.output)
    if output.exists():
        raise BusyError(
            f"{escape_control(str(output))} exists already", hint="choose another output"
        )

    write_out(convert(config, config.source, output))
    return 0


def convert(config: ConvertConfig, source: str, output: Path) -> str:
    """Write `output` by what `source` is, whatever it is called; return what was done."""
    if source == "torchvision":
        weights = foreign_weights.ForeignWeights(into_checkpoint.pretrained_weights())
        return into_checkpoint.convert_torchvision(config, weights, source, output)
    if foreign.is_plain_of_ours(source):
        return into_checkpoint.convert_plain(config, source, output)
    if foreign_weights.is_foreign(source):
        weights = foreign_weights.read(source)
        return into_checkpoint.convert_torchvision(config, weights, source, output)
    path, cpu = run_folder.resolve_checkpoint(source), torch.device("cpu")
    return export(open_network(path, cpu, which_weights=config.which_weights), output)
