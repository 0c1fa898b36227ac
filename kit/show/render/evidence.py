"""`kit show`: net energies, and the checks of a run's energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from kit.energy import names
from kit.energy.names import NETS
from kit.show.render.console import facts, plain
from kit.show.render.numbers import measured
from kit.show.report import words

Document = Mapping[str, Any]


def nets(results: Document) -> tuple[str, RenderableType | None]:
    """The first launch's measured block above its baselines."""
    rows = [
        (f"{names.scope(scope, short=True)} {NETS[key]}", _net(net))
        for scope, kept in _first(results).get("net", {}).items()
        for key, net in kept.items()
        if key in NETS and "joules" in net
    ]
    if not rows:
        return "", None
    table = facts([])
    for label, told in rows:
        table.add_row(plain(label), plain(told))
    return f"net energy of launch {_first(results)['launch']}", table


def _first(results: Document) -> Document:
    """The first launch; empty without one."""
    found: Document = (results.get("launches") or [{}])[0]
    return found


def _net(net: Document) -> str:
    told = f"{measured(net)} J"
    return f"{told}; {words.baseline(net)}" if "baseline_w" in net else told


def checks(results: Document) -> RenderableType | None:
    """Steady state, cross-check and joules per token, a line each if there is one."""
    rows = [*_steady(results), *_crossed(results), *_split(results)]
    if not rows:
        return None
    table = facts([])
    for label, told in rows:
        table.add_row(label, plain(told))
    return table


def _steady(results: Document) -> Iterator[tuple[str, str]]:
    """Steady state of the first launch; notices report the others. Equal GPUs share a line."""
    told: dict[str, list[str]] = {}
    found = _first(results).get("steady", {})
    for gpu, places in found.items():
        states = [f"{words.PLACES[p]}: {words.STATES[j['status']]}" for p, j in places.items()]
        if len(found) == 1 and "within" in places:
            states.append(_slopes(places["within"]))
        told.setdefault("; ".join(states), []).append(str(gpu))
    for state, gpus in told.items():
        yield "steady", f"{', '.join(gpus)} {state}"


def _slopes(judged: Document) -> str:
    temperature = words.slope(judged, "temperature_c_per_min", "°C/min")
    return f"{temperature}, {words.slope(judged, 'power_percent_per_min', '%/min')}"


def _crossed(results: Document) -> Iterator[tuple[str, str]]:
    for gpu, check in _first(results).get("cross_check", {}).items():
        if "ratio" in check:
            yield "cross-check", f"{gpu}: {words.cross_check(check)}"


def _split(results: Document) -> Iterator[tuple[str, str]]:
    for scope, found in results.get("split", {}).items():
        if "prefill_j_per_token" in found:
            called = names.scope(scope, short=True)
            prefill = words.per_token(found["prefill_j_per_token"])
            decode = words.per_token(found["decode_j_per_token"])
            yield "split", f"{called}: prefill {prefill} a token, decode {decode} a token"
