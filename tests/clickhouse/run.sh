#!/usr/bin/env bash
# Runs the tests of what is stored, counted and erased against ClickHouse 24.8, the oldest version that Uptake promises to work with (serve.py; from
# PyPI into .cache/clickhouse-24.8). That engine runs one statement at a time, so tests that need two at once are left out.
# Another ClickHouse takes its place with TEST_CLICKHOUSE=http://host:port.
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
cargo test --locked --test it -- \
    --skip engine:: --skip reader:: --skip up:: --skip wire:: --skip backup:: --skip deploy:: --skip doctor:: `# the embedded engine, or a server of one version` \
    --skip kafka:: --skip collector:: --skip import:: --skip oidc:: `# no numbers` \
    --skip rotation:: --skip a_takeover_waits --skip a_question_whose_client `# two statements at once`
