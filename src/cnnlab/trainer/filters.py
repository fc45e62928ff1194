"""`trainer.max_filter_rms`: which weights of a network are filters, and a step that clips them."""

from torch import Tensor

from cnnlab.config import TrainConfig
from cnnlab.errors import UsageError
from cnnlab.models import Network
from cnnlab.training.filter_clip import FilterClipStep
from cnnlab.training.loop import Step


def clipped(step: Step, network: Network, config: TrainConfig) -> Step:
    """Return `step` followed by the clip that `config` asks for; `step` itself without one.

    Raises UsageError for a network in which no filter is trained.
    """
    limit = config.trainer.max_filter_rms
    if limit is None:
        return step

    filters = trained_filters(network)
    if not filters:
        raise UsageError(
            f"trainer.max_filter_rms={limit:g} has no effect on model '{config.model.name}': "
            "no convolution of it is trained",
            hint="leave it out, or train the convolutions (model.train_layers)",
        )
    return FilterClipStep(step, filters, limit)


def trained_filters(network: Network) -> list[Tensor]:
    """Return the weights of the convolutions that are trained, one filter per row.

    Those of both towers; of LeNet-5's C3 of 1998, which has one kernel per connection, the kernels.
    Locally connected layers have no filters that move over the image.
    """
    convolutions = (layer.module for layer in network.layers if layer.role == "conv")
    return [
        weight
        for module in convolutions
        for weight in module.parameters()
        if weight.dim() > 1 and weight.requires_grad
    ]
