"""The bytes that the processes of a job exchange in one update, by formula. Imports no torch.

A ring of K processes is counted: to sum B bytes each process sends 2 (K - 1) / K of them, to gather
them, or to scatter them from all, (K - 1) / K. No algorithm sends less.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cnnlab.errors import UsageError

FLOAT, LABEL = 4, 8
"""Bytes of a number, and of a label."""

SCORING = ("fc", "rbf")
"""Roles of layers of which the last one gives the scores, and is not split."""


def summed(num_bytes: float, num_processes: int) -> float:
    """Return what each process sends to sum a tensor of `num_bytes` over all of them."""
    return 2 * num_bytes * (num_processes - 1) / num_processes


def gathered(num_bytes: float, num_processes: int) -> float:
    """Return what each process sends to gather `num_bytes`, of which it has an equal share."""
    return num_bytes * (num_processes - 1) / num_processes


@dataclass(frozen=True)
class Split:
    """A network as hybrid parallelism sees it; numbers, not bytes.

    replicated: parameters of the convolutions. features: what they hand to the fully connected
    layers, per image. layers: (inputs, units) of each of those that are split, in order. whole:
    parameters of the others, which every process computes.
    """

    replicated: int
    features: int
    layers: Sequence[tuple[int, int]]
    whole: int

    @property
    def split(self) -> int:
        """Return the parameters of the layers that are split, biases included."""
        return sum((inputs + 1) * units for inputs, units in self.layers)


def split_of(layers: Sequence[tuple[str, int, int]]) -> Split:
    """Return how hybrid parallelism splits a network.

    layers: role, outputs per image and parameters of each, in order. Raises UsageError for a
    network without hidden fully connected layers, or with layers in groups.
    """
    roles = [role for role, _, _ in layers]
    place = roles.index("flatten") if "flatten" in roles else len(layers)
    last = max((i for i, role in enumerate(roles) if role in SCORING), default=-1)
    replicated, whole = sum(layer[2] for layer in layers[:place]), 0

    found: list[tuple[int, int]] = []
    has_groups = False
    for number in range(place + 1, len(layers)):
        role, units, parameters = layers[number]
        inputs = layers[number - 1][1]
        if role != "fc" or number == last:
            whole += parameters
        else:
            is_dense = parameters == (inputs + 1) * units
            found += [(inputs, units)] if is_dense else []
            has_groups = has_groups or not is_dense
    if has_groups or not found:
        raise UsageError("the network has no hidden fully connected layers to split by units")
    return Split(replicated, layers[place][1], found, whole)


@dataclass(frozen=True)
class Account:
    """What one worker sends for one update, in bytes.

    gradients: of weights. forward, backward: activations of fully connected layers, and their
    gradients. other: the loss or the norm, and labels. rounds: in which the features travel.
    most_at_once: bytes that one worker sends of them in one round. assembled: images whose features
    are together in a worker's memory.
    """

    scheme: str
    gradients: float
    forward: float
    backward: float
    other: float
    rounds: int
    most_at_once: float
    assembled: int

    @property
    def total(self) -> float:
        """Return all that one worker sends for one update."""
        return self.gradients + self.forward + self.backward + self.other

    def as_document(self) -> dict[str, Any]:
        """Return the account as plain data, ready for JSON."""
        return asdict(self) | {"total": self.total}


def data_parallel(network: Split, num_workers: int, images_per_worker: int) -> Account:
    """Return the account of plain data parallelism: every gradient is summed once."""
    parameters = network.replicated + network.split + network.whole
    gradients = summed(FLOAT * parameters, num_workers)
    loss = summed(FLOAT, num_workers)
    return Account("data", gradients, 0.0, 0.0, loss, 0, 0.0, images_per_worker)


def hybrid(
    network: Split, num_workers: int, images_per_worker: int, fc_batches: int = 1
) -> Account:
    """Return the account of scheme (a), as it runs: all batches assembled in every worker.

    fc_batches: how often the fully connected layers are updated, which adds one norm each.
    """
    images = num_workers * images_per_worker
    features = FLOAT * images * network.features
    units = FLOAT * images * sum(units for _, units in network.layers)
    inputs = FLOAT * images * sum(inputs for inputs, _ in network.layers)

    norms = summed(FLOAT, num_workers) * fc_batches
    return Account(
        "hybrid (a)",
        gradients=summed(FLOAT * network.replicated, num_workers),
        forward=gathered(features + units, num_workers),
        backward=summed(inputs, num_workers),
        other=gathered(LABEL * images, num_workers) + norms,
        rounds=1,
        most_at_once=gathered(features, num_workers),
        assembled=images,
    )


def schemes(network: Split, num_workers: int, images_per_worker: int) -> list[Account]:
    """Return the accounts of data parallelism and of the paper's schemes (a), (b) and (c).

    (b): workers broadcast their batch in turn, (c): each sends 1/K of its batch in each of K
    rounds. Both send what (a) sends, and hold the features of one batch instead of K. In (b) one
    worker alone sends in a round, in (c) all send equally much. Source: Krizhevsky 2014, section 4.
    Both are given by formula; (a) is what `distributed.scheme=hybrid` runs.
    """
    whole = hybrid(network, num_workers, images_per_worker)
    own_batch = whole.most_at_once
    updates = hybrid(network, num_workers, images_per_worker, num_workers)
    in_rounds = asdict(updates) | {"rounds": num_workers, "assembled": images_per_worker}

    turns = Account(**in_rounds | {"scheme": "hybrid (b)", "most_at_once": own_batch})
    shares = {"scheme": "hybrid (c)", "most_at_once": own_batch / num_workers}
    data = data_parallel(network, num_workers, images_per_worker)
    return [data, whole, turns, Account(**in_rounds | shares)]


def break_even(network: Split, num_workers: int) -> float:
    """Return the global batch at which data parallelism and scheme (a) send equally much.

    Below it the hybrid sends less; K cancels nearly out.
    """
    one = hybrid(network, num_workers, 1)
    per_image = (one.forward + one.backward) / num_workers
    saved = summed(FLOAT * (network.split + network.whole), num_workers)
    return saved / per_image if per_image else float("inf")
