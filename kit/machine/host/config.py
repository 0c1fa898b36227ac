"""``host.toml``: what a run needs of this host and must never be sealed.

Credentials, PDU addresses and outlets, folders, and the sourced watts of the estimator. A spec
names aliases; this file says what they are here. It is found at ``$KIT_HOST_CONFIG``, else at
``~/.config/kit/host.toml``; having none is fine. Each section says what it is for (``about``), and
of each key too (``keys``): `kit.machine.host.example` writes them out, ``kit doctor --init`` into a
file.

``kit pdu probe`` prints a PDU's section ready to paste; ``kit pdu calibrate`` keeps what it found
in ``pdu-calibration.json`` beside this file.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from kit.core import jsonio
from kit.core.errors import UsageError
from kit.core.jsonplace import named
from kit.core.nearest import one_of
from kit.core.text import utf8
from kit.machine.host import calibration, limits, pdu_calibration, tomlplace
from kit.machine.host.sections import (
    ALIASED,
    AliasedSection,
    Key,
    PduConfig,
    Section,
)

VARIABLE = "KIT_HOST_CONFIG"
DEFAULT = Path("~/.config/kit/host.toml")


class WeightsConfig(Section, frozen=True, kw_only=True):
    """Folders that are searched for model files by hash, before anything is fetched."""

    about = "Models of your own; `kit weights add PATH` adds the folder of one."
    keys = {
        "folders": Key(["~/models"], "searched for model files by hash, before any fetch", True)
    }

    folders: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        return limits.weights(self)


class CalibrationConfig(Section, frozen=True, kw_only=True):
    """The folder of this host's ``kit.calibration/1`` files."""

    about = "Calibrations of this host's GPUs, a file each; see `kit schema calibration`."
    keys = {"folder": Key("/etc/kit/calibrations", "else `calibrations` beside this file", True)}

    folder: str | None = None

    def problems(self) -> list[str]:
        return limits.calibration(self)


class StoreConfig(Section, frozen=True, kw_only=True):
    """Where runs are kept."""

    about = "Where runs are kept."
    keys = {"runs": Key("/srv/kit/runs", "else `runs` in the working directory", True)}

    runs: str | None = None

    def problems(self) -> list[str]:
        return limits.store(self)


class EstimateConfig(Section, frozen=True, kw_only=True):
    """The CPU's watts when idle and fully busy, and who says so."""

    about = "The watts of the meter `estimate`, where no meter reads the machine."
    keys = {
        "idle_w": Key(35, "W, of the idle machine", True),
        "max_w": Key(120, "W, of the fully busy machine", True),
        "source": Key("SPECpower_ssj2008 result 20230110-01202", "who says so", True),
    }

    idle_w: float
    max_w: float
    source: str

    def problems(self) -> list[str]:
        return limits.estimate(self)


class CodeCarbonConfig(Section, frozen=True, kw_only=True):
    """The setting of CodeCarbon: the country's three letters (ISO 3166-1)."""

    about = "The setting of the meter `codecarbon`."
    keys = {"country": Key("NLD", "three letters (ISO 3166-1)", True)}

    country: str

    def problems(self) -> list[str]:
        return limits.codecarbon(self)


