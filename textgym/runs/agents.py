"""Agents by name, from the entry-point group `textgym.agents`: what their builders take, and how they are called."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from textgym.errors import MissingExtraError, TaskError, TextGymError, UnknownNameError, did_you_mean
from textgym.runs.config import DEFAULT_KL, TrainConfig
from textgym.sb3.agent import make_agent
from textgym.scorers.plugins import blamed, only

Builder = Callable[..., BaseAlgorithm]

OPTIONS = {
    "kl_coef": "kl",
    "kl_target": "kl_target",
    "kl_in": "kl_in",
    "kl_estimator": "kl_estimator",
    "learning_rate": "learning_rate",
    "temperature": "temperature",
}
"""Settings of a builder that a configuration has a field of its own for."""

KL = ("kl_coef", "kl_target", "kl_in", "kl_estimator")
"""Which of them make the KL penalty."""

OWN = ("seed", "device", "env", "model", "policy", "policy_class", "gamma", "_init_setup_model")
"""What a run decides itself: it does not discount, and the rest follows from its other settings."""


def agent_builder(name: str) -> Builder:
    """The builder of an agent by name.

    Raises:
        UnknownNameError: no installed package declares that name.
        TaskError: two packages do, or what the one declares cannot be used; the message names the package.
        MissingExtraError: it needs a package that is not installed.
    """
    points: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group="textgym.agents"):
        points.setdefault(point.name, []).append(point)
    if name not in points:
        raise UnknownNameError("agent", name, points)
    point = only("agent", points[name], TaskError)
    missing: MissingExtraError | None = None
    builder: Any = None
    with blamed("agent", point, TaskError):
        try:
            builder = point.load()
        except MissingExtraError as error:
            missing = error  # not the package's fault, and its message says what to do
        if missing is None and not callable(builder):
            raise TaskError(f"{point.value} is no function: build(env, model, **settings) is called")
    if missing is not None:
        raise missing
    found: Builder = builder
    return found


def settings_of(builder: Builder) -> dict[str, Any] | None:
    """The settings that a builder takes, with their defaults; None where that cannot be told.

    A builder that hands `**settings` on takes those of `make_agent` and of the algorithm that it says it returns. An
    off-policy algorithm has no distribution that could be held near a model, and so no setting of the KL penalty.
    """
    signature = inspect.signature(builder, eval_str=True)
    found = {name: p.default for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}
    made = signature.return_annotation
    known = inspect.isclass(made) and issubclass(made, BaseAlgorithm)
    if _hands_on(signature):
        if not known:
            return None
        found = {**_of_class(made), **_of_make_agent(), **found}
    if known and issubclass(made, OffPolicyAlgorithm):
        found = {name: default for name, default in found.items() if name not in KL}
    return found


def check_agent(config: TrainConfig) -> Builder:
    """The builder of a configuration's agent, before anything is computed.

    Raises:
        TaskError: settings that this agent does not take; or as `agent_builder`.
    """
    builder = agent_builder(config.agent)
    _chosen(settings_of(builder), config)
    return builder


def build_agent(builder: Builder, env: VecEnv, model: str, config: TrainConfig) -> BaseAlgorithm:
    """The agent of a configuration.

    Args:
        builder: its builder.
        env: made with `environment_of` its settings.
        model: folder of the model that it begins as.
        config: the configuration.

    Raises:
        TaskError: a setting that this agent does not take, or a value that it refuses.
    """
    known = settings_of(builder)
    own = {"seed": config.seed, "device": config.device}
    settings = {name: value for name, value in own.items() if known is None or name in known}
    settings |= _chosen(known, config)
    try:
        return builder(env, model, **settings)
    except TextGymError:
        raise
    except (TypeError, ValueError, AssertionError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise TaskError(f"agent {config.agent} cannot be made with {shown}: {error}") from error


def environment_of(builder: Builder, config: TrainConfig) -> dict[str, Any]:
    """The settings of `make_sb3_env` that an agent needs; what the configuration says goes before them."""
    needed: dict[str, Any] = dict(getattr(builder, "environment", {}))
    given = {"group_size": config.group_size, "constraint": config.constraint}
    return needed | {name: value for name, value in given.items() if value is not None}


def _chosen(known: Mapping[str, Any] | None, config: TrainConfig) -> dict[str, Any]:
    """The settings that a configuration makes its agent with."""
    fields = {setting: getattr(config, option) for setting, option in OPTIONS.items()}
    if known is not None and "kl_coef" in known and config.kl is None:
        fields["kl_coef"] = DEFAULT_KL
    given = {setting: value for setting, value in fields.items() if value is not None}
    for setting in config.settings:
        if setting in OPTIONS:
            raise TaskError(f"setting {setting!r} of an agent has an option of its own: {_option(setting)}")
        if setting in OWN:
            raise TaskError(f"setting {setting!r} of an agent is decided by the run itself")
    given |= config.settings
    if known is None:
        return given
    for setting in given:
        if setting not in known and setting in OPTIONS:
            raise TaskError(f"agent {config.agent} has nothing that {_option(setting)} could set; leave it away")
        if setting not in known:
            allowed = set(known) - set(OPTIONS) - set(OWN)
            raise TaskError(f"agent {config.agent} has no setting {setting!r}. {did_you_mean(setting, allowed)}")
    if config.reference_every is not None and "kl_coef" not in known:
        raise TaskError(f"agent {config.agent} has no reference that --reference-every could refresh; leave it away")
    return given


def _option(setting: str) -> str:
    return f"--{OPTIONS[setting].replace('_', '-')}"


def _hands_on(signature: inspect.Signature) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def _of_make_agent() -> dict[str, Any]:
    parameters = inspect.signature(make_agent).parameters
    return {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _of_class(algorithm: type[BaseAlgorithm]) -> dict[str, Any]:
    """What its constructor takes, and those of its bases that it hands keywords on to."""
    found: dict[str, Any] = {}
    for each in algorithm.__mro__:
        if "__init__" not in vars(each):
            continue
        signature = inspect.signature(vars(each)["__init__"])
        named = (p for p in signature.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
        found = {**{p.name: p.default for p in named if p.name != "self"}, **found}
        if not _hands_on(signature):
            break
    return found
