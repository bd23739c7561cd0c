"""What the API answers to the question of each panel, as the rows that the panel must show."""

import math
from datetime import date, datetime, timedelta, timezone

from boards import Wrong

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class About(float):
    """A number that moves while one looks: equal within a minute of milliseconds."""


class Question:
    """The API, asked with the values of a dashboard's variables."""

    def __init__(self, api, values):
        self.api = api
        self.v = values

    def ask(self, path, begin="from", end="to", **parameters):
        return self.at(path, **{"from": self.v[begin], "to": self.v[end]}, **parameters)

    def at(self, path, **parameters):
        return self.api.get(f"/systems/{self.v['system']}/{path}", **parameters)

    def day_before(self, name):
        return str(date.fromisoformat(self.v[name]) - timedelta(days=1))

    def name(self, group, by=None):
        return group[by or self.v["by"]] or "(none)"

    def withheld(self, group):
        return self.v["small"] if group["suppressed"] else ""


def millis(day):
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp() * 1000


def total(path, field, **fixed):
    return lambda q: [[q.ask(path, **fixed)["total"][field]]]


def quality(field):
    return lambda q: [[q.ask("adoption")["data_quality"][field]]]


def completeness(q):
    return [[q.ask("completeness")["completeness"]]]


def adoption_stat(field):
    return lambda q: [[q.ask("adoption", measure=q.v["measure"])["total"][field]]]


def complete_through(q):
    # The API says no more than the end of the window; one that ends later tells how far counting is.
    ahead = str(date.fromisoformat(q.v["to"]) + timedelta(days=60))
    text = q.at("adoption", **{"from": q.v["from"], "to": ahead})["data_quality"]["complete_through"]
    return [[About(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)]]


def targets(q):
    """As of the end of the window."""
    return q.at("targets", on=q.v["last_day"])["targets"]


def every_target(q):
    numbers = lambda t: [t["rate"], t["expected"], t["target_rate"], t["eligible"], t["since"]]
    why = lambda t: q.v["small"] if t["reason"] == "suppressed" else t["reason"].replace("_", " ")
    group = lambda t: "all" if t["group"] is None else t["group"] or "(none)"
    return [[t["target"], group(t), t["state"], *numbers(t), why(t)] for t in targets(q)]


def against_target(q, groups, by, measure):
    """Group → what the first target for the dimension expects of it, and its state or that it is withheld."""
    metric = {"active": "adoption_rate", "login": "login_rate"}[measure]
    first = {t["group"]: t for t in reversed(targets(q)) if (t["by"], t["metric"]) == (by, metric)}
    none = {"expected": None, "state": ""}
    found = lambda g: first.get(g[by], none)
    return {q.name(g, by): [found(g)["expected"], q.withheld(g) or found(g)["state"]] for g in groups}


def adoption_by_group(q):
    groups = q.ask("adoption", by=q.v["by"], measure=q.v["measure"])["groups"]
    against = against_target(q, groups, q.v["by"], q.v["measure"])
    return [[q.name(g), g["entitled"], g["active"], g["rate"], *against[q.name(g)]] for g in groups]


def adoption_by_week(q):
    answer = q.ask("adoption", "trend_from", "trend_to", by=q.v["by"], measure=q.v["measure"], grain="week")
    return [[q.name(g), p["from"][5:], g["rate"]] for p in answer["periods"] for g in p["groups"] if not g["suppressed"]]


def adoption_since_go_live(q):
    answer = q.at("phases", on=q.day_before("to"), days=365, measure=q.v["measure"])
    rows = [[d["day"], f"{n} {p['phase']}", d["rate"]] for n, p in enumerate(answer["phases"], 1) for d in p["days"]]
    longest = max((p["days"] for p in answer["phases"]), key=len)
    return rows + [[d["day"], "expected", d["expected_rate"]] for d in longest]


def features(q):
    return q.ask("features")["features"]


def count_of_features(which):
    return lambda q: [[sum(1 for f in features(q) if which(f))]]


def features_by_breadth(q):
    def state(f):
        if f["unused"] or f["declining"]:
            return "unused" if f["unused"] else "declining"
        return q.withheld(f) if f["catalogued"] else "not in the catalogue"

    numbers = ("breadth", "previous_breadth", "expected", "users", "adopted_users", "clicks", "depth")
    return [[f["title"] or f["feature"], f["module"], state(f), *(f[n] for n in numbers)] for f in features(q)]


