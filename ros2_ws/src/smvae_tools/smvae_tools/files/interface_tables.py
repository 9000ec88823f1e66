"""docs/interfaces.md, written from the tables that the code uses.

`python -m smvae_tools.files.interface_tables ros2_ws/src/smvae_msgs/msg > docs/interfaces.md`
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from smvae_ros import topics

from smvae_core.modality import Modality
from smvae_core.parameter import Parameter
from smvae_core.presets import VISION_TOUCH
from smvae_core.settings import PARAMETERS, of_kind
from smvae_tools.files import message_definitions

_OPENING = """# Which topics, services, parameters and messages does the node have?

Written by `smvae_tools/files/interface_tables.py` from the code's own tables; a test holds this
page equal to them, and another compares topics and services with a running node. Names are
relative: `rgb/image` lies in the node's namespace, `~/latent` below the node's name
(`/smvae/latent`). All of them can be remapped. Topics and `modalities.*` parameters follow the
bundle; shown here are those of the robot's four modalities.
"""
_PARAMETERS = """## Parameters

A refused change says why. A new `bundle` set while inactive is loaded and verified before it is
accepted, and the node answers nothing else meanwhile; if that fails it keeps the old one.
`config/perception.yaml` is the same table as a file.

"""
_MODALITY_PARAMETERS = """## Parameters of each modality

`modalities.<name>.*`, declared when a bundle is configured, for the modalities it names.

"""
_WHEN = {
    "unconfigured": "unconfigured",
    "inactive": "unconfigured or inactive",
    "any": "in any state",
}


def to_markdown(modalities: Sequence[Modality], messages: Path) -> str:
    """Return the page.

    Args:
        modalities: Whose topics and parameters are shown.
        messages: Folder of the .msg files.
    """
    heard = topics.inputs(modalities)
    said = topics.outputs(modalities)
    parts = [
        _OPENING,
        "## Subscribes\n\n" + _topics(heard),
        "## Publishes\n\n" + _topics(said),
        "## As every lifecycle node\n\n" + _topics(topics.STANDARD),
        "## Services\n\n"
        + _table(
            ("service", "type", "what for"),
            ((f"`{s.name}`", s.service_type, s.purpose) for s in topics.SERVICES),
        ),
        _PARAMETERS + _parameters(PARAMETERS),
        _MODALITY_PARAMETERS + _modality_parameters(modalities),
        "## Messages\n",
        *(_message(m) for m in message_definitions.read_folder(messages)),
    ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *escaped]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _topics(entries: Iterable[topics.Topic]) -> str:
    head = ("topic", "type", "content", "rate", "QoS")
    return _table(head, ([f"`{t.name}`", _types(t), t.content, t.rate, t.qos] for t in entries))


def _types(topic: topics.Topic) -> str:
    if not topic.alternatives:
        return topic.message_type
    return f"{topic.message_type}; by `message_type` also {', '.join(topic.alternatives)}"


def _parameters(entries: Iterable[Parameter]) -> str:
    head = ("parameter", "type", "default", "allowed", "may change while", "meaning")
    return _table(head, (_row(p, _shown(p.default)) for p in entries))


def _modality_parameters(modalities: Sequence[Modality]) -> str:
    defaults = ", ".join(f"`{m.default_topic}`" for m in modalities)
    head = ("parameter", "type", "default", "allowed", "may change while", "meaning", "kinds")
    rows = []
    own: dict[Parameter, list[str]] = {}
    for kind in dict.fromkeys(m.family for m in modalities):
        for parameter in of_kind(kind):
            own.setdefault(parameter, []).append(kind.name)
    every = len({m.kind for m in modalities})
    for parameter, of in own.items():
        shown = defaults if parameter.name == "topic" else _shown(parameter.default)
        row = _row(parameter, shown)
        if parameter.name == "message_type":
            row[3] = "a type of the table of topics it subscribes to"
        rows.append([*row, "all" if len(of) == every else ", ".join(of)])
    return _table(head, rows)


def _row(parameter: Parameter, default: str) -> list[str]:
    allowed = ", ".join(f"`{c}`" if c else "empty" for c in parameter.choices)
    if parameter.low is not None and parameter.high is not None:
        allowed = f"{parameter.low:g} to {parameter.high:g}"
    return [
        f"`{parameter.name}`",
        type(parameter.default).__name__,
        default,
        allowed or "any",
        _WHEN[parameter.when],
        parameter.description,
    ]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "empty" if value == "" else f"`{value}`"


def _message(message: message_definitions.Message) -> str:
    text = f"### smvae_msgs/msg/{message.name}\n\n{message.description}\n\n"
    if message.constants:
        head = ("constant", "value", "meaning")
        text += (
            _table(head, ([f"`{c.name}`", c.value, c.comment] for c in message.constants)) + "\n"
        )
    head = ("field", "type", "meaning")
    return text + _table(head, ([f"`{f.name}`", f.type, f.comment] for f in message.fields))


def main(arguments: Sequence[str]) -> int:
    """Print the page; the one argument is the folder of the .msg files."""
    if len(arguments) != 1:
        print(
            "usage: python -m smvae_tools.files.interface_tables FOLDER_OF_MSG_FILES",
            file=sys.stderr,
        )
        return 2
    sys.stdout.write(to_markdown(VISION_TOUCH, Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
