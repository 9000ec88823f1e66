"""THE table of the node's parameters: what each is, its default, its range, when it may change.

Live the node declares, checks and uses them (`smvae_ros/parameters/declared.py`), offline `smvae
evaluate-bag` reads them from the same file; `Settings` is what they mean to both.
`config/perception.yaml` and the documents are this table written out. Parameters of a modality are
`modalities.<name>.*`; they exist once a bundle is configured, for those that its manifest names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smvae_core.errors import ConfigError, nearest
from smvae_core.fusion.rules import TRIGGERS, FusionRule, Pace, SuspicionRule
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter, Kind
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.parameter import Parameter
from smvae_core.reads import Reads, first_clash

#: Parameters that rclpy itself declares, or that it reads before.
_OF_RCLPY = ("use_sim_time", "qos_overrides", "start_type_description_service")


class WrongType(ConfigError):
    """A value that is not of its parameter's type."""

    def __init__(self, parameter: Parameter, why: str) -> None:
        """Build the message."""
        kind = type(parameter.default).__name__
        hint = {"float": " (write 30.0, not 30)", "str": " (a number in quotes)"}.get(kind, "")
        super().__init__(f"parameter {parameter.name} must be a {kind}{hint}: {why}")


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="bundle",
        default="",
        reloads=True,
        description="Folder of the exported model: absolute path, file:// or package://PACKAGE/PATH.",
    ),
    Parameter(
        name="bundle_sha256",
        default="",
        reloads=True,
        description="Expected SHA-256 of the bundle's manifest.json; empty = any.",
    ),
    Parameter(
        name="provider",
        default="cpu",
        choices=("cpu", "cuda", "tensorrt"),
        description="Where the networks run.",
    ),
    Parameter(
        name="allow_cpu_fallback",
        default=False,
        description="Run on the CPU when the provider cannot be had or fails, instead of failing.",
    ),
    Parameter(
        name="device_id",
        default=0,
        low=0,
        high=63,
        description="GPU of cuda and tensorrt, counted among those that CUDA_VISIBLE_DEVICES "
        "leaves; diagnostics show the same one.",
    ),
    Parameter(
        name="gpu_mem_limit_mb",
        default=0.0,
        low=0.0,
        high=1e6,
        description="GPU memory that each network's arena takes at most [MB]; 0 = no limit. There "
        "are two networks per modality and one more; CUDA's own memory comes on top. Only cuda "
        "keeps it.",
    ),
    Parameter(name="threads", default=1, low=1, high=64, description="Threads of one network run."),
    Parameter(
        name="trigger",
        default="any",
        live=True,
        description="What asks for a latent: any (every new sample), timer, or a modality's name.",
    ),
    Parameter(
        name="max_rate_hz",
        default=100.0,
        low=0.1,
        high=1000.0,
        live=True,
        description="At most so many latents per second; the rate of trigger 'timer'.",
    ),
    Parameter(
        name="collect_timeout_s",
        default=0.01,
        low=0.0,
        high=1.0,
        live=True,
        description="How long to wait for others of the same moment, at most: for live ones with a "
        "modality as trigger, for those that are due within it with 'any', never with 'timer'.",
    ),
    Parameter(
        name="heartbeat_rate_hz",
        default=5.0,
        low=0.2,
        high=50.0,
        description="Rate of NO_INPUT messages while nothing is alive.",
    ),
    Parameter(
        name="max_future_s",
        default=0.5,
        low=0.0,
        high=3600.0,
        live=True,
        description="Messages stamped further ahead of the node's clock are rejected.",
    ),
    Parameter(
        name="memory_s",
        default=5.0,
        low=0.0,
        high=600.0,
        live=True,
        description="How far back samples count beside those of the moment, so that a lost camera "
        "is not forgotten at once; 0 = not at all. No effect where the bundle has no memory.",
    ),
    Parameter(
        name="predict_ahead_s",
        default=0.0,
        low=0.0,
        high=0.5,
        live=True,
        description="Latents and predictions answer for so much after the reference time, as if "
        "nothing new came until then; needs a bundle with a memory, and memory_s above 0.",
    ),
    Parameter(
        name="suspicion_rate_hz",
        default=20.0,
        low=0.0,
        high=1000.0,
        live=True,
        description="Sensors judged per second by what the others foretell of them, in turns, "
        "once a latent is out; 0 = none. No effect where the bundle is not calibrated for it.",
    ),
    Parameter(
        name="leave_out_suspects",
        default=True,
        live=True,
        description="Leave a suspect sensor out of the set, shown as REJECTED, as long as others "
        "are in it: one that the others speak against, and of a set that is out of distribution "
        "the one without which it is not. false = all stay in.",
    ),
    Parameter(
        name="publish_predicted",
        default="auto",
        choices=("auto", "always", "never"),
        live=True,
        description="Predictions: auto = only those that have a subscriber.",
    ),
    Parameter(
        name="diagnostics_period_s",
        default=1.0,
        low=0.1,
        high=60.0,
        description="Time between diagnostics.",
    ),
)

