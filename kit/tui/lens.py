"""The part of a time axis that a plot shows, closer or from further away."""

from __future__ import annotations

Span = tuple[float, float]
_SHORTEST_S = 0.2


def zoomed(shown: Span, whole: Span, step: int, around: float | None) -> Span | None:
    """Half (1) of ``shown`` or twice (-1) as much, around a time or else its middle, in seconds.

    None for ``whole``: of step 0, and where there is no more; ``shown`` where it is short enough.
    """
    (first, last), (begin, end) = whole, shown
    length = (end - begin) / 2.0**step
    if step == 0 or length >= (last - first) * (1 - 1e-6):  # times are rounded to nanoseconds
        return None
    if length < _SHORTEST_S:
        return shown
    middle = (begin + end) / 2 if around is None else around
    start = min(max(middle - length / 2, first), last - length)
    return start, start + length


def followed(shown: Span, at: float) -> Span:
    """``shown``, moved along as far as a cursor at ``at`` has left it."""
    begin, end = shown
    over = min(0.0, at - begin) + max(0.0, at - end)
    return begin + over, end + over
