"""The networks without convolution: the linear classifier and the multi-layer perceptron."""

import torch
from torch import nn

from cnnlab.config.models import LinearConfig, MlpConfig
from cnnlab.models.init import initialize
from cnnlab.models.layers import ACTIVATIONS, Linear
from cnnlab.models.network import Layer, Network, Task


def linear(config: LinearConfig, task: Task, generator: torch.Generator) -> Network:
    """Build one fully connected layer from the pixels to the scores."""
    features = task.in_channels * task.input_size_pixels**2
    layers = [
        Layer("flatten", "flatten", nn.Flatten()),
        Layer("output", "fc", Linear(features, task.num_classes)),
    ]
    network = Network(layers, task)
    initialize(network, "torch", generator)
    return network


def mlp(config: MlpConfig, task: Task, generator: torch.Generator) -> Network:
    """Build f(x) = W2 s(W1 x + b1) + b2, with one hidden layer per entry of `hidden_units`."""
    role, activation = ACTIVATIONS[config.activation]
    features = task.in_channels * task.input_size_pixels**2
    layers = [Layer("flatten", "flatten", nn.Flatten())]

    for number, units in enumerate(config.hidden_units, start=1):
        layers += [
            Layer(f"fc{number}", "fc", Linear(features, units)),
            Layer(f"{config.activation}{number}", role, activation()),
        ]
        if config.dropout > 0:
            layers.append(Layer(f"dropout{number}", "dropout", nn.Dropout(config.dropout)))
        features = units

    layers.append(Layer("output", "fc", Linear(features, task.num_classes)))
    network = Network(layers, task)
    initialize(network, "kaiming" if config.activation == "relu" else "xavier", generator)
    return network
