#!/bin/sh
# Fetches what `uptake up` and the tests run on into .cache: Apache Kafka through Maven, ClickHouse's embedded engine through
# npm. Everything is checked against the sums beside this file. Does nothing when all is there.
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
kafka_is_right() {
    [ -d "$1" ] && [ "$(ls "$1" | wc -l)" -eq "$(wc -l <"$here/kafka.sha256")" ] &&
        (cd "$1" && sha256sum --check --quiet --strict "$here/kafka.sha256" 2>&1)
}

copy_kafka() {
    need mvn "Maven (Debian: maven)"
    rm -rf "$1"
    mvn --batch-mode --quiet -f "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$1" >"$cache/maven.log" 2>&1 ||
        { tail -20 "$cache/maven.log" >&2; fail "Maven could not fetch Apache Kafka"; }
}

kafka() {
    need java "a Java runtime of at least 17 (Debian: openjdk-17-jre-headless)"
    if kafka_is_right "$cache/kafka/libs" >/dev/null; then
        say "Apache Kafka 4.1.1 is there"
        return
    fi
    say "fetching Apache Kafka 4.1.1 (30 MB) through Maven"
    copy_kafka "$cache/kafka/new"
    kafka_is_right "$cache/kafka/new" || fail "what Maven fetched differs from deploy/local/kafka.sha256"
    rm -rf "$cache/kafka/libs"
    mv "$cache/kafka/new" "$cache/kafka/libs"
    say "Apache Kafka 4.1.1 is in .cache/kafka/libs"
}

# Writes the sums of what pom.xml names now.
pin() {
    mkdir -p "$cache"
    copy_kafka "$cache/kafka/new"
    (cd "$cache/kafka/new" && sha256sum -- *.jar) >"$here/kafka.sha256"
    rm -rf "$cache/kafka/new"
    say "wrote deploy/local/kafka.sha256"
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

mkdir -p "$cache"
case "${1:-all}" in
    all) debian_packages; kafka; chdb ;;
    pin) pin ;;
    *) fail "unknown argument $1; expected nothing, or pin" ;;
esac
