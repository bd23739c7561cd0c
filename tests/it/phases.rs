//! Phase comparison, gate, completeness and revisions, by hand on one small company.
//!
//! Days are those of Asia/Shanghai, eight hours before UTC. Groups of fewer than three people are suppressed.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use uptake::calendar::Zone;
use uptake::store::ordinals::Ordinals;

use crate::api::Api;

const DEFINITION: &str = "\
system: erp
name: Corporate ERP
timezone: Asia/Shanghai
calendar: {weekdays: [mon, tue, wed, thu, fri]}
phases:
  - {id: pilot, name: Pilot, go_live: 2026-09-01, kpi_met: true}
  - {id: rest, name: Rest, go_live: 2026-09-20}
  - {id: tiny, name: Tiny, go_live: 2026-09-20}
  - {id: mini, name: Mini, go_live: 2027-09-20}
targets:
  - {id: activity, metric: adoption_rate, by: phase, target: 0.5, due_days: 100, breach_days: 5}
";

const ROSTER: &str = "\
user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
p1,person,,,,,pilot,2026-01-01,
p2,person,,,,,pilot,2026-01-01,
p3,person,,,,,pilot,2026-01-01,
p4,person,,,,,pilot,2026-01-01,
p5,person,,,,,pilot,2026-01-01,
bot,service,,,,,pilot,2026-01-01,
r1,person,,,,,rest,2026-01-01,
r2,person,,,,,rest,2026-01-01,
r3,person,,,,,rest,2026-01-01,
r4,person,,,,,tiny,2026-01-01,2026-09-25
r4,person,,,,,rest,2026-09-25,
t1,person,,,,,tiny,2026-01-01,
t2,person,,,,,tiny,2026-01-01,
";

/// As small as `tiny`: with it nobody else has to be withheld.
const MINI: &str = "m1,person,,,,,mini,2026-01-01,\nm2,person,,,,,mini,2026-01-01,\n";

/// An event as it stands in storage.
struct Stored<'t> {
    user: &'t str,
    time: Timestamp,
    kind: &'t str,
    score: u8,
    source: &'t str,
    stored_at: Timestamp,
}

fn click<'t>(user: &'t str, time: &str) -> Stored<'t> {
    let time = time.parse().unwrap();
    Stored {
        user,
        time,
        kind: "feature_click",
        score: 0,
        source: "/erp",
        stored_at: time,
    }
}

async fn company(roster: &str) -> Api {
    let api = Api::start(|config| config.privacy.min_group_size = 3).await;
    assert_eq!(api.put("/systems/erp", "application/yaml", DEFINITION).await.0, 200);
    assert_eq!(api.put("/systems/erp/roster", "text/csv", roster).await.0, 200);
    api
}

