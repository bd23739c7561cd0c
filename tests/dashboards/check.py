"""Checks dashboards/*.json against a running Uptake and Prometheus, and writes the rows of every panel for drawing.

    check.py <up.json> <Prometheus> <database> <seconds since the epoch when Prometheus began> <rows.json to write>
"""

import itertools
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import answers
import form
import rows
from boards import CLICKHOUSE, Wrong, every_board
from sources import Api, ClickHouse, Prometheus, ask

DAYS_SHOWN = 91


def main(up, prometheus, database, began, written):
    with open(up, encoding="utf-8") as file:
        addresses = json.load(file)
    clickhouse = ClickHouse(addresses["clickhouse"], database, os.environ.get("READER"), os.environ.get("READER_PASSWORD"))
    api = Api(addresses["api"])
    wait_until_counted(clickhouse)
    evaluate_targets(api, ClickHouse(addresses["clickhouse"], database, "default", os.environ["UPTAKE__CLICKHOUSE__PASSWORD"]))
    now = time.time()
    times = {"__from": int((now - DAYS_SHOWN * 86400) * 1000), "__to": int(now * 1000)}
    drawn, compared = {}, 0
    boards = every_board()
    for board in boards:
        form.check(board)
    for board in boards:
        for picks in every_choice(board):
            values, texts = rows.choose(board, clickhouse, times, picks)
            frames, count = from_clickhouse(board, clickhouse, values, api, is_drawn=not picks)
            compared += count
            if not picks:
                span = {"from": times["__from"], "to": times["__to"]}
                drawn[board.name] = {"variables": texts, "range": span, "panels": frames}
    use_the_api(api)
    end = settled(Prometheus(prometheus))
    for board in boards:
        frames = from_prometheus(board, Prometheus(prometheus), float(began), end)
        drawn[board.name]["panels"].update(frames)
        if frames:
            drawn[board.name]["range"] = {"from": float(began) * 1000, "to": end * 1000}
    with open(written, "w", encoding="utf-8") as file:
        json.dump(drawn, file, ensure_ascii=False)
    panels = sum(len(board.panels) for board in boards)
    print(f"dashboards: {len(boards)} with {panels} panels are well-formed; {compared} answers of panels equal the API's")


def wait_until_counted(clickhouse):
    """Until everything sent before is counted and no system is being rebuilt."""
    begun = time.time()
    sql = "SELECT consumer_lag, toUnixTimestamp(complete_through), toUInt8(rebuilding) FROM data_quality(system='erp', from='2000-01-01', to='2000-01-02')"
    while True:
        lag, through, rebuilding = (column["values"][0] for column in clickhouse.frame(sql))
        if lag == 0 and through > begun and not rebuilding:
            return
        if time.time() > begun + 300:
            raise Wrong(f"after 300 s {lag} messages are not counted; rebuilding: {rebuilding}")
        time.sleep(0.5)


def evaluate_targets(api, clickhouse):
    """Has the targets evaluated as if they had been every day since before the last month ended: a month is what is caught up at most."""
    before = "INSERT INTO target_runs (system, day, working, complete, evaluated_at) VALUES ('erp', yesterday() - 40, true, true, now64(3))"
    ask(clickhouse.url, before.encode(), clickhouse.headers)
    zone = ZoneInfo(api.get("/systems/erp")["definition"]["timezone"])
    last_day_due = str((datetime.now(zone) - timedelta(days=1, hours=1)).date())
    evaluator = subprocess.Popen([os.environ["PROGRAM"], "targets"], env={**os.environ, "UPTAKE__TARGETS__INTERVAL_MS": "500"}, stderr=subprocess.DEVNULL)
    began = time.time()
    try:
        while True:
            api.kept.clear()
            answer = api.get("/systems/erp/targets")
            if answer["complete"] and answer["evaluated_through"] >= last_day_due:
                return
            if evaluator.poll() is not None or time.time() > began + 120:
                raise Wrong(f"the targets are not evaluated after {time.time() - began:.0f} s: {answer}")
            time.sleep(0.5)
    finally:
        evaluator.terminate()
        evaluator.wait()


def every_choice(board):
    """Nothing picked; every combination of what custom variables offer; and the second of the windows or months."""
    names = board.custom()
    yield {}
    for chosen in itertools.product(*(board.options(name) for name in names)):
        if names:
            yield dict(zip(names, chosen))
    for window in ("window", "month"):
        if any(variable["name"] == window for variable in board.variables):
            yield {window: 2 if window == "window" else 1}


def from_clickhouse(board, clickhouse, values, api, is_drawn):
    """Frames to draw by panel id, and how many answers were compared. What is not drawn may be empty where the API's answer is."""
    frames, compared = {}, 0
    api.kept.clear()
    question = answers.Question(api, values)
    for panel in board.panels:
        of_panel = []
        for ref, columns in rows.of_clickhouse(panel, clickhouse, values).items():
            target = next(target for target in panel["targets"] if target["refId"] == ref)
            answers.check(board, panel, columns, question)
            if is_drawn or columns[0]["values"]:
                rows.check_shape(panel, columns, target["format"])
            of_panel.append(rows.wide(columns) if target["format"] == 0 else rows.in_json(columns))
            compared += 1
        if of_panel:
            frames[panel["id"]] = of_panel
    return frames, compared


def from_prometheus(board, prometheus, start, end):
    frames = {}
    for panel in board.panels:
        if panel["datasource"]["type"] == CLICKHOUSE:
            continue
        of_panel = rows.of_prometheus(panel, prometheus, start, end)
        if not any(value is not None for frame in of_panel for value in frame[1]["values"]):
            raise Wrong(f"{board.name}, {panel['title']}: Prometheus has no value for it")
        frames[panel["id"]] = of_panel
    return frames


def use_the_api(api):
    """What the pipeline's panels show beside ingest: events over HTTP, one of them refused, and questions."""
    event = lambda n, feature: {
        "specversion": "1.0", "id": f"check-{n}", "source": "/check", "type": "usage.feature_click.v1", "subject": f"u-{n}",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "data": {"system": "check", "feature": feature},
    }
    for round_ in range(15):
        if api.post_events([event(round_ * 100 + n, "check.run") for n in range(100)]) != 202:
            raise Wrong("POST /events: expected 202 for events that are right")
        if api.post_events([event(round_, "")]) == 202:
            raise Wrong("POST /events: expected an event without a feature to be refused")
        api.kept.clear()
        api.get("/systems")
        time.sleep(1)


def settled(prometheus):
    """When Prometheus has scraped what was sent until now, in seconds since the epoch."""
    asked = time.time()
    target = {"instant": True, "legendFormat": ""}
    while True:
        frames = prometheus.frames(target, "timestamp(uptake_ingest_partitions)", 0, time.time())
        if frames and frames[0][1]["values"][0] > asked + 2:
            return time.time()
        if time.time() > asked + 60:
            raise Wrong("Prometheus has not scraped for 60 s")
        time.sleep(0.5)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Wrong as wrong:
        sys.exit(f"dashboards: {wrong}")