MODALITY_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(name="enabled", default=True, live=True, description="False: never fused."),
    Parameter(name="topic", default="", description="Where its messages come from."),
    Parameter(
        name="message_type",
        default="",
        description="What its topic carries; empty = the first one.",
    ),
    Parameter(
        name="max_skew_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Fused up to this far from the reference time; 0 = 1.5 measured periods "
        "between stamps, and what it is measured to arrive later than the others (up to 0.2 s).",
    ),
    Parameter(
        name="max_age_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Lost after this long without a good message, until two have come; 0 = 3 "
        "measured periods.",
    ),
    Parameter(
        name="stamp_offset_s",
        default=0.0,
        low=-10.0,
        high=10.0,
        live=True,
        description="Known constant error of its stamps, positive = late: a sample happened at "
        "stamp - offset.",
    ),
)


#: Of every kind whose newest message is the sample.
_HOLD_LAST = Parameter(
    name="hold_last_s",
    default=0.0,
    low=0.0,
    high=60.0,
    live=True,
    description="Use the last sample for this long beside fresh ones of others, flagged as "
    "held; 0 = never. For commands that come rarely.",
)
_FRAME_ID = Parameter(
    name="frame_id",
    default="",
    live=True,
    description="Expected frame of its messages, others are rejected; empty = any.",
)


def of_kind(kind: Kind) -> tuple[Parameter, ...]:
    """Return the parameters of a sensor of a kind, without prefix."""
    held = () if kind.is_window else (_HOLD_LAST,)
    return (*MODALITY_PARAMETERS, *held, _FRAME_ID, *kind.parameters)


def of_modality(
    modality: Modality, declared: Mapping[str, Any] | None = None
) -> tuple[Parameter, ...]:
    """Return the parameters of one modality under their full names, see `table`."""
    said = declared or {}
    prefix = f"modalities.{modality.name}."
    defaults = {"topic": modality.default_topic}
    types = () if modality.family.any_message else ("", *modality.message_types)
    choices = {"message_type": types}
    return tuple(
        replace(
            p,
            name=prefix + p.name,
            default=said.get(prefix + p.name, defaults.get(p.name, p.default)),
            declared=prefix + p.name in said,
            choices=choices.get(p.name, p.choices),
            reads=modality.family.reads(modality) if p.name == "topic" else None,
        )
        for p in of_kind(modality.family)
    )


def table(
    modalities: Iterable[Modality], declared: Mapping[str, Any] | None = None
) -> dict[str, Parameter]:
    """Return all parameters of a node with these modalities, by full name.

    Args:
        modalities: Of the bundle.
        declared: Defaults that its manifest gives in place of the node's own, by full name; see
            `Manifest.parameters`.
    """
    entries = [*PARAMETERS, *(p for m in modalities for p in of_modality(m, declared))]
    return {p.name: p for p in entries}


