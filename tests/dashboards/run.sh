#!/usr/bin/env bash
# Starts everything in a temporary directory with a simulated company, and Prometheus beside it; checks every dashboard against them (check.py), and
# draws it with Grafana's own components into docs/images (draw/). Prometheus is from `make tools`; what else it needs is fetched into
# .cache/dashboards, except Chromium, a browser of many parts, which apt installs where it is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export PROGRAM=${PROGRAM:-target/release/uptake}
tools=${TOOLS:-$PWD/.cache/dashboards}
pictures=${PICTURES:-docs/images}

fail() { echo "dashboards: $*" >&2; exit 1; }

# Unpacked, not installed: neither starts a service nor needs root.
unpacked() { # <Debian package> <a file in it>
    [ -e "$tools/debian/$2" ] && return
    echo "dashboards: fetching $1"
    (cd "$tools" && apt-get download -qq -o APT::Sandbox::User=root "$1" && dpkg -x "$1"_*.deb debian && rm "$1"_*.deb) ||
        fail "the Debian package $1 could not be fetched; \`apt-get update\` may help"
}

chromium() {
    type -P chromium >/dev/null && return
    [ "$(id -u)" -eq 0 ] || fail "chromium is missing; run: sudo apt-get install -y chromium"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
}

python_packages() {
    cmp -s "$here/requirements.txt" "$tools/python/requirements.txt" && return
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --require-hashes -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/python/"
}

npm_packages() {
    mkdir -p "$tools/draw"
    cp "$here"/draw/*.* "$tools/draw/"
    cmp -s "$here/draw/package-lock.json" "$tools/draw/node_modules/fetched.json" && return
    echo "dashboards: fetching Grafana's packages"
    (cd "$tools/draw" && npm ci --silent --no-audit --no-fund --ignore-scripts)
    cp "$here/draw/package-lock.json" "$tools/draw/node_modules/fetched.json"
}

mkdir -p "$tools"
chromium
unpacked fonts-droid-fallback usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf
python_packages
npm_packages

dir=$(mktemp -d)
export UPTAKE__DATA_DIR=$dir/data UPTAKE__API__LISTEN=127.0.0.1:0 UPTAKE__OPS__LISTEN=127.0.0.1:0
export UPTAKE__EMBEDDED__KAFKA_PORT=0 UPTAKE__EMBEDDED__CLICKHOUSE_PORT=0
# Grafana's user, who may read the views of the numbers and nothing under them.
export READER=reader READER_PASSWORD=read-only
export UPTAKE__CLICKHOUSE__PASSWORD=owner UPTAKE__CLICKHOUSE__READER__USER=$READER UPTAKE__CLICKHOUSE__READER__PASSWORD=$READER_PASSWORD
# check.py has the targets evaluated, when everything is counted.
export UPTAKE__TARGETS__INTERVAL_MS=86400000
export UPTAKE__API__LIMITS__QUESTIONS_PER_SECOND=0 UPTAKE__API__LIMITS__REFUSALS_PER_SECOND=0
children=()
stop() {
    for child in "${children[@]}"; do kill "$child" && wait "$child" || true; done 2>/dev/null
    rm -rf "$dir"
}
trap stop EXIT
"$PROGRAM" up >"$dir/up.log" 2>&1 &
children=($!)
until [ -e "$dir/data/up.json" ]; do
    kill -0 "${children[0]}" || { cat "$dir/up.log"; exit 1; }
    sleep 0.2
done
address() { sed -n "s/.*\"$1\": \"http:\/\/\([^\"]*\)\".*/\1/p" "$dir/data/up.json"; }

cat >"$dir/prometheus.yml" <<END
global: {scrape_interval: 1s}
scrape_configs: [{job_name: uptake, static_configs: [{targets: ["$(address ops)"]}]}]
END
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" \
    --web.listen-address="127.0.0.1:$port" >"$dir/prometheus.log" 2>&1 &
children=($! "${children[@]}")
began=$(date +%s)

"$PROGRAM" simulate --users 2000 --days 120 >"$dir/simulated" 2>&1 || { cat "$dir/simulated"; exit 1; }
PYTHONDONTWRITEBYTECODE=1 "$tools/python/bin/python" "$here/check.py" "$dir/data/up.json" "http://127.0.0.1:$port" uptake "$began" "$dir/rows.json"

cat >"$dir/fonts.conf" <<END
<fontconfig><include>/etc/fonts/fonts.conf</include><dir>$tools/debian/usr/share/fonts</dir><cachedir>$dir/fonts</cachedir></fontconfig>
END
FONTCONFIG_FILE=$dir/fonts.conf node "$tools/draw/draw.mjs" dashboards "$dir/rows.json" "$(type -P chromium)" "$pictures"
echo "dashboards: drawn as $pictures/dashboard-*.png"
