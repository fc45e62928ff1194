"""Compose and check the config of every job before the first one runs; configs of resumed runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from cnnlab import plugins
from cnnlab.command import folders, giving_way, own_choices, resolvers
from cnnlab.command.hydra_errors import USER_ERRORS, explain
from cnnlab.command.line import Request, is_hydras
from cnnlab.command.verbs import VERBS, Verb
from cnnlab.config import choices, of_earlier_run, recipes
from cnnlab.config.earlier import completed
from cnnlab.config.own_parts import refuse_missing
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.run_folder import find_run
from cnnlab.safe_output import say

MOST_COMBINATIONS = 100
"""A sweep with more jobs has every value checked, but not every combination."""

QUIETLY_CHECKED = 10  # of more trainings that a command may start it says that it checks them

FOR_FOLDERS = ("hydra.job.", "hydra.output_subdir=")
"""Hydra's settings that `folders` reads."""


@dataclass(frozen=True)
class Job:
    """One job of a command, composed once and checked.

    composed: with the `hydra` node. overrides: its key=value words as Hydra takes them. config:
    the typed settings that the command's task is called with. trainings: those that it may start,
    by their words. left_out: lines on what an experiment sets without effect beside what is typed.
    """

    composed: DictConfig
    overrides: list[str]
    config: Any
    places: folders.Places
    trainings: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @property
    def needs_hydra(self) -> bool:
        """Return whether a YAML file asks Hydra to do something around the job."""
        hydra = self.composed.hydra
        return bool(hydra.callbacks or hydra.job.env_set or hydra.verbose)


def check(request: Request) -> list[Job]:
    """Compose and check every job of a request. Raises UsageError for the first bad one."""
    folders.check_words(request)
    own_choices.offer(request)
    with resolvers.known(), initialize_config_dir(_configs(), version_base="1.3"):
        found = [_check(request, *numbered) for numbered in enumerate(jobs(request))]
    giving_way.tell([line for job in found for line in job.left_out])
    return found


def _configs() -> str:
    return str(choices.configs_folder())


def _check(request: Request, number: int, overrides: list[str]) -> Job:
    words = [*search_path(request), *_for_hydra(request), *overrides]
    composed = compose(request.verb, words, return_hydra_config=True)
    places = folders.chosen(request, composed, number)
    verb = VERBS[request.verb]
    plain, left_out = in_use(verb, composed, overrides)
    config = _typed(verb, plain, overrides)
    job = Job(composed, overrides, config, places, _trainings(request, config), left_out)
    if job.trainings and (request.is_sweep or job.needs_hydra):
        raise UsageError(
            f"'{request.verb}' starts its trainings itself and takes no sweep, callback or env_set",
            hint="leave out -m; a list does what a sweep would: claims=[A,B]",
        )
    return job


def _trainings(request: Request, config: Any) -> dict[tuple[str, ...], Any]:
    """Compose and check every training that a command may start. Raises UsageError for a bad one.

    For use where Hydra is initialized.
    """
    trains = VERBS[request.verb].trains
    wanted = {} if trains is None else trains(config)
    if len(wanted) > QUIETLY_CHECKED:
        say(f"checking the settings of {len(wanted)} trainings")

    found: dict[tuple[str, ...], Any] = {}
    for words, wanted_by in wanted.items():
        try:
            composed = compose("train", [*search_path(request), *words])
            found[words] = parse(VERBS["train"], composed, list(words))
        except (CnnlabError, *USER_ERRORS) as error:
            cause = error if isinstance(error, CnnlabError) else explain(error)
            where = f"cnnlab train {' '.join(words)}"
            raise UsageError(f"claim '{wanted_by}': {cause.what}", where, cause.hint) from error
    return found


def parse(verb: Verb, composed: Any, overrides: list[str]) -> Any:
    """Return the typed config of one job; a resumed run's comes from its folder."""
    plain, _ = in_use(verb, composed, overrides)
    return _typed(verb, plain, overrides)


def _typed(verb: Verb, plain: dict[str, Any], overrides: list[str]) -> Any:
    """Return the typed config of the values that one job uses."""
    if "plugins" in plain:  # of a file the whole path, which a run can name anywhere
        plain["plugins"] = plugins.load(plain["plugins"] or [])
    config = verb.parse(completed(verb.config_class, plain))  # a user's YAML file may be older
    _refuse_without_effect(verb, config, overrides)
    return config


def _refuse_without_effect(verb: Verb, config: Any, overrides: list[str]) -> None:
    """Raise UsageError for a typed setting that has no effect with the values of others."""
    typed = [word.lstrip("+~").partition("=")[0] for word in overrides]
    for need in verb.needs:
        idle = [key for key in typed if need.concerns(key)]
        if idle and not need.is_met(config):
            raise UsageError(
                f"{idle[0]} has no effect here: {need.otherwise}",
                hint=f"leave it out; {need.way_out}",
            )


