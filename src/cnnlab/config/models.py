"""Settings of the models, and the table of models."""

from dataclasses import dataclass

from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class ModelConfig:
    """What every model has."""

    name: str = setting("name of the model")

    @property
    def training_loss(self) -> str:
        """Name of the loss that training minimizes, in `training/losses.py`."""
        return "cross_entropy"


@dataclass(kw_only=True)
class FineTuningConfig:
    """The weights training starts from, and the layers it trains; keys of `model` in training."""

    weights: str | None = setting(
        "weights to start from: checkpoint or run folder; null: train from scratch", earlier=None
    )
    replace_head: bool = setting("reinitialize the last layer, for other classes", earlier=False)
    train_layers: str = setting(
        "layers to train: all, head (the last one), or from:LAYER to the last one", earlier="all"
    )

    def __post_init__(self) -> None:
        """Refuse to replace a head that is new anyway, and values that select no layers."""
        if self.replace_head and self.weights is None:
            raise UsageError(
                "model.replace_head=true has no effect without model.weights",
                hint="without weights to start from, every layer is initialized anyway",
            )

        chosen, _, layer = self.train_layers.partition(":")
        if self.train_layers not in ("all", "head") and (chosen != "from" or not layer):
            raise UsageError(
                f"model.train_layers must be all, head or from:LAYER, got '{self.train_layers}'"
            )


@dataclass(kw_only=True)
class ScalableConfig(ModelConfig):
    """A model with a width multiplier; its depth stays."""

    width: float = setting(
        "width multiplier of all channels and hidden units; 0.25: a quarter of each",
        at_least=0.0625,
        at_most=16,
        earlier=1.0,
    )


@dataclass(kw_only=True)
class LinearConfig(ModelConfig):
    """One fully connected layer: the scores are linear in the pixels."""


@dataclass(kw_only=True)
class MlpConfig(ModelConfig):
    """A multi-layer perceptron on the flattened image."""

    hidden_units: list[int] = setting(
        "number of units of each hidden layer", at_least=1, at_most=1_000_000
    )
    activation: str = setting(
        "activation function of the hidden layers", choices=("relu", "tanh", "sigmoid")
    )
    dropout: float = setting("dropout probability of the hidden units", at_least=0, below=1)


@dataclass(kw_only=True)
class Lenet5Config(ScalableConfig):
    """LeNet-5 as it is built today: dense C3, parameter-free pooling, softmax scores."""

    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    pooling: str = setting("pooling in S2 and S4", choices=("max", "average"))
    dropout: float = setting("dropout probability in C5 and F6", at_least=0, below=1)
    initialization: str = setting(
        "weight initialization", choices=("kaiming", "xavier", "lecun", "torch")
    )


@dataclass(kw_only=True)
class Lenet5Of1998Config(ModelConfig):
    """LeNet-5 as published: trainable subsampling, C3 by table, distances to bitmaps as output."""

    initialization: str = setting(
        "weights uniform within 2.4 / F (literal) or 2.4 / sqrt F (sqrt), F the fan-in",
        choices=("literal", "sqrt"),
    )
    loss: str = setting(
        "loss function: equation 8 (squared_distance) or 9 (discriminative_distance)",
        choices=("squared_distance", "discriminative_distance"),
    )

    @property
    def training_loss(self) -> str:
        """Name of the loss that training minimizes, which is a setting of this network."""
        return self.loss


@dataclass(kw_only=True)
class AlexnetConfig(ScalableConfig):
    """AlexNet of 2012 on one device; defaults as in the paper, except the initialization."""

    geometry: str = setting(
        "input size and padding by which conv1 outputs 55x55",
        choices=("224_ceil", "227", "224_pad2"),
    )
    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response normalization: alpha per unit (paper) or divided by 5 (source)",
        choices=("paper", "source", "none"),
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


@dataclass(kw_only=True)
class AlexnetTwoGpuConfig(AlexnetConfig):
    """AlexNet of 2012 as published: a tower on each of two devices."""

    devices: list[str] = setting("devices of the two towers, e.g. [cuda:0,cuda:1]; may be the same")


