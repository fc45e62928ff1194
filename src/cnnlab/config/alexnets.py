"""Settings of AlexNet in its forms, of 2012 and 2014, and of the network of Zeiler and Fergus."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.model_settings import ScalableConfig
from cnnlab.config.schema import setting
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class AlexnetConfig(ScalableConfig):
    """AlexNet of 2012; defaults as in the paper, except the initialization."""

    geometry: str = setting(
        "input size and padding by which conv1 outputs 55x55",
        choices=("224_ceil", "227", "224_pad2"),
    )
    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response normalization: alpha per unit (paper) or divided by 5 (source); or batch "
        "normalization after each convolution",
        choices=("paper", "source", "batch", "none"),
    )
    order: str = setting(
        "order of activation, normalization and pooling", choices=("paper", "source")
    )
    pooling: str = setting(
        "pooling windows of 3, or of 2 with the author's padding",
        choices=("overlapping", "non_overlapping"),
    )
    without_layers: list[str] = setting(
        "layers to leave out", choices=("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    )
    conv6: bool = setting(
        "a sixth convolution over pool5, as in the author's networks for all of ImageNet",
        earlier=False,
    )
    head: str = setting("fully connected layers of the head", choices=("three", "single"))
    dropout: float = setting("dropout probability in fc6 and fc7", at_least=0, below=1)
    dropout_place: str = setting(
        "drop the outputs of fc6 and fc7 (after) or their inputs (before)",
        choices=("after", "before"),
    )
    dropout_scaling: str = setting(
        "where dropout rescales: at test time (paper) or while training (inverted dropout)",
        choices=("test", "train"),
    )
    initialization: str = setting(
        "initialization of weights and biases", choices=("paper", "source", "caffe", "kaiming")
    )

    def __post_init__(self) -> None:
        """Refuse settings without effect in this architecture."""
        hidden = {"fc6", "fc7"} - set(self.without_layers)
        if self.head == "single" and len(hidden) < 2:
            raise UsageError(
                f"model.without_layers={self.without_layers} names a layer that "
                "model.head=single does not have",
                hint="remove fc6 and fc7 from the list",
            )

        if self.head == "three" and not hidden and self.dropout > 0:
            raise UsageError(
                f"model.dropout={self.dropout:g} has no effect without fc6 and fc7",
                hint="set model.dropout=0",
            )

        if self.normalization == "batch" and self.order == "source":
            raise UsageError(
                "model.order=source has no effect with model.normalization=batch",
                hint="set model.order=paper; the order is that of response normalization",
            )


@dataclass(kw_only=True)
class AlexnetOneTowerConfig(AlexnetConfig):
    """AlexNet of 2012 as one dense tower."""

    half_kernels: bool = setting(
        "half as many kernels in conv1 to conv4, as in the author's network for one GPU",
        earlier=False,
    )


def _earlier_exchange(stored: dict[str, Any]) -> str:
    """Return where the towers of a stored config exchanged maps: without conv3, only before fc6.

    Where no convolution is left in its place, the two are the same network.
    """
    left_out = stored.get("without_layers")
    if not isinstance(left_out, list) or "conv3" not in left_out:
        return "conv3"
    return "conv3" if "conv4" in left_out and "conv5" in left_out else "fc6"


@dataclass(kw_only=True)
class AlexnetTwoTowerConfig(AlexnetConfig):
    """AlexNet of 2012 as published: two towers, on one device."""

    exchange: str = setting(
        "first layer that sees both towers: conv3 (left out: the next convolution), or fc6; "
        "none: only the scores, with the author's wider conv2, fc6 and fc7",
        choices=("conv3", "fc6", "none"),
        earlier=_earlier_exchange,
    )

    def __post_init__(self) -> None:
        """Refuse an exchange that is no other than the usual one."""
        super().__post_init__()
        middle = {"conv3", "conv4", "conv5"} - set(self.without_layers)
        if self.exchange == "fc6" and not middle and not self.conv6:
            raise UsageError(
                "model.exchange=fc6 has no effect without conv3, conv4 and conv5",
                hint="set model.exchange=conv3: where these are left out, fc6 is the first anyway",
            )


@dataclass(kw_only=True)
class AlexnetTwoGpuConfig(AlexnetTwoTowerConfig):
    """AlexNet of 2012 as published: a tower on each of two devices."""

    devices: list[str] = setting("devices of the two towers, e.g. [cuda:0,cuda:1]; may be the same")


@dataclass(kw_only=True)
class _SingleTowerConfig(ScalableConfig):
    """What the networks of 2014 share."""

    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response normalization: alpha per unit (paper) or divided by 5 (source); or batch "
        "normalization after each convolution",
        choices=("paper", "source", "batch", "none"),
    )
    dropout: float = setting("dropout probability in fc6 and fc7", at_least=0, below=1)
    dropout_place: str = setting(
        "drop the outputs of fc6 and fc7 (after, 2012) or their inputs (before, torchvision)",
        choices=("after", "before"),
    )
    initialization: str = setting(
        "initialization of weights and biases",
        choices=("torch", "paper", "source", "caffe", "kaiming"),
    )


@dataclass(kw_only=True)
class Alexnet2014Config(_SingleTowerConfig):
    """AlexNet of 2014, the lecture's network, in torchvision's layout."""

    geometry: str = setting(
        "input size and padding by which conv1 outputs 55x55",
        choices=("224_ceil", "227", "224_pad2"),
    )


@dataclass(kw_only=True)
class AlexnetCifarConfig(_SingleTowerConfig):
    """The same network for images of 32x32."""


@dataclass(kw_only=True)
class ZfnetConfig(ScalableConfig):
    """The network of Zeiler and Fergus (2014)."""

    normalization: str = setting(
        "contrast normalization across maps, with the constants of 2012: alpha per unit (paper) "
        "or divided by 5 (source); or batch normalization after each convolution",
        choices=("paper", "source", "batch", "none"),
    )
    dropout: float = setting("dropout probability in fc6 and fc7", at_least=0, below=1)
    initialization: str = setting(
        "initialization of weights and biases", choices=("paper", "kaiming")
    )
