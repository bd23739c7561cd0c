"""The rows that each panel gets, as Grafana would ask for them, and whether they have the shape that the panel draws."""

import math

from boards import CLICKHOUSE, Wrong, expand


def choose(board, clickhouse, times, picks):
    """Name → value of every variable, and name → text of what the reader sees of it. `picks`: name → value of a custom variable, or index
    of an option of a query's; what is not picked is the first."""
    values, texts = dict(times), {}
    for variable in board.variables:
        name, pick = variable["name"], picks.get(variable["name"])
        if variable["type"] == "datasource":
            continue
        if variable["type"] == "custom":
            options = [(option["value"], option["text"]) for option in variable["options"]]
            value, text = next((o for o in options if o[0] == pick), options[0])
        else:
            columns = clickhouse.frame(expand(variable["query"], values))
            if any(column["type"] != "string" for column in columns):
                raise Wrong(f"{board.name}: the variable {name} offers something that is no text")
            options = list(zip(columns[0]["values"], columns[-1]["values"]))
            if not options:
                raise Wrong(f"{board.name}: the variable {name} offers nothing")
            value, text = options[pick or 0]
        values[name] = value
        if variable["hide"] == 0:
            texts[variable["label"]] = text
    return values, texts


def of_clickhouse(panel, clickhouse, values):
    """refId → columns as the SQL gives them."""
    return {
        target["refId"]: clickhouse.frame(expand(target["rawSql"], values))
        for target in panel["targets"]
        if target["datasource"]["type"] == CLICKHOUSE
    }


def of_prometheus(panel, prometheus, start, end):
    """One frame for each series of each query."""
    interval, span = "20s", f"{int(end - start)}s"
    frames = []
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", interval).replace("$__range", span)
        if "$" in expr:
            raise Wrong(f"{panel['title']}: a variable that is not filled in stands in: {expr}")
        frames += prometheus.frames(target, expr, start, end)
    return frames


def check_shape(panel, columns, format_):
    """What the panel needs to draw anything."""
    kinds = [column["type"] for column in columns]
    count = len(columns[0]["values"])
    several = panel["options"].get("reduceOptions", {}).get("values", False)

    def need(holds, what):
        if not holds:
            raise Wrong(f"{panel['title']}: expected {what}, got {count} rows of {kinds}")

    need(count > 0, "rows")
    if panel["type"] == "timeseries":
        need(format_ == 0 and kinds[0] == "time" and "number" in kinds[1:], "format 0, a time, and a number")
        need(columns[0]["values"] == sorted(columns[0]["values"]), "rows in the order of time")
    elif panel["type"] == "stat" and not several or panel["type"] == "bargauge":
        need(count == 1 and set(kinds) == {"number"}, "one row of numbers")
    elif panel["type"] == "stat":
        need(kinds == ["string", "number"], "a text and a number")
    else:
        need(format_ == 1 and "number" in kinds, "format 1 and a number")
    if not any(v is not None for column in columns if column["type"] == "number" for v in column["values"]):
        raise Wrong(f"{panel['title']}: every number is missing")


def in_json(columns):
    """JSON has no word for NaN: `"NaN"` stands for it."""
    word = lambda value: "NaN" if isinstance(value, float) and math.isnan(value) else value
    return [{**column, "values": [word(value) for value in column["values"]]} for column in columns]


def wide(columns):
    """A long frame (time, texts, numbers) as Grafana's SQL sources make it wide: a column for each number and combination of texts."""
    times = sorted(set(columns[0]["values"]))
    at = {time: i for i, time in enumerate(times)}
    texts = [column for column in columns[1:] if column["type"] == "string"]
    series = {}
    for number in (column for column in columns[1:] if column["type"] == "number"):
        for i, time in enumerate(columns[0]["values"]):
            labels = {text["name"]: text["values"][i] for text in texts}
            key = (number["name"], *labels.values())
            of_key = series.setdefault(key, {"name": number["name"], "type": "number", "labels": labels, "values": [None] * len(times)})
            of_key["values"][at[time]] = number["values"][i]
    return [{"name": columns[0]["name"], "type": "time", "values": times}, *series.values()]