def settle(composed: DictConfig) -> dict[str, Any]:
    """Return composed settings as plain data: interpolations resolved, the recipe taken out."""
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    with resolvers.known():
        container = OmegaConf.to_container(own, resolve=True)
    assert isinstance(container, dict)
    plain = {str(key): value for key, value in container.items()}
    recipes.take_out(plain)
    return plain


def in_use(verb: Verb, composed: Any, overrides: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of one job, unchecked; a resumed run's come from its folder.

    And a line for each typed choice that replaces settings of an experiment.
    """
    plain = settle(composed)
    left_out = giving_way.give_way(verb, plain, overrides)
    if plain.get("resume"):
        plain = resumed(str(plain["resume"]), plain, overrides)
    return plain, left_out


def jobs(request: Request) -> list[list[str]]:
    """Return the overrides of each job; an interval, which a search fills, counts as its two ends.

    Raises UsageError for several values without -m.
    """
    parsed = OverridesParser.create().parse_overrides(overrides=request.overrides)
    sweeping = [override for override in parsed if override.is_sweep_override()]
    if sweeping and not request.is_sweep:
        raise _several_values(sweeping[0])

    axes = [_values(override) for override in parsed if not is_hydras(override.key_or_group)]
    combinations = list(itertools.islice(itertools.product(*axes), MOST_COMBINATIONS + 1))
    if len(combinations) > MOST_COMBINATIONS:
        combinations = _each_value_once([axis for axis in axes if axis])
    return [[word for word in combination if word] for combination in combinations]


def preview(request: Request) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Return the values that the first job of a request would use, and the choice of each group."""
    own_choices.offer(request)
    with resolvers.known(), initialize_config_dir(_configs(), version_base="1.3"):
        overrides = jobs(request)[0]
        words = [*search_path(request), *overrides]
        composed = compose(request.verb, words, return_hydra_config=True)

    chosen: dict[str, str | None] = dict(composed.hydra.runtime.choices)
    values, _ = in_use(VERBS[request.verb], composed, overrides)
    if values.get("resume"):
        chosen |= {key: part["name"] for key, part in values.items() if _is_named(part)}
    return values, chosen


def _is_named(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("name"), str)


def _several_values(override: Override) -> UsageError:
    key, values = override.key_or_group, override.get_value_string()
    return UsageError(f"{key}={values} has several values", hint="add -m to run each of them")


def _values(override: Override) -> list[str]:
    """Return one key=value word per value of an override, for an interval those of its ends."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    if not override.is_discrete_sweep():
        interval: Any = override.value()
        return [f"{key}={end}" for end in (interval.start, interval.end)]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _each_value_once(axes: list[list[str]]) -> list[tuple[str, ...]]:
    first = [axis[0] for axis in axes]
    return [
        (*first[:position], word, *first[position + 1 :])
        for position, axis in enumerate(axes)
        for word in axis
    ]


def _for_hydra(request: Request) -> list[str]:
    """Return Hydra's settings that the folders of jobs depend on.

    Those of launchers and sweepers are left to hydra.main, which loads their plugins.
    """
    return [word for word in request.overrides if word.lstrip("+").startswith(FOR_FOLDERS)]


def search_path(request: Request) -> list[str]:
    """Return the word that names the folders of the user's own YAML files, if there are any.

    Raises UsageError for a current folder that would be searched and holds settings of Hydra's.
    """
    given = [word for word in request.overrides if word.startswith("hydra.searchpath=")]
    here = choices.own_folders()
    searched = [*request.config_folders, *here]
    if given or not searched:
        return given
    own_choices.refuse_hydras(here, request.config_folders)
    quoted = ",".join(f"'file://{folder}'" for folder in searched)
    return [f"hydra.searchpath=[{quoted}]"]


def resumed(where: str, asked: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return the config of the run to continue, with this command's settings in it.

    asked: the resolved values of this command. The run's config.yaml is not trusted: nothing in it
    is resolved, and of `plugins` only this command's are imported.
    Raises UsageError for a group choice: another model or data set is another run.
    """
    run = find_run(where)
    plugins.load(asked.get("plugins") or [])  # whose parts may have settings newer than the run
    stored = refuse_missing(run.read_config(), f"the run is {run.path}")
    config = of_earlier_run(stored)

    for override in OverridesParser.create().parse_overrides(overrides=overrides):
        key = override.key_or_group
        if is_hydras(key) or key == "resume":
            continue
        value = _at(asked, key)
        if not override.is_force_add() or isinstance(value, dict):
            raise UsageError(
                f"{key}={override.get_value_string()} cannot be chosen when resuming",
                f"the run is {run.path}",
                "change single settings, or start a new run",
            )
        _put(config, key, value)

    config["plugins"] = asked.get("plugins") or []
    return {**config, "resume": str(run.path) if where == "latest" else where}


def _at(plain: dict[str, Any], key: str) -> Any:
    value: Any = plain
    for part in key.split("."):
        value = value[part]
    return value


def _put(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place, making the sections on the way."""
    *sections, last = key.split(".")
    for section in sections:
        inner = plain.get(section)
        plain[section] = plain = inner if isinstance(inner, dict) else {}
    plain[last] = value
