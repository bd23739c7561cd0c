"""The three that are asked: ClickHouse and Prometheus as Grafana asks them, and the API."""

import base64
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone

from boards import Wrong

NUMBERS = ("Int", "UInt", "Float", "Decimal")


def ask(url, body=None, headers=None):
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise Wrong(f"{url}: {error.code}: {error.read().decode()[:2000]}\n  asked: {body.decode() if body else ''}") from None


class ClickHouse:
    def __init__(self, url, database, user=None, password=None):
        self.url = f"{url}/?{urllib.parse.urlencode({'database': database})}"
        self.headers = {}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def frame(self, sql):
        """The answer as columns, each with name, type (`time`, `number`, `string`) and values; times in milliseconds."""
        text = ask(self.url, f"{sql}\nFORMAT TSVWithNamesAndTypes".encode(), self.headers)
        names, types, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
        return [
            {"name": unescape(name), "type": kind(of_type), "values": [value(of_type, row[i]) for row in rows]}
            for i, (name, of_type) in enumerate(zip(names, types))
        ]


def plain(of_type):
    for wrapper in ("LowCardinality(", "Nullable("):
        if of_type.startswith(wrapper):
            of_type = of_type[len(wrapper) : -1]
    return of_type


def kind(of_type):
    of_type = plain(of_type)
    return "time" if of_type.startswith("Date") else "number" if of_type.startswith(NUMBERS) else "string"


def value(of_type, text):
    if text == "\\N":
        return None
    if kind(of_type) == "time":
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000
    if kind(of_type) == "number":
        return float(text) if plain(of_type).startswith("Float") else int(text)
    return unescape(text)


def unescape(text):
    return text.replace("\\t", "\t").replace("\\n", "\n").replace("\\'", "'").replace("\\\\", "\\")


class Prometheus:
    def __init__(self, url):
        self.url = url

    def frames(self, target, expr, start, end):
        """One frame for each series: time, value. `start` and `end` in seconds."""
        if target.get("instant"):
            asked = {"query": expr, "time": end}
            path = "query"
        else:
            asked = {"query": expr, "start": start, "end": end, "step": max(1, round((end - start) / 200))}
            path = "query_range"
        answer = json.loads(ask(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"))
        return [series_frame(target, series) for series in answer["data"]["result"]]


def series_frame(target, series):
    points = series.get("values") or [series["value"]]
    legend = target["legendFormat"]
    for label, text in series["metric"].items():
        legend = legend.replace("{{" + label + "}}", text)
    values = [None if math.isnan(float(v)) else float(v) for _, v in points]
    return [
        {"name": "Time", "type": "time", "values": [t * 1000 for t, _ in points]},
        {"name": legend, "type": "number", "values": values},
    ]


class Api:
    def __init__(self, url):
        self.url = f"{url}/api/v1"
        self.kept = {}

    def get(self, path, **parameters):
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        if url not in self.kept:
            self.kept[url] = json.loads(ask(url))
        return self.kept[url]

    def post_events(self, events):
        """The status of the answer."""
        body = json.dumps(events).encode()
        request = urllib.request.Request(f"{self.url}/events", body, {"Content-Type": "application/cloudevents-batch+json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
