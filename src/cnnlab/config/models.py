"""Settings of the models, a dataclass a name."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class ModelConfig:
    """What every model has."""

    name: str = setting("name in the table of models")


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
class Lenet5Config(ModelConfig):
    """LeNet-5 as it is built today: dense C3, parameter-free pooling, softmax scores."""

    activation: str = setting("after each layer", choices=("relu", "tanh", "sigmoid"))
    pooling: str = setting("in S2 and S4", choices=("max", "average"))
    dropout: float = setting("share of C5 and F6 units set to zero", at_least=0, below=1)
    initialization: str = setting(
        "of the weights", choices=("kaiming", "xavier", "lecun", "torch")
    )


@dataclass(kw_only=True)
class AlexnetConfig(ModelConfig):
    """AlexNet of 2012 on one device, one dense tower."""

    geometry: str = setting(
        "how conv1 reaches 55x55", choices=("224_ceil", "227", "224_pad2")
    )
    activation: str = setting("after each layer", choices=("relu", "tanh", "sigmoid"))
    normalization: str = setting("local response normalization", choices=("paper", "source", "none"))
    pooling: str = setting("window 3 or 2, stride 2", choices=("overlapping", "non_overlapping"))
    dropout: float = setting("share of fc6 and fc7 units set to zero", at_least=0, below=1)
    initialization: str = setting(
        "of weights and biases", choices=("paper", "source", "caffe", "kaiming")
    )
    head: str = setting("fully connected layers", choices=("three", "single"))


MODELS: dict[str, type[ModelConfig]] = {
    "linear": LinearConfig,
    "mlp": MlpConfig,
    "lenet5": Lenet5Config,
    "alexnet": AlexnetConfig,
}
