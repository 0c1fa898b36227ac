"""An image's bill of materials: CycloneDX 1.6, from its lock alone.

Every Debian package, Python package and file of kit's own that is in the image, with its hash. The
same lock gives the same bytes: there is no time in it, and its serial number follows from the
image's id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kit.core import jsonio
from kit.machine.images.locks import Package
from kit.machine.images.recipe import Recipe

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

FILE = "inputs/sbom.cdx.json"


def document(recipe: Recipe) -> bytes:
    """The bill of materials of a locked recipe's image, as canonical JSON."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    image = Component(
        type=ComponentType.CONTAINER,
        name=f"kit/{recipe.name}",
        version=recipe.image_id,
        bom_ref="image",
        description=recipe.title,
    )
    inside = list(_components(recipe))
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, recipe.image_id),
        metadata=BomMetaData(component=image),
        components=inside,
    )
    bom.register_dependency(image, inside)
    made = jsonio.parse(JsonV1Dot6(bom).output_as_string().encode(), "the bill of materials")
    del made["metadata"]["timestamp"]  # of the moment in which it was written
    return jsonio.canonical(made)


Part = tuple[str, str, str, str]
# What a component of such a document says, and the document itself; nothing else is in it.
_SAID = frozenset({"bom-ref", "hashes", "name", "purl", "type", "version"})
_DOCUMENT = frozenset(
    {"$schema", "bomFormat", "components", "dependencies", "metadata", "serialNumber"}
    | {"specVersion", "version"}
)


def parts(recipe: Recipe) -> list[Part]:
    """What the image consists of: name, version, SHA-256 and address of every part, sorted."""
    suite = recipe.base.suite
    found = [
        (
            n,
            d.version,
            d.sha256,
            f"pkg:deb/debian/{n}@{d.version}?arch={d.architecture}&distro={suite}",
        )
        for n, d in recipe.base.packages.items()
    ]
    found += [
        (p.name, p.version, p.sha256, f"pkg:pypi/{p.name}@{p.version}") for p in _python(recipe)
    ]
    found += [(name, "", recipe.lock.files[name], "") for name in recipe.lock.program]
    return sorted(found)


def listed(document: Any) -> list[Part]:
    """The parts that a bill of materials lists, sorted.

    Raises:
        LookupError, TypeError, ValueError: it is malformed, or says more than kit writes.
    """
    components = document["components"]
    if document.keys() - _DOCUMENT or any(c.keys() - _SAID for c in components):
        raise ValueError("it says more than kit writes")
    if any(len(c["hashes"]) != 1 or c["hashes"][0]["alg"] != "SHA-256" for c in components):
        raise ValueError("a part without one SHA-256")
    return sorted(
        (c["name"], c.get("version", ""), c["hashes"][0]["content"], _plain(c.get("purl", "")))
        for c in components
    )


def image_of(document: Any) -> str:
    """The image's id that a bill of materials is about."""
    return str(document["metadata"]["component"]["version"])


def _plain(url: str) -> str:
    """An address with its versions as they are: ``1%3A2.0`` is ``1:2.0``."""
    from urllib.parse import unquote

    return unquote(url)


def _python(recipe: Recipe) -> tuple[Package, ...]:
    compiled = recipe.lock.compile
    return (*recipe.lock.wheels, *([compiled.source] if compiled and compiled.source else []))


def _components(recipe: Recipe) -> Iterator[Component]:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    def component(kind: ComponentType, name: str, version: str, sha: str, url: Any) -> Component:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha)]
        ref = str(url) if url else f"file:{name}"
        return Component(
            type=kind, name=name, version=version or None, bom_ref=ref, purl=url, hashes=hashes
        )

    library, suite = ComponentType.LIBRARY, recipe.base.suite
    for name, deb in recipe.base.packages.items():
        where: dict[str, str] = {"arch": deb.architecture, "distro": suite}
        url = PackageURL("deb", "debian", name, deb.version, where)
        yield component(library, name, deb.version, deb.sha256, url)
    for package in _python(recipe):
        url = PackageURL("pypi", None, package.name, package.version)
        yield component(library, package.name, package.version, package.sha256, url)
    for name in recipe.lock.program:
        yield component(ComponentType.FILE, name, "", recipe.lock.files[name], None)