def hours_of_the_week(q):
    count = "clicks_per_day" if q.v["count"] == "clicks" else "users_per_day"
    cells = q.ask("heatmap/hours")["cells"]
    return [[WEEKDAYS[c["weekday"] - 1], f"{c['hour']:02}", c[count]] for c in cells]


def features_by_group(q):
    cells = q.ask("heatmap/features", by=q.v["by"])["cells"]
    return [[c["feature"], q.name(c), math.nan if c["not_expected"] else c["expected_breadth"]] for c in cells]


def lifecycle_of_all(*fields):
    return lambda q: [[q.at("lifecycle", on=q.v["last_day"])["total"][field] for field in fields]]


def stickiness(q):
    return [[q.ask("stickiness")["stickiness"]]]


def stickiness_by_day(q):
    return [[millis(d["day"]), d["ratio"]] for d in q.ask("stickiness", "trend_from", "trend_to")["days"]]


def logins_by_group(q):
    groups = q.ask("logins", by=q.v["by"])["groups"]
    row = lambda g: [g["entitled"], *buckets(g), g["never"], g["mean"], g["median"]]
    return [[q.name(g), *row(g), q.withheld(g)] for g in groups]


def buckets(group):
    return [(group["buckets"] or {}).get(name) for name in ("0", "1-3", "4-10", "11+")]


def lifecycle_by_group(q):
    states = ("entitled", "never", "new", "returning", "resurrected", "at_risk", "dormant")
    groups = q.at("lifecycle", on=q.v["last_day"], by=q.v["by"])["groups"]
    return [[q.name(g), *(g[state] for state in states), q.withheld(g)] for g in groups]


def retention(q):
    cohorts = q.ask("retention", "trend_from", "trend_to")["cohorts"]
    hidden = [{"week": 0, "share": math.nan}]
    return [[c["week"], str(w["week"]), w["share"]] for c in cohorts for w in (hidden if c["suppressed"] else c["weeks"])]


def month_and_before(path, field):
    """Rows of the month before and of the month: `2026-10`, number."""

    def rows(q):
        both = (q.ask(path, "before", "from"), q.ask(path))
        return [[answer["window"]["from"][:7], answer.get("total", answer)[field]] for answer in both]

    return rows


def champions(q):
    months = [q.v[name][:7] for name in ("before", "from")]
    return [[month, q.at("champions", month=month)["total"]["champions"]] for month in months]


def adoption_by_phase(q):
    before = {q.name(g, "phase"): g["rate"] for g in q.ask("adoption", "before", "from", by="phase")["groups"]}
    now = {q.name(g, "phase"): g for g in q.ask("adoption", by="phase")["groups"]}
    against = against_target(q, now.values(), "phase", "active")
    missing = {"entitled": None, "rate": None}
    rows = [(name, now.get(name, missing)) for name in before.keys() | now.keys()]
    return [[name, g["entitled"], before.get(name), g["rate"], *against.get(name, [None, ""])] for name, g in rows]


def criteria_of_gates(q):
    definition = q.api.get(f"/systems/{q.v['system']}")["definition"]
    satisfied = {g["phase"]: g for g in q.ask("satisfaction", "gate_from", by="phase")["groups"]}
    rows = []
    for phase in definition["phases"]:
        gate = q.at(f"phases/{phase['id']}/gate", on=q.day_before("to"))
        value = {c["criterion"]: c["value"] for c in gate["criteria"]}
        kpi = {None: "not marked", True: "met", False: "not met"}[phase.get("kpi_met")]
        scores = satisfied.get(phase["id"]) or {"rate": None, "response_rate": None}
        rates = [value["activity"], scores["rate"], scores["response_rate"]]
        if phase["go_live"] > q.v["gate_from"]:
            rates = [None] * 3
        rows.append([phase["name"], phase["go_live"], *rates, kpi, value["completeness"]])
    return rows


def unused_and_declining(q):
    found = [f for f in features(q) if f["unused"] or f["declining"]]
    state = lambda f: "unused" if f["unused"] else "declining"
    return [[f["title"] or f["feature"], f["module"], state(f), f["breadth"], f["previous_breadth"], f["expected"]] for f in found]


