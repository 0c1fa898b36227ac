"""Facts of a container engine: version, image identities, networks and GPUs. All pure.

`kit.machine.containers` queries the engine. This module parses the answers (Docker's Engine API,
``/info``, ``/version`` and ``/images/NAME/json``) and chooses network and GPUs by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from kit.core.errors import EngineUnavailable
from kit.core.model import GpuRequest, ImageIdentity

CDI_KIND = "nvidia.com/gpu"
_PODMAN_FOLDERS = ("/etc/cdi", "/var/run/cdi")  # its /info does not name them

EGRESS = {
    "none": "the container reaches nothing outside itself",
    "host": "the container reaches services of the host on its bridge's gateway, nothing beyond",
    "open": "the container reaches whatever the host reaches",
}


def facts_of(info: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    """The facts worth recording, from the engine's ``/info`` and ``/version``.

    Keys: engine, version, api_version, kernel, os, architecture, ncpu, memory_bytes,
    storage_driver, image_store (classic | containerd), cgroup_driver, cgroup_version,
    default_runtime, rootless, security_options, endpoint, gpu (cdi | nvidia | None), cdi_devices.
    """
    devices = cdi_devices(info, _podman_folders(version))
    texts = {
        "kernel": "KernelVersion",
        "os": "OperatingSystem",
        "architecture": "Architecture",
        "storage_driver": "Driver",
        "cgroup_driver": "CgroupDriver",
        "cgroup_version": "CgroupVersion",
        "default_runtime": "DefaultRuntime",
    }
    return {
        "engine": engine_name(version),
        "version": str(version.get("Version", "")),
        "api_version": str(version.get("ApiVersion", "")),
        **{key: str(info.get(name, "")) for key, name in texts.items()},
        "ncpu": int(info.get("NCPU", 0)),
        "memory_bytes": int(info.get("MemTotal", 0)),
        "image_store": image_store(info),
        "rootless": "name=rootless" in (info.get("SecurityOptions") or []),
        "security_options": sorted(info.get("SecurityOptions") or []),
        "endpoint": "unix",
        "gpu": gpu_offer(info, devices, engine_name(version)),
        "cdi_devices": list(devices),
    }


def engine_name(version: Mapping[str, Any]) -> str:
    """``docker`` or ``podman``, by the components in ``/version``."""
    names = [str(c.get("Name", "")).lower() for c in version.get("Components") or []]
    return "podman" if any("podman" in name for name in names) else "docker"


def image_store(info: Mapping[str, Any]) -> str:
    """``containerd`` if images are in containerd's snapshotters, else ``classic``."""
    status = [str(value) for pair in info.get("DriverStatus") or [] for value in pair]
    return "containerd" if any("containerd.snapshotter" in value for value in status) else "classic"


def gpu_offer(info: Mapping[str, Any], devices: tuple[str, ...], engine: str) -> str | None:
    """How this engine provides NVIDIA GPUs: ``cdi``, ``nvidia``, or None if it cannot.

    Podman's Docker API ignores a request for the nvidia runtime and starts without a GPU.
    """
    if devices:
        return "cdi"
    known = engine == "docker" and "nvidia" in (info.get("Runtimes") or {})
    return "nvidia" if known else None


