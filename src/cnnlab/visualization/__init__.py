"""Looking inside a network: pictures by name, each drawn from a network and a probe."""

from torch import nn

from cnnlab.config.pictures import PICTURES
from cnnlab.config.tables import load_by_name
from cnnlab.visualization.figures import Picture
from cnnlab.visualization.probe import Probe


def draw(name: str, model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw the pictures called `name` in PICTURES: the command, the report and TensorBoard do.

    Raises UsageError where this network or probe cannot give them.
    """
    pictures: list[Picture] = load_by_name(PICTURES[name])(model, probe)
    return pictures
