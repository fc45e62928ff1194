"""Pictures of a trained network, each drawn by name from the network and a probe."""

from cnnlab.config.pictures import PICTURES
from cnnlab.config.tables import load_by_name
from cnnlab.models.network import Network
from cnnlab.visualization.figures import Picture
from cnnlab.visualization.probe import Probe


def draw(name: str, model: Network, probe: Probe) -> list[Picture]:
    """Draw the pictures called `name` in PICTURES.

    Raises UsageError where this network or probe cannot give them.
    """
    pictures: list[Picture] = load_by_name(PICTURES[name].draw)(model, probe)
    return pictures
