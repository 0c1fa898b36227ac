"""Facts of this machine, and ``host.toml``: the settings of this host.

- `fingerprint`: the content of ``env/start.json`` and ``env/end.json``. Anonymous: no host name,
  UUID, serial number, network address or path. A fact that could not be read is
  ``{"absent": "<reason>"}``, never a guess and never zero.
- `identity`: what names the machine, for ``private/identity.json``, withheld by default.
- `HostConfig`: ``host.toml`` with credentials, addresses, calibrations and folders; never sealed.
- `cpu_split`: disjoint CPU sets for the runtime, the driver and the sampler.
"""

from __future__ import annotations

from kit.machine.host.config import EstimateConfig, HostConfig, config_path
from kit.machine.host.cpus import cpu_split, format_set, parse_set, usable
from kit.machine.host.fingerprint import fingerprint, identity
from kit.machine.host.kernelfiles import absent, is_absent
from kit.machine.host.sections import PduConfig

__all__ = [
    "EstimateConfig",
    "HostConfig",
    "PduConfig",
    "absent",
    "config_path",
    "cpu_split",
    "fingerprint",
    "format_set",
    "identity",
    "is_absent",
    "parse_set",
    "usable",
]
