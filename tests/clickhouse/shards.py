"""The cluster `two_shards` for the tests: ClickHouse's own `Distributed` in the embedded engine, which the program that is named starts. Prints its
address when it is ready, and ends with its standard input.

One server stands for both shards. Shard N of the database `d` is the database `d_N`, with tables and materialized views of its own; `t_local` in `d`
reads those of the shard for which the question is running. So a question goes the way it goes on a cluster: planned once, run by each shard, states of
the shards merged. What is not as on a cluster: there are no replicas (the engine has no server that another one could fetch from), no text of a
question goes over a network, and `Distributed` does not place the rows of an INSERT, a view by its sharding key does."""

import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

from front import Front, serve

SHARDS = (1, 2)
ON = r" ON CLUSTER '\w+'"
SHARDED = "raw_events events feature_days feature_user_days day_users hour_users feature_users feature_hours arrivals".split()


def statements(db, sql):
    """What `sql`, said to the database `db` of a cluster, is here: pairs of a database and a statement."""
    if found := re.match(r"CREATE DATABASE IF NOT EXISTS `(\w+)`", sql):
        return [("", f"CREATE DATABASE IF NOT EXISTS `{name}`") for name in (found[1], *shards(found[1]))]
    plain = re.sub(ON, "", sql, count=1)
    if found := re.match(r"CREATE TABLE IF NOT EXISTS (\w+) AS \w+ ENGINE = Distributed\(.*, (\S+\(.*\))\)", plain):
        return [(db, plain), *placed(db, *found.groups())]
    if re.match(r"CREATE TABLE", plain):
        plain = unreplicated(plain)
    if found := re.match(r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE|DELETE FROM|DROP TABLE IF EXISTS) (\w+)_local\b", plain):
        return [(shard, plain) for shard in shards(db)] + read_as_one(db, *found.groups())
    if found := re.match(r"(ALTER TABLE|DROP TABLE IF EXISTS) (\w+)", plain):
        if found[2] in SHARDED:
            again = found[1] == "ALTER TABLE"
            return [(db, plain), *(placed(db, found[2], KEYS[db, found[2]]) if again else unplaced(db, found[2]))]
    if re.match(r"CREATE MATERIALIZED VIEW", plain):
        return [(shard, plain) for shard in shards(db)]
    if re.match(r"DROP VIEW", plain):
        return [(where, plain) for where in (db, *shards(db))]
    if (found := re.match(r"INSERT INTO `?(\w+)`?", plain)) and found[1] in SHARDED:
        return [(db, re.sub(r"^INSERT INTO `?\w+`?", f"INSERT INTO {found[1]}_placed", plain))]
    # How the tables of a shard are made.
    return [(db, re.sub(r"(FROM system.tables WHERE database = '\w+)(' AND name )", r"\1_1\2", plain))]


def shards(db):
    return [f"{db}_{number}" for number in SHARDS]


def unreplicated(sql):
    sql = re.sub(r"ENGINE = Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?", r"ENGINE = \1(", sql)
    return sql.replace(
        "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800", "non_replicated_deduplication_window = 10000"
    )


def read_as_one(db, what, table):
    drop = (db, f"DROP TABLE IF EXISTS {table}_local")
    create = f"CREATE TABLE {table}_local AS {db}_1.{table}_local ENGINE = Merge(REGEXP('^{db}_[12]$'), '^{table}_local$')"
    return {"DELETE FROM": [], "DROP TABLE IF EXISTS": [drop]}.get(what, [drop, (db, create)])


KEYS = {}


def placed(db, table, key):
    KEYS[db, table] = key
    views = [
        f"CREATE MATERIALIZED VIEW {table}_to_{number} TO {db}_{number}.{table}_local AS SELECT * FROM {table}_placed WHERE {key} % {len(SHARDS)} = {number - 1}"
        for number in SHARDS
    ]
    return [*unplaced(db, table), (db, f"CREATE TABLE {table}_placed AS {table} ENGINE = Null"), *((db, view) for view in views)]


def unplaced(db, table):
    views = [(db, f"DROP VIEW IF EXISTS {table}_to_{number}") for number in SHARDS]
    return [*views, (db, f"DROP TABLE IF EXISTS {table}_placed")]


def own_shard(db):
    """The setting under which `t_local` reads the tables of one shard."""
    which = "endsWith(_database, concat(\\'_\\', toString(shardNum())))"
    return "{" + ", ".join(f"'{db}.{table}_local': '{which}'" for table in SHARDED) + "}"


class Shards(Front):
    engine = ""

    def statement(self, asked, sql, data):
        db = asked.pop("database", "")
        if db:
            asked["additional_table_filters"] = own_shard(db)
        for where, one in statements(db, sql):
            # A text of any length fits into the body; the data of an INSERT needs it.
            address = asked | ({"database": where} if where else {}) | ({"query": one} if data else {})
            answer = self.ask(urllib.parse.urlencode(address), data or one.encode())
            if answer[0] != 200:
                break
        return answer

    def ask(self, address, body):
        connection = http.client.HTTPConnection(self.engine.removeprefix("http://"))
        passed = ("Authorization", "X-ClickHouse-User", "X-ClickHouse-Key", "Accept-Encoding")
        connection.request("POST", f"/?{address}", body, {name: self.headers[name] for name in passed if name in self.headers})
        answer = connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name.startswith(("X-ClickHouse", "Content-Type", "Content-Encoding"))}
        return answer.status, kept, answer.read()


def started(program, directory):
    """The embedded engine as a server of the cluster, and its address."""
    os.mkdir(os.path.join(directory, "config.d"))
    shutil.copy(os.path.join(os.path.dirname(__file__), "cluster.xml"), os.path.join(directory, "config.d"))
    command = [program, "clickhouse", "--data", directory, "--listen", "127.0.0.1:0"]
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    return engine, next(line for line in engine.stdout if line.startswith("clickhouse: ")).split()[1]


with tempfile.TemporaryDirectory() as directory:
    engine, Shards.engine = started(sys.argv[1], directory)
    serve(Shards, sys.stdin)
    engine.terminate()
    engine.wait()
