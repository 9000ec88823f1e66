"""RViz, Foxglove and PlotJuggler files, shipped and of other robots, name only what is there."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from smvae_ros import topics
from smvae_ros.listen.message_types import message_class
from smvae_ros.parameters import choices as sensor_choices
from smvae_ros.parameters.choices import viewer_remappings
from smvae_tools.files.layouts import LAYOUTS, Shown

from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH
from smvae_core.target import DecodedTarget

SHIPPED = Path(__file__).parents[2] / "smvae_ros"
#: Of another robot: two cameras and a motion, none of them called as those of the shipped files.
OTHER = (
    Modality(name="left", kind="color_image", shape=(3, 32, 32), unit="1"),
    Modality(name="range", kind="depth_image", shape=(1, 32, 32), unit="m"),
    Modality(name="right", kind="color_image", shape=(3, 32, 32), unit="1"),
    Modality(name="arm", kind="command", shape=(2,), unit="m", fields=("linear.x", "linear.y")),
)
TARGETS = (
    DecodedTarget(name="hole", mean=(0.5, 0.1), deviation=(0.1, 0.1), unit="m", fields=("x", "y")),
    DecodedTarget(name="contact", mean=(0.4,), deviation=(0.5,), binary=True),
)
NAMED = {"left": "/cameras/left/image_raw", "arm": "arm/command"}


@dataclasses.dataclass
class Files:
    """One robot's files, and every topic of its node: absolute name -> type."""

    texts: dict[str, str]
    modalities: tuple[Modality, ...]
    namespace: str = ""
    node_name: str = "smvae"
    chosen: dict[str, str] = dataclasses.field(default_factory=dict)

    def types(self, *, default_names: bool = False) -> dict[str, str]:
        chosen = {} if default_names else self.chosen
        namespace, name = ("", "smvae") if default_names else (self.namespace, self.node_name)
        used = [*topics.inputs(self.modalities, chosen), *topics.outputs(self.modalities)]
        return {topics.resolve(t.name, namespace, name): t.message_type for t in used}


@pytest.fixture(params=["shipped", "other", "no images", "targets"])
def files(request: pytest.FixtureRequest) -> Files:
    if request.param == "shipped":
        texts = {path: (SHIPPED / path).read_text(encoding="utf-8") for path in LAYOUTS}
        return Files(texts, VISION_TOUCH)
    if request.param == "other":
        shown = Shown(modalities=OTHER, namespace="cell", node_name="eye", chosen=NAMED, latents=2)
    elif request.param == "no images":
        shown = Shown(modalities=OTHER[-1:], latents=4)
    else:
        shown = Shown(modalities=OTHER, node_name="eye", targets=TARGETS)
    texts = {path: write(shown) for path, write in LAYOUTS.items()}
    return Files(
        texts, tuple(shown.modalities), shown.namespace, shown.node_name, dict(shown.chosen)
    )


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


def displays(files: Files) -> list[dict[str, Any]]:
    config = yaml.safe_load(files.texts["rviz/perception.rviz"])
    return list(config["Visualization Manager"]["Displays"])


def test_rviz_shows_images_that_exist(files: Files) -> None:
    types = files.types(default_names=True)
    for display in displays(files):
        assert display["Class"] == "rviz_default_plugins/Image"
        assert types[display["Topic"]["Value"]] == "sensor_msgs/msg/Image"
    images = sum(m.is_image for m in files.modalities)
    assert len(displays(files)) == 2 * images


def test_rviz_asks_for_qualities_that_match(files: Files) -> None:
    """Best effort for what sensors send, reliable for what the node sends."""
    for display in displays(files):
        topic = display["Topic"]
        ours = topic["Value"].startswith("/smvae/")
        assert topic["Reliability Policy"] == ("Reliable" if ours else "Best Effort")


def test_the_launch_file_remaps_every_name_of_the_rviz_file(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    monkeypatch.setattr(sensor_choices, "sensors_of", lambda _: files.modalities)
    parameters = {"bundle": str(bundle)}
    parameters |= {f"modalities.{name}.topic": topic for name, topic in files.chosen.items()}
    to = dict(viewer_remappings(parameters, files.node_name))
    used = files.types()
    for display in displays(files):
        name = to[display["Topic"]["Value"]]
        resolved = topics.resolve(name, files.namespace, files.node_name)
        assert used[resolved] == "sensor_msgs/msg/Image"


def test_foxglove_names_only_topics_and_fields_that_exist(files: Files) -> None:
    layout = json.loads(files.texts["foxglove/smvae_layout.json"])
    found = [s for s in strings(layout["configById"]) if s.startswith("/")]
    assert len(found) > 10
    types = files.types()
    for text in found:
        topic, *path = re.sub(r"\{[^}]*\}", "", text).split(".")
        assert topic in types, text
        require_field(types[topic], path)


def test_foxglove_places_every_panel_once(files: Files) -> None:
    layout = json.loads(files.texts["foxglove/smvae_layout.json"])
    placed = [s for s in strings(layout["layout"]) if "!" in s]
    assert sorted(placed) == sorted(layout["configById"])


def test_plotjuggler_names_only_topics_and_fields_that_exist(files: Files) -> None:
    root = ET.fromstring(files.texts["plotjuggler/smvae.xml"].encode())
    curves = [c.attrib["name"] for c in root.iter("curve")]
    assert len(curves) > 10
    types = files.types()
    for curve in curves:
        topic = max((t for t in types if curve.startswith(f"{t}/")), key=len, default="")
        assert topic, f"no topic of the node begins {curve}"
        require_field(types[topic], curve.removeprefix(f"{topic}/").split("/"))
    for selected in root.iter("selected_topics"):
        assert set(selected.attrib["value"].split(";")) <= set(types)


def test_plotjuggler_splits_as_many_areas_as_it_says(files: Files) -> None:
    root = ET.fromstring(files.texts["plotjuggler/smvae.xml"].encode())
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


def test_estimates_are_plotted_where_a_bundle_has_them() -> None:
    shown = Shown(modalities=OTHER, targets=TARGETS)
    foxglove, plotjuggler = (
        LAYOUTS[path](shown) for path in ("foxglove/smvae_layout.json", "plotjuggler/smvae.xml")
    )
    paths = json.loads(foxglove)["configById"]["Plot!estimates"]["paths"]
    assert [(p["label"], p["value"]) for p in paths][1:] == [
        ("hole y", '/smvae/estimates.targets[:]{name=="hole"}.mean[1]'),
        ("contact 0", '/smvae/estimates.targets[:]{name=="contact"}.mean[0]'),
    ]
    assert "/smvae/estimates/targets[0]/mean[1]" in plotjuggler
    for path, write in LAYOUTS.items():
        assert "estimates" not in write(Shown(modalities=OTHER, targets=())), path
