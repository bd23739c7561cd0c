#!/usr/bin/env bash
# Runs the tests of what is stored, counted and erased against another ClickHouse than the embedded engine on one server:
#   oldest   24.8, the oldest version that Uptake promises to work with (oldest.py; from PyPI into .cache/clickhouse-24.8)
#   cluster  two shards (shards.py)
# What cannot be run there is left out by name. TEST_CLICKHOUSE=http://host:port names a ClickHouse of one's own, TEST_CLUSTER a cluster of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
# They start servers of their own, or need none.
left_out=(engine:: reader:: up:: wire:: backup:: deploy:: doctor:: kafka:: collector:: import:: oidc::)
# Through the front no statement is seen at work before its data has come.
left_out+=(a_takeover_waits a_question_whose_client)

oldest() {
    tools=$PWD/.cache/clickhouse-24.8
    if ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
        echo "check-clickhouse: fetching ClickHouse 24.8"
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --require-hashes --no-deps -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$tools/"
    fi
    server=("$tools/bin/python" "$here/oldest.py")
    left_out+=(rotation::) # One statement at a time: a table cannot be dropped and waited for.
}

cluster() {
    export TEST_CLUSTER=two_shards
    server=(python3 "$here/shards.py" target/debug/uptake)
    left_out+=(cluster:: upgrade:: ingest_refuses_a_server every_table_is_kept) # They look at the tables of one server.
    left_out+=(a_view_that_is_filled an_insert_that_is_half_done) # They take a view of one server away.
}

"$1"
cargo test --locked --test it --no-run
if [ -z "${TEST_CLICKHOUSE:-}" ]; then
    # It ends when its standard input does, with this script.
    coproc CLICKHOUSE { exec "${server[@]}"; }
    read -r TEST_CLICKHOUSE <&"${CLICKHOUSE[0]}"
    export TEST_CLICKHOUSE
fi
echo "against $TEST_CLICKHOUSE, ClickHouse $(curl -sS "$TEST_CLICKHOUSE/?query=SELECT+version()") ${TEST_CLUSTER:-}"
cargo test --locked --test it -- "${@:2}" "${left_out[@]/#/--skip=}"
