"""``host.toml``: what a run needs of this host and must never be sealed.

Credentials, PDU addresses and outlets, folders, and the sourced watts of the estimator. A spec
names aliases; this file says what they are here. It is found at ``$KIT_HOST_CONFIG``, else at
``~/.config/kit/host.toml``; having none is fine. An example::

    [store]
    runs = "/srv/kit/runs"

    [weights]
    folders = ["/srv/models"]

    [calibration]
    folder = "/etc/kit/calibrations"    # else `calibrations` beside this file; one file a GPU

    [estimate]
    idle_w = 35
    max_w = 120
    source = "SPECpower_ssj2008 result 20230110-01202"

    [codecarbon]
    country = "NLD"

    [pdu.rack1]
    host = "192.0.2.10"
    profile = "apc-rpdu2"
    outlets = [3, 4]
    community = "public"                # SNMP v2c; for v3 give user and the keys instead
    # version = "1"                     # only for a PDU that speaks nothing newer

``kit pdu probe`` prints such a section ready to paste; ``kit pdu calibrate`` keeps what it found
in ``pdu-calibration.json`` beside this file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.text import utf8
from kit.machine.host import calibration, limits, pdu_calibration

VARIABLE = "KIT_HOST_CONFIG"
DEFAULT = Path("~/.config/kit/host.toml")
_SECRETS = ("community", "user", "auth_key", "priv_key")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the file's sections: a key that kit does not know is an error, not a silence."""


class PduConfig(_Section, frozen=True, kw_only=True):
    """How to reach one PDU. SNMP v2c with ``community``, or v3 with ``user`` and keys.

    ``host`` is a name or an address, with its port or without (`kit.machine.host.address`).
    ``outlets`` feed this host (all supplies of the host); ``inlets`` are read where a profile has
    no outlet power. ``profile`` names a file of ``kit/meters/pdu_profiles/``, or is the path of
    one's own, ending in ``.json``, from this file's folder. ``version`` is 1 for old PDUs.
    ``poll_s`` is how often it is asked.
    """

    host: str
    profile: str
    port: int = 161
    outlets: tuple[int | str, ...] = ()
    inlets: tuple[int | str, ...] = ()
    community: str | None = None
    user: str | None = None
    auth_key: str | None = None
    auth_protocol: str = "SHA"
    priv_key: str | None = None
    priv_protocol: str = "AES"
    timeout_s: float = 2.0
    retries: int = 1
    poll_s: float = 1.0
    version: int | str | None = None

    @property
    def snmp_version(self) -> str:
        """``1``, ``2c`` or ``3``: as said, else ``3`` when a user is given, else ``2c``."""
        return str(self.version or ("3" if self.user else "2c"))

    def __repr__(self) -> str:
        """Without credentials: a repr ends up in logs and tracebacks."""
        version = self.snmp_version
        return f"PduConfig(host={self.host!r}, profile={self.profile!r}, version={version!r})"


class WeightsConfig(_Section, frozen=True, kw_only=True):
    """Folders that are searched for model files by hash, before anything is fetched."""

    folders: tuple[str, ...] = ()


class CalibrationConfig(_Section, frozen=True, kw_only=True):
    """The folder of this host's ``kit.calibration/1`` files."""

    folder: str | None = None


class StoreConfig(_Section, frozen=True, kw_only=True):
    """Where runs are kept."""

    runs: str | None = None


class EstimateConfig(_Section, frozen=True, kw_only=True):
    """The CPU's watts when idle and fully busy, and who says so."""

    idle_w: float
    max_w: float
    source: str


class CodeCarbonConfig(_Section, frozen=True, kw_only=True):
    """What CodeCarbon is told: the country's three letters (ISO 3166-1)."""

    country: str


