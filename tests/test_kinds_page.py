"""docs/kinds.md: its table is made from the kinds, its own kind works.

`python -m tests.test_kinds_page` prints the table.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from smvae_core.kinds import Kind, kinds, registry
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks import base as networks
from smvae_core.model.smvae import SMVAE
from smvae_core.robot import read_robot, to_yaml
from tests.declared import EVERY_KIND

PAGE = Path(__file__).resolve().parent.parent / "docs/kinds.md"
COLUMNS = ("kind", "raw sample", "messages", "predicted as", "options, defaults", "parameters")


def table() -> str:
    """Return the table: kinds that messages carry first."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    every = [(kind, next(m for m in EVERY_KIND if m.kind == kind.name)) for kind in kinds()]
    every.sort(key=lambda one: (not one[0].converters(one[1]), one[0].name))
    rows += [columns(*one) for one in every]
    return "".join(f"| {' | '.join(row)} |\n".replace("  ", " ") for row in rows)


def columns(kind: Kind, modality: Modality) -> tuple[str, ...]:
    types = ", ".join(f"`{found.message_type}`" for found in kind.converters(modality)) or "none"
    read = f"any that has the fields, such as {types}" if kind.any_message else types
    options = [f"`{f.name}` {shown(f.default)}" for f in dataclasses.fields(kind.options)]
    own = [f"`{parameter.name}`" for parameter in kind.parameters]
    named = dict.fromkeys(f"`{found.message_type}`" for found in kind.predicted(modality))
    said = "the declared type" if kind.any_message else ", ".join(named)
    return f"`{kind.name}`", kind.raw_sample, read, said, ", ".join(options), ", ".join(own)


def shown(default: Any) -> str:
    """Return a default as a manifest has it, rounded."""
    if isinstance(default, tuple):
        return f"[{', '.join(map(shown, default))}]"
    if isinstance(default, float):
        return f"{default:.4g}"
    return {"": "none", None: "none"}.get(default, str(default))


def test_the_table_is_that_of_the_code() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


@pytest.fixture
def humidity() -> Iterator[Modality]:
    """Run the page's two files and its declaration, and forget them: others count the kinds."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert [block.splitlines()[0] for block in blocks[:2]] == [
        "# smvae_core/kinds/humidity.py",
        "# smvae_core/model/networks/humidity.py",
    ]
    assert sum(bool(line.strip()) for block in blocks[:2] for line in block.splitlines()) <= 30
    names: dict[str, Any] = {"Modality": Modality}
    for block in blocks:
        exec(block, names)
    yield names["air"]
    del registry._KINDS["humidity"], networks._NETWORKS["humidity"]


def test_the_pages_own_kind_reads_messages_and_has_a_model(humidity: Modality) -> None:
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id=""),
        relative_humidity=0.0,
    )
    convert = humidity.converter("sensor_msgs/msg/RelativeHumidity")
    sent = convert.fill(humidity, message, np.array([0.25]), 1_000_000_000, "nose", None)
    assert (sent.header.stamp.sec, sent.header.frame_id) == (1, "nose")
    np.testing.assert_array_equal(convert.to_array(humidity, sent, ConversionOptions()), [0.25])
    model = SMVAE(ModelConfig(modalities=(humidity,), latent_dim=2, embedding_dim=8))
    x = {humidity.name: torch.from_numpy(humidity.example(3))}
    embedded = model.embed(x, torch.ones(3, 1, dtype=torch.bool))
    assert embedded.shape == (3, 1, 8)


def test_robot_yaml_takes_a_sensor_of_the_pages_own_kind(
    humidity: Modality, tmp_path: Path
) -> None:
    (said,) = re.findall(r"`(air: \{kind: humidity.*?\}\})`", PAGE.read_text(encoding="utf-8"))
    path = tmp_path / "robot.yaml"
    path.write_text(f"robot: nose\nsensors:\n  {said}\n", encoding="utf-8")
    robot = read_robot(path)
    assert robot.modalities == (dataclasses.replace(humidity, topic="/air"),)
    assert robot.sensors[0].channel.topic == "/air"
    path.write_text(to_yaml(robot), encoding="utf-8")
    assert read_robot(path) == robot


if __name__ == "__main__":
    print(table(), end="")
