//! What is stored against what must be: both kinds of error are named.

use std::collections::{BTreeMap, BTreeSet};

use uptake::config::Config;
use uptake::store::Store;

use crate::common::differences::Differences;
use crate::producer::Malformed;
use crate::topics::Record;
use crate::truth::{Rollup, Truth};

/// Every rollup as in [`Rollup`], from its table.
const DAY_USERS: &str = "SELECT concat(toString(system), '/', toString(activity), '/', toString(toUInt16(local_date)), '/', lower(hex(user))) AS key, \
    [toUInt64(1)] AS numbers FROM (SELECT system, activity, local_date, arrayJoin(bitmapToArray(groupBitmapMergeState(users))) AS ordinal \
    FROM day_users GROUP BY system, activity, local_date) AS members INNER JOIN ordinals USING (ordinal)";
const HOUR_USERS: &str = "SELECT concat(toString(system), '/', toString(toUInt16(local_date)), '/', toString(local_hour), '/', lower(hex(user))) AS key, \
    [toUInt64(1)] AS numbers FROM (SELECT system, local_date, local_hour, arrayJoin(bitmapToArray(groupBitmapMergeState(users))) AS ordinal \
    FROM hour_users GROUP BY system, local_date, local_hour) AS members INNER JOIN ordinals USING (ordinal)";
const FEATURE_USERS: &str = "SELECT concat(toString(system), '/', toString(feature), '/', toString(toUInt16(local_date)), '/', lower(hex(user))) AS key, \
    [toUInt64(1)] AS numbers FROM (SELECT system, feature, local_date, arrayJoin(bitmapToArray(groupBitmapMergeState(users))) AS ordinal \
    FROM feature_users GROUP BY system, feature, local_date) AS members INNER JOIN ordinals USING (ordinal)";
const FEATURE_HOURS: &str = "SELECT concat(toString(system), '/', toString(feature), '/', toString(toUInt16(local_date)), \
    '/', toString(local_hour)) AS key, [sum(clicks)] AS numbers FROM feature_hours GROUP BY system, feature, local_date, local_hour";
const FEATURE_USER_DAYS: &str = "SELECT concat(toString(system), '/', toString(feature), '/', lower(hex(user)), '/', \
    toString(toUInt16(local_date))) AS key, [sum(clicks)] AS numbers FROM feature_user_days INNER JOIN (SELECT DISTINCT user, ordinal FROM ordinals) AS owners USING (ordinal) \
    GROUP BY system, feature, user, local_date";

#[derive(clickhouse::Row, serde::Deserialize)]
struct RollupRow {
    key: String,
    numbers: Vec<u64>,
}

impl Differences {
    /// Raw events: each acknowledged identity stands there once, and nothing else does.
    pub async fn of_raw(&mut self, store: &Store, truth: &Truth, records: &[Record]) -> anyhow::Result<()> {
        let sql = "SELECT identity, count() FROM raw_events FINAL GROUP BY identity";
        let stored = store.client().query(sql).fetch_all::<(u64, u64)>().await?;
        let stored: BTreeMap<u64, u64> = stored.into_iter().collect();
        for (identity, event) in &truth.events {
            let place = || {
                let of_event = |record: &&Record| record.key == event.id.as_bytes();
                let places = records.iter().filter(of_event);
                places
                    .map(|record| format!(" {}/{}", record.partition, record.offset))
                    .collect::<String>()
            };
            match stored.get(identity) {
                None => self.lose(1, || {
                    format!("events: {} is lost; it stands in Kafka at{}", event.id, place())
                }),
                Some(1) => {}
                Some(&count) => {
                    self.double(count - 1, || {
                        format!(
                            "events: {} stands there {count} times; in Kafka at{}",
                            event.id,
                            place()
                        )
                    });
                }
            }
        }
        for (identity, count) in stored
            .iter()
            .filter(|(identity, _)| !truth.events.contains_key(identity))
        {
            self.double(*count, || {
                format!("events: identity {identity:016x} was never acknowledged")
            });
        }
        Ok(())
    }

