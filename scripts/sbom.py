"""Write the bill of materials (CycloneDX) that the wheel carries: what the locks pin.

A library of the core is ``required``, one that only an extra brings ``optional``. Each component
has the SHA-256 of every file that the lock allows. The same locks give the same bytes: there is no
time in it, and its serial number follows from its content.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "kit-energy.cdx.json"
CORE, EVERYTHING = "requirements-core.lock", "requirements.lock"
_PIN = re.compile(r"(?m)^([a-z0-9.-]+)==(\S+)(?: ; ([^\\\n]+))?((?: \\\n +--hash=sha256:\w+)+)")


class Pin(NamedTuple):
    """A line of a lock: where it is used (an environment marker, or nothing), and its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def main() -> None:
    FILE.write_text(text())


def text() -> str:
    """The document, as it is written."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def pins(lock: str) -> list[Pin]:
    """What a hash lock pins, in its order."""
    return [
        Pin(name, version, marker.strip(), tuple(re.findall(r"sha256:(\w+)", hashes)))
        for name, version, marker, hashes in _PIN.findall((ROOT / lock).read_text())
    ]


def document() -> dict[str, Any]:
    """The bill of materials, by the schema of CycloneDX 1.6."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {pin.name for pin in pins(CORE)}
    ref = f"pkg:pypi/{project['name']}@{project['version']}"
    own = {
        "type": "application",
        "bom-ref": ref,
        "name": project["name"],
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": ref,
    }
    components = [_component(pin, pin.name in core) for pin in pins(EVERYTHING)]
    body = {
        "metadata": {"component": own},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": [c["bom-ref"] for c in components]}],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **body,
    }


def _component(pin: Pin, is_core: bool) -> dict[str, Any]:
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "scope": "required" if is_core else "optional",
        "hashes": [{"alg": "SHA-256", "content": content} for content in pin.hashes],
        "purl": purl,
    }
    if pin.marker:
        component["properties"] = [{"name": "kit:marker", "value": pin.marker}]
    return component


if __name__ == "__main__":
    main()
