"""Settings of the models, and the table of models."""

from dataclasses import dataclass

from cnnlab.config.alexnets import (
    Alexnet2014Config,
    AlexnetCifarConfig,
    AlexnetOneTowerConfig,
    AlexnetTwoGpuConfig,
    AlexnetTwoTowerConfig,
    ZfnetConfig,
)
from cnnlab.config.ema import stored_weights
from cnnlab.config.model_settings import ModelConfig, ScalableConfig
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


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
    which_weights: str | None = stored_weights("model.weights: the", earlier=None)

    def __post_init__(self) -> None:
        """Refuse to replace a head that is new anyway, and values that select no layers."""
        if self.replace_head and self.weights is None:
            raise UsageError(
                "model.replace_head=true has no effect without model.weights",
                hint="without weights to start from, every layer is initialized anyway",
            )

        if self.which_weights is not None and self.weights is None:
            raise UsageError(
                f"model.which_weights={self.which_weights} has no effect without model.weights",
                hint="which_weights, without 'model.', says which weights training judges",
            )

        chosen, _, layer = self.train_layers.partition(":")
        if self.train_layers not in ("all", "head") and (chosen != "from" or not layer):
            raise UsageError(
                f"model.train_layers must be all, head or from:LAYER, got '{self.train_layers}'"
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
    """LeNet-5 as published: trainable subsampling, C3 by table, distances to bitmaps as output.

    The output goes with the loss: `loss=cross_entropy` has ten softmax scores in their place.
    """

    initialization: str = setting(
        "weights uniform within 2.4 / F (literal) or 2.4 / sqrt F (sqrt), F the fan-in",
        choices=("literal", "sqrt"),
    )
    loss: str = setting(
        "output and its loss: distances to bitmaps with equation 8 (squared_distance) or 9 "
        "(discriminative_distance), or softmax scores with cross_entropy",
        choices=("squared_distance", "discriminative_distance", "cross_entropy"),
    )

    @property
    def training_loss(self) -> str:
        """Name of the loss that training minimizes, which is a setting of this network."""
        return self.loss

    @property
    def has_distances(self) -> bool:
        """Return whether its scores are distances to bitmaps."""
        return self.loss != "cross_entropy"


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

    usual_input: tuple[int, int, int] = (3, 224, 1000)
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
        "alexnet": ModelChoice(
            AlexnetOneTowerConfig, "cnnlab.models.alexnet:alexnet", (3, 224, 1000)
        ),
        "alexnet_two_tower": ModelChoice(
            AlexnetTwoTowerConfig, "cnnlab.models.alexnet:alexnet_two_tower", (3, 224, 1000)
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
        "zfnet": ModelChoice(ZfnetConfig, "cnnlab.models.zfnet:zfnet", (3, 224, 1000)),
        "cifar_13pct": ModelChoice(
            CifarLocalConfig, "cnnlab.models.cifar:cifar_local", (3, 32, 10)
        ),
        "cifar_11pct": ModelChoice(
            CifarLocalConfig, "cnnlab.models.cifar:cifar_local", (3, 24, 10)
        ),
        "four_layer": ModelChoice(FourLayerConfig, "cnnlab.models.cifar:four_layer", (3, 32, 10)),
    },
)
"""Builders: (settings, Task, generator for the weights) -> Network, or any other nn.Module."""
