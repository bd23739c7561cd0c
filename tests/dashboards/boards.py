"""Dashboards as Grafana reads them: their panels, and their SQL with every variable filled in."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLICKHOUSE, PROMETHEUS = "grafana-clickhouse-datasource", "prometheus"


class Wrong(Exception):
    """A dashboard does not hold what it must."""


class Board:
    def __init__(self, path):
        self.name = path.stem
        self.text = path.read_text(encoding="utf-8")
        self.json = json.loads(self.text)
        self.panels = [panel for panel in self.json["panels"] if panel["type"] != "row"]
        self.variables = self.json["templating"]["list"]

    def options(self, name):
        """What can be chosen of a custom variable."""
        of_name = next(variable for variable in self.variables if variable["name"] == name)
        return [option["value"] for option in of_name["options"]]

    def custom(self):
        return [variable["name"] for variable in self.variables if variable["type"] == "custom"]


def every_board():
    boards = [Board(path) for path in sorted((ROOT / "dashboards").glob("*.json"))]
    if not boards:
        raise Wrong("no dashboards/*.json")
    return boards


def expand(sql, values):
    """`sql` with `${name:singlequote}`, the time range's `${__from}` and `${__to}`, and nothing else filled in as Grafana does."""

    def fill(match):
        name, form = match[1], match[2]
        if name not in values:
            raise Wrong(f"the variable {name} is not defined before it is used in: {sql}")
        if name in ("__from", "__to") and form is None:
            return str(values[name])
        if form != "singlequote":
            raise Wrong(f"${{{name}}} without :singlequote, the one format that escapes, in: {sql}")
        return "'" + str(values[name]).replace("'", "\\'") + "'"

    filled = re.sub(r"\$\{(\w+)(?::(\w+))?\}", fill, sql)
    if "$" in filled:
        raise Wrong(f"a macro or a variable that is not filled in stands in: {filled}")
    return filled
