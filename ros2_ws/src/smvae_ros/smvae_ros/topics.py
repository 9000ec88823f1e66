"""THE table of what the node hears, says and answers, for documents, policies and tests.

The node's code creates these with its own calls; a test compares this table with the graph of a
running node, both ways. No ROS is imported, so that documentation and policies need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from smvae_core.errors import ConfigError
from smvae_core.kinds.base import PredictedTopic
from smvae_core.modality import Modality

Direction = Literal["subscribe", "publish"]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of the node, by the name the node's code gives it."""

    name: str
    """Relative to the namespace, `~/` below the node's name, or absolute."""
    message_type: str
    """Default ROS type, e.g. 'sensor_msgs/msg/Image'."""
    direction: Direction
    content: str
    """What it carries, with units."""
    rate: str
    qos: str
    """Reliability, durability and depth."""
    standard: bool = False
    """True: every ROS 2 lifecycle node has it."""
    alternatives: tuple[str, ...] = ()
    """Other types that `modalities.<m>.message_type` may choose."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service that the node answers."""

    name: str
    """Below the node's name: `~/...`."""
    service_type: str
    purpose: str


BEST_EFFORT_1 = "best effort, volatile, depth 1"
RELIABLE = "reliable, volatile, depth 1"
LATCHED = "reliable, transient local, depth 1"
KEPT_RELIABLE = "reliable, volatile, depth 1000"

#: Only of a bundle with estimates.
ESTIMATES = Topic(
    name="~/estimates",
    message_type="smvae_msgs/msg/Estimates",
    direction="publish",
    content="mean and covariance of each target of the model, or why it is not known; only of a "
    "bundle with targets",
    rate="each latent with a mean, while subscribed",
    qos=RELIABLE,
)
OUTPUTS: tuple[Topic, ...] = (
    Topic(
        name="~/latent",
        message_type="smvae_msgs/msg/LatentState",
        direction="publish",
        content="posterior mean and variance; state, stamp and age of each modality",
        rate="each trigger, at most `max_rate_hz`; NO_INPUT at `heartbeat_rate_hz`",
        qos=RELIABLE,
    ),
    ESTIMATES,
    Topic(
        name="~/model_info",
        message_type="smvae_msgs/msg/ModelInfo",
        direction="publish",
        content="what the loaded bundle is",
        rate="once per configure",
        qos=LATCHED,
    ),
    Topic(
        name="~/debug/timing",
        message_type="smvae_msgs/msg/Timing",
        direction="publish",
        content="where the time of one latent went",
        rate="each latent, while subscribed",
        qos=RELIABLE,
    ),
    Topic(
        name="/diagnostics",
        message_type="diagnostic_msgs/msg/DiagnosticArray",
        direction="publish",
        content="model, each modality, inference, latent, time, memory, GPU where there is one",
        rate="every `diagnostics_period_s`",
        qos=RELIABLE,
    ),
)

#: What every lifecycle node has; `/clock` only with `use_sim_time`.
STANDARD: tuple[Topic, ...] = (
    Topic(
        name="/clock",
        message_type="rosgraph_msgs/msg/Clock",
        direction="subscribe",
        content="simulated time [s], only with `use_sim_time`",
        rate="as it comes",
        qos=BEST_EFFORT_1,
        standard=True,
    ),
    Topic(
        name="~/transition_event",
        message_type="lifecycle_msgs/msg/TransitionEvent",
        direction="publish",
        content="every change of state",
        rate="on change",
        qos="reliable, volatile, depth 10",
        standard=True,
    ),
    Topic(
        name="/rosout",
        message_type="rcl_interfaces/msg/Log",
        direction="publish",
        content="log lines",
        rate="on log",
        qos="reliable, transient local, depth 1000",
        standard=True,
    ),
    Topic(
        name="/parameter_events",
        message_type="rcl_interfaces/msg/ParameterEvent",
        direction="publish",
        content="changes of parameters",
        rate="on change",
        qos=KEPT_RELIABLE,
        standard=True,
    ),
)

_LIFECYCLE = (
    ("change_state", "ChangeState", "configure, activate, deactivate, cleanup, shutdown"),
    ("get_state", "GetState", "the state it is in"),
    ("get_available_states", "GetAvailableStates", "all states"),
    ("get_available_transitions", "GetAvailableTransitions", "transitions from this state"),
    ("get_transition_graph", "GetAvailableTransitions", "all transitions"),
)
_PARAMETERS = (
    ("describe_parameters", "DescribeParameters", "type, range and meaning"),
    ("get_parameter_types", "GetParameterTypes", "types"),
    ("get_parameters", "GetParameters", "values"),
    ("list_parameters", "ListParameters", "names"),
    ("set_parameters", "SetParameters", "set each by itself; a refusal gives its reason"),
    ("set_parameters_atomically", "SetParametersAtomically", "set all or none"),
)

