"""`generate`: every file of the node that depends on the sensors of a bundle, by one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smvae_ros.parameters.choices import chosen_topics

from smvae_core.bundle import Bundle
from smvae_core.errors import SMVAEError
from smvae_core.presets import VISION_TOUCH
from smvae_core.target import DecodedTarget
from smvae_tools.files import parameter_file, security_policy
from smvae_tools.files.layouts import LAYOUTS, Shown

#: Stands for a bundle with the simulated robot's sensors.
SHIPPED = "vision_touch"
_TEACH = """\
OUT gets
  config/perception.yaml       every parameter, its default and meaning: params_file:=...
  security/smvae.policy.xml    SROS2 policy of the node
  rviz/perception.rviz         rviz:=true rviz_config:=...
  foxglove/smvae_layout.json   import it in Foxglove
  plotjuggler/smvae.xml        load it as a layout

Topics that are not the defaults go into all of them:
  ros2 run smvae_tools generate BUNDLE OUT --topics left=/camera/left/image,arm=/arm/joint_states
  ros2 launch smvae_ros perception.launch.py bundle:=BUNDLE params_file:=OUT/config/perception.yaml

Give --namespace, --node-name and --enclave as you give them to perception.launch.py. RViz's file
does not depend on them: the launch file remaps it. Files that exist are written again.
"""


def files(shown: Shown, *, enclave: str = security_policy.ENCLAVE) -> dict[str, str]:
    """Return path -> content of everything that is generated.

    Args:
        shown: Sensors and names of the node.
        enclave: Of the policy.

    Raises:
        ConfigError: If a name cannot be one.
    """
    return {
        "config/perception.yaml": parameter_file.to_yaml(
            shown.modalities, shown.chosen, shown.declared
        ),
        "security/smvae.policy.xml": security_policy.to_xml(
            shown.modalities,
            namespace=shown.namespace,
            node_name=shown.node_name,
            enclave=enclave,
            chosen=dict(shown.chosen),
            estimates=shown.targets is None or bool(shown.targets),
        ),
        **{path: written(shown) for path, written in LAYOUTS.items()},
    }


def write(contents: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the files below a folder and return where."""
    paths = []
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="generate",
        description="Write the node's parameter file, security policy and viewer layouts for the "
        "sensors of a bundle.",
        epilog=_TEACH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", help=f"folder of an exported model; {SHIPPED} = the sensors of the shipped files")
    add("out", type=Path, help="folder to write into")
    add("--namespace", default="", help="namespace of the node")
    add("--node-name", default="smvae", help="name of the node")
    add("--enclave", default=security_policy.ENCLAVE, help="absolute path of its enclave")
    add("--topics", default="", metavar="NAME=TOPIC,...", help="topics that are not the defaults")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files and name them; 1 with a line on standard error when that cannot be."""
    options = _parser().parse_args(arguments)
    try:
        modalities, latents = VISION_TOUCH, Shown.latents
        declared: Mapping[str, Any] = {}
        targets: tuple[DecodedTarget, ...] | None = None
        if options.bundle != SHIPPED:
            manifest = Bundle.load(options.bundle).manifest
            modalities, latents = manifest.modalities, min(latents, manifest.latent_dim)
            declared = manifest.parameters()
            targets = manifest.targets if manifest.estimates is not None else ()
        shown = Shown(
            modalities=modalities,
            namespace=options.namespace,
            node_name=options.node_name,
            chosen=chosen_topics(modalities, options.topics, {}),
            latents=latents,
            declared=declared,
            targets=targets,
        )
        written = write(files(shown, enclave=options.enclave), options.out)
    except (SMVAEError, OSError) as err:
        print(f"generate: {err}", file=sys.stderr)
        return 1
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
