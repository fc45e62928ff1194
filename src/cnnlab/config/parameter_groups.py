"""Settings of parameter groups: layers with a rate, a schedule or a weight decay of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnlab.config.bounds import MANY, MOST_FLOAT32
from cnnlab.config.schema import setting
from cnnlab.errors import UsageError

KINDS = ("weights", "biases")
"""What `parameters` chooses from; biases include shift and scale of normalization layers."""


@dataclass(kw_only=True)
class ParameterGroupConfig:
    """Parameters that differ from the others in their rate, its schedule or their weight decay.

    All keys may be left out, which is null: as for the other parameters. `fractions` are of the
    rate that the parameters have before any schedule: learning_rate, times bias_rate_factor for
    biases, times rate_factor.
    """

    layers: list[str] | None = setting("names of layers; null: all that no other group names")
    parameters: str | None = setting("which of their parameters; null: both", choices=KINDS)
    rate_factor: float | None = setting(
        "learning rate as a multiple of that of the others", above=0, at_most=MOST_FLOAT32
    )
    weight_decay: float | None = setting(
        "weight decay in place of optimizer's", at_least=0, at_most=MOST_FLOAT32
    )
    at_epochs: list[float] | None = setting(
        "epochs after which a fraction replaces the schedule; 0: from the start",
        at_least=0,
        at_most=MANY,
    )
    fractions: list[float] | None = setting(
        "fractions of the learning rate, one for each of at_epochs; 0: not trained",
        at_least=0,
        at_most=MOST_FLOAT32,
    )

    def __post_init__(self) -> None:
        """Refuse a group without effect, and lists that do not fit each other."""
        if self.layers == []:
            raise UsageError(
                "a group of optimizer.groups has layers=[]", hint="leave layers out for all others"
            )
        if [self.rate_factor, self.weight_decay, self.at_epochs] == [None, None, None]:
            raise UsageError(
                f"the group of optimizer.groups with {self.described} changes nothing",
                hint="give it rate_factor, weight_decay, or at_epochs and fractions",
            )
        self._check_schedule()

    def _check_schedule(self) -> None:
        epochs, fractions = self.at_epochs or [], self.fractions or []
        if len(epochs) != len(fractions) or self.at_epochs == []:
            raise UsageError(
                f"the group of optimizer.groups with {self.described} has {len(epochs)} at_epochs "
                f"and {len(fractions)} fractions",
                hint="one fraction for each epoch, e.g. at_epochs:[0,72],fractions:[1,0]",
            )
        if epochs != sorted(set(epochs)):
            raise UsageError(f"at_epochs of optimizer.groups must be ascending, got {epochs}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return which of the layers' parameters it has."""
        return KINDS if self.parameters is None else (self.parameters,)

    @property
    def described(self) -> str:
        """Return its parameters in words: 'the weights of conv1, conv2'."""
        what = "parameters" if self.parameters is None else self.parameters
        layers = "all other layers" if self.layers is None else ", ".join(self.layers)
        return f"the {what} of {layers}"

    @property
    def summary(self) -> str:
        """Return 'weights of conv1: weight decay 0, 0.001 of the rate after epoch 67'."""
        words = []
        if self.rate_factor is not None:
            words.append(f"{self.rate_factor:g} times the rate")
        if self.weight_decay is not None:
            words.append(f"weight decay {self.weight_decay:g}")

        for fraction, epoch in zip(self.fractions or (), self.at_epochs or (), strict=True):
            usual = {0.0: "not trained", 1.0: "the full rate"}
            rate = usual.get(fraction, f"{fraction:g} of the rate")
            words.append(f"{rate} {f'after epoch {epoch:g}' if epoch else 'from the start'}")
        return f"{self.described.removeprefix('the ')}: {', '.join(words)}"


def check_groups(groups: Sequence[ParameterGroupConfig], *, decay_biases: bool) -> None:
    """Raise UsageError if two groups have the same parameters, or one's weight decay has no effect.

    Whether the layers exist is known when there is a network (training/parameter_groups.py).
    """
    claimed: set[tuple[str | None, str]] = set()
    for group in groups:
        for layer in [None] if group.layers is None else group.layers:
            for kind in group.kinds:
                if (layer, kind) in claimed:
                    where = "all other layers" if layer is None else layer
                    raise UsageError(
                        f"optimizer.groups has the {kind} of {where} twice",
                        hint="name each layer in one group, or part it by parameters: weights "
                        "and parameters: biases",
                    )
                claimed.add((layer, kind))

        if group.weight_decay and group.parameters == "biases" and not decay_biases:
            raise UsageError(
                f"weight_decay of {group.described} has no effect",
                "optimizer.decay_biases=false",
                hint="leave it out, or set optimizer.decay_biases=true",
            )