SERVICES: tuple[Service, ...] = (
    Service(
        name="~/reset",
        service_type="std_srvs/srv/Trigger",
        purpose="drop all samples and begin a new epoch",
    ),
    *(
        Service(name=f"~/{name}", service_type=f"lifecycle_msgs/srv/{kind}", purpose=purpose)
        for name, kind, purpose in _LIFECYCLE
    ),
    *(
        Service(name=f"~/{name}", service_type=f"rcl_interfaces/srv/{kind}", purpose=purpose)
        for name, kind, purpose in _PARAMETERS
    ),
    Service(
        name="~/get_type_description",
        service_type="type_description_interfaces/srv/GetTypeDescription",
        purpose="definitions of the node's message types (Jazzy and later)",
    ),
)


def camera_info_topic(image_topic: str) -> str:
    """Return the camera_info topic beside an image topic, where image_transport puts it."""
    parts = image_topic.split("/")
    if parts[-1] in ("compressed", "compressedDepth"):
        parts.pop()
    return "/".join([*parts[:-1], "camera_info"])


def inputs(modalities: Iterable[Modality], chosen: dict[str, str] | None = None) -> list[Topic]:
    """Return what a node with these modalities subscribes to, camera_info included.

    Args:
        modalities: Of the bundle.
        chosen: Topic of a modality by its name, where it is not the default.
    """
    found = []
    for modality in modalities:
        topic = (chosen or {}).get(modality.name) or modality.default_topic
        found.append(
            Topic(
                name=topic,
                message_type=(default := modality.converter().message_type),
                alternatives=tuple(t for t in modality.message_types if t != default),
                direction="subscribe",
                content=modality.family.content(modality),
                rate=modality.family.rate,
                qos=f"best effort, volatile, depth {modality.family.depth(modality.converter())}",
            )
        )
        if modality.is_image:
            found.append(
                Topic(
                    name=camera_info_topic(topic),
                    message_type="sensor_msgs/msg/CameraInfo",
                    direction="subscribe",
                    content="calibration, beside the image wherever that is remapped to; optional",
                    rate="as it comes",
                    qos=BEST_EFFORT_1,
                )
            )
    return found


def predicted_name(modality: Modality, topic: PredictedTopic) -> str:
    """Return the name of a topic of what the model predicts of a modality."""
    return "/".join(filter(None, ("~/predicted", modality.name, topic.name)))


def predicted(modality: Modality) -> list[Topic]:
    """Return what a node publishes of a modality's predictions."""
    return [
        Topic(
            name=predicted_name(modality, topic),
            message_type=topic.message_type,
            direction="publish",
            content=topic.content,
            rate="each latent, while subscribed (`publish_predicted`)",
            qos=RELIABLE,
        )
        for topic in modality.family.predicted(modality)
    ]


def outputs(modalities: Iterable[Modality], *, estimates: bool = True) -> list[Topic]:
    """Return what a node with these modalities publishes, beside what every node does.

    Args:
        modalities: Of the bundle.
        estimates: Whether the bundle has any.
    """
    said = [topic for topic in OUTPUTS if estimates or topic is not ESTIMATES]
    return [*said, *(topic for modality in modalities for topic in predicted(modality))]


def resolve(name: str, namespace: str, node_name: str) -> str:
    """Return the absolute name of a topic or service of a node.

    Args:
        name: As in this table.
        namespace: Of the node, with or without its leading slash; '' or '/' is the root.
        node_name: Without namespace.
    """
    if name.startswith("/"):
        return name
    prefix = "/" + namespace.strip("/") if namespace.strip("/") else ""
    if name.startswith("~/"):
        return f"{prefix}/{node_name}/{name[2:]}"
    return f"{prefix}/{name}"


def require_name(name: str) -> None:
    """Refuse what is no name of a topic, node or namespace; substitutions in braces are none.

    Args:
        name: Relative or absolute; '' is the root namespace.

    Raises:
        ConfigError: If ROS would not take it.
    """
    if not all((c.isascii() and c.isalnum()) or c in "_/~" for c in name):
        raise ConfigError(f"'{name}' is no ROS name: letters, digits, '_', '/' and '~' only")
    if "//" in name or name[1:].endswith("/"):
        raise ConfigError(f"'{name}' is no ROS name: a '/' has a name behind it")
    if any(part[:1].isdigit() for part in name.split("/")):
        raise ConfigError(f"'{name}' is no ROS name: no part of it begins with a digit")
