"""Keeps of an SBOM what `smvae` and its extras bring: an environment holds our tools as well.

Usage: python scripts/release/only.py SBOM.json NAMES.txt VERSION
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def name_of(component: dict[str, str]) -> str:
    return re.sub(r"[-_.]+", "-", component["name"]).lower()


path, names, version = Path(sys.argv[1]), set(Path(sys.argv[2]).read_text().split()), sys.argv[3]
sbom = json.loads(path.read_text(encoding="utf-8"))
kept = [one for one in sbom["components"] if name_of(one) in names]
missing = names - {name_of(one) for one in kept}
if missing:
    sys.exit(f"{path} lacks {', '.join(sorted(missing))}")
(own,) = (one for one in kept if one["name"] == "smvae")
refs = {one["bom-ref"] for one in kept}
# It is installed from this folder: with metadata of when that was, and a path of this machine.
sbom["metadata"]["component"] = {
    key: value
    for key, value in own.items()
    if key not in ("externalReferences", "properties", "purl")
} | {"version": version}
sbom["components"] = [one for one in kept if one is not own]
sbom["dependencies"] = [
    {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in refs]}
    for one in sbom["dependencies"]
    if one["ref"] in refs
]
text = json.dumps(sbom, indent=1).replace(json.dumps(own["bom-ref"]), '"smvae"')
path.write_text(text + "\n", encoding="utf-8")
print(f"{path}: {len(kept)} packages, CycloneDX {sbom['specVersion']}")
