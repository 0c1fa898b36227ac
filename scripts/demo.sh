#!/bin/sh
# The whole journey on this machine: build, fetch, run, verify, replay, report.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$here"
kit=$here/.venv/bin/kit
spec=specs/quickstart.json

step "1/6 Image: llama.cpp's server, pinned"
"$kit" images build llama-server

step "2/6 Model: SmolLM2-135M-Instruct (Apache-2.0), pinned by its hash"
"$kit" weights add "$spec"

step "3/6 Run: $spec, measured from the host and sealed"
run=$("$kit" run "$spec")
say "sealed: $run"

step "4/6 Verify: every hash, and every number computed again from the raw readings"
"$kit" verify "$run"

step "5/6 Replay: the same spec once more, and a verdict"
code=0
said=$("$kit" replay "$run" --yes) || code=$?
[ -n "$said" ] || exit "$code"
printf '%s\n' "$said"
again=$(printf '%s\n' "$said" | head -n 1)

step "6/6 Reports"
mkdir -p reports
report=$("$kit" report "$run" --out reports/quickstart.html)
"$kit" report "$again" --against "$run" --out reports/quickstart-replay.html >/dev/null

case $report in /*) ;; *) report=$here/$report ;; esac
say ""
say "Open in a browser:  $report"
say "and its replay:     $here/reports/quickstart-replay.html"
say "Look closer:        .venv/bin/kit show $(basename "$run" | cut -c1-12)"
exit "$code"