class HostConfig(Section, frozen=True, kw_only=True):
    """The whole file, validated. ``HostConfig()`` is the empty one.

    ``devices`` are the sections ``[METER.ALIAS]``, by meter and alias.
    """

    devices: dict[str, dict[str, AliasedSection]] = {}
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
        file = path or config_path()
        if not file.exists() and path is None and VARIABLE not in os.environ:
            return cls()
        config = cls.parse(_read(file), str(file))
        return msgspec.structs.replace(config, folder=file.absolute().parent)

    @classmethod
    def parse(cls, text: str, name: str = "host.toml") -> HostConfig:
        """`load` for text already read."""
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # TOML's own, and beyond Python's limits
            why, at = (
                tomlplace.stopped(error, text) if isinstance(error, ValueError) else (error, None)
            )
            raise UsageError(f"{named(name, at)} is not TOML: {why}", _REMEDY) from error
        if problems := _problems(document):
            raise UsageError("; ".join(_placed(problems, text, name)), _REMEDY)
        devices = {
            meter: {name: msgspec.convert(s, kind) for name, s in document.pop(meter).items()}
            for meter, kind in ALIASED.items()
            if meter in document
        }
        return msgspec.structs.replace(msgspec.convert(document, cls), devices=devices)

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
        """The settings of the meter ``name`` under ``alias`` on this host; empty without any.

        Raises:
            UsageError: the meter is NVML, and a calibration file cannot be used.
        """
        if name == "nvml" and (cards := calibration.load(self.calibration_folder)):
            return {"calibrations": [_sealable(card) for card in cards]}
        if section := self.section(name, alias):
            return self._aliased(name, str(alias), section)
        if name == "estimate" and self.estimate:
            settings: dict[str, Any] = msgspec.to_builtins(self.estimate)
            return settings
        if name == "codecarbon" and self.codecarbon:
            return {"country": self.codecarbon.country}
        return {}

    def calibrations(self, name: str, alias: str | None = None) -> dict[str, bytes]:
        """What a run may seal of a meter's calibrations, by SHA-256.

        Raises:
            UsageError: a calibration file cannot be used.
        """
        settings = self.meter(name, alias)
        pdu = settings.get("calibration", {})
        sealable = [card["document"] for card in settings.get("calibrations", ())]
        sealable += [pdu_calibration.document(pdu)] if "calibration_sha256" in pdu else []
        documents = [jsonio.canonical(document) for document in sealable]
        return {jsonio.digest(data): data for data in documents}

    def section(self, name: str, alias: str | None) -> AliasedSection | None:
        """The section ``[NAME.ALIAS]``; None without one."""
        return self.devices.get(name, {}).get(alias or "")

    def aliased(self) -> list[tuple[str, str | None]]:
        """Every meter that has a section here, with its alias."""
        return [(name, alias) for name in ALIASED for alias in self.devices.get(name, {})]

    def _aliased(self, name: str, alias: str, section: AliasedSection) -> dict[str, Any]:
        settings = section.settings()
        profile = str(settings.get("profile", ""))
        if self.folder and profile.endswith(".json"):
            settings["profile"] = str(self.folder / Path(profile).expanduser())
        if name != "pdu":
            return settings
        calibrated = pdu_calibration.facts(self.folder, alias, settings)
        return settings | ({"calibration": calibrated} if calibrated else {})

    @property
    def has_secrets(self) -> bool:
        """Whether the file holds a credential."""
        return any(s.has_secrets for of in self.devices.values() for s in of.values())


def config_path() -> Path:
    """Where ``host.toml`` is looked for."""
    return Path(os.environ.get(VARIABLE) or DEFAULT).expanduser()


def check_pdu(pdu: PduConfig) -> None:
    """Check a PDU's settings that come from a command line, by the rules of ``[pdu.*]`` sections.

    Raises:
        UsageError: with every problem.
    """
    problems = pdu.problems()
    if problems:
        words = _KEY.sub(
            lambda key: _OPTIONS.get(key[1], f"--{key[1].replace('_', '-')}"), "; ".join(problems)
        )
        raise UsageError(words, "`kit pdu probe --help` says what each may be")


def _read(path: Path) -> str:
    try:
        return utf8(path.read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    except OSError as error:
        remedy = f"name another file with {VARIABLE}, or unset it"
        if VARIABLE not in os.environ:
            remedy = "make it a file that you may read, or remove it"
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy) from error


_KEY = re.compile(r"`(\w+)`")
# Keys of a PDU's section that are no options of the command line.
_OPTIONS = {"host": "HOST", "auth_key": "KIT_PDU_AUTH_KEY", "priv_key": "KIT_PDU_PRIV_KEY"}


class _Problem(NamedTuple):
    """A sentence on a section; the key that it is about stands in backticks."""

    section: str
    words: str


