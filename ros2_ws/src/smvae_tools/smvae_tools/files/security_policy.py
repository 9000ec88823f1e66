"""The node's SROS2 access policy, from the same arguments as its launch file. Default: deny.

`python -m smvae_tools.files.security_policy --namespace robot1 --rgb-topic /rgb/image > policy.xml`

A topic outside the policy stops the node at start-up when security is enforced, so the policy is
written from the names that the node will use, never by hand. The names come from `topics.py`.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from smvae_ros import topics
from smvae_ros.parameters.choices import choices

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH

#: Where the node's keys are expected in a keystore: `enclaves/smvae/perception`.
ENCLAVE = "/smvae/perception"
#: The topic arguments of perception.launch.py, and the modality that each one serves.
LAUNCH_TOPICS = {"rgb": "rgb", "depth": "depth", "wrench": "force", "action": "action"}
#: Version of the policy schema (ROS 2 design, "SROS 2 Access Control Policies").
VERSION = "0.2.0"


def to_xml(
    modalities: Sequence[Modality],
    *,
    namespace: str = "",
    node_name: str = "smvae",
    enclave: str = ENCLAVE,
    chosen: dict[str, str] | None = None,
    estimates: bool = True,
) -> str:
    """Return the policy of one node: what it may subscribe to, publish and answer, nothing else.

    Args:
        modalities: Of the bundle.
        namespace: Of the node; '' is the root.
        node_name: Without namespace.
        enclave: Absolute path of the node's enclave.
        chosen: Topic of a modality by its name, where it is not the default.
        estimates: Whether the bundle has any.

    Raises:
        ConfigError: If a name is not one, or a topic is chosen for a modality that does not exist.
    """
    chosen = {name: topic for name, topic in (chosen or {}).items() if topic}
    unknown = sorted(set(chosen) - {m.name for m in modalities})
    if unknown:
        known = ", ".join(m.name for m in modalities)
        raise ConfigError(f"a topic is given for '{unknown[0]}', but the modalities are {known}")
    if not enclave.startswith("/"):
        raise ConfigError(f"an enclave is an absolute path like {ENCLAVE}, got '{enclave}'")
    for name in (namespace.rstrip("/"), node_name, *chosen.values()):
        topics.require_name(name)
    policy = ET.Element("policy", version=VERSION)
    policy.append(
        ET.Comment(" Written by smvae_tools/files/security_policy.py; the rest is denied. ")
    )
    place = ET.SubElement(ET.SubElement(policy, "enclaves"), "enclave", path=enclave)
    profile = ET.SubElement(
        ET.SubElement(place, "profiles"),
        "profile",
        ns="/" + namespace.strip("/"),
        node=node_name,
    )
    used = [
        *topics.inputs(modalities, chosen),
        *topics.outputs(modalities, estimates=estimates),
        *topics.STANDARD,
    ]
    _allow(profile, "topic", "subscribe", [t.name for t in used if t.direction == "subscribe"])
    _allow(profile, "topic", "publish", [t.name for t in used if t.direction == "publish"])
    _allow(profile, "service", "reply", [s.name for s in topics.SERVICES])
    ET.indent(policy)
    text = ET.tostring(policy, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _allow(profile: ET.Element, what: str, access: str, names: Iterable[str]) -> None:
    """Add one rule that names each object once: two images may share one camera_info."""
    rule = ET.SubElement(profile, f"{what}s", {access: "ALLOW"})
    for name in dict.fromkeys(names):
        ET.SubElement(rule, what).text = name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m smvae_tools.files.security_policy",
        description="Write the SROS2 policy of perception_node to standard output.",
    )
    parser.add_argument("--namespace", default="", help="namespace of the node")
    parser.add_argument("--node-name", default="smvae", help="name of the node")
    parser.add_argument("--enclave", default=ENCLAVE, help="absolute path of its enclave")
    parser.add_argument("--bundle", type=Path, help="take the modalities from this bundle")
    for argument, name in LAUNCH_TOPICS.items():
        parser.add_argument(
            f"--{argument}-topic", default="", help=f"topic of the modality '{name}'"
        )
    parser.add_argument(
        *("--topic", "--topics"),
        dest="topics",
        action="append",
        default=[],
        metavar="MODALITY=TOPIC,...",
        help="topics of any modalities, as in the launch file; may be repeated",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the policy; 1 with a line on standard error when an argument cannot be right."""
    options = _parser().parse_args(arguments)
    chosen = {m: getattr(options, f"{a}_topic") for a, m in LAUNCH_TOPICS.items()}
    try:
        manifest = Bundle.load(options.bundle).manifest if options.bundle else None
        modalities = manifest.modalities if manifest is not None else VISION_TOUCH
        text = to_xml(
            modalities,
            namespace=options.namespace,
            node_name=options.node_name,
            enclave=options.enclave,
            chosen=chosen | choices(",".join(options.topics), "topics"),
            estimates=manifest is None or manifest.estimates is not None,
        )
    except SMVAEError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
