"""ClickHouse 24.8, the oldest that Uptake promises to work with: the engine that PyPI's chdb holds, which runs one statement after the other.
Prints its address when it is ready, and ends with its standard input."""

import os
import re
import struct
import sys
import tempfile
import threading
import types

import lz4.block

from front import Front, own_standard_input, serve

# chdb wants it for tables of Python's, which are not asked for here.
sys.modules["pyarrow"] = types.ModuleType("pyarrow")
# The engine takes what it finds on its standard input for the data of an INSERT.
parent = own_standard_input()
from chdb import session  # noqa: E402

# In the address, but no settings of a statement.
NO_SETTINGS = {"database", "default_format", "query_id", "user", "password", "wait_end_of_query", "decompress"}


class Oldest(Front):
    engine = None
    one_at_a_time = threading.Lock()

    def statement(self, asked, sql, data):
        settings = {name: value for name, value in asked.items() if name not in NO_SETTINGS}
        try:
            with self.one_at_a_time:
                if "database" in asked:
                    self.engine.query(f"USE `{asked['database']}`")
                for name, value in settings.items():
                    self.engine.query(f"SET {name} = {quoted(value)}")
                try:
                    data = decompressed(data) if asked.get("decompress") == "1" else data
                    return 200, {}, self.run(sql, data, asked.get("default_format", "TabSeparated"))
                finally:
                    for name in settings:
                        if not name.startswith("param_"):
                            self.engine.query(f"SET {name} = DEFAULT")
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            return 500, {"X-ClickHouse-Exception-Code": code[1] if code else "1000"}, f"{error}\n".encode()

    def run(self, sql, data, output_format):
        if not data:
            return self.engine.query(sql, output_format).bytes()
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            head, form = re.fullmatch(r"(.*)\s(FORMAT\s+\w+)\s*", sql, re.S).groups()
            return self.engine.query(f"{head} FROM INFILE '{file.name}' {form}").bytes()


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def decompressed(body):
    """ClickHouse's blocks of LZ4: a checksum, the method, both sizes, the data."""
    data = b""
    while body:
        compressed, size = struct.unpack_from("<xII", body, 16)
        data += lz4.block.decompress(body[25 : 16 + compressed], uncompressed_size=size)
        body = body[16 + compressed :]
    return data


with tempfile.TemporaryDirectory() as directory:
    Oldest.engine = session.Session(os.path.join(directory, "data"))
    serve(Oldest, parent)
