"""As much of ClickHouse's HTTP interface as the tests use, in front of something else that answers statements."""

import http.server
import os
import re
import sys
import threading
import urllib.parse


class Front(http.server.BaseHTTPRequestHandler):
    """A subclass answers `statement(asked, sql, data)` with a status, headers and a body. `asked` is what the address says, parameters and settings;
    `data` is that of an INSERT."""

    protocol_version = "HTTP/1.1"

    def handle_request(self):
        try:
            body = self.body()
        except EOFError:
            self.close_connection = True
            return
        content_type = self.headers.get("Content-Type", "")
        if self.path.startswith("/ping"):
            return self.answer(200, {}, b"Ok.\n")
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        if content_type.startswith("multipart/form-data"):
            asked |= parts_of(content_type, body)
            body = b""
        sql = asked.pop("query", "")
        if not re.match(r"\s*INSERT\b", sql, re.I):
            sql, body = "\n".join(filter(None, [sql, body.decode()])), b""
        self.answer(*self.statement(asked, sql.strip(), body))

    do_GET = do_POST = handle_request

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.read_line(), 16):
            chunks.append(self.read(size))
            self.read_line()
        self.read_line()
        return b"".join(chunks)

    def read(self, size):
        if len(data := self.rfile.read(size)) < size:
            raise EOFError("a request that broke off")
        return data

    def read_line(self):
        if not (line := self.rfile.readline()).endswith(b"\n"):
            raise EOFError("a request that broke off")
        return line

    def answer(self, status, headers, body):
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # Whoever asked is gone.

    def log_message(self, *_):
        pass


def parts_of(content_type, body):
    boundary = re.search(r'boundary="?([^";]+)', content_type)[1].encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, value = part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1)
        parts[re.search(rb'name="([^"]+)"', head)[1].decode()] = value.decode()
    return parts


def own_standard_input():
    """The standard input, out of the reach of whatever else runs in this process."""
    parent = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return parent


def serve(front, parent):
    """Prints the address, and returns when `parent` ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), front)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    parent.read()
    sys.stdout.flush()
