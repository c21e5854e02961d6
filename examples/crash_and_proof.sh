#!/bin/sh
# Backfill, crash and proof: nothing lost, nothing twice, shown with standard tools.
#
#   cargo build && sh examples/crash_and_proof.sh       (or: AUDITFLOW=/path/to/auditflow sh examples/crash_and_proof.sh)
#
# Backfills two simulated vendors, which respond with errors, 429s and truncated bodies, into files. Kills the process with
# SIGKILL three times, lets it finish, and compares the files byte for byte with the simulator's records, using sed, sort
# and cmp. Needs curl. Exits with 0 only if the proof holds. Takes half a minute.
set -eu

auditflow=${AUDITFLOW:-target/debug/auditflow}
events=3000 # per vendor
directory=$(mktemp -d "${TMPDIR:-/tmp}/auditflow-proof.XXXXXX")
simulator='' pipeline=''

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s (directory kept: %s)\n' "$*" "$directory" >&2; exit 1; }

# Stops only what this script started, if it still runs.
stop_all() {
    for process in $pipeline $simulator; do kill -9 "$process" 2>/dev/null || :; done
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# wait_until SECONDS COMMAND...: waits until the command succeeds.
wait_until() {
    tries=$(($1 * 10)); shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "timeout: $*"
        sleep 0.1
    done
}

say "1. The vendors: a simulator of Clumio (records with ids) and Confluence (records without), each with $events events"
"$auditflow" simulate --vendor clumio --vendor confluence --events "$events" --seed 42 \
    --fault identical_records ties server_error=0.05 rate_limit_date=0.02 cut_body=0.05 >"$directory/address" &
simulator=$!
wait_until 60 grep -q '^listening on' "$directory/address"
address=$(sed -n 's/^listening on //p' "$directory/address")
echo "$address"

say "2. The pipeline: both vendors from their earliest event on, one file per vendor and day"
cat >"$directory/pipeline.yaml" <<PIPELINE
data_dir: $directory/data
sources:
  backups:
    type: clumio
    base_url: $address
    access_token: SIMULATOR_SECRET_CLUMIO
    backfill_start_time: earliest
    page_size: 50
    max_window_records: 250             # small windows: each becomes visible when it is complete
    rate_limit: \${RATE}
    delay: 1s
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
    delay: 1s
transforms:
  events:
    type: normalize
    inputs: [backups, wiki]
sinks:
  files:
    type: file
    inputs: [events]
    path: "$directory/events/{{ vendor }}/%Y-%m-%d.ndjson"
    encoding: {raw: string}             # the vendor's record as a JSON string, as /_sim/truth serves it
    batch: {max_events: 50, timeout_secs: 0.1}
PIPELINE
export RATE=10/s # slow enough for kills in the middle
"$auditflow" validate "$directory/pipeline.yaml"

mkdir "$directory/events"
lines() { find "$directory/events" -name '*.ndjson' -exec cat {} + | wc -l; }
more_than() { [ "$(lines)" -gt "$1" ]; }

say "3. The backfill, killed with SIGKILL in the middle, three times"
for crash in 1 2 3; do
    before=$(lines)
    "$auditflow" run "$directory/pipeline.yaml" >"$directory/run-$crash.log" 2>&1 &
    pipeline=$!
    wait_until 120 more_than $((before + 200))
    kill -9 "$pipeline"
    wait "$pipeline" 2>/dev/null || :
    pipeline=''
    echo "killed with $(lines) lines in the files"
done
[ "$(lines)" -lt $((2 * events)) ] || fail "the backfill finished before the last crash: nothing is proved"

say "4. The rest, at a higher rate"
export RATE=50/s
"$auditflow" run "$directory/pipeline.yaml" --once
"$auditflow" status "$directory/pipeline.yaml"

say "5. The proof: the same records, byte for byte, as often as at the vendors"
# Both sides have the record as a JSON string `raw`; inside it every quote is escaped with a backslash.
raw_records() { sed -E 's/^.*"raw":("([^"\\]|\\.)*").*$/\1/' | LC_ALL=C sort; }
for vendor in clumio confluence; do
    curl -sS --fail "$address/_sim/truth/$vendor" >"$directory/truth"
    raw_records <"$directory/truth" >"$directory/$vendor.true"
    cat "$directory/events/$vendor"/*.ndjson | raw_records >"$directory/$vendor.delivered"
    echo "$vendor: $(wc -l <"$directory/$vendor.true") at the vendor, $(wc -l <"$directory/$vendor.delivered") delivered"
    [ "$(wc -l <"$directory/$vendor.true")" -ge "$events" ] || fail "$vendor has fewer events than requested"
    cmp "$directory/$vendor.true" "$directory/$vendor.delivered" || fail "$vendor: see diff $directory/$vendor.true $directory/$vendor.delivered"
done
# Two identical records are two events, each with its own id.
repeated=$(find "$directory/events" -name '*.ndjson' -exec sed -E 's/^.*"id":"([0-9a-f]{32})","vendor".*$/\1/' {} + | sort | uniq -d)
[ -z "$repeated" ] || fail "duplicate ids: $repeated"

say "PROVED: nothing lost, nothing twice, every record byte for byte, after three crashes"
rm -rf "$directory"
