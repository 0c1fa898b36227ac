"""`kit import energibridge`: the energy of another tool's recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.energy import names
from kit.energy.reasons import sentence
from kit.energy.value import EnergyValue
from kit.show.render.console import facts, listing, plain, put, stdout, title
from kit.show.render.numbers import measured, watts


def imported(document: Mapping[str, Any], values: Iterable[EnergyValue]) -> None:
    """Print the result of `kit.cli.energibridge`; ``values`` are its energies by scope."""
    begin, end = document["window_s"]
    source = document["source"]
    note = f"{source['tool']}, {source['rows']} rows since {source['began_utc']}"
    table = listing(
        ("scope", {"no_wrap": True}),
        ("J ± reading noise ± sensor", {"justify": "right", "no_wrap": True}),
        ("W", {"justify": "right", "no_wrap": True}),
        ("method", {"overflow": "fold"}),
    )
    for value in values:
        how = value.method or f"unmeasured: {sentence(value.reason or '')}"
        table.add_row(
            plain(names.scope(value.scope)),
            plain(measured(value)),
            plain(watts(value, end - begin)),
            plain(how),
        )
    devices = facts((name, text) for name, text in document["devices"].items())
    put(stdout(), title(f"{begin:g} … {end:g} s", note), table, devices)
