#!/bin/sh
# Fetches what `uptake up` and the tests run on into .cache: Apache Kafka through Maven, ClickHouse's embedded engine through
# npm; for the tests, Prometheus and Alertmanager from Debian's packages, whose signatures apt checks. With `connect`, Kafka Connect as well,
# which only `make bench-peers` needs. What Maven and npm fetch is checked against the sums beside this file. Does nothing when all is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache
chdb_package=@chdb/lib-linux-x64-gnu@26.7.3-stable.1
chdb_archive=chdb-lib-linux-x64-gnu-26.7.3-stable.1.tgz

say() { echo "tools: $*"; }
fail() { say "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "$1 is missing; install $2 and run \`make tools\` again"; }

# The compiler, make and OpenSSL build librdkafka; the tests make certificates with openssl.
debian_packages() {
    missing=
    for pair in make:make cc:gcc c++:g++ pkg-config:pkg-config openssl:openssl; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
    done
    [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
    [ -e /usr/include/zlib.h ] || missing="$missing zlib1g-dev"
    [ -e /usr/include/openssl/ssl.h ] || missing="$missing libssl-dev"
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || fail "missing:$missing; install them with your system's package manager"
    if [ "$(id -u)" -ne 0 ]; then
        fail "Debian packages are missing; run: sudo apt-get install -y$missing"
    fi
    say "installing Debian packages:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
}

# Exactly the pinned files: Java loads whatever lies in the folder.
jars_are_right() { # <sums> <folder>
    [ -d "$2" ] && [ "$(ls "$2" | wc -l)" -eq "$(wc -l <"$1")" ] &&
        (cd "$2" && sha256sum --check --quiet --strict "$1" 2>&1)
}

copy_jars() { # <pom> <folder>
    need mvn "Maven (Debian: maven)"
    rm -rf "$2"
    mvn --batch-mode --quiet -f "$1" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$2" >"$cache/maven.log" 2>&1 ||
        { tail -20 "$cache/maven.log" >&2; fail "Maven could not fetch what $1 names"; }
}

jars() { # <folder in .cache> <pom> <what it is>
    need java "a Java runtime of at least 17 (Debian: openjdk-17-jre-headless)"
    if jars_are_right "$here/$1.sha256" "$cache/$1/libs" >/dev/null; then
        say "$3 is there"
        return
    fi
    say "fetching $3 through Maven"
    copy_jars "$here/$2" "$cache/$1/new"
    jars_are_right "$here/$1.sha256" "$cache/$1/new" || fail "what Maven fetched differs from deploy/local/$1.sha256"
    rm -rf "$cache/$1/libs"
    mv "$cache/$1/new" "$cache/$1/libs"
    say "$3 is in .cache/$1/libs"
}

kafka() { jars kafka pom.xml "Apache Kafka 4.1.1 (30 MB)"; }
connect() { jars connect connect.pom.xml "Kafka Connect 4.1.1 with Debezium's JDBC sink (75 MB)"; }

# Writes the sums of what the poms name now.
pin() {
    mkdir -p "$cache"
    for pair in kafka:pom.xml connect:connect.pom.xml; do
        name=${pair%%:*}
        copy_jars "$here/${pair##*:}" "$cache/$name/new"
        (cd "$cache/$name/new" && sha256sum -- *.jar) >"$here/$name.sha256"
        rm -rf "$cache/$name/new"
        say "wrote deploy/local/$name.sha256"
    done
}

chdb() {
    if [ -f "$cache/chdb/libchdb.so" ] && cmp -s "$cache/chdb/fetched.sha512" "$here/chdb.sha512"; then
        say "ClickHouse's engine 26.7 is there"
        return
    fi
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "the embedded engine is pinned for Linux on x86_64 only; this is $(uname -sm)"
    need npm "npm (Debian: npm)"
    new=$cache/chdb/new
    rm -rf "$new"
    mkdir -p "$new"
    say "fetching ClickHouse's engine 26.7 through npm: 178 MB, unpacked 566 MB; this takes a while"
    (cd "$new" && npm pack --silent "$chdb_package" >/dev/null) || fail "npm could not fetch $chdb_package"
    (cd "$new" && sha512sum --check --quiet --strict "$here/chdb.sha512") ||
        fail "what npm fetched differs from deploy/local/chdb.sha512"
    say "unpacking it"
    tar -xzf "$new/$chdb_archive" -C "$new" package/libchdb.so
    mv "$new/package/libchdb.so" "$cache/chdb/libchdb.so"
    rm -rf "$new"
    cp "$here/chdb.sha512" "$cache/chdb/fetched.sha512"
    say "ClickHouse's engine is in .cache/chdb"
}

# Only unpacked, not installed: nothing is started, and nobody has to be root.
prometheus() {
    tools="prometheus promtool prometheus-alertmanager amtool"
    bin=$cache/prometheus/usr/bin
    missing=
    for tool in $tools; do
        [ -x "$bin/$tool" ] || missing="$missing $tool"
    done
    if [ -z "$missing" ]; then
        say "Prometheus and Alertmanager are there"
        return
    fi
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
        fail "Prometheus and Alertmanager come from Debian's packages; put$missing into .cache/prometheus/usr/bin and run \`make tools\` again"
    say "fetching Prometheus and Alertmanager from Debian (30 MB)"
    new=$cache/prometheus/new
    rm -rf "$new"
    mkdir -p "$new"
    download="apt-get download -qq prometheus prometheus-alertmanager"
    # shellcheck disable=SC2086 # a list of words
    (cd "$new" && { $download || { [ "$(id -u)" -eq 0 ] && apt-get update -qq && $download; }; }) >"$cache/apt.log" 2>&1 ||
        { tail -5 "$cache/apt.log" >&2; fail "apt could not fetch them; run: sudo apt-get update"; }
    for package in "$new"/*.deb; do
        dpkg-deb -x "$package" "$new/root"
    done
    rm -rf "$cache/prometheus/usr"
    mv "$new/root/usr" "$cache/prometheus/usr"
    rm -rf "$new"
    say "Prometheus and Alertmanager are in .cache/prometheus"
}

mkdir -p "$cache"
case "${1:-all}" in
    all) debian_packages; kafka; chdb; prometheus ;;
    prometheus) prometheus ;;
    connect) connect ;;
    pin) pin ;;
    *) fail "unknown argument $1; expected nothing, connect, prometheus or pin" ;;
esac
