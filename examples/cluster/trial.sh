#!/usr/bin/env bash
# Tries a cluster out on one machine: a scheduler and two executors as processes of their own, and a job on them.
#
#   examples/cluster/trial.sh MODEL TABLE.lance OUT.lance
#
# MODEL is the folder of a fitted model, TABLE a table with embeddings of its width. The same job then runs in one
# process, and both digests are compared. Needs a tlc with the feature `cluster`:
#
#   cargo build --release -p tlc --features cluster
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,10p' "$0"; exit 2; }
model=$1 table=$2 out=$3
tlc=${TLC:-target/release/tlc}
port=${PORT:-50050}
address=df://127.0.0.1:$port

processes=()
there=$(mktemp)
trap 'kill "${processes[@]}" 2>/dev/null || true; wait; rm -f "$there"' EXIT

# Returns once somebody listens on a port.
wait_for() {
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "nobody listens on port $1" >&2
    exit 1
}

"$tlc" cluster scheduler --port "$port" & processes+=($!)
wait_for "$port"
for executor in 1 2; do
    "$tlc" cluster executor --scheduler "$address" --port $((port + 2 * executor - 1)) & processes+=($!)
    wait_for $((port + 2 * executor - 1))
done

"$tlc" apply "$model" --table "$table" --out "$out" --cluster "$address" --rows-per-task 50000 | tee /dev/stderr |
    tail -n 1 > "$there"
here=${out%.lance}-here.lance
if ! "$tlc" apply "$model" --table "$table" --out "$here" | tee /dev/stderr | tail -n 1 | diff "$there" -; then
    echo "the cluster and one process made different tables" >&2
    exit 1
fi
echo "the cluster and one process made the same table"
