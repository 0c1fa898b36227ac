"""The wording of formulas 4, where today's is another: archives of these hold its sentences.

Verify makes today's document again in that form (`kit.energy.results.older.in_words`). Whoever
rewords a reason (`kit.energy.reasontable`) or a word in it (`kit.energy.reasons`) puts what it was
here; it never changes again.
"""

from __future__ import annotations

from kit.energy.reasons import TODAY, Wording

_SENTENCES = {
    "of_pieces": "{missing} of {pieces} pieces: {reason}",
    "mixed_meters": (
        "{meters: and } both measure {scope:scope}: what both of them read would count twice"
    ),
    "none_believed": "no {quantity} that can be believed was read: {reason}",
    "none_read": "no {quantity} was read[: {failed} reads failed]",
    "not_covered": "{method}: the window is not covered by readings",
    "too_short": (
        "n/a: {method} cannot tell a window of {window_s:.3g} s, {shortest_s:.3g} s at least"
    ),
    "not_resolved": (
        "not resolved: its pieces last {piece_s:.3g} s in the median, {needed_s:.3g} s (ten "
        "updates of the readings) at least"
    ),
    "no_sum": "no running sum of {devices:, }",
    "below_parts": (
        "the wall shows {wall_j:.4g} J where {parts:upper} alone drew {parts_j:.4g} J: impossible, "
        "so an outlet or a supply is missing, or the PDU's numbers are not watts"
    ),
    "power_below_parts": (
        "the outlets show {wall_w:.4g} W where the GPUs alone draw {parts_w:.4g} W: impossible, so "
        "an outlet or a supply is missing, or the PDU's numbers are not watts"
    ),
    "power_factor_differs": (
        "{watts:.4g} W do not fit {volts:.4g} V × {amperes:.4g} A × power factor "
        "{power_factor:.3g} = {expected_w:.4g} W: unit or scale may be wrong"
    ),
    "current_exceeded": (
        "{watts:.4g} W are more than {amperes:.4g} A can carry ({highest_va:.4g} VA): unit or "
        "scale may be wrong"
    ),
    "gap": "no {what:reading} for {seconds:.2f} s",
    "unbelieved": "{hole} that can be believed: {reason}",
    "counter_disbelieved": (
        "the energy counter is not believed here: it grew by more than the card can draw, or "
        "against every other view"
    ),
    "view_contradicted": "the {view:shown} contradict another view here",
    "counter_wraps": (
        "its counter begins again after {wrap_j:.3g} J, too soon for reads {poll_s:g} s apart"
    ),
    "stood_still": "the energy counter stood still for {seconds:.2f} s",
    "below_squelch": "the outlet read 0 W, less than it can measure[ ({squelch_w:g} W)]",
    "doubt": "{device} {quantity}: [{readings} of {of} readings: ]{reason}[; {instead}]",
    "more_doubts": "{doubts} more doubts: see `doubts` in the results",
    "above_card": "more than the {highest_w:.4g} W that a card of {cap_w:g} W can draw at all",
    "above_card_for_long": (
        "more than the {highest_w:.4g} W that a card of {cap_w:g} W can draw for a second"
    ),
    "above_outlet": "more than the {highest_w:.4g} W that it can carry",
    "card_too_fast": "a card of {cap_w:g} W cannot draw that much",
    "package_too_fast": "a package cannot draw more than {highest_w:g} W",
    "cpus_too_busy": "{cpus:g} CPUs cannot be busy for so long",
    "no_counter": "they do not go on from one another as one counter does ({reason})",
    "counter_jumped": "the counter jumped: {reason}, or it began again",
    "out_of_range": "outside of {low:g} to {high:g} {unit}: no working sensor",
    "shown_twice": "it moves as {device} does, read for read: one counter that is shown twice",
    "covers_module": (
        "it counts the whole module, CPU included: {watts:.4g} W, where the GPU draws {gpu_w:.4g} "
        "W and its module {module_w:.4g} W"
    ),
    "cover_unknown": (
        "what it covers is unknown: {watts:.4g} W, where the GPU draws {gpu_w:.4g} W and its "
        "module {module_w:.4g} W"
    ),
    "view_rejected": (
        "over the run it gives {ratio:.3g} of the energy by {believed:view}[, which "
        "{confirmed:view} confirm]"
    ),
    "view_differs": (
        "over {seconds:.2g} s it gives {joules:.4g} J, which is {believed_j:.4g} J by "
        "{believed:view}"
    ),
    "register_differs": (
        "its readings give {ratio:.3g} of what the outlet's own energy register counted"
    ),
    "views_missing": "counter and power are not both read",
    "register_missing": "register and power are not both read",
    "register_coarse": "the energy register made {steps:.0f} steps, {least} at least",
    "block_short": "the block lasts {seconds:.3g} s, {least_s:g} s at least",
    "slope": "{what:criterion} moves by {slope:+.2g} ± {u:.1g} {unit} (limit {limit:g})",
    "slope_unsure": "whether the {what:criterion} keeps within its limit is not sure",
    "read_in_part": "{what:criterion} was read over {read_s:.3g} of {window_s:.3g} s",
    "reasons_changed": "clock event reasons changed ({masks} masks)",
    "judged_briefly": "judged over {window_s:.3g} s, {least_s:g} s at least",
    "held_reset": "{quantity:quantity}: the time of it was reset",
    "held_evenly": "{quantity:quantity} for {held_s:.3g} of {window_s:.3g} s, evenly all along",
    "held_unevenly": "{quantity:quantity} for {held_s:.3g} of {window_s:.3g} s, not evenly",
    "no_shape": "neither power samples nor energy counter ticks to compare with",
    "few_steps": (
        "the power stepped by {step_w:g} W and {step_share:.0%} in {stretches} stretches of "
        "{stretch_s:g} s; {least} are needed"
    ),
    "unexplained": (
        "no trailing mean of up to {longest_s:g} s explains the readings: {share:.0%} of their "
        "scatter remains[, as by a window far under {shortest_s:.2g} s]"
    ),
    "window_long": "longer than {longest_s:g} s, the longest that is tried",
    "window_short": (
        "shorter than {bound_s:.2g} s, which is what readings {step_s:.2g} s apart tell"
    ),
    "window_untold": "the steps of power tell no window",
    "window_loose": "the steps of power tell only {window_s:.2g} s ± {u_s:.1g} s",
    "owners_unknown": "whose processes use {device} is not known: {said}",
    "owners_unread": (
        "whose processes use {device} is not known: the control groups of its processes were not "
        "read"
    ),
    "needs_requests": "needs {requests} requests",
    "answers_missing": "a launch lacks answers",
    "overlapping": "requests may overlap: prefill and decode are mixed",
    "request_short": "a request lasts {seconds:.3g} s, {needed_s:.3g} s at least",
    "few_windows": "{windows} windows for {unknowns} unknowns: {least} at least",
    "no_number": "a window without a number",
    "no_prompt_token": "no prompt token in any window",
    "no_output_token": "no output token in any window",
    "collinear": (
        "{columns:columns} do not vary enough against one another (condition number "
        "[{condition:.3g}][beyond {beyond:.0f}], {most:.0f} at most)"
    ),
    "FAILED_REQUESTS": "{failed} of {issued} requests failed: {failures}",
    "UNTIMED_TOKENS": (
        "{untimed} of {completed} answers do not show when their tokens came; times to first token "
        "and per token are of the others"
    ),
    "TOKEN_MISMATCH": "{answers} answers have not the tokens asked for",
    "CACHED_TOKENS": "{prompts} prompts were served partly from a cache",
    "driver_late": "requests left up to {late_s:ms} ms late (limit {limit_s:ms} ms)",
    "CROSS_CHECK": "{device}: power readings give {ratio:.3f} of the counter",
    "BASELINE_DRIFT": (
        "{scope}: loaded idle power moved by {drift_w:+.3g} W over the block; the net is "
        "interpolated between the two"
    ),
    "PHASES_UNRESOLVED": "{phases: and }: too short for energies of their own; see `split`",
    "NOT_STEADY": (
        "{device} {place:place}: {reasons:; }; more warm-up requests or a longer "
        "phases.loaded_idle_s let it settle; phases.steady makes the run wait for it"
    ),
    "STEADY_UNKNOWN": (
        "{device}: not known whether it was steady: {reasons:; }; a minute of phases.loaded_idle_s "
        "and of measured work tells most"
    ),
    "FOREIGN_PROCESSES": (
        "{device}: at least {programs} programs of others on it, in {readings} of {of} readings; "
        "their energy is in the run's"
    ),
    "cap_moved": "{before_w:g} W, and {after_w:g} W from {at_s:.1f} s on",
    "cap_moved_often": "changed {times} times, between {low_w:g} W and {high_w:g} W",
}
_WORDS = {"shown": {"samples": "power samples"}}

FORMULAS_4 = Wording(
    {**TODAY.sentences, **_SENTENCES},
    {**TODAY.words, **{name: {**TODAY.words.get(name, {}), **own} for name, own in _WORDS.items()}},
)
