"""`cnnlab summary`: the table of a network, or with layer=... the figures of a single layer."""

from cnnlab.app import layer_figures
from cnnlab.config import Launch, SummaryConfig


def run(config: SummaryConfig, launch: Launch) -> int:
    """Print the table of the network, or the figures of the layer, and return 0."""
    if config.layer is not None:
        return layer_figures.show(config)

    from cnnlab.app import network_table  # torch, which the figures of a layer do without

    return network_table.show(config, launch)
