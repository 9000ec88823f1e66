"""What RViz, Foxglove and PlotJuggler show of a node, written from the table of its topics."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from smvae_ros import topics

from smvae_core.modality import Modality
from smvae_core.target import DecodedTarget

#: RViz's display of a message type; others are not shown.
RVIZ_DISPLAYS = {
    "sensor_msgs/msg/Image": "rviz_default_plugins/Image",
    "sensor_msgs/msg/LaserScan": "rviz_default_plugins/LaserScan",
}
#: A frame must be named; plain images do not need it.
RVIZ_FRAME = "camera_optical_frame"
STATES = "0 absent, 1 fused, 2 stale, 3 rejected, 4 disabled"
COLORS = ("#1f77b4", "#d62728", "#1ac938", "#ff7f0e", "#9467bd", "#17becf", "#bcbd22", "#8c564b")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The node that is looked at."""

    modalities: Sequence[Modality]
    namespace: str = ""
    node_name: str = "smvae"
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Topic of a sensor by its name, where it is not the default."""
    latents: int = 4
    """So many of the latent dimensions are plotted."""
    declared: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that the bundle's robot is declared with, by full name."""
    targets: Sequence[DecodedTarget] | None = None
    """What the bundle estimates; None = any bundle is meant, whose estimates are not shown."""

    def absolute(self, name: str) -> str:
        return topics.resolve(name, self.namespace, self.node_name)

    def views(self, types: Sequence[str]) -> list[tuple[Modality, str, str, str]]:
        """Return (sensor, type, its topic, topic of its prediction) of those of these types."""
        found = []
        for modality in self.modalities:
            heard = topics.inputs([modality], dict(self.chosen))[0]
            predicted = [
                said.name
                for said in topics.predicted(modality)
                if said.message_type == heard.message_type
            ]
            if heard.message_type in types and predicted:
                names = self.absolute(heard.name), self.absolute(predicted[0])
                found.append((modality, heard.message_type, *names))
        return found


def rviz(shown: Shown) -> str:
    """Return RViz's file: each sensor it can show, and what is predicted of it.

    It has the names of a node /smvae with default topics, which perception.launch.py remaps.
    """
    views = Shown(modalities=shown.modalities).views([*RVIZ_DISPLAYS])
    displays = [
        _display(modality, RVIZ_DISPLAYS[kind], f"{modality.name}{suffix}", topic, reliability)
        for modality, kind, *names in views
        for topic, suffix, reliability in zip(
            names, ("", " predicted"), ("Best Effort", "Reliable"), strict=True
        )
    ]
    return f"""\
# Sensors and what the model predicts of them, side by side. perception.launch.py remaps the names
# of a node /smvae to those of the node that it starts. Written by smvae_tools/files/layouts.py.
Panels:
  - Class: rviz_common/Displays
    Name: Displays
Visualization Manager:
  Global Options:
    Fixed Frame: {RVIZ_FRAME}
    Frame Rate: 30
  Displays:{"" if displays else " []"}
{"".join(displays)}"""


def _display(modality: Modality, plugin: str, name: str, topic: str, reliability: str) -> str:
    limits = ""
    if (shown := modality.family.shown_range(modality)) is not None:
        low, high = shown
        limits = f"""\
      Normalize Range: false
      Min Value: {low:g}
      Max Value: {high:g}
"""
    return f"""\
    - Class: {plugin}
      Name: {name}
      Enabled: true
{limits}      Topic: {{Value: {topic}, Reliability Policy: {reliability}, Depth: 1}}
"""


