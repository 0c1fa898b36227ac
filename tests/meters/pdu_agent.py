"""A scripted PDU behind Debian's snmpd (its ``pass_persist`` protocol on stdin and stdout).

    pdu_agent.py STATE.json

STATE maps OIDs to ``{"type": "gauge", "value": 230}``. A value may also be a square wave on
CLOCK_MONOTONIC, ``{"base": 200, "amp": 300, "wave": 8}``, renewed every ``period`` seconds, after a
``lag`` of some, with what lies below ``squelch`` read as 0. The file is read at every request, so
that a test can change it.
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
    high = renewed % entry["wave"] < entry["wave"] / 2
    watts = entry["base"] + (entry["amp"] if high else 0)
    return 0 if watts < entry.get("squelch", 0) else watts


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
