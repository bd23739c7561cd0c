#!/usr/bin/env bash
# Runs the tests of the numbers, and of what is stored and erased, against ClickHouse 24.8, the oldest version that Uptake promises to work with
# (serve.py; from PyPI into .cache/clickhouse-24.8). Left out are tests that need two statements at once, which that engine does not run, and
# those of the embedded engine itself. Another ClickHouse takes its place with TEST_CLICKHOUSE=http://host:port.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
tools=$PWD/.cache/clickhouse-24.8

if ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
    echo "check-clickhouse: fetching ClickHouse 24.8"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --require-hashes --no-deps -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/"
fi

if [ -z "${TEST_CLICKHOUSE:-}" ]; then
    # It ends when its standard input does, with this script.
    coproc CLICKHOUSE { exec "$tools/bin/python" "$here/serve.py"; }
    read -r TEST_CLICKHOUSE <&"${CLICKHOUSE[0]}"
    export TEST_CLICKHOUSE
fi
echo "check-clickhouse: against $TEST_CLICKHOUSE, version $(curl -sS "$TEST_CLICKHOUSE/?query=SELECT+version()")"
cargo test --locked --test it -- numbers:: flows:: privacy:: phases:: people:: random_clicks:: split:: \
    erase:: retention:: upgrade:: rotation:: targets:: standing:: audit:: access:: definitions::