def foxglove(shown: Shown) -> str:
    """Return Foxglove's layout: images beside their predictions, states, latent, diagnostics."""
    latent = shown.absolute("~/latent")
    panels: dict[str, Any] = {}
    pairs: list[Any] = []
    for modality, _, topic, predicted in shown.views(["sensor_msgs/msg/Image"]):
        name = modality.name
        panels[f"Image!{name}"] = _image_panel(modality, topic, "")
        panels[f"Image!{name}_predicted"] = _image_panel(modality, predicted, ", predicted")
        pairs.append(_split("row", f"Image!{name}", f"Image!{name}_predicted"))
    panels["Plot!divergence"] = _plot(
        "KL [nats] and novelty", [(f"{latent}.{name}", name) for name in ("kl", "novelty")]
    )
    mean = [(f"{latent}.mean[{i}]", f"z{i}") for i in range(shown.latents)]
    panels["Plot!mean"] = _plot("Mean of the first latents", mean)
    estimates = shown.absolute("~/estimates")
    told = [
        (f'{estimates}.targets[:]{{name=="{target.name}"}}.mean[{i}]', f"{target.name} {name}")
        for target in shown.targets or ()
        for i, name in enumerate(target.names)
    ]
    states = [(f"{latent}.{name}", name) for name in ("status", "epoch")]
    states += [
        (f'{latent}.modalities[:]{{name=="{m.name}"}}.state', m.name) for m in shown.modalities
    ]
    panels["StateTransitions!states"] = {
        "paths": [_path(value, label) for value, label in states],
        "isSynced": True,
        "foxglovePanelTitle": STATES,
    }
    panels["DiagnosticSummary!all"] = {
        "minLevel": 0,
        "pinnedIds": [],
        "hardwareIdFilter": "",
        "topicToRender": "/diagnostics",
        "sortByLevel": True,
    }
    panels["RawMessages!model"] = {
        "topicPath": shown.absolute("~/model_info"),
        "diffEnabled": False,
        "diffMethod": "custom",
        "diffTopicPath": "",
        "showFullMessageForDiff": False,
        "foxglovePanelTitle": "Model",
    }
    plots = _split("column", "Plot!divergence", "Plot!mean")
    if told:
        panels["Plot!estimates"] = _plot("Estimates; none = not known", told)
        plots = _split("column", "Plot!estimates", plots, 40)
    texts = _split("row", "DiagnosticSummary!all", "RawMessages!model")
    right = _split("column", "StateTransitions!states", _split("column", plots, texts, 60), 30)
    layout = {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split("row", _stacked(pairs), right, 55) if pairs else right,
    }
    return json.dumps(layout, indent=2) + "\n"


def _split(direction: str, first: Any, second: Any, percent: int = 50) -> dict[str, Any]:
    return {
        "direction": direction,
        "splitPercentage": percent,
        "first": first,
        "second": second,
    }


def _stacked(rows: Sequence[Any]) -> Any:
    """Return the rows below each other, all of one height."""
    indexed = list(enumerate(reversed(rows), start=1))
    return reduce(
        lambda below, row: (row[0], _split("column", row[1], below[1], round(100 / row[0]))),
        indexed,
    )[1]


def _image_panel(modality: Modality, topic: str, suffix: str) -> dict[str, Any]:
    mode: dict[str, Any] = {
        "imageTopic": topic,
        "calibrationTopic": topics.camera_info_topic(topic),
    }
    title = modality.name
    if (shown := modality.family.shown_range(modality)) is not None:
        low, high = shown
        mode |= {"colorMode": "colormap", "colorMap": "turbo", "minValue": low, "maxValue": high}
        suffix += f", {low:g} to {high:g} m"
    return {
        "imageMode": mode,
        "foxglovePanelTitle": title + suffix,
        "cameraState": {},
        "followMode": "follow-pose",
        "scene": {},
        "transforms": {},
        "topics": {},
        "layers": {},
    }


def _path(value: str, label: str) -> dict[str, Any]:
    return {"value": value, "label": label, "timestampMethod": "headerStamp"}


def _plot(title: str, curves: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "paths": [_path(value, label) | {"enabled": True} for value, label in curves],
        "foxglovePanelTitle": title,
        "showLegend": True,
        "legendDisplay": "floating",
        "showXAxisLabels": True,
        "showYAxisLabels": True,
        "isSynced": True,
        "xAxisVal": "timestamp",
        "sidebarDimension": 240,
    }


