"""The registry of reason codes: what each says, and its values with their units.

Those of notices, about a whole run, are in `kit.energy.noticetable`.

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


def kind(sentence: str, **values: str) -> Kind:
    """A kind with its sentence, and what each of its values is."""
    return Kind(sentence, values)


DEVICE, _METHOD, _QUANTITY = "the device", "how the energy is found", "the quantity"
INNER, SAID = "a reason", "the words of plan, journal or device, as recorded"
REASONS = "list of reasons"

# --- of windows and meters ----------------------------------------------------------------------

_OF_WINDOWS = {
    "said": kind("{said}", said=SAID),
    "several": kind("{reasons:; }", reasons=REASONS),
    "of_device": kind("{device}: {reason}", device=DEVICE, reason=INNER),
    "of_pieces": kind(
        "{missing} of its {pieces} {pieces:piece|pieces} {missing:has|have} no energy: {reason}",
        missing="how many have no energy",
        pieces="of how many",
        reason="why the first of them has none",
    ),
    "of_baseline": kind("baseline: {reason}", reason=INNER),
    "with_sampler": kind(
        "{reason} (the sampler said: {said:; })", reason=INNER, said="list of its messages"
    ),
    "no_meter": kind("the spec asks for no meter of it"),
    "no_device": kind("the meter found no device to add up"),
    "mixed_meters": kind(
        "{meters:and} measure {scope:scope}: what more than one of them reads would count twice",
        meters="list of meters",
        scope="the scope",
    ),
    "none_believed": kind(
        "{quantity:quantity}: no reading can be believed: {reason}",
        quantity=_QUANTITY,
        reason=INNER,
    ),
    "none_read": kind(
        "{quantity:quantity}: no reading[ ({failed} {failed:read|reads} failed)]",
        quantity=_QUANTITY,
        failed="reads that failed",
    ),
    "window_empty": kind("the window is empty"),
    "in_hole": kind("{method}: {reason}", method=_METHOD, reason="what the hole is"),
    "not_covered": kind("{method}: the readings do not cover the window", method=_METHOD),
    "too_short": kind(
        "{method} cannot resolve a window of {window_s:s}; at least {shortest_s:s} are needed",
        method=_METHOD,
        window_s="the window's length, s",
        shortest_s="the shortest that it tells, s",
    ),
    "not_resolved": kind(
        "not resolved: the median of its pieces lasts {piece_s:s}; at least {needed_s:s} (ten "
        "updates of the readings) are needed",
        piece_s="median length of the pieces, s",
        needed_s="ten updates of the readings, s",
    ),
    "no_block": kind("there was no measured block"),
    "no_baseline": kind("there was no baseline block"),
    "nothing_read": kind("nothing read yet"),
    "no_sum": kind("no running sum of the energy of {devices:and}", devices="list of devices"),
    "below_parts": kind(
        "the wall shows {wall_j:J} where {parts:upper} alone drew {parts_j:J}: impossible, so an "
        "outlet or a supply is missing, or the PDU's numbers are not watts",
        wall_j="energy at the wall, J",
        parts="list of the scopes behind it",
        parts_j="their energy, J",
    ),
    "power_below_parts": kind(
        "the outlets show {wall_w:W} where the GPUs alone draw {parts_w:W}: impossible, so an "
        "outlet or a supply is missing, or the PDU's numbers are not watts",
        wall_w="power at the wall, W",
        parts_w="power of the GPUs, W",
    ),
    "power_factor_differs": kind(
        "{watts:W} do not fit {volts:4} V × {amperes:4} A × power factor {power_factor:3} = "
        "{expected_w:W}: the unit or the scale may be wrong",
        watts="power as read, W",
        volts="voltage, V",
        amperes="current, A",
        power_factor="power factor, 0 to 1",
        expected_w="their product, W",
    ),
    "current_exceeded": kind(
        "{watts:W} are more than {amperes:4} A can carry ({highest_va:VA}): the unit or the scale "
        "may be wrong",
        watts="power as read, W",
        amperes="current, A",
        highest_va="the most that it can carry, VA",
    ),
}

# --- what a hole in a curve is ------------------------------------------------------------------

_OF_HOLES = {
    "gap": kind(
        "no {what:reading} for {seconds:s}", what="what did not come", seconds="how long, s"
    ),
    "unbelieved": kind(
        "{hole} (what was read then is not believed: {reason})",
        hole="what the hole is",
        reason=INNER,
    ),
    "counter_reset": kind("the energy counter was reset"),
    "driver_reloaded": kind("the energy counter was reset (the driver was reloaded)"),
    "counter_disbelieved": kind(
        "the energy counter is not believed here: it grew by more than the card can draw, or it "
        "contradicts all power readings"
    ),
    "view_contradicted": kind(
        "{view:view} and other readings of the card contradict each other here",
        view="the view that is not believed",
    ),
    "counter_wraps": kind(
        "its counter begins again after {wrap_j:J}, too soon for reads {poll_s:s} apart",
        wrap_j="its range, J",
        poll_s="between two reads, s",
    ),
    "stood_still": kind("the energy counter stood still for {seconds:s}", seconds="s"),
    "total_backwards": kind("its total went backwards"),
    "below_squelch": kind(
        "the outlet read 0 W: it cannot measure so little[, but {squelch_w:W} at least]",
        squelch_w="the least that it can measure, W",
    ),
}

# --- what is in doubt of readings ---------------------------------------------------------------

_OF_DOUBTS = {
    "doubt": kind(
        "{device}, {quantity:quantity}: [{readings} of {of} readings: ]{reason}[; {instead}]",
        device=DEVICE,
        quantity=_QUANTITY,
        readings="how many are not believed",
        of="of how many",
        reason=INNER,
        instead="what is used in their place: a reason",
    ),
    "more_doubts": kind(
        "{doubts} more {doubts:doubt|doubts}: see `doubts` in the results", doubts="how many more"
    ),
    "left_out": kind("left out"),
    "counted_once": kind("it is counted once"),
    "own_power": kind("the GPU's own power is used"),
    "view_used": kind("used instead: {view:view}", view="the view that is believed"),
    "undecided": kind("which is right is not known"),
    "no_value": kind("all bits of the value are set: the device's word for no reading"),
    "above_card": kind(
        "more than the {highest_w:W} that a card capped at {cap_w:W} can draw at all",
        highest_w="the most that it can draw, W",
        cap_w="its power cap, W",
    ),
    "above_card_for_long": kind(
        "more than the {highest_w:W} that a card capped at {cap_w:W} can draw for a second",
        highest_w="the most that it can draw, W",
        cap_w="its power cap, W",
    ),
    "above_outlet": kind(
        "more than the {highest_w:W} that the outlet can carry", highest_w="the most, W"
    ),
    "card_too_fast": kind(
        "a card capped at {cap_w:W} cannot draw that much", cap_w="its power cap, W"
    ),
    "package_too_fast": kind(
        "a CPU package cannot draw more than {highest_w:W}", highest_w="the most, W"
    ),
    "cpus_too_busy": kind(
        "{cpus:g} {cpus:CPU|CPUs} cannot be busy for that long in so short a time",
        cpus="how many CPUs",
    ),
    "no_counter": kind(
        "they do not follow one another as readings of one counter do ({reason})", reason=INNER
    ),
    "counter_jumped": kind("the counter jumped ({reason}), or it began again", reason=INNER),
    "out_of_range": kind(
        "not between {low:4} and {high:4} {unit:unit}: no working sensor reads that",
        low="the least, in its unit",
        high="the most, in its unit",
        unit="the unit",
    ),
    "shown_twice": kind(
        "it grows as {device} does, read for read: one counter that is shown twice",
        device="the other device",
    ),
    "covers_module": kind(
        "it counts the whole module, CPU included: {watts:W}, where the GPU draws {gpu_w:W} and "
        "its module {module_w:W}",
        watts="mean power by it, W",
        gpu_w="mean power of the GPU, W",
        module_w="mean power of the module, W",
    ),
    "cover_unknown": kind(
        "what it covers is unknown: {watts:W}, where the GPU draws {gpu_w:W} and its module "
        "{module_w:W}",
        watts="mean power by it, W",
        gpu_w="mean power of the GPU, W",
        module_w="mean power of the module, W",
    ),
    "view_rejected": kind(
        "over the run it gives {ratio:3} times the energy by {believed:view}[, which "
        "{confirmed:view} {confirmed:confirms|confirm}]",
        ratio="its energy over that of the view that is believed",
        believed="the view that is believed",
        confirmed="list of views that confirm it",
    ),
    "view_differs": kind(
        "over {seconds:s} it gives {joules:J} instead of the {believed_j:J} by {believed:view}",
        seconds="how long, s",
        joules="its energy, J",
        believed_j="energy by the view that is believed, J",
        believed="the view that is believed",
    ),
    "register_differs": kind(
        "its readings give {ratio:3} times what the outlet's own energy register counted",
        ratio="energy by power over that by the register",
    ),
}

# --- two views, steady state, averages ----------------------------------------------------------

_OF_CHECKS = {
    "views_missing": kind("the energy counter and power are not both read"),
    "register_missing": kind("the energy register and power are not both read"),
    "register_backwards": kind("the energy register went backwards"),
    "register_coarse": kind(
        "the energy register made {steps:.0f} of the {least} steps that are needed",
        steps="how many of its steps",
        least="how many are needed",
    ),
    "block_short": kind(
        "the block lasts {seconds:s}; at least {least_s:s} are needed",
        seconds="its length, s",
        least_s="how long it must be, s",
    ),
    "slope": kind(
        "{what:criterion} moves by {slope:+2} ± {u:1} {unit} (limit {limit:g} {unit})",
        what="temperature or power",
        slope="in its unit",
        u="its standard error",
        limit="the largest that counts as steady",
        unit="°C/min or %/min",
    ),
    "slope_unsure": kind(
        "it is uncertain whether the {what:criterion} keeps within its limit",
        what="temperature or power",
    ),
    "few_readings": kind("{what:criterion}: too few readings", what="temperature or power"),
    "read_in_part": kind(
        "{what:criterion}: read for only {read_s:s} of {window_s:s}",
        what="temperature, power or event_reasons",
        read_s="for how long, s",
        window_s="of how long, s",
    ),
    "reasons_changed": kind(
        "clock event reasons changed ({masks} different sets of them)",
        masks="how many masks were seen",
    ),
    "judged_briefly": kind(
        "judged over {window_s:s}; at least {least_s:s} are needed",
        window_s="over how long, s",
        least_s="how long it must be, s",
    ),
    "reasons_untold": kind("clock event reasons: {said}", said=SAID),
    "reasons_unread": kind("clock event reasons: no readings"),
    "held_reset": kind(
        "{quantity:quantity}: the counter of that time was reset", quantity=_QUANTITY
    ),
    "held_evenly": kind(
        "{quantity:quantity} for {held_s:s} of {window_s:s}, evenly all along",
        quantity=_QUANTITY,
        held_s="how long it held the clocks, s",
        window_s="of how long, s",
    ),
    "held_unevenly": kind(
        "{quantity:quantity} for {held_s:s} of {window_s:s}, not evenly",
        quantity=_QUANTITY,
        held_s="how long it held the clocks, s",
        window_s="of how long, s",
    ),
    "no_shape": kind(
        "there are neither power samples nor ticks of the energy counter to compare with"
    ),
    "few_steps": kind(
        "the power stepped by {step_w:W} and {step_share:.0%} in {stretches} "
        "{stretches:stretch|stretches} of {stretch_s:s}; {least} are needed",
        step_w="a step's least size, W",
        step_share="and as a share of the mean power",
        stretches="in how many stretches",
        stretch_s="a stretch's length, s",
        least="in how many it must",
    ),
    "unexplained": kind(
        "no trailing mean of up to {longest_s:s} explains the readings: {share:.0%} of their "
        "scatter remains[, as by a window far under {shortest_s:s}]",
        longest_s="the longest that is tried, s",
        share="of the readings' scatter (rms)",
        shortest_s="the shortest that can be told, s",
    ),
    "window_long": kind("longer than {longest_s:s}, the longest that is tried", longest_s="s"),
    "window_short": kind(
        "shorter than {bound_s:s}: readings {step_s:s} apart tell no more",
        bound_s="the window's upper bound, s",
        step_s="between two readings, s",
    ),
    "window_untold": kind("the steps of power do not tell how long the window is"),
    "window_loose": kind(
        "the steps of power tell the window's length only roughly: {window_s:.2g} s ± {u_s:.1g} s",
        window_s="the estimate, s",
        u_s="its standard uncertainty, s",
    ),
    "owners_unknown": kind(
        "it is not known whose processes use {device}: {said}", device=DEVICE, said=SAID
    ),
    "owners_unread": kind(
        "it is not known whose processes use {device}: the control groups of its processes were "
        "not read",
        device=DEVICE,
    ),
}

# --- work, its times, and joules by token -------------------------------------------------------

_OF_WORK = {
    "none_completed": kind("no request was completed"),
    "no_token": kind("no token was generated"),
    "no_image": kind("no image was made"),
    "steps_not_counted": kind("the server did not count the denoising steps of every image"),
    "not_counted": kind("not every answer's tokens were counted"),
    "needs_requests": kind("needs {requests} {requests:request|requests}", requests="how many"),
    "ttft_untimed": kind("no answer shows when its first token came"),
    "tpot_untimed": kind("no answer shows two counted tokens that came at different times"),
    "e2e_untimed": kind("no answer was timed"),
    "itl_untimed": kind("no answer came in two chunks with tokens"),
    "no_launch": kind("no launch"),
    "answers_missing": kind("answers of a launch are missing"),
    "overlapping": kind("requests may overlap, so that prefill and decode mix"),
    "baseline_unmeasured": kind("the loaded idle power is not measured"),
    "request_unusable": kind("a request failed or was not counted"),
    "request_short": kind(
        "a request lasts {seconds:s}; at least {needed_s:s} (ten updates of the readings) are "
        "needed",
        seconds="its length, s",
        needed_s="ten updates of the readings, s",
    ),
    "few_windows": kind(
        "{windows} {windows:window|windows} for {unknowns} unknowns; at least {least} are needed",
        windows="how many",
        unknowns="what is fitted",
        least="how many are needed",
    ),
    "no_number": kind("a window has a value that is not a finite number"),
    "no_prompt_token": kind("no window has a prompt token"),
    "no_output_token": kind("no window has an output token"),
    "collinear": kind(
        "{columns:columns} do not vary enough against one another (condition number "
        "[{condition:3}][beyond {beyond:,.0f}]; at most {most:.0f} is allowed)",
        columns="list of what varies together",
        condition="condition number of the scaled columns",
        beyond="what it exceeds, where it is all but infinite",
        most="the largest that is allowed",
    ),
    "collinear_with_baseline": kind(
        "{reason}; give the loaded idle power as baseline", reason=INNER
    ),
}

KINDS: dict[str, Kind] = {
    **_OF_WINDOWS,
    **_OF_HOLES,
    **_OF_DOUBTS,
    **_OF_CHECKS,
    **_OF_WORK,
}
