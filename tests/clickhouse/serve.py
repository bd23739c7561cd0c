"""ClickHouse 24.8, the oldest that Uptake promises to work with, behind as much of its HTTP interface as the tests use: the engine that PyPI's
chdb holds, which runs one statement after the other. Prints its address when it is ready, and ends with its standard input."""

import http.server
import os
import re
import struct
import sys
import tempfile
import threading
import types
import urllib.parse

import lz4.block

# chdb wants it for tables of Python's, which are not asked for here.
sys.modules["pyarrow"] = types.ModuleType("pyarrow")
from chdb import session  # noqa: E402

# In the address, but no settings of a statement.
NO_SETTINGS = {"query", "database", "default_format", "query_id", "user", "password", "wait_end_of_query", "decompress"}

one_at_a_time = threading.Lock()


class Statement:
    """What one request asks: a text, its parameters and settings, and the data of an INSERT."""

    def __init__(self, address, content_type, body):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query, keep_blank_values=True))
        if content_type.startswith("multipart/form-data"):
            asked |= parts_of(content_type, body)
            body = b""
        self.sql, self.data = asked.get("query", ""), decompressed(body) if asked.get("decompress") == "1" else body
        if not re.match(r"\s*INSERT\b", self.sql, re.I):
            self.sql, self.data = "\n".join(filter(None, [self.sql, body.decode()])), b""
        self.database = asked.get("database")
        self.format = asked.get("default_format", "TabSeparated")
        self.settings = {name: value for name, value in asked.items() if name not in NO_SETTINGS}

    def run(self, engine):
        if self.database:
            engine.query(f"USE `{self.database}`")
        for name, value in self.settings.items():
            engine.query(f"SET {name} = {quoted(value)}")
        try:
            if not self.data:
                return engine.query(self.sql, self.format).bytes()
            with tempfile.NamedTemporaryFile() as file:
                file.write(self.data)
                file.flush()
                head, form = re.fullmatch(r"(.*)\s(FORMAT\s+\w+)\s*", self.sql, re.S).groups()
                return engine.query(f"{head} FROM INFILE '{file.name}' {form}").bytes()
        finally:
            for name in self.settings:
                if not name.startswith("param_"):
                    engine.query(f"SET {name} = DEFAULT")


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parts_of(content_type, body):
    boundary = re.search(r'boundary="?([^";]+)', content_type)[1].encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, value = part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1)
        parts[re.search(rb'name="([^"]+)"', head)[1].decode()] = value.decode()
    return parts


def decompressed(body):
    """ClickHouse's blocks of LZ4: a checksum, the method, both sizes, the data."""
    data = b""
    while body:
        compressed, size = struct.unpack_from("<xII", body, 16)
        data += lz4.block.decompress(body[25 : 16 + compressed], uncompressed_size=size)
        body = body[16 + compressed :]
    return data


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.body()
        if self.path.startswith("/ping"):
            return self.answer(200, b"Ok.\n")
        try:
            statement = Statement(self.path, self.headers.get("Content-Type", ""), body)
            with one_at_a_time:
                output = statement.run(self.server.engine)
            return self.answer(200, output)
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            return self.answer(500, f"{error}\n".encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1000"})

    do_GET = do_POST = handle_request

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    with tempfile.TemporaryDirectory() as directory:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.engine = session.Session(os.path.join(directory, "data"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        parent.read()


# The engine takes what it finds on its standard input for the data of an INSERT.
parent = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
main()
