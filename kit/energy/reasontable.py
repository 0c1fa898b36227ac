"""The registry of reason codes: what each says, and its values with their units.

In a sentence ``{name}`` is a value, and after its colon stands how it is shown:

    {name:.3g}          a number as Python formats it
    {name:4} {name:+2}  a number by its significant digits, never with an exponent
    {name:J}            a number with its unit: J, W, VA, s, and ms without it
    {name:is|are}       no value, but the word that goes with one or with several
    {name:; }           a list, by what joins it; ``and`` makes ``a, b and c``
    {name:view}         a word, by its vocabulary (`kit.energy.reasons`)

What stands in brackets is left out where a value of it is absent.

A sentence here may be changed at any time. Archives of formulas 4 hold the old sentence: write that
one into `kit.energy.results.formerwords`, so that they still verify.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What one code says.

    Attributes:
        sentence: its template.
        values: each value that it may have, with its unit.
    """

    sentence: str
    values: dict[str, str]


def _kind(sentence: str, **values: str) -> Kind:
    return Kind(sentence, values)


_DEVICE, _METHOD, _QUANTITY = "the device", "how the energy is found", "the quantity"
_INNER, _SAID = "a reason", "the words of plan, journal or device, as recorded"
_REASONS = "list of reasons"

# --- of windows and meters ----------------------------------------------------------------------

_OF_WINDOWS = {
    "said": _kind("{said}", said=_SAID),
    "several": _kind("{reasons:; }", reasons=_REASONS),
    "of_device": _kind("{device}: {reason}", device=_DEVICE, reason=_INNER),
    "of_pieces": _kind(
        "{missing} of its {pieces} {pieces:piece|pieces} {missing:has|have} no energy: {reason}",
        missing="how many have no energy",
        pieces="of how many",
        reason="why the first of them has none",
    ),
    "of_baseline": _kind("baseline: {reason}", reason=_INNER),
    "with_sampler": _kind(
        "{reason} (the sampler said: {said:; })", reason=_INNER, said="list of its messages"
    ),
    "no_meter": _kind("the spec asks for no meter of it"),
    "no_device": _kind("the meter found no device to add up"),
    "mixed_meters": _kind(
        "{meters:and} measure {scope:scope}: what more than one of them reads would count twice",
        meters="list of meters",
        scope="the scope",
    ),
    "none_believed": _kind(
        "{quantity:quantity}: no reading can be believed: {reason}",
        quantity=_QUANTITY,
        reason=_INNER,
    ),
    "none_read": _kind(
        "{quantity:quantity}: no reading[ ({failed} {failed:read|reads} failed)]",
        quantity=_QUANTITY,
        failed="reads that failed",
    ),
    "window_empty": _kind("the window is empty"),
    "in_hole": _kind("{method}: {reason}", method=_METHOD, reason="what the hole is"),
    "not_covered": _kind("{method}: the readings do not cover the window", method=_METHOD),
    "too_short": _kind(
        "{method} cannot resolve a window of {window_s:s}; at least {shortest_s:s} are needed",
        method=_METHOD,
        window_s="the window's length, s",
        shortest_s="the shortest that it tells, s",
    ),
    "not_resolved": _kind(
        "not resolved: the median of its pieces lasts {piece_s:s}; at least {needed_s:s} (ten "
        "updates of the readings) are needed",
        piece_s="median length of the pieces, s",
        needed_s="ten updates of the readings, s",
    ),
    "no_block": _kind("there was no measured block"),
    "no_baseline": _kind("there was no baseline block"),
    "nothing_read": _kind("nothing read yet"),
    "no_sum": _kind("no running sum of the energy of {devices:and}", devices="list of devices"),
    "below_parts": _kind(
        "the wall shows {wall_j:J} where {parts:upper} alone drew {parts_j:J}: impossible, so an "
        "outlet or a supply is missing, or the PDU's numbers are not watts",
        wall_j="energy at the wall, J",
        parts="list of the scopes behind it",
        parts_j="their energy, J",
    ),
    "power_below_parts": _kind(
        "the outlets show {wall_w:W} where the GPUs alone draw {parts_w:W}: impossible, so an "
        "outlet or a supply is missing, or the PDU's numbers are not watts",
        wall_w="power at the wall, W",
        parts_w="power of the GPUs, W",
    ),
    "power_factor_differs": _kind(
        "{watts:W} do not fit {volts:4} V × {amperes:4} A × power factor {power_factor:3} = "
        "{expected_w:W}: the unit or the scale may be wrong",
        watts="power as read, W",
        volts="voltage, V",
        amperes="current, A",
        power_factor="power factor, 0 to 1",
        expected_w="their product, W",
    ),
    "current_exceeded": _kind(
        "{watts:W} are more than {amperes:4} A can carry ({highest_va:VA}): the unit or the scale "
        "may be wrong",
        watts="power as read, W",
        amperes="current, A",
        highest_va="the most that it can carry, VA",
    ),
}

