"""Settings of the models, and the table of models."""

from dataclasses import dataclass

from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class ModelConfig:
    """What every model has."""

    name: str = setting("name in the table of models")


@dataclass(kw_only=True)
class FineTuningConfig:
    """What training begins with, and which layers it changes; keys of `model` in `cnnlab train`."""

    weights: str | None = setting(
        "checkpoint or run folder to begin with; null: train from scratch", earlier=None
    )
    replace_head: bool = setting(
        "give the last layer new weights, for other classes", earlier=False
    )
    train_layers: str = setting(
        "all, head (the last layer), or from:LAYER to the end", earlier="all"
    )

    def __post_init__(self) -> None:
        """Refuse a head that is new anyway, and words that choose no layers."""
        if self.replace_head and self.weights is None:
            raise UsageError(
                "model.replace_head=true has no effect without model.weights",
                hint="without weights to begin with, every layer is new",
            )
        chosen, _, layer = self.train_layers.partition(":")
        if self.train_layers not in ("all", "head") and (chosen != "from" or not layer):
            raise UsageError(
                f"model.train_layers must be all, head or from:LAYER, got '{self.train_layers}'"
            )


@dataclass(kw_only=True)
class ScalableConfig(ModelConfig):
    """A model of which there are narrower and wider ones, of the same depth."""

    width: float = setting(
        "times every count of channels and hidden units; 0.25: a quarter of each",
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

    hidden_units: list[int] = setting("units of each hidden layer", at_least=1)
    activation: str = setting("after each hidden layer", choices=("relu", "tanh", "sigmoid"))
    dropout: float = setting("share of hidden units set to zero", at_least=0, below=1)


@dataclass(kw_only=True)
class Lenet5Config(ScalableConfig):
    """LeNet-5 as it is built today: dense C3, parameter-free pooling, softmax scores."""

    activation: str = setting("after each layer", choices=("relu", "tanh", "sigmoid"))
    pooling: str = setting("in S2 and S4", choices=("max", "average"))
    dropout: float = setting("share of C5 and F6 units set to zero", at_least=0, below=1)
    initialization: str = setting("of the weights", choices=("kaiming", "xavier", "lecun", "torch"))


@dataclass(kw_only=True)
class Lenet5Of1998Config(ModelConfig):
    """LeNet-5 as published: trainable subsampling, C3 by table, distances to bitmaps as output."""

    initialization: str = setting(
        "uniform within 2.4 / F (literal) or 2.4 / sqrt F (sqrt), F the inputs of a unit",
        choices=("literal", "sqrt"),
    )
    loss: str = setting(
        "equation 8 (squared_distance) or 9 (discriminative_distance) of the paper",
        choices=("squared_distance", "discriminative_distance"),
    )


@dataclass(kw_only=True)
class AlexnetConfig(ScalableConfig):
    """AlexNet of 2012 on one device; the paper's choices are the defaults, but for the start."""

    geometry: str = setting("how conv1 reaches 55x55", choices=("224_ceil", "227", "224_pad2"))
    activation: str = setting("after each layer", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response: alpha per unit (paper), over 5 (source)",
        choices=("paper", "source", "none"),
    )
    order: str = setting("of activation, normalization and pooling", choices=("paper", "source"))
    pooling: str = setting(
        "windows of 3, or of 2 with the author's paddings",
        choices=("overlapping", "non_overlapping"),
    )
    without_layers: list[str] = setting(
        "layers left out", choices=("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    )
    head: str = setting("fully connected layers", choices=("three", "single"))
    dropout: float = setting("share of units set to zero", at_least=0, below=1)
    dropout_place: str = setting(
        "outputs of fc6 and fc7, or their inputs", choices=("after", "before")
    )
    dropout_scaling: str = setting(
        "when units make up for dropout: at test (paper) or in training (torch)",
        choices=("test", "train"),
    )
    initialization: str = setting(
        "of weights and biases", choices=("paper", "source", "caffe", "kaiming")
    )

    def __post_init__(self) -> None:
        """Refuse what would have no effect in this composition."""
        hidden = {"fc6", "fc7"} - set(self.without_layers)
        if self.head == "single" and len(hidden) < 2:
            raise UsageError(
                f"model.without_layers={self.without_layers} names a layer that "
                "model.head=single does not have",
                hint="drop fc6 and fc7 from the list",
            )
        if self.head == "three" and not hidden and self.dropout > 0:
            raise UsageError(
                f"model.dropout={self.dropout:g} has no effect without fc6 and fc7",
                hint="set model.dropout=0",
            )


@dataclass(kw_only=True)
class AlexnetTwoGpuConfig(AlexnetConfig):
    """AlexNet of 2012 as published: a tower on each of two devices."""

    devices: list[str] = setting("of the two towers, e.g. [cuda:0,cuda:1]; one twice is fine")


@dataclass(kw_only=True)
class _SingleTowerConfig(ScalableConfig):
    """What the networks of 2014 share."""

    activation: str = setting("after each layer", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting(
        "local response: alpha per unit (paper), over 5 (source)",
        choices=("paper", "source", "none"),
    )
    dropout: float = setting("share of units set to zero", at_least=0, below=1)
    dropout_place: str = setting(
        "outputs of fc6 and fc7 (the 2012 paper), or their inputs (torchvision)",
        choices=("after", "before"),
    )
    initialization: str = setting(
        "of weights and biases", choices=("torch", "paper", "source", "caffe", "kaiming")
    )


@dataclass(kw_only=True)
class Alexnet2014Config(_SingleTowerConfig):
    """AlexNet of 2014, the lecture's network, in torchvision's layout."""

    geometry: str = setting("how conv1 reaches 55x55", choices=("224_ceil", "227", "224_pad2"))


@dataclass(kw_only=True)
class AlexnetCifarConfig(_SingleTowerConfig):
    """The same network for images of 32x32."""


@dataclass(kw_only=True)
class CifarLocalConfig(ModelConfig):
    """Two convolutions and two locally connected layers: the 13 % and 11 % nets for CIFAR-10."""

    normalization: str = setting(
        "across maps: 5 of them before pooling (2012), 9 behind pool1 (cuda-convnet2)",
        choices=("none", "before_pooling", "after_pooling"),
    )
    local_channels: list[int] = setting("maps of each locally connected layer", at_least=1)

    def __post_init__(self) -> None:
        """Refuse a network without its locally connected layers."""
        if not self.local_channels:
            raise UsageError(
                "model.local_channels=[] leaves no locally connected layer", hint="e.g. [32,32]"
            )


@dataclass(kw_only=True)
class FourLayerConfig(ScalableConfig):
    """Three convolutions and the scores, to compare activations with as in figure 1 of 2012."""

    activation: str = setting("after each convolution", choices=("relu", "tanh", "sigmoid"))
    initialization: str = setting("of the weights", choices=("kaiming", "xavier", "lecun", "torch"))


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model. usual_input: (channels, side in pixels, classes) for which it was published."""

    usual_input: tuple[int, int, int]


MODELS = Table(
    "model",
    ModelConfig,
    {
        "linear": ModelChoice(LinearConfig, "cnnlab.models.small:linear", (1, 28, 10)),
        "mlp": ModelChoice(MlpConfig, "cnnlab.models.small:mlp", (1, 28, 10)),
        "lenet5": ModelChoice(Lenet5Config, "cnnlab.models.lenet5:lenet5", (1, 32, 10)),
        "lenet5_1998": ModelChoice(
            Lenet5Of1998Config, "cnnlab.models.lenet5_1998:lenet5_1998", (1, 32, 10)
        ),
        "alexnet": ModelChoice(AlexnetConfig, "cnnlab.models.alexnet:alexnet", (3, 224, 1000)),
        "alexnet_two_tower": ModelChoice(
            AlexnetConfig, "cnnlab.models.alexnet:alexnet_two_tower", (3, 224, 1000)
        ),
        "alexnet_two_gpu": ModelChoice(
            AlexnetTwoGpuConfig, "cnnlab.models.towers:alexnet_two_gpu", (3, 224, 1000)
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