@dataclass(kw_only=True)
class _SingleTowerConfig(ScalableConfig):
    """What the networks of 2014 share."""

    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response normalization: alpha per unit (paper) or divided by 5 (source)",
        choices=("paper", "source", "none"),
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
class CifarLocalConfig(ModelConfig):
    """Two convolutions and two locally connected layers: the 13 % and 11 % nets for CIFAR-10."""

    normalization: str = setting(
        "response normalization: over 5 maps before pooling (2012), 9 after (cuda-convnet2)",
        choices=("none", "before_pooling", "after_pooling"),
    )
    local_channels: list[int] = setting(
        "output channels of each locally connected layer",
        at_least=1,
        at_most=1_000_000,
    )

    def __post_init__(self) -> None:
        """Refuse a network without its locally connected layers."""
        if not self.local_channels:
            raise UsageError(
                "model.local_channels=[] leaves no locally connected layer", hint="e.g. [32,32]"
            )


@dataclass(kw_only=True)
class FourLayerConfig(ScalableConfig):
    """Three convolutions and a linear layer, to compare activations as in figure 1 of 2012."""

    activation: str = setting("activation function", choices=("relu", "tanh", "sigmoid"))
    initialization: str = setting(
        "weight initialization", choices=("kaiming", "xavier", "lecun", "torch")
    )


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model, and what is known of it before it is built.

    usual_input: (channels, side in pixels, classes) for which it was published. one_device: the
    same network with the same state dict on one device, for a model that needs several.
    curvature: "package.module:function" of (network, images) -> the curvature of each weight by
    parameter name, for optimizer=levenberg_marquardt.
    """

    usual_input: tuple[int, int, int]
    one_device: str | None = None
    curvature: str | None = None


MODELS = Table(
    "model",
    ModelConfig,
    {
        "linear": ModelChoice(LinearConfig, "cnnlab.models.small:linear", (1, 28, 10)),
        "mlp": ModelChoice(MlpConfig, "cnnlab.models.small:mlp", (1, 28, 10)),
        "lenet5": ModelChoice(Lenet5Config, "cnnlab.models.lenet5:lenet5", (1, 32, 10)),
        "lenet5_1998": ModelChoice(
            Lenet5Of1998Config,
            "cnnlab.models.lenet5_1998:lenet5_1998",
            (1, 32, 10),
            curvature="cnnlab.models.curvature:diagonal",
        ),
        "alexnet": ModelChoice(AlexnetConfig, "cnnlab.models.alexnet:alexnet", (3, 224, 1000)),
        "alexnet_two_tower": ModelChoice(
            AlexnetConfig, "cnnlab.models.alexnet:alexnet_two_tower", (3, 224, 1000)
        ),
        "alexnet_two_gpu": ModelChoice(
            AlexnetTwoGpuConfig,
            "cnnlab.models.towers:alexnet_two_gpu",
            (3, 224, 1000),
            one_device="alexnet_two_tower",
        ),
        "alexnet_2014": ModelChoice(
            Alexnet2014Config, "cnnlab.models.alexnet_2014:alexnet_2014", (3, 224, 1000)
        ),
        "alexnet_cifar": ModelChoice(
            AlexnetCifarConfig, "cnnlab.models.alexnet_2014:alexnet_cifar", (3, 32, 10)
        ),
        "cifar_13pct": ModelChoice(
            CifarLocalConfig, "cnnlab.models.cifar:cifar_local", (3, 32, 10)
        ),
        "cifar_11pct": ModelChoice(
            CifarLocalConfig, "cnnlab.models.cifar:cifar_local", (3, 24, 10)
        ),
        "four_layer": ModelChoice(FourLayerConfig, "cnnlab.models.cifar:four_layer", (3, 32, 10)),
    },
)
"""Builders: (settings, Task, generator for the weights) -> Network."""
