#!/bin/sh
# Backfill, crash and proof: nothing lost, nothing twice, shown with tools that are not auditflow's own.
#
#   cargo build && sh examples/crash_and_proof.sh       (or: AUDITFLOW=/path/to/auditflow sh examples/crash_and_proof.sh)
#
# Two simulated vendors that answer with errors, 429s and cut-off bodies are backfilled into files. The process is killed
# with SIGKILL three times in the middle, and then allowed to finish. In the end the files are compared, byte for byte, with
# what the vendors know to be true, by sed, sort and cmp. Needs curl. Ends with 0 only if the proof holds. Half a minute.
set -eu

auditflow=${AUDITFLOW:-target/debug/auditflow}
events=3000 # a vendor
folder=$(mktemp -d "${TMPDIR:-/tmp}/auditflow-proof.XXXXXX")
simulator='' pipeline=''

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s (the folder stays: %s)\n' "$*" "$folder" >&2; exit 1; }

# Only what this script started, and only if it still runs.
stop_all() {
    for process in $pipeline $simulator; do kill -9 "$process" 2>/dev/null || :; done
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {
    patience=$(($1 * 10)); shift
    until "$@"; do
        patience=$((patience - 1))
        [ "$patience" -gt 0 ] || fail "waited in vain for: $*"
        sleep 0.1
    done
}

say "1. The vendors: a simulator of Clumio (records with ids) and Confluence (records without), each with $events events"
"$auditflow" simulate --vendor clumio --vendor confluence --events "$events" --seed 42 \
    --fault identical_records ties server_error=0.05 rate_limit_date=0.02 cut_body=0.05 >"$folder/address" &
simulator=$!
wait_until 60 grep -q '^listening on' "$folder/address"
address=$(sed -n 's/^listening on //p' "$folder/address")
echo "$address"

say "2. The pipeline: both from their earliest event on, into one file a vendor and day"
cat >"$folder/pipeline.yaml" <<PIPELINE
data_dir: $folder/data
sources:
  backups:
    type: clumio
    base_url: $address
    access_token: SIMULATOR_SECRET_CLUMIO
    backfill_start_time: earliest
    page_size: 50
    max_window_records: 250             # small windows, each of which lands when it is complete
    rate_limit: \${RATE}
    settle: 1s
  wiki:
    type: confluence
    base_url: $address
    site: acme
    email: audit@acme.example
    api_token: SIMULATOR_SECRET_CONFLUENCE
    backfill_start_time: earliest
    page_size: 50
    max_window_records: 250
    rate_limit: \${RATE}
    settle: 1s
transforms:
  events:
    type: normalize
    inputs: [backups, wiki]
sinks:
  files:
    type: file
    inputs: [events]
    path: "$folder/events/{{ vendor }}/%Y-%m-%d.ndjson"
    encoding: {raw: string}             # the vendor's record as a JSON string: the form in which the truth is served
    batch: {max_events: 50, timeout_secs: 0.1}
PIPELINE
export RATE=10/s # slow enough to be killed in the middle
"$auditflow" validate "$folder/pipeline.yaml"

mkdir "$folder/events"
lines() { find "$folder/events" -name '*.ndjson' -exec cat {} + | wc -l; }
more_than() { [ "$(lines)" -gt "$1" ]; }

say "3. The backfill, killed with SIGKILL in the middle, three times"
for crash in 1 2 3; do
    before=$(lines)
    "$auditflow" run "$folder/pipeline.yaml" >"$folder/run-$crash.log" 2>&1 &
    pipeline=$!
    wait_until 120 more_than $((before + 200))
    kill -9 "$pipeline"
    wait "$pipeline" 2>/dev/null || :
    pipeline=''
    echo "killed with $(lines) lines in the files"
done
[ "$(lines)" -lt $((2 * events)) ] || fail "the backfill was over before the last crash: nothing is shown"

say "4. The rest, at a better rate"
export RATE=50/s
"$auditflow" run "$folder/pipeline.yaml" --once
"$auditflow" status "$folder/pipeline.yaml"

say "5. The proof: every record that the vendors have, byte for byte and as often as they have it"
# Both sides hold the record as a JSON string called \`raw\`; inside that string every quote has a backslash before it.
raw_records() { sed -E 's/^.*"raw":("([^"\\]|\\.)*").*$/\1/' | LC_ALL=C sort; }
for vendor in clumio confluence; do
    curl -sS --fail "$address/_sim/truth/$vendor" >"$folder/truth"
    raw_records <"$folder/truth" >"$folder/$vendor.true"
    cat "$folder/events/$vendor"/*.ndjson | raw_records >"$folder/$vendor.delivered"
    echo "$vendor: $(wc -l <"$folder/$vendor.true") at the vendor, $(wc -l <"$folder/$vendor.delivered") delivered"
    [ "$(wc -l <"$folder/$vendor.true")" -ge "$events" ] || fail "$vendor has fewer events than it was asked for"
    cmp "$folder/$vendor.true" "$folder/$vendor.delivered" || fail "$vendor: see diff $folder/$vendor.true $folder/$vendor.delivered"
done
# Twins, which are wholly identical records, are two events: each has an id of its own.
repeated=$(find "$folder/events" -name '*.ndjson' -exec sed -E 's/^.*"id":"([0-9a-f]{32})","vendor".*$/\1/' {} + | sort | uniq -d)
[ -z "$repeated" ] || fail "ids that stand there twice: $repeated"

say "PROVED: nothing lost, nothing twice, every record byte for byte, after three crashes"
rm -rf "$folder"
