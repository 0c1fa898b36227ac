"""Reason codes of `kit verify`: each has a level and a meaning. They are stable.

Levels: L0 container, L1 integrity, L2 authenticity, L3 schema, L4 recomputation, L5 plausibility,
L6 environment.
"""

from __future__ import annotations

from kit.record.archive import CODES as CONTAINER

LEVELS = {
    "L0": "the container is safe to read",
    "L1": "the files are those that the manifest lists",
    "L2": "who sealed it, and when",
    "L3": "every file has the form it must have",
    "L4": "every number follows from the raw records",
    "L5": "the records fit one another",
    "L6": "the machine stayed the same",
}

L0 = {"CONTAINER": "the container is safe to read", **CONTAINER}

L1 = {
    "JSON_MALFORMED": "manifest.json is not JSON",
    "JSON_DUPLICATE_KEY": "manifest.json names one key twice",
    "JSON_NOT_FINITE": "manifest.json holds NaN or an infinity",
    "JSON_TOO_DEEP": "manifest.json nests too deep",
    "MANIFEST_NOT_CANONICAL": "manifest.json is not in its canonical form",
    "HASH_NAME": "the run's name is not the hash of its manifest",
    "EXTRA_FILE": "a file that the manifest does not list",
    "LISTED_FILE_MISSING": "a listed file is missing",
    "HASH_MISMATCH": "a file is not what was sealed",
    "ROOT_HASHES": "the manifest's own hashes contradict its list of files",
    "IDENTITY": "host name and device UUIDs are withheld",
}

L2 = {
    "SIGNATURE": "nobody vouches for the run",
    "REGISTRATION": "when the run was registered is the runner's word",
    "ATTEMPTS": "how often the spec was tried is the exporter's word",
}

L3 = {
    "MANIFEST_INTEGER": "manifest.json holds an integer of 2^53 or more",
    "MANIFEST_FLOAT": "manifest.json holds a number that is not whole",
    "MANIFEST_UNSUPPORTED": "the run asks for a newer kit",
    "MANIFEST_INVALID": "manifest.json does not follow its schema",
    "REQUIRED_FILE": "a file that a run of this status has is missing",
    "FILE_INVALID": "a file does not follow its schema",
    "SAMPLES_INVALID": "a sample file is malformed, or holds a value where a read failed",
    "COUNTER_ZERO": "an energy counter that is zero all the time: unsupported, not measured",
}

L4 = {
    "JOURNAL_CHAIN": "the journal is cut, reordered or edited",
    "JOURNAL_ENDS": "the journal does not begin or end as the manifest says",
    "PLAN_HASHES": "spec, plan and schedule do not belong together",
    "FILE_UNNAMED": "a sealed file that nothing in the plan names",
    "LAUNCH_MISSING": "a launch or a part of one is missing",
    "REQUEST_MISSING": "a scheduled request has no record, or a record no schedule",
    "REQUEST_COUNTS": "requests do not match the counts in the journal",
    "FINISH_REASON": "an answer that counts as good ended for a reason that is no end",
    "TOKEN_COUNTS": "a token count contradicts the server's own, or what was asked for",
    "TEXT_HASH": "a text is not the one that its hash names",
    "IMAGE_HASH": "an image is not the one that was hashed, or not as many as were counted",
    "STREAM_MISSING": "a device that the plan names was not read from begin to end",
    "READS_DIFFER": "a sampler read more often, or less, than there are rows",
    "SAMPLES_GAP": "rows of samples are missing",
    "WINDOW_SHIFTED": "a phase without the requests it must hold, or shorter than the spec says",
    "SCHEDULE_DIFFERS": "the schedule is not the one that the spec gives",
    "LAUNCH_DIFFERS": "what was launched is not what the spec gives",
    "REGISTERED_DIFFERS": "what was registered before the run is not what ran",
    "CALIBRATION_MISSING": "what is said to be calibrated has no calibration that says so",
    "CLOCK_DIFFERS": "the clocks' anchors contradict one another, the journal or the manifest",
    "JOURNAL_ORDER": "events are in an order in which no run writes them",
    "TIME_OUTSIDE": "long stretches of the run belong to no launch",
    "FINDINGS_DIFFER": "preflight's findings are not those that follow from the plan",
    "LIVE_MISSING": "live readings are missing from the journal",
    "LIVE_DIFFERS": "live readings are not those of the samples",
    "DRIVER_DIFFERS": "the load driver's own counts and times are not those of its records",
    "RESULTS_DIFFER": "the results do not follow from the raw records",
    "FORMULAS_FORMER": "results by older formulas: their metrics are confirmed, the rest is not",
}

L5 = {
    "TOKENIZER_DIFFERS": "token ids or counts are not those of the tokenizer that was named",
    "TIMES_INCONSISTENT": "the times of a request contradict one another",
    "READINGS_DOUBTED": "readings that no device can have given, or that contradict another view",
    "GPU_UNUSED": "a launch did not use a GPU that the spec asks for",
    "PLAUSIBILITY": "power, energy counters, clocks and throughput against what hardware can do",
}

L6 = {
    "IMAGE_DIFFERS": "the image that ran is not the one that spec and plan name",
    "RECIPE_DIFFERS": "the sealed recipe is not the one that the plan names, or fits not its lock",
    "DEVICES_DIFFER": "spec, plan, fingerprint and server name other devices",
    "ENVIRONMENT": "the machine is not the same before and after the run",
}

MEANING: dict[str, str] = {**L0, **L1, **L2, **L3, **L4, **L5, **L6}
_TABLES = {"L0": L0, "L1": L1, "L2": L2, "L3": L3, "L4": L4, "L5": L5, "L6": L6}
LEVEL: dict[str, str] = {code: level for level, table in _TABLES.items() for code in table}


def level_of(code: str) -> str:
    """The level that a reason code belongs to."""
    return LEVEL[code]
