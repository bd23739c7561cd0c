//! A company of any size whose events go straight into the table `raw_events`, in batches in the order of time as ingest would store
//! them, so that the views fill the rollups; what they are about is a function of their number.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::json;
use uptake::definition;

use crate::parts::{Installation, SYSTEM, ZONE};

/// One of so many users is not on the roster.
const STRANGERS: u64 = 100;
/// Of a hundred users so many are there on a day; one in ten never is.
const ATTENDANCE: u64 = 70;
const BATCH: u64 = 250_000;
const ROLES: u64 = 8;
/// Features that are everyone's. Each role has some of its own; the last twentieth is never used.
const COMMON: u64 = 20;
/// Of the features that are for a user's role, so many are used by that user.
const FAVOURITES: u64 = 8;

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub struct Company {
    pub people: u64,
    pub features: u64,
    /// Working days of the past that have events.
    pub days: u64,
    /// About so many events.
    pub events: u64,
}

impl Company {
    /// Stores definition, roster and the events until yesterday; how many there are. `stored` hears of each batch the events so far.
    pub async fn store(
        &self,
        installation: &Installation,
        today: Date,
        mut stored: impl FnMut(u64),
    ) -> anyhow::Result<u64> {
        let days = working_days_before(today, self.days as usize);
        let first = *days.first().context("no days")?;
        let text = self.definition(first).to_string();
        definition::apply_text(&installation.config, &text, "the benchmark").await?;
        let client = installation.store.client();
        for sql in roster(self.people, first) {
            client.query(&sql).execute().await.context("the roster")?;
        }

        let users = self.people + self.people / STRANGERS;
        let visits = users * ATTENDANCE * 9 / 1_000;
        let per_visit = (self.events / (visits * self.days)).max(2);
        let days_a_batch = (BATCH / (visits * per_visit)).max(1);
        let mut so_far = 0;
        for batch in days.chunks(days_a_batch as usize) {
            let dates: Vec<_> = batch.iter().map(|day| format!("toDate('{day}')")).collect();
            let sql = self.events_sql(&dates.join(", "), batch.len() as u64, users, per_visit);
            client.query(&sql).execute().await.context("the events")?;
            so_far += batch.len() as u64 * visits * per_visit;
            stored(so_far);
        }
        installation.number("SELECT count() FROM raw_events").await
    }

    /// How many features each role has of its own.
    fn own_features(&self) -> u64 {
        (self.features * 19 / 20).saturating_sub(COMMON) / ROLES
    }

    fn definition(&self, first: Date) -> serde_json::Value {
        let own = self.own_features();
        let features = (0..self.features).map(|number| {
            let role = number
                .checked_sub(COMMON)
                .map(|place| place / own)
                .filter(|role| *role < ROLES)
                .map(|role| format!("role{role}"));
            json!({
                "key": format!("module{}.feature{number}", number % 12),
                "title": format!("Feature {number}"),
                "released": first,
                "roles": role.into_iter().collect::<Vec<_>>(),
            })
        });
        let phases = [("pilot", 0), ("extension", 30), ("company", 60)];
        let phases =
            phases.map(|(id, after)| json!({"id": id, "name": id, "go_live": first.saturating_add(after.days())}));
        json!({
            "system": SYSTEM, "name": "ERP", "timezone": ZONE,
            "calendar": {"weekdays": ["mon", "tue", "wed", "thu", "fri"]},
            "phases": phases,
            "features": features.collect::<Vec<_>>(),
        })
    }

