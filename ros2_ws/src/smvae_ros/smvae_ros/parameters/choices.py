"""What a command line chooses for each sensor of a bundle: `topics:=rgb=/image,force=/ft/wrench`.

Launch files and the writers of files share it. Sensors are those of the bundle; no ROS is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_ros import topics as table
from smvae_ros.bundle_path import resolve

#: Name of the node whose names the viewers' files have, in the root namespace.
SHOWN = "smvae"


def choices(text: str, argument: str) -> dict[str, str]:
    """Return sensor -> value of a list such as 'rgb=/a,force=/b'; spaces do not matter.

    Args:
        text: The list; empty = nothing chosen.
        argument: Its name, for errors.

    Raises:
        ConfigError: If a part is not NAME=VALUE, or a sensor is named twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = (p.strip() for p in part.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{argument}: expected NAME=VALUE,NAME=VALUE, got '{part}'")
        if name in found:
            raise ConfigError(f"{argument}: '{name}' is given twice, {found[name]} and {value}")
        found[name] = value
    return found


def sensors_of(bundle: str) -> tuple[Modality, ...]:
    """Return the sensors of the bundle that a parameter or argument names.

    Raises:
        ConfigError: If the path cannot be one.
        BundleError: If there is no usable bundle.
    """
    return Bundle.load(resolve(bundle)).manifest.modalities


def parameters_of(given: Mapping[str, str], **lists: str) -> dict[str, str]:
    """Return the node's parameters that launch arguments set.

    Args:
        given: Parameters that were set by arguments of their own, `bundle` among them.
        lists: `topics` and `message_types`, see `choices`.

    Raises:
        UnknownModality: If a sensor is named that the bundle does not have. Without `bundle` nobody
            can tell here: the node then warns of parameters that it ignores.
        ConfigError: If two arguments set one parameter to different values.
    """
    found = dict(given)
    for argument, text in lists.items():
        for sensor, value in choices(text, argument).items():
            name = f"modalities.{sensor}.{argument.removesuffix('s')}"
            if found.setdefault(name, value) != value:
                raise ConfigError(
                    f"{name} is given twice: {found[name]}, and {value} in {argument}"
                )
    named = [name.split(".")[1] for name in found if name.startswith("modalities.")]
    if named and "bundle" in found:
        modalities = sensors_of(found["bundle"])
        for sensor in named:
            find(modalities, sensor)
    return found


def chosen_topics(
    modalities: tuple[Modality, ...], topics: str, arguments: Mapping[str, str]
) -> dict[str, str]:
    """Return sensor -> topic, for those that are given one.

    Args:
        modalities: Of the bundle.
        topics: See `choices`.
        arguments: All launch arguments; those of single sensors are called after the default topic,
            e.g. `rgb_topic` of rgb/image and `wrench_topic` of wrench.

    Raises:
        UnknownModality: If a sensor is named that the bundle does not have.
        ConfigError: If the list is none.
    """
    chosen = choices(topics, "topics")
    for sensor in chosen:
        find(modalities, sensor)
    for modality in modalities:
        single = arguments.get(f"{modality.default_topic.partition('/')[0]}_topic")
        if single:
            chosen.setdefault(modality.name, single)
    return chosen


def listened_to(
    modalities: tuple[Modality, ...], chosen: dict[str, str], namespace: str
) -> list[str]:
    """Return the absolute topics that a node listens to, camera_info included.

    Args:
        modalities: Of the bundle.
        chosen: See `chosen_topics`.
        namespace: Of the node; '' is the root.
    """
    return [table.resolve(t.name, namespace, SHOWN) for t in table.inputs(modalities, chosen)]


def viewer_remappings(parameters: Mapping[str, str], node_name: str) -> list[tuple[str, str]]:
    """Return name in a viewer's file -> name of this node, relative to the node's namespace.

    Args:
        parameters: See `parameters_of`; has `bundle`.
        node_name: Without namespace.

    Raises:
        SMVAEError: If there is no usable bundle.
    """
    modalities = sensors_of(parameters.get("bundle", ""))
    chosen = {m.name: parameters.get(f"modalities.{m.name}.topic", "") for m in modalities}
    heard = zip(table.inputs(modalities), table.inputs(modalities, chosen), strict=True)
    said = [t.name for t in table.outputs(modalities) if t.name.startswith("~/")]
    return [
        *((table.resolve(shown.name, "", SHOWN), used.name) for shown, used in heard),
        *((table.resolve(name, "", SHOWN), name.replace("~", node_name, 1)) for name in said),
    ]