    pub async fn of_rollups(&mut self, config: &Config, store: &Store, truth: &Truth) -> anyhow::Result<()> {
        let names = config.privacy.pseudonymizer();
        let rollups = [
            ("day_users", DAY_USERS, truth.day_users(&names)),
            ("hour_users", HOUR_USERS, truth.hour_users(&names)),
            ("feature_users", FEATURE_USERS, truth.feature_users(&names)),
            ("feature_hours", FEATURE_HOURS, truth.feature_hours()),
            ("feature_user_days", FEATURE_USER_DAYS, truth.feature_user_days(&names)),
        ];
        for (table, sql, expected) in rollups {
            let found = store.client().query(sql).fetch_all::<RollupRow>().await?;
            let found = found.into_iter().map(|row| (row.key, row.numbers)).collect();
            self.of_rollup(table, &expected, &found);
        }
        Ok(())
    }

    fn of_rollup(&mut self, table: &str, expected: &Rollup, found: &Rollup) {
        let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let (expected, found) = (expected.get(key), found.get(key));
            if expected == found {
                continue;
            }
            let count = |row: Option<&Vec<u64>>| row.and_then(|row| row.first()).copied().unwrap_or_default();
            let what = || format!("{table}: {key} is {found:?}, expected {expected:?}");
            match (count(expected), count(found)) {
                (expected, found) if found > expected => self.double(found - expected, what),
                // The same count and another value: a number is lost.
                (expected, found) => self.lose((expected - found).max(1), what),
            }
        }
    }

    /// Every malformed message stands in the topic of rejects and in its table, under its origin.
    pub async fn of_rejects(
        &mut self,
        config: &Config,
        store: &Store,
        malformed: &Malformed,
        records: &[Record],
        rejects: &[Record],
    ) -> anyhow::Result<()> {
        let topic = &config.kafka.topic;
        let mut expected = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        for record in records {
            if let Some(reason) = malformed.get(&record.payload) {
                let origin = format!("{topic}/{}/{}", record.partition, record.offset);
                expected.insert((origin.clone(), &record.payload), reason);
                // A topic created anew counts from 0 again: the last one of an origin stands in the table.
                reasons.insert(origin, (*reason).to_owned());
            }
        }
        // Published again after a takeover, it has the same key and still counts once.
        let found: BTreeSet<_> = rejects
            .iter()
            .map(|reject| (String::from_utf8_lossy(&reject.key).into_owned(), &reject.payload))
            .collect();
        for ((origin, _), reason) in expected.iter().filter(|(origin, _)| !found.contains(origin)) {
            self.lose(1, || format!("rejects topic: {origin} ({reason}) is lost"));
        }
        for (origin, _) in found.iter().filter(|origin| !expected.contains_key(origin)) {
            self.double(1, || {
                format!("rejects topic: {origin} is not the origin of a malformed message")
            });
        }

        let sql = "SELECT concat(toString(kafka_topic), '/', toString(kafka_partition), '/', toString(kafka_offset)), \
            toString(reason) FROM rejects FINAL";
        let rows = store.client().query(sql).fetch_all::<(String, String)>().await?;
        let stored: BTreeMap<String, String> = rows.iter().cloned().collect();
        self.twice += (rows.len() - stored.len()) as u64;
        for (origin, reason) in reasons
            .iter()
            .filter(|(origin, reason)| stored.get(*origin) != Some(reason))
        {
            self.lose(1, || {
                format!("rejects: {origin} is {:?}, expected {reason}", stored.get(origin))
            });
        }
        for origin in stored.keys().filter(|origin| !reasons.contains_key(*origin)) {
            self.double(1, || {
                format!("rejects: {origin} is not the origin of a malformed message")
            });
        }
        Ok(())
    }
}
