"""The registry of notices: what in a run is worth knowing before its numbers are used.

They are reasons like the others; `kit.energy.reasontable` says how a sentence is written.
"""

from __future__ import annotations

from kit.energy.reasontable import DEVICE, INNER, REASONS, SAID, Kind, kind

KINDS: dict[str, Kind] = {
    "FAILED_REQUESTS": kind(
        "{failed} of {issued} {issued:request|requests} failed: {failures}",
        failed="requests that failed",
        issued="of how many",
        failures="how many by reason code",
    ),
    "UNTIMED_TOKENS": kind(
        "{untimed} of {completed} {completed:answer|answers} {untimed:does|do} not show when "
        "{untimed:its|their} tokens came; times to first token and per token are of the others",
        untimed="answers without times of tokens",
        completed="of how many",
    ),
    "NOT_EQUAL_WORK": kind("the runtime decides how many tokens it generates"),
    "TOKEN_MISMATCH": kind(
        "{answers} {answers:answer does|answers do} not have as many tokens as were asked for",
        answers="how many answers",
    ),
    "IMAGE_MISMATCH": kind(
        "{answers} {answers:answer does|answers do} not have the images that were asked for",
        answers="how many answers",
    ),
    "PROMPT_CUT": kind(
        "{prompts} {prompts:prompt was|prompts were} longer than the model's text encoder takes: "
        "the rest did nothing",
        prompts="how many prompts",
    ),
    "STEP_MISMATCH": kind(
        "{steps} denoising steps were taken where {asked} were asked for: energy per step is by "
        "those taken",
        steps="steps taken",
        asked="steps asked for",
    ),
    "CACHED_TOKENS": kind(
        "{prompts} {prompts:prompt was|prompts were} served partly from a cache",
        prompts="how many prompts",
    ),
    "DRIVER_LIMITED": kind("{reason}", reason=INNER),
    "driver_busy": kind(
        "the load driver used {cpu_share:.0%} of its CPU", cpu_share="share of one CPU"
    ),
    "driver_late": kind(
        "one request in a hundred left {late_s:ms} ms late or more (limit {limit_s:ms} ms)",
        late_s="99th percentile of how late, s",
        limit_s="the most that is not reported, s",
    ),
    "SAMPLER_GAP": kind("{said}", said=SAID),
    "SAMPLER_LOST": kind("[{said}]", said=SAID),  # a journal may hold no word of it
    "CROSS_CHECK": kind(
        "{device}: power readings give {ratio:.3f} times the energy of the counter",
        device=DEVICE,
        ratio="energy by power over that by the counter",
    ),
    "BASELINE_DRIFT": kind(
        "{scope:scope}: loaded idle power moved by {drift_w:+3} W over the block; the net energy "
        "is above a line between the two",
        scope="the scope",
        drift_w="later power less the earlier one, W",
    ),
    "PHASES_UNRESOLVED": kind(
        "{phases:and}: too short for energies of their own; the joules per prefill and decode "
        "token come from all requests together",
        phases="list of phases",
    ),
    "NOT_STEADY": kind(
        "{device} was not steady {place:place}: {reasons:; }; more warm-up requests or a longer "
        "phases.loaded_idle_s let it settle; phases.steady makes the run wait for it",
        device=DEVICE,
        place="before or within the measured block",
        reasons=REASONS,
    ),
    "STEADY_UNKNOWN": kind(
        "{device}: it is not known whether it was steady: {reasons:; }; a minute of "
        "phases.loaded_idle_s and of measured work tells most",
        device=DEVICE,
        reasons=REASONS,
    ),
    "FOREIGN_PROCESSES": kind(
        "{device}: at least {programs} {programs:program|programs} of others ran on it, in "
        "{readings} of {of} readings; their energy is in the run's",
        device=DEVICE,
        programs="how many at a time, at least",
        readings="in how many readings",
        of="of how many",
    ),
    "WALL_IMPOSSIBLE": kind("{reason}", reason=INNER),
    "READINGS_DOUBTED": kind("{reason}", reason="a doubt, or how many more there are"),
    "COVERAGE": kind("{reason}", reason="a doubt that was settled"),
    "CAP_CHANGED": kind("{device}: its power cap was {reason}", device=DEVICE, reason=INNER),
    "cap_moved": kind(
        "{before_w:W}, and {after_w:W} from {at_s:.1f} s on",
        before_w="the cap before, W",
        after_w="the cap after, W",
        at_s="since when, s of the run's clock",
    ),
    "cap_moved_often": kind(
        "changed {times} times, between {low_w:W} and {high_w:W}",
        times="how often",
        low_w="the lowest, W",
        high_w="the highest, W",
    ),
}
