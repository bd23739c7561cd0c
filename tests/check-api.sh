#!/usr/bin/env bash
# Starts everything in a temporary directory with a simulated company, then asks the API whatever its description allows, and much that it
# forbids, and compares each answer with the description (schemathesis).
set -euo pipefail
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/uptake}
tools=${TOOLS:-.cache/schemathesis}
seed=${SEED:-1}

if ! [ -x "$tools/bin/st" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet schemathesis==4.32.5
fi

dir=$(mktemp -d)
export UPTAKE__DATA_DIR=$dir/data UPTAKE__API__LISTEN=127.0.0.1:0 UPTAKE__OPS__LISTEN=127.0.0.1:0
export UPTAKE__EMBEDDED__KAFKA_PORT=0 UPTAKE__EMBEDDED__CLICKHOUSE_PORT=0 UPTAKE__API__AUTHENTICATION=true
# What is asked here comes from one caller.
export UPTAKE__API__LIMITS__QUESTIONS_PER_SECOND=0 UPTAKE__API__LIMITS__REFUSALS_PER_SECOND=0
"$program" up >"$dir/log" 2>&1 &
up=$!
stop() {
    kill "$up" && wait "$up" || true
    rm -rf "$dir"
}
trap stop EXIT
until [ -e "$dir/data/up.json" ]; do
    kill -0 "$up" || { cat "$dir/log"; exit 1; }
    sleep 0.2
done
api=$(sed -n 's/.*"api": "\(.*\)".*/\1/p' "$dir/data/up.json")
"$program" simulate --users 200 --days 30 >"$dir/simulated" 2>&1 || { cat "$dir/simulated"; exit 1; }
token=$("$program" token create --name check-api --role admin 2>/dev/null)

"$tools/bin/st" --config-file tests/schemathesis.toml run "$api/openapi.json" --header "Authorization: Bearer $token" --seed "$seed" "$@"
if grep -E '"level":"ERROR"|panicked' "$dir/log"; then
    echo "check-api: the log of the server holds errors" >&2
    exit 1
fi
