"""A scripted PDU behind Debian's snmpd (its ``pass_persist`` protocol on stdin and stdout).

    pdu_agent.py STATE.json

STATE maps OIDs to ``{"type": "gauge", "value": 230}``. A value may also be a square wave on
CLOCK_MONOTONIC, ``{"base": 200, "amp": 300, "wave": 8}``, renewed every ``period`` seconds, after a
``lag`` of some, in steps of ``step``, wobbling by up to ``wobble``, with what lies below
``squelch`` read as 0. With ``heart``, a file in place of ``wave``, the load is on from the first
until the last time that stands in it: a load writes it for as long as it lives. STATE is read at
every request, so that a test can change it.
"""

import json
import pathlib
import sys
import time


def parts(oid):
    return [int(part) for part in oid.strip(".").split(".")]


def value_of(entry):
    if "value" in entry:
        return entry["value"]
    now = time.monotonic() - entry.get("lag", 0)
    renewed = now // entry["period"] * entry["period"]
    watts = entry["base"] + (entry["amp"] if is_high(entry, renewed) else 0)
    watts += int(renewed / entry["period"]) % (entry.get("wobble", 0) + 1)
    watts = watts // entry.get("step", 1)
    return 0 if watts < entry.get("squelch", 0) else watts


def is_high(entry, when):
    if "heart" in entry:
        path = pathlib.Path(entry["heart"])
        beats = [float(word) for word in path.read_text().split()] if path.exists() else []
        return len(beats) == 2 and beats[0] <= when <= beats[1]
    return when % entry["wave"] < entry["wave"] / 2


def answer(state, oid):
    entry = state.get(oid)
    if entry is None:
        print("NONE", flush=True)
    else:
        print(f".{oid}\n{entry['type']}\n{value_of(entry)}", flush=True)


def main():
    while line := sys.stdin.readline().strip():
        if line == "PING":
            print("PONG", flush=True)
            continue
        asked = sys.stdin.readline().strip().strip(".")
        state = json.loads(pathlib.Path(sys.argv[1]).read_text())
        if line == "getnext":
            later = [oid for oid in sorted(state, key=parts) if parts(oid) > parts(asked)]
            asked = later[0] if later else ""
        answer(state, asked)


if __name__ == "__main__":
    main()