class HostConfig(_Section, frozen=True, kw_only=True):
    """The whole file, validated. ``HostConfig()`` is the empty one."""

    pdu: dict[str, PduConfig] = {}
    weights: WeightsConfig = WeightsConfig()
    store: StoreConfig = StoreConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    estimate: EstimateConfig | None = None
    codecarbon: CodeCarbonConfig | None = None
    folder: Path | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> HostConfig:
        """Read ``path``, else the file that `config_path` names, else the empty configuration.

        Raises:
            UsageError: the file named cannot be read, is not TOML, or says something kit does
                not understand; every such thing is listed.
        """
        found = path or config_path()
        if not found.exists() and path is None and VARIABLE not in os.environ:
            return cls()
        config = cls.parse(_read(found), found.name)
        return msgspec.structs.replace(config, folder=found.absolute().parent)

    @classmethod
    def parse(cls, text: str, name: str = "host.toml") -> HostConfig:
        """`load` for text already read."""
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # TOML's own, and beyond Python's limits
            raise UsageError(f"{name} is not TOML: {error}", f"fix {name}") from error
        problems = list(_problems(document))
        if problems:
            raise UsageError(f"{name}: {'; '.join(problems)}", f"fix {name}")
        return msgspec.convert(document, cls)

    @property
    def store_root(self) -> Path:
        """The store's folder: ``[store] runs``, else ``runs`` in the working directory."""
        return Path(self.store.runs).expanduser() if self.store.runs else Path("runs")

    @property
    def weights_folders(self) -> tuple[Path, ...]:
        """The folders that are searched for model files."""
        return tuple(Path(folder).expanduser() for folder in self.weights.folders)

    @property
    def calibration_folder(self) -> Path:
        """``[calibration] folder``, else ``calibrations`` beside host.toml."""
        if self.calibration.folder:
            return Path(self.calibration.folder).expanduser()
        return config_path().parent / "calibrations"

    def meter(self, name: str, alias: str | None = None) -> dict[str, Any]:
        """What this host says to the meter ``name`` under ``alias``; empty when nothing.

        Raises:
            UsageError: the meter is NVML, and a calibration file cannot be used.
        """
        if name == "nvml" and (known := calibration.load(self.calibration_folder)):
            return {"calibrations": [_sealable(one) for one in known]}
        if name == "pdu" and alias in self.pdu:
            return self._pdu(alias)
        if name == "estimate" and self.estimate:
            found: dict[str, Any] = msgspec.to_builtins(self.estimate)
            return found
        if name == "codecarbon" and self.codecarbon:
            return {"country": self.codecarbon.country}
        return {}

    def calibrations(self, name: str, alias: str | None = None) -> dict[str, bytes]:
        """What may be sealed of the calibrations that a meter is told, by their SHA-256."""
        told = self.meter(name, alias)
        pdu = told.get("calibration", {})
        found = [one["document"] for one in told.get("calibrations", ())]
        found += [pdu_calibration.document(pdu)] if "calibration_sha256" in pdu else []
        documents = [jsonio.canonical(document) for document in found]
        return {jsonio.digest(data): data for data in documents}

    def _pdu(self, alias: str) -> dict[str, Any]:
        section = self.pdu[alias]
        found: dict[str, Any] = msgspec.to_builtins(section)
        found |= {"version": section.snmp_version}
        if self.folder and section.profile.endswith(".json"):
            found["profile"] = str(self.folder / Path(section.profile).expanduser())
        calibrated = pdu_calibration.facts(self.folder, alias, found)
        return found | ({"calibration": calibrated} if calibrated else {})

    @property
    def has_secrets(self) -> bool:
        """Whether the file holds a credential."""
        return any(getattr(pdu, key) for pdu in self.pdu.values() for key in _SECRETS)


def config_path() -> Path:
    """Where ``host.toml`` is looked for."""
    return Path(os.environ.get(VARIABLE) or DEFAULT).expanduser()


def check_pdu(pdu: PduConfig) -> None:
    """Refuse what a ``[pdu.*]`` section may not say, where it comes from elsewhere.

    Raises:
        UsageError: with every problem.
    """
    problems = limits.pdu(pdu)
    if problems:
        raise UsageError("; ".join(problems).replace("`", ""), "see `kit pdu probe --help`")


def _read(path: Path) -> str:
    try:
        return utf8(path.read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", f"create it, or unset {VARIABLE}"
        ) from error


def _problems(document: dict[str, Any]) -> list[str]:
    """Everything kit does not understand in a parsed file, each led by its section."""
    sections: list[tuple[str, Any, type[_Section]]] = [
        (key, document[key], kind) for key, kind in _KINDS.items() if key in document
    ]
    unknown = sorted(set(document) - {"pdu", *_KINDS})
    problems = [f"unknown section [{key}] (known: pdu, {', '.join(_KINDS)})" for key in unknown]
    pdus = document.get("pdu", {})
    if not isinstance(pdus, dict) or not all(isinstance(v, dict) for v in pdus.values()):
        problems.append("PDUs are sections of their own, as [pdu.rack1]")
    else:
        sections += [(f"pdu.{alias}", value, PduConfig) for alias, value in pdus.items()]
    for name, value, kind in sections:
        problems += _section_problems(name, value, kind)
    return problems


def _section_problems(name: str, value: Any, kind: type[_Section]) -> list[str]:
    try:
        section = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [f"[{name}] {str(error).replace('Object', 'it').replace('`$.', '`')}"]
    return [f"[{name}] {problem}" for problem in _RULES.get(kind, lambda _: [])(section)]


_KINDS: dict[str, type[_Section]] = {
    "store": StoreConfig,
    "weights": WeightsConfig,
    "calibration": CalibrationConfig,
    "estimate": EstimateConfig,
    "codecarbon": CodeCarbonConfig,
}
_RULES: dict[type[_Section], Callable[[Any], list[str]]] = {
    StoreConfig: limits.store,
    WeightsConfig: limits.weights,
    CalibrationConfig: limits.calibration,
    PduConfig: limits.pdu,
    EstimateConfig: limits.estimate,
    CodeCarbonConfig: limits.codecarbon,
}


def _sealable(one: calibration.Calibration) -> dict[str, Any]:
    """A card's calibration as the meter is told it, with the form in which a run seals it."""
    document = calibration.public(one)
    told: dict[str, Any] = msgspec.to_builtins(one)
    return {**told, "document": document, "calibration_sha256": jsonio.hash_of(document)}