def _placed(problems: Iterable[_Problem], text: str, name: str) -> Iterator[str]:
    """Each problem with its place in the file, as editors open it: ``host.toml:3:1``."""
    for section, words in problems:
        at = tomlplace.of_problem(text, section, words)
        yield f"{named(name, at)} [{section}] {words}"


def _problems(document: dict[str, Any]) -> list[_Problem]:
    """Everything kit does not understand in a parsed file."""
    sections: list[tuple[str, Any, type[Section]]] = [
        (key, document[key], kind) for key, kind in _KINDS.items() if key in document
    ]
    names = (*ALIASED, *_KINDS)
    unknown = sorted(set(document) - set(names))
    problems = [
        _Problem(key, f"is no section that kit knows: {one_of(key, names)}") for key in unknown
    ]
    for meter, section in ALIASED.items():
        devices = document.get(meter, {})
        if not isinstance(devices, dict) or not all(isinstance(v, dict) for v in devices.values()):
            word = "PDUs" if meter == "pdu" else f"Devices of the meter {meter}"
            problems.append(
                _Problem(meter, f"{word} are sections of their own, as [{meter}.rack1]")
            )
        else:
            sections += [(f"{meter}.{alias}", value, section) for alias, value in devices.items()]
    for name, value, kind in sections:
        problems += [_Problem(name, words) for words in _section_problems(value, kind)]
    return problems or _shared(document)


def _shared(document: dict[str, Any]) -> list[_Problem]:
    """Sections of one meter that read the same: in one run it would count twice."""
    problems = []
    for meter, kind in ALIASED.items():
        readers: dict[tuple[str, ...], str] = {}
        for alias, value in document.get(meter, {}).items():
            for part in msgspec.convert(value, kind).reads:
                if part in readers:
                    words = f"reads what [{meter}.{readers[part]}] reads: in one run it would "
                    problems.append(_Problem(f"{meter}.{alias}", words + "count twice"))
                    break
                readers[part] = alias
    return problems


def _section_problems(value: Any, kind: type[Section]) -> list[str]:
    try:
        section = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [_in_words(str(error), kind)]
    return section.problems()


def _in_words(message: str, kind: type[Section]) -> str:
    """What msgspec says of a section, for somebody who wrote TOML."""
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        return f"has no key `{unknown[1]}`: {one_of(unknown[1], kind.keys)}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        sample = json.dumps(kind.keys[missing[1]].sample, ensure_ascii=False)
        return f"needs the key `{missing[1]}`, such as {missing[1]} = {sample}"
    if wrong := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$\.?(.*)`)?", message):
        wanted, got = (_types(group) for group in wrong.group(1, 2))
        key = f"`{wrong[3]}` holds" if wrong[3] else "is"
        return f"{key} {got} where {wanted} belongs"
    return message.replace("`$.", "`")


def _types(names: str) -> str:
    """msgspec's names of types, in words: ``str | null`` is a text."""
    return " or ".join(_TYPES.get(name, name) for name in names.split(" | ") if name != "null")


_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
}
_REMEDY = "correct it there; docs/host.md has every key"
_KINDS: dict[str, type[Section]] = {
    "weights": WeightsConfig,
    "store": StoreConfig,
    "calibration": CalibrationConfig,
    "estimate": EstimateConfig,
    "codecarbon": CodeCarbonConfig,
}


def sections() -> dict[str, type[Section]]:
    """Every section by its heading; of a meter's, with an alias as an example."""
    aliases = {"pdu": "rack1", "plug": "desk", "redfish": "bmc"}
    return _KINDS | {f"{m}.{aliases.get(m, 'one')}": kind for m, kind in ALIASED.items()}


def _sealable(card: calibration.Calibration) -> dict[str, Any]:
    """A card's calibration as the meter's settings hold it, with the form that a run seals."""
    document = calibration.public(card)
    facts: dict[str, Any] = msgspec.to_builtins(card)
    return {**facts, "document": document, "calibration_sha256": jsonio.hash_of(document)}