# --- what a hole in a curve is ------------------------------------------------------------------

_OF_HOLES = {
    "gap": _kind(
        "no {what:reading} for {seconds:s}", what="what did not come", seconds="how long, s"
    ),
    "unbelieved": _kind(
        "{hole} (what was read then is not believed: {reason})",
        hole="what the hole is",
        reason=_INNER,
    ),
    "counter_reset": _kind("the energy counter was reset"),
    "driver_reloaded": _kind("the energy counter was reset (the driver was reloaded)"),
    "counter_disbelieved": _kind(
        "the energy counter is not believed here: it grew by more than the card can draw, or it "
        "contradicts all power readings"
    ),
    "view_contradicted": _kind(
        "{view:view} and other readings of the card contradict each other here",
        view="the view that is not believed",
    ),
    "counter_wraps": _kind(
        "its counter begins again after {wrap_j:J}, too soon for reads {poll_s:s} apart",
        wrap_j="its range, J",
        poll_s="between two reads, s",
    ),
    "stood_still": _kind("the energy counter stood still for {seconds:s}", seconds="s"),
    "total_backwards": _kind("its total went backwards"),
    "below_squelch": _kind(
        "the outlet read 0 W: it cannot measure so little[, but {squelch_w:W} at least]",
        squelch_w="the least that it can measure, W",
    ),
}

# --- what is in doubt of readings ---------------------------------------------------------------

_OF_DOUBTS = {
    "doubt": _kind(
        "{device}, {quantity:quantity}: [{readings} of {of} readings: ]{reason}[; {instead}]",
        device=_DEVICE,
        quantity=_QUANTITY,
        readings="how many are not believed",
        of="of how many",
        reason=_INNER,
        instead="what is used in their place: a reason",
    ),
    "more_doubts": _kind(
        "{doubts} more {doubts:doubt|doubts}: see `doubts` in the results", doubts="how many more"
    ),
    "left_out": _kind("left out"),
    "counted_once": _kind("it is counted once"),
    "own_power": _kind("the GPU's own power is used"),
    "view_used": _kind("used instead: {view:view}", view="the view that is believed"),
    "undecided": _kind("which is right is not known"),
    "no_value": _kind("all bits of the value are set: the device's word for no reading"),
    "above_card": _kind(
        "more than the {highest_w:W} that a card capped at {cap_w:W} can draw at all",
        highest_w="the most that it can draw, W",
        cap_w="its power cap, W",
    ),
    "above_card_for_long": _kind(
        "more than the {highest_w:W} that a card capped at {cap_w:W} can draw for a second",
        highest_w="the most that it can draw, W",
        cap_w="its power cap, W",
    ),
    "above_outlet": _kind(
        "more than the {highest_w:W} that the outlet can carry", highest_w="the most, W"
    ),
    "card_too_fast": _kind(
        "a card capped at {cap_w:W} cannot draw that much", cap_w="its power cap, W"
    ),
    "package_too_fast": _kind(
        "a CPU package cannot draw more than {highest_w:W}", highest_w="the most, W"
    ),
    "cpus_too_busy": _kind(
        "{cpus:g} {cpus:CPU|CPUs} cannot be busy for that long in so short a time",
        cpus="how many CPUs",
    ),
    "no_counter": _kind(
        "they do not follow one another as readings of one counter do ({reason})", reason=_INNER
    ),
    "counter_jumped": _kind("the counter jumped ({reason}), or it began again", reason=_INNER),
    "out_of_range": _kind(
        "not between {low:4} and {high:4} {unit:unit}: no working sensor reads that",
        low="the least, in its unit",
        high="the most, in its unit",
        unit="the unit",
    ),
    "shown_twice": _kind(
        "it grows as {device} does, read for read: one counter that is shown twice",
        device="the other device",
    ),
    "covers_module": _kind(
        "it counts the whole module, CPU included: {watts:W}, where the GPU draws {gpu_w:W} and "
        "its module {module_w:W}",
        watts="mean power by it, W",
        gpu_w="mean power of the GPU, W",
        module_w="mean power of the module, W",
    ),
    "cover_unknown": _kind(
        "what it covers is unknown: {watts:W}, where the GPU draws {gpu_w:W} and its module "
        "{module_w:W}",
        watts="mean power by it, W",
        gpu_w="mean power of the GPU, W",
        module_w="mean power of the module, W",
    ),
    "view_rejected": _kind(
        "over the run it gives {ratio:3} times the energy by {believed:view}[, which "
        "{confirmed:view} {confirmed:confirms|confirm}]",
        ratio="its energy over that of the view that is believed",
        believed="the view that is believed",
        confirmed="list of views that confirm it",
    ),
    "view_differs": _kind(
        "over {seconds:s} it gives {joules:J} instead of the {believed_j:J} by {believed:view}",
        seconds="how long, s",
        joules="its energy, J",
        believed_j="energy by the view that is believed, J",
        believed="the view that is believed",
    ),
    "register_differs": _kind(
        "its readings give {ratio:3} times what the outlet's own energy register counted",
        ratio="energy by power over that by the register",
    ),
}