def cdi_devices(info: Mapping[str, Any], folders: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The NVIDIA devices that the engine knows through CDI, sorted.

    Those it discovered, and those in the spec files of its CDI folders: Docker before 28.2 lists
    only the folders, Podman neither.
    """
    listed = info.get("DiscoveredDevices") or []
    names = {str(d.get("ID", "")) for d in listed if d.get("Source") == "cdi"}
    for folder in [*(info.get("CDISpecDirs") or []), *folders]:
        names |= set(_spec_devices(Path(folder)))
    return tuple(sorted(name for name in names if name.startswith(f"{CDI_KIND}=")))


def _podman_folders(version: Mapping[str, Any]) -> tuple[str, ...]:
    """Podman's folders of CDI specs; its Docker API takes CDI devices since 5.4."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", str(version.get("Version", "")))[:2])
    modern = engine_name(version) == "podman" and numbers >= (5, 4)
    return _PODMAN_FOLDERS if modern else ()


def _spec_devices(folder: Path) -> Iterator[str]:
    """Device names in a folder's CDI specs (JSON or YAML, read by pattern: kit has no YAML)."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.suffix not in (".json", ".yaml", ".yml") or path.stat().st_size > 4 << 20:
            continue
        text = path.read_text("utf-8", "replace")
        if re.search(rf"\bkind\W+{re.escape(CDI_KIND)}\b", text):
            for name in re.findall(r'\bname"?:\s*"?([A-Za-z0-9_.:-]+)"?', text):
                yield f"{CDI_KIND}={name}"


def identity(reference: str, attrs: Mapping[str, Any], store: str) -> ImageIdentity:
    """Every name of an inspected image.

    ``Id`` is the config digest in the classic store; in containerd's it is the digest of the
    manifest, or of the index if the image came as one, and the config digest is unknown.
    """
    image_id = str(attrs["Id"])
    repo = sorted(d.rpartition("@")[2] for d in attrs.get("RepoDigests") or [])
    media = str((attrs.get("Descriptor") or {}).get("mediaType", ""))
    is_index = media.endswith(("image.index.v1+json", "manifest.list.v2+json"))
    parts = [attrs.get("Os"), attrs.get("Architecture"), attrs.get("Variant")]
    contained = store == "containerd"
    # A containerd store names every image so, with the id's own digest.
    of_registry = next((digest for digest in repo if not contained or digest != image_id), None)
    return ImageIdentity(
        reference=reference,
        recipe=None,
        image_id=image_id,
        diff_ids=tuple(attrs["RootFS"].get("Layers") or ()),
        platform="/".join(str(part) for part in parts if part),
        config_digest=None if contained else image_id,
        manifest_digest=image_id if contained and not is_index else None,
        index_digest=image_id if contained and is_index else of_registry,
        source="registry" if repo and not contained else "archive",
    )


# --- choices by what the engine offers (pure) -------------------------------------------------


def network_plan(facts: Mapping[str, Any]) -> tuple[Literal["internal", "loopback", "host"], str]:
    """The best network of this engine, and what the container then reaches (a key of `EGRESS`).

    Internal bridge first. A rootless engine's bridges are in another namespace, which the host
    cannot reach: its port is published on 127.0.0.1. Without bridges it is the host's network.
    (Docker ≥ 28's isolated gateways would hide the container from the driver too.)
    """
    if facts.get("rootless"):
        return "loopback", "open"
    return ("internal", "host") if facts.get("bridges") else ("host", "open")


def shifts_users(facts: Mapping[str, Any]) -> bool:
    """Whether a user inside a container is another user of this host (user namespaces)."""
    return bool(facts.get("rootless")) or "name=userns" in (facts.get("security_options") or ())


def gpu_request(facts: Mapping[str, Any], count: int) -> GpuRequest | None:
    """How to ask this engine for ``count`` GPUs; None for none.

    Raises:
        EngineUnavailable: the engine cannot provide GPUs.
    """
    if count == 0:
        return None
    driver = facts.get("gpu")
    if driver not in ("cdi", "nvidia"):
        raise EngineUnavailable(
            f"the spec asks for {count} GPU(s), but this container engine offers none",
            "install nvidia-container-toolkit, then `sudo nvidia-ctk cdi generate "
            "--output=/etc/cdi/nvidia.yaml` and restart the engine; or set devices.gpus to 0",
        )
    return GpuRequest(driver=driver, count=count)


def gpu_device_ids(
    facts: Mapping[str, Any], request: GpuRequest, uuids: tuple[str, ...]
) -> tuple[str, ...]:
    """The engine's names of the first ``request.count`` GPUs; ``uuids`` are NVML's, in its order.

    By UUID if possible, since an index may mean another card to the engine.
    """
    if uuids and len(uuids) < request.count:
        raise EngineUnavailable(
            f"the spec asks for {request.count} GPUs, but this machine has {len(uuids)}",
            "lower devices.gpus",
        )
    keys = uuids[: request.count] or tuple(str(i) for i in range(request.count))
    if request.driver != "cdi":
        return keys
    devices = set(facts.get("cdi_devices") or ())
    by_key = tuple(f"{CDI_KIND}={key}" for key in keys)
    if devices and not set(by_key) <= devices:
        return tuple(f"{CDI_KIND}={i}" for i in range(request.count))
    return by_key