def plotjuggler(shown: Shown) -> str:
    """Return PlotJuggler's layout: latent, states of the sensors, latency."""
    latent, timing = shown.absolute("~/latent"), shown.absolute("~/debug/timing")
    estimates = shown.absolute("~/estimates")
    sensors = range(len(shown.modalities))
    first = range(shown.latents)
    root = ET.Element("root")
    tabs = ET.SubElement(root, "tabbed_widget", {"name": "Main Window", "parent": "main_window"})
    _tab(
        tabs,
        "latent",
        ("status and epoch", "Steps", [f"{latent}/{n}" for n in ("status", "valid", "epoch")]),
        ("kl and novelty", "Lines", [f"{latent}/{n}" for n in ("kl", "novelty")]),
        ("mean", "Lines", [f"{latent}/mean[{i}]" for i in first]),
        ("variance", "Lines", [f"{latent}/variance[{i}]" for i in first]),
    )
    _tab(
        tabs,
        "modalities",
        ("state", "Steps", [f"{latent}/modalities[{i}]/state" for i in sensors]),
        ("rejected", "Lines", [f"{latent}/modalities[{i}]/rejected" for i in sensors]),
    )
    _tab(tabs, "latency", ("stamp to published [s]", "Lines", [f"{timing}/stamp_to_published_s"]))
    if shown.targets:
        told = [
            (t.name, "Lines", [f"{estimates}/targets[{at}]/mean[{i}]" for i in range(t.size)])
            for at, t in enumerate(shown.targets)
        ]
        _tab(tabs, "estimates", *told)
    ET.SubElement(tabs, "currentTabIndex", index="0")
    ET.SubElement(root, "use_relative_time_offset", enabled="1")
    heard = (latent, timing, estimates) if shown.targets else (latent, timing)
    plugins = ET.SubElement(root, "Plugins")
    for name in ("DataLoad ROS2 bags", "ROS2 Topic Subscriber"):
        plugin = ET.SubElement(plugins, "plugin", ID=name)
        for key, value in (
            ("use_header_stamp", "true"),
            ("discard_large_arrays", "true"),
            ("max_array_size", "100"),
            ("boolean_strings_to_number", "true"),
            ("selected_topics", ";".join(heard)),
        ):
            ET.SubElement(plugin, key, value=value)
    ET.SubElement(root, "previouslyLoaded_Datafiles")
    ET.SubElement(root, "previouslyLoaded_Streamer", name="ROS2 Topic Subscriber")
    ET.SubElement(root, "customMathEquations")
    ET.SubElement(root, "snippets")
    ET.indent(root)
    names = ", ".join(m.name for m in shown.modalities)
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!-- PlotJuggler 3: load with its option layout. Written by smvae_tools/files/layouts.py.
     Sensors are in the bundle's order: {names}.
     States: {STATES}. -->
{ET.tostring(root, encoding="unicode")}
"""


def _tab(tabs: ET.Element, name: str, *areas: tuple[str, str, Sequence[str]]) -> None:
    """Add a tab of areas (title, style of its lines, curves) of one height."""
    tab = ET.SubElement(tabs, "Tab", tab_name=name, containers="1")
    sizes = ";".join([f"{1 / len(areas):.4g}"] * len(areas))
    splitter = ET.SubElement(
        ET.SubElement(tab, "Container"),
        "DockSplitter",
        orientation="-",
        count=str(len(areas)),
        sizes=sizes,
    )
    for title, style, curves in areas:
        area = ET.SubElement(splitter, "DockArea", name=title)
        plot = ET.SubElement(
            area, "plot", mode="TimeSeries", style=style, flip_x="false", flip_y="false"
        )
        ET.SubElement(plot, "limitY")
        for index, curve in enumerate(curves):
            ET.SubElement(plot, "curve", name=curve, color=COLORS[index % len(COLORS)])


#: File below a package's or a bundle's folder -> what writes it.
LAYOUTS: dict[str, Callable[[Shown], str]] = {
    "rviz/perception.rviz": rviz,
    "foxglove/smvae_layout.json": foxglove,
    "plotjuggler/smvae.xml": plotjuggler,
}
