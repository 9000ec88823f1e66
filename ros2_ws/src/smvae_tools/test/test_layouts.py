"""RViz, Foxglove and PlotJuggler files parse, and name only what the node has."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from smvae_ros import topics
from smvae_ros.inputs import message_class

from smvae_core.modality import VISION_TOUCH

PACKAGE = Path(__file__).parents[2] / "smvae_ros"
RVIZ = PACKAGE / "rviz/perception.rviz"
FOXGLOVE = PACKAGE / "foxglove/smvae_layout.json"
PLOTJUGGLER = PACKAGE / "plotjuggler/smvae.xml"
#: Absolute name -> type, of a node `smvae` in the root namespace.
TYPES = {
    topics.resolve(t.name, "", "smvae"): t.message_type
    for t in [*topics.inputs(VISION_TOUCH), *topics.outputs(VISION_TOUCH)]
}


def strings(value: Any) -> Iterator[str]:
    """All strings of a JSON or YAML value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def require_field(message_type: str, path: list[str]) -> None:
    """Fail unless the message has the field `path`, through lists and nested messages."""
    for index, field in enumerate(path):
        fields = message_class(message_type).get_fields_and_field_types()
        name = re.sub(r"\[.*\]$", "", field)
        assert name in fields, f"{message_type} has no field {name}"
        message_type = re.sub(r"sequence<(.+?)(, \d+)?>|\[\d+\]$", r"\1", fields[name])
        if "/" not in message_type:
            assert index == len(path) - 1, f"{name} of {path} has no fields"
            return
        message_type = message_type.replace("/", "/msg/")


def test_rviz_shows_images_that_exist() -> None:
    config = yaml.safe_load(RVIZ.read_text(encoding="utf-8"))
    displays = config["Visualization Manager"]["Displays"]
    assert displays
    for display in displays:
        assert display["Class"] == "rviz_default_plugins/Image"
        assert TYPES[display["Topic"]["Value"]] == "sensor_msgs/msg/Image"


def test_rviz_asks_for_qualities_that_match() -> None:
    """Best effort for what sensors send, reliable for what the node sends."""
    config = yaml.safe_load(RVIZ.read_text(encoding="utf-8"))
    for display in config["Visualization Manager"]["Displays"]:
        topic = display["Topic"]
        ours = topic["Value"].startswith("/smvae/")
        assert topic["Reliability Policy"] == ("Reliable" if ours else "Best Effort")


def test_the_launch_file_remaps_every_name_of_the_rviz_file() -> None:
    config = yaml.safe_load(RVIZ.read_text(encoding="utf-8"))
    names = [d["Topic"]["Value"] for d in config["Visualization Manager"]["Displays"]]
    source = (PACKAGE / "launch/perception.launch.py").read_text(encoding="utf-8")
    for name in names:
        image = name.removeprefix("/smvae/predicted/")
        assert f'"{name}"' in source or f'"{image}"' in source, name


def test_foxglove_names_only_topics_and_fields_that_exist() -> None:
    layout = json.loads(FOXGLOVE.read_text(encoding="utf-8"))
    found = [s for s in strings(layout["configById"]) if s.startswith("/")]
    assert len(found) > 10
    for text in found:
        topic, *path = re.sub(r"\{[^}]*\}", "", text).split(".")
        assert topic in TYPES, text
        require_field(TYPES[topic], path)


def test_foxglove_places_every_panel_once() -> None:
    layout = json.loads(FOXGLOVE.read_text(encoding="utf-8"))
    placed = [s for s in strings(layout["layout"]) if "!" in s]
    assert sorted(placed) == sorted(layout["configById"])


def test_plotjuggler_names_only_topics_and_fields_that_exist() -> None:
    root = ET.fromstring(PLOTJUGGLER.read_bytes())
    curves = [c.attrib["name"] for c in root.iter("curve")]
    assert len(curves) > 10
    for curve in curves:
        topic = max((t for t in TYPES if curve.startswith(f"{t}/")), key=len, default="")
        assert topic, f"no topic of the node begins {curve}"
        require_field(TYPES[topic], curve.removeprefix(f"{topic}/").split("/"))
    for selected in root.iter("selected_topics"):
        assert set(selected.attrib["value"].split(";")) <= set(TYPES)


def test_plotjuggler_splits_as_many_areas_as_it_says() -> None:
    root = ET.fromstring(PLOTJUGGLER.read_bytes())
    for splitter in root.iter("DockSplitter"):
        assert len(splitter) == int(splitter.attrib["count"])
        assert len(splitter.attrib["sizes"].split(";")) == len(splitter)


@pytest.mark.parametrize("field", [["mean[3]"], ["modalities[0]", "state"], ["header", "stamp"]])
def test_the_search_for_fields_knows_lists_and_nested_messages(field: list[str]) -> None:
    require_field("smvae_msgs/msg/LatentState", field)


@pytest.mark.parametrize("field", [["means"], ["modalities[0]", "mean"], ["kl", "x"]])
def test_the_search_for_fields_refuses_what_is_not_there(field: list[str]) -> None:
    with pytest.raises(AssertionError):
        require_field("smvae_msgs/msg/LatentState", field)
