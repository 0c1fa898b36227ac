"""The sections of host.toml that say where a meter is: ``[NAME.ALIAS]``, one for each device.

A spec names meter and alias; address and credentials are here, and are never sealed. `ALIASED`
is the one place that says which meters are reached so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import msgspec

from kit.machine.host import address, limits


class Key(NamedTuple):
    """What a key of a section is for, and a value as an example.

    Attributes:
        begins: it belongs to the shortest section that works; the others are optional.
    """

    sample: Any
    words: str
    begins: bool = False


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the file's sections: a key that kit does not know is an error, not a silence.

    Attributes:
        about: what the section is for, in a sentence.
        keys: every key; `kit.machine.host.example` writes them out.
    """

    about: ClassVar[str] = ""
    keys: ClassVar[dict[str, Key]] = {}

    def problems(self) -> list[str]:
        """What cannot be (`kit.machine.host.limits`), each a sentence."""
        return []


class AliasedSection(Section, frozen=True, kw_only=True):
    """The section of one device of a meter: its address, and its credentials.

    Each kind says `reached`, `whose` and `reads` in its own way.

    Attributes:
        secrets: the keys that hold credentials.
        is_whole: it reads the whole machine, and so what any other meter of the wall reads, too.
    """

    secrets: ClassVar[tuple[str, ...]] = ()
    is_whole: ClassVar[bool] = False

    @property
    def has_secrets(self) -> bool:
        """Whether it holds a credential."""
        return any(getattr(self, key) for key in self.secrets)

    @property
    def reached(self) -> str:
        """Address and protocol, for a person who is to agree to them."""
        raise NotImplementedError

    @property
    def whose(self) -> str:
        """Whose credentials are used; empty for none."""
        raise NotImplementedError

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        """Each part that it reads, by address and name: two sections that share one would count
        it twice.
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The meter's settings."""
        settings: dict[str, Any] = msgspec.to_builtins(self)
        return settings


class PduConfig(AliasedSection, frozen=True, kw_only=True):
    """How to reach one PDU. SNMP v2c with ``community``, or v3 with ``user`` and keys.

    ``host`` is a name or an address, with its port or without (`kit.machine.host.address`).
    ``outlets`` feed this host (all supplies of the host); ``inlets`` are read where a profile has
    no outlet power. ``profile`` names a file of ``kit/measure/meters/pdu_profiles/``, or is the
    path of one's own, ending in ``.json``, from this file's folder. ``version`` is 1 for old PDUs.
    ``poll_s`` is how often it is asked.
    """

    secrets: ClassVar[tuple[str, ...]] = ("community", "user", "auth_key", "priv_key")
    about = "A PDU's metered outlets over SNMP; `kit pdu probe` prints such a section."
    keys = {
        "host": Key("192.0.2.10", "name or address, with its port or without", True),
        "profile": Key("apc-rpdu2", "the make; or the path of a profile of your own", True),
        "outlets": Key([3, 4], "every outlet that feeds this host", True),
        "community": Key("public", "SNMP v2c; for v3 give user and keys instead", True),
        "inlets": Key([1], "read where the make has no power of outlets"),
        "port": Key(161, "where it listens"),
        "version": Key("1", "for a PDU that speaks nothing newer"),
        "user": Key("monitor", "SNMP v3"),
        "auth_key": Key("a passphrase", "SNMP v3, with authentication"),
        "auth_protocol": Key("SHA", "MD5, SHA, SHA224, SHA256, SHA384 or SHA512"),
        "priv_key": Key("another passphrase", "SNMP v3, with encryption"),
        "priv_protocol": Key("AES", "DES, 3DES, AES, AES192 or AES256"),
        "timeout_s": Key(2.0, "s, for an answer"),
        "retries": Key(1, "after an answer that did not come"),
        "poll_s": Key(1.0, "s, how often it is asked"),
    }

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

    @property
    def reached(self) -> str:
        return f"{self.host} port {self.port}, over SNMP {self.snmp_version}"

    @property
    def whose(self) -> str:
        return f"the user {self.user} and its keys" if self.user else "the community"

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        where = (self.host.lower(), str(self.port))
        parts = [("outlet", str(n)) for n in self.outlets]
        parts += [("inlet", str(n)) for n in self.inlets]
        return frozenset((*where, *part) for part in parts or [("all", "")])

    def problems(self) -> list[str]:
        return limits.pdu(self)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"version": self.snmp_version}

    def __repr__(self) -> str:
        """Without credentials: a repr ends up in logs and tracebacks."""
        version = self.snmp_version
        return f"PduConfig(host={self.host!r}, profile={self.profile!r}, version={version!r})"


