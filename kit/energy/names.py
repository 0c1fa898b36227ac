"""The glossary: what phases, metrics and scopes are called, and the order of scopes.

Documents, the journal and specs hold identifiers (``loaded_idle``, ``ttft_p50``, ``gpu``); every
face shows the names that stand here and in `kit.energy.scopes`, and no others. An identifier that
is not known, as in a damaged archive, is shown unchanged.
"""

from __future__ import annotations

from kit.energy import scopes
from kit.energy.scopes.contract import Name

SCOPES = {name: scope.title for name, scope in scopes.SCOPES.items()}
COMPARATORS = {name: scope.title for name, scope in scopes.COMPARATORS.items()}

# The blocks of a launch, then what the measured one is divided into (`kit.record.phases`).
PHASES = {
    "idle": Name("idle", "idle"),
    "startup": Name("startup", "start"),
    "warmup": Name("warm-up", "warm"),
    "loaded_idle": Name("loaded idle", "l.idle"),
    "measured": Name("measured", "meas"),
    "shutdown": Name("shutdown", "stop"),
    "prefill": Name("prefill", "prefill"),
    "decode": Name("decode", "decode"),
    "mixed": Name("mixed", "mixed"),
}

# Gross energy of the measured block over the work done in it; a metric is one of these of a scope.
ENERGY_PER = {
    "output_token": Name("energy per output token", "J/token"),
    "image": Name("energy per image", "J/image"),
    "step": Name("energy per denoising step", "J/step"),
    "request": Name("energy per request", "J/request"),
}
METRICS = {
    "outputs": Name("outputs", "outputs"),
    **{
        f"{scope}_energy_per_{per}": Name(f"{of.short} {name.full}", f"{of.short} {name.short}")
        for scope, of in SCOPES.items()
        for per, name in ENERGY_PER.items()
    },
    "ttft_p50": Name("time to first token (TTFT), median", "TTFT, median"),
    "tpot_p50": Name("time per output token (TPOT), median", "TPOT, median"),
    "e2e_p50": Name("end-to-end latency (E2E), median", "E2E, median"),
    "output_throughput": Name("output throughput", "throughput"),
    "image_throughput": Name("image throughput", "images/s"),
}
# What a run of texts has no metrics of, and a run of images.
OF_IMAGES = frozenset(n for n in METRICS if n.endswith(("_per_image", "_per_step"))) | {
    "image_throughput"
}
OF_TEXTS = frozenset(n for n in METRICS if n.endswith("_per_output_token")) | {
    "ttft_p50",
    "tpot_p50",
    "output_throughput",
}
# Net energies: the measured block above what the machine draws anyway.
NETS = {
    "above_loaded_idle": f"above {PHASES['loaded_idle'].full}",
    "above_idle": f"above {PHASES['idle'].full}",
}


def phase(name: str, part: str | None = None, *, short: bool = False) -> str:
    """``warm-up``, ``loaded idle (before)``; in few letters ``warm``, ``l.idle``."""
    shown = _of(PHASES, name, short)
    return f"{shown} ({part})" if part else shown


def metric(name: str, *, short: bool = False) -> str:
    """``GPU energy per output token``; in few letters ``GPU J/token``."""
    return _of(METRICS, name, short)


def scope(name: str, *, short: bool = False) -> str:
    """``GPU boards``, also of another tool's account; in few letters ``GPU``."""
    return _of({**SCOPES, **COMPARATORS}, name, short)


def rank(scope: str) -> int:
    """The place of a scope in the order; what belongs to none comes last."""
    order = (*SCOPES, *COMPARATORS)
    return order.index(scope) if scope in order else len(order)


def _of(names: dict[str, Name], name: str, short: bool) -> str:
    entry = names.get(name, Name(name, name))
    return entry.short if short else entry.full
