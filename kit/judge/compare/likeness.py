"""How alike two machines, images and specs are, and their differences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from kit.core import jsonio
from kit.core.model import ImageIdentity, RunSpec
from kit.machine.host import is_absent

Likeness = Literal["same_card", "same_model", "elsewhere", "other_model"]
Identity = Literal["IDENTICAL", "REWRAPPED", "DIFFERENT"]
Difference = tuple[str, str, str]

_MOST_ITEMS = 12  # of a list that is shown whole

# Momentary readings of a fingerprint: a path with one of these segments is left out.
# Settings that affect energy (power limits, maximum clocks, driver, VBIOS, ECC) are not here.
_VOLATILE = frozenset(
    {
        "load",
        "available_bytes",
        "swap_free_bytes",
        "maximum_error_us",
        "memory_used_bytes",
        "sm_clock_mhz",
        "memory_clock_mhz",
        "temperature_c",
        "memory_temperature_c",
        "ecc_corrected",
        "compute_processes",
        "slowdowns",
        "pcie_generation",
        "pcie_width",
    }
)
# Fields of a spec that do not change the work: names, meters, margins.
_NOT_WORK = frozenset(
    {
        "schema",
        "name",
        "description",
        "phases",
        "meters",
        "launches",
        "primary_metric",
        "determinism",
        "replay",
        "limits",
    }
)


def image_identity(a: ImageIdentity, b: ImageIdentity) -> Identity:
    """Whether two runs used one image: by a digest they share, or by equal layers."""
    digests = [{i.image_id, i.config_digest, i.manifest_digest} - {None} for i in (a, b)]
    if digests[0] & digests[1]:
        return "IDENTICAL"
    return "REWRAPPED" if a.diff_ids == b.diff_ids else "DIFFERENT"


def likeness(a: Mapping[str, Any], b: Mapping[str, Any], same_card: bool | None) -> Likeness:
    """How alike two machines are in what decides energy and speed.

    Machines with GPUs are compared by GPU model, power cap and driver; others by CPU model. A card
    with another power cap counts as another machine: absolute numbers do not compare.
    """
    if _kind(a) != _kind(b):
        return "other_model"
    if same_card:
        return "same_card"
    settings = [(_of(env, "nvidia", "driver"), _of(env, "cpu", "threads")) for env in (a, b)]
    return "same_model" if settings[0] == settings[1] else "elsewhere"


def _kind(env: Mapping[str, Any]) -> Any:
    """Model and cap of every GPU in order; the model of the CPU where there is none."""
    cards = _cards(env)
    if not cards:
        return _of(env, "cpu", "model")
    return [(card.get("name"), card.get("power_limit_w")) for card in cards]


def specs(a: RunSpec, b: RunSpec) -> Iterator[Difference]:
    """The differences of two specs: path, there, here."""
    yield from _unequal(msgspec.to_builtins(a), msgspec.to_builtins(b))


def is_work(difference: Difference) -> bool:
    """Whether a difference of two specs changes the work, so that no margin applies."""
    return difference[0].partition(".")[0] not in _NOT_WORK


def environments(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of two fingerprints: path, there, here; without what changes all the time."""
    for path, there, here in _unequal(a, b):
        if _VOLATILE.isdisjoint(path.split(".")):
            yield path, there, here


def fields(*documents: RunSpec | Mapping[str, Any]) -> frozenset[str]:
    """Every path of these specs and fingerprints."""
    return frozenset(path for one in documents for path, _ in _leaves(msgspec.to_builtins(one)))


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    left, right = dict(_leaves(a)), dict(_leaves(b))
    for path in sorted(left.keys() | right.keys()):
        if left.get(path) != right.get(path):
            yield path, _shown(left.get(path)), _shown(right.get(path))


def _cards(env: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    gpus = env.get("gpus", {})
    if not isinstance(gpus, Mapping) or is_absent(gpus):
        return []
    return [card for card in gpus.values() if isinstance(card, Mapping)]


def _of(env: Mapping[str, Any], *path: str) -> Any:
    value: Any = env
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and not is_absent(value):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def absences(*environments: Mapping[str, Any]) -> frozenset[str]:
    """The paths that one of these fingerprints marks as absent."""
    return frozenset(path for env in environments for path, v in _leaves(env) if is_absent(v))


def _shown(value: Any) -> str:
    if value is None:
        return "not recorded"
    if is_absent(value):
        return f"absent: {value['absent']}"
    if isinstance(value, list | tuple):
        return _listed([_item(item) for item in value])
    return str(value)


def _listed(items: list[str]) -> str:
    """The items; of many the first, their number, and the beginning of a hash of them all."""
    if len(items) <= _MOST_ITEMS:
        return ", ".join(items)
    whole = jsonio.digest("\n".join(items).encode())
    return f"{', '.join(items[:3])}, … ({len(items)}, sha256 {whole[:12]})"


def _item(value: Any) -> str:
    """An item of a list; of a model's file its name and the beginning of its hash."""
    if isinstance(value, Mapping) and {"path", "sha256"} <= value.keys():
        return f"{value['path']} {str(value['sha256'])[:12]}"
    return str(value)
