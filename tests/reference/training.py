"""Update rules and rates one number at a time, as the papers write them, in Python floats."""

import math


def torch_momentum(
    weight: float, gradient: float, velocity: float, *, rate: float, momentum: float, decay: float
) -> tuple[float, float]:
    """v' = mu v + (g + decay w); w' = w - rate v': the rate acts at once."""
    velocity = momentum * velocity + (gradient + decay * weight)
    return weight - rate * velocity, velocity


def momentum_2012(
    weight: float, gradient: float, velocity: float, *, rate: float, momentum: float, decay: float
) -> tuple[float, float]:
    """v' = mu v - decay rate w - rate g; w' = w + v': the rate is kept inside the velocity."""
    velocity = momentum * velocity - decay * rate * weight - rate * gradient
    return weight + velocity, velocity


def adamw(
    weight: float,
    gradients: list[float],
    *,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
) -> float:
    """Return the weight after one update for each gradient (Loshchilov and Hutter 2019)."""
    mean = square = 0.0
    for t, gradient in enumerate(gradients, start=1):
        weight -= rate * decay * weight
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        corrected = math.sqrt(square / (1 - beta2**t)) + epsilon
        weight -= rate * mean / (1 - beta1**t) / corrected
    return weight


def softmax_loss(scores: list[float], label: int) -> float:
    """Return the negative log-probability of one image's label, in nats."""
    return math.log(sum(math.exp(score) for score in scores)) - scores[label]
