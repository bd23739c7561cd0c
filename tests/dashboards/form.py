"""What every dashboard must be, whatever the data."""

import json
import re

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import CLICKHOUSE, PROMETHEUS, ROOT, Wrong


def check(board):
    problems = [*round_trip(board), *layout(board)]
    metrics = declared_metrics()
    for panel in board.panels:
        problems += [f"{panel['title']}: {problem}" for problem in explained(panel)]
        for target in panel["targets"]:
            problems += [f"{panel['title']}: {problem}" for problem in asked(target, metrics)]
    if problems:
        raise Wrong("\n  ".join([f"{board.name}.json:", *problems]))


def round_trip(board):
    """Read and written by Grafana's own model, it is the same: no key is unknown, misplaced, of a wrong type, or left to a default."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(json.loads(board.text)), cls=JSONEncoder))
    return differences(board.json, again, "")


def differences(kept, again, path):
    if isinstance(kept, dict) and isinstance(again, dict):
        for key in sorted(kept.keys() | again.keys()):
            if key not in kept:
                yield f"{path}.{key}: Grafana's model adds {json.dumps(again[key])}"
            elif key not in again:
                yield f"{path}.{key}: Grafana's model drops {json.dumps(kept[key])}"
            else:
                yield from differences(kept[key], again[key], f"{path}.{key}")
    elif isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        for index, pair in enumerate(zip(kept, again)):
            yield from differences(*pair, f"{path}[{index}]")
    elif kept != again:
        yield f"{path}: {json.dumps(kept)} becomes {json.dumps(again)}"


def layout(board):
    """Panels neither overlap nor leave the 24 columns, and their ids differ."""
    ids = [panel["id"] for panel in board.panels]
    if len(set(ids)) != len(ids):
        yield f"panel ids: {ids}, expected different ones"
    taken = {}
    for panel in board.panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or (x, y) in taken:
                    yield f"{panel['title']}: covers {taken.get((x, y), 'what is beyond the 24th column')}"
                    return
                taken[x, y] = panel["title"]


def explained(panel):
    for key in ("title", "description"):
        if not panel.get(key, "").strip():
            yield f"no {key}"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no unit"
    percent = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
    if percent and panel["type"] in ("timeseries", "trend") and panel["fieldConfig"]["defaults"].get("max") != 1:
        yield "an axis of shares that does not end at 100 %"


def asked(target, metrics):
    kind = target["datasource"]["type"]
    if kind == CLICKHOUSE:
        if target["editorType"] != "sql" or target["format"] not in (0, 1) or not target["rawSql"].strip():
            yield f"{target['refId']}: expected SQL with format 0 (time series) or 1 (table)"
    elif kind == PROMETHEUS:
        for name in re.findall(r"\buptake_\w+", target["expr"]):
            if name not in metrics:
                yield f"{name} is not declared in src/metrics.rs"
    else:
        yield f"data source {kind}"


def declared_metrics():
    """The names that can be asked for. A test of src/metrics.rs keeps the README's table equal to what is declared."""
    names = set()
    for name, kind in re.findall(r"^\| `(uptake_\w+)` \| (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    if not names:
        raise Wrong("README.md: no table of metrics")
    return names
