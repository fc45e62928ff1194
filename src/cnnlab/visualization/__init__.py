"""Pictures of a trained network, by name from network and probe; drawings of a network's plan."""

from cnnlab.config.pictures import DRAWINGS, PICTURES
from cnnlab.models.network import Network
from cnnlab.visualization.figures import Picture
from cnnlab.visualization.network_plan import Plan
from cnnlab.visualization.probe import Probe


def draw(name: str, model: Network, probe: Probe) -> list[Picture]:
    """Draw the pictures called `name` in PICTURES.

    Raises UsageError where this network or probe cannot give them.
    """
    pictures: list[Picture] = PICTURES[name].load()(model, probe)
    return pictures


def draw_plan(name: str, plan: Plan) -> list[Picture]:
    """Draw what is called `name` in DRAWINGS."""
    pictures: list[Picture] = DRAWINGS[name].load()(plan)
    return pictures