async fn store(api: &Api, events: &[Stored<'_>]) {
    let pseudonymizer = crate::harness::config().privacy.pseudonymizer();
    let pseudonyms = events.iter().map(|event| pseudonymizer.pseudonym(event.user));
    let ordinals = Ordinals::new(&api.fixture.store).resolve(pseudonyms).await.unwrap();
    let zone = Zone::named("Asia/Shanghai").unwrap();
    let row = |event: &Stored| {
        let user = pseudonymizer.pseudonym(event.user);
        let local = zone.local_hour(event.time.as_millisecond());
        let (kind, ordinal, score, source) = (event.kind, ordinals[&user], event.score, event.source);
        let (time, stored_at) = (event.time.as_millisecond(), event.stored_at.as_millisecond());
        let (date, hour, identity) = (local.date, local.hour, uuid::Uuid::new_v4().as_u64_pair().0);
        format!(
            "('erp', '{kind}', fromUnixTimestamp64Milli({time}, 'UTC'), {ordinal}, {score}, '{source}', \
                'Asia/Shanghai', {date}, {hour}, {identity}, fromUnixTimestamp64Milli({stored_at}, 'UTC'))"
        )
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    let columns = "system, type, time, ordinal, score, source, zone, local_date, local_hour, identity, stored_at";
    api.execute(&format!(
        "INSERT INTO raw_events ({columns}) VALUES {}",
        rows.join(", ")
    ))
    .await;
}

/// Everything until `through` has been counted.
async fn counted(api: &Api, through: &str, lag: u64) {
    let end = 100 + lag;
    api.execute(&format!(
        "INSERT INTO ingest_progress VALUES ('t', 0, 100, {end}, '{through}', 'w', '{through}')"
    ))
    .await;
}

fn clicks() -> Vec<Stored<'static>> {
    vec![
        // Before go-live, and on its first and second day.
        click("p3", "2026-08-31T15:59:59Z"),
        click("p1", "2026-08-31T16:00:00Z"),
        click("p2", "2026-09-02T16:00:00Z"),
        click("bot", "2026-09-02T16:00:00Z"),
        click("ghost", "2026-09-02T16:00:00Z"),
        click("r1", "2026-09-20T02:00:00Z"),
        click("r4", "2026-09-21T02:00:00Z"),
        click("r2", "2026-10-18T02:00:00Z"),
    ]
}

#[tokio::test]
async fn phases_line_up_on_their_own_go_live() {
    let api = company(&format!("{ROSTER}{MINI}")).await;
    store(&api, &clicks()).await;
    let answer = api.ok("/systems/erp/phases?on=2026-10-20&days=60").await;
    let phases = answer["phases"].as_array().unwrap();
    let lengths: Vec<_> = phases
        .iter()
        .map(|phase| phase["days"].as_array().unwrap().len())
        .collect();
    assert_eq!(lengths, [50, 31, 31, 0]);
    let day = |phase: usize, day: usize| &phases[phase]["days"][day];
    let shown = |day: u64, from: &str, to: &str, entitled: u64, active: u64| {
        json!({"day": day, "from": from, "to": to, "entitled": entitled, "active": active,
            "rate": active as f64 / entitled as f64, "expected_rate": 0.5 * day as f64 / 100.0, "suppressed": false})
    };
    for wanted in [
        shown(0, "2026-09-01", "2026-09-02", 5, 1),
        shown(1, "2026-09-01", "2026-09-03", 5, 1),
        shown(2, "2026-09-01", "2026-09-04", 5, 2),
        shown(27, "2026-09-01", "2026-09-29", 5, 2),
        shown(28, "2026-09-02", "2026-09-30", 5, 1),
        shown(30, "2026-09-04", "2026-10-02", 5, 0),
    ] {
        assert_eq!(day(0, wanted["day"].as_u64().unwrap() as usize), &wanted);
    }
    // Until 24 September r4 is in `tiny`, which then is as large as `rest`. Of the two the first by name is withheld beside `mini`.
    assert_eq!(day(2, 4), &shown(4, "2026-09-20", "2026-09-25", 3, 1));
    assert_eq!(
        day(1, 4),
        &json!({"day": 4, "from": "2026-09-20", "to": "2026-09-25", "entitled": null, "active": null,
        "rate": null, "expected_rate": 0.02, "suppressed": true})
    );
    assert_eq!(day(1, 5), &shown(5, "2026-09-20", "2026-09-26", 4, 2));
    assert_eq!(day(1, 28), &shown(28, "2026-09-21", "2026-10-19", 4, 2));
    assert_eq!(day(2, 5)["suppressed"], true);
    let login = api.ok("/systems/erp/phases?on=2026-10-20&measure=login").await;
    assert_eq!(login["phases"][0]["days"][2]["active"], 0);
    assert_eq!(login["phases"][0]["days"][45]["expected_rate"], 0.4, "the default ramp");
}

/// Two answers about the same people in the same days must withhold the same: else one is the difference of others.
#[tokio::test]
async fn phases_say_and_withhold_what_adoption_does() {
    for roster in [ROSTER.to_owned(), format!("{ROSTER}{MINI}")] {
        let api = company(&roster).await;
        store(&api, &clicks()).await;
        let answer = api.ok("/systems/erp/phases?on=2026-10-20").await;
        let mut suppressed = 0;
        for phase in answer["phases"].as_array().unwrap() {
            for day in phase["days"].as_array().unwrap().iter().step_by(5) {
                let (from, to) = (day["from"].as_str().unwrap(), day["to"].as_str().unwrap());
                let adoption = api
                    .ok(&format!("/systems/erp/adoption?by=phase&from={from}&to={to}"))
                    .await;
                let groups = adoption["groups"].as_array().unwrap();
                let group = groups.iter().find(|group| group["phase"] == phase["phase"]).unwrap();
                for key in ["entitled", "active", "rate", "suppressed"] {
                    assert_eq!(day[key], group[key], "{key} of {phase} [{from}, {to})");
                }
                suppressed += u64::from(day["suppressed"] == true);
            }
        }
        assert!(suppressed > 0);
    }
}

#[tokio::test]
async fn a_gate_tells_each_criterion() {
    // Beside a phase too small to show, the next smallest would be withheld.
    let large: Vec<_> = ROSTER.lines().filter(|line| !line.starts_with('t')).collect();
    let api = company(&large.join("\n")).await;
    let path = "/systems/erp/phases/pilot/gate?on=2026-10-28";
    let verdicts = |gate: &Value| {
        let criteria = gate["criteria"].as_array().unwrap().iter();
        criteria
            .map(|criterion| criterion["verdict"].clone())
            .collect::<Value>()
    };
    let nothing = api.ok(path).await;
    assert_eq!(nothing["verdict"], "undecided");
    assert_eq!(verdicts(&nothing), json!(["fail", "undecided", "pass", "undecided"]));

    let users = ["p1", "p2", "p3", "p4", "p5"];
    let mut events: Vec<_> = users.map(|user| click(user, "2026-10-05T02:00:00Z")).into();
    for (i, user) in users.iter().chain(&users).enumerate() {
        events.push(Stored {
            kind: "feedback",
            score: if i == 0 { 3 } else { 4 },
            ..click(user, "2026-10-06T02:00:00Z")
        });
    }
    store(&api, &events).await;
    counted(&api, "2026-11-20 00:00:00", 3).await;
    let gate = api.ok(path).await;
    assert_eq!(gate["window"]["from"], "2026-10-01");
    assert_eq!(
        gate["criteria"],
        json!([
            {"criterion": "activity", "verdict": "pass", "value": 1.0, "threshold": 0.8, "reason": null},
            {"criterion": "satisfaction", "verdict": "pass", "value": 0.9, "threshold": 0.85, "reason": null},
            {"criterion": "kpi", "verdict": "pass", "value": 1.0, "threshold": 1.0, "reason": null},
            {"criterion": "completeness", "verdict": "pass", "value": 1.0, "threshold": 0.98, "reason": null}
        ])
    );
    assert_eq!(gate["verdict"], "pass");
    // A reject is a sixteenth of what is known of.
    api.execute("INSERT INTO rejects VALUES ('t', 0, 7, '2026-10-05 01:00:00', 'erp', 'invalid_json')")
        .await;
    assert_eq!(api.ok(path).await["verdict"], "fail");

    let early = api.ok("/systems/erp/phases/pilot/gate?on=2026-08-20").await;
    assert_eq!(early["verdict"], "undecided");
    assert_eq!(early["criteria"][0]["reason"], "the phase is not live yet");
    let (status, body) = api.get("/systems/erp/phases/nope/gate").await;
    assert_eq!(status, 422);
    let fault =
        json!({"place": "phase", "value": "nope", "expected": "a phase of the definition: pilot, rest, tiny, mini"});
    assert_eq!(body["errors"][0], fault);
    for query in ["days=0", "days=401", "days=x", "on=2026-02-30", "by=unit"] {
        assert_eq!(api.get(&format!("/systems/erp/phases?{query}")).await.0, 422, "{query}");
    }
}

/// `branch` sends 10 events a day until Tuesday 20 October, `office` 5 a day for long.
#[tokio::test]
async fn a_source_that_falls_silent_is_missed_on_working_days() {
    let api = company(ROSTER).await;
    let first: Date = "2026-08-03".parse().unwrap();
    let mut events = Vec::new();
    for day in 0..110 {
        let time = format!("{}T03:00:00Z", first.saturating_add(day.days()));
        let sources = [("branch", if day < 79 { 10 } else { 0 }), ("office", 5)];
        for (source, count) in sources {
            events.extend((0..count).map(|_| Stored {
                source,
                ..click("p1", &time)
            }));
        }
    }
    store(&api, &events).await;
    let unknown = api.ok("/systems/erp/completeness?from=2026-10-01&to=2026-10-29").await;
    assert_eq!(unknown["completeness"], Value::Null, "no worker has reported");
    counted(&api, "2026-10-28 16:00:00", 10).await;
    let share = async |window: &str| {
        let mut answer = api.ok(&format!("/systems/erp/completeness?{window}")).await;
        for key in ["system", "window"] {
            answer.as_object_mut().unwrap().remove(key);
        }
        answer
    };
    // 21 to 23 and 26 to 28 October are working days without `branch`.
    let october = json!({"completeness": 0.85, "arrived": 340, "refused": 0, "waiting": 0, "stalled": 60.0,
        "stalled_sources": ["branch"]});
    assert_eq!(share("from=2026-10-01&to=2026-10-29").await, october);
    // What is beyond the part that has been counted is not missed yet; what waits may belong there.
    let later = json!({"completeness": 375.0 / 445.0, "arrived": 375, "refused": 0, "waiting": 10, "stalled": 60.0,
        "stalled_sources": ["branch"]});
    assert_eq!(share("from=2026-10-01&to=2026-11-05").await, later);
    let weekend = share("from=2026-10-24&to=2026-10-26").await;
    assert_eq!(weekend["completeness"], 1.0);
    let before = share("from=2026-09-01&to=2026-10-01").await;
    assert_eq!(before["stalled_sources"], json!([]));
}

#[tokio::test]
async fn what_changes_a_final_month_is_a_revision() {
    let api = company(ROSTER).await;
    let late = |time: &str, stored_at: &str| Stored {
        stored_at: stored_at.parse().unwrap(),
        ..click("p1", time)
    };
    store(
        &api,
        &[
            // September ends at 16:00 UTC and is final on 7 October at 16:00 UTC.
            late("2025-09-30T15:00:00Z", "2025-10-07T15:59:59Z"),
            late("2025-09-30T15:00:00Z", "2025-10-07T16:00:00Z"),
            late("2025-09-02T15:00:00Z", "2025-10-07T16:30:00Z"),
            late("2025-09-02T15:00:00Z", "2025-10-09T16:30:00Z"),
            late("2025-09-30T16:00:00Z", "2025-10-09T16:30:00Z"),
        ],
    )
    .await;
    let path = "/systems/erp/revisions?from=2025-09-30&to=2025-10-02";
    let change =
        |at: &str, late: u64| json!({"changed_at": at, "late_events": late, "definition": false, "roster": false});
    let wanted = json!([
        {"month": "2025-09-01", "provisional": false, "revision": 3,
            "changes": [change("2025-10-07T16:00:00Z", 2), change("2025-10-09T16:00:00Z", 1)]},
        {"month": "2025-10-01", "provisional": false, "revision": 1, "changes": []}
    ]);
    assert_eq!(api.ok(path).await["months"], wanted);
    let changed = DEFINITION.replace("Corporate", "New");
    assert_eq!(api.put("/systems/erp", "application/yaml", &changed).await.0, 200);
    assert_eq!(
        api.put("/systems/erp/roster", "text/csv", &format!("{ROSTER}{MINI}"))
            .await
            .0,
        200
    );
    let months = api.ok(path).await["months"].clone();
    for (month, before) in [(0, 2), (1, 0)] {
        let changes = months[month]["changes"].as_array().unwrap();
        // Both within one hour, or, when the hour turns, in two.
        let of = |what: &str| changes[before..].iter().filter(|change| change[what] == true).count();
        assert_eq!((of("definition"), of("roster")), (1, 1), "{changes:?}");
        assert_eq!(months[month]["revision"], changes.len() as u64 + 1);
    }
    let future = api.ok("/systems/erp/revisions?from=2149-01-01&to=2149-01-02").await;
    assert_eq!(future["months"][0]["provisional"], true);
}