# --- two views, steady state, averages ----------------------------------------------------------

_OF_CHECKS = {
    "views_missing": _kind("the energy counter and power are not both read"),
    "register_missing": _kind("the energy register and power are not both read"),
    "register_backwards": _kind("the energy register went backwards"),
    "register_coarse": _kind(
        "the energy register made {steps:.0f} of the {least} steps that are needed",
        steps="how many of its steps",
        least="how many are needed",
    ),
    "block_short": _kind(
        "the block lasts {seconds:s}; at least {least_s:s} are needed",
        seconds="its length, s",
        least_s="how long it must be, s",
    ),
    "slope": _kind(
        "{what:criterion} moves by {slope:+2} ± {u:1} {unit} (limit {limit:g} {unit})",
        what="temperature or power",
        slope="in its unit",
        u="its standard error",
        limit="the largest that counts as steady",
        unit="°C/min or %/min",
    ),
    "slope_unsure": _kind(
        "it is uncertain whether the {what:criterion} keeps within its limit",
        what="temperature or power",
    ),
    "few_readings": _kind("{what:criterion}: too few readings", what="temperature or power"),
    "read_in_part": _kind(
        "{what:criterion}: read for only {read_s:s} of {window_s:s}",
        what="temperature, power or event_reasons",
        read_s="for how long, s",
        window_s="of how long, s",
    ),
    "reasons_changed": _kind(
        "clock event reasons changed ({masks} different sets of them)",
        masks="how many masks were seen",
    ),
    "judged_briefly": _kind(
        "judged over {window_s:s}; at least {least_s:s} are needed",
        window_s="over how long, s",
        least_s="how long it must be, s",
    ),
    "reasons_untold": _kind("clock event reasons: {said}", said=_SAID),
    "reasons_unread": _kind("clock event reasons: no readings"),
    "held_reset": _kind(
        "{quantity:quantity}: the counter of that time was reset", quantity=_QUANTITY
    ),
    "held_evenly": _kind(
        "{quantity:quantity} for {held_s:s} of {window_s:s}, evenly all along",
        quantity=_QUANTITY,
        held_s="how long it held the clocks, s",
        window_s="of how long, s",
    ),
    "held_unevenly": _kind(
        "{quantity:quantity} for {held_s:s} of {window_s:s}, not evenly",
        quantity=_QUANTITY,
        held_s="how long it held the clocks, s",
        window_s="of how long, s",
    ),
    "no_shape": _kind(
        "there are neither power samples nor ticks of the energy counter to compare with"
    ),
    "few_steps": _kind(
        "the power stepped by {step_w:W} and {step_share:.0%} in {stretches} "
        "{stretches:stretch|stretches} of {stretch_s:s}; {least} are needed",
        step_w="a step's least size, W",
        step_share="and as a share of the mean power",
        stretches="in how many stretches",
        stretch_s="a stretch's length, s",
        least="in how many it must",
    ),
    "unexplained": _kind(
        "no trailing mean of up to {longest_s:s} explains the readings: {share:.0%} of their "
        "scatter remains[, as by a window far under {shortest_s:s}]",
        longest_s="the longest that is tried, s",
        share="of the readings' scatter (rms)",
        shortest_s="the shortest that can be told, s",
    ),
    "window_long": _kind("longer than {longest_s:s}, the longest that is tried", longest_s="s"),
    "window_short": _kind(
        "shorter than {bound_s:s}: readings {step_s:s} apart tell no more",
        bound_s="the window's upper bound, s",
        step_s="between two readings, s",
    ),
    "window_untold": _kind("the steps of power do not tell how long the window is"),
    "window_loose": _kind(
        "the steps of power tell the window's length only roughly: {window_s:.2g} s ± {u_s:.1g} s",
        window_s="the estimate, s",
        u_s="its standard uncertainty, s",
    ),
    "owners_unknown": _kind(
        "it is not known whose processes use {device}: {said}", device=_DEVICE, said=_SAID
    ),
    "owners_unread": _kind(
        "it is not known whose processes use {device}: the control groups of its processes were "
        "not read",
        device=_DEVICE,
    ),
}

