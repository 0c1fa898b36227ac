"""Joules per prefill token and per decode token by difference of workloads. Pure.

A phase shorter than ten update periods of its meter has no energy of its own that could be
believed. Whole requests, or blocks of them, are long enough; where their prompts and answers vary
in length against one another, least squares tells what a token of each adds:

    joules = prefill · prompt tokens + decode · output tokens + baseline · seconds

or, by time, ``prefill W · prefill s + decode W · decode s + baseline W · the other s``, which asks
less of the model where a token's cost grows with its context. The first is marginal (above the
baseline), the second gross, as its phases' seconds hold the baseline too.

Weights are those of the windows' own uncertainties. Where the scatter is larger than these say, the
standard errors grow with it (Birge's ratio); they never shrink. Windows of one launch share its
luck: where there are several launches, the fit is made anew without each of them, and what that
moves is its error (the jackknife over clusters: Efron and Stein, *Annals of Statistics* 9, 1981).
The sensor's gain is no part of them: it acts on all windows alike. What the data cannot tell apart
is refused with a reason: the columns, scaled to unit length, must have a condition number under 30
(Belsley, Kuh and Welsch, *Regression Diagnostics*, 1980).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from kit.core.arrays import np
from kit.core.stats import t_quantile
from kit.energy.curve import Floats
from kit.energy.reason import Reason

MOST_CONDITION = 30.0
LEAST_FREEDOM = 3
_TOLD_CONDITION = 1000.0
_NAMES = {
    "tokens": ("prompt_tokens", "output_tokens", "seconds"),
    "time": ("prefill_s", "decode_s", "idle_s"),
}


class Work(NamedTuple):
    """One window of whole requests: what was done in it, and its energy.

    Attributes:
        prompt_tokens: tokens that were prefilled (those from a cache left out).
        output_tokens: tokens that were decoded.
        prefill_s: time spent in prefill, s, over all its requests.
        decode_s: time spent in decode, s.
        seconds: length of the window, s.
        joules: its energy, J.
        u_joules: standard uncertainty of it by repetition, J; 0 where unknown, for all windows.
    """

    prompt_tokens: float
    output_tokens: float
    prefill_s: float
    decode_s: float
    seconds: float
    joules: float
    u_joules: float = 0.0


class Estimate(NamedTuple):
    """A value with its standard error and the degrees of freedom behind that."""

    value: float
    u: float
    df: float

    def interval(self, p: float = 0.95) -> tuple[float, float]:
        """The interval that covers the truth with probability ``p`` (Student's t)."""
        half = t_quantile((1 + p) / 2, self.df) * self.u if self.u else 0.0
        return self.value - half, self.value + half


class PerToken(NamedTuple):
    """The result of `per_token`.

    Attributes:
        prefill: J per prompt token.
        decode: J per output token.
        baseline_w: W of what runs on regardless.
        condition: condition number of the columns.
        scatter: Birge's ratio: how far the residuals exceed the windows' own uncertainties; NaN
            where these were not given.
        windows: how many were used.
        launches: over how many the errors are; 0 where they are over windows.
    """

    prefill: Estimate
    decode: Estimate
    baseline_w: Estimate
    condition: float
    scatter: float
    windows: int
    launches: int = 0


class Refused(NamedTuple):
    """Why prefill and decode cannot be separated in these windows."""

    reason: Reason


def per_token(
    work: Sequence[Work],
    by: Literal["tokens", "time"] = "tokens",
    baseline: tuple[float, float] | None = None,
) -> PerToken | Refused:
    """Joules per prefill and per decode token, from windows whose work differs.

    Args:
        work: windows that do not overlap.
        by: what the energy is split by, see the module.
        baseline: its power and standard uncertainty (W), where it was measured; it is estimated
            from the windows otherwise, which needs pauses of different lengths in them.
    """
    columns = _columns(work, by)
    if baseline is not None:
        columns = columns[:, :2]
    reason = _why_not(work, columns, by)
    if reason:
        return Refused(reason)
    rest = _rest(work, by)
    power, u_power = baseline or (0.0, 0.0)
    joules = np.array([w.joules for w in work]) - power * rest
    fitted = _fit(columns, joules, np.array([w.u_joules for w in work]))
    values, covariance = fitted.values, fitted.covariance
    if baseline is not None:
        # An error of the baseline moves both, as its seconds look like their work.
        moved = fitted.operator @ rest
        covariance = covariance + u_power**2 * np.outer(moved, moved)
        values = np.append(values, power)
        covariance = np.pad(covariance, (0, 1))
        covariance[2, 2] = u_power**2
    return _per_token(work, by, values, covariance, fitted, _condition(columns))


def over_launches(
    launches: Sequence[Sequence[Work]], baseline: tuple[float, float]
) -> PerToken | Refused:
    """`per_token` of all windows, with the scatter between launches in its errors.

    Where a launch cannot be left out (there is only one, or the others do not tell), the errors
    are those of the fit, and ``launches`` is 0.

    Args:
        launches: the windows of each.
        baseline: as for `per_token`.
    """
    fitted = per_token([w for launch in launches for w in launch], baseline=baseline)
    if isinstance(fitted, Refused) or len(launches) < 2:
        return fitted
    without = [
        per_token(
            [w for k, own in enumerate(launches) if k != left for w in own], baseline=baseline
        )
        for left in range(len(launches))
    ]
    fits = [fit for fit in without if isinstance(fit, PerToken)]
    if len(fits) < len(launches):
        return fitted
    return fitted._replace(
        prefill=_jackknifed(fitted.prefill, [fit.prefill.value for fit in fits]),
        decode=_jackknifed(fitted.decode, [fit.decode.value for fit in fits]),
        launches=len(launches),
    )


def _jackknifed(estimate: Estimate, without: Sequence[float]) -> Estimate:
    """The estimate with the larger of its two errors; launches are its degrees of freedom."""
    n = len(without)
    mean = math.fsum(without) / n
    u = math.sqrt((n - 1) / n * math.fsum((v - mean) ** 2 for v in without))
    return Estimate(estimate.value, max(estimate.u, u), n - 1)


class _Fit(NamedTuple):
    values: Floats
    covariance: Floats
    operator: Floats
    scatter: float
    df: int


def _fit(columns: Floats, joules: Floats, u: Floats) -> _Fit:
    """Weighted least squares; unweighted, with the scatter as its error, without any ``u``."""
    weighted = bool((u > 0).all())
    weights: Floats = 1 / u if weighted else np.ones(len(joules))
    operator: Floats = np.linalg.pinv(columns * weights[:, None]) * weights
    values: Floats = operator @ joules
    df = columns.shape[0] - columns.shape[1]
    residuals: Floats = (joules - columns @ values) * weights
    scatter = math.sqrt(float(residuals @ residuals) / df)
    spread = (max(1.0, scatter) if weighted else scatter) / weights
    covariance: Floats = (operator * spread**2) @ operator.T
    return _Fit(values, covariance, operator, scatter if weighted else math.nan, df)


def _per_token(
    work: Sequence[Work],
    by: str,
    values: Floats,
    covariance: Floats,
    fitted: _Fit,
    condition: float,
) -> PerToken:
    """The fit in joules per token: by time, watts times the seconds that a token takes."""
    scales = [1.0, 1.0, 1.0]
    if by == "time":
        scales[0] = sum(w.prefill_s for w in work) / sum(w.prompt_tokens for w in work)
        scales[1] = sum(w.decode_s for w in work) / sum(w.output_tokens for w in work)
    prefill, decode, idle = (
        Estimate(float(values[i]) * s, math.sqrt(float(covariance[i, i])) * s, fitted.df)
        for i, s in enumerate(scales)
    )
    return PerToken(prefill, decode, idle, condition, fitted.scatter, len(work))


def _rest(work: Sequence[Work], by: str) -> Floats:
    """The seconds on which the baseline acts: all, or by time those outside both phases."""
    if by == "tokens":
        return np.array([w.seconds for w in work], np.float64)
    return np.array([w.seconds - w.prefill_s - w.decode_s for w in work], np.float64)


def _columns(work: Sequence[Work], by: str) -> Floats:
    pairs = [
        (w.prompt_tokens, w.output_tokens) if by == "tokens" else (w.prefill_s, w.decode_s)
        for w in work
    ]
    return np.column_stack([np.array(pairs, np.float64).reshape(len(work), 2), _rest(work, by)])


def _condition(columns: Floats) -> float:
    lengths: Floats = np.sqrt((columns**2).sum(axis=0))
    return float(np.linalg.cond(columns / lengths)) if lengths.all() else math.inf


def _why_not(work: Sequence[Work], columns: Floats, by: str) -> Reason | None:
    """What the windows lack; None where they suffice."""
    count = columns.shape[1]
    least = count + LEAST_FREEDOM
    if len(work) < least:
        return Reason("few_windows", windows=len(work), unknowns=count, least=least)
    if not all(math.isfinite(v) for w in work for v in w):
        return Reason("no_number")
    if not sum(w.prompt_tokens for w in work):
        return Reason("no_prompt_token")
    if not sum(w.output_tokens for w in work):
        return Reason("no_output_token")
    if _condition(columns) < MOST_CONDITION:
        return None
    return _collinear(columns, _NAMES[by])


def _collinear(columns: Floats, names: Sequence[str]) -> Reason:
    """The lengths themselves, if these two go together; else the time that the baseline needs."""
    by_baseline = columns.shape[1] > 2 and _condition(columns[:, :2]) < MOST_CONDITION
    condition = _condition(columns)
    # Of columns that are all but parallel it is rounding alone, and another on every machine.
    is_told = condition < _TOLD_CONDITION
    reason = Reason(
        "collinear",
        columns=tuple(names if by_baseline else names[:2]),
        condition=condition if is_told else None,
        beyond=None if is_told else _TOLD_CONDITION,
        most=MOST_CONDITION,
    )
    return Reason("collinear_with_baseline", reason=reason) if by_baseline else reason
