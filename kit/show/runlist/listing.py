"""The list of runs as JSON: numbers are numbers, with their unit in the key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.show.runlist.runrow import Row

# Row's field → its key. What is text on the screen alone (``energy``, ``throughput``) is left out.
_KEYS = {
    "status": "status",
    "run": "run",
    "name": "name",
    "begun": "started_utc",
    "runtime": "runtime",
    "gpu": "gpu",
    "joules": "energy_j_per_output_token",
    "scope": "energy_scope",
    "se_percent": "energy_standard_error_percent",
    "stated": "energy_in_words",
    "joules_image": "energy_j_per_image",
    "per_image": "energy_per_image_in_words",
    "tokens_per_s": "throughput_tokens_per_s",
    "concurrency": "concurrency_requests",
    "batch": "batch_requests",
    "replay_of": "replay_of",
    "checked": "checked",
    "note": "note",
    "tags": "tags",
    "remark": "person_note",
}


def as_list(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """A document for each row; an absent number is null."""
    return [{key: getattr(row, name) for name, key in _KEYS.items()} for row in rows]