    /// Each visit is a login and some clicks, within ten hours; one user in twenty works at night. Half of the clicks go to the
    /// user's first favourite, a sixth to the second and so on: about 3 features on a day and 8 in a month. Logs of a help
    /// desk and of a permit desk have 1.9 and 3.6 on a day, 3.1 and 5.1 in a month.
    fn events_sql(&self, dates: &str, days: u64, users: u64, per_visit: u64) -> String {
        let own = self.own_features();
        format!(
            "INSERT INTO raw_events (system, type, time, ordinal, feature, session, outcome, method, source, identity, zone,
                local_date, local_hour, kafka_topic, kafka_partition, kafka_offset, ingested_at)
            SELECT '{SYSTEM}', if(is_login, 'login', 'feature_click'),
                toDateTime64(toDateTime(day, '{ZONE}') + 3600 * local_hour + r % 3600, 3, 'UTC'), u + 1,
                if(is_login, '', concat('module', toString(f % 12), '.feature', toString(f))),
                concat('s-', toString(visit % 1000000)), if(is_login, 'success', ''), if(is_login, 'saml', ''), '/erp',
                cityHash64(day, number, 1), '{ZONE}', day, if(u % 20 = 7, 20 + r % 10, 8 + (r + visit) % 10) % 24 AS local_hour,
                'usage.events', u % 4, number, now64(3)
            FROM
            (
                SELECT number, [{dates}][1 + intDiv(number, {users} * {per_visit})] AS day, intDiv(number, {per_visit}) % {users} AS u,
                    number % {per_visit} = 0 AS is_login, cityHash64(u, day) AS visit, cityHash64(number, day) AS r,
                    least({FAVOURITES} - 1, toUInt32(1 / (1 - intDiv(r, 10000) % 100000 / 100000)) - 1) AS place,
                    (place * 7 + cityHash64(u)) % {for_a_role} AS choice,
                    toUInt32(if(choice < {COMMON}, choice, u % {ROLES} * {own} + choice)) AS f
                FROM numbers({days} * {users} * {per_visit})
                WHERE u % 10 != 0 AND visit % 100 < {ATTENDANCE}
            )",
            for_a_role = COMMON + own,
        )
    }
}

/// Monday to Friday, in order.
fn working_days_before(today: Date, count: usize) -> Vec<Date> {
    let before = std::iter::successors(today.yesterday().ok(), |day| day.yesterday().ok());
    let mut days: Vec<_> = before
        .filter(|day| day.weekday().to_monday_zero_offset() < 5)
        .take(count)
        .collect();
    days.reverse();
    days
}

/// 40 units, 8 roles, 3 tiers, 12 sites, 3 phases. One person in ten has changed the unit.
fn roster(people: u64, first: Date) -> [String; 2] {
    let rows = format!(
        "INSERT INTO roster (system, version, user, ordinal, kind, unit, role, tier, site, phase, entitled_from, entitled_to, next_from)
        SELECT '{SYSTEM}', 1, MD5(toString(u)), u + 1, 'person', concat('unit', toString((u + moved) % 40)),
            concat('role', toString(u % {ROLES})), multiIf(u % 50 = 0, 'administrator', u % 9 = 0, 'management', 'operator'),
            concat('site', toString(u % 12)), multiIf(u % 10 = 0, 'pilot', u % 10 < 4, 'extension', 'company'),
            if(moved, change, toDate('{first}')), if(moves AND NOT moved, change, toDate('2149-06-06')) AS until, until
        FROM (SELECT number AS u, u % 10 = 3 AS moves, toDate('{first}') + 60 + u % 60 AS change,
            toUInt8(arrayJoin(range(1 + moves))) AS moved FROM numbers({people}))"
    );
    let version =
        format!("INSERT INTO roster_versions SELECT '{SYSTEM}', 1, now64(3), count(), uniqExact(user), '' FROM roster");
    [rows, version]
}

/// Waits until the engine has no merges to do, as it would have in the night.
pub async fn settle(installation: &Installation) -> anyhow::Result<()> {
    let mut idle = 0;
    let started = Instant::now();
    while idle < 3 && started.elapsed() < Duration::from_secs(120) {
        let merging = installation.number("SELECT count() FROM system.merges").await?;
        idle = if merging == 0 { idle + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