def joint_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list; rclpy cannot tell the type of an empty array."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def complete(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every parameter: the one given, else its default.

    Args:
        parameters: See `table`.
        given: By full name; names that the table does not have are left out, see `unknown`.

    Raises:
        ConfigError: If a value is of another type; as in ROS a float is written 30.0, not 30.
    """
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        values[name] = value = given.get(name, parameter.default)
        if type(value) is not type(parameter.default):
            raise WrongType(parameter, f"got {value!r}")
    return values


def check(
    parameters: Mapping[str, Parameter],
    values: Mapping[str, Any],
    resolve: Callable[[str], str] | None = None,
) -> str:
    """Return why these values cannot be used together, or an empty string.

    Args:
        parameters: See `table`.
        values: Value of every one of them.
        resolve: Gives the full name of a topic, by which two sensors of one are found that read
            the same of its messages; None = that is not looked at.
    """
    for name, parameter in parameters.items():
        value = values[name]
        if parameter.choices and value not in parameter.choices:
            return f"{name} must be {choices_text(parameter)}, got '{value}'"
        low, high = parameter.low, parameter.high
        if low is not None and high is not None and not low <= value <= high:
            return f"{name} must lie in [{low:g}, {high:g}], got {value:g}"
    ahead_s = values["predict_ahead_s"]
    if ahead_s and not values["memory_s"]:
        return f"predict_ahead_s {ahead_s:g} needs memory_s above 0"
    names = [n.split(".")[1] for n in parameters if n.endswith(".enabled")]
    if not names:
        return ""
    enabled = [n for n in names if values[f"modalities.{n}.enabled"]]
    if not enabled:
        return "at least one modality must stay enabled"
    trigger = values["trigger"]
    if trigger not in (*TRIGGERS, *enabled):
        return f"trigger must be one of {', '.join((*TRIGGERS, *enabled))}, got '{trigger}'"
    if reason := next(filter(None, (_check_modality(name, values) for name in names)), ""):
        return reason
    if resolve is None:
        return ""
    topics = {n: f"modalities.{n}.topic" for n in enabled}
    reads = [(resolve(values[t]), parameters[t].reads or Reads(n)) for n, t in topics.items()]
    return first_clash(reads)


def check_memory(values: Mapping[str, Any], remembers: bool) -> str:
    """Return why these values cannot be used with a bundle, or an empty string.

    Args:
        values: Value of every parameter.
        remembers: Whether the bundle has a memory.
    """
    ahead_s = values["predict_ahead_s"]
    if not ahead_s or remembers:
        return ""
    return f"predict_ahead_s must be 0, got {ahead_s:g}: the bundle has no memory (model.memory)"


def choices_text(parameter: Parameter) -> str:
    """Return the choices of a parameter that has some, as words."""
    named = f"one of {', '.join(filter(None, parameter.choices))}"
    return f"{named}, or empty" if "" in parameter.choices else named


def _check_modality(name: str, values: Mapping[str, Any]) -> str:
    """Return why the values of one modality contradict each other, or an empty string."""
    prefix = f"modalities.{name}"
    age, skew = values[f"{prefix}.max_age_s"], values[f"{prefix}.max_skew_s"]
    if age and skew and age <= skew:
        return f"{prefix}: max_age_s {age:g} must exceed max_skew_s {skew:g}"
    hold = values.get(f"{prefix}.hold_last_s", 0.0)
    if hold and hold <= max(age, skew):
        limit = "max_age_s" if age >= skew else "max_skew_s"
        return (
            f"{prefix}: hold_last_s {hold:g} must exceed {limit} {max(age, skew):g}, or be 0 "
            "(never hold)"
        )
    joints = joint_names(values.get(f"{prefix}.joint_names", ""))
    if len(set(joints)) < len(joints):
        return f"{prefix}.joint_names must differ, got '{', '.join(joints)}'"
    near, far = values.get(f"{prefix}.color_min_m", 0.0), values.get(f"{prefix}.color_max_m", 0.0)
    if far and far <= near:
        return f"{prefix}: color_max_m {far:g} must exceed color_min_m {near:g}"
    return ""


def unknown(given: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return what the node does with given parameters that it does not have: prefix -> why.

    Args:
        given: Names from launch, command line and parameter files.
        known: Those of the table, with the bundle's modalities.
    """
    known = set(known)
    modalities = {name.split(".")[1] for name in known if name.startswith("modalities.")}
    found = {}
    for name in given:
        of = name.split(".")
        if name in known or of[0] in _OF_RCLPY:
            continue
        if of[0] == "modalities" and len(of) > 2 and of[1] not in modalities:
            found[f"modalities.{of[1]}"] = f"the bundle has {', '.join(sorted(modalities))}"
        else:
            near = nearest(name, known)
            found[name] = f"did you mean {near}?" if near else "no such parameter"
    return found


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of fusion, live and offline."""

    pace: Pace
    rules: dict[str, FusionRule]
    """Of each modality."""
    sources: dict[str, Source]
    """How the messages of each modality are read."""
    topics: dict[str, str]
    """Of each modality, as given: relative or absolute."""
    memory_s: float = 0.0
    """How far back samples count, where the bundle has a memory; 0 = none does."""
    predict_ahead_s: float = 0.0
    """How far behind the reference time latents answer for, where the bundle has a memory."""
    suspicion: SuspicionRule = field(default_factory=SuspicionRule)
    """How sensors are judged by the others."""
    asked: frozenset[str] = frozenset()
    """Modalities whose topic somebody gave for this one bag, so that it must exist."""

    @classmethod
    def of(cls, values: Mapping[str, Any], modalities: tuple[Modality, ...]) -> Settings:
        """Return what the values of all parameters ask for.

        Args:
            values: By full name, every one of `smvae_core.settings.table(modalities)`.
            modalities: Of the bundle.

        Raises:
            ConfigError: If a modality cannot be read from its message type, or a value cannot be.
        """
        return cls(
            pace=Pace(**{name: values[name] for name in Pace.__dataclass_fields__}),
            rules={m.name: fusion_rule(values, m) for m in modalities},
            sources={
                m.name: Source(
                    converter=message_converter(values, m),
                    options=conversion_options(values, m),
                    frame_id=values[f"modalities.{m.name}.frame_id"],
                )
                for m in modalities
            },
            topics={m.name: values[f"modalities.{m.name}.topic"] for m in modalities},
            memory_s=values["memory_s"],
            predict_ahead_s=values["predict_ahead_s"],
            suspicion=SuspicionRule(
                rate_hz=values["suspicion_rate_hz"], leave_out=values["leave_out_suspects"]
            ),
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """Modalities that are never fused."""
        return tuple(name for name, rule in self.rules.items() if not rule.enabled)


def fusion_rule(values: Mapping[str, Any], modality: Modality) -> FusionRule:
    """Return the collector's rule that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    return FusionRule(
        enabled=values[prefix + "enabled"],
        max_skew_s=values[prefix + "max_skew_s"] or None,
        max_age_s=values[prefix + "max_age_s"] or None,
        stamp_offset_s=values[prefix + "stamp_offset_s"],
        hold_last_s=values.get(prefix + "hold_last_s", FusionRule().hold_last_s),
        min_samples=values.get(prefix + "min_samples", FusionRule().min_samples),
    )


def conversion_options(values: Mapping[str, Any], modality: Modality) -> ConversionOptions:
    """Return the conversion options that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    default = ConversionOptions()
    return ConversionOptions(
        depth_scale=values.get(prefix + "depth_scale", default.depth_scale),
        step_time_s=values.get(prefix + "step_time_s", default.step_time_s),
        joint_names=joint_names(values.get(prefix + "joint_names", "")),
        own={p.name: values[prefix + p.name] for p in modality.family.parameters},
    )


def message_converter(values: Mapping[str, Any], modality: Modality) -> Converter:
    """Return the conversion from the message type that a modality's topic carries.

    Raises:
        ConfigError: If the modality cannot be read from that type.
    """
    return modality.converter(values[f"modalities.{modality.name}.message_type"])
