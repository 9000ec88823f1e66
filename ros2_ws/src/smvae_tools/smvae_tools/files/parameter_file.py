"""The parameter table written out.

`python -m smvae_tools.files.parameter_file > config/perception.yaml`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from smvae_core.modality import Modality
from smvae_core.parameter import Parameter
from smvae_core.presets import VISION_TOUCH
from smvae_core.settings import PARAMETERS, of_modality


def to_yaml(
    modalities: Iterable[Modality],
    chosen: Mapping[str, str] | None = None,
    declared: Mapping[str, Any] | None = None,
) -> str:
    """Return the parameter file of a node with these modalities: defaults and meanings.

    Args:
        modalities: Of the bundle.
        chosen: Topic of a modality by its name, where it is not the default.
        declared: What the bundle's manifest says in place of the defaults, by full name. The file
            wins over the manifest, so it repeats it.
    """
    topics = {f"modalities.{name}.topic": topic for name, topic in (chosen or {}).items()}
    lines = [
        "# Parameters of perception_node, with defaults; by smvae_tools/files/parameter_file.py.",
        "# [live] may change while the node runs, [inactive] while it is unconfigured or inactive,",
        "# the others only while it is unconfigured.",
        "/**:",
        "  ros__parameters:",
    ]
    lines += [line for p in PARAMETERS for line in _entry(p, p.name, 4)]
    lines.append("    modalities:")
    for modality in modalities:
        lines.append(f"      {modality.name}:  # {modality.kind}")
        for parameter in of_modality(modality, declared):
            own = replace(parameter, default=topics.get(parameter.name, parameter.default))
            lines += _entry(own, own.name.split(".")[-1], 8)
    return "\n".join(lines) + "\n"


def _entry(parameter: Parameter, key: str, indent: int) -> list[str]:
    limits = ""
    if parameter.choices:
        limits = f" One of {', '.join(filter(None, parameter.choices))}."
    elif parameter.low is not None:
        limits = f" In [{parameter.low:g}, {parameter.high:g}]."
    live = {"any": " [live]", "inactive": " [inactive]", "unconfigured": ""}[parameter.when]
    space = " " * indent
    return [
        f"{space}# {parameter.description}{limits}{live}",
        f"{space}{key}: {json.dumps(parameter.default)}",
    ]


if __name__ == "__main__":
    print(to_yaml(VISION_TOUCH), end="")