# --- work, its times, and joules by token -------------------------------------------------------

_OF_WORK = {
    "none_completed": _kind("no request was completed"),
    "no_token": _kind("no token was generated"),
    "no_image": _kind("no image was made"),
    "steps_not_counted": _kind("the server did not count the denoising steps of every image"),
    "not_counted": _kind("not every answer's tokens were counted"),
    "needs_requests": _kind("needs {requests} {requests:request|requests}", requests="how many"),
    "ttft_untimed": _kind("no answer shows when its first token came"),
    "tpot_untimed": _kind("no answer shows two counted tokens that came at different times"),
    "e2e_untimed": _kind("no answer was timed"),
    "itl_untimed": _kind("no answer came in two chunks with tokens"),
    "no_launch": _kind("no launch"),
    "answers_missing": _kind("answers of a launch are missing"),
    "overlapping": _kind("requests may overlap, so that prefill and decode mix"),
    "baseline_unmeasured": _kind("the loaded idle power is not measured"),
    "request_unusable": _kind("a request failed or was not counted"),
    "request_short": _kind(
        "a request lasts {seconds:s}; at least {needed_s:s} (ten updates of the readings) are "
        "needed",
        seconds="its length, s",
        needed_s="ten updates of the readings, s",
    ),
    "few_windows": _kind(
        "{windows} {windows:window|windows} for {unknowns} unknowns; at least {least} are needed",
        windows="how many",
        unknowns="what is fitted",
        least="how many are needed",
    ),
    "no_number": _kind("a window has a value that is not a finite number"),
    "no_prompt_token": _kind("no window has a prompt token"),
    "no_output_token": _kind("no window has an output token"),
    "collinear": _kind(
        "{columns:columns} do not vary enough against one another (condition number "
        "[{condition:3}][beyond {beyond:,.0f}]; at most {most:.0f} is allowed)",
        columns="list of what varies together",
        condition="condition number of the scaled columns",
        beyond="what it exceeds, where it is all but infinite",
        most="the largest that is allowed",
    ),
    "collinear_with_baseline": _kind(
        "{reason}; give the loaded idle power as baseline", reason=_INNER
    ),
}

# --- notices ------------------------------------------------------------------------------------