class WebSection(AliasedSection, frozen=True, kw_only=True):
    """A device that answers over HTTP or HTTPS.

    ``url`` is where it answers: scheme, host, port, and no more. ``ca`` is the path of a file with
    the certificates that are trusted; ``verify = false`` trusts any. ``timeout_s`` is for a whole
    answer, ``poll_s`` how often it is asked, ``period_s`` how often its value is renewed, where
    its maker says so.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password",)
    keys = {
        "url": Key("http://192.0.2.11", "scheme, host, perhaps a port", True),
        "user": Key("monitor", "together with password"),
        "password": Key("a password", "never sealed with a run"),
        "verify": Key(False, "trust any certificate, which a plan then says"),
        "ca": Key("/etc/kit/device.pem", "the certificates that are trusted"),
        "timeout_s": Key(2.0, "s, for a whole answer"),
        "poll_s": Key(1.0, "s, how often it is asked"),
        "period_s": Key(1.0, "s, how often its value is renewed, where its maker says so"),
    }

    url: str
    user: str | None = None
    password: str | None = None
    verify: bool = True
    ca: str | None = None
    timeout_s: float = 2.0
    poll_s: float = 1.0
    period_s: float | None = None

    @property
    def reached(self) -> str:
        parts = urlsplit(self.url)
        scheme = parts.scheme.upper()
        parsed = address.parse(parts.netloc)
        port = parsed.port or (443 if scheme == "HTTPS" else 80)
        unverified = "" if self.verify or scheme == "HTTP" else ", certificate not verified"
        return f"{parsed.host} port {port}, over {scheme}{unverified}"

    @property
    def whose(self) -> str:
        return f"the user {self.user} and its password" if self.password else ""

    def __repr__(self) -> str:
        """Without credentials: a repr ends up in logs and tracebacks."""
        return f"{type(self).__name__}(url={self.url!r})"


class PlugConfig(WebSection, frozen=True, kw_only=True):
    """A smart plug: its make, its socket, and where its values are.

    ``profile`` names a make (``kit/measure/meters/plug_profiles/``), or is the path of one's own,
    ending in ``.json``; ``channel`` is which of its sockets.

    With the profile ``generic``, ``path`` is what to ask for and ``power`` the JSON pointer (RFC
    6901) of the power in watts, with ``digits`` decimals at the most; ``energy`` that of a register
    in ``energy_unit``, with ``energy_digits``. ``gain`` is the half-width of its relative error and
    ``gain_source`` who says so; ``squelch`` the load (W) below which it reads 0.
    """

    about = "A smart plug that answers over HTTP."
    keys = {
        **WebSection.keys,
        "profile": Key(
            "shelly-gen2", "shelly-gen1, shelly-gen2, tasmota, generic, or a path", True
        ),
        "channel": Key(0, "which of its sockets"),
        "path": Key("/status", "with the profile generic: what to ask for"),
        "power": Key("/power", "with generic: JSON pointer of the power, W"),
        "digits": Key(3, "with generic: decimals of the power at the most"),
        "energy": Key("/energy", "with generic: JSON pointer of an energy register"),
        "energy_unit": Key("Wh", "with generic: J, Wmin, Wh or kWh"),
        "energy_digits": Key(3, "with generic: decimals of the register at the most"),
        "gain": Key(0.01, "half-width of its relative error"),
        "gain_source": Key("the maker's data sheet", "who says so"),
        "squelch": Key(1.0, "W, the load below which it reads 0"),
    }

    profile: str
    channel: int = 0
    path: str | None = None
    power: str | None = None
    digits: int = 3
    energy: str | None = None
    energy_unit: str = "Wh"
    energy_digits: int = 3
    gain: float | None = None
    gain_source: str = ""
    squelch: float | None = None

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        query = (str(self.channel), self.path or "", self.power or "")
        return frozenset({(_origin(self.url), *query)})

    def problems(self) -> list[str]:
        return limits.plug(self)


class RedfishConfig(WebSection, frozen=True, kw_only=True):
    """A machine's BMC: the parts of the machine that it reads, and its credentials.

    ``chassis`` are the Ids of those that add up to the machine; without them, the only one that
    reports power. Credentials go with each request, or by ``session = true`` once, for a session's
    token; ``token`` is one that someone else has begun.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password", "token")
    is_whole: ClassVar[bool] = True
    about = "A machine's BMC over Redfish."
    keys = {
        **WebSection.keys,
        "url": Key("https://192.0.2.12", "scheme, host, perhaps a port", True),
        "user": Key("monitor", "together with password", True),
        "password": Key("a password", "never sealed with a run", True),
        "chassis": Key(["1"], "Ids of those that add up to the machine"),
        "session": Key(True, "give the credentials once, for a session's token"),
        "token": Key("a token", "of a session that someone else has begun"),
        "timeout_s": Key(5.0, "s, for a whole answer"),
    }

    chassis: tuple[str, ...] = ()
    session: bool = False
    token: str | None = None
    timeout_s: float = 5.0

    @property
    def whose(self) -> str:
        return "the session's token" if self.token else super().whose

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        return frozenset((_origin(self.url), name) for name in self.chassis or ("",))

    def problems(self) -> list[str]:
        return limits.redfish(self)


def _origin(url: str) -> str:
    return url.lower().rstrip("/")


ALIASED: dict[str, type[AliasedSection]] = {
    "pdu": PduConfig,
    "plug": PlugConfig,
    "redfish": RedfishConfig,
}


def is_aliased(meter: str) -> bool:
    """Whether host.toml says in ``[METER.ALIAS]`` where a meter is; a spec then names the alias."""
    return meter in ALIASED


def holding_others(meters: Iterable[str]) -> list[str]:
    """The meters among several that also read what another of them reads: sums count it twice."""
    aliased = [name for name in meters if is_aliased(name)]
    parts = [name for name in aliased if not ALIASED[name].is_whole]
    return [name for name in aliased if ALIASED[name].is_whole] if parts else []
