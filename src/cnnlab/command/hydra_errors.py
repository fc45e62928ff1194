"""What Hydra, OmegaConf and the YAML reader complain of, in our words."""

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from cnnlab import plugin_errors
from cnnlab.command import own_choices
from cnnlab.command.suggestions import did_you_mean
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.extras import install_hint
from cnnlab.safe_output import listed

USER_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)
"""What Hydra raises for a command line or a YAML file that cannot be used."""

EXTRAS = {
    "hydra/sweeper/optuna": "search",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
}
"""Choices of Hydra's own groups that come with an optional dependency of ours, and which one."""


def missing_extra(choice: str) -> UsageError:
    """Return the error for a choice of EXTRAS whose packages are not installed."""
    group, _, name = choice.rpartition("/")
    return UsageError(
        f"{group}={name} needs packages that are missing", hint=install_hint(EXTRAS[choice])
    )


def explain(error: Exception) -> CnnlabError:
    """Turn an exception of Hydra, OmegaConf or the YAML reader into a UsageError."""
    if (own := plugin_errors.as_usage(error)) is not None:
        return own
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(str(error.missing_cfg_file), list(error.options or []))
    if isinstance(error, OverrideParseException):
        return UsageError(
            f"cannot read '{error.override.removeprefix('++')}'",
            hint="""special characters need quotes inside quotes: 'key="a=b, c"'""",
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UsageError(lines[0] if lines else type(error).__name__, *lines[1:2])


def _missing_choice(file: str, options: list[str]) -> UsageError:
    if file in EXTRAS:
        return missing_extra(file)
    group, _, name = file.rpartition("/")
    if not group:
        return UsageError(f"no config '{name}'")
    hint = did_you_mean(name, options)
    unknown = UsageError(f"no {group} '{name}'", f"available: {listed(options)}", hint)
    return own_choices.lack_of_defaults(group, name) or unknown