_OF_NOTICES = {
    "FAILED_REQUESTS": _kind(
        "{failed} of {issued} {issued:request|requests} failed: {failures}",
        failed="requests that failed",
        issued="of how many",
        failures="how many by reason code",
    ),
    "UNTIMED_TOKENS": _kind(
        "{untimed} of {completed} {completed:answer|answers} {untimed:does|do} not show when "
        "{untimed:its|their} tokens came; times to first token and per token are of the others",
        untimed="answers without times of tokens",
        completed="of how many",
    ),
    "NOT_EQUAL_WORK": _kind("the runtime decides how many tokens it generates"),
    "TOKEN_MISMATCH": _kind(
        "{answers} {answers:answer does|answers do} not have as many tokens as were asked for",
        answers="how many answers",
    ),
    "IMAGE_MISMATCH": _kind(
        "{answers} {answers:answer does|answers do} not have the images that were asked for",
        answers="how many answers",
    ),
    "PROMPT_CUT": _kind(
        "{prompts} {prompts:prompt was|prompts were} longer than the model's text encoder takes: "
        "the rest did nothing",
        prompts="how many prompts",
    ),
    "STEP_MISMATCH": _kind(
        "{steps} denoising steps were taken where {asked} were asked for: energy per step is by "
        "those taken",
        steps="steps taken",
        asked="steps asked for",
    ),
    "CACHED_TOKENS": _kind(
        "{prompts} {prompts:prompt was|prompts were} served partly from a cache",
        prompts="how many prompts",
    ),
    "DRIVER_LIMITED": _kind("{reason}", reason=_INNER),
    "driver_busy": _kind(
        "the load driver used {cpu_share:.0%} of its CPU", cpu_share="share of one CPU"
    ),
    "driver_late": _kind(
        "one request in a hundred left {late_s:ms} ms late or more (limit {limit_s:ms} ms)",
        late_s="99th percentile of how late, s",
        limit_s="the most that is not told, s",
    ),
    "SAMPLER_GAP": _kind("{said}", said=_SAID),
    "SAMPLER_LOST": _kind("[{said}]", said=_SAID),  # a journal may hold no word of it
    "CROSS_CHECK": _kind(
        "{device}: power readings give {ratio:.3f} times the energy of the counter",
        device=_DEVICE,
        ratio="energy by power over that by the counter",
    ),
    "BASELINE_DRIFT": _kind(
        "{scope:scope}: loaded idle power moved by {drift_w:+3} W over the block; the net energy "
        "is above a line between the two",
        scope="the scope",
        drift_w="later power less the earlier one, W",
    ),
    "PHASES_UNRESOLVED": _kind(
        "{phases:and}: too short for energies of their own; the joules per prefill and decode "
        "token come from all requests together",
        phases="list of phases",
    ),
    "NOT_STEADY": _kind(
        "{device} was not steady {place:place}: {reasons:; }; more warm-up requests or a longer "
        "phases.loaded_idle_s let it settle; phases.steady makes the run wait for it",
        device=_DEVICE,
        place="before or within the measured block",
        reasons=_REASONS,
    ),
    "STEADY_UNKNOWN": _kind(
        "{device}: it is not known whether it was steady: {reasons:; }; a minute of "
        "phases.loaded_idle_s and of measured work tells most",
        device=_DEVICE,
        reasons=_REASONS,
    ),
    "FOREIGN_PROCESSES": _kind(
        "{device}: at least {programs} {programs:program|programs} of others ran on it, in "
        "{readings} of {of} readings; their energy is in the run's",
        device=_DEVICE,
        programs="how many at a time, at least",
        readings="in how many readings",
        of="of how many",
    ),
    "WALL_IMPOSSIBLE": _kind("{reason}", reason=_INNER),
    "READINGS_DOUBTED": _kind("{reason}", reason="a doubt, or how many more there are"),
    "COVERAGE": _kind("{reason}", reason="a doubt that was settled"),
    "CAP_CHANGED": _kind("{device}: its power cap was {reason}", device=_DEVICE, reason=_INNER),
    "cap_moved": _kind(
        "{before_w:W}, and {after_w:W} from {at_s:.1f} s on",
        before_w="the cap before, W",
        after_w="the cap after, W",
        at_s="since when, s of the run's clock",
    ),
    "cap_moved_often": _kind(
        "changed {times} times, between {low_w:W} and {high_w:W}",
        times="how often",
        low_w="the lowest, W",
        high_w="the highest, W",
    ),
}

KINDS: dict[str, Kind] = {
    **_OF_WINDOWS,
    **_OF_HOLES,
    **_OF_DOUBTS,
    **_OF_CHECKS,
    **_OF_WORK,
    **_OF_NOTICES,
}
