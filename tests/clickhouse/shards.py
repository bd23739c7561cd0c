"""A cluster of two shards for the tests: ClickHouse's own `Distributed` over the embedded engine, which is given as the address of its HTTP interface
and must know the cluster of cluster.xml. Prints its own address when it is ready, and ends with its standard input.

One server stands for both shards. Shard N of the database `d` is the database `d_N`, with tables and materialized views of its own; `t_local` in `d`
reads those of the shard for which the question is running. So a question goes the way it goes on a cluster: planned once, run by each shard, states of
the shards merged. What is not as on a cluster: there are no replicas (the engine has no server that another one could fetch from), no text of a
question goes over a network, and `Distributed` does not place the rows of an INSERT, a view by its sharding key does."""

import http.client
import http.server
import re
import sys
import threading
import urllib.parse

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


def parts_of(content_type, body):
    boundary = re.search(r'boundary="?([^";]+)', content_type)[1].encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, value = part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1)
        parts[re.search(rb'name="([^"]+)"', head)[1].decode()] = value.decode()
    return parts


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.body()
        path, _, query = self.path.partition("?")
        asked = urllib.parse.parse_qsl(query, keep_blank_values=True)
        told = dict(asked)
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            parts = parts_of(self.headers["Content-Type"], body)
            sql, data = parts.pop("query"), b""
            asked += parts.items()
        else:
            sql, data = (told["query"], body) if "query" in told else (body.decode(), b"")
        db = told.get("database", "")
        rest = [(name, value) for name, value in asked if name not in ("query", "database")]
        if db:
            rest.append(("additional_table_filters", own_shard(db)))
        for where, statement in (ours := statements(db, sql.strip())):
            # A text of any length fits into the body; the data of an INSERT needs it.
            address = rest + [("database", where)] * bool(where) + [("query", statement)] * bool(data)
            status, headers, answer = self.ask(f"{path}?{urllib.parse.urlencode(address)}", data or statement.encode())
            if status != 200:
                print(f"{status}: {statement[:300]}: {answer[:500]}", file=sys.stderr)
                break
        self.answer(status, headers, answer)

    do_GET = do_POST = handle_request

    def ask(self, path, body):
        connection = http.client.HTTPConnection(self.server.upstream)
        names = ("Authorization", "X-ClickHouse-User", "X-ClickHouse-Key", "Accept-Encoding")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name.startswith("X-ClickHouse") or name.startswith("Content-")}
        return answer.status, kept, answer.read()

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.upstream = sys.argv[1].removeprefix("http://")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


main()