def frequent_issues(q):
    answer = q.ask("issues")
    numbers = ("reporters", "per_100_active", "breadth")
    rows = [[i["category"], i["feature"] or "", *(i[n] for n in numbers)] for i in answer["issues"]]
    rest = answer["rest"]
    if rest["issues"]:
        rows.append([f"{rest['issues']} more, of too few people each", "", rest["reporters"], rest["per_100_active"], None])
    return rows[:10]


def changes_since_final(q):
    return [[sum(len(month["changes"]) for month in q.ask("revisions")["months"])]]


EXPECTED = {
    "adoption": {
        "Adoption rate": adoption_stat("rate"),
        "Active": adoption_stat("active"),
        "Entitled": adoption_stat("entitled"),
        "Active, not on the roster": adoption_stat("unentitled_active"),
        "Completeness": completeness,
        "Complete through": complete_through,
        "Targets": every_target,
        "Adoption by group": adoption_by_group,
        "Adoption by group, week by week": adoption_by_week,
        "Adoption since go-live, phase by phase": adoption_since_go_live,
    },
    "features": {
        "Features in use": count_of_features(lambda f: (f["clicks"] or 0) > 0),
        "Unused features": count_of_features(lambda f: f["unused"]),
        "Declining features": count_of_features(lambda f: f["declining"]),
        "Clicks outside the catalogue": quality("uncatalogued_click_share"),
        "Completeness": completeness,
        "Features by breadth": features_by_breadth,
        "Hours of the week": hours_of_the_week,
        "Features by group": features_by_group,
    },
    "people": {
        "Login days, mean": total("logins", "mean"),
        "Login days, median": total("logins", "median"),
        "Never logged in": total("logins", "never"),
        "At risk": lifecycle_of_all("at_risk"),
        "Dormant": lifecycle_of_all("dormant"),
        "Stickiness": stickiness,
        "Login days by group": logins_by_group,
        "Lifecycle by group": lifecycle_by_group,
        "Lifecycle of all": lifecycle_of_all("returning", "new", "resurrected", "at_risk", "dormant", "never"),
        "Stickiness, day by day": stickiness_by_day,
        "Retention of newcomers": retention,
    },
    "review": {
        "Adoption rate": month_and_before("adoption", "rate"),
        "Satisfaction": month_and_before("satisfaction", "rate"),
        "Response rate": month_and_before("satisfaction", "response_rate"),
        "Champions": champions,
        "Stickiness": month_and_before("stickiness", "stickiness"),
        "Adoption by phase": adoption_by_phase,
        "Targets": every_target,
        "Criteria of the phase gates": criteria_of_gates,
        "Unused and declining features": unused_and_declining,
        "Frequent issues": frequent_issues,
        "Completeness": completeness,
        "Dead letters": quality("dead_letters"),
        "Clicks outside the catalogue": quality("uncatalogued_click_share"),
        "Users not on the roster": quality("users_not_on_roster"),
        "Changes since it was final": changes_since_final,
    },
}


def check(board, panel, columns, question):
    """Every number of the panel is the API's."""
    expected = EXPECTED.get(board.name, {}).get(panel["title"])
    if expected is None:
        raise Wrong(f"{board.name}, {panel['title']}: no question to the API is known to compare it with")
    shown = sorted((list(row) for row in zip(*(column["values"] for column in columns))), key=in_order)
    answered = sorted(expected(question), key=in_order)
    if len(shown) != len(answered):
        raise Wrong(f"{board.name}, {panel['title']}: {len(shown)} rows, the API has {len(answered)}")
    for row, of_api in zip(shown, answered):
        if len(row) != len(of_api) or not all(map(same, row, of_api)):
            raise Wrong(f"{board.name}, {panel['title']}: shows {row}, the API says {of_api}")


def in_order(row):
    """Texts order rows that are to be compared; of rows without any, numbers do."""
    texts = [cell for cell in row if isinstance(cell, str)]
    return texts, [cell for cell in row if isinstance(cell, (int, float)) and not math.isnan(cell)]


def same(shown, of_api):
    if shown is None or of_api is None or isinstance(shown, str):
        return shown == of_api
    if isinstance(of_api, About):
        return abs(shown - of_api) < 60_000
    if math.isnan(of_api):
        return math.isnan(shown)
    return math.isclose(shown, of_api, rel_tol=1e-12, abs_tol=1e-12)
