"""`kit show`: net energies, and the checks of a run's energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from kit.energy import names
from kit.energy.names import NETS
from kit.energy.results.document import NetEnergy, Results
from kit.energy.steady import Steady
from kit.show.documents import Step
from kit.show.render.console import facts, plain
from kit.show.render.numbers import measured
from kit.show.report import words


def nets(results: Results) -> tuple[str, RenderableType | None]:
    """The first launch's measured block above its baselines."""
    rows = [
        (f"{names.scope(scope, short=True)} {NETS[key]}", _net(net))
        for launch in results.launches[:1]
        for scope, kinds in launch.net.items()
        for key, net in kinds.items()
        if key in NETS and net.joules is not None
    ]
    if not rows:
        return "", None
    table = facts([])
    for label, cells in rows:
        table.add_row(plain(label), plain(cells))
    return f"net energy of launch {results.launches[0].index}", table


def _net(net: NetEnergy) -> str:
    return "; ".join(filter(None, (f"{measured(net)} J", words.baseline(net))))


def steps(steps: Sequence[Step]) -> RenderableType | None:
    """What start-up and shutdown consist of: each launch's seconds, a line a step."""
    seconds: dict[str, list[str]] = {}
    for step in steps:
        seconds.setdefault(step.name, []).append(f"{step.seconds:.3g}")
    if not seconds:
        return None
    return facts((name, f"{', '.join(each)} s") for name, each in seconds.items())


def checks(results: Results) -> RenderableType | None:
    """Steady state, cross-check and joules per token, a line each if there is one."""
    rows = [*_steady(results), *_crossed(results), *_split(results)]
    if not rows:
        return None
    table = facts([])
    for label, cells in rows:
        table.add_row(label, plain(cells))
    return table


def _steady(results: Results) -> Iterator[tuple[str, str]]:
    """Steady state of the first launch; notices report the others. Equal GPUs share a line."""
    reasons: dict[str, list[str]] = {}
    steady = results.launches[0].steady if results.launches else {}
    for gpu, places in steady.items():
        states = [f"{words.PLACES[p]}: {words.STATES[j.status]}" for p, j in places.items()]
        if len(steady) == 1 and "within" in places:
            states.append(_slopes(places["within"]))
        reasons.setdefault("; ".join(states), []).append(str(gpu))
    for state, gpus in reasons.items():
        yield "steady", f"{', '.join(gpus)} {state}"


def _slopes(judged: Steady) -> str:
    return f"{words.temperature(judged)}, {words.power(judged)}"


def _crossed(results: Results) -> Iterator[tuple[str, str]]:
    for launch in results.launches[:1]:
        for gpu, check in launch.cross_check.items():
            if check.ratio is not None:
                yield "cross-check", f"{gpu}: {words.cross_check(check)}"


def _split(results: Results) -> Iterator[tuple[str, str]]:
    for scope, split in results.split.items():
        if split.prefill_j_per_token:
            called = names.scope(scope, short=True)
            prefill = words.per_token(split.prefill_j_per_token)
            decode = words.per_token(split.decode_j_per_token)
            yield "split", f"{called}: prefill {prefill} a token, decode {decode} a token"
